//! Hints: how far to believe what something else than time points at.
//!
//! Enters: whether the hinted request was still open when its call was over, and whether the one that a wrong hint would have
//! named was; hints on one call from different moments. Leaves: how much more probable the hinted request is than one of the
//! others. Times have no say in it: with many open they say little, so a hint judged by them would be doubted for no reason, or
//! believed because it agrees with itself. A wrong hint is found out as often as the other request is over before the call:
//! where that is seldom, a hint that was never found out has proven little. Bounded: a fixed number of counts; older ones fade.

/// Kinds of hints that are counted apart.
const KINDS: usize = 32;
/// Families of kinds: what is seen of all of a family is what to expect of one that was hardly seen itself.
const FAMILIES: usize = 8;
/// By how many requests were open besides: one, two or three, four to seven, and so on.
const CROWDS: usize = 6;
/// What is thought before anything was seen weighs as much as so many tests that a wrong hint never passes.
const SEEN: f32 = 20.0;
/// Tests that hints must have passed, with about as many others open, before they are as good as a link.
const PROVEN_MIN: f32 = 8.0;
/// Surer than this nothing is.
const WRONG_LEAST: f32 = 0.000_5;
/// Counts are halved beyond.
const COUNT_MAX: f32 = 4_000.0;

/// What something else than time points at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hint {
    /// The request, as it is named in answers.
    pub request: u64,
    /// A number below 32: what points at it.
    pub kind: usize,
    /// A number below 8: kinds that are expected to be right about as often as each other.
    pub family: usize,
    /// Requests that might have been pointed at instead.
    pub others: usize,
    /// The share of such hints to take for wrong before anything was seen.
    pub expected_wrong: f32,
}

#[derive(Clone, Copy, Default)]
struct Count {
    /// Tests, each as much as the chance that a wrong hint would have failed it.
    tested: f32,
    failed: f32,
}

impl Count {
    /// The share that is wrong, where `expected` is what to think before.
    fn share(self, expected: f32) -> f32 {
        (self.failed + expected * SEEN) / (self.tested + SEEN)
    }

    /// The share that is wrong, with a margin, where `expected` is what to think before.
    fn wrong(self, expected: f32) -> f32 {
        (self.failed + self.failed.sqrt() + expected * SEEN) / (self.tested + SEEN)
    }

    fn add(&mut self, failed: f32, strength: f32) {
        self.tested += strength;
        self.failed += failed;
        if self.tested > COUNT_MAX {
            self.tested /= 2.0;
            self.failed /= 2.0;
        }
    }
}

/// By crowd.
type Counts = [Count; CROWDS];

#[derive(Default)]
pub(super) struct Hints {
    kinds: [Counts; KINDS],
    families: [Counts; FAMILIES],
}

impl Hints {
    /// `strength`: the chance that a wrong hint would not have come true.
    pub(super) fn tested(&mut self, hint: &Hint, came_true: bool, strength: f32) {
        if hint.others > 0 {
            let failed = if came_true { 0.0 } else { 1.0 };
            self.add(hint, failed, strength);
        }
    }

    /// Two hints on one call: one that is wrong hardly points at what the other one does. Where they differ, the blame is
    /// shared as what is known of them says.
    pub(super) fn compared(&mut self, hints: [&Hint; 2]) {
        if hints.iter().any(|hint| hint.others == 0) {
            return;
        }
        let agree = hints[0].request == hints[1].request;
        // That this one is wrong and the other one is right.
        let odds = hints.map(|hint| {
            let wrong = self.usually_wrong(hint);
            wrong / (1.0 - wrong)
        });
        for (hint, own) in hints.into_iter().zip(odds) {
            let others = hint.others as f32;
            let (failed, strength) = match agree {
                true => (0.0, others / (others + 1.0)),
                false => (own / (odds[0] + odds[1]), 1.0),
            };
            self.add(hint, failed, strength);
        }
    }

    fn add(&mut self, hint: &Hint, failed: f32, strength: f32) {
        self.kinds[hint.kind % KINDS][crowd(hint)].add(failed, strength);
        self.families[hint.family % FAMILIES][crowd(hint)].add(failed, strength);
    }

    /// How much more probable the hinted request is than another one, as a logarithm. What makes a hint wrong may mislead
    /// times, too (another request that was read just before), so the others do not share the doubt.
    pub(super) fn log_odds(&self, hint: &Hint) -> f32 {
        let (wrong, _) = self.wrong(hint);
        ((1.0 - wrong) / wrong).ln()
    }

    /// How probable the hint is, if such hints, with about as many others open, are wrong no more often than `budget`.
    pub(super) fn proven(&self, hint: &Hint, budget: f32) -> Option<f32> {
        let (wrong, tested) = self.wrong(hint);
        (wrong <= budget && tested >= PROVEN_MIN).then_some(1.0 - wrong)
    }

    /// The same of two hints that point at one request and come from different moments: that both are wrong and agree.
    pub(super) fn agreed(&self, hints: [&Hint; 2], budget: f32) -> Option<f32> {
        let wrong: f32 = hints.iter().map(|hint| self.wrong(hint).0).product();
        let tested = hints
            .iter()
            .any(|hint| all(self.counts(hint).1).tested >= PROVEN_MIN);
        (wrong <= budget && tested).then_some((1.0 - wrong).min(1.0 - WRONG_LEAST))
    }

    /// How probable the first of two hints is that point at different requests, if such hints have proven right and this one
    /// is wrong no more often than `budget` though the other speaks against it.
    pub(super) fn outweighs(&self, hint: &Hint, against: &Hint, budget: f32) -> Option<f32> {
        self.proven(hint, budget)?;
        let log_odds = self.log_odds(hint) - self.log_odds(against).max(0.0);
        let wrong = 1.0 / (1.0 + log_odds.exp());
        (wrong <= budget).then_some(1.0 - wrong)
    }

    /// What the hints on one call tell, if such hints have proven right.
    pub(super) fn told(&self, hints: [Option<Hint>; 2], budget: f32) -> Option<(u64, f32)> {
        let (first, second) = match hints {
            [Some(first), Some(second)] => (first, second),
            [first, second] => {
                let one = first.or(second)?;
                return Some((one.request, self.proven(&one, budget)?));
            }
        };
        if first.request == second.request {
            return Some((first.request, self.agreed([&first, &second], budget)?));
        }
        let (more, less) = match self.log_odds(&first) >= self.log_odds(&second) {
            true => (first, second),
            false => (second, first),
        };
        Some((more.request, self.outweighs(&more, &less, budget)?))
    }

    /// What the hints on one call point at, and how far to believe it: hints that agree add up, others take away.
    pub(super) fn weighed(&self, hints: [Option<Hint>; 2]) -> Option<(u64, f32)> {
        let [first, second] = hints.map(|hint| hint.map(|hint| (hint.request, self.log_odds(&hint))));
        let (Some(first), Some(second)) = (first, second) else {
            return first.or(second);
        };
        if first.0 == second.0 {
            return Some((first.0, first.1 + second.1));
        }
        let (more, less) = if first.1 >= second.1 {
            (first, second)
        } else {
            (second, first)
        };
        Some((more.0, more.1 - less.1.max(0.0)))
    }

    /// The share of such hints that is wrong, as far as is known.
    fn usually_wrong(&self, hint: &Hint) -> f32 {
        let (own, kind, family) = self.counts(hint);
        let expected = all(family).share(hint.expected_wrong);
        let expected = all(kind).share(expected);
        own.share(expected).clamp(WRONG_LEAST, 1.0 - WRONG_LEAST)
    }

    /// The share of such hints that is wrong at most, and how much they were tested.
    fn wrong(&self, hint: &Hint) -> (f32, f32) {
        let (own, kind, family) = self.counts(hint);
        let expected = all(family).wrong(hint.expected_wrong);
        let expected = all(kind).wrong(expected);
        let wrong = own.wrong(expected);
        (wrong.clamp(WRONG_LEAST, 1.0 - WRONG_LEAST), own.tested)
    }

    /// Of the kind in such a crowd, of the kind, of its family.
    fn counts(&self, hint: &Hint) -> (Count, &Counts, &Counts) {
        let kind = &self.kinds[hint.kind % KINDS];
        (kind[crowd(hint)], kind, &self.families[hint.family % FAMILIES])
    }
}

/// Whatever the crowd.
fn all(counts: &Counts) -> Count {
    counts.iter().fold(Count::default(), |all, one| Count {
        tested: all.tested + one.tested,
        failed: all.failed + one.failed,
    })
}

fn crowd(hint: &Hint) -> usize {
    (hint.others.max(1).ilog2() as usize).min(CROWDS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(kind: usize, others: usize) -> Hint {
        Hint {
            request: 1,
            kind,
            family: kind,
            others,
            expected_wrong: 0.05,
        }
    }

    #[test]
    fn hints_are_believed_as_far_as_they_come_true_and_apart_by_kind_and_crowd() {
        let mut hints = Hints::default();
        let before = hints.log_odds(&hint(0, 1));
        assert!((before - 19f32.ln()).abs() < 0.1, "{before}");
        (0..1000).for_each(|_| hints.tested(&hint(0, 1), true, 0.5));
        (0..1000).for_each(|number| hints.tested(&hint(0, 40), number % 2 == 0, 0.5));
        let (few, many) = (hints.log_odds(&hint(0, 1)), hints.log_odds(&hint(0, 40)));
        assert!(few > 40f32.ln(), "{few}");
        // As many found out as there could be: all are wrong.
        assert!(many < -1.0, "{many}");
        let other = hints.log_odds(&hint(1, 1));
        assert!((other - before).abs() < 0.01, "{other}");
    }

    #[test]
    fn hints_are_proven_once_enough_of_them_could_have_failed_and_did_not() {
        let mut hints = Hints::default();
        (0..1000).for_each(|_| hints.tested(&hint(0, 3), true, 0.5));
        assert!(
            hints
                .proven(&hint(0, 3), 0.004)
                .is_some_and(|probability| probability > 0.996)
        );
        assert!(
            hints.proven(&hint(0, 30), 0.004).is_none(),
            "never seen in such a crowd"
        );
        (0..5).for_each(|_| hints.tested(&hint(0, 3), false, 0.5));
        assert!(hints.proven(&hint(0, 3), 0.004).is_none());
    }

    #[test]
    fn a_kind_that_was_hardly_seen_is_expected_to_be_as_right_as_others_of_its_family() {
        let mut hints = Hints::default();
        let of = |kind: usize, family: usize| Hint {
            family,
            ..hint(kind, 7)
        };
        (0..400).for_each(|_| hints.tested(&of(5, 5), true, 0.5));
        let (akin, other) = (hints.log_odds(&of(6, 5)), hints.log_odds(&of(7, 6)));
        assert!(akin > other + 2.0, "{akin} {other}");
        assert!(
            hints.proven(&of(6, 5), 0.004).is_none(),
            "it was never tested itself"
        );
        (0..16).for_each(|_| hints.tested(&of(6, 5), true, 0.6));
        assert!(hints.proven(&of(6, 5), 0.004).is_some());
        (0..4).for_each(|_| hints.tested(&of(6, 5), false, 0.6));
        assert!(hints.proven(&of(6, 5), 0.004).is_none());
        assert!(
            hints.log_odds(&of(6, 5)) < 3.0,
            "what it does itself counts for more"
        );
    }

    #[test]
    fn two_that_agree_are_believed_before_either_is_and_not_untested() {
        let (mut hints, budget) = (Hints::default(), 0.004);
        let both = [&hint(0, 3), &hint(1, 3)];
        assert!(hints.agreed(both, budget).is_none());
        for kind in [0, 1] {
            (0..40).for_each(|_| hints.tested(&hint(kind, 3), true, 0.5));
            assert!(hints.proven(&hint(kind, 3), budget).is_none());
        }
        assert!(
            hints
                .agreed(both, budget)
                .is_some_and(|probability| probability > 0.99)
        );
        let one = Some(hint(0, 3));
        let other = Some(Hint {
            request: 2,
            ..hint(1, 3)
        });
        let (alone, agreed) = (hints.weighed([one, None]), hints.weighed([one, Some(hint(1, 3))]));
        assert!(agreed.unwrap().1 > alone.unwrap().1 && hints.weighed([one, other]).unwrap().1 < 0.1);
        (0..20).for_each(|_| hints.tested(&hint(1, 3), false, 0.5));
        assert!(hints.agreed(both, budget).is_none());
        assert_eq!(hints.weighed([one, other]).unwrap().0, 1);
        (0..1000).for_each(|_| hints.tested(&hint(0, 3), true, 0.5));
        assert!(hints.outweighs(&hint(0, 3), &hint(1, 3), budget).is_some());
        assert!(hints.outweighs(&hint(1, 3), &hint(0, 3), budget).is_none());
        assert!(hints.outweighs(&hint(0, 3), &hint(0, 3), budget).is_none());
    }

    #[test]
    fn of_two_that_differ_the_one_that_others_confirm_is_blamed_less() {
        let mut hints = Hints::default();
        let at = |kind: usize, request: u64| Hint {
            request,
            ..hint(kind, 9)
        };
        for number in 0..300 {
            hints.compared([&at(0, 1), &at(2, 1)]);
            hints.compared([&at(1, 1 + number % 2), &at(2, 1)]);
        }
        let wrong = |kind: usize| hints.wrong(&at(kind, 1)).0;
        assert!(wrong(0) < 0.01 && wrong(2) < 0.05, "{} {}", wrong(0), wrong(2));
        assert!(wrong(1) > 0.4, "{}", wrong(1));
    }

    #[test]
    fn tests_that_a_wrong_hint_would_pass_prove_nothing() {
        let mut hints = Hints::default();
        let before = hints.log_odds(&hint(0, 3));
        (0..100).for_each(|_| hints.tested(&hint(0, 3), true, 0.001));
        assert!((hints.log_odds(&hint(0, 3)) - before).abs() < 0.1);
    }

    #[test]
    fn where_nothing_else_was_open_nothing_is_tested() {
        let mut hints = Hints::default();
        (0..1000).for_each(|_| hints.tested(&hint(0, 0), true, 0.5));
        assert!(hints.log_odds(&hint(0, 3)) < 80f32.ln());
    }
}
