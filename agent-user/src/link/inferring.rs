//! Inference for the processes that need it: one engine for each that made a call no surer rung could place.
//!
//! Enters: requests and calls of those processes. Leaves: answers. Bounded: engines (the longest idle one goes, with all
//! its answers given), and what each one holds. Deliberately absent: what the answers mean; the linker decides.

use rustc_hash::FxHashMap;

use super::ExchangeId;
use super::inference::{Answer, Engine, FinishedCall, Hint, Parameters, Pointing};
use crate::event::TimeNs;

struct Running {
    engine: Engine,
    used_ns: TimeNs,
}

#[derive(Default)]
pub(super) struct Inferring {
    engines: FxHashMap<u32, Running>,
    /// Of engines that are gone.
    overflowed: u64,
    ready: Vec<Answer>,
}

/// Processes inferred for at once, and how long one is remembered without a call to infer.
const ENGINES: usize = 256;
const IDLE_NS: u64 = 300_000_000_000;

impl Inferring {
    /// A call of this process has to be inferred. Answers true where the process is new: tell its open requests.
    pub(super) fn need(&mut self, pid: u32, now_ns: TimeNs) -> bool {
        if let Some(running) = self.engines.get_mut(&pid) {
            running.used_ns = now_ns;
            return false;
        }
        if self.engines.len() >= ENGINES
            && let Some(idlest) = self
                .engines
                .iter()
                .min_by_key(|(_, r)| r.used_ns)
                .map(|(pid, _)| *pid)
        {
            self.end(idlest);
        }
        self.engines.insert(
            pid,
            Running {
                engine: Engine::new(Parameters::default()),
                used_ns: now_ns,
            },
        );
        true
    }

    /// Answers for this process may come.
    pub(super) fn works_for(&self, pid: u32) -> bool {
        self.engines.contains_key(&pid)
    }

    pub(super) fn request_seen(&mut self, pid: u32, id: ExchangeId, name: &str, time_ns: TimeNs) {
        if let Some(running) = self.engines.get_mut(&pid) {
            running.engine.request_started(id.0, name, time_ns as i64);
        }
    }

    pub(super) fn request_finished(&mut self, pid: u32, id: ExchangeId, end_ns: TimeNs) {
        if let Some(running) = self.engines.get_mut(&pid) {
            running.engine.request_finished(id.0, end_ns as i64);
        }
    }

    pub(super) fn call_finished(&mut self, pid: u32, call: &FinishedCall<'_>) {
        if let Some(running) = self.engines.get_mut(&pid) {
            running.engine.call_finished(call);
        }
    }

    /// A surer rung found the request of a call that is over.
    pub(super) fn call_known(&mut self, pid: u32, call: ExchangeId, request: ExchangeId) {
        if let Some(running) = self.engines.get_mut(&pid) {
            running.engine.call_known(call.0, request.0);
        }
    }

    pub(super) fn hint_tested(&mut self, pid: u32, hint: &Hint, came_true: bool, strength: f32) {
        if let Some(running) = self.engines.get_mut(&pid) {
            running.engine.hint_tested(hint, came_true, strength);
        }
    }

    /// What the hints on one call tell, and how probable that is, where such hints have proven right.
    pub(super) fn hints_tell(&self, pid: u32, said: &Pointing) -> Option<(u64, f32)> {
        self.engines.get(&pid)?.engine.hints_tell(said)
    }

    /// Something points at a request that may have made a call which is over.
    pub(super) fn call_hinted(&mut self, pid: u32, call: ExchangeId, hint: Hint, settled: bool) {
        if let Some(running) = self.engines.get_mut(&pid) {
            running.engine.call_hinted(call.0, hint, settled);
        }
    }

    /// Something else pointed elsewhere when a call was made that is over.
    pub(super) fn call_pointed_elsewhere(&mut self, pid: u32, call: ExchangeId, hint: Hint) {
        if let Some(running) = self.engines.get_mut(&pid) {
            running.engine.call_pointed_elsewhere(call.0, hint);
        }
    }

    /// More is known of a hint of that kind, from when the call was made.
    pub(super) fn call_pointed(&mut self, pid: u32, call: ExchangeId, kind: usize, hint: Hint) {
        if let Some(running) = self.engines.get_mut(&pid) {
            running.engine.call_pointed(call.0, kind, hint);
        }
    }

    /// How far a hint is believed; all alike where nothing is known.
    pub(super) fn hint_log_odds(&self, pid: u32, hint: &Hint) -> f32 {
        self.engines
            .get(&pid)
            .map_or(0.0, |running| running.engine.hint_log_odds(hint))
    }

    /// The process is gone: all its answers are due.
    pub(super) fn end(&mut self, pid: u32) {
        if let Some(mut running) = self.engines.remove(&pid) {
            running.engine.flush(&mut self.ready);
            self.overflowed += running.engine.overflowed();
        }
    }

    /// `held_ns`: since when calls of a process have not been told though they are over.
    pub(super) fn decide(&mut self, now_ns: TimeNs, held_ns: impl Fn(u32) -> Option<TimeNs>) -> Vec<Answer> {
        for (pid, running) in &mut self.engines {
            let held_ns = held_ns(*pid).map_or(i64::MAX, |held_ns| held_ns as i64);
            running.engine.decide(now_ns as i64, held_ns, &mut self.ready);
        }
        let idle = self
            .engines
            .iter()
            .filter(|(_, r)| r.used_ns.saturating_add(IDLE_NS) <= now_ns);
        for pid in idle.map(|(pid, _)| *pid).collect::<Vec<_>>() {
            self.end(pid);
        }
        std::mem::take(&mut self.ready)
    }

    pub(super) fn flush(&mut self) -> Vec<Answer> {
        for pid in self.engines.keys().copied().collect::<Vec<_>>() {
            self.end(pid);
        }
        std::mem::take(&mut self.ready)
    }

    /// Spans that were decided early because an engine held too many.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed
            + self
                .engines
                .values()
                .map(|running| running.engine.overflowed())
                .sum::<u64>()
    }
}
