//! Calls that no request made: timers, health checks, consumers.
//!
//! Enters: windows. Leaves: how often each name of calls is made by nobody. What happens while no request is open is
//! nobody's for certain, so where a process is idle now and then its rates come from there; only of one that never is, from
//! calls that were found to be nobody's. Bounded: names; older counts fade.

use rustc_hash::FxHashMap;

use super::SLACK_NS;
use super::density::{Density, bin};
use super::window::{Call, NOBODY, Request, Window};

#[derive(Clone, Default)]
struct Rates {
    calls: FxHashMap<u32, f64>,
    time_ns: f64,
}

impl Rates {
    fn fade(&mut self) {
        self.time_ns *= KEEP;
        self.calls.values_mut().for_each(|calls| *calls *= KEEP);
    }
}

/// How often each name of calls is made by nobody.
#[derive(Clone, Default)]
pub(super) struct Background {
    /// While no request was open.
    idle: Rates,
    /// At any time.
    found: Rates,
    /// Of all calls of a name, whoever made them.
    durations: FxHashMap<u32, Density>,
}

/// Calls by nobody that are believed in before any was seen.
const PRIOR_CALLS: f64 = 0.1;
/// Share of calls that are taken for nobody's before anything is known.
const SUSPECTED: f64 = 0.1;
/// Share of time without a request from which on that time alone is relied on.
const IDLE_SHARE: f64 = 0.03;
/// Kept of older counts when something new is added.
const KEEP: f64 = 0.98;

impl Background {
    /// Takes note of the time between two moments: how much of it was idle, and which calls were made then.
    pub(super) fn watch(&mut self, requests: &[Request], calls: &[Call], from_ns: i64, until_ns: i64) {
        if until_ns <= from_ns {
            return;
        }
        self.idle.fade();
        self.found.fade();
        self.found.time_ns += until_ns.saturating_sub(from_ns) as f64;
        let mut next = calls.partition_point(|call| call.start_ns < from_ns);
        let mut idle_from_ns = from_ns;
        let ends = [(until_ns, until_ns)];
        let busy = requests.iter().map(|request| {
            let end_ns = if request.unfinished {
                until_ns
            } else {
                request.end_ns.saturating_add(SLACK_NS)
            };
            (request.start_ns.saturating_sub(SLACK_NS), end_ns)
        });
        for (start_ns, end_ns) in busy.chain(ends) {
            let idle_until_ns = start_ns.min(until_ns);
            if idle_until_ns > idle_from_ns {
                self.idle.time_ns += (idle_until_ns - idle_from_ns) as f64;
                while let Some(call) = calls.get(next)
                    && call.start_ns < idle_until_ns
                {
                    if call.start_ns >= idle_from_ns {
                        *self.idle.calls.entry(call.name).or_default() += 1.0;
                    }
                    next += 1;
                }
            }
            idle_from_ns = idle_from_ns.max(end_ns);
        }
    }

    /// Takes a window's calls by nobody as found.
    pub(super) fn found_in(&mut self, window: &Window<'_>) {
        self.found.calls.clear();
        let calls = window.calls.iter().zip(&window.owner);
        for (call, _) in calls.filter(|(_, owner)| **owner == NOBODY) {
            *self.found.calls.entry(call.name).or_default() += 1.0;
            self.add_duration(call);
        }
    }

    /// Takes some calls of each name for nobody's, before anything is known: none would stay none for long.
    pub(super) fn suspect(&mut self, calls: &[Call]) {
        for call in calls {
            *self.found.calls.entry(call.name).or_default() += SUSPECTED;
        }
    }

    pub(super) fn found(&mut self, name: u32) {
        *self.found.calls.entry(name).or_default() += 1.0;
    }

    pub(super) fn add_duration(&mut self, call: &Call) {
        let density = self.durations.entry(call.name).or_insert_with(Density::new);
        density.add(bin(call.end_ns - call.start_ns), &[1.0, 0.0, 0.0, 0.0]);
    }

    /// The rates alone.
    pub(super) fn rates_only(&self) -> Self {
        Self {
            idle: self.idle.clone(),
            found: self.found.clone(),
            durations: FxHashMap::default(),
        }
    }

    pub(super) fn refresh(&mut self) {
        self.durations.values_mut().for_each(Density::refresh);
    }

    /// The process is idle now and then: what happens meanwhile tells all there is to know.
    pub(super) fn is_seen_alone(&self) -> bool {
        self.idle.time_ns >= IDLE_SHARE * self.found.time_ns
    }

    /// Log of the rate, per nanosecond, at which nobody makes this call.
    fn log_rate(&self, call: &Call) -> f32 {
        let rates = match self.is_seen_alone() {
            true => &self.idle,
            false => &self.found,
        };
        let calls = rates.calls.get(&call.name).copied().unwrap_or(0.0);
        ((calls + PRIOR_CALLS) / rates.time_ns.max(1e8)).ln() as f32
    }

    /// Log probability of nobody making this call and of its duration.
    pub(super) fn log(&self, call: &Call) -> f32 {
        let density = self
            .durations
            .get(&call.name)
            .unwrap_or_else(|| Density::unseen());
        self.log_rate(call) + density.log(bin(call.end_ns - call.start_ns))[0]
    }
}
