//! Actor: who runs.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_task};
use spanhound_common::{
    ProcessRule,
    record::ActorRecord,
    rule::{PROCESS_GO, PROCESS_JAVA, PROCESS_PYTHON, exception_bit},
};

use crate::{
    config::offset,
    config::switch,
    maps::{EXCEPTIONS, PROCESSES},
    read,
    runtime::{go, java, python},
};

/// The current thread.
#[derive(Clone, Copy)]
pub struct Current {
    pub pid: u32,
    pub tid: u32,
}

impl Current {
    #[inline(always)]
    pub fn thread() -> Self {
        let both = bpf_get_current_pid_tgid();
        Self {
            pid: (both >> 32) as u32,
            tid: both as u32,
        }
    }

    /// What user space said of its process.
    #[inline(always)]
    pub fn rule(&self) -> ProcessRule {
        // SAFETY: entries are replaced as a whole; a torn read of three integers does no harm.
        unsafe { PROCESSES.get(self.pid) }.copied().unwrap_or_default()
    }

    /// Who runs, or for whom where that is known. `acts`: it writes or connects, so that a task may be at work.
    #[inline(always)]
    pub fn record(&self, rule: &ProcessRule, acts: bool) -> ActorRecord {
        let mut actor = self.own_record(rule);
        if acts && rule.flags & PROCESS_PYTHON != 0 {
            python::task(&mut actor);
        } else if rule.flags & PROCESS_GO != 0 && actor.routine != 0 {
            go::behalf(&mut actor);
        }
        actor
    }

    /// Who runs.
    #[inline(always)]
    pub fn own_record(&self, rule: &ProcessRule) -> ActorRecord {
        let mut actor = ActorRecord {
            pid: self.pid,
            tid: self.tid,
            routine: 0,
            parent_routine: 0,
        };
        if rule.flags & PROCESS_GO != 0 {
            goroutine(rule, &mut actor);
        } else if rule.flags & PROCESS_JAVA != 0 {
            java::virtual_thread(&mut actor);
        }
        actor
    }
}

/// Whether anything of the running process may be wanted: the first thing a hook asks, and for most processes the last.
#[inline(always)]
pub fn wanted() -> bool {
    let pid = Current::thread().pid;
    if pid == switch::own_pid() {
        return false;
    }
    let (word, bit) = exception_bit(pid);
    let exception = EXCEPTIONS.get(word).is_some_and(|word| word & bit != 0);
    exception == switch::rest_ignored()
}

/// Go on x86-64 keeps the pointer to the running `runtime.g` in thread-local storage, at -8 from the FS base
/// (`src/runtime/sys_linux_amd64.s`, `runtime·settls`).
#[inline(always)]
fn goroutine(rule: &ProcessRule, actor: &mut ActorRecord) {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let Some(fsbase) = read::kernel::<u64>(task, offset::task_fsbase()) else {
        return;
    };
    let Some(g) = read::user::<u64>(fsbase.wrapping_sub(8)) else {
        return;
    };
    actor.routine = read::user::<u64>(g.wrapping_add(rule.goroutine_offset as u64)).unwrap_or(0);
    if rule.parent_goroutine_offset != 0 {
        actor.parent_routine =
            read::user::<u64>(g.wrapping_add(rule.parent_goroutine_offset as u64)).unwrap_or(0);
    }
}
