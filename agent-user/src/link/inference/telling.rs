//! Telling: what hints say of calls, apart from times.
//!
//! Enters: hints on calls that are over, and whether they came true. Leaves: answers for calls whose hints have proven right.
//! Hints are weighed once whoever may have made the call is over: what was said when a request was answered is there then.
//! Bounded: two hints a call. Deliberately absent: how far a kind of hint is believed (`hints`).

use rustc_hash::FxHashMap;

use super::Answer;
use super::engine::{Engine, HeldCall, LEARNERS};
use super::hints::{Hint, Pointing};
use super::window::Request;

impl Engine {
    /// Something points at a request that may have made a call which is over already. `settled`: what pointed at requests
    /// when it was made will not be known better any more.
    pub fn call_hinted(&mut self, call: u64, hint: Hint, settled: bool) {
        if let Some(held) = self.calls.iter_mut().rfind(|held| held.id == call) {
            held.said.later = Some(hint);
            if settled && !held.compared {
                held.compared = true;
                self.hints.compared(&held.said);
            }
        }
    }

    /// Something else pointed elsewhere when the call was made, which was believed less then.
    pub fn call_pointed_elsewhere(&mut self, call: u64, hint: Hint) {
        if let Some(held) = self.calls.iter_mut().rfind(|held| held.id == call) {
            held.said.made[1] = Some(hint);
        }
    }

    /// More is known of what pointed at a request when the call was made: `hint` takes the place of one of that kind.
    pub fn call_pointed(&mut self, call: u64, kind: usize, hint: Hint) {
        let Some(held) = self.calls.iter_mut().rfind(|held| held.id == call) else {
            return;
        };
        let pointed = held.said.made.iter_mut().flatten();
        for before in pointed.filter(|before| before.kind == kind) {
            *before = hint;
        }
    }

    /// A hint was tested; `strength`: the chance that a wrong one would not have come true.
    pub fn hint_tested(&mut self, hint: &Hint, came_true: bool, strength: f32) {
        self.hints.tested(hint, came_true, strength);
    }

    /// What the hints on one call tell, and how probable that is, where such hints have proven right.
    pub fn hints_tell(&self, said: &Pointing) -> Option<(u64, f32)> {
        self.hints.told(said, self.parameters.error_budget)
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
            let Some((request, probability)) = self.hints.told(&held.said, budget) else {
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
            self.hints.compared(&held.said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::inference::{FinishedCall, Parameters};

    #[test]
    fn of_two_that_pointed_at_requests_the_one_believed_when_it_is_decided_tells() {
        let mut engine = Engine::new(Parameters::default());
        let hint = |request: u64, kind: usize| Hint {
            request,
            kind,
            family: kind,
            others: 3,
            expected_wrong: 0.05,
        };
        let (before, better) = (hint(1, 0), hint(2, 5));
        (0..800).for_each(|_| engine.hint_tested(&before, true, 1.0));
        (0..400).for_each(|_| engine.hint_tested(&better, true, 1.0));
        (1..5).for_each(|request| engine.request_started(request, "GET /", 10));
        engine.call_finished(&FinishedCall {
            id: 100,
            name: "GET /stock",
            start_ns: 1_000_000,
            end_ns: 2_000_000,
            known: None,
            hint: Some(before),
        });
        engine.call_pointed_elsewhere(100, better);
        (0..20).for_each(|_| engine.hint_tested(&before, false, 1.0));
        (1..5).for_each(|request| engine.request_finished(request, 3_000_000));
        let mut answers = Vec::new();
        engine.flush(&mut answers);
        assert_eq!(answers[0].parent, Some(2));
    }
}
