//! What the agent says of itself and its host.
//!
//! Enters: files below /proc, /etc. Leaves: the agent's identity on the wire, what it uses. Clocks are read here and in
//! `run` only.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use spanhound_proto::v1;

/// The agent as the collector knows it. The id survives restarts: it comes from the machine, not from the run.
pub(super) fn agent(boot_id: &str) -> v1::Agent {
    let host_name = trimmed("/proc/sys/kernel/hostname");
    let machine_id = trimmed("/etc/machine-id");
    v1::Agent {
        id: if machine_id.is_empty() {
            host_name.clone()
        } else {
            machine_id
        },
        host_name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel_release: trimmed("/proc/sys/kernel/osrelease"),
        started_unix_ns: unix_ns(),
        boot_id: boot_id.to_owned(),
    }
}

fn trimmed(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

pub(super) fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

pub(super) fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// CPU time this process has used, all threads.
pub(super) fn cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid, writable timespec for the duration of the call; the clock ids used exist since Linux 2.6.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) } != 0;
    if failed {
        0
    } else {
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

/// Asks the scheduler to let others go first: threads of this one, begun later too, pre-empt nobody (`SCHED_BATCH`), and take
/// their share of the processor in longer turns, which from Linux 6.12 on lets whoever wakes up with a shorter one break in
/// (sched(7), "EEVDF": the request that is shorter has the earlier deadline). The share stays the same. Answers whether it
/// was granted.
pub(super) fn let_others_go_first() -> bool {
    let attributes = SchedulingAttributes {
        size: size_of::<SchedulingAttributes>() as u32,
        policy: libc::SCHED_BATCH as u32,
        // SAFETY: it only reads; 0 stands for the calling process.
        nice: unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) },
        runtime_ns: TURN_NS,
        ..SchedulingAttributes::default()
    };
    // SAFETY: `attributes` is as long as its `size` says and lives through the call, which reads it.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) == 0 }
}

/// Longer than the scheduler's own turns, which are at most 3 ms. Whoever asks for long turns gets them late and at once: with
/// 1 ms on one processor (nginx, `cargo xtask bench vm`) the saturated p99 is 2.4 ms instead of 6.8, but the p99 at a paced rate 179 us
/// instead of 149, and 80% of the throughput are kept instead of 83.
const TURN_NS: u64 = 4_000_000;

/// `struct sched_attr` in its first form (`include/uapi/linux/sched/types.h`).
#[derive(Default)]
#[repr(C)]
struct SchedulingAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// Keeps the kernel from giving 2 MB where 4 KB are asked for (`PR_SET_THP_DISABLE`): the agent's few megabytes lie scattered,
/// and most of each huge page would be nobody's. Where it is not granted only memory is lost.
pub(super) fn decline_huge_pages() {
    // SAFETY: it takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

pub(super) fn ticks_per_second() -> u64 {
    // SAFETY: sysconf only reads; it answers -1 for an unknown name.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100)
}

/// Resident memory (proc(5), `VmRSS`).
pub(super) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_and_sizes_are_plausible() {
        assert!(monotonic_ns() > 0 && cpu_ns() > 0 && ticks_per_second() >= 100);
        assert!(unix_ns() > 1_700_000_000_000_000_000);
        assert!(resident_bytes() > 100_000);
        assert!(!agent("x").kernel_release.is_empty());
    }

    #[test]
    fn a_thread_may_always_step_back() {
        let granted = std::thread::spawn(|| {
            // SAFETY: it only reads; 0 stands for the calling thread.
            let_others_go_first().then(|| unsafe { libc::sched_getscheduler(0) })
        });
        assert_eq!(granted.join().unwrap(), Some(libc::SCHED_BATCH));
    }
}
