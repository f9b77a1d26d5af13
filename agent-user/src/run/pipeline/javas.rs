//! Java processes: when to look into one for threads that carry virtual threads.
//!
//! Enters: threads of Java processes that move data, the time. Leaves: orders to read which virtual threads the found ones
//! carry. Threads start when there is work: one that no look has seen asks for another look. Bounded: as [`Looks`], and
//! [`THREADS_MAX`] of each process.

use rustc_hash::FxHashSet;

use super::looks::Looks;
use super::{Order, Pipeline};
use crate::event::TimeNs;
use crate::process::JavaLook;

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
    in_vain: u32,
    /// There is nothing to find.
    done: bool,
}

#[derive(Debug)]
pub(super) struct Javas {
    looks: Looks<Java>,
    unknown: u64,
}

impl Default for Javas {
    fn default() -> Self {
        Self {
            looks: Looks::new(FIRST_WAIT_NS, LONGEST_WAIT_NS),
            unknown: 0,
        }
    }
}

impl Javas {
    /// This thread moves data, and as far as is known in its own name.
    pub(super) fn acts(&mut self, pid: u32, tid: u32) {
        let Some(java) = self.looks.kept(pid) else {
            return;
        };
        if !java.done && java.known.len() < THREADS_MAX && java.known.insert(tid) {
            self.looks.want(pid);
        }
    }

    /// It ended, or became another program.
    pub(super) fn forget(&mut self, pid: u32) {
        self.looks.forget(pid);
    }

    /// A look found that these threads were there, or `None` where it has to be repeated.
    fn looked(&mut self, pid: u32, threads: Option<&[u32]>) {
        let Some(java) = self.looks.kept(pid) else {
            return;
        };
        match threads {
            Some(threads) => {
                let room = THREADS_MAX.saturating_sub(java.known.len());
                java.known.extend(threads.iter().take(room));
                java.in_vain = 0;
                self.looks.want_no_more(pid);
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
        self.looks.want_no_more(pid);
        if let Some(java) = self.looks.kept(pid) {
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
        let Some(pid) = self.javas.looks.next(now_ns) else {
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
        assert_eq!(javas.looks.next(10), Some(7));
        assert_eq!(
            javas.looks.next(10 + FIRST_WAIT_NS - 1),
            None,
            "not at once again"
        );
        javas.looked(7, Some(&[70, 71]));
        javas.acts(7, 70);
        javas.acts(7, 71);
        assert_eq!(javas.looks.next(u64::MAX), None, "both were seen");
        javas.acts(7, 72);
        assert_eq!(javas.looks.next(10 + FIRST_WAIT_NS - 1), None);
        assert_eq!(javas.looks.next(10 + FIRST_WAIT_NS), Some(7));
        assert_eq!(
            javas.looks.next(10 + 3 * FIRST_WAIT_NS),
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
        assert_eq!(javas.looks.next(u64::MAX), None);
    }

    #[test]
    fn processes_and_threads_are_bounded() {
        let mut javas = Javas::default();
        (0..5_000).for_each(|pid| javas.acts(pid, 1));
        (0..5_000).for_each(|tid| javas.acts(0, tid));
        assert!(javas.looks.kept(5_000).is_none());
        assert_eq!(javas.looks.kept(0).unwrap().known.len(), THREADS_MAX);
        (0..5_000).for_each(|pid| javas.forget(pid));
        assert_eq!(javas.looks.next(u64::MAX), None);
    }
}
