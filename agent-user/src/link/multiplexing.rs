//! Multiplexing: which goroutine a stream belongs to, where one goroutine writes (or reads) the streams of many.
//!
//! Enters: who asked for a stream, before its first frame is written; who serves one, after its first frame was read; who reads on.
//! Leaves: the actor of the call, or of the request. Bounded: [`STREAMS_MAX`] streams that were asked for, the oldest go and are
//! counted; those of encrypted connections are never seen, and go that way. Deliberately absent: bytes, and any guess from the
//! order in which streams were asked for: they meet by their number.

use smallvec::SmallVec;

use super::linker::Linker;
use super::table::Table;
use super::thread::{Worker, remove};
use super::{ExchangeId, Seen};
use crate::event::{Actor, Multiplexed, Multiplexing, TimeNs};

/// A stream is here between being taken out of its writer's queue and being written.
const STREAMS_MAX: usize = 16_384;

#[derive(Clone, Copy)]
struct Asked {
    actor: Actor,
    time_ns: TimeNs,
}

/// Streams that were asked for and not seen yet, by the goroutine that writes them and their number.
#[derive(Default)]
pub(super) struct AskedStreams {
    table: Table<(Worker, u64), Asked>,
    evicted: u64,
}

impl AskedStreams {
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    fn add(&mut self, writer: Worker, stream_id: u64, asked: Asked) {
        if self.table.len() >= STREAMS_MAX {
            self.evicted += self.table.make_room(STREAMS_MAX, |asked| asked.time_ns);
        }
        *self.table.or_insert_with((writer, stream_id), || asked) = asked;
    }

    fn take(&mut self, writer: Worker, stream_id: u64) -> Option<Asked> {
        let key = (writer, stream_id);
        let asked = *self.table.get(&key)?;
        self.table.remove(&key);
        Some(asked)
    }

    pub(super) fn end_process(&mut self, pid: u32) {
        self.table.retain(|(writer, _), _| writer.pid != pid);
    }
}

impl Linker {
    /// A goroutine has to do with a connection that another one writes, or reads.
    pub fn multiplexed(&mut self, multiplexed: &Multiplexed) {
        let Multiplexed { time_ns, actor, .. } = *multiplexed;
        let carrier = Worker {
            pid: actor.pid,
            id: multiplexed.carrier,
        };
        match multiplexed.what {
            Multiplexing::Asks { stream_id } => {
                self.asked_streams
                    .add(carrier, stream_id, Asked { actor, time_ns });
            }
            Multiplexing::Serves { stream_id } => {
                if let Some(id) = self.read_by(carrier, |id| id == stream_id).last() {
                    self.hand_over(*id, actor, time_ns);
                }
            }
            Multiplexing::Reads => {
                for id in self.read_by(carrier, |stream_id| stream_id != 0) {
                    self.hand_over(id, actor, time_ns);
                }
            }
        }
    }

    /// Who makes a call: whoever asked for its stream, or else who wrote it. A goroutine that has read another request since it
    /// asked does not work for that one.
    pub(super) fn caller(&mut self, seen: &Seen<'_>) -> Actor {
        if seen.actor.goroutine == 0 {
            return seen.actor;
        }
        let writer = Worker::goroutine(seen.actor);
        let Some(asked) = self.asked_streams.take(writer, seen.stream_id) else {
            return seen.actor;
        };
        let open = self
            .goroutines
            .get(Worker::goroutine(asked.actor))
            .map_or(&[][..], |work| &work.open);
        let is_later = |id: &ExchangeId| {
            let request = self.exchanges.get(id);
            request.is_some_and(|request| request.time_ns > asked.time_ns)
        };
        match open.iter().any(is_later) {
            true => seen.actor,
            false => asked.actor,
        }
    }

    /// Open requests of such numbers that the goroutine has read.
    fn read_by(&self, reader: Worker, is_it: impl Fn(u64) -> bool) -> SmallVec<[ExchangeId; 2]> {
        let open = self.goroutines.get(reader).map_or(&[][..], |work| &work.open);
        let is_it = |id: &&ExchangeId| {
            let request = self.exchanges.get(id);
            request.is_some_and(|request| is_it(request.stream_id))
        };
        open.iter().filter(is_it).copied().collect()
    }

    /// The request is somebody else's from now on.
    pub(super) fn hand_over(&mut self, id: ExchangeId, to: Actor, time_ns: TimeNs) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        let from = std::mem::replace(&mut exchange.actor, to);
        remove(&mut self.goroutine(from, time_ns).open, id);
        self.goroutine(to, time_ns).open.push(id);
        remove(&mut self.thread(from, time_ns).open, id);
        self.thread(to, time_ns).open.push(id);
    }
}
