//! Joins the spans of one trace that came from different places. Enters: every span, once, in order of arrival. Leaves:
//! *repairs* (a server span's parent is the client span of the same exchange) and *aliases* (one trace id is another),
//! and for the map: which node served a client span. Bounded: the window and the tables, each with its counter. Absent
//! on purpose: guessing; only equal exchange keys and parent ids join here.

use super::node::{Directory, NodeId};
use super::recent::{Recent, Wait};
use super::repair::{Repair, Repairs};
use crate::losses::Losses;
use crate::span::{Link, Span, SpanId, Text, TraceId};
use spanhound_proto::v1::{LinkMethod, SpanKind};

/// How long the other end of an exchange may come after the first where there is room; the time until a span is settled is
/// always waited, or counted as a loss.
pub const WINDOW_NS: u64 = 600_000_000_000;

const MAX_SPANS: usize = 250_000;

/// What is remembered of a span.
#[derive(Clone, Debug)]
pub struct Seen {
    pub trace_id: TraceId,
    pub parent_span_id: SpanId,
    pub parent_by_header: bool,
    pub start_unix_ns: u64,
    pub node: NodeId,
    /// The client's end of an exchange.
    pub client_end: bool,
    pub host_name: Text,
    pub peer: Text,
    /// The span has been written to a segment or is about to be.
    pub generation: u64,
}

/// The node that served a call.
#[derive(Clone, Debug)]
pub struct Served {
    pub node: NodeId,
    pub otlp: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    client: SpanId,
    server: SpanId,
}

/// The join tables.
#[derive(Debug)]
pub struct Joins {
    pub directory: Directory,
    pub repairs: Repairs,
    spans: Recent<SpanId, Seen>,
    exchanges: Recent<u64, Ends>,
    served: Recent<SpanId, Served>,
    /// Instrumented client spans whose call an agent saw too, as their child.
    represented: Recent<SpanId, ()>,
    /// Until spans are settled.
    wait_ns: u64,
}

impl Joins {
    pub fn new(wait_ns: u64) -> Self {
        Self {
            directory: Directory::default(),
            repairs: Repairs::default(),
            spans: Recent::new(MAX_SPANS),
            exchanges: Recent::new(MAX_SPANS),
            served: Recent::new(MAX_SPANS),
            represented: Recent::new(MAX_SPANS),
            wait_ns,
        }
    }

    /// Takes note of a span of the buffer's `generation` and joins what it completes.
    pub fn observe(&mut self, span: &Span, generation: u64, now_unix_ns: u64, losses: &Losses) {
        let node = self.directory.register(span, losses);
        let seen = Seen {
            trace_id: span.trace_id,
            parent_span_id: span.parent_span_id,
            parent_by_header: span.link.method == LinkMethod::Header,
            start_unix_ns: span.start_unix_ns,
            node: node.clone(),
            client_end: span.is_client_end(),
            host_name: span.instance.host_name.clone(),
            peer: span.peer.clone(),
            generation,
        };
        let wait = self.wait(now_unix_ns, losses);
        if span.parent_span_id != 0 && span.kind == SpanKind::Server {
            self.note_served(
                span.parent_span_id,
                Served {
                    node,
                    otlp: span.is_otlp(),
                },
                now_unix_ns,
                losses,
            );
        }
        if span.parent_span_id != 0 && span.is_calling() && !span.is_otlp() {
            self.represented.insert_waiting(span.parent_span_id, (), &wait);
        }
        if seen.client_end
            && let Some(served) = self.served.get(&span.span_id)
        {
            self.directory
                .learn(&seen.host_name, &seen.peer, &served.node, losses);
        }
        self.spans.insert_waiting(span.span_id, seen, &wait);
        if span.exchange_key != 0 && (span.is_client_end() || span.kind == SpanKind::Server) {
            self.pair(span, now_unix_ns, losses);
        }
    }

    pub fn span(&self, id: SpanId) -> Option<&Seen> {
        self.spans.get(&id)
    }

    pub fn served(&self, client: SpanId) -> Option<&Served> {
        self.served.get(&client)
    }

    pub fn is_represented(&self, client: SpanId) -> bool {
        self.represented.get(&client).is_some()
    }

    /// The span's parent, as repaired.
    pub fn parent_of(&self, span: &Span) -> SpanId {
        self.repairs
            .of_span(span.span_id)
            .map_or(span.parent_span_id, |repair| repair.parent_span_id)
    }

    /// Forgets what is older than the window.
    pub fn turn(&mut self, now_unix_ns: u64) {
        self.spans.turn(now_unix_ns, WINDOW_NS);
        self.exchanges.turn(now_unix_ns, WINDOW_NS);
        self.served.turn(now_unix_ns, WINDOW_NS);
        self.represented.turn(now_unix_ns, WINDOW_NS);
    }

    fn pair(&mut self, span: &Span, now_unix_ns: u64, losses: &Losses) {
        let mut ends = self
            .exchanges
            .get(&span.exchange_key)
            .copied()
            .unwrap_or_default();
        if span.is_client_end() {
            ends.client = span.span_id;
        } else {
            ends.server = span.span_id;
        }
        let wait = self.wait(now_unix_ns, losses);
        self.exchanges.insert_waiting(span.exchange_key, ends, &wait);
        if let (Some(client), Some(server)) = (
            self.spans.get(&ends.client).cloned(),
            self.spans.get(&ends.server).cloned(),
        ) {
            self.join(
                (ends.client, &client),
                (ends.server, &server),
                now_unix_ns,
                losses,
            );
        }
    }

    fn join(
        &mut self,
        (client_id, client): (SpanId, &Seen),
        (server_id, server): (SpanId, &Seen),
        now_unix_ns: u64,
        losses: &Losses,
    ) {
        self.note_served(
            client_id,
            Served {
                node: server.node.clone(),
                otlp: false,
            },
            now_unix_ns,
            losses,
        );
        // Both carry the same header: the server span belongs below the client span, not beside it.
        let beside = server.parent_by_header && server.parent_span_id == client.parent_span_id;
        if server.parent_span_id == 0 || beside {
            let repair = Repair {
                parent_span_id: client_id,
                link: Link::TCP,
            };
            self.repairs
                .add_parent(server_id, repair, server.generation, now_unix_ns, losses);
        }
        if server.parent_span_id == 0 {
            self.repairs.add_alias(
                server.trace_id,
                client.trace_id,
                (server.start_unix_ns, server.generation),
                now_unix_ns,
                losses,
            );
        }
    }

    fn wait<'a>(&self, now_unix_ns: u64, losses: &'a Losses) -> Wait<'a> {
        Wait {
            now_ns: now_unix_ns,
            wait_ns: self.wait_ns,
            early: &losses.join_table_evictions,
            later: &losses.join_entries_let_go,
        }
    }

    fn note_served(&mut self, client: SpanId, served: Served, now_unix_ns: u64, losses: &Losses) {
        if let Some(client) = self.spans.get(&client).filter(|client| client.client_end) {
            self.directory
                .learn(&client.host_name, &client.peer, &served.node, losses);
        }
        if served.otlp && self.served.get(&client).is_some_and(|known| !known.otlp) {
            return;
        }
        let wait = self.wait(now_unix_ns, losses);
        self.served.insert_waiting(client, served, &wait);
    }
}
