//! Python processes: when to look into one for what its event loops run.
//!
//! Enters: processes that use a connection, the time. Leaves: orders to read the tasks of those that are found. A process
//! that has not imported asyncio is looked at again. Bounded: as [`Looks`].

use super::looks::Looks;
use super::{Order, Pipeline};
use crate::event::TimeNs;
use crate::process::PythonLook;

const FIRST_WAIT_NS: u64 = 250_000_000;
const LONGEST_WAIT_NS: u64 = 600_000_000_000;

#[derive(Debug)]
pub(super) struct Pythons {
    looks: Looks<()>,
    unknown: u64,
}

impl Default for Pythons {
    fn default() -> Self {
        Self {
            looks: Looks::new(FIRST_WAIT_NS, LONGEST_WAIT_NS),
            unknown: 0,
        }
    }
}

impl Pythons {
    /// The process uses a connection.
    pub(super) fn noticed(&mut self, pid: u32) {
        if !self.looks.knows(pid) {
            self.looks.want(pid);
        }
    }

    /// It ended, or became another program.
    pub(super) fn forget(&mut self, pid: u32) {
        self.looks.forget(pid);
    }
}

impl Pipeline {
    pub(super) fn look_at_pythons(&mut self, now_ns: TimeNs) {
        // One a turn: a look reads a few hundred kilobytes.
        let Some(pid) = self.pythons.looks.next(now_ns) else {
            return;
        };
        match self.directory.python(pid) {
            PythonLook::NotYet => {}
            PythonLook::Unknown => {
                self.pythons.unknown += 1;
                self.pythons.looks.want_no_more(pid);
            }
            PythonLook::Found(mut program) => {
                self.pythons.looks.want_no_more(pid);
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
        assert_eq!(pythons.looks.next(0), None);
        pythons.noticed(7);
        pythons.noticed(7);
        assert_eq!(pythons.looks.next(10), Some(7));
        assert_eq!(pythons.looks.next(10 + FIRST_WAIT_NS - 1), None);
        let again_ns = 10 + FIRST_WAIT_NS;
        assert_eq!(pythons.looks.next(again_ns), Some(7));
        assert_eq!(pythons.looks.next(again_ns + 2 * FIRST_WAIT_NS - 1), None);
        pythons.looks.want_no_more(7);
        pythons.noticed(7);
        assert_eq!(pythons.looks.next(u64::MAX), None);
        pythons.forget(7);
        pythons.noticed(7);
        assert_eq!(pythons.looks.next(u64::MAX), Some(7));
    }
}
