//! Python processes: when to look into one for what its event loops run.
//!
//! Enters: processes that use a connection, the time. Leaves: orders to read the tasks of those that are found. A process
//! that has not imported asyncio is looked at again, each time after twice as long. Bounded: [`PROCESSES_MAX`] at once.

use rustc_hash::FxHashMap;

use super::{Order, Pipeline};
use crate::event::TimeNs;
use crate::process::PythonLook;

const PROCESSES_MAX: usize = 1_024;
const FIRST_WAIT_NS: u64 = 250_000_000;
const LONGEST_WAIT_NS: u64 = 600_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be looked at when the time has come, and how long after that again.
    Due { at_ns: TimeNs, wait_ns: u64 },
    /// There is nothing more to find.
    Done,
}

#[derive(Debug, Default)]
pub(super) struct Pythons {
    states: FxHashMap<u32, State>,
    /// Those whose state is not `Done`.
    due: usize,
    unknown: u64,
}

impl Pythons {
    /// The process uses a connection.
    pub(super) fn noticed(&mut self, pid: u32) {
        if self.states.len() < PROCESSES_MAX && !self.states.contains_key(&pid) {
            let (at_ns, wait_ns) = (0, FIRST_WAIT_NS);
            self.states.insert(pid, State::Due { at_ns, wait_ns });
            self.due += 1;
        }
    }

    /// It ended, or became another program.
    pub(super) fn forget(&mut self, pid: u32) {
        if let Some(State::Due { .. }) = self.states.remove(&pid) {
            self.due -= 1;
        }
    }

    /// One to be looked at now. Until [`Self::found`] says otherwise it is looked at again.
    fn next(&mut self, now_ns: TimeNs) -> Option<u32> {
        if self.due == 0 {
            return None;
        }
        self.states.iter_mut().find_map(|(pid, state)| match state {
            State::Due { at_ns, wait_ns } if *at_ns <= now_ns => {
                *at_ns = now_ns.saturating_add(*wait_ns);
                *wait_ns = wait_ns.saturating_mul(2).min(LONGEST_WAIT_NS);
                Some(*pid)
            }
            _ => None,
        })
    }

    fn done(&mut self, pid: u32) {
        if let Some(State::Due { .. }) = self.states.insert(pid, State::Done) {
            self.due -= 1;
        }
    }
}

impl Pipeline {
    pub(super) fn look_at_pythons(&mut self, now_ns: TimeNs) {
        // One a turn: a look reads a few hundred kilobytes.
        let Some(pid) = self.pythons.next(now_ns) else {
            return;
        };
        match self.directory.python(pid) {
            PythonLook::NotYet => {}
            PythonLook::Unknown => {
                self.pythons.unknown += 1;
                self.pythons.done(pid);
            }
            PythonLook::Found(mut program) => {
                self.pythons.done(pid);
                program.uvloop = program.uvloop.filter(|_| self.user_probes);
                self.order(Order::WatchPython { pid, program });
            }
        }
    }

    /// Python processes whose layout is not known.
    pub fn pythons_unknown(&self) -> u64 {
        self.pythons.unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_at_ever_more_rarely_until_it_is_found() {
        let mut pythons = Pythons::default();
        assert_eq!(pythons.next(0), None);
        pythons.noticed(7);
        pythons.noticed(7);
        assert_eq!(pythons.next(10), Some(7));
        assert_eq!(pythons.next(10 + FIRST_WAIT_NS - 1), None);
        let again_ns = 10 + FIRST_WAIT_NS;
        assert_eq!(pythons.next(again_ns), Some(7));
        assert_eq!(pythons.next(again_ns + 2 * FIRST_WAIT_NS - 1), None);
        pythons.done(7);
        pythons.noticed(7);
        assert_eq!(pythons.next(u64::MAX), None);
        pythons.forget(7);
        pythons.noticed(7);
        assert_eq!(pythons.next(u64::MAX), Some(7));
    }

    #[test]
    fn the_number_of_processes_is_bounded() {
        let mut pythons = Pythons::default();
        (0..5_000).for_each(|pid| pythons.noticed(pid));
        assert_eq!(
            (pythons.states.len(), pythons.due),
            (PROCESSES_MAX, PROCESSES_MAX)
        );
        (0..5_000).for_each(|pid| pythons.forget(pid));
        assert_eq!((pythons.states.len(), pythons.due), (0, 0));
    }
}
