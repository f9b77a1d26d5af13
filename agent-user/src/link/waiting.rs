//! Exchanges that are over and not decided: which of them can be now, and what the others wait for.
//!
//! Enters: exchanges that end, and the news that one's parent is known. Leaves: exchanges to decide. Bounded: an entry is of
//! an exchange the linker holds, or will be dropped when its time to wait is over. Deliberately absent: deciding.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::ExchangeId;
use crate::event::TimeNs;

#[derive(Default)]
pub(super) struct Waiting {
    /// Nothing is known to stand in their way; an exchange may be here twice.
    due: Vec<ExchangeId>,
    /// By the exchange whose parent has to be known first.
    behind: FxHashMap<ExchangeId, SmallVec<[ExchangeId; 2]>>,
    /// When those that wait give up, soonest first.
    until: VecDeque<(TimeNs, ExchangeId)>,
}

impl Waiting {
    pub(super) fn due(&mut self, id: ExchangeId) {
        self.due.push(id);
    }

    /// It cannot be decided before the parent of `other` is known, which may be itself.
    pub(super) fn behind(&mut self, id: ExchangeId, other: ExchangeId) {
        if id != other {
            self.behind.entry(other).or_default().push(id);
        }
    }

    pub(super) fn until(&mut self, id: ExchangeId, time_ns: TimeNs) {
        self.until.push_back((time_ns, id));
    }

    /// The parent of `other` is known, or never will be.
    pub(super) fn release(&mut self, other: ExchangeId) {
        if !self.behind.is_empty()
            && let Some(released) = self.behind.remove(&other)
        {
            self.due.extend(released);
        }
    }

    pub(super) fn take_due(&mut self) -> Option<ExchangeId> {
        self.due.pop()
    }

    /// The next one that has waited long enough.
    pub(super) fn take_overdue(&mut self, now_ns: TimeNs) -> Option<ExchangeId> {
        self.until
            .pop_front_if(|(time_ns, _)| *time_ns <= now_ns)
            .map(|(_, id)| id)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.due.len() + self.until.len() + self.behind.values().map(SmallVec::len).sum::<usize>()
    }
}
