//! Calls that no request made: timers, health checks, consumers.

use rustc_hash::FxHashMap;

use super::density::{Density, bin};
use super::window::Call;

/// How often each name of calls is made by nobody.
#[derive(Clone, Default)]
pub(super) struct Background {
    /// Calls by nobody, by name.
    calls: FxHashMap<u32, f32>,
    observed_ns: f64,
    /// Of all calls of a name, whoever made them.
    durations: FxHashMap<u32, Density>,
}

/// Calls by nobody that are believed in before any was seen.
const PRIOR_CALLS: f32 = 0.1;

impl Background {
    /// Time in which calls by nobody would have been noticed.
    pub(super) fn observe(&mut self, span_ns: i64) {
        self.observed_ns += span_ns.max(0) as f64;
    }

    pub(super) fn count(&mut self, name: u32) {
        *self.calls.entry(name).or_default() += 1.0;
    }

    pub(super) fn add_duration(&mut self, call: &Call) {
        let density = self.durations.entry(call.name).or_insert_with(Density::new);
        density.add(bin(call.end_ns - call.start_ns), &[1.0, 0.0, 0.0, 0.0]);
    }

    /// Keeps the rates of an older one, half forgotten.
    pub(super) fn carry(&mut self, older: &Self) {
        self.observed_ns += 0.5 * older.observed_ns;
        for (name, calls) in &older.calls {
            *self.calls.entry(*name).or_default() += 0.5 * calls;
        }
    }

    pub(super) fn refresh(&mut self) {
        self.durations.values_mut().for_each(Density::refresh);
    }

    /// Log of the rate, per nanosecond, at which nobody makes this call.
    pub(super) fn log_rate(&self, call: &Call) -> f32 {
        let calls = self.calls.get(&call.name).copied().unwrap_or(0.0);
        (f64::from(calls + PRIOR_CALLS) / self.observed_ns.max(1e9)).ln() as f32
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
