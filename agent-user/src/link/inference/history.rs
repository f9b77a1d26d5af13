//! What is remembered of requests that are over, to learn from. Bounded: so many of each name; the oldest go.

use std::collections::VecDeque;

use super::model::Example;
use super::window::{Call, Request};

/// The latest requests with their calls, so many of each name.
#[derive(Default)]
pub(super) struct History {
    per_name: usize,
    by_name: Vec<VecDeque<(Request, Vec<Call>)>>,
    fresh: usize,
    learned: usize,
}

impl History {
    pub(super) fn of(per_name: usize) -> Self {
        Self {
            per_name,
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, request: Request, calls: Vec<Call>) {
        let name = request.name as usize;
        if self.by_name.len() <= name {
            self.by_name.resize_with(name + 1, VecDeque::new);
        }
        let examples = &mut self.by_name[name];
        if examples.len() >= self.per_name {
            examples.pop_front();
        }
        examples.push_back((request, calls));
        self.fresh += 1;
    }

    pub(super) fn examples(&self) -> Vec<Example<'_>> {
        let all = self.by_name.iter().flatten();
        all.map(|(request, calls)| Example {
            request,
            calls: calls.iter().collect(),
        })
        .collect()
    }

    /// So many new examples have come that learning again pays: as many as were learned from last.
    pub(super) fn due(&self) -> bool {
        self.fresh >= self.learned.max(self.per_name / 4)
    }

    /// Notes that it was learned from; answers whether it has become much larger since.
    pub(super) fn mark(&mut self) -> bool {
        self.fresh = 0;
        let now = self.by_name.iter().map(VecDeque::len).sum();
        let before = std::mem::replace(&mut self.learned, now);
        self.learned >= 2 * before
    }
}
