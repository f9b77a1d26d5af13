//! Processes start, become another program, end.

use core::mem::MaybeUninit;

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, generated::bpf_get_current_comm},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use spanhound_common::{
    Loss, ProcessRecord,
    record::{Kind, PROCESS_EXEC, PROCESS_EXIT, PROCESS_FORK},
};

use crate::{config::offset, emit, read, waking, word};

/// `sched_process_fork(parent, child)` of `include/trace/events/sched.h`; a thread is one too.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_forked(ctx: BtfTracePointContext) -> i32 {
    let child: u64 = ctx.arg(1);
    let pid = read::kernel::<u32>(child, offset::task_pid());
    let group = read::kernel::<u32>(child, offset::task_tgid());
    if let (Some(pid), Some(group)) = (pid, group)
        && pid == group
    {
        tell(PROCESS_FORK, pid);
    } else if let (Some(tid), Some(_)) = (pid, group) {
        waking::started(tid);
    }
    0
}

/// `sched_process_exec(task, old_pid, bprm)`.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_executed(_ctx: BtfTracePointContext) -> i32 {
    tell(PROCESS_EXEC, (bpf_get_current_pid_tgid() >> 32) as u32);
    0
}

/// `sched_process_exit(task)`: every thread; the process ends with the last.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exited(ctx: BtfTracePointContext) -> i32 {
    let task: u64 = ctx.arg(0);
    let live = read::kernel::<u64>(task, offset::task_signal())
        .and_then(|signal| read::kernel::<u32>(signal, offset::signal_live()));
    if live == Some(0) {
        tell(PROCESS_EXIT, (bpf_get_current_pid_tgid() >> 32) as u32);
    }
    0
}

#[inline(always)]
fn tell(what: u8, pid: u32) {
    // SAFETY: the helper has no preconditions.
    let time_ns = unsafe { bpf_ktime_get_ns() };
    // Of the parent, when a child begins: it goes by the same name.
    let mut name = MaybeUninit::<[u64; 2]>::uninit();
    // SAFETY: as long as said; the helper fills it, or zeroes it where it fails.
    unsafe { bpf_get_current_comm(name.as_mut_ptr().cast(), size_of_val(&name) as u32) };
    emit::record(Loss::RingFullProcess, |record: &mut ProcessRecord| {
        record.kind = Kind::Process as u8;
        record.what = what;
        record.pid = pid;
        record.time_ns = time_ns;
        // SAFETY: sixteen bytes both, behind whole words.
        unsafe { word::copy((&raw mut record.name).cast(), name.as_ptr()) };
    });
}
