//! Answering: a request that a thread answers right after it has read the answer to a call has waited for that call.
//!
//! Enters: answers written by a thread that has done nothing since it read the answer to a call. Leaves: parents of that call,
//! and of the calls after whose answers it was made in the same way; hints for inference otherwise. What was pointed at when
//! the call was made is another witness: where both point at the same request, neither has to be right as often as it
//! would have to be alone. How often this one is wrong shows where the request was read after the call was made; how easily
//! that shows is told by the request that the thread answers next, which is as near and is not the one. Bounded: calls of one
//! request. Deliberately absent: where other threads write what one has read.

use super::hint::{Witness, hint};
use super::inference::{Hint, Pointing};
use super::ladder::Link;
use super::linker::Linker;
use super::record::Parent;
use super::{ExchangeId, Method};
use crate::event::{Actor, TimeNs};
use crate::protocol::Side;

/// Calls looked at, one after whose answer the next was made.
const CHAIN_MAX: usize = 64;

/// What was said of a call, to be tested.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    by: Witness,
    made_ns: TimeNs,
    others: usize,
    came_true: bool,
}

impl Linker {
    /// The request is answered after the answer to this call was read.
    pub(super) fn answered_upon(
        &mut self,
        request: ExchangeId,
        call: ExchangeId,
        mut by: Witness,
        actor: Actor,
        time_ns: TimeNs,
    ) {
        let Some(read_ns) = self.exchanges.get(&request).map(|exchange| exchange.time_ns) else {
            return;
        };
        if !self.inferring.works_for(actor.pid) {
            return;
        }
        let before = std::mem::take(&mut self.thread(actor, time_ns).said);
        for said in before {
            let strength = if read_ns > said.made_ns { 1.0 } else { 0.0 };
            let hint = hint(request, said.by, said.others);
            self.inferring
                .hint_tested(actor.pid, &hint, said.came_true, strength);
        }
        let others = self.others(actor);
        let mut next = Some(call);
        for _ in 0..CHAIN_MAX {
            let Some(call) = next else { return };
            let Some(exchange) = self.exchanges.get(&call) else {
                return;
            };
            if exchange.side != Side::Client || exchange.actor.pid != actor.pid {
                return;
            }
            next = exchange.pointed.follows;
            let connects = exchange.pointed.pace.connects();
            let made_ns = exchange.time_ns;
            let came_true = read_ns <= made_ns;
            let said = Said {
                by,
                made_ns,
                others,
                came_true,
            };
            self.thread(actor, time_ns).said.push(said);
            if !came_true || !self.witnessed(call, request, by, others) {
                return;
            }
            by = Witness::Chain { connects };
        }
    }

    /// The call seems to be of this request. Answers whether nothing better speaks against it.
    fn witnessed(&mut self, call: ExchangeId, request: ExchangeId, by: Witness, others: usize) -> bool {
        let Some(exchange) = self.exchanges.get_mut(&call) else {
            return false;
        };
        if exchange.parent != Parent::Undecided || exchange.decided {
            return exchange.parent == Parent::Exchange(request);
        }
        if exchange.actor.task.is_some() {
            // Its task tells more, when it answers.
            return false;
        }
        let pid = exchange.actor.pid;
        let before = exchange.hint;
        let others_before = exchange.hint_others as usize;
        let witnesses = exchange.pointed.witnesses();
        // Whether a pool had the connection may not be known yet.
        let settled = !exchange.pointed.pace.may_be_pooled();
        let pointed = hint(request, by, others);
        let first = before.map(|(one, first)| hint(one, first, others_before));
        let mut said = Pointing {
            later: Some(pointed),
            ..Pointing::default()
        };
        for (place, (one, by)) in said.made.iter_mut().zip(witnesses) {
            *place = Some(hint(one, by, others_before));
        }
        self.inferring.call_hinted(pid, call, pointed, settled);
        let told = self.inferring.hints_tell(pid, &said);
        let proven = told.filter(|(told, _)| *told == request.0);
        let odds = |hint: &Hint| self.inferring.hint_log_odds(pid, hint);
        let stays = first.is_some_and(|first| first.request == request.0 || odds(&first) >= odds(&pointed));
        if !stays && let Some(exchange) = self.exchanges.get_mut(&call) {
            (exchange.hint, exchange.hint_others) = (Some((request, by)), others as u32);
        }
        let Some((_, probability)) = proven else {
            return !stays || first.is_some_and(|first| first.request == request.0);
        };
        let kept = before.filter(|(one, _)| *one == request);
        let method = kept.map_or(Method::Handoff, |(_, first)| first.method());
        self.set_parent(call, Link::inferred(request, method, probability));
        self.placed(call, request);
        self.inferring.call_known(pid, call, request);
        true
    }
}
