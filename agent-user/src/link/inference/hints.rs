//! Hints: how far to believe what something else than time points at.
//!
//! Enters: whether the hinted request was still open when its call was over, and whether the one that a wrong hint would have
//! named was; hints on one call from different moments. Leaves: how much more probable the hinted request is than one of the
//! others. Times have no say in it: with many open they say little, so a hint judged by them would be doubted for no reason, or
//! believed because it agrees with itself. A wrong hint is found out as often as the other request is over before the call:
//! where that is seldom, a hint that was never found out has proven little. Bounded: a fixed number of counts; older ones fade.

use smallvec::SmallVec;

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

/// What points at requests that may have made one call: two things when it was made, and one when a request was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pointing {
    pub made: [Option<Hint>; 2],
    pub later: Option<Hint>,
}

/// A request, and how often what speaks for it is wrong.
struct Voice {
    request: u64,
    wrong: f32,
}

impl Pointing {
    fn hints(&self) -> impl Iterator<Item = Hint> + use<> {
        self.made.into_iter().chain([self.later]).flatten()
    }

    /// What comes from one moment and agrees is wrong for one reason, so that it speaks once.
    fn voices(&self, wrong: impl Fn(&Hint) -> f32) -> SmallVec<[Voice; 3]> {
        let voice = |hint: &Hint| Voice {
            request: hint.request,
            wrong: wrong(hint),
        };
        let mut voices: SmallVec<[Voice; 3]> = self.made.iter().flatten().map(voice).collect();
        if let [one, other] = &mut voices[..]
            && one.request == other.request
        {
            one.wrong = one.wrong.min(other.wrong);
            voices.pop();
        }
        voices.extend(self.later.iter().map(voice));
        voices
    }
}

/// How much more probable the request is than one that nothing speaks for, as a logarithm.
fn odds_of(voices: &[Voice], request: u64) -> f32 {
    let voices = voices.iter().filter(|voice| voice.request == request);
    voices.map(|voice| ((1.0 - voice.wrong) / voice.wrong).ln()).sum()
}

/// How probable the request is, if any of those is right. What is mostly wrong, and agrees with another one, does not speak
/// against it: there were others to point at.
fn share_of(voices: &[Voice], request: u64) -> f32 {
    let weight = |request: u64| {
        let voices = voices.iter().filter(|voice| voice.request == request);
        let odds = voices.map(|voice| ((1.0 - voice.wrong) / voice.wrong).max(1.0));
        odds.product::<f32>()
    };
    let mut all = 0.0;
    for (at, voice) in voices.iter().enumerate() {
        if voices[..at].iter().all(|before| before.request != voice.request) {
            all += weight(voice.request);
        }
    }
    weight(request) / all
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

    /// Hints on one call: one that is wrong hardly points at what another one does. Where they differ, each is blamed as far as
    /// what is known of all of them says that it is the one to blame; from one that is mostly wrong nothing is learned.
    pub(super) fn compared(&mut self, said: &Pointing) {
        let hints: SmallVec<[Hint; 3]> = said.hints().collect();
        if hints.len() < 2 || hints.iter().any(|hint| hint.others == 0) {
            return;
        }
        let voices = said.voices(|hint| self.usually_wrong(hint));
        for hint in &hints {
            let agreeing = hints.iter().filter(|other| other.request == hint.request).count();
            let others = hint.others as f32;
            let differing = voices.iter().filter(|voice| voice.request != hint.request);
            let strength = match agreeing {
                1 => 1.0 - differing.map(|voice| voice.wrong).fold(1.0, f32::min),
                _ => others / (others + 1.0),
            };
            let failed = 1.0 - share_of(&voices, hint.request);
            self.add(hint, failed * strength, strength);
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

    /// What the hints on one call tell, if such hints have proven right and this is wrong no more often than `budget`. One that
    /// speaks alone must have been tested with about as many others open.
    pub(super) fn told(&self, said: &Pointing, budget: f32) -> Option<(u64, f32)> {
        let (request, log_odds) = self.weighed(said)?;
        let wrong = (1.0 / (1.0 + log_odds.exp())).max(WRONG_LEAST);
        let hints = said.hints().filter(|hint| hint.request == request);
        let hints: SmallVec<[Hint; 3]> = hints.collect();
        let proven = match &hints[..] {
            [alone] => {
                let (wrong, tested) = self.wrong(alone);
                wrong <= budget && tested >= PROVEN_MIN
            }
            hints => hints
                .iter()
                .any(|hint| all(self.counts(hint).1).tested >= PROVEN_MIN),
        };
        (proven && wrong <= budget).then_some((request, 1.0 - wrong))
    }

    /// What the hints on one call point at, and how far to believe it: hints that agree add up, others take away. Of two that
    /// come from one moment and differ, one is wrong: the one that is believed less, unless what came later agrees with it.
    pub(super) fn weighed(&self, said: &Pointing) -> Option<(u64, f32)> {
        let mut voices = said.voices(|hint| self.wrong(hint).0);
        if let ([Some(made), Some(too)], [one, other, later @ ..]) = (&said.made, &voices[..])
            && made.request != too.request
        {
            let less = usize::from(one.wrong <= other.wrong);
            let confirmed = later.first().map(|later| later.request);
            if confirmed != Some(voices[less].request) {
                voices.remove(less);
            }
        }
        let odds = |voice: &Voice| (voice.request, odds_of(&voices, voice.request));
        let most = voices
            .iter()
            .map(odds)
            .max_by(|left, right| left.1.total_cmp(&right.1))?;
        let against = voices.iter().map(odds).filter(|(request, _)| *request != most.0);
        Some((most.0, most.1 - against.map(|(_, odds)| odds).fold(0.0, f32::max)))
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

    fn made(hint: Hint) -> Pointing {
        Pointing {
            made: [Some(hint), None],
            later: None,
        }
    }

    fn and_later(hint: Hint, later: Hint) -> Pointing {
        Pointing {
            later: Some(later),
            ..made(hint)
        }
    }

    impl Hints {
        fn proven(&self, hint: &Hint, budget: f32) -> Option<f32> {
            self.told(&made(*hint), budget)
                .map(|(_, probability)| probability)
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
        let both = and_later(hint(0, 3), hint(1, 3));
        assert!(hints.told(&both, budget).is_none());
        for kind in [0, 1] {
            (0..40).for_each(|_| hints.tested(&hint(kind, 3), true, 0.5));
            assert!(hints.proven(&hint(kind, 3), budget).is_none());
        }
        let told = hints.told(&both, budget);
        assert!(told.is_some_and(|(request, probability)| request == 1 && probability > 0.99));
        let other = |kind: usize| Hint {
            request: 2,
            ..hint(kind, 3)
        };
        let differ = and_later(hint(0, 3), other(1));
        let (alone, agreed) = (hints.weighed(&made(hint(0, 3))), hints.weighed(&both));
        assert!(agreed.unwrap().1 > alone.unwrap().1 && hints.weighed(&differ).unwrap().1 < 0.1);
        (0..20).for_each(|_| hints.tested(&hint(1, 3), false, 0.5));
        assert!(hints.told(&both, budget).is_none());
        assert_eq!(hints.weighed(&differ).unwrap().0, 1);
        (0..4000).for_each(|_| hints.tested(&hint(0, 3), true, 0.5));
        let told = |hint: Hint, later: Hint| hints.told(&and_later(hint, later), budget);
        assert_eq!(told(hint(0, 3), other(1)).map(|(request, _)| request), Some(1));
        assert_eq!(told(other(1), hint(0, 3)).map(|(request, _)| request), Some(1));
        assert!(told(hint(0, 3), other(0)).is_none());
    }

    #[test]
    fn of_three_the_one_that_differs_is_blamed() {
        let mut hints = Hints::default();
        let at = |kind: usize, request: u64| Hint {
            request,
            ..hint(kind, 40)
        };
        // Nothing tests them but each other: one is wrong every fourth time, and then another one is right.
        for number in 0..400 {
            let requests = if number % 4 == 0 { [9, 1] } else { [1, 7] };
            let made = [Some(at(0, requests[0])), Some(at(1, requests[1]))];
            let later = Some(at(2, 1));
            hints.compared(&Pointing { made, later });
        }
        let wrong = |kind: usize| hints.wrong(&at(kind, 1)).0;
        assert!(wrong(2) < 0.1 && wrong(1) > 0.6, "{} {}", wrong(2), wrong(1));
        assert!((0.2..0.4).contains(&wrong(0)), "{}", wrong(0));
    }

    #[test]
    fn of_two_that_differ_the_one_that_others_confirm_is_blamed_less() {
        let mut hints = Hints::default();
        let at = |kind: usize, request: u64| Hint {
            request,
            ..hint(kind, 9)
        };
        for number in 0..300 {
            hints.compared(&and_later(at(0, 1), at(2, 1)));
            hints.compared(&and_later(at(1, 1 + number % 2), at(2, 1)));
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
