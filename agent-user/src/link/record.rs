//! What the linker remembers of exchanges, processes and connections.

use compact_str::CompactString;

use super::connecting::Begun;
use super::ends::Handle;
use super::hint::{Pointed, Witness};
use super::order::{Kind, Order};
use super::segment::{Read, Turns};
use super::waking::Wakes;
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
    /// As in [`super::Seen`].
    pub(super) stream_id: u64,
    pub(super) time_ns: TimeNs,
    pub(super) context: Option<Box<PropagatedContext>>,
    /// Hash of operation and target, 0 where nothing was asked for.
    pub(super) line: u64,
    /// What requests like this one are called, without what tells them apart; empty where nothing was asked for, and for
    /// requests read before the process was seen to make calls.
    pub(super) name: CompactString,
    pub(super) handle: Handle,
    pub(super) span_id: u64,
    /// 0 until known.
    pub(super) trace_id: u128,
    pub(super) parent: Parent,
    /// A server's: it has made a call, or begun to connect for one.
    pub(super) called: bool,
    /// A server's: when it could go on, and with what before; empty in processes whose order is not kept.
    pub(super) steps: Vec<Step>,
    /// A call's: the turn of the loop in which it was made.
    pub(super) turn: u32,
    /// A call's: it is the first one on a connection that was seen to be begun.
    pub(super) begun: Option<Box<Begun>>,
    /// What the loop's turn and the order point at, and how many requests might have been pointed at instead.
    pub(super) pointed: Pointed,
    pub(super) hint_others: u32,
    /// Whom something points at that may have made a call which waits for inference, and what.
    pub(super) hint: Option<(ExchangeId, Witness)>,
    /// A call's: its thread serves nothing, and whoever waits for the answer is the one to ask.
    pub(super) bystands: bool,
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

impl Exchange {
    /// The request for which this one, whose id is given, is made.
    pub(super) fn works_for(&self, id: ExchangeId) -> Option<ExchangeId> {
        match (self.side, self.parent) {
            (Side::Server, _) => Some(id),
            (Side::Client, Parent::Exchange(parent)) => Some(parent),
            (Side::Client, _) => self.hint.map(|(request, _)| request),
        }
    }
}

/// A request that could go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) time_ns: TimeNs,
    pub(super) turn: u32,
    pub(super) kind: Kind,
}

/// How often calls of a name were made with no request open, and with any.
#[derive(Clone, Debug)]
pub(super) struct Background {
    pub(super) name: CompactString,
    pub(super) without: u32,
    pub(super) within: u32,
}

impl Background {
    /// More than what a request that was not seen explains.
    pub(super) fn is_likely(&self) -> bool {
        self.without >= 3 && self.without.saturating_mul(20) >= self.within
    }
}

/// What is known of a process as a whole.
#[derive(Default)]
pub(super) struct Process {
    pub(super) style: Style,
    /// It has made a call, or begun to connect for one.
    pub(super) calls: bool,
    /// Server exchanges not yet answered, oldest first.
    pub(super) open: Vec<ExchangeId>,
    /// Calls it made while no request was open, by name: those of timers and the like.
    pub(super) background: Vec<Background>,
    /// Requests answered and calls made by a thread that has read the request, or one that is open; and by another one.
    pub(super) stayed: u32,
    pub(super) strayed: u32,
    /// Server exchanges read and answered by one thread that did nothing else meanwhile.
    pub(super) faithful: u32,
    /// Of those answered while others were open: by the thread that had read them, and by another one.
    pub(super) answered_by_reader: u32,
    pub(super) answered_by_other: u32,
    /// The order of what it reads, once a call of it could not be placed.
    pub(super) order: Option<Box<Order>>,
    /// How its event loops take their turns.
    pub(super) turns: Turns,
    /// Something was seen that a thread serving one request at a time does not do.
    pub(super) interleaves: bool,
    /// Which of its threads wake which, once one made a call that serves nothing.
    pub(super) wakes: Option<Box<Wakes>>,
}

/// Requests and calls to have seen before threads are taken for keeping their requests, and how seldom they may not.
const STAYED_MIN: u32 = 16;
const STAYED_SHARE: u32 = 200;

impl Process {
    /// Takes note of whether a thread did something for a request it has read.
    pub(super) fn note_stay(&mut self, stayed: bool) {
        match stayed {
            true => self.stayed += 1,
            false => self.strayed += 1,
        }
        if self.stayed.max(self.strayed) >= 1 << 16 {
            self.stayed /= 2;
            self.strayed /= 2;
        }
    }

    /// Each thread does all that is done for the requests it reads.
    pub(super) fn keeps_threads(&self) -> bool {
        self.stayed >= STAYED_MIN && self.stayed >= STAYED_SHARE.saturating_mul(self.strayed)
    }

    /// Takes note of who answered a request while others were open.
    pub(super) fn note_answerer(&mut self, by_reader: bool) {
        match by_reader {
            true => self.answered_by_reader += 1,
            false => self.answered_by_other += 1,
        }
        if self.answered_by_reader.max(self.answered_by_other) >= 1 << 16 {
            self.answered_by_reader /= 2;
            self.answered_by_other /= 2;
        }
    }

    /// Whoever reads a request answers it, though others may call for it.
    pub(super) fn readers_answer(&self) -> bool {
        self.answered_by_reader >= STAYED_MIN
            && self.answered_by_reader >= STAYED_SHARE.saturating_mul(self.answered_by_other)
    }

    /// Whoever that was read for is expected to make a call; where nothing is known, new requests are.
    pub(super) fn leads_to_call(&self, read: &Read) -> bool {
        let expects = |owner: ExchangeId| self.order.as_deref()?.expects_call(owner);
        let expects = read.owner.and_then(expects);
        expects.unwrap_or(read.answers.is_none())
    }

    /// What is done in one lane waits for nothing in another one.
    pub(super) fn lane(&self, actor: Actor) -> u64 {
        match self.keeps_threads() {
            true => actor.thread(),
            false => 0,
        }
    }
}
