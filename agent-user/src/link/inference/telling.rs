//! Telling: what hints say of calls, apart from times.
//!
//! Enters: hints on calls that are over, and whether they came true. Leaves: answers for calls whose hints have proven right.
//! Hints are weighed once whoever may have made the call is over: what was said when a request was answered is there then.
//! Bounded: two hints a call. Deliberately absent: how far a kind of hint is believed (`hints`).

use rustc_hash::FxHashMap;

use super::Answer;
use super::engine::{Engine, HeldCall, LEARNERS};
use super::hints::Hint;
use super::window::Request;

impl Engine {
    /// Something points at a request that may have made a call which is over already.
    pub fn call_hinted(&mut self, call: u64, hint: Hint) {
        if let Some(held) = self.calls.iter_mut().rfind(|held| held.id == call) {
            held.hints[1] = Some(hint);
        }
    }

    /// More is known of what pointed at a request when the call was made.
    pub fn call_pointed(&mut self, call: u64, hint: Hint) {
        if let Some(held) = self.calls.iter_mut().rfind(|held| held.id == call) {
            held.hints[0] = Some(hint);
        }
    }

    /// A hint was tested; `strength`: the chance that a wrong one would not have come true.
    pub fn hint_tested(&mut self, hint: &Hint, came_true: bool, strength: f32) {
        self.hints.tested(hint, came_true, strength);
    }

    /// How probable the hint is, where such hints have proven right.
    pub fn hint_proven(&self, hint: &Hint) -> Option<f32> {
        self.hints.proven(hint, self.parameters.error_budget)
    }

    /// How probable what two hints point at is, where that has proven right.
    pub fn hints_agree(&self, hints: [&Hint; 2]) -> Option<f32> {
        self.hints.agreed(hints, self.parameters.error_budget)
    }

    /// Two hints on one call agree, or do not: each is a test of the other.
    pub fn hints_compared(&mut self, hints: [&Hint; 2]) {
        self.hints.compared(hints);
    }

    /// How probable a hint is against which another one speaks, where that has proven right.
    pub fn hint_outweighs(&self, hint: &Hint, against: &Hint) -> Option<f32> {
        self.hints.outweighs(hint, against, self.parameters.error_budget)
    }

    /// How far a hint is believed.
    pub fn hint_log_odds(&self, hint: &Hint) -> f32 {
        self.hints.log_odds(hint)
    }

    /// Answers what hints that have proven right tell. Whoever may have made those calls is over, so every hint is there.
    pub(super) fn answer_by_hints(&mut self, horizon_ns: i64, answers: &mut Vec<Answer>) {
        let budget = self.parameters.error_budget;
        let due = |held: &&mut HeldCall| !held.answered && held.is_due(horizon_ns);
        if self.calls.iter_mut().find(due).is_none() {
            return;
        }
        let requests: FxHashMap<u64, &Request> = self
            .requests
            .iter()
            .map(|held| (held.id, &held.request))
            .collect();
        for held in self.calls.iter_mut().filter(due) {
            let Some((request, probability)) = self.hints.told(held.hints, budget) else {
                continue;
            };
            let open = |request: &&Request| {
                request.start_ns <= held.call.start_ns
                    && (request.unfinished || request.end_ns >= held.call.end_ns)
            };
            if requests.get(&request).copied().filter(open).is_some() {
                held.parents = [Some(Some(request)); LEARNERS];
                held.answered = true;
                answers.push(Answer {
                    call: held.id,
                    parent: Some(request),
                    probability,
                });
            }
        }
    }

    /// Hints on calls whose every hint is there test each other, once.
    pub(super) fn compare_hints(&mut self, horizon_ns: i64) {
        let due = |held: &&mut HeldCall| !held.compared && held.is_due(horizon_ns);
        for held in self.calls.iter_mut().filter(due) {
            held.compared = true;
            if let [Some(first), Some(second)] = &held.hints {
                self.hints.compared([first, second]);
            }
        }
    }
}
