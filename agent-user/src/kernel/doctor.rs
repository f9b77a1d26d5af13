//! Doctor: what this kernel offers and what serves each event, in plain words.
//!
//! Enters: the running kernel. Leaves: a [`Report`]. It finds out by doing: hooks are attached as `run` would, and let go
//! at once; without the privileges for that it says which are missing.

use std::{fmt, fs};

use super::{
    HookStatus, Settings,
    attach::Trial,
    btf::Btf,
    capture::{Capture, CaptureError},
    layout, privileges,
};

/// What was found.
#[derive(Debug)]
pub struct Report {
    kernel: String,
    lockdown: Option<String>,
    missing_privileges: Vec<&'static str>,
    /// Members of kernel structures that are not there; `None` where there is no type information at all.
    absent_fields: Option<Vec<String>>,
    hooks: Result<Vec<HookStatus>, CaptureError>,
    map_bytes: u64,
    trials: Vec<Trial>,
}

/// Tries everything `run` would use; with `every_hook`, then also each program of the table by itself.
pub fn examine(settings: &Settings, every_hook: bool) -> Report {
    let trials = match every_hook {
        // What does not load says so below.
        true => Capture::try_every(settings).unwrap_or_default(),
        false => Vec::new(),
    };
    let capture = Capture::start(settings);
    Report {
        kernel: line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()),
        lockdown: line("/sys/kernel/security/lockdown"),
        missing_privileges: privileges::missing(),
        absent_fields: fs::read("/sys/kernel/btf/vmlinux")
            .ok()
            .and_then(|bytes| Btf::parse(&bytes).ok().map(|btf| layout::resolve(&btf).1)),
        map_bytes: capture.as_ref().map_or(0, Capture::map_bytes),
        hooks: capture.map(|capture| capture.hooks().to_vec()),
        trials,
    }
}

impl Report {
    /// Whether capture works here.
    pub fn works(&self) -> bool {
        self.hooks.is_ok()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "kernel            {}", self.kernel)?;
        if let Some(lockdown) = &self.lockdown {
            writeln!(out, "lockdown          {lockdown}")?;
        }
        let privileges = match self.missing_privileges.as_slice() {
            [] => "all that is needed".to_owned(),
            missing => format!("{} missing: run as root, or grant them", missing.join(", ")),
        };
        writeln!(out, "privileges        {privileges}")?;
        match &self.absent_fields {
            None => writeln!(
                out,
                "type information  none: /sys/kernel/btf/vmlinux cannot be read"
            )?,
            Some(absent) if absent.is_empty() => writeln!(out, "type information  complete")?,
            Some(absent) => writeln!(out, "type information  without {}", absent.join(", "))?,
        }
        if !self.trials.is_empty() {
            writeln!(out, "\nEvery program by itself:")?;
        }
        for trial in &self.trials {
            let outcome = match &trial.outcome {
                Ok(Some(verified)) => format!("taken, {verified} instructions verified"),
                Ok(None) => "taken".to_owned(),
                Err(reason) => format!("refused: {reason}"),
            };
            let (event, tier, program, target) = (trial.event, trial.tier, trial.program, trial.target);
            let took_ms = trial.took.as_millis();
            writeln!(
                out,
                "    {event}: {tier} {program} on {target}: {outcome} ({took_ms} ms)"
            )?;
        }
        match &self.hooks {
            Ok(hooks) => {
                writeln!(out, "kernel memory     {} KiB for maps", self.map_bytes / 1024)?;
                for hook in hooks {
                    hook_lines(out, hook)?;
                }
                writeln!(out, "\nCapture works on this kernel.")
            }
            Err(error) => writeln!(out, "\nCapture does not work here: {error}"),
        }
    }
}

fn hook_lines(out: &mut fmt::Formatter<'_>, hook: &HookStatus) -> fmt::Result {
    match hook.tier {
        Some(tier) => writeln!(out, "\n{}: {tier} ({})", hook.event, hook.targets.join(", "))?,
        None => writeln!(out, "\n{}: not seen", hook.event)?,
    }
    hook.refused
        .iter()
        .try_for_each(|reason| writeln!(out, "    {reason}"))
}

fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(hooks: Result<Vec<HookStatus>, CaptureError>) -> Report {
        Report {
            kernel: "6.1.0".into(),
            lockdown: None,
            missing_privileges: Vec::new(),
            absent_fields: Some(vec!["iov_iter.ubuf".into()]),
            hooks,
            map_bytes: 4096,
            trials: vec![Trial {
                event: "data through sockets",
                tier: "kprobe",
                program: "send_entered",
                target: "inet_sendmsg",
                outcome: Err("no kprobes".into()),
                took: Duration::from_millis(7),
            }],
        }
    }

    #[test]
    fn it_says_what_serves_and_why_nothing_better_does() {
        let hook = HookStatus {
            event: "data through sockets",
            tier: Some("tracepoint"),
            targets: vec!["sock_send_length"],
            refused: vec!["fentry: inet_sendmsg refused: not supported".into()],
        };
        let report = report(Ok(vec![hook]));
        assert!(report.works());
        let text = report.to_string();
        assert!(
            text.contains("data through sockets: tracepoint (sock_send_length)"),
            "{text}"
        );
        assert!(text.contains("    fentry: inet_sendmsg refused"), "{text}");
        assert!(text.contains("without iov_iter.ubuf"), "{text}");
        let trial = "kprobe send_entered on inet_sendmsg: refused: no kprobes (7 ms)";
        assert!(text.contains(trial), "{text}");
    }

    #[test]
    fn where_nothing_works_it_says_why() {
        let report = report(Err(CaptureError::Privileges {
            missing: "CAP_BPF".into(),
        }));
        assert!(!report.works());
        assert!(
            report
                .to_string()
                .contains("capture needs the capabilities CAP_BPF")
        );
    }
}
