//! The rungs that decide at once: header, goroutine, thread, event-loop segment.
//!
//! Enters: a call just written. Leaves: its parent, or that there is none to name. Deliberately absent: the `tcp` rung
//! (it links a server's request to the call at the other end, see `ends`).
//!
//! What `exact` assumes, rung by rung:
//! - *header*: exactly one open request of the process carries the same id.
//! - *goroutine*: the goroutine that read the one open request writes the call itself; a virtual thread of Java likewise, which
//!   is called *thread*.
//! - *thread*: the process has been seen to serve whole requests on one thread each, never to do two things at once on
//!   a thread, and this thread has one open request and no unanswered call.
//! - *task* (event-loop segment): the executable is known to work for one request per loop turn and to queue nothing
//!   between requests; it has one open request, or the call is the first one since it read bytes for that request (where
//!   it had to connect first: the connecting was), every other open request has had its call, and none looks more like it.

use super::connecting::Cause;
use super::linker::Linker;
use super::record::{Exchange, Parent, Process};
use super::thread::{Work, Worker};
use super::{ExchangeId, Method, Style};
use crate::protocol::PropagatedContext;

/// A parent with the rung that found it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) parent: Parent,
    pub(super) method: Method,
    /// Of `inferred`; 1 where `exact`.
    pub(super) probability: f32,
    pub(super) exact: bool,
}

impl Link {
    pub(super) const NONE: Self = Self {
        parent: Parent::None,
        method: Method::None,
        probability: 0.0,
        exact: false,
    };

    pub(super) fn exact(parent: ExchangeId, method: Method) -> Self {
        Self {
            parent: Parent::Exchange(parent),
            method,
            probability: 1.0,
            exact: true,
        }
    }

    /// That one thread, or one open request, is all that speaks for it.
    pub(super) fn by_thread(&self) -> bool {
        matches!(self.method, Method::Thread | Method::Inference)
    }

    pub(super) fn inferred(parent: ExchangeId, method: Method, probability: f32) -> Self {
        Self {
            parent: Parent::Exchange(parent),
            method,
            probability,
            exact: false,
        }
    }
}

/// What the ladder makes of a call.
pub(super) enum Found {
    Link(Link),
    /// Several open requests may have made it. An event-loop segment is a hint.
    Undecided {
        hint: Option<ExchangeId>,
    },
    /// Its thread serves nothing: whoever waits for the answer is to tell, or nobody.
    Bystander,
}

/// Requests a process must have served faithfully before its threads are believed.
const TRUST_AFTER: u32 = 3;

/// `cause`: this is the first call on a connection that was seen to open. A loop may have worked for others between
/// connecting and writing, so only the segment in which it connected says something.
pub(super) fn parent_of_call(linker: &Linker, call: ExchangeId, cause: Option<Cause>) -> Found {
    let Some(exchange) = linker.exchanges.get(&call) else {
        return Found::Link(Link::NONE);
    };
    let open = linker
        .processes
        .get(&exchange.actor.pid)
        .map_or(&[][..], |process| &process.open);
    if let Some(link) = by_header(linker, exchange, open) {
        return Found::Link(link);
    }
    let (found, hint) = match exchange.actor.goroutine {
        0 => by_thread(linker, exchange, open, cause),
        _ => (by_goroutine(linker, exchange), None),
    };
    let background = is_background(linker, exchange);
    let alone = || if background { None } else { by_being_alone(open) };
    match found.or_else(alone) {
        Some(link) => Found::Link(link),
        // Instrumented callers put the id of a span we never see into the request.
        None => match parent_from_header(exchange.context.as_deref()) {
            Link {
                parent: Parent::None, ..
            } if !(open.is_empty() || background && open.len() == 1) => match bystands(linker, exchange) {
                // Who waits for a virtual thread is not seen.
                true if exchange.actor.is_virtual_thread() => Found::Link(Link::NONE),
                true => Found::Bystander,
                false => Found::Undecided { hint },
            },
            link => Found::Link(link),
        },
    }
}

/// What a trace header says about its sender.
pub(super) fn parent_from_header(context: Option<&PropagatedContext>) -> Link {
    match context {
        Some(context) if context.trace_id != 0 && context.span_id != 0 => Link {
            parent: Parent::Remote {
                trace_id: context.trace_id,
                span_id: context.span_id,
            },
            method: Method::Header,
            probability: 1.0,
            exact: true,
        },
        _ => Link::NONE,
    }
}

fn by_header(linker: &Linker, call: &Exchange, open: &[ExchangeId]) -> Option<Link> {
    let context = call.context.as_deref()?;
    let only = |matches: &dyn Fn(&PropagatedContext) -> bool| {
        let mut found = open.iter().filter(|id| {
            linker
                .exchanges
                .get(id)
                .and_then(|request| request.context.as_deref())
                .is_some_and(matches)
        });
        match (found.next(), found.next()) {
            (Some(one), None) => Some(Link::exact(*one, Method::Header)),
            _ => None,
        }
    };
    let same_trace = |other: &PropagatedContext| context.trace_id != 0 && other.trace_id == context.trace_id;
    // A proxy passes the caller's span id through; an instrumented service puts its own there.
    only(&|other| same_trace(other) && context.span_id != 0 && other.span_id == context.span_id)
        .or_else(|| only(&same_trace))
        .or_else(|| only(&|other| !context.request_id.is_empty() && other.request_id == context.request_id))
}

fn by_goroutine(linker: &Linker, call: &Exchange) -> Option<Link> {
    let open_on = |goroutine: u64| match goroutine {
        0 => None,
        id => match linker
            .goroutines
            .get(Worker {
                pid: call.actor.pid,
                id,
            })?
            .open
            .as_slice()
        {
            [one] => Some(*one),
            _ => None,
        },
    };
    let method = match call.actor.is_virtual_thread() {
        true => Method::Thread,
        false => Method::Goroutine,
    };
    open_on(call.actor.goroutine)
        .map(|one| Link::exact(one, method))
        .or_else(|| {
            // It may have outlived the request it was started for.
            open_on(call.actor.parent_goroutine).map(|one| Link::inferred(one, Method::Goroutine, 0.97))
        })
}

/// A link, or the request of the event-loop segment the call was made in.
fn by_thread(
    linker: &Linker,
    call: &Exchange,
    open: &[ExchangeId],
    cause: Option<Cause>,
) -> (Option<Link>, Option<ExchangeId>) {
    let Some(process) = linker.processes.get(&call.actor.pid) else {
        return (None, None);
    };
    let Some(work) = linker.threads.get(Worker::thread(call.actor)) else {
        return (None, None);
    };
    let owner = match cause {
        None => work
            .segment
            .at(linker.turn_to_call(call.actor))
            .and_then(|current| current.read.owner),
        Some(Cause::Seen(begun)) => begun.owner,
        Some(Cause::Unseen | Cause::Used(_)) => None,
    };
    let segment = owner.filter(|owner| open.contains(owner));
    if process.style == Style::DirectLoop {
        let link = match work.open.as_slice() {
            [one] if !is_background(linker, call) => Some(Link::exact(*one, Method::Task)),
            _ => segment
                .filter(|owner| !contradicted(linker, call, *owner, &work.open))
                .map(|owner| {
                    if delayed(linker, owner, &work.open) {
                        Link::inferred(owner, Method::Task, 0.97)
                    } else {
                        Link::exact(owner, Method::Task)
                    }
                }),
        };
        return (link, segment);
    }
    let link = match work.open.as_slice() {
        [one] if process.style == Style::Learned && !process.interleaves => {
            Some(if process.faithful >= TRUST_AFTER && nested(linker, call, work) {
                Link::exact(*one, Method::Thread)
            } else {
                Link::inferred(*one, Method::Thread, 0.95)
            })
        }
        [one] if (open.len() == 1 || process.keeps_threads()) && !is_background(linker, call) => {
            Some(Link::inferred(*one, Method::Thread, 0.9))
        }
        // It waits for what it has asked others to do, and calls for nobody else meanwhile.
        [one] if process.style == Style::Learned && process.readers_answer() && !work.shared => {
            Some(Link::inferred(*one, Method::Thread, 0.98))
        }
        _ => None,
    };
    (link, segment)
}

/// No call of this thread on another connection is still unanswered.
fn nested(linker: &Linker, call: &Exchange, work: &Work) -> bool {
    work.calls.iter().all(|id| {
        linker
            .exchanges
            .get(id)
            .is_none_or(|other| other.connection == call.connection)
    })
}

/// Another open request of the thread has made no call since it was read: a timer may make it at any time, which looks as
/// if the request read last had made it (`limit_req` with a delay).
fn delayed(linker: &Linker, owner: ExchangeId, open: &[ExchangeId]) -> bool {
    open.iter()
        .any(|id| *id != owner && linker.exchanges.get(id).is_some_and(|request| !request.called))
}

/// Another open request of the thread has the call's request line, and the owner has not.
fn contradicted(linker: &Linker, call: &Exchange, owner: ExchangeId, open: &[ExchangeId]) -> bool {
    let same = |id: &ExchangeId| {
        let request = linker.exchanges.get(id);
        call.line != 0 && request.is_some_and(|request| request.line == call.line)
    };
    !same(&owner) && open.iter().any(same)
}

/// The process serves whole requests on one thread each, and this thread has served none: it is a pool's that makes calls
/// for others in parallel, or works in the background. Times tell too little of such calls: several times as many answers
/// were wrong as a wrong parent is worth.
fn bystands(linker: &Linker, call: &Exchange) -> bool {
    // Carriers whose virtual threads were not known yet seemed to do several things at once.
    let one_by_one = |process: &Process| !process.interleaves || call.actor.is_virtual_thread();
    let faithful = linker.processes.get(&call.actor.pid).is_some_and(|process| {
        process.style == Style::Learned && process.faithful >= TRUST_AFTER && one_by_one(process)
    });
    let serves = linker
        .threads
        .get(Worker::thread(call.actor))
        .is_some_and(|work| work.served);
    let has_goroutine = call.actor.is_goroutine();
    !has_goroutine && faithful && !serves
}

/// Calls of this name are made while no request is open, too.
fn is_background(linker: &Linker, call: &Exchange) -> bool {
    linker.processes.get(&call.actor.pid).is_some_and(|process| {
        let mut known = process.background.iter();
        known.any(|known| known.name == call.name && known.is_likely())
    })
}

/// One open request in the whole process.
fn by_being_alone(open: &[ExchangeId]) -> Option<Link> {
    match open {
        [one] => Some(Link::inferred(*one, Method::Inference, 0.9)),
        _ => None,
    }
}
