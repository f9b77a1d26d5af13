//! Drives one parser over both sides of a connection: gaps, skips, waiting for the other side, resync.
//!
//! Enters: chunks by side. Leaves: messages, to the stitcher; and the news that the protocol changes. Bounded: what a
//! [`Stream`] holds, and a [`Queue`] a side while it waits for the other one. Deliberately absent: recognising protocols.

use super::lane::{After, Joined, Lane};
use super::stitch::{Span, Stitcher};
use super::{FlowLosses, Sink};
use crate::connection::stream::Chunk;
use crate::event::{Direction, TimeNs};
use crate::protocol::{Ends, Next, Pairing, Parser, Protocol, Recovery, Resync, Settings, Side, Step};

/// Steps in a row that may consume nothing before the parser counts as stuck; more than there can be open exchanges, which
/// one acknowledgment may all answer.
const IDLE_STEPS_MAX: u32 = 2_048;

/// Where the results of a conversation go.
pub(super) struct Out<'a> {
    pub(super) stitcher: &'a mut Stitcher,
    pub(super) losses: &'a mut FlowLosses,
    pub(super) sink: &'a mut dyn Sink,
}

/// Bytes behind a hand-over that belong to what comes next.
pub(super) struct Departure {
    pub(super) to: Next,
    pub(super) side: Side,
    pub(super) position: u64,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Conversation {
    pub(super) protocol: Protocol,
    pub(super) capture_prefix_bytes: u32,
    /// Set once the protocol is left for one that must be recognised first, or for nothing readable.
    pub(super) departure: Option<Box<Departure>>,
    parser: Box<dyn Parser>,
    settings: Settings,
    lanes: [Lane; 2],
    datagram: bool,
}

impl Conversation {
    pub(super) fn new(
        protocol: Protocol,
        parser: Box<dyn Parser>,
        capture_prefix_bytes: u32,
        settings: &Settings,
        joined: Joined,
        datagram: bool,
    ) -> Self {
        Self {
            protocol,
            capture_prefix_bytes,
            departure: None,
            parser,
            settings: settings.clone(),
            lanes: [Lane::new(joined), Lane::new(joined)],
            datagram,
        }
    }

    pub(super) fn is_passing(&self, side: Side) -> bool {
        self.lanes[side as usize].stream.is_skipping()
    }

    pub(super) fn data(&mut self, side: Side, chunk: &Chunk<'_>, out: &mut Out<'_>) {
        self.feed(side, chunk, out);
        let mut turn = side.peer();
        while self.resume(turn, out) {
            turn = turn.peer();
        }
    }

    pub(super) fn closed(&mut self, time_ns: TimeNs, out: &mut Out<'_>) {
        for side in [Side::Client, Side::Server] {
            let at = Span::at(self.lanes[side as usize].stream.position(), time_ns);
            if let Some(end) = self.parser.closed(side) {
                out.stitcher.ended(side, end, at, out.sink);
            }
        }
    }

    fn feed(&mut self, side: Side, chunk: &Chunk<'_>, out: &mut Out<'_>) {
        if self.departure.is_some() {
            return;
        }
        let lane = &mut self.lanes[side as usize];
        if lane.awaiting {
            let turned_away = lane.waiting.push(Direction::In, chunk);
            if turned_away == 0 {
                return;
            }
            // It waited too long: go on without the other side.
            out.losses.chunks_turned_away += turned_away;
            lane.awaiting = false;
            let lost = lane.stream.lose(0);
            self.lost(side, lost, chunk, out);
            return self.feed_waiting(side, out);
        }
        let fresh = lane.stream.arrive(chunk);
        if fresh.missing_before > 0 {
            self.missing(side, fresh.missing_before, chunk, out);
        }
        if !fresh.bytes.is_empty() {
            self.run(side, fresh.bytes, chunk, out);
        }
        if self.datagram {
            self.lanes[side as usize].stream.lose(0);
        }
        if fresh.missing_after > 0 {
            self.missing(side, fresh.missing_after, chunk, out);
        }
        self.lanes[side as usize].last_ns = chunk.time_ns;
    }

    /// Lets a side that waited for the other one go on; answers whether it got further.
    fn resume(&mut self, side: Side, out: &mut Out<'_>) -> bool {
        let lane = &mut self.lanes[side as usize];
        if !lane.awaiting {
            return false;
        }
        lane.awaiting = false;
        let before = lane.stream.position();
        let Some(mark) = lane.stream.mark_at(before).copied() else {
            return false;
        };
        let again = Chunk {
            time_ns: mark.time_ns,
            actor: mark.actor,
            position: lane.stream.end(),
            moved: 0,
            bytes: &[],
            continues: false,
        };
        self.run(side, &[], &again, out);
        self.feed_waiting(side, out);
        self.lanes[side as usize].stream.position() != before
    }

    fn feed_waiting(&mut self, side: Side, out: &mut Out<'_>) {
        while !self.lanes[side as usize].awaiting
            && let Some(queued) = self.lanes[side as usize].waiting.pop()
        {
            self.feed(side, &queued.chunk(), out);
        }
    }

    /// `count` bytes of a side are not to be had.
    fn missing(&mut self, side: Side, count: u64, chunk: &Chunk<'_>, out: &mut Out<'_>) {
        if self.departure.is_some() {
            return;
        }
        let mut rest = count;
        if self.lanes[side as usize].stream.is_skipping() {
            rest -= self.pass_skipped(side, count, chunk, out);
        }
        if rest == 0 {
            return;
        }
        let lane = &mut self.lanes[side as usize];
        let held = lane.stream.take_held();
        if !held.is_empty() && lane.synced && !lane.awaiting {
            let step = self.parser.cut(side, &held);
            let used = self.take(side, step, &held, chunk, out).used();
            self.lanes[side as usize]
                .stream
                .advance((held.len() - used) as u64);
            rest -= self.pass_skipped(side, rest, chunk, out);
        } else {
            lane.stream.advance(held.len() as u64);
        }
        if rest == 0 {
            return;
        }
        let lane = &mut self.lanes[side as usize];
        lane.awaiting = false;
        lane.stream.lose(rest);
        if lane.synced {
            out.losses.missing_bytes += rest;
        }
        self.lost(side, rest, chunk, out);
    }

    /// Uses up to `available` bytes for a skip under way; answers how many. What ends with the skip ends.
    fn pass_skipped(&mut self, side: Side, available: u64, chunk: &Chunk<'_>, out: &mut Out<'_>) -> u64 {
        let lane = &mut self.lanes[side as usize];
        if !lane.stream.is_skipping() {
            return 0;
        }
        let passed = lane.stream.pass_skipped(available);
        if lane.stream.is_skipping() {
            return passed;
        }
        let position = lane.stream.position();
        if let Some(pairing) = lane.ends_after_skip.take() {
            out.stitcher
                .passed(side, pairing, position, chunk.time_ns, out.sink);
        } else if lane.stream.end() == position {
            self.read(side, &[], true, chunk, out);
        }
        passed
    }

    /// The parser must account for lost bytes, or look for its place again.
    fn lost(&mut self, side: Side, bytes: u64, chunk: &Chunk<'_>, out: &mut Out<'_>) {
        let recovery = if bytes > 0 {
            self.parser.gap(side, bytes)
        } else {
            Recovery::Resync
        };
        let lane = &mut self.lanes[side as usize];
        match recovery {
            Recovery::Continue if lane.synced => return self.read(side, &[], true, chunk, out),
            Recovery::Continue => return,
            // The answers to what was asked since the place was lost may be among these bytes.
            Recovery::Resync if !lane.synced && bytes > 0 => {
                return out.stitcher.lost_place(out.losses, out.sink);
            }
            Recovery::Resync if !lane.synced => return,
            Recovery::Resync => {}
        }
        lane.synced = false;
        lane.ends_after_skip = None;
        out.losses.resyncs += 1;
        out.stitcher.lost_place(out.losses, out.sink);
    }

    /// Shows the parser what is new, behind what it asked to skip.
    fn run(&mut self, side: Side, bytes: &[u8], chunk: &Chunk<'_>, out: &mut Out<'_>) {
        let mut bytes = bytes;
        if self.lanes[side as usize].stream.is_skipping() {
            let passed = self.pass_skipped(side, bytes.len() as u64, chunk, out);
            bytes = &bytes[passed as usize..];
            if bytes.is_empty() {
                return;
            }
        }
        self.read(side, bytes, false, chunk, out);
    }

    fn read(&mut self, side: Side, fresh: &[u8], show_empty: bool, chunk: &Chunk<'_>, out: &mut Out<'_>) {
        let held = self.lanes[side as usize].stream.take_held();
        if held.is_empty() {
            let used = self.steps(side, fresh, !chunk.continues, show_empty, chunk, out);
            if used < fresh.len() {
                self.hold(side, fresh[used..].to_vec(), chunk, out);
            }
        } else {
            let mut bytes = held;
            bytes.extend_from_slice(fresh);
            let used = self.steps(side, &bytes, false, show_empty, chunk, out);
            bytes.drain(..used);
            self.hold(side, bytes, chunk, out);
        }
    }

    fn hold(&mut self, side: Side, bytes: Vec<u8>, chunk: &Chunk<'_>, out: &mut Out<'_>) {
        if bytes.is_empty() || self.departure.is_some() {
            return;
        }
        let lane = &mut self.lanes[side as usize];
        let Err(bytes) = lane.stream.hold(bytes) else {
            return;
        };
        out.losses.too_large += 1;
        lane.awaiting = false;
        let step = if lane.synced {
            self.parser.cut(side, &bytes)
        } else {
            Step::NeedMore
        };
        let used = self.take(side, step, &bytes, chunk, out).used();
        self.lanes[side as usize]
            .stream
            .advance((bytes.len() - used) as u64);
        if !self.lanes[side as usize].stream.is_skipping() {
            self.lost(side, 0, chunk, out);
        }
    }

    /// Steps through `bytes`, which begin at the stream's position; answers how many are dealt with.
    fn steps(
        &mut self,
        side: Side,
        bytes: &[u8],
        at_write: bool,
        show_empty: bool,
        chunk: &Chunk<'_>,
        out: &mut Out<'_>,
    ) -> usize {
        let mut used = 0;
        let mut idle = 0;
        let mut show_empty = show_empty;
        while (used < bytes.len() || show_empty) && self.departure.is_none() {
            show_empty = false;
            let rest = &bytes[used..];
            if !self.lanes[side as usize].synced
                && !self.find_place(side, rest, at_write && used == 0, &mut used)
            {
                return used;
            }
            let rest = &bytes[used..];
            let step = self.parser.parse(side, rest);
            match self.take(side, step, rest, chunk, out) {
                After::Stop(count) => return used + count,
                After::Used(count) => (used, idle) = (used + count, if count > 0 { 0 } else { idle + 1 }),
                After::UsedShowAnyway(count) => {
                    (used, idle) = (used + count, if count > 0 { 0 } else { idle + 1 });
                    show_empty = true;
                }
            }
            if idle > IDLE_STEPS_MAX {
                out.losses.malformed += 1;
                self.lost(side, 0, chunk, out);
                return used;
            }
        }
        used
    }

    /// Asks the parser for its place; false when it is not in `rest`.
    fn find_place(&mut self, side: Side, rest: &[u8], at_write: bool, used: &mut usize) -> bool {
        let lane = &mut self.lanes[side as usize];
        if rest.is_empty() {
            return false;
        }
        let found = self.parser.resync(side, rest, at_write);
        let dropped = match found {
            Resync::At(offset) => offset.min(rest.len()),
            Resync::NotYet { keep } => rest.len() - keep.min(rest.len()),
        };
        lane.stream.advance(dropped as u64);
        *used += dropped;
        lane.synced = matches!(found, Resync::At(_));
        lane.synced && dropped < rest.len()
    }

    /// Does what a step asks for. `rest` are the bytes it was given, at the stream's position.
    fn take(&mut self, side: Side, step: Step, rest: &[u8], chunk: &Chunk<'_>, out: &mut Out<'_>) -> After {
        let lane = &mut self.lanes[side as usize];
        let position = lane.stream.position();
        let mut consume = |consumed: usize| {
            let consumed = consumed.min(rest.len());
            lane.stream.advance(consumed as u64);
            let start = lane.stream.mark_at(position);
            let end = position + consumed as u64;
            // Bytes may have been kept from before the chunk that tells what they are.
            let last = lane
                .stream
                .mark_at(end.saturating_sub(1))
                .filter(|_| end <= chunk.position);
            let at = Span {
                start: position,
                end,
                start_ns: start.map_or(chunk.time_ns, |mark| mark.time_ns),
                end_ns: last.map_or(chunk.time_ns, |mark| mark.time_ns),
                actor: start.map_or(chunk.actor, |mark| mark.actor),
            };
            (consumed, at)
        };
        match step {
            Step::NeedMore => After::Stop(0),
            Step::AwaitPeer => {
                lane.awaiting = true;
                After::Stop(0)
            }
            Step::Consumed(count) => {
                let count = count.min(rest.len());
                lane.stream.advance(count as u64);
                After::Used(count)
            }
            Step::Skip(count) => {
                lane.stream.skip(count);
                let passed = lane.stream.pass_skipped(rest.len() as u64) as usize;
                if lane.stream.is_skipping() {
                    After::Stop(passed)
                } else {
                    After::UsedShowAnyway(passed)
                }
            }
            Step::Message { consumed, message } => {
                let (consumed, at) = consume(consumed);
                let (ends, pairing) = (message.ends, message.pairing);
                out.stitcher
                    .message(self.protocol, side, message, at, out.losses, out.sink);
                match ends {
                    Ends::Here => After::Used(consumed),
                    Ends::Later => After::UsedShowAnyway(consumed),
                    Ends::After(count) => {
                        self.lanes[side as usize].stream.skip(count);
                        self.lanes[side as usize].ends_after_skip = Some(pairing);
                        let passed = self.pass_skipped(side, (rest.len() - consumed) as u64, chunk, out);
                        After::Used(consumed + passed as usize)
                    }
                }
            }
            Step::End { consumed, end } => {
                let (consumed, mut at) = consume(consumed);
                if consumed == 0 && !rest.is_empty() && position == chunk.position && lane.last_ns != 0 {
                    // It is over because something else begins: it ended with the bytes before these.
                    at.end_ns = lane.last_ns;
                }
                out.stitcher.ended(side, *end, at, out.sink);
                After::Used(consumed)
            }
            Step::Unseen { id } => {
                let pairing = id.map_or(Pairing::InOrder, Pairing::Id);
                let last_ns = lane.last_ns;
                out.stitcher.unseen(pairing, last_ns, out.losses, out.sink);
                After::UsedShowAnyway(0)
            }
            Step::HandOver { consumed, to } => {
                let (consumed, at) = consume(consumed);
                self.hand_over(side, to, at.end, &rest[consumed..]);
                After::Used(consumed)
            }
            Step::Unread { consumed, reason } => {
                out.losses.count(reason);
                After::Used(consume(consumed).0)
            }
            Step::Lost(reason) => {
                out.losses.count(reason);
                self.lost(side, 0, chunk, out);
                // Never resync at the very byte that was refused.
                let past = 1.min(rest.len());
                self.lanes[side as usize].stream.advance(past as u64);
                After::Used(past)
            }
        }
    }

    fn hand_over(&mut self, side: Side, to: Next, position: u64, rest: &[u8]) {
        if let Next::Protocol(protocol) = to
            && let Some(definition) = protocol.definition()
        {
            self.protocol = protocol;
            self.parser = (definition.open)(&self.settings);
            self.capture_prefix_bytes = definition.capture_prefix_bytes;
            for lane in &mut self.lanes {
                lane.synced = true;
            }
        } else {
            self.departure = Some(Box::new(Departure {
                to,
                side,
                position,
                bytes: rest.to_vec(),
            }));
        }
    }
}
