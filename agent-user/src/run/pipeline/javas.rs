//! Java processes: when to look into one for threads that carry virtual threads.
//!
//! Enters: threads of Java processes that move data, the time. Leaves: orders to read which virtual threads the found ones
//! carry. Threads start when there is work: one that no look has seen asks for another look, each time after twice as long.
//! Bounded: [`PROCESSES_MAX`] at once, [`THREADS_MAX`] of each.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Order, Pipeline};
use crate::event::TimeNs;
use crate::process::JavaLook;

const PROCESSES_MAX: usize = 1_024;
const THREADS_MAX: usize = 4_096;
const FIRST_WAIT_NS: u64 = 100_000_000;
const LONGEST_WAIT_NS: u64 = 60_000_000_000;
/// Looks in a row without a result, after which the process counts as not followed.
const LOOKS_IN_VAIN: u32 = 6;

/// What is known of a process.
#[derive(Debug, Default)]
struct Java {
    /// Threads that were there when it was looked at, or have asked for a look.
    known: FxHashSet<u32>,
    /// Whether a look is wanted, and when it may be.
    wanted: bool,
    at_ns: TimeNs,
    wait_ns: u64,
    in_vain: u32,
    /// There is nothing to find.
    done: bool,
}

#[derive(Debug, Default)]
pub(super) struct Javas {
    processes: FxHashMap<u32, Java>,
    /// Those that want a look.
    wanting: usize,
    unknown: u64,
}

impl Javas {
    /// This thread moves data, and as far as is known in its own name.
    pub(super) fn acts(&mut self, pid: u32, tid: u32) {
        if self.processes.len() >= PROCESSES_MAX && !self.processes.contains_key(&pid) {
            return;
        }
        let java = self.processes.entry(pid).or_default();
        if java.done || java.known.len() >= THREADS_MAX || !java.known.insert(tid) {
            return;
        }
        if !std::mem::replace(&mut java.wanted, true) {
            self.wanting += 1;
        }
    }

    /// It ended, or became another program.
    pub(super) fn forget(&mut self, pid: u32) {
        if self.processes.remove(&pid).is_some_and(|java| java.wanted) {
            self.wanting -= 1;
        }
    }

    /// One to be looked at now.
    fn next(&mut self, now_ns: TimeNs) -> Option<u32> {
        if self.wanting == 0 {
            return None;
        }
        let due = |java: &Java| java.wanted && java.at_ns <= now_ns;
        let (pid, java) = self.processes.iter_mut().find(|(_, java)| due(java))?;
        java.wait_ns = (2 * java.wait_ns).clamp(FIRST_WAIT_NS, LONGEST_WAIT_NS);
        java.at_ns = now_ns.saturating_add(java.wait_ns);
        Some(*pid)
    }

    /// What a look found: these threads were there, or `None` where it has to be repeated.
    fn looked(&mut self, pid: u32, threads: Option<&[u32]>) {
        let Some(java) = self.processes.get_mut(&pid) else {
            return;
        };
        match threads {
            Some(threads) => {
                let room = THREADS_MAX.saturating_sub(java.known.len());
                java.known.extend(threads.iter().take(room));
                java.in_vain = 0;
                if std::mem::replace(&mut java.wanted, false) {
                    self.wanting -= 1;
                }
            }
            None => {
                java.in_vain += 1;
                if java.in_vain == LOOKS_IN_VAIN {
                    self.unknown += 1;
                }
            }
        }
    }

    fn done(&mut self, pid: u32) {
        self.looked(pid, Some(&[]));
        if let Some(java) = self.processes.get_mut(&pid) {
            *java = Java {
                done: true,
                ..Java::default()
            };
        }
    }
}

impl Pipeline {
    pub(super) fn look_at_javas(&mut self, now_ns: TimeNs) {
        // One a turn: a look reads some hundred kilobytes.
        let Some(pid) = self.javas.next(now_ns) else {
            return;
        };
        match self.directory.java(pid) {
            JavaLook::NotYet => self.javas.looked(pid, None),
            JavaLook::Without => self.javas.done(pid),
            JavaLook::Unknown => {
                self.javas.unknown += 1;
                self.javas.done(pid);
            }
            JavaLook::Found { threads, carriers } => {
                self.javas.looked(pid, Some(&threads));
                if !carriers.is_empty() {
                    self.order(Order::WatchJava { pid, carriers });
                }
            }
        }
    }

    /// Java processes whose virtual threads, if they have any, cannot be told.
    pub fn javas_unknown(&self) -> u64 {
        self.javas.unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_no_look_has_seen_asks_for_one() {
        let mut javas = Javas::default();
        javas.acts(7, 70);
        assert_eq!(javas.next(10), Some(7));
        assert_eq!(javas.next(10 + FIRST_WAIT_NS - 1), None, "not at once again");
        javas.looked(7, Some(&[70, 71]));
        javas.acts(7, 70);
        javas.acts(7, 71);
        assert_eq!(javas.next(u64::MAX), None, "both were seen");
        javas.acts(7, 72);
        assert_eq!(javas.next(10 + FIRST_WAIT_NS - 1), None);
        assert_eq!(javas.next(10 + FIRST_WAIT_NS), Some(7));
        assert_eq!(
            javas.next(10 + 3 * FIRST_WAIT_NS),
            Some(7),
            "until something was found"
        );
    }

    #[test]
    fn looks_in_vain_are_counted_once_for_each_process() {
        let mut javas = Javas::default();
        javas.acts(7, 70);
        (0..20).for_each(|_| javas.looked(7, None));
        assert_eq!(javas.unknown, 1);
        javas.done(7);
        javas.acts(7, 71);
        assert_eq!(javas.next(u64::MAX), None);
    }

    #[test]
    fn processes_and_threads_are_bounded() {
        let mut javas = Javas::default();
        (0..5_000).for_each(|pid| javas.acts(pid, 1));
        (0..5_000).for_each(|tid| javas.acts(0, tid));
        assert_eq!(
            (javas.processes.len(), javas.wanting),
            (PROCESSES_MAX, PROCESSES_MAX)
        );
        assert_eq!(javas.processes[&0].known.len(), THREADS_MAX);
        (0..5_000).for_each(|pid| javas.forget(pid));
        assert_eq!((javas.processes.len(), javas.wanting), (0, 0));
    }
}
