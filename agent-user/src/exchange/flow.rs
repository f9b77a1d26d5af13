//! Drives a parser over both directions of one connection.
//!
//! Enters: [`Chunk`]s of either direction, in the order they were reported. Leaves: exchanges, through a [`Sink`], and
//! what capture should do about the connection ([`Flow::wants`]). Bounded: [`QUEUE_MAX_CHUNKS`] and
//! [`QUEUE_MAX_BYTES`] kept while the protocol or the other side is not clear yet. Deliberately absent: clocks, sockets.

use std::collections::VecDeque;

use super::detect::{Detection, Seen, detect};
use super::stitch::{Span, Stitcher};
use super::{FlowLosses, Sink};
use crate::connection::stream::{Chunk, Stream};
use crate::event::{Actor, Direction, Role, TimeNs};
use crate::protocol::{Ends, LostReason, Next, Parser, Protocol, Recovery, Resync, Settings, Side, Step};

const QUEUE_MAX_CHUNKS: usize = 32;
const QUEUE_MAX_BYTES: usize = 64 * 1024;
/// Chunks looked at before a connection's protocol counts as unknown.
const DETECTION_MAX_CHUNKS: u32 = 24;
/// Steps in a row that may consume nothing before the parser counts as stuck.
const IDLE_STEPS_MAX: u32 = 32;

/// What is known of a connection when its flow begins.
#[derive(Clone, Copy, Debug)]
pub struct FlowStart {
    pub role: Role,
    pub local_port: u16,
    pub remote_port: u16,
    /// The first byte of the connection will be the first byte shown.
    pub from_start: bool,
    pub datagram: bool,
    /// Use this protocol without looking.
    pub forced: Option<Protocol>,
}

/// What capture should copy of the connection from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// So many bytes from the start of each write.
    Prefix(u32),
    /// Nothing: its protocol is unknown or unreadable.
    Nothing,
}

/// Prefix wanted while the protocol is not known.
pub const DETECTION_PREFIX_BYTES: u32 = 1_024;

struct Queued {
    direction: Direction,
    time_ns: TimeNs,
    actor: Actor,
    position: u64,
    moved: u64,
    bytes: Vec<u8>,
}

impl Queued {
    fn chunk(&self) -> Chunk<'_> {
        Chunk {
            time_ns: self.time_ns,
            actor: self.actor,
            position: self.position,
            moved: self.moved,
            bytes: &self.bytes,
        }
    }
}

struct Speaking {
    protocol: Protocol,
    parser: Box<dyn Parser>,
    wants_bytes: u32,
}

enum State {
    Detecting { seen_chunks: u32 },
    Speaking(Speaking),
    Opaque,
}

/// One direction's reader.
struct Lane {
    stream: Stream,
    /// The parser knows where a message begins.
    synced: bool,
    /// The parser asked for the other side to go on first.
    awaiting: bool,
}

/// The rooms from stream to exchange for one connection.
pub struct Flow {
    role: Role,
    local_port: u16,
    remote_port: u16,
    from_start: bool,
    datagram: bool,
    settings: Settings,
    state: State,
    lanes: [Lane; 2],
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    stitcher: Stitcher,
    losses: FlowLosses,
}

impl Flow {
    pub fn new(start: &FlowStart, settings: &Settings) -> Self {
        let lane = || Lane {
            stream: if start.from_start {
                Stream::from_start()
            } else {
                Stream::default()
            },
            synced: start.from_start,
            awaiting: false,
        };
        let mut flow = Self {
            role: start.role,
            local_port: start.local_port,
            remote_port: start.remote_port,
            from_start: start.from_start,
            datagram: start.datagram,
            settings: settings.clone(),
            state: State::Detecting { seen_chunks: 0 },
            lanes: [lane(), lane()],
            queue: VecDeque::new(),
            queued_bytes: 0,
            stitcher: Stitcher::default(),
            losses: FlowLosses::default(),
        };
        if let Some(protocol) = start.forced {
            flow.speak(protocol);
        }
        flow
    }

    /// Which end the watched process is, as far as known by now.
    pub fn role(&self) -> Role {
        self.role
    }

    pub fn protocol(&self) -> Option<Protocol> {
        match &self.state {
            State::Speaking(speaking) => Some(speaking.protocol),
            _ => None,
        }
    }

    pub fn wants(&self) -> Wants {
        match &self.state {
            State::Detecting { .. } => Wants::Prefix(DETECTION_PREFIX_BYTES),
            State::Speaking(speaking) => Wants::Prefix(speaking.wants_bytes),
            State::Opaque => Wants::Nothing,
        }
    }

    pub fn open_exchanges(&self) -> usize {
        self.stitcher.open_count()
    }

    /// Counters since the last call.
    pub fn take_losses(&mut self) -> FlowLosses {
        std::mem::take(&mut self.losses)
    }

    /// Takes in what moved.
    pub fn data(&mut self, direction: Direction, chunk: &Chunk<'_>, sink: &mut dyn Sink) {
        match self.state {
            State::Opaque => {}
            State::Detecting { .. } => self.look(direction, chunk, sink),
            State::Speaking(_) => {
                let side = self.side(direction);
                self.feed(side, chunk, sink);
                let mut turn = side.peer();
                while self.resume(turn, sink) {
                    turn = turn.peer();
                }
            }
        }
    }

    /// The connection is gone (or the capture ends): what is open ends with it.
    pub fn closed(&mut self, time_ns: TimeNs, sink: &mut dyn Sink) {
        self.settle_detection(sink);
        for side in [Side::Client, Side::Server] {
            self.lanes[side as usize].awaiting = false;
            let State::Speaking(speaking) = &mut self.state else {
                break;
            };
            if let Some(end) = speaking.parser.closed(side) {
                let position = self.lanes[side as usize].stream.position();
                let at = Span {
                    start: position,
                    end: position,
                    start_ns: time_ns,
                    end_ns: time_ns,
                    actor: Actor::default(),
                };
                self.stitcher.ended(side, end, at, sink);
            }
        }
        self.stitcher.closed(&mut self.losses, sink);
        self.state = State::Opaque;
    }

    fn side(&self, direction: Direction) -> Side {
        match (self.role, direction) {
            (Role::Client, Direction::Out) | (Role::Server | Role::Unknown, Direction::In) => Side::Client,
            _ => Side::Server,
        }
    }

    fn speak(&mut self, protocol: Protocol) {
        self.state = match protocol.definition() {
            Some(definition) => State::Speaking(Speaking {
                protocol,
                parser: (definition.open)(&self.settings),
                wants_bytes: definition.capture_prefix_bytes,
            }),
            None => State::Opaque,
        };
    }

    // Before the protocol is known.

    fn look(&mut self, direction: Direction, chunk: &Chunk<'_>, sink: &mut dyn Sink) {
        self.enqueue(direction, chunk);
        let State::Detecting { seen_chunks } = &mut self.state else {
            return;
        };
        *seen_chunks += 1;
        let last_chance = *seen_chunks >= DETECTION_MAX_CHUNKS;
        match self.detect(last_chance) {
            Detection::Found { protocol, role } => self.found(protocol, role, sink),
            Detection::None if last_chance => {
                self.losses.protocol_unknown += 1;
                self.give_up();
            }
            Detection::Wait | Detection::None => {}
        }
    }

    fn enqueue(&mut self, direction: Direction, chunk: &Chunk<'_>) {
        self.queued_bytes += chunk.bytes.len();
        self.queue.push_back(Queued {
            direction,
            time_ns: chunk.time_ns,
            actor: chunk.actor,
            position: chunk.position,
            moved: chunk.moved,
            bytes: chunk.bytes.to_vec(),
        });
        while self.queue.len() > QUEUE_MAX_CHUNKS || self.queued_bytes > QUEUE_MAX_BYTES {
            let Some(oldest) = self.queue.pop_front() else {
                return;
            };
            self.queued_bytes -= oldest.bytes.len();
            self.losses.chunks_turned_away += 1;
        }
    }

    fn detect(&self, last_chance: bool) -> Detection {
        let incoming = self.seen(Direction::In);
        let outgoing = self.seen(Direction::Out);
        detect(&Seen {
            incoming: &incoming,
            outgoing: &outgoing,
            role: self.role,
            local_port: self.local_port,
            remote_port: self.remote_port,
            from_start: self.from_start,
            datagram: self.datagram,
            last_chance,
        })
    }

    /// The bytes a detector should see of a direction: from the start on where it is known, else the latest write.
    fn seen(&self, direction: Direction) -> Vec<u8> {
        let mut chunks = self.queue.iter().filter(|queued| queued.direction == direction);
        if !self.from_start || self.datagram {
            return chunks
                .next_back()
                .map_or_else(Vec::new, |queued| queued.bytes.clone());
        }
        let mut bytes: Vec<u8> = Vec::new();
        let mut end = None;
        for queued in chunks {
            if end.is_some_and(|end| end != queued.position) {
                break;
            }
            bytes.extend_from_slice(&queued.bytes);
            end = Some(queued.position + queued.bytes.len() as u64);
        }
        bytes
    }

    fn found(&mut self, protocol: Protocol, role: Role, sink: &mut dyn Sink) {
        self.role = role;
        self.speak(protocol);
        self.queued_bytes = 0;
        for queued in std::mem::take(&mut self.queue) {
            self.data(queued.direction, &queued.chunk(), sink);
        }
    }

    /// At the end of a connection whose protocol is not decided: the best guess among what scored.
    fn settle_detection(&mut self, sink: &mut dyn Sink) {
        if !matches!(self.state, State::Detecting { .. }) || self.queue.is_empty() {
            return;
        }
        match self.detect(true) {
            Detection::Found { protocol, role } => self.found(protocol, role, sink),
            Detection::Wait | Detection::None => self.losses.protocol_unknown += 1,
        }
    }

    fn give_up(&mut self) {
        self.state = State::Opaque;
        self.queue.clear();
        self.queued_bytes = 0;
    }

    // Once it is known.

    fn feed(&mut self, side: Side, chunk: &Chunk<'_>, sink: &mut dyn Sink) {
        if self.lanes[side as usize].awaiting {
            let direction = self.direction(side);
            let turned_away = self.losses.chunks_turned_away;
            self.enqueue(direction, chunk);
            if self.losses.chunks_turned_away == turned_away {
                return;
            }
            // It waited too long: go on without the other side.
            self.lanes[side as usize].awaiting = false;
            let lost = self.lanes[side as usize].stream.lose(0);
            self.lost(side, lost, chunk, sink);
            return self.feed_queued(side, sink);
        }
        let lane = &mut self.lanes[side as usize];
        let fresh = lane.stream.arrive(chunk);
        if fresh.missing_before > 0 {
            self.missing(side, fresh.missing_before, chunk, sink);
        }
        self.run(side, fresh.bytes, chunk, sink);
        if self.datagram {
            self.lanes[side as usize].stream.lose(0);
        }
        if fresh.missing_after > 0 {
            self.missing(side, fresh.missing_after, chunk, sink);
        }
    }

    fn direction(&self, side: Side) -> Direction {
        if self.side(Direction::In) == side {
            Direction::In
        } else {
            Direction::Out
        }
    }

    /// Lets a side that waited for the other one go on; answers whether it got further.
    fn resume(&mut self, side: Side, sink: &mut dyn Sink) -> bool {
        let lane = &mut self.lanes[side as usize];
        if !lane.awaiting {
            return false;
        }
        lane.awaiting = false;
        let before = lane.stream.position();
        let Some(mark) = lane.stream.mark_at(before) else {
            return false;
        };
        let again = Chunk {
            time_ns: mark.time_ns,
            actor: mark.actor,
            position: lane.stream.end(),
            moved: 0,
            bytes: &[],
        };
        self.run(side, &[], &again, sink);
        self.feed_queued(side, sink);
        self.lanes[side as usize].stream.position() != before
    }

    fn feed_queued(&mut self, side: Side, sink: &mut dyn Sink) {
        let direction = self.direction(side);
        while !self.lanes[side as usize].awaiting
            && let Some(place) = self.queue.iter().position(|queued| queued.direction == direction)
            && let Some(queued) = self.queue.remove(place)
        {
            self.queued_bytes -= queued.bytes.len();
            self.feed(side, &queued.chunk(), sink);
        }
    }

    /// `count` bytes of a side are not to be had.
    fn missing(&mut self, side: Side, count: u64, chunk: &Chunk<'_>, sink: &mut dyn Sink) {
        let stream = &mut self.lanes[side as usize].stream;
        let was_skipping = stream.is_skipping();
        let rest = count - stream.pass_skipped(count);
        if was_skipping && !stream.is_skipping() {
            self.parse(side, &[], true, chunk, sink);
        }
        if rest == 0 {
            return;
        }
        let lane = &mut self.lanes[side as usize];
        let lost = lane.stream.lose(rest);
        if lane.synced {
            self.losses.missing_bytes += lost;
        }
        self.lost(side, lost, chunk, sink);
    }

    fn lost(&mut self, side: Side, bytes: u64, chunk: &Chunk<'_>, sink: &mut dyn Sink) {
        let lane = &mut self.lanes[side as usize];
        let State::Speaking(speaking) = &mut self.state else {
            return;
        };
        if !lane.synced {
            return;
        }
        if bytes > 0 && speaking.parser.gap(side, bytes) == Recovery::Continue {
            return self.parse(side, &[], true, chunk, sink);
        }
        lane.synced = false;
        self.losses.resyncs += 1;
        self.stitcher.lost_place(&mut self.losses, sink);
    }

    /// Shows the parser what is new, behind what it asked to skip.
    fn run(&mut self, side: Side, bytes: &[u8], chunk: &Chunk<'_>, sink: &mut dyn Sink) {
        let stream = &mut self.lanes[side as usize].stream;
        let mut skip_ended = false;
        let mut bytes = bytes;
        if stream.is_skipping() {
            let passed = stream.pass_skipped(bytes.len() as u64);
            bytes = &bytes[passed as usize..];
            skip_ended = !stream.is_skipping();
        }
        self.parse(side, bytes, skip_ended, chunk, sink);
    }

    fn parse(&mut self, side: Side, fresh: &[u8], skip_ended: bool, chunk: &Chunk<'_>, sink: &mut dyn Sink) {
        let held = self.lanes[side as usize].stream.take_held();
        let at_write = held.is_empty();
        if held.is_empty() {
            let used = self.steps(side, fresh, at_write, skip_ended, chunk, sink);
            self.hold(side, fresh[used..].to_vec(), chunk, sink);
        } else {
            let mut bytes = held;
            bytes.extend_from_slice(fresh);
            let used = self.steps(side, &bytes, at_write, skip_ended, chunk, sink);
            bytes.drain(..used);
            self.hold(side, bytes, chunk, sink);
        }
    }

    fn hold(&mut self, side: Side, bytes: Vec<u8>, chunk: &Chunk<'_>, sink: &mut dyn Sink) {
        if bytes.is_empty() || matches!(self.state, State::Opaque) {
            return;
        }
        let count = bytes.len() as u64;
        let stream = &mut self.lanes[side as usize].stream;
        if !stream.hold(bytes) {
            stream.advance(count);
            self.losses.too_large += 1;
            self.lanes[side as usize].awaiting = false;
            self.lost(side, count, chunk, sink);
        }
    }

    /// Steps through `bytes`, which begin at the stream's position; answers how many are dealt with.
    fn steps(
        &mut self,
        side: Side,
        bytes: &[u8],
        at_write: bool,
        skip_ended: bool,
        chunk: &Chunk<'_>,
        sink: &mut dyn Sink,
    ) -> usize {
        let mut used = 0;
        let mut idle = 0;
        let mut show_empty = skip_ended;
        loop {
            let rest = &bytes[used..];
            if rest.is_empty() && !show_empty {
                return used;
            }
            show_empty = false;
            let lane = &mut self.lanes[side as usize];
            let State::Speaking(speaking) = &mut self.state else {
                return bytes.len();
            };
            if !lane.synced {
                match speaking.parser.resync(side, rest, at_write && used == 0) {
                    Resync::At(offset) => {
                        let offset = offset.min(rest.len());
                        lane.stream.advance(offset as u64);
                        lane.synced = true;
                        used += offset;
                        continue;
                    }
                    Resync::NotYet { keep } => {
                        let dropped = rest.len() - keep.min(rest.len());
                        lane.stream.advance(dropped as u64);
                        return used + dropped;
                    }
                }
            }
            let position = lane.stream.position();
            let start = lane.stream.mark_at(position);
            let span = |consumed: usize| Span {
                start: position,
                end: position + consumed as u64,
                start_ns: start.map_or(chunk.time_ns, |mark| mark.time_ns),
                end_ns: chunk.time_ns,
                actor: start.map_or(chunk.actor, |mark| mark.actor),
            };
            let step = speaking.parser.parse(side, rest);
            let consumed = match &step {
                Step::Consumed(consumed)
                | Step::Message { consumed, .. }
                | Step::End { consumed, .. }
                | Step::HandOver { consumed, .. } => (*consumed).min(rest.len()),
                _ => 0,
            };
            lane.stream.advance(consumed as u64);
            used += consumed;
            idle = if consumed > 0 { 0 } else { idle + 1 };
            match step {
                Step::NeedMore => return used,
                Step::AwaitPeer => {
                    lane.awaiting = true;
                    return used;
                }
                Step::Consumed(_) => {}
                Step::Skip(count) => {
                    lane.stream.skip(count);
                    used += lane.stream.pass_skipped(rest.len() as u64) as usize;
                    if lane.stream.is_skipping() {
                        return used;
                    }
                    idle = if count > 0 { 0 } else { idle };
                    show_empty = true;
                }
                Step::Message { message, .. } => {
                    show_empty = message.ends == Ends::Later;
                    let protocol = speaking.protocol;
                    self.stitcher
                        .message(protocol, side, message, span(consumed), &mut self.losses, sink);
                }
                Step::End { end, .. } => self.stitcher.ended(side, *end, span(consumed), sink),
                Step::HandOver { to, .. } => {
                    self.hand_over(side, to, bytes, used, chunk, sink);
                    if !matches!(self.state, State::Speaking(_)) {
                        return bytes.len();
                    }
                }
                Step::Lost(reason) => {
                    self.count(reason);
                    self.lost(side, 0, chunk, sink);
                    // Never resync at the very byte that was refused.
                    let lane = &mut self.lanes[side as usize];
                    let past = 1.min(bytes.len() - used);
                    lane.stream.advance(past as u64);
                    used += past;
                }
            }
            if idle > IDLE_STEPS_MAX {
                self.losses.malformed += 1;
                self.lost(side, 0, chunk, sink);
                idle = 0;
            }
        }
    }

    fn count(&mut self, reason: LostReason) {
        let counter = match reason {
            LostReason::Malformed => &mut self.losses.malformed,
            LostReason::TooLarge => &mut self.losses.too_large,
            LostReason::MissingState => &mut self.losses.missing_state,
            LostReason::Unsupported => &mut self.losses.unsupported,
        };
        *counter += 1;
    }

    fn hand_over(
        &mut self,
        side: Side,
        to: Next,
        bytes: &[u8],
        used: usize,
        chunk: &Chunk<'_>,
        sink: &mut dyn Sink,
    ) {
        for lane in &mut self.lanes {
            lane.synced = true;
        }
        match to {
            Next::Protocol(protocol) => self.speak(protocol),
            Next::Opaque => self.give_up(),
            Next::Detect => {
                self.state = State::Detecting { seen_chunks: 0 };
                self.from_start = true;
                let rest = &bytes[used..];
                let stream = &mut self.lanes[side as usize].stream;
                let position = stream.position();
                if !rest.is_empty() {
                    let direction = self.direction(side);
                    let again = Chunk {
                        position,
                        moved: rest.len() as u64,
                        bytes: rest,
                        ..*chunk
                    };
                    self.look(direction, &again, sink);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
