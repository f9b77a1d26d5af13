//! Hints: what order, or the turn of a loop, says of a call that nothing surer places; and inference, which is told.
//!
//! Enters: calls nothing surer places, with the request of the loop's turn; calls that are over. Leaves: the hinted request,
//! and whether the hint came true, as far as that shows: a request made a call as long as it is open when the call is over.
//! Deliberately absent: how far to believe a hint; inference counts that.

use super::connecting::Cause;
use super::handoff::CONNECTS;
use super::inference::{FinishedCall, Hint};
use super::ladder::Link;
use super::linker::Linker;
use super::record::{Exchange, Parent};
use super::thread::Worker;
use super::{ExchangeId, Method, Seen};
use crate::event::{Actor, TimeNs};

/// Two ways to tell whose turn it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pointed {
    /// By the turn of the thread's loop.
    pub(super) turn: Option<ExchangeId>,
    /// By the order in which work was read.
    pub(super) order: Option<ExchangeId>,
}

impl Linker {
    /// The call waits for inference, with a hint if there is any. `segment`: the request of the loop's turn.
    pub(super) fn hint(&mut self, seen: &Seen<'_>, segment: Option<ExchangeId>, cause: Option<Cause>) {
        let Some(call) = self.exchanges.get(&seen.id) else {
            return;
        };
        let name = call.name.clone();
        let (pointed, connected) = match cause {
            // What was said when it connected; the thread may work for somebody else by now.
            Some(Cause::Seen(begun)) => (begun.pointed, true),
            _ => {
                let order = self.next_in_order(&name, seen.actor);
                let turn = segment;
                (Pointed { turn, order }, false)
            }
        };
        let better = self.better(pointed, seen.actor);
        let others = self.candidates(seen.actor).len().saturating_sub(1);
        if let Some((request, _)) = better {
            self.made(request, &name, seen.actor.pid);
            if !connected {
                self.made(request, CONNECTS, seen.actor.pid);
            }
        }
        if let Some(exchange) = self.exchanges.get_mut(&seen.id) {
            exchange.pointed = pointed;
            exchange.hint_others = others as u32;
            if let Some((request, by)) = better {
                (exchange.hint, exchange.hinted_by) = (Some(request), by);
            }
        }
        self.infer(seen);
    }

    /// The one of two that has come true more often; where nothing is known, a loop that acts at once tells by its turn.
    pub(super) fn better(&mut self, pointed: Pointed, actor: Actor) -> Option<(ExchangeId, Method)> {
        let queue = self.process(actor.pid).turns.queue();
        let others = self.candidates(actor).len().saturating_sub(1);
        let believed = |request: Option<ExchangeId>, by: Method| {
            let request = request?;
            let odds = self
                .inferring
                .hint_log_odds(actor.pid, &hint(request, by, others));
            Some((odds, request, by))
        };
        let turn = believed(pointed.turn, Method::Task);
        let order = believed(pointed.order, Method::Handoff);
        let (_, request, by) = match (turn, order) {
            (Some(turn), Some(order)) if order.0 > turn.0 || (queue && order.0 == turn.0) => order,
            (Some(turn), _) => turn,
            (None, order) => order?,
        };
        Some((request, by))
    }

    /// Requests that what the thread does may be done for, about in the order in which they began.
    fn candidates(&self, actor: Actor) -> &[ExchangeId] {
        let Some(process) = self.processes.get(&actor.pid) else {
            return &[];
        };
        match process.keeps_threads() {
            true => self
                .threads
                .get(Worker::thread(actor))
                .map_or(&[], |work| &work.open),
            false => &process.open,
        }
    }

    /// How many of them began before that moment.
    fn candidates_since(&self, actor: Actor, before_ns: TimeNs) -> usize {
        let old = |id: &&ExchangeId| {
            self.exchanges
                .get(id)
                .is_some_and(|request| request.time_ns <= before_ns)
        };
        self.candidates(actor).iter().take_while(old).count()
    }

    /// Leaves the call's parent to inference.
    pub(super) fn infer(&mut self, seen: &Seen<'_>) {
        let pid = seen.actor.pid;
        if self.inferring.need(pid, seen.time_ns) {
            let open = self.processes.get(&pid).map_or(&[][..], |process| &process.open);
            for id in open {
                if let Some(request) = self.exchanges.get(id) {
                    self.inferring
                        .request_seen(pid, *id, &request.name, request.time_ns);
                }
            }
        }
    }

    /// The call is over: a request that was answered before has hardly made it. One that was not has, where such hints have
    /// proven right.
    pub(super) fn test_hint(&mut self, id: ExchangeId) {
        let Some(call) = self.exchanges.get(&id) else {
            return;
        };
        let chosen = hint_of(call).filter(|_| call.parent == Parent::Undecided);
        let (actor, others, pointed) = (call.actor, call.hint_others, call.pointed);
        if others == 0 {
            return;
        }
        let left = self.candidates_since(actor, call.time_ns);
        for (request, by) in [(pointed.turn, Method::Task), (pointed.order, Method::Handoff)] {
            let Some(request) = request else { continue };
            let one = self.exchanges.get(&request);
            let came_true = one.is_some_and(|request| request.end_ns.is_none());
            let others_left = left.saturating_sub(usize::from(came_true)) as f32;
            let strength = (1.0 - others_left / others as f32).max(0.0);
            let hint = hint(request, by, others as usize);
            self.inferring.hint_tested(actor.pid, &hint, came_true, strength);
        }
        if let Some(hint) = chosen
            && self.is_open(ExchangeId(hint.request))
            && let Some(probability) = self.inferring.hint_proven(actor.pid, &hint)
        {
            let request = ExchangeId(hint.request);
            let by = self
                .exchanges
                .get(&id)
                .map_or(Method::Task, |call| call.hinted_by);
            self.set_parent(id, Link::inferred(request, by, probability));
            self.placed(id, request);
        }
    }

    /// A call that is over, with its request where that is known; one that is nobody's for certain is left out.
    pub(super) fn tell_inference(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(&id) else {
            return;
        };
        let known = match exchange.parent {
            Parent::Exchange(parent) => Some(parent.0),
            Parent::Undecided => None,
            Parent::None | Parent::Remote { .. } => return,
        };
        let call = FinishedCall {
            id: id.0,
            name: &exchange.name,
            start_ns: exchange.time_ns as i64,
            end_ns: exchange.end_ns.unwrap_or(exchange.time_ns) as i64,
            known,
            hint: hint_of(exchange),
        };
        self.inferring.call_finished(exchange.actor.pid, &call);
    }
}

fn hint_of(call: &Exchange) -> Option<Hint> {
    call.hint
        .map(|request| hint(request, call.hinted_by, call.hint_others as usize))
}

fn hint(request: ExchangeId, by: Method, others: usize) -> Hint {
    Hint {
        request: request.0,
        kind: usize::from(by == Method::Handoff),
        others,
    }
}
