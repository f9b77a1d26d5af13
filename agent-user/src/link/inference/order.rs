//! Who has waited longest: queues before calls.
//!
//! Enters: windows whose calls have been given to requests. Leaves: for an event and the call that may follow it, how
//! improbable it is that a request makes the call before another one at which that event was earlier. A pool of threads or
//! connections serves in order: how long a request waits says little then, and who came first says all. What is seen is
//! compared with what gaps alone would have led one to expect; where they tell the order themselves, or there is none,
//! nothing is said here. Bounded: pairs of event and call, observations of each.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::logarithm::{exp, log_odds, logistic};
use super::model::Model;
use super::shape::Progress;
use super::window::{NOBODY, Window};

/// Observations of one pair that are kept.
const OBSERVED: usize = 1024;
/// Fewer say nothing.
const OBSERVED_MIN: usize = 20;
/// With more requests open than this nothing is observed.
const OPEN: usize = 128;
/// The least and the most that is said (logarithms).
const LEAST: f32 = 0.7;
const MOST: f32 = 8.0;

/// What is said where all queues are taken to be in order.
const STRICT: f32 = 6.0;

/// An event, and what is taken off for not being the one at which it was earliest.
pub(super) type Penalties = SmallVec<[(u32, f32); 4]>;

#[derive(Clone, Default)]
pub(super) struct Order {
    /// By name of the call.
    penalties: FxHashMap<u32, Penalties>,
    strict: bool,
}

/// That the request waiting longest was expected to make the call (log odds), and whether it did.
type Observation = (f32, bool);

impl Order {
    /// Everything is taken for a queue.
    pub(super) fn strict() -> Self {
        Self {
            strict: true,
            ..Self::default()
        }
    }

    pub(super) fn says_something(&self, call: u32) -> bool {
        self.strict || self.penalties.contains_key(&call)
    }

    /// Whether requests wait in line before some call, after this event.
    pub(super) fn forms_after(&self, event: u32) -> bool {
        self.penalties.values().flatten().any(|(of, _)| *of == event)
    }

    /// What is taken off where another request has waited longer since this event.
    pub(super) fn penalty(&self, call: u32, event: u32) -> f32 {
        if self.strict {
            return STRICT;
        }
        let penalties = self.penalties.get(&call).into_iter().flatten();
        penalties
            .filter(|(of, _)| *of == event)
            .map(|(_, penalty)| *penalty)
            .sum()
    }

    /// What a window's assignment shows.
    pub(super) fn measured(window: &Window<'_>, model: &Model) -> Self {
        let mut observed: FxHashMap<(u32, u32), Vec<Observation>> = FxHashMap::default();
        let mut open: Vec<(u32, Progress)> = Vec::new();
        let mut next = 0;
        for (call, owner) in window.calls.iter().zip(&window.owner) {
            while let Some(request) = window.requests.get(next)
                && request.start_ns <= call.start_ns
            {
                open.push((next as u32, model.shape(request.name).begin(request)));
                next += 1;
            }
            open.retain(|(request, _)| {
                let request = &window.requests[*request as usize];
                request.unfinished || request.end_ns >= call.start_ns
            });
            if *owner == NOBODY {
                continue;
            }
            let shape = |request: u32| model.shape(window.requests[request as usize].name);
            let Some(at) = open.iter().position(|(request, _)| request == owner) else {
                continue;
            };
            if open.len() <= OPEN
                && let Some((event, since_ns)) = open[at].1.waits(call.start_ns)
            {
                let mut first_ns = i64::MAX;
                let mut waiting: SmallVec<[(i64, f32); 16]> = SmallVec::new();
                for (request, progress) in &open {
                    if let Some((other, since_ns)) = progress.waits(call.start_ns)
                        && other == event
                    {
                        let shape = shape(*request);
                        let due = shape.due(progress, call) - shape.quiet(progress, call.start_ns);
                        waiting.push((since_ns, due));
                        first_ns = first_ns.min(since_ns);
                    }
                }
                if waiting.len() > 1 {
                    let most = waiting.iter().map(|one| one.1).fold(f32::NEG_INFINITY, f32::max);
                    let sum = |of: &dyn Fn(i64) -> bool| -> f32 {
                        let of = waiting.iter().filter(|one| of(one.0));
                        of.map(|one| exp(one.1 - most)).sum()
                    };
                    let expected = sum(&|since| since == first_ns) / sum(&|_| true);
                    let expected = expected.clamp(1e-4, 1.0 - 1e-4);
                    let observed = observed.entry((call.name, event)).or_default();
                    if observed.len() < OBSERVED {
                        observed.push((log_odds(expected), since_ns == first_ns));
                    }
                }
            }
            let (request, progress) = &mut open[at];
            *progress = shape(*request).after(progress, call);
        }
        let mut order = Self::default();
        for ((call, event), observed) in observed {
            let penalty = surplus(&observed);
            if observed.len() >= OBSERVED_MIN && penalty >= LEAST {
                order.penalties.entry(call).or_default().push((event, penalty));
            }
        }
        order
    }
}

/// By how much (a logarithm of odds) the first in line went first more often than expected; one of each is added.
fn surplus(observed: &[Observation]) -> f32 {
    let first = observed.iter().filter(|(_, first)| *first).count() as f32 + 1.0;
    let expected = |more: f32| {
        let odds = observed.iter().map(|(odds, _)| odds).chain([&0.0, &0.0]);
        odds.map(|odds| logistic(odds + more)).sum::<f32>()
    };
    let (mut low, mut high) = (0.0, MOST);
    for _ in 0..12 {
        let middle = 0.5 * (low + high);
        match expected(middle) < first {
            true => low = middle,
            false => high = middle,
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gaps_tell_themselves_is_left_to_them() {
        let observed: Vec<Observation> = (0..300).map(|n| (9f32.ln(), n % 10 > 0)).collect();
        assert!(surplus(&observed) < LEAST, "{}", surplus(&observed));
    }

    #[test]
    fn who_goes_first_though_nothing_said_so_stands_in_a_queue() {
        let observed: Vec<Observation> = (0..300).map(|_| (-1.0, true)).collect();
        assert!(surplus(&observed) > 4.0, "{}", surplus(&observed));
        let last: Vec<Observation> = (0..300).map(|_| (1.0, false)).collect();
        assert!(surplus(&last) < 0.01, "{}", surplus(&last));
    }
}
