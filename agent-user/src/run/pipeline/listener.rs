//! From a connection's flow to the link room and to the spans that wait for it.
//!
//! Enters: exchanges that begin and end. Leaves: what the linker must know of them, and spans. Bounded: by its rooms.
//! Deliberately absent: bytes.

use std::sync::Arc;

use super::super::addressees::Addressees;
use super::super::connections::Live;
use crate::batch::{Linked, Pending};
use crate::event::{ConnectionId, SequencePair};
use crate::exchange::{Exchange, Flow, Sink};
use crate::link::{ExchangeId, Linker, Seen};
use crate::process::Instance;
use crate::protocol::route::RouteTable;
use crate::protocol::{Pairing, Side};
use crate::span::{Endpoints, Span};

/// What a listener must know of the connection while its flow is borrowed.
pub(super) struct Facts<'a> {
    instance: &'a Arc<Instance>,
    /// Of the datagram at hand, where each may have others.
    pub(super) endpoints: &'a Arc<Endpoints>,
    addressees: &'a mut Addressees,
    sequence: Option<SequencePair>,
    network_namespace: u32,
    serial: u32,
}

/// The flow, and what is known besides.
pub(super) fn parted(live: &mut Live) -> (&mut Flow, Facts<'_>) {
    let facts = Facts {
        instance: &live.instance,
        endpoints: &live.endpoints,
        addressees: &mut live.addressees,
        sequence: live.sequence,
        network_namespace: live.network_namespace,
        serial: live.serial,
    };
    (&mut live.flow, facts)
}

/// Where spans are made and linked.
pub(super) struct Spans {
    pub(super) linker: Linker,
    /// Those that wait for their link, and those that have it.
    pub(super) pending: Pending,
    pub(super) linked: Vec<Linked>,
    pub(super) count: u64,
    routes: RouteTable,
}

impl Spans {
    pub(super) fn new(linker: Linker, pending: Pending) -> Self {
        Self {
            linker,
            pending,
            linked: Vec::new(),
            count: 0,
            routes: RouteTable::default(),
        }
    }
}

/// Takes exchanges from a flow to the link room, and makes spans of them.
pub(super) struct Listener<'a> {
    spans: &'a mut Spans,
    connection: ConnectionId,
    facts: Facts<'a>,
}

pub(super) fn listener<'a>(spans: &'a mut Spans, connection: ConnectionId, facts: Facts<'a>) -> Listener<'a> {
    Listener {
        spans,
        connection,
        facts,
    }
}

impl Listener<'_> {
    fn id(&self, exchange: &Exchange) -> ExchangeId {
        ExchangeId(u64::from(self.facts.serial) << 32 | (exchange.number & 0xFFFF_FFFF))
    }
}

impl Sink for Listener<'_> {
    fn began(&mut self, exchange: &Exchange) {
        let side = exchange.local;
        if side == Side::Client {
            self.facts.addressees.asked(exchange.number, self.facts.endpoints);
        }
        let Endpoints { local, remote, .. } = &**self.facts.endpoints;
        let (client_address, server_address) = match (self.facts.sequence, side) {
            // That says more.
            (Some(_), _) => (None, None),
            (None, Side::Client) => (*local, *remote),
            (None, Side::Server) => (*remote, *local),
        };
        let request = &exchange.request;
        self.spans.linker.seen(&Seen {
            id: self.id(exchange),
            side,
            actor: exchange.request_actor,
            connection: self.connection,
            time_ns: exchange.request_start_ns,
            sequence: self.facts.sequence,
            position: Some(exchange.request_position),
            client_address,
            server_address,
            network_namespace: self.facts.network_namespace,
            stream_id: match request.pairing {
                Pairing::Id(id) => id,
                Pairing::InOrder => 0,
            },
            context: request.context.as_deref(),
            operation: &request.operation,
            target: &request.target,
        });
    }

    fn finished(&mut self, mut exchange: Box<Exchange>) {
        self.spans.count += 1;
        if exchange.local == Side::Server {
            let family = exchange.protocol.family();
            self.spans
                .routes
                .mark(&self.facts.instance.service, family, &mut exchange.request);
        }
        let id = self.id(&exchange);
        let ends = self.facts.addressees.over(exchange.number);
        let span = Span {
            instance: self.facts.instance.clone(),
            endpoints: ends.unwrap_or_else(|| self.facts.endpoints.clone()),
            exchange,
        };
        let response = span.exchange.response.as_ref();
        if let Some(context) = response.and_then(|response| response.context.as_deref()) {
            self.spans.linker.delivered(id, context);
        }
        let actor = span
            .exchange
            .response_actor
            .unwrap_or(span.exchange.request_actor);
        let end_ns = span.end_ns();
        self.spans.linker.finished(id, end_ns, actor);
        match self.spans.linker.take_decided(id) {
            Some(link) => self.spans.linked.push(Linked { span, link }),
            None => self.spans.pending.add(id, span),
        }
    }
}
