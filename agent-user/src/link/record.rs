//! What the linker remembers of exchanges, processes and connections.

use compact_str::CompactString;

use super::ends::Handle;
use super::segment::Turns;
use super::{Confidence, ExchangeId, Method, Style};
use crate::event::{Actor, ConnectionId, TimeNs};
use crate::protocol::{PropagatedContext, Side};

/// Who caused an exchange, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    Undecided,
    None,
    Exchange(ExchangeId),
    /// A span of somebody else, known from a trace header.
    Remote {
        trace_id: u128,
        span_id: u64,
    },
}

pub(super) struct Exchange {
    pub(super) side: Side,
    pub(super) actor: Actor,
    pub(super) connection: ConnectionId,
    pub(super) time_ns: TimeNs,
    pub(super) context: Option<Box<PropagatedContext>>,
    /// What requests like this one are called, without what tells them apart; empty where nothing was asked for.
    pub(super) name: CompactString,
    pub(super) handle: Handle,
    pub(super) span_id: u64,
    /// 0 until known.
    pub(super) trace_id: u128,
    pub(super) parent: Parent,
    /// A server's: it has made a call, or begun to connect for one.
    pub(super) called: bool,
    /// What the ladder guessed of a call that waits for inference.
    pub(super) hint: Option<ExchangeId>,
    pub(super) method: Method,
    pub(super) confidence: Confidence,
    pub(super) probability: f32,
    pub(super) end_ns: Option<TimeNs>,
    pub(super) decided: bool,
    /// Decided, and inference may still name it.
    pub(super) remembered: bool,
    /// Exchanges that have it for a parent and are not decided.
    pub(super) undecided_children: u32,
}

/// What is known of a process as a whole.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) style: Style,
    /// Server exchanges not yet answered, oldest first.
    pub(super) open: Vec<ExchangeId>,
    /// Server exchanges read and answered by one thread that did nothing else meanwhile.
    pub(super) faithful: u32,
    /// How its event loops take their turns.
    pub(super) turns: Turns,
    /// Something was seen that a thread serving one request at a time does not do.
    pub(super) interleaves: bool,
}
