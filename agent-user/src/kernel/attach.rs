//! Attach: for each event the first way of the table that the kernel accepts, decided by trying.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use aya::{
    Btf, Ebpf,
    programs::{Program, ProgramError},
};

use super::{
    capture::{CaptureError, TierChoice},
    probes::{DATA, HOOKS, Hook, Probe, Tier, Way},
};

/// Which hook serves an event, and why no better one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookStatus {
    /// What it sees, in plain words.
    pub event: &'static str,
    /// Name of the tier that serves it; `None` where nothing does.
    pub tier: Option<&'static str>,
    /// Kernel functions or tracepoints it sits on.
    pub targets: Vec<&'static str>,
    /// Why better ones were passed over, one line each.
    pub refused: Vec<String>,
}

/// The loaded programs and what attaching them takes.
pub(super) struct Attaching<'a> {
    pub(super) programs: &'a mut Ebpf,
    pub(super) btf: &'a Btf,
    /// Argument counts of the kernel functions in the table.
    pub(super) arguments: &'a HashMap<&'static str, u32>,
}

/// Attaches one way of every hook.
pub(super) fn attach(
    attaching: &mut Attaching<'_>,
    choice: TierChoice,
) -> Result<Vec<HookStatus>, CaptureError> {
    let mut attached: Vec<HookStatus> = Vec::new();
    for hook in HOOKS {
        let data = attached.iter().find(|status| status.event == DATA);
        let data_tier = data.and_then(|status| status.tier);
        if hook.beside.is_none_or(|tier| data_tier == Some(tier.name())) {
            attached.push(attach_hook(attaching, choice, hook)?);
        }
    }
    Ok(attached)
}

fn attach_hook(
    attaching: &mut Attaching<'_>,
    choice: TierChoice,
    hook: &'static Hook,
) -> Result<HookStatus, CaptureError> {
    let mut status = HookStatus {
        event: hook.event,
        tier: None,
        targets: Vec::new(),
        refused: Vec::new(),
    };
    let mut ways: Vec<&Way> = allowed(hook, choice).collect();
    // The sockets' own tracepoints come first where there is a choice: the capture suite passes on them (Linux 6.18), the
    // function hooks have not been through it yet, and Linux 6.12 takes very long to verify those.
    ways.sort_by_key(|way| choice == TierChoice::Auto && way.tier != Tier::Tracepoint);
    for way in ways {
        match attaching.way(way, !hook.asked) {
            Ok((targets, refused)) => {
                status.tier = Some(way.tier.name());
                status.targets = targets;
                status.refused.extend(refused);
                return Ok(status);
            }
            Err(reason) => status.refused.push(format!("{}: {reason}", way.tier.name())),
        }
    }
    if hook.needed {
        return Err(CaptureError::NoHook {
            event: hook.event,
            refused: status.refused.join("; "),
        });
    }
    Ok(status)
}

/// The ways a choice leaves: its own tier where the hook has it, otherwise what is left below.
fn allowed(hook: &'static Hook, choice: TierChoice) -> impl Iterator<Item = &'static Way> {
    let best = match choice {
        TierChoice::Auto | TierChoice::Fentry => Tier::Fentry,
        TierChoice::Kprobe => Tier::Kprobe,
        TierChoice::Tracepoint => Tier::Tracepoint,
        TierChoice::Syscall => Tier::Syscall,
    };
    let forced = choice != TierChoice::Auto;
    let has_it = hook.ways.iter().any(|way| way.tier == best);
    hook.ways.iter().filter(move |way| match (forced, has_it) {
        (false, _) => true,
        // The two tracepoint tiers are one floor; the system calls stand in for the sockets' own.
        (true, true) => way.tier == best || (best == Tier::Tracepoint && way.tier > best),
        (true, false) => way.tier >= Tier::Tracepoint,
    })
}

/// One program of the table on one kernel function or tracepoint, tried by itself.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub event: &'static str,
    pub tier: &'static str,
    pub program: &'static str,
    pub target: &'static str,
    /// Instructions the verifier went through (Linux 5.16), or why it was refused.
    pub outcome: Result<Option<u32>, String>,
    pub took: Duration,
}

/// Attaches every program of the table on its own, and lets it go.
pub(super) fn try_every(attaching: &mut Attaching<'_>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for hook in HOOKS {
        for way in hook.ways {
            for probe in way.probes {
                let started = Instant::now();
                let outcome = attaching.probe(probe, true);
                trials.push(Trial {
                    event: hook.event,
                    tier: way.tier.name(),
                    program: probe.program,
                    target: probe.target,
                    outcome,
                    took: started.elapsed(),
                });
                attaching.detach(probe);
            }
        }
    }
    trials
}

/// What a way sits on, and what it does without.
type Attached = (Vec<&'static str>, Vec<String>);

impl Attaching<'_> {
    /// All probes of a way (but for optional ones), or none of them.
    fn way(&mut self, way: &Way, attach: bool) -> Result<Attached, String> {
        let (mut targets, mut refused) = (Vec::new(), Vec::new());
        for probe in way.probes {
            match self.probe(probe, attach) {
                Ok(_) => {
                    if targets.last() != Some(&probe.target) {
                        targets.push(probe.target);
                    }
                }
                Err(reason) if probe.optional => refused.push(format!("{}: {reason}", probe.target)),
                Err(reason) => {
                    for probe in way.probes {
                        self.detach(probe);
                    }
                    return Err(format!("{} refused: {reason}", probe.target));
                }
            }
        }
        Ok((targets, refused))
    }

    /// Loads, and attaches if it is to see something now; the instructions the verifier went through.
    fn probe(&mut self, probe: &Probe, attach: bool) -> Result<Option<u32>, String> {
        if let Some(wanted) = probe.arguments {
            match self.arguments.get(probe.target) {
                None => return Err("not in this kernel".into()),
                Some(&there) if there != wanted => {
                    return Err(format!("takes {there} arguments here, not {wanted}"));
                }
                Some(_) => {}
            }
        }
        let program = self
            .programs
            .program_mut(probe.program)
            .ok_or("no such program in this build")?;
        let done = match program {
            Program::BtfTracePoint(program) => match program.load(probe.target, self.btf) {
                Ok(()) if attach => program.attach().map(drop),
                done => done,
            },
            Program::FExit(program) => program
                .load(probe.target, self.btf)
                .and_then(|()| program.attach().map(drop)),
            Program::FEntry(program) => program
                .load(probe.target, self.btf)
                .and_then(|()| program.attach().map(drop)),
            Program::KProbe(program) => {
                // One program serves several functions.
                match program.load() {
                    Ok(()) | Err(ProgramError::AlreadyLoaded) => program.attach(probe.target, 0).map(drop),
                    Err(error) => Err(error),
                }
            }
            _ => return Err("the program is of a kind the table does not know".into()),
        };
        done.map_err(|error| reason(&error))?;
        Ok(program
            .info()
            .ok()
            .and_then(|info| info.verified_instruction_count()))
    }

    fn detach(&mut self, probe: &Probe) {
        // That it was not loaded in the first place is no failure.
        let _ = match self.programs.program_mut(probe.program) {
            Some(Program::BtfTracePoint(program)) => program.unload(),
            Some(Program::FExit(program)) => program.unload(),
            Some(Program::FEntry(program)) => program.unload(),
            Some(Program::KProbe(program)) => program.unload(),
            _ => Ok(()),
        };
    }
}

/// Attaches a program that was loaded for when it is asked for.
pub(super) fn attach_asked(programs: &mut Ebpf, name: &str) -> Result<(), String> {
    match programs.program_mut(name) {
        Some(Program::BtfTracePoint(program)) => program.attach().map(drop).map_err(|error| reason(&error)),
        _ => Err("no such program in this build".into()),
    }
}

/// One line that tells why; of the verifier's log the end, where the reason is.
fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            if std::env::var_os("SPANHOUND_VERIFIER_LOG").is_some() {
                eprintln!("{log}");
            }
            const STATISTICS: &[&str] = &["processed ", "stack depth ", "verification time "];
            let mut lines = log
                .lines()
                .filter(|line| !STATISTICS.iter().any(|start| line.starts_with(start)));
            match lines.next_back() {
                Some(last) => format!("{io_error} (verifier: {})", last.trim()),
                None => io_error.to_string(),
            }
        }
        ProgramError::Btf(error) => format!("not in this kernel ({error})"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_tier_leaves_only_itself_and_the_floor_where_there_is_no_such_tier() {
        for hook in HOOKS {
            let all: Vec<Tier> = allowed(hook, TierChoice::Auto).map(|way| way.tier).collect();
            let (bounded, seeing_all): (Vec<Tier>, Vec<Tier>) =
                all.iter().partition(|&&tier| tier == Tier::Kprobe);
            assert!(
                seeing_all.is_sorted(),
                "{}: ways stand cheapest first",
                hook.event
            );
            assert!(
                all.ends_with(&bounded),
                "{}: and last what does not see all",
                hook.event
            );
            for (choice, tier) in [
                (TierChoice::Fentry, Tier::Fentry),
                (TierChoice::Kprobe, Tier::Kprobe),
                (TierChoice::Syscall, Tier::Syscall),
            ] {
                let left: Vec<Tier> = allowed(hook, choice).map(|way| way.tier).collect();
                if all.contains(&tier) {
                    assert_eq!(left, [tier], "{}", hook.event);
                } else {
                    assert!(
                        left.iter().all(|&tier| tier >= Tier::Tracepoint),
                        "{}",
                        hook.event
                    );
                }
            }
        }
    }
}
