//! Threads and goroutines: which open requests each one has taken up, and which one it works on right now.
//!
//! Enters: who read and wrote what. Leaves: the set of open requests per thread (never one overwritten slot), and the
//! *segment*: whose bytes the thread read last. Bounded by the linker's limit on threads, with
//! forgetting of the least useful; a forgotten thread loses `exact`, nothing else.

use smallvec::SmallVec;

use super::ExchangeId;
use super::answering::Said;
use super::segment::Segment;
use super::table::Table;
use super::waking::Calls;
use crate::event::Actor;

/// Thread (or goroutine) of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) pid: u32,
    pub(super) id: u64,
}

impl Worker {
    pub(super) fn thread(actor: Actor) -> Self {
        Self {
            pid: actor.pid,
            id: actor.thread(),
        }
    }

    pub(super) fn goroutine(actor: Actor) -> Self {
        Self {
            pid: actor.pid,
            id: actor.goroutine,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Work {
    /// Server exchanges whose request this worker read and that are not answered.
    pub(super) open: Vec<ExchangeId>,
    /// Client exchanges this worker wrote and that are not answered.
    pub(super) calls: Vec<ExchangeId>,
    /// Whose bytes it read and has not acted upon.
    pub(super) segment: Segment,
    /// It has read requests; it has made calls while it had none open. A thread that does both is a pool's or a loop's.
    pub(super) served: bool,
    pub(super) strayed: bool,
    /// It has had two requests, or two calls on different connections, open at once.
    pub(super) interleaves: bool,
    /// It has had two requests open at once.
    pub(super) shared: bool,
    /// Calls it made whose request is not known yet.
    pub(super) unplaced: Vec<ExchangeId>,
    /// What its last answer said of calls.
    pub(super) said: SmallVec<[Said; 2]>,
    /// Its calls, where it serves nothing.
    pub(super) made: Calls,
    last_ns: u64,
}

#[derive(Default)]
pub(super) struct Workers {
    table: Table<Worker, Work>,
}

impl Workers {
    pub(super) fn get(&self, worker: Worker) -> Option<&Work> {
        self.table.get(&worker)
    }

    /// Makes room first if there is none: idle workers go, the longest idle first. Answers how many went.
    #[inline]
    pub(super) fn entry(&mut self, worker: Worker, now_ns: u64, limit: usize) -> (&mut Work, u64) {
        let mut evicted = 0;
        if self.table.len() >= limit && !self.table.contains_key(&worker) {
            let age = |work: &Work| (!(work.open.is_empty() && work.calls.is_empty()), work.last_ns);
            evicted = self.table.make_room(limit, age);
        }
        let work = self.table.or_default(worker);
        work.last_ns = now_ns;
        (work, evicted)
    }

    pub(super) fn get_mut(&mut self, worker: Worker) -> Option<&mut Work> {
        self.table.get_mut(&worker)
    }

    pub(super) fn end_process(&mut self, pid: u32) {
        self.table.retain(|worker, _| worker.pid != pid);
    }

    #[cfg(test)]
    pub(super) fn most(&self, count: impl Fn(&Work) -> usize) -> usize {
        self.table.iter().map(|(_, work)| count(work)).max().unwrap_or(0)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

/// Removes the first occurrence; order is kept, since the newest matters.
pub(super) fn remove(list: &mut Vec<ExchangeId>, id: ExchangeId) {
    // Nearly always.
    if list.last() == Some(&id) {
        list.pop();
    } else if let Some(at) = list.iter().rposition(|other| *other == id) {
        list.remove(at);
    }
}
