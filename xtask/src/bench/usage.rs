//! What a process uses, and what its kernel programs do, as the kernel counts it (proc(5)).

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// User and system time of a process and its threads.
pub(super) fn processor_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process has ended")?;
    // After the name in parentheses: state is field 3, user time 14, system time 15, in ticks of 1/100 s.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<f64>().ok())
            .context("no times in stat")
    };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// Most memory it ever had resident.
pub(super) fn peak_mib(pid: u32) -> Result<f64> {
    status_mib(pid, "VmHWM:")
}

pub(super) fn resident_mib(pid: u32) -> Result<f64> {
    status_mib(pid, "VmRSS:")
}

fn status_mib(pid: u32, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the process has ended")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"));
    Ok(kib
        .and_then(|kib| kib.trim().parse::<f64>().ok())
        .with_context(|| format!("no {field} in status"))?
        / 1024.0)
}

/// The file a process runs.
pub(super) fn executable(pid: u32) -> Result<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).context("the process has ended")
}

/// While it lives, the kernel counts runs and time of its programs, which costs each run some tens of nanoseconds.
pub(super) struct ProgramStatistics {
    before: String,
}

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl ProgramStatistics {
    pub(super) fn switch_on() -> Result<Self> {
        let before = std::fs::read_to_string(SWITCH).context("this kernel counts no program runs")?;
        std::fs::write(SWITCH, "1")?;
        Ok(Self { before })
    }

    /// Runs, and seconds spent in them, of all programs a process holds (`bpf_prog_show_fdinfo` of `kernel/bpf/syscall.c`).
    pub(super) fn of(&self, pid: u32) -> Result<(f64, f64)> {
        let directory = format!("/proc/{pid}/fdinfo");
        let mut programs = BTreeMap::new();
        for entry in std::fs::read_dir(&directory).context("the process has ended")? {
            // A descriptor that was closed meanwhile is no program's.
            let text = std::fs::read_to_string(entry?.path()).unwrap_or_default();
            programs.extend(program(&text));
        }
        if programs.is_empty() {
            bail!("process {pid} holds no kernel program");
        }
        let runs: f64 = programs.values().map(|(runs, _)| runs).sum();
        let nanoseconds: f64 = programs.values().map(|(_, nanoseconds)| nanoseconds).sum();
        Ok((runs, nanoseconds / 1e9))
    }
}

/// Number, runs and nanoseconds of the program, if the descriptor is one's.
fn program(fdinfo: &str) -> Option<(u64, (f64, f64))> {
    let after = |name: &str| {
        fdinfo
            .lines()
            .find_map(|line| Some(line.strip_prefix(name)?.trim()))
    };
    Some((
        after("prog_id:")?.parse().ok()?,
        (
            after("run_cnt:")?.parse().ok()?,
            after("run_time_ns:")?.parse().ok()?,
        ),
    ))
}

impl Drop for ProgramStatistics {
    fn drop(&mut self) {
        // It was writable a moment ago.
        let _ = std::fs::write(SWITCH, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_other_descriptors() {
        let fdinfo = "pos:\t0\nprog_type:\t26\nprog_id:\t77\nrun_time_ns:\t4200\nrun_cnt:\t12\n";
        assert_eq!(program(fdinfo), Some((77, (12.0, 4200.0))));
        assert_eq!(program("pos:\t0\nmap_type:\t27\n"), None);
    }
}
