//! Looks: when to look into a process for what its runtime keeps.
//!
//! Enters: processes where something may be found, and the time. Leaves: the one to look into now. One that is to be looked
//! into again waits for it, each time twice as long. Bounded: [`PROCESSES_MAX`] at once. Deliberately absent: what is looked
//! for.

use rustc_hash::FxHashMap;

use crate::event::TimeNs;

const PROCESSES_MAX: usize = 1_024;

/// Processes, each with what the caller keeps of it.
#[derive(Debug)]
pub(super) struct Looks<T> {
    first_wait_ns: u64,
    longest_wait_ns: u64,
    processes: FxHashMap<u32, Process<T>>,
    /// Those that want a look.
    wanting: usize,
}

#[derive(Debug, Default)]
struct Process<T> {
    /// Whether a look is wanted, and when it may be.
    wanted: bool,
    at_ns: TimeNs,
    wait_ns: u64,
    kept: T,
}

impl<T: Default> Looks<T> {
    pub(super) fn new(first_wait_ns: u64, longest_wait_ns: u64) -> Self {
        Self {
            first_wait_ns,
            longest_wait_ns,
            processes: FxHashMap::default(),
            wanting: 0,
        }
    }

    pub(super) fn knows(&self, pid: u32) -> bool {
        self.processes.contains_key(&pid)
    }

    /// What is kept of a process; `None` where there is no room for it.
    pub(super) fn kept(&mut self, pid: u32) -> Option<&mut T> {
        if self.processes.len() >= PROCESSES_MAX && !self.knows(pid) {
            return None;
        }
        Some(&mut self.processes.entry(pid).or_default().kept)
    }

    /// It is to be looked into, if there is room for it.
    pub(super) fn want(&mut self, pid: u32) {
        if self.kept(pid).is_some()
            && let Some(process) = self.processes.get_mut(&pid)
            && !std::mem::replace(&mut process.wanted, true)
        {
            self.wanting += 1;
        }
    }

    /// It has been looked into, or nothing is to be found.
    pub(super) fn want_no_more(&mut self, pid: u32) {
        if let Some(process) = self.processes.get_mut(&pid)
            && std::mem::replace(&mut process.wanted, false)
        {
            self.wanting -= 1;
        }
    }

    /// It ended, or became another program.
    pub(super) fn forget(&mut self, pid: u32) {
        self.want_no_more(pid);
        self.processes.remove(&pid);
    }

    /// One to be looked into now. Until [`Self::want_no_more`] says otherwise it is looked into again.
    pub(super) fn next(&mut self, now_ns: TimeNs) -> Option<u32> {
        if self.wanting == 0 {
            return None;
        }
        let due = |process: &Process<T>| process.wanted && process.at_ns <= now_ns;
        let (pid, process) = self.processes.iter_mut().find(|(_, process)| due(process))?;
        process.wait_ns = (2 * process.wait_ns).clamp(self.first_wait_ns, self.longest_wait_ns);
        process.at_ns = now_ns.saturating_add(process.wait_ns);
        Some(*pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_processes_is_bounded() {
        let mut looks = Looks::<()>::new(1, 2);
        (0..5_000).for_each(|pid| looks.want(pid));
        assert_eq!(
            (looks.processes.len(), looks.wanting),
            (PROCESSES_MAX, PROCESSES_MAX)
        );
        (0..5_000).for_each(|pid| looks.forget(pid));
        assert_eq!((looks.processes.len(), looks.wanting), (0, 0));
    }
}
