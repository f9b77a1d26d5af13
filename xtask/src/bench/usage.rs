//! What a process uses, and what its kernel programs do, as the kernel counts it (proc(5), bpftool-prog(8)).

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

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

    /// Runs, and seconds spent in them, of all programs a process holds.
    pub(super) fn of(&self, pid: u32) -> Result<(f64, f64)> {
        let said = command::output(Command::new("bpftool").args(["--json", "prog", "show"]))?;
        let programs: Value = serde_json::from_str(&said).context("bpftool does not answer JSON")?;
        let is_its = |program: &&Value| {
            let holders = program["pids"].as_array();
            holders.is_some_and(|pids| pids.iter().any(|holder| holder["pid"] == pid))
        };
        let sum = |field: &str| -> f64 {
            let programs = programs.as_array().into_iter().flatten().filter(is_its);
            programs.filter_map(|program| program[field].as_f64()).sum()
        };
        Ok((sum("run_cnt"), sum("run_time_ns") / 1e9))
    }
}

impl Drop for ProgramStatistics {
    fn drop(&mut self) {
        // It was writable a moment ago.
        let _ = std::fs::write(SWITCH, &self.before);
    }
}
