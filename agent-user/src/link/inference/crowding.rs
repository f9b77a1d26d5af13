//! Crowding: whether more requests are open at once than the models have learned from.
//!
//! Times learned while requests came one by one are narrow, and taken for certain when many are open and wait for each other:
//! then such a model is wrong, and sure of it. It says nothing there, and where the crowd stays it is learned anew.
//!
//! Enters: how many requests were open when each call was over. Leaves: whether that is more than was learned from, once, and
//! for good; how many were open of late. Bounded: two means.

/// Calls that make up what is usual, and the latest.
const USUAL_CALLS: f32 = 512.0;
const LATEST_CALLS: f32 = 32.0;
/// So many times as many, and one more, is more than usual.
const TIMES: f32 = 2.0;

#[derive(Debug, Default)]
pub(super) struct Crowding {
    calls: f32,
    /// Means of how many requests were open.
    usual: f32,
    latest: f32,
}

impl Crowding {
    pub(super) fn note(&mut self, open: f32) {
        self.calls += 1.0;
        self.usual += (open - self.usual) / self.calls.min(USUAL_CALLS);
        self.latest += (open - self.latest) / self.calls.min(LATEST_CALLS);
    }

    /// How many were open of late. Where a crowd has just gone, what it waited for is still being done.
    pub(super) fn latest(&self) -> f32 {
        self.latest
    }

    /// So many were hardly ever open before.
    pub(super) fn is_beyond(&self, open: f32) -> bool {
        self.calls > 0.0 && open > TIMES * self.usual + 1.0
    }

    /// So many are open time and again.
    pub(super) fn has_risen(&self) -> bool {
        self.is_beyond(self.latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::inference::{Answer, Engine, FinishedCall, Parameters};

    const MS: i64 = 1_000_000;

    /// A request of 45 ms with one call.
    fn serve(engine: &mut Engine, id: u64, start_ns: i64, called_ns: i64) {
        engine.request_started(id, "GET /", start_ns);
        engine.call_finished(&FinishedCall {
            id: id + 1_000_000,
            name: "GET /stock",
            start_ns: called_ns,
            end_ns: called_ns + MS,
            known: None,
            hint: None,
        });
        engine.request_finished(id, start_ns + 45 * MS);
    }

    #[test]
    fn a_crowd_is_not_judged_by_what_single_requests_taught() {
        let mut engine = Engine::new(Parameters::default());
        let mut alone = Vec::new();
        for id in 0..700 {
            let start_ns = id as i64 * 50 * MS;
            serve(&mut engine, id, start_ns, start_ns + MS);
            engine.decide(start_ns + 48 * MS, i64::MAX, &mut alone);
        }
        let told = |answers: &[Answer]| answers.iter().filter(|answer| answer.parent.is_some()).count();
        assert!(told(&alone) > 690, "{}", told(&alone));
        let mut crowded = Vec::new();
        for id in 0..160 {
            let (batch, nth) = (id as i64 / 8, id as i64 % 8);
            let start_ns = (36_000 + 50 * batch) * MS + nth * MS;
            // Each call begins when the next request has come, as if it were that one's.
            serve(&mut engine, 10_000 + id, start_ns, start_ns + 2 * MS);
            engine.decide(start_ns, i64::MAX, &mut crowded);
        }
        assert_eq!(told(&crowded), 0);
    }

    /// So many requests at once, each with a call.
    fn crowd(engine: &mut Engine, first: u64, size: u64, from_ns: i64) {
        (first..first + size).for_each(|id| engine.request_started(id, "GET /", from_ns));
        for id in first..first + size {
            engine.call_finished(&FinishedCall {
                id: id + 1_000_000,
                name: "GET /stock",
                start_ns: from_ns + MS,
                end_ns: from_ns + 2 * MS,
                known: None,
                hint: None,
            });
        }
        (first..first + size).for_each(|id| engine.request_finished(id, from_ns + 40 * MS));
    }

    #[test]
    fn a_load_that_rises_again_does_not_hold_answers_back_once_more() {
        let (mut engine, mut answers) = (Engine::new(Parameters::default()), Vec::new());
        for id in 0..700 {
            let start_ns = id as i64 * 50 * MS;
            serve(&mut engine, id, start_ns, start_ns + MS);
            engine.decide(start_ns + 48 * MS, i64::MAX, &mut answers);
        }
        answers.clear();
        let warm_up_ns = Parameters::default().warm_up_ns;
        let (risen_ns, size) = (36_000 * MS, |batch: u64| if batch < 22 { 8 } else { 120 });
        for batch in 0..24 {
            let now_ns = risen_ns + batch as i64 * warm_up_ns / 26;
            crowd(&mut engine, 10_000 + 1_000 * batch, size(batch), now_ns);
            engine.decide(now_ns + 45 * MS, i64::MAX, &mut answers);
        }
        assert!(answers.len() < 40, "times are learned anew: {}", answers.len());
        engine.decide(risen_ns + warm_up_ns + 500 * MS, i64::MAX, &mut answers);
        assert!(answers.len() > 400, "{}", answers.len());
    }

    #[test]
    fn answers_come_while_the_requests_are_still_remembered() {
        let parameters = Parameters::default();
        let held_ns = parameters.warm_up_ns + parameters.patience_ns;
        assert!(held_ns as u64 <= crate::link::Limits::default().remember_ns);
    }

    fn noted(opens: impl IntoIterator<Item = u32>) -> Crowding {
        let mut crowding = Crowding::default();
        for open in opens {
            crowding.note(open as f32);
        }
        crowding
    }

    #[test]
    fn a_load_that_rises_is_noticed_soon_and_one_that_varies_is_usual() {
        let calm = noted([1; 600]);
        assert!(calm.is_beyond(4.0) && !calm.is_beyond(3.0) && !calm.has_risen());
        assert!(noted([1; 600].into_iter().chain([8; 20])).has_risen());
        assert!(!noted([1; 600].into_iter().chain([8; 4])).has_risen());
        assert!(!noted((0..2_000).map(|n| n % 7)).has_risen());
        assert!(!noted([8; 600].into_iter().chain([1; 600])).has_risen());
        assert!(!noted([64; 3]).has_risen());
        assert!(
            noted([64; 30].into_iter().chain([4; 3])).latest() > 32.0,
            "just gone"
        );
    }
}
