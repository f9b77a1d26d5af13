//! Survey: what the kernel should know of a process that is there or just began.

use spanhound_common::ProcessRule;
use spanhound_common::rule::{PROCESS_CHOSEN, PROCESS_GO, PROCESS_IGNORED, PROCESS_WAKES};

use super::{Order, Pipeline};

impl Pipeline {
    /// Takes note of the processes that run already.
    pub fn survey(&mut self) {
        for pid in self.directory.pids() {
            self.survey_process(pid);
        }
    }

    /// Go programs with a function that does not begin as it is known to.
    pub fn gos_unknown(&self) -> u64 {
        self.gos_unknown
    }

    /// The process ended, or became another program.
    pub(super) fn forget_program(&mut self, pid: u32) {
        self.directory.forget(pid);
        self.pythons.forget(pid);
        self.javas.forget(pid);
    }

    /// Tells the kernel what holds for a process that is there or just began.
    pub(super) fn survey_process(&mut self, pid: u32) {
        let mut rule = ProcessRule::default();
        if !self.selection.takes_all() {
            let instance = self.directory.instance(pid);
            rule.flags = match self.selection.is_watched(&instance) {
                true if self.selection.chooses() => PROCESS_CHOSEN,
                true => 0,
                false if self.selection.chooses() => return,
                false => PROCESS_IGNORED,
            };
        }
        if let Some(layout) = self.directory.go_layout(pid) {
            rule.flags |= PROCESS_GO;
            rule.goroutine_offset = layout.goroutine_offset;
            rule.parent_goroutine_offset = layout.parent_goroutine_offset;
        }
        if self.spans.linker.wants_wakes(pid) {
            rule.flags |= PROCESS_WAKES;
        }
        let is_go = rule.flags & PROCESS_GO != 0;
        if rule.flags != 0 {
            self.order(Order::SetProcess { pid, rule });
        }
        if self.user_probes
            && is_go
            && let Some(functions) = self.directory.go_functions(pid)
        {
            self.gos_unknown += u64::from(functions.has_unknown);
            if functions.has_any() {
                self.order(Order::WatchGo { pid, functions });
            }
        }
    }
}
