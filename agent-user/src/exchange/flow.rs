//! One connection's way from chunks to exchanges: recognise the protocol, then converse in it.
//!
//! Enters: [`Chunk`]s of either direction, in the order they were reported. Leaves: exchanges, through a [`Sink`], and
//! what capture should copy of the connection ([`Flow::wants`]). Bounded: a [`Queue`] of chunks while the protocol is
//! not clear, and [`DETECTION_MAX_SMALL_CHUNKS`] looks. Deliberately absent: clocks, sockets.

use super::conversation::{Conversation, Departure, Out};
use super::detect::{Detection, Seen, detect, weigh};
use super::lane::Joined;
use super::queue::Queue;
use super::stitch::Stitcher;
use super::{Ending, FlowLosses, Sink};
use crate::connection::stream::Chunk;
use crate::event::{Direction, Role, TimeNs};
use crate::protocol::{Next, Protocol, Settings, Side};

/// Chunks looked at before a connection's protocol counts as unknown, and as long as they hold next to nothing (a line
/// typed key by key).
const DETECTION_MAX_CHUNKS: u32 = 24;
const DETECTION_MAX_SMALL_CHUNKS: u32 = 192;
const DETECTION_SMALL_BYTES: usize = 512;
/// Prefix of a write wanted while the protocol is not known.
const DETECTION_PREFIX_BYTES: u32 = 1_024;

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

enum State {
    Detecting { seen_chunks: u32 },
    Speaking(Box<Conversation>),
    Opaque,
}

/// The rooms from stream to exchange for one connection.
pub struct Flow {
    role: Role,
    local_port: u16,
    remote_port: u16,
    joined: Joined,
    datagram: bool,
    settings: Settings,
    state: State,
    queue: Queue,
    stitcher: Stitcher,
    losses: FlowLosses,
}

impl Flow {
    pub fn new(start: &FlowStart, settings: &Settings) -> Self {
        let mut flow = Self {
            role: start.role,
            local_port: start.local_port,
            remote_port: start.remote_port,
            joined: if start.from_start {
                Joined::AtStart
            } else {
                Joined::InTheMiddle
            },
            datagram: start.datagram,
            settings: Settings {
                datagram: start.datagram,
                ..settings.clone()
            },
            state: State::Detecting { seen_chunks: 0 },
            queue: Queue::default(),
            stitcher: Stitcher::new(local_side(start.role)),
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
            State::Speaking(conversation) => Some(conversation.protocol),
            _ => None,
        }
    }

    pub fn wants(&self) -> Wants {
        match &self.state {
            State::Detecting { .. } => Wants::Prefix(DETECTION_PREFIX_BYTES),
            State::Speaking(conversation) => Wants::Prefix(conversation.capture_prefix_bytes),
            State::Opaque => Wants::Nothing,
        }
    }

    /// Whether the next bytes of this direction are the rest of a message that nobody needs to see.
    pub fn is_passing(&self, direction: Direction) -> bool {
        match &self.state {
            State::Speaking(conversation) => conversation.is_passing(self.side(direction)),
            _ => false,
        }
    }

    pub fn open_exchanges(&self) -> usize {
        self.stitcher.open_count()
    }

    /// Whether [`Self::take_losses`] would tell of any.
    pub fn has_losses(&self) -> bool {
        !self.losses.is_zero()
    }

    /// Counters since the last call.
    pub fn take_losses(&mut self) -> FlowLosses {
        std::mem::take(&mut self.losses)
    }

    /// Takes in what moved.
    pub fn data(&mut self, direction: Direction, chunk: &Chunk<'_>, sink: &mut dyn Sink) {
        let side = self.side(direction);
        match &mut self.state {
            State::Opaque => {}
            State::Detecting { .. } => self.look(direction, chunk, sink),
            State::Speaking(conversation) => {
                let mut out = Out {
                    stitcher: &mut self.stitcher,
                    losses: &mut self.losses,
                    sink,
                };
                conversation.data(side, chunk, &mut out);
                if let Some(departure) = conversation.departure.take() {
                    self.depart(&departure, chunk, sink);
                }
            }
        }
    }

    /// The connection is gone (or the capture ends): what is open ends with it.
    pub fn closed(&mut self, time_ns: TimeNs, sink: &mut dyn Sink) {
        self.settle_detection(sink);
        let mut out = Out {
            stitcher: &mut self.stitcher,
            losses: &mut self.losses,
            sink,
        };
        if let State::Speaking(conversation) = &mut self.state {
            conversation.closed(time_ns, &mut out);
        }
        self.stitcher.over(Ending::Closed, &mut self.losses, sink);
        self.state = State::Opaque;
    }

    /// The connection goes on, but nobody will look at it any more.
    pub fn given_up(&mut self, sink: &mut dyn Sink) {
        self.settle_detection(sink);
        self.stitcher.over(Ending::Evicted, &mut self.losses, sink);
        self.state = State::Opaque;
    }

    fn side(&self, direction: Direction) -> Side {
        match (self.role, direction) {
            (Role::Client, Direction::Out) | (Role::Server | Role::Unknown, Direction::In) => Side::Client,
            _ => Side::Server,
        }
    }

    fn direction(&self, side: Side) -> Direction {
        if self.side(Direction::In) == side {
            Direction::In
        } else {
            Direction::Out
        }
    }

    fn speak(&mut self, protocol: Protocol) {
        self.state = match protocol.definition() {
            Some(definition) => State::Speaking(Box::new(Conversation::new(
                protocol,
                (definition.open)(&self.settings),
                definition.capture_prefix_bytes,
                &self.settings,
                self.joined,
                self.datagram,
            ))),
            None => State::Opaque,
        };
    }

    /// The parser left for another protocol, or for nothing readable.
    fn depart(&mut self, departure: &Departure, chunk: &Chunk<'_>, sink: &mut dyn Sink) {
        if departure.to != Next::Detect {
            self.state = State::Opaque;
            return;
        }
        self.state = State::Detecting { seen_chunks: 0 };
        self.joined = Joined::AtHandOver;
        if !departure.bytes.is_empty() {
            let direction = self.direction(departure.side);
            let rest = Chunk {
                position: departure.position,
                moved: departure.bytes.len() as u64,
                bytes: &departure.bytes,
                ..*chunk
            };
            self.look(direction, &rest, sink);
        }
    }

    fn look(&mut self, direction: Direction, chunk: &Chunk<'_>, sink: &mut dyn Sink) {
        self.losses.chunks_turned_away += self.queue.push(direction, chunk);
        let State::Detecting { seen_chunks } = &mut self.state else {
            return;
        };
        *seen_chunks += 1;
        let last_chance = *seen_chunks >= DETECTION_MAX_SMALL_CHUNKS
            || (*seen_chunks >= DETECTION_MAX_CHUNKS && self.queue.bytes() >= DETECTION_SMALL_BYTES);
        match self.detect(last_chance) {
            Detection::Found { protocol, role } => self.found(protocol, role, sink),
            Detection::None if last_chance => {
                self.losses.protocol_unknown += 1;
                self.state = State::Opaque;
                self.queue.clear();
            }
            Detection::Wait | Detection::None => {}
        }
    }

    /// Asks the detectors: about the connection's first bytes where they are at hand, and about the latest writes where it
    /// was joined in the middle or where bytes between are missing.
    fn detect(&mut self, last_chance: bool) -> Detection {
        if self.joined == Joined::InTheMiddle || self.datagram {
            return self.detect_in(
                self.latest(Direction::In),
                self.latest(Direction::Out),
                last_chance,
            );
        }
        let (incoming, has_gap_in) = self.beginning(Direction::In);
        let (outgoing, has_gap_out) = self.beginning(Direction::Out);
        let found = self.detect_in(incoming, outgoing, last_chance);
        if matches!(found, Detection::Found { .. }) || !(has_gap_in || has_gap_out) {
            return found;
        }
        let joined = std::mem::replace(&mut self.joined, Joined::InTheMiddle);
        let later = self.detect_in(
            self.latest(Direction::In),
            self.latest(Direction::Out),
            last_chance,
        );
        if matches!(later, Detection::Found { .. }) {
            return later;
        }
        self.joined = joined;
        found
    }

    fn detect_in(&self, incoming: Vec<u8>, outgoing: Vec<u8>, last_chance: bool) -> Detection {
        detect(&self.seen(&incoming, &outgoing, last_chance))
    }

    fn seen<'a>(&self, incoming: &'a [u8], outgoing: &'a [u8], last_chance: bool) -> Seen<'a> {
        Seen {
            incoming,
            outgoing,
            role: self.role,
            local_port: self.local_port,
            remote_port: self.remote_port,
            from_start: self.joined != Joined::InTheMiddle,
            datagram: self.datagram,
            last_chance,
        }
    }

    /// Where a connection was joined in the middle, the latest writes may fit either role: all of them decide.
    fn likely_role(&self, protocol: Protocol, found: Role) -> Role {
        if self.role != Role::Unknown || self.joined != Joined::InTheMiddle {
            return found;
        }
        let other = if found == Role::Client {
            Role::Server
        } else {
            Role::Client
        };
        let written = |direction: Direction| self.queue.of(direction).map(|queued| &queued.bytes[..]);
        let incoming = written(Direction::In).map(|bytes| self.seen(bytes, &[], true));
        let outgoing = written(Direction::Out).map(|bytes| self.seen(&[], bytes, true));
        let balance: i32 = incoming
            .chain(outgoing)
            .filter(|seen| !(seen.incoming.is_empty() && seen.outgoing.is_empty()))
            .map(|seen| (weigh(protocol, &seen, found), weigh(protocol, &seen, other)))
            // What fits neither may be the middle of something, and says nothing.
            .filter(|(found, other)| *found > 0 || *other > 0)
            .map(|(found, other)| other - found)
            .sum();
        if balance > 0 { other } else { found }
    }

    /// The latest write of a direction.
    fn latest(&self, direction: Direction) -> Vec<u8> {
        let mut written = self.queue.of(direction).rev().map(|queued| &queued.bytes);
        written
            .find(|bytes| !bytes.is_empty())
            .cloned()
            .unwrap_or_default()
    }

    /// The first bytes of a direction, and whether bytes behind them are missing.
    fn beginning(&self, direction: Direction) -> (Vec<u8>, bool) {
        let mut bytes: Vec<u8> = Vec::new();
        let mut end = None;
        for queued in self.queue.of(direction) {
            if end.is_some_and(|end| end != queued.position) || queued.bytes.is_empty() {
                return (bytes, true);
            }
            bytes.extend_from_slice(&queued.bytes);
            end = Some(queued.position + queued.bytes.len() as u64);
        }
        (bytes, false)
    }

    fn found(&mut self, protocol: Protocol, role: Role, sink: &mut dyn Sink) {
        let role = self.likely_role(protocol, role);
        self.role = role;
        self.stitcher.local = local_side(role);
        self.speak(protocol);
        let mut queue = std::mem::take(&mut self.queue);
        while let Some(queued) = queue.pop() {
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
}

fn local_side(role: Role) -> Side {
    if role == Role::Client {
        Side::Client
    } else {
        Side::Server
    }
}

#[cfg(test)]
mod tests;
