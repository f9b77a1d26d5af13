//! Privileges: what the kernel asks of who loads programs.

use std::fs;

use super::capture::CaptureError;

/// `include/uapi/linux/capability.h`.
const CAPABILITIES: &[(u32, &str)] = &[(39, "CAP_BPF"), (38, "CAP_PERFMON"), (19, "CAP_SYS_PTRACE")];
const CAP_SYS_ADMIN: u32 = 21;

/// Names of the capabilities this process lacks.
pub(super) fn missing() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    missing_of(effective(&status))
}

pub(super) fn check() -> Result<(), CaptureError> {
    let missing = missing();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(CaptureError::Privileges {
            missing: missing.join(", "),
        })
    }
}

fn effective(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

fn missing_of(effective: u64) -> Vec<&'static str> {
    let has = |number: u32| effective >> number & 1 == 1;
    CAPABILITIES
        .iter()
        // CAP_SYS_ADMIN stands for the two that were split from it (Linux 5.8).
        .filter(|(number, _)| !has(*number) && (*number < 38 || !has(CAP_SYS_ADMIN)))
        .map(|(_, name)| *name)
        .collect()
}

/// Before Linux 5.11 maps counted against the locked-memory limit. Where it cannot be lifted, loading says so itself.
pub(super) fn lift_memory_limit() {
    let unlimited = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: a valid structure for the call's duration.
    let _ = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missing_for_root_and_everything_for_others() {
        assert!(missing_of(u64::MAX).is_empty());
        assert_eq!(missing_of(0), ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"]);
        assert_eq!(missing_of(1 << 21), ["CAP_SYS_PTRACE"]);
        assert_eq!(effective("Name:\tx\nCapEff:\t000000c000080000\n"), 0xc0_0008_0000);
        assert!(missing_of(0xc0_0008_0000).is_empty());
    }
}
