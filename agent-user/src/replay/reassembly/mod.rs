//! Reassembly: segments and datagrams become events of connections.
//!
//! Enters: [`Segment`]s of a capture. Leaves: [`Event`]s as `kernel` would send them, watched from the accepting end
//! where that is known. Bounded: [`MAX_CONNECTIONS`] connections, of which the longest idle make room, and
//! [`MAX_HELD_BYTES`] held out of order in all of them. Deliberately absent: protocols.

mod connection;
mod datagrams;
mod half;

use std::net::SocketAddr;

use rustc_hash::FxHashMap;

use self::connection::{Connection, Delivery, End, Taken};
use self::datagrams::Datagrams;
use super::packet::Segment;
use crate::event::{
    Actor, Closed, ConnectionId, Data, Direction, Event, Opened, Role, SequencePair, TimeNs, Transport,
};

/// Connections followed at a time, closed ones included whose stragglers are still recognised.
pub const MAX_CONNECTIONS: usize = 32 * 1024;
/// Payload bytes held out of order, over all connections.
pub const MAX_HELD_BYTES: usize = 64 << 20;

/// What the reassembly met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReassemblyCounters {
    pub tcp_connections: u64,
    pub udp_flows: u64,
    /// Segments and datagrams that brought nothing new.
    pub repeated_segments: u64,
    /// Bytes that are known to have moved and that the capture does not hold.
    pub missing_bytes: u64,
    /// Connections dropped to make room for others.
    pub evicted_connections: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FlowKey {
    transport: Transport,
    /// The lower address first.
    ends: [SocketAddr; 2],
}

struct Entry {
    face: Face,
    last_packet: u64,
    state: State,
}

/// What a connection shows to the outside.
struct Face {
    id: ConnectionId,
    transport: Transport,
    /// Source of the first packet, and the other end.
    ends: [SocketAddr; 2],
    /// The watched one of them.
    local: End,
    opener: Option<End>,
    sequence: Option<SequencePair>,
    opened: bool,
    closed: bool,
    last_ns: TimeNs,
}

impl Entry {
    fn is_over(&self) -> bool {
        let is_reset = matches!(&self.state, State::Tcp(connection) if connection.is_reset);
        self.face.closed || is_reset
    }
}

enum State {
    Tcp(Box<Connection>),
    Udp(Box<Datagrams>),
}

/// All connections of a capture.
#[derive(Default)]
pub struct Reassembler {
    entries: FxHashMap<FlowKey, Entry>,
    next_id: u64,
    packets: u64,
    held_bytes: usize,
    /// Ports known to accept, which decide who is the server where no SYN tells.
    server_ports: Vec<u16>,
    counters: ReassemblyCounters,
}

type Visit<'a> = dyn FnMut(Event<'_>) + 'a;

impl Reassembler {
    pub fn new(server_ports: Vec<u16>) -> Self {
        Self {
            server_ports,
            ..Self::default()
        }
    }

    pub fn counters(&self) -> ReassemblyCounters {
        self.counters
    }

    /// Takes in one segment or datagram.
    pub fn segment(&mut self, segment: &Segment<'_>, visit: &mut Visit<'_>) {
        self.packets += 1;
        let mut ends = [segment.source, segment.destination];
        ends.sort_unstable();
        let transport = if segment.tcp.is_some() {
            Transport::Tcp
        } else {
            Transport::Udp
        };
        let key = FlowKey { transport, ends };
        if !self.entries.contains_key(&key) {
            if is_without_use(segment) {
                return;
            }
            self.make_room(visit);
            self.begin(key, segment);
        }
        if self.take_in(key, segment, visit) == Taken::Other {
            self.end(key, visit);
            self.begin(key, segment);
            self.take_in(key, segment, visit);
        }
    }

    /// The capture is over: everything still held is delivered, every connection closed.
    pub fn finish(&mut self, visit: &mut Visit<'_>) {
        let mut keys: Vec<(ConnectionId, FlowKey)> = self
            .entries
            .iter()
            .map(|(key, entry)| (entry.face.id, *key))
            .collect();
        keys.sort_unstable_by_key(|(id, _)| *id);
        for (_, key) in keys {
            self.end(key, visit);
        }
    }

    fn begin(&mut self, key: FlowKey, segment: &Segment<'_>) {
        self.next_id += 1;
        let state = match segment.tcp {
            Some(_) => {
                self.counters.tcp_connections += 1;
                State::Tcp(Box::default())
            }
            None => {
                self.counters.udp_flows += 1;
                State::Udp(Box::default())
            }
        };
        let face = Face {
            id: ConnectionId(self.next_id),
            transport: key.transport,
            ends: [segment.source, segment.destination],
            local: self.likely_server(segment),
            opener: None,
            sequence: None,
            opened: false,
            closed: false,
            last_ns: segment.time_ns,
        };
        self.entries.insert(
            key,
            Entry {
                face,
                last_packet: self.packets,
                state,
            },
        );
    }

    /// Who accepts, as far as ports tell.
    fn likely_server(&self, segment: &Segment<'_>) -> End {
        let (source, destination) = (segment.source.port(), segment.destination.port());
        let is_known = |port: u16| self.server_ports.contains(&port);
        match (is_known(source), is_known(destination)) {
            (true, false) => End::First,
            (false, true) => End::Second,
            _ if source < destination => End::First,
            _ => End::Second,
        }
    }

    fn take_in(&mut self, key: FlowKey, segment: &Segment<'_>, visit: &mut Visit<'_>) -> Taken {
        let Some(Entry {
            face,
            last_packet,
            state,
        }) = self.entries.get_mut(&key)
        else {
            return Taken::Repeated;
        };
        *last_packet = self.packets;
        face.last_ns = segment.time_ns;
        let from = if segment.source == face.ends[0] {
            End::First
        } else {
            End::Second
        };
        match (state, segment.tcp) {
            (State::Tcp(connection), Some(tcp)) => {
                if !connection.synchronize(from, tcp) {
                    return Taken::Other;
                }
                face.learn(connection);
                let held_before = connection.held_bytes();
                let counters = &mut self.counters;
                let taken = connection.segment(from, segment, tcp, &mut |delivery| {
                    face.deliver(&delivery, counters, visit);
                });
                if connection.is_closed {
                    face.close(visit);
                }
                self.counters.repeated_segments += u64::from(taken == Taken::Repeated);
                self.held_bytes = self.held_bytes + connection.held_bytes() - held_before;
                if self.held_bytes > MAX_HELD_BYTES {
                    self.flush(key, visit);
                }
                taken
            }
            (State::Udp(_), _) if segment.length == 0 => Taken::Repeated,
            (State::Udp(datagrams), _) => {
                let Some(position) = datagrams.place(from, segment) else {
                    self.counters.repeated_segments += 1;
                    return Taken::Repeated;
                };
                let (time_ns, bytes) = (segment.time_ns, segment.payload);
                let delivery = Delivery {
                    from,
                    time_ns,
                    position,
                    length: u64::from(segment.length),
                    bytes,
                };
                face.deliver(&delivery, &mut self.counters, visit);
                Taken::Yes
            }
            (State::Tcp(_), None) => Taken::Repeated,
        }
    }

    fn flush(&mut self, key: FlowKey, visit: &mut Visit<'_>) {
        let Some(Entry {
            face,
            state: State::Tcp(connection),
            ..
        }) = self.entries.get_mut(&key)
        else {
            return;
        };
        self.held_bytes -= connection.held_bytes();
        let counters = &mut self.counters;
        connection.flush(&mut |delivery| face.deliver(&delivery, counters, visit));
    }

    fn end(&mut self, key: FlowKey, visit: &mut Visit<'_>) {
        self.flush(key, visit);
        if let Some(mut entry) = self.entries.remove(&key) {
            entry.face.close(visit);
        }
    }

    /// Makes room for one more connection: closed ones go first, then a quarter of all, longest idle first.
    fn make_room(&mut self, visit: &mut Visit<'_>) {
        if self.entries.len() < MAX_CONNECTIONS {
            return;
        }
        let mut idle: Vec<(bool, u64, FlowKey)> = self
            .entries
            .iter()
            .map(|(key, entry)| (!entry.is_over(), entry.last_packet, *key))
            .collect();
        idle.sort_unstable_by_key(|(is_live, last_packet, _)| (*is_live, *last_packet));
        for (is_live, _, key) in idle.into_iter().take(MAX_CONNECTIONS / 4) {
            self.counters.evicted_connections += u64::from(is_live);
            self.end(key, visit);
        }
    }
}

/// A packet that cannot begin anything worth following: no payload and no SYN.
fn is_without_use(segment: &Segment<'_>) -> bool {
    segment.length == 0
        && segment
            .tcp
            .is_none_or(|tcp| !tcp.syn && tcp.acknowledgment.is_none())
}

impl Face {
    fn learn(&mut self, connection: &Connection) {
        self.opener = connection.opener;
        self.sequence = connection
            .initial_sequences()
            .map(|(client, server)| SequencePair { client, server });
    }

    fn deliver(&mut self, delivery: &Delivery<'_>, counters: &mut ReassemblyCounters, visit: &mut Visit<'_>) {
        if !self.opened {
            self.open(delivery.time_ns, visit);
        }
        counters.missing_bytes += delivery.length - delivery.bytes.len() as u64;
        visit(Event::Data(Data {
            connection: self.id,
            time_ns: delivery.time_ns,
            actor: Actor::default(),
            direction: if delivery.from == self.local {
                Direction::Out
            } else {
                Direction::In
            },
            position: delivery.position,
            moved: delivery.length,
            bytes: delivery.bytes,
            continues: false,
        }));
    }

    fn open(&mut self, time_ns: TimeNs, visit: &mut Visit<'_>) {
        self.opened = true;
        self.local = self.opener.map_or(self.local, End::peer);
        visit(Event::Opened(Opened {
            connection: self.id,
            time_ns,
            actor: Actor::default(),
            transport: self.transport,
            role: if self.opener.is_some() {
                Role::Server
            } else {
                Role::Unknown
            },
            local: Some(self.ends[self.local as usize]),
            remote: Some(self.ends[self.local.peer() as usize]),
            unix_path: String::new(),
            sequence: self.sequence,
            adopted: self.opener.is_none() && self.transport == Transport::Tcp,
            inode: 0,
            network_namespace: 0,
        }));
    }

    fn close(&mut self, visit: &mut Visit<'_>) {
        if self.opened && !self.closed {
            visit(Event::Closed(Closed {
                connection: self.id,
                time_ns: self.last_ns,
                actor: Actor::default(),
                sent_bytes: None,
                received_bytes: None,
                unseen_bytes: 0,
            }));
        }
        self.closed = true;
    }
}

#[cfg(test)]
mod tests;
