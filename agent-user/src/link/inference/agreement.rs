//! What learners that began with different guesses agree on, what they could not follow, and what it is worth.
//!
//! Enters: windows as each learner judged them. Leaves: how much to doubt an answer beyond what either learner says, and
//! whether asking one of them is enough.

use super::window::Window;

/// Where learners differ on the calls next to one, up to so many on each side, they may be wrong together on this one: for so
/// much of what they differ by. From simulated applications, where the share of wrong answers was about the share that
/// differed.
const NEAR: usize = 4;
const DOUBT: f32 = 0.7;

/// How much to doubt the answers of a window.
pub(super) struct Doubts {
    /// Sums of what learners differ by, up to each call.
    sums: Vec<f64>,
}

impl Doubts {
    pub(super) fn of(first: &Window<'_>, others: &[Window<'_>]) -> Self {
        let mut sums = vec![0.0];
        let mut sum = 0.0;
        for call in 0..first.calls.len() {
            let differ = others.iter().map(|other| first.differs(other, call));
            let lost = others.iter().chain([first]).map(|window| window.lost[call]);
            sum += f64::from(differ.chain(lost).fold(0.0, f32::max));
            sums.push(sum);
        }
        Self { sums }
    }

    pub(super) fn at(&self, call: usize) -> f32 {
        let (from, until) = (
            call.saturating_sub(NEAR),
            (call + NEAR + 1).min(self.sums.len() - 1),
        );
        DOUBT * ((self.sums[until] - self.sums[from]) / (until - from) as f64) as f32
    }
}

/// How often the learners agree. While they do, asking one is enough most of the time.
#[derive(Default)]
pub(super) struct Agreement {
    asked: f64,
    differed: f64,
    turns: u32,
}

/// Calls asked for before one is enough, and how seldom they may differ then.
const AGREED_AFTER: f64 = 1000.0;
const DIFFER: f64 = 0.000_5;
/// Both are asked once in so many times.
const BOTH_EVERY: u32 = 8;
const AGREEMENT_KEEP: f64 = 0.999_9;

impl Agreement {
    pub(super) fn note(&mut self, same: bool) {
        self.asked = self.asked * AGREEMENT_KEEP + 1.0;
        self.differed = self.differed * AGREEMENT_KEEP + if same { 0.0 } else { 1.0 };
    }

    pub(super) fn ask_one(&mut self) -> bool {
        self.turns = self.turns.wrapping_add(1);
        self.asked >= AGREED_AFTER
            && self.differed <= DIFFER * self.asked
            && !self.turns.is_multiple_of(BOTH_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::inference::window::{Call, Candidate};

    #[test]
    fn a_call_next_to_one_that_is_disputed_is_doubted() {
        let call = |start_ns| Call {
            start_ns,
            end_ns: start_ns + 1,
            name: 0,
            fixed: None,
            hint: None,
        };
        let calls: Vec<Call> = (0..40).map(call).collect();
        let opinion = |disputed: u32| {
            let mut window = Window::new(&[], &calls);
            for (at, candidates) in window.candidates.iter_mut().enumerate() {
                let request = if at == 20 { disputed } else { 7 };
                candidates.push(Candidate { request, share: 1.0 });
            }
            window
        };
        let doubts = Doubts::of(&opinion(1), &[opinion(2)]);
        assert!(doubts.at(0) == 0.0 && doubts.at(39) == 0.0);
        assert!(doubts.at(20) > 0.05 && doubts.at(24) > 0.05 && doubts.at(25) == 0.0);
    }

    #[test]
    fn what_was_let_go_is_doubted_though_all_agree() {
        let call = Call {
            start_ns: 0,
            end_ns: 1,
            name: 0,
            fixed: None,
            hint: None,
        };
        let calls = [call];
        let mut window = Window::new(&[], &calls);
        window.candidates[0].push(Candidate {
            request: 7,
            share: 1.0,
        });
        assert!(Doubts::of(&window, &[]).at(0) == 0.0);
        window.lost[0] = 0.9;
        assert!(Doubts::of(&window, &[]).at(0) > 0.5);
    }

    #[test]
    fn one_is_asked_while_both_say_the_same() {
        let mut agreement = Agreement::default();
        assert!(!agreement.ask_one());
        (0..2000).for_each(|_| agreement.note(true));
        let asked_one = (0..80).filter(|_| agreement.ask_one()).count();
        assert_eq!(asked_one, 70);
        (0..10).for_each(|_| agreement.note(false));
        assert!((0..80).all(|_| !agreement.ask_one()));
    }
}
