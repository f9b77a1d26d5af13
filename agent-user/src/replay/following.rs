//! Following: the events of a capture walk through stream, protocol and exchange.
//!
//! Enters: [`Event`]s. Leaves: [`Line`]s, through a closure. Bounded: by the connections the reassembly keeps.
//! Deliberately absent: files, packets.

use std::net::SocketAddr;

use rustc_hash::FxHashMap;

use super::line::Line;
use crate::connection::stream::Chunk;
use crate::event::{ConnectionId, Data, Event, Opened, Role, TimeNs, Transport};
use crate::exchange::{Exchange, Flow, FlowLosses, FlowStart, Sink};
use crate::protocol::{Protocol, Settings};

/// A `--server-port`: what listens on this port speaks this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerPort {
    pub port: u16,
    pub protocol: Protocol,
}

/// All connections being followed.
pub(super) struct Following<'a> {
    flows: FxHashMap<ConnectionId, Followed>,
    server_ports: &'a [ServerPort],
    settings: Settings,
    pub(super) spans: u64,
    /// What was turned away so far, by name.
    pub(super) losses: Vec<(&'static str, u64)>,
    /// Answers to what the capture does not hold.
    pub(super) responses_without_request: u64,
    /// Connections of which nothing could be made.
    pub(super) unknown_connections: u64,
}

struct Followed {
    flow: Flow,
    local: SocketAddr,
    remote: SocketAddr,
}

type Print<'a> = dyn FnMut(&Line<'_>) + 'a;

impl<'a> Following<'a> {
    pub(super) fn new(server_ports: &'a [ServerPort]) -> Self {
        let losses = FlowLosses::default().named().to_vec();
        Self {
            flows: FxHashMap::default(),
            server_ports,
            settings: Settings::default(),
            spans: 0,
            losses,
            responses_without_request: 0,
            unknown_connections: 0,
        }
    }

    pub(super) fn event(&mut self, event: Event<'_>, print: &mut Print<'_>) {
        match event {
            Event::Opened(opened) => self.open(&opened),
            Event::Data(data) => self.data(&data, print),
            Event::Closed(closed) => self.close(closed.connection, closed.time_ns, print),
            Event::Connecting(_)
            | Event::Woken(_)
            | Event::Awaited(_)
            | Event::Multiplexed(_)
            | Event::Addressed(_)
            | Event::ProcessStarted(_)
            | Event::ProcessEnded(_) => {}
        }
    }

    fn open(&mut self, opened: &Opened) {
        let (Some(local), Some(remote)) = (opened.local, opened.remote) else {
            return;
        };
        let forced = self
            .server_ports
            .iter()
            .find(|forced| forced.port == local.port());
        let start = FlowStart {
            role: opened.role,
            local_port: local.port(),
            remote_port: remote.port(),
            from_start: !opened.adopted,
            datagram: opened.transport == Transport::Udp,
            forced: forced.map(|forced| forced.protocol),
        };
        let flow = Flow::new(&start, &self.settings);
        self.flows
            .insert(opened.connection, Followed { flow, local, remote });
    }

    fn data(&mut self, data: &Data<'_>, print: &mut Print<'_>) {
        let Some(followed) = self.flows.get_mut(&data.connection) else {
            return;
        };
        let chunk = Chunk {
            time_ns: data.time_ns,
            actor: data.actor,
            position: data.position,
            moved: data.moved,
            bytes: data.bytes,
            continues: data.continues,
        };
        let mut finished = Finished::default();
        followed.flow.data(data.direction, &chunk, &mut finished);
        self.spans += finished.print(followed, print);
    }

    fn close(&mut self, connection: ConnectionId, time_ns: TimeNs, print: &mut Print<'_>) {
        let Some(mut followed) = self.flows.remove(&connection) else {
            return;
        };
        let mut finished = Finished::default();
        followed.flow.closed(time_ns, &mut finished);
        self.spans += finished.print(&followed, print);
        let losses = followed.flow.take_losses();
        for (sum, (_, count)) in self.losses.iter_mut().zip(losses.named()) {
            sum.1 += count;
        }
        self.responses_without_request += losses.responses_without_request;
        self.unknown_connections += losses.protocol_unknown;
    }
}

/// Exchanges that came to their end with one event.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "kept as the flow hands them over")]
struct Finished(Vec<Box<Exchange>>);

impl Finished {
    fn print(self, followed: &Followed, print: &mut Print<'_>) -> u64 {
        let (client, server) = match followed.flow.role() {
            Role::Client => (followed.local, followed.remote),
            Role::Server | Role::Unknown => (followed.remote, followed.local),
        };
        for exchange in &self.0 {
            print(&Line::new(exchange, client, server));
        }
        self.0.len() as u64
    }
}

impl Sink for Finished {
    fn began(&mut self, _: &Exchange) {}

    fn finished(&mut self, exchange: Box<Exchange>) {
        self.0.push(exchange);
    }
}
