//! Calibration: what a stated probability is worth, found out by a test of oneself.
//!
//! Enters: a window whose calls have been given to requests. Leaves: how probable an answer is when it is stated to be so
//! probable. For the test each request changes places with another one and takes its calls along: what the model does not
//! know of requests (which gaps and durations go together) stays as it is, who overlaps with whom is new, and the right
//! answers are known. What is stated and what is right are compared by their logarithms of odds, in which a line is fitted
//! (Platt's). Never raises a probability. Bounded: [`BINS`] counts, requests of a test; older tests fade. Deliberately
//! absent: what makes requests wait for each other after their first call, which does not survive the exchange.

use fastrand::Rng;

use super::logarithm::{log_odds, logistic};
use super::window::{Call, NOBODY, Request, Window};

/// Bins of stated log odds, half a unit wide each.
const BINS: usize = 32;
const PER_UNIT: f32 = 2.0;
/// Requests in one test at most.
const REQUESTS: usize = 600;
/// Kept of older tests when one is added.
const KEEP: f32 = 0.9;
/// Standard deviations of what is believed of the line before any test: of its slope about 1, and of its height about 0.
const SLOPE_SPREAD: f32 = 0.3;
const HEIGHT_SPREAD: f32 = 0.5;
/// What is stated to be more probable is not less so.
const LEAST_SLOPE: f64 = 0.05;
const STEPS: usize = 24;
/// Windows between two tests, once there were a few.
const EVERY: u32 = 16;

pub(super) struct Calibration {
    /// Answers and right ones among them, by stated log odds.
    bins: [(f32, f32); BINS],
    slope: f32,
    height: f32,
    windows: u32,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            bins: [(0.0, 0.0); BINS],
            slope: 1.0,
            height: 0.0,
            windows: 0,
        }
    }
}

/// A window whose answers are known.
pub(super) struct Test {
    pub(super) requests: Vec<Request>,
    pub(super) calls: Vec<Call>,
    owners: Vec<u32>,
}

impl Test {
    /// Requests of a window, each with its calls in the place of another one. Where requests wait in line before their first
    /// call, each keeps its start and the moment of that call, and takes over what another one did from then on.
    pub(super) fn of(window: &Window<'_>, in_line: bool) -> Self {
        let mut since_ns: Vec<i64> = window.requests.iter().map(|request| request.start_ns).collect();
        if in_line {
            for (call, owner) in window.calls.iter().zip(&window.owner).rev() {
                if let Some(since_ns) = since_ns.get_mut(*owner as usize) {
                    *since_ns = call.start_ns;
                }
            }
        }
        // Who makes no call never got to the head of a line.
        let stays = |at: usize| in_line && since_ns[at] == window.requests[at].start_ns;
        let whole = window.requests.iter().enumerate().take(REQUESTS);
        let whole = whole.filter(|(_, request)| !request.unfinished);
        let (staying, places): (Vec<usize>, Vec<usize>) = whole.map(|(at, _)| at).partition(|at| stays(*at));
        let mut order = places.clone();
        Rng::with_seed(places.len() as u64).shuffle(&mut order);
        let mut moved: Vec<Option<i64>> = vec![None; window.requests.len()];
        let mut requests: Vec<(usize, Request)> = Vec::with_capacity(order.len() + staying.len());
        let stayed = staying.iter().map(|at| (*at, *at));
        for (from, to) in order.into_iter().zip(places).chain(stayed) {
            let (request, place) = (&window.requests[from], &window.requests[to]);
            let by_ns = since_ns[to] - since_ns[from];
            moved[from] = Some(by_ns);
            requests.push((
                from,
                Request {
                    start_ns: place.start_ns,
                    end_ns: (request.end_ns + by_ns).max(place.start_ns),
                    ..request.clone()
                },
            ));
        }
        requests.sort_by_key(|(_, request)| request.start_ns);
        let mut now_at = vec![NOBODY; window.requests.len()];
        for (now, (from, _)) in requests.iter().enumerate() {
            now_at[*from] = now as u32;
        }
        let until_ns = requests.last().map_or(i64::MIN, |(_, request)| request.start_ns);
        let mut calls: Vec<(Call, u32)> = Vec::with_capacity(window.calls.len());
        for (call, owner) in window.calls.iter().zip(&window.owner) {
            let (by_ns, owner) = match moved.get(*owner as usize) {
                Some(Some(by_ns)) => (*by_ns, now_at[*owner as usize]),
                // Nobody's calls stay where they are.
                None if call.start_ns <= until_ns => (0, NOBODY),
                _ => continue,
            };
            let call = Call {
                start_ns: call.start_ns + by_ns,
                end_ns: call.end_ns + by_ns,
                fixed: None,
                hint: None,
                ..call.clone()
            };
            calls.push((call, owner));
        }
        calls.sort_by_key(|(call, _)| call.start_ns);
        let (calls, owners) = calls.into_iter().unzip();
        Self {
            requests: requests.into_iter().map(|(_, request)| request).collect(),
            calls,
            owners,
        }
    }
}

impl Calibration {
    /// Whether it is time for a test: at the first windows, and now and then.
    pub(super) fn is_due(&mut self) -> bool {
        self.windows += 1;
        self.windows.is_power_of_two() || self.windows.is_multiple_of(EVERY)
    }

    /// Takes note of the answers given in a test.
    pub(super) fn note(&mut self, test: &Test, answers: &[(u32, f32)]) {
        for bin in &mut self.bins {
            *bin = (bin.0 * KEEP, bin.1 * KEEP);
        }
        for (truth, (owner, probability)) in test.owners.iter().zip(answers) {
            if *probability >= 0.5 {
                let bin = &mut self.bins[bin(*probability)];
                bin.0 += 1.0;
                bin.1 += if owner == truth { 1.0 } else { 0.0 };
            }
        }
        self.fit();
    }

    /// What a stated probability is worth.
    pub(super) fn worth(&self, probability: f32) -> f32 {
        if probability < 0.5 {
            return probability;
        }
        let stated = log_odds(probability);
        logistic(self.slope * stated + self.height).min(probability)
    }

    /// The most probable line, by Newton's method.
    fn fit(&mut self) {
        let (mut slope, mut height) = (1.0f64, 0.0f64);
        let (tight_slope, tight_height) = (
            f64::from(SLOPE_SPREAD).powi(-2),
            f64::from(HEIGHT_SPREAD).powi(-2),
        );
        for _ in 0..STEPS {
            let (mut by_slope, mut by_height) = (tight_slope * (1.0 - slope), -tight_height * height);
            let (mut slopes, mut both, mut heights) = (tight_slope, 0.0, tight_height);
            for (at, (answers, right)) in self.bins.iter().enumerate() {
                let (answers, right) = (f64::from(*answers), f64::from(*right));
                let stated = (at as f64 + 0.5) / f64::from(PER_UNIT);
                let expected = 1.0 / (1.0 + (-slope * stated - height).exp());
                let rest = right - answers * expected;
                by_slope += rest * stated;
                by_height += rest;
                let spread = answers * expected * (1.0 - expected);
                slopes += spread * stated * stated;
                both += spread * stated;
                heights += spread;
            }
            let determinant = slopes * heights - both * both;
            // No further than a step whose effect is known: far from the optimum the curve bends.
            let step = |value: f64| value.clamp(-0.5, 0.5);
            let next = slope + step((heights * by_slope - both * by_height) / determinant);
            if next < LEAST_SLOPE {
                slope = LEAST_SLOPE;
                height += step(by_height / heights);
            } else {
                slope = next;
                height += step((slopes * by_height - both * by_slope) / determinant);
            }
        }
        (self.slope, self.height) = (slope as f32, height as f32);
    }
}

fn bin(probability: f32) -> usize {
    ((log_odds(probability) * PER_UNIT) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(start_ns: i64) -> Request {
        Request {
            start_ns,
            end_ns: start_ns + 50,
            unfinished: false,
            name: 0,
        }
    }

    fn call(start_ns: i64) -> Call {
        Call {
            start_ns,
            end_ns: start_ns + 5,
            name: 0,
            fixed: None,
            hint: None,
        }
    }

    #[test]
    fn requests_change_places_and_take_their_calls_along() {
        let requests: Vec<Request> = (0..20).map(|n| request(n * 30)).collect();
        let mut calls: Vec<Call> = (0..20).map(|n| call(n * 30 + n)).collect();
        calls.push(call(575));
        let mut window = Window::new(&requests, &calls);
        for owner in 0..20 {
            window.owner[owner] = owner as u32;
        }
        let test = Test::of(&window, false);
        assert_eq!(
            (test.requests.len(), test.calls.len()),
            (20, 21 - 1),
            "nobody's last call is beyond"
        );
        let mut gaps: Vec<i64> = Vec::new();
        for (call, owner) in test.calls.iter().zip(&test.owners) {
            gaps.push(call.start_ns - test.requests[*owner as usize].start_ns);
        }
        assert_ne!(gaps, (0..20).collect::<Vec<_>>());
        gaps.sort_unstable();
        assert_eq!(gaps, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn who_waits_in_line_keeps_the_place_in_it() {
        let requests: Vec<Request> = (0..20).map(|n| request(n * 30)).collect();
        let calls: Vec<Call> = (0..20).map(|n| call(n * 30 + 7 + n % 3)).collect();
        let mut window = Window::new(&requests, &calls);
        for owner in 0..20 {
            window.owner[owner] = owner as u32;
        }
        let test = Test::of(&window, true);
        for (at, (before, now)) in calls.iter().zip(&test.calls).enumerate() {
            assert_eq!((now.start_ns, test.owners[at]), (before.start_ns, at as u32));
        }
        let ends = |requests: &[Request]| requests.iter().map(|one| one.end_ns).collect::<Vec<_>>();
        assert_ne!(ends(&test.requests), ends(&requests));
    }

    #[test]
    fn who_is_right_less_often_than_stated_is_believed_less_and_nobody_more() {
        let test = |right: fn(u32) -> bool| {
            let owners: Vec<u32> = (0..4000).map(|n| u32::from(right(n))).collect();
            Test {
                requests: Vec::new(),
                calls: Vec::new(),
                owners,
            }
        };
        let stated: Vec<(u32, f32)> = (0..4000)
            .map(|n| (1, if n % 2 == 0 { 0.99 } else { 0.9 }))
            .collect();
        let mut over = Calibration::default();
        assert_eq!(over.worth(0.99), 0.99);
        over.note(&test(|n| n % 10 > 0 && n % 7 > 0), &stated);
        assert!((0.7..0.85).contains(&over.worth(0.99)), "{}", over.worth(0.99));
        let mut under = Calibration::default();
        under.note(&test(|_| true), &stated);
        assert_eq!(under.worth(0.9), 0.9);
        let mut fair = Calibration::default();
        fair.note(&test(|n| n % 200 > 0 && n % 20 != 1), &stated);
        assert!(fair.worth(0.99) > 0.98, "{}", fair.worth(0.99));
    }

    #[test]
    fn a_test_of_nothing_changes_nothing() {
        let mut calibration = Calibration::default();
        calibration.note(&Test::of(&Window::new(&[], &[]), false), &[]);
        assert!((calibration.worth(0.97) - 0.97).abs() < 1e-3);
    }
}
