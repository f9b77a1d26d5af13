//! Deciding: when a parent and a trace are known, what happens when they are not in time, and how long a decided exchange
//! is remembered.
//!
//! An exchange is forgotten as soon as it is decided, unless somebody may still ask for it: a child that is not decided, or
//! inference, which answers late.

use super::identity::trace_id_of_root;
use super::inference::Answer;
use super::ladder::{self, Link};
use super::linker::Linker;
use super::record::Parent;
use super::{Confidence, Decision, ExchangeId, Method};
use crate::event::TimeNs;
use crate::protocol::{PropagatedContext, Side};

/// How long a chain of calls inside one host may get before its end is taken for a root.
const TRACE_DEPTH: usize = 64;

impl Linker {
    /// Hands out every decision that is due.
    pub fn decide(&mut self, now_ns: TimeNs, out: &mut Vec<Decision>) {
        while let Some((_, id)) = self.settling.pop_front_if(|(due_ns, _)| *due_ns <= now_ns) {
            self.settle(id);
        }
        self.settle_overdue_claims(now_ns);
        let (processes, exchanges) = (&self.processes, &self.exchanges);
        let held_ns = |pid: u32| {
            let wakes = processes.get(&pid)?.wakes.as_deref()?;
            let over = wakes.over().filter_map(|call| exchanges.get(&call));
            over.map(|call| call.time_ns).min()
        };
        for answer in self.inferring.decide(now_ns, held_ns) {
            self.answer(&answer);
        }
        self.decide_due(now_ns);
        while let Some(id) = self.waiting.take_overdue(now_ns) {
            self.give_up(id);
            self.decide_due(now_ns);
        }
        let remember_ns = self.limits.remember_ns;
        while let Some((_, id)) = self
            .remembered
            .pop_front_if(|(decided_ns, _)| decided_ns.saturating_add(remember_ns) <= now_ns)
        {
            if let Some(exchange) = self.exchanges.get_mut(&id) {
                exchange.remembered = false;
                self.forget_if_unneeded(id);
            }
        }
        out.append(&mut self.ready);
    }

    /// Decides everything that is over, as when the agent stops or a file ends.
    pub fn flush(&mut self, out: &mut Vec<Decision>) {
        self.settle_overdue_claims(TimeNs::MAX);
        for answer in self.inferring.flush() {
            self.answer(&answer);
        }
        self.decide(u64::MAX, out);
    }

    fn decide_due(&mut self, now_ns: TimeNs) {
        while let Some(id) = self.waiting.take_due() {
            self.try_decide(id, now_ns);
        }
    }

    /// The client end is not on this host, or not watched: what the headers say, or nothing.
    pub(super) fn settle(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(&id) else {
            return;
        };
        if exchange.parent == Parent::Undecided {
            let link = ladder::parent_from_header(exchange.context.as_deref());
            self.set_parent(id, link);
        }
    }

    /// The answer to a call delivers a message with trace headers: its sender is the call's parent where there is no other.
    /// Before the call is reported as finished.
    pub fn delivered(&mut self, id: ExchangeId, context: &PropagatedContext) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        let is_open = exchange.end_ns.is_none() && exchange.trace_id == 0;
        if !is_open || exchange.context.is_some() || exchange.parent != Parent::None {
            return;
        }
        exchange.context = Some(Box::new(context.clone()));
        let link = ladder::parent_from_header(Some(context));
        if link.parent != Parent::None {
            self.set_parent(id, link);
        }
    }

    /// What inference found out about a call; silence leaves what the headers say.
    fn answer(&mut self, answer: &Answer) {
        let id = ExchangeId(answer.call);
        let Some(exchange) = self.exchanges.get(&id) else {
            return;
        };
        if exchange.parent != Parent::Undecided {
            return;
        }
        let link = match answer.parent.map(ExchangeId) {
            Some(parent) if self.exchanges.contains_key(&parent) => {
                let hint = exchange.hint.filter(|(hinted, _)| *hinted == parent);
                let method = hint.map_or(Method::Inference, |(_, by)| by.method());
                self.placed(id, parent);
                Link::inferred(parent, method, answer.probability)
            }
            _ => ladder::parent_from_header(exchange.context.as_deref()),
        };
        self.set_parent(id, link);
    }

    /// It has waited long enough for what its trace depends on.
    fn give_up(&mut self, id: ExchangeId) {
        if self.exchanges.get(&id).is_some_and(|exchange| !exchange.decided) {
            self.counters.waits_given_up += 1;
            self.set_parent(id, Link::NONE);
        }
    }

    pub(super) fn set_parent(&mut self, id: ExchangeId, link: Link) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut exchange.parent, link.parent);
        (exchange.method, exchange.confidence, exchange.probability) = match link.parent {
            Parent::None | Parent::Undecided => (Method::None, Confidence::None, 0.0),
            _ if link.exact => (link.method, Confidence::Exact, 1.0),
            _ => (link.method, Confidence::Inferred, link.probability),
        };
        if exchange.end_ns.is_some() && !exchange.decided {
            self.waiting.due(id);
        }
        self.waiting.release(id);
        if let Parent::Exchange(parent) = link.parent
            && let Some(parent) = self.exchanges.get_mut(&parent)
        {
            parent.undecided_children += 1;
        }
        if let Parent::Exchange(parent) = before {
            self.left_by_child(parent);
        }
    }

    /// Decides the exchange, or says what it waits for.
    pub(super) fn try_decide(&mut self, id: ExchangeId, now_ns: TimeNs) {
        let Some(exchange) = self.exchanges.get(&id).filter(|exchange| !exchange.decided) else {
            return;
        };
        let end_ns = exchange.end_ns.unwrap_or(now_ns);
        let trace_id = match self.trace_of(id, TRACE_DEPTH) {
            Ok(trace_id) => trace_id,
            Err(other) => {
                self.waiting.behind(id, other);
                self.waiting.until(id, end_ns.saturating_add(self.limits.wait_ns));
                let side = self.exchanges.get(&other).map(|other| other.side);
                if side == Some(Side::Server) {
                    let settle_ns = end_ns.saturating_add(self.limits.settle_ns);
                    self.settling.push_back((settle_ns, other));
                }
                return;
            }
        };
        let parent = self.exchanges.get(&id).map(|exchange| exchange.parent);
        let (parent_span_id, local_parent) = match parent {
            Some(Parent::Remote { span_id, .. }) => (span_id, None),
            Some(Parent::Exchange(parent)) => (
                self.exchanges.get(&parent).map_or(0, |parent| parent.span_id),
                Some(parent),
            ),
            _ => (0, None),
        };
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        exchange.decided = true;
        self.ready.push(Decision {
            id,
            trace_id,
            span_id: exchange.span_id,
            parent_span_id,
            method: exchange.method,
            confidence: exchange.confidence,
            probability: exchange.probability,
            exchange_key: exchange.handle.key,
        });
        if exchange.side == Side::Server && self.inferring.works_for(exchange.actor.pid) {
            exchange.remembered = true;
            self.remembered.push_back((now_ns, id));
        } else {
            self.forget_if_unneeded(id);
        }
        if let Some(parent) = local_parent {
            self.left_by_child(parent);
        }
    }

    /// One child less will ask for it.
    fn left_by_child(&mut self, parent: ExchangeId) {
        if let Some(exchange) = self.exchanges.get_mut(&parent) {
            exchange.undecided_children = exchange.undecided_children.saturating_sub(1);
            self.forget_if_unneeded(parent);
        }
    }

    fn forget_if_unneeded(&mut self, id: ExchangeId) {
        if self.exchanges.get(&id).is_some_and(|exchange| {
            exchange.decided && !exchange.remembered && exchange.undecided_children == 0
        }) {
            self.exchanges.remove(&id);
        }
    }

    /// The trace an exchange belongs to, once its way to the root is known; else the exchange whose parent is not.
    fn trace_of(&mut self, id: ExchangeId, depth: usize) -> Result<u128, ExchangeId> {
        let Some(exchange) = self.exchanges.get(&id) else {
            return Err(id);
        };
        if exchange.trace_id != 0 {
            return Ok(exchange.trace_id);
        }
        let parent = exchange.parent;
        let trace_id = match parent {
            Parent::Undecided => return Err(id),
            Parent::None => self.root_trace_of(id),
            Parent::Remote { trace_id, .. } => trace_id,
            Parent::Exchange(parent) if depth > 0 && self.exchanges.contains_key(&parent) => {
                self.trace_of(parent, depth - 1)?
            }
            Parent::Exchange(_) => {
                self.counters.waits_given_up += 1;
                self.set_parent(id, Link::NONE);
                self.root_trace_of(id)
            }
        };
        if let Some(exchange) = self.exchanges.get_mut(&id) {
            exchange.trace_id = trace_id;
        }
        Ok(trace_id)
    }

    fn root_trace_of(&self, id: ExchangeId) -> u128 {
        let Some(exchange) = self.exchanges.get(&id) else {
            return 0;
        };
        match exchange.context.as_ref().map_or(0, |context| context.trace_id) {
            0 => trace_id_of_root(self.seed, exchange.span_id, exchange.time_ns),
            own => own,
        }
    }

    /// Evicts the oldest exchanges where the table is full. Those that are over are decided now.
    pub(super) fn make_room(&mut self) {
        let limit = self.limits.exchanges;
        if self.exchanges.len() < limit {
            return;
        }
        for oldest in self.exchanges.oldest_eighth(limit, |exchange| exchange.time_ns) {
            let Some(exchange) = self.exchanges.get(&oldest) else {
                continue;
            };
            let (over, decided) = (exchange.end_ns.is_some(), exchange.decided);
            if over && !decided {
                self.settle(oldest);
                if self.trace_of(oldest, TRACE_DEPTH).is_err() {
                    self.give_up(oldest);
                }
                self.try_decide(oldest, u64::MAX);
            }
            self.counters.exchanges_evicted += u64::from(!decided);
            self.waiting.release(oldest);
            self.forget(oldest);
        }
    }
}
