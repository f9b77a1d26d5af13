//! Link: which span was caused by which, by what method, and how sure that is.
//!
//! Enters: every exchange when its request is first seen and when it is over, and who touched which connection.
//! Leaves: one [`Decision`] per exchange, after it is over and within a bounded time: trace id, span id, parent, method
//! and confidence. Bounded: exchanges, threads and connections remembered ([`Limits`]); what is turned away is counted
//! ([`Counters`]) and its exchange gets a decision all the same. Deliberately absent: clocks, and any look at payload
//! beyond trace headers and the kind of a request (its line without ids).
//!
//! The ladder, most certain first: trace headers; the two ends of one connection; the thread, goroutine or event-loop
//! segment that serves exactly one open request; inference. `exact` is said only where no other parent is possible as
//! far as the rung's stated assumptions reach; everything else is `inferred` with a probability, or none.

mod answering;
mod connecting;
mod deciding;
mod ends;
mod handoff;
mod hint;
mod identity;
pub mod inference;
mod inferring;
mod ladder;
mod linker;
mod multiplexing;
mod name;
mod order;
mod record;
mod segment;
mod table;
mod task;
mod thread;
mod touching;
mod waiting;
mod waking;

use std::net::SocketAddr;

use crate::event::{Actor, ConnectionId, SequencePair, TimeNs};
use crate::protocol::{PropagatedContext, Side};

pub use identity::exchange_key;
pub use linker::Linker;

/// An exchange as the caller numbers it; never reused while the agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

/// A request, when it is first seen on one side.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub id: ExchangeId,
    /// Which end the watched process is.
    pub side: Side,
    /// Who read (server) or wrote (client) the first bytes of the request.
    pub actor: Actor,
    pub connection: ConnectionId,
    pub time_ns: TimeNs,
    pub sequence: Option<SequencePair>,
    /// Byte position of the request's first byte in the client's direction, counted from the connection's first byte;
    /// `None` where that is not known (adopted connections without the kernel's counters, multiplexed protocols).
    pub position: Option<u64>,
    /// Address of the end that connected, and of the end that accepted.
    pub client_address: Option<SocketAddr>,
    pub server_address: Option<SocketAddr>,
    /// Inode of the network namespace, 0 where unknown.
    pub network_namespace: u32,
    /// Id inside a multiplexed connection (HTTP/2 stream, correlation id); 0 where requests are answered in order.
    pub stream_id: u64,
    pub context: Option<&'a PropagatedContext>,
    /// HTTP method and path or the like; used without the parts that tell one request from another.
    pub operation: &'a str,
    pub target: &'a str,
}

/// How a parent was found. The wire's numbers are in `proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    None,
    Header,
    Tcp,
    Thread,
    Goroutine,
    /// Event-loop segment, or a task of one.
    Task,
    Handoff,
    Inference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Confidence {
    None,
    Inferred,
    Exact,
}

/// What is said about one exchange. Said once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    pub id: ExchangeId,
    pub trace_id: u128,
    pub span_id: u64,
    /// 0 where none is known.
    pub parent_span_id: u64,
    pub method: Method,
    pub confidence: Confidence,
    /// 1 for exact, the estimate for inferred, 0 for none.
    pub probability: f32,
    /// Equal at both ends of the exchange, on any host; 0 where unknown.
    pub exchange_key: u64,
}

/// How a process spreads its work over threads, where its executable tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Nothing is known: it has to earn trust by what it does.
    #[default]
    Learned,
    /// An event loop that does all it does for a request in the loop turn of an event of that request, and never
    /// queues one request's call until another request frees something (nginx).
    DirectLoop,
    /// An event loop that may queue (Node).
    QueuedLoop,
}

impl Style {
    /// By file name of the executable.
    pub fn of(executable: &str) -> Self {
        match executable.rsplit('/').next().unwrap_or_default() {
            "nginx" | "openresty" => Self::DirectLoop,
            "node" | "nodejs" | "bun" | "deno" | "haproxy" | "envoy" => Self::QueuedLoop,
            _ => Self::Learned,
        }
    }
}

/// Bounds of the room.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Exchanges remembered: open, or over and waiting for a decision, or decided and asked for by one that is not.
    pub exchanges: usize,
    /// Threads, goroutines and tasks, each.
    pub threads: usize,
    /// Connections whose opener is remembered.
    pub connections: usize,
    /// How long the other end of a local connection may take to be seen, and how long a decision may wait for others.
    pub settle_ns: u64,
    pub wait_ns: u64,
    /// How long a decided request of a process that is inferred for stays a possible parent.
    pub remember_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exchanges: 131_072,
            threads: 32_768,
            connections: 65_536,
            settle_ns: 200_000_000,
            wait_ns: 10_000_000_000,
            remember_ns: 5_000_000_000,
        }
    }
}

/// What the room turned away or gave up on, since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Exchanges decided early because the table was full: they may miss a parent.
    pub exchanges_evicted: u64,
    /// Threads, goroutines and tasks forgotten because the table was full.
    pub threads_evicted: u64,
    /// Streams that were asked for and not seen on any connection (most of them are encrypted).
    pub streams_not_met: u64,
    /// Openers forgotten because the table was full.
    pub connections_evicted: u64,
    /// Decisions that did not wait any longer for their parent's.
    pub waits_given_up: u64,
    /// Spans inference decided early because it held too many.
    pub inference_overflowed: u64,
    /// Messages about exchanges this room does not know.
    pub unknown_exchanges: u64,
    /// Ids seen twice; the second one was ignored.
    pub repeated_exchanges: u64,
}
