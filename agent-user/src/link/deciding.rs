//! Deciding: when a parent and a trace are known, and what happens when they are not in time.

use super::identity::trace_id_of_root;
use super::inference::Answer;
use super::ladder::{self, Link};
use super::linker::Linker;
use super::record::Parent;
use super::{Decision, ExchangeId, Method};
use crate::event::TimeNs;

/// How long a chain of calls inside one host may get before its end is taken for a root.
const TRACE_DEPTH: usize = 64;

impl Linker {
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

    /// What inference found out about a call; silence leaves what the headers say.
    pub(super) fn answer(&mut self, answer: &Answer) {
        let id = ExchangeId(answer.call);
        let Some(exchange) = self.exchanges.get(&id) else {
            return;
        };
        if exchange.parent != Parent::Undecided {
            return;
        }
        let link = match answer.parent.map(ExchangeId) {
            Some(parent) if self.exchanges.contains_key(&parent) => {
                let method = if exchange.hint == Some(parent) {
                    Method::Task
                } else {
                    Method::Inference
                };
                Link::inferred(parent, method, answer.probability)
            }
            _ => ladder::parent_from_header(exchange.context.as_deref()),
        };
        self.set_parent(id, link);
    }

    pub(super) fn try_decide(&mut self, id: ExchangeId, now_ns: TimeNs) -> bool {
        let Some(exchange) = self.exchanges.get(&id) else {
            return true;
        };
        let waited = exchange
            .end_ns
            .unwrap_or(now_ns)
            .saturating_add(self.limits.wait_ns)
            <= now_ns;
        let trace_id = match self.trace_of(id, TRACE_DEPTH) {
            Some(trace_id) => trace_id,
            None if waited => {
                self.counters.waits_given_up += 1;
                self.set_parent(id, Link::NONE);
                match self.trace_of(id, TRACE_DEPTH) {
                    Some(trace_id) => trace_id,
                    None => return true,
                }
            }
            None => return false,
        };
        let parent_span_id = match self.exchanges.get(&id).map(|exchange| exchange.parent) {
            Some(Parent::Remote { span_id, .. }) => span_id,
            Some(Parent::Exchange(parent)) => self.exchanges.get(&parent).map_or(0, |parent| parent.span_id),
            _ => 0,
        };
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return true;
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
        self.remembered.push_back((now_ns, id));
        true
    }

    /// The trace an exchange belongs to, once its way to the root is known.
    fn trace_of(&mut self, id: ExchangeId, depth: usize) -> Option<u128> {
        let exchange = self.exchanges.get(&id)?;
        if exchange.trace_id != 0 {
            return Some(exchange.trace_id);
        }
        let own = exchange.context.as_ref().map_or(0, |context| context.trace_id);
        let root = match own {
            0 => trace_id_of_root(self.seed, exchange.span_id, exchange.time_ns),
            own => own,
        };
        let trace_id = match exchange.parent {
            Parent::Undecided => return None,
            Parent::None => root,
            Parent::Remote { trace_id, .. } => trace_id,
            Parent::Exchange(parent) if depth > 0 && self.exchanges.contains_key(&parent) => {
                self.trace_of(parent, depth - 1)?
            }
            Parent::Exchange(_) => {
                self.counters.waits_given_up += 1;
                self.set_parent(id, Link::NONE);
                root
            }
        };
        self.exchanges.get_mut(&id)?.trace_id = trace_id;
        Some(trace_id)
    }

    /// Evicts the oldest exchange while the table is full. One that is over is decided now.
    pub(super) fn make_room(&mut self) {
        while self.exchanges.len() >= self.limits.exchanges {
            let Some(oldest) = self.arrivals.pop_front() else {
                return;
            };
            let Some(exchange) = self.exchanges.get(&oldest) else {
                continue;
            };
            let (over, decided) = (exchange.end_ns.is_some(), exchange.decided);
            if over && !decided {
                self.settle(oldest);
                self.try_decide(oldest, u64::MAX);
            }
            self.counters.exchanges_evicted += u64::from(!decided);
            self.forget(oldest);
        }
        let (exchanges, most) = (&self.exchanges, 2 * self.limits.exchanges);
        for queue in [&mut self.arrivals, &mut self.over] {
            if queue.len() > most {
                queue.retain(|id| exchanges.contains_key(id));
            }
        }
        for queue in [&mut self.settling, &mut self.remembered] {
            if queue.len() > most {
                queue.retain(|(_, id)| exchanges.contains_key(id));
            }
        }
    }
}
