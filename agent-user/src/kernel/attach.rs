//! Attach: for each event the cheapest way the kernel accepts, decided by trying.

use aya::{
    Btf, Ebpf,
    programs::{Program, ProgramError},
};

use super::{
    capture::{CaptureError, TierChoice},
    probes::{HOOKS, Hook, Probe, Tier, Way},
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

/// Attaches one way of every hook.
pub(super) fn attach(
    programs: &mut Ebpf,
    btf: &Btf,
    choice: TierChoice,
) -> Result<Vec<HookStatus>, CaptureError> {
    HOOKS
        .iter()
        .map(|hook| attach_hook(programs, btf, choice, hook))
        .collect()
}

fn attach_hook(
    programs: &mut Ebpf,
    btf: &Btf,
    choice: TierChoice,
    hook: &'static Hook,
) -> Result<HookStatus, CaptureError> {
    let mut status = HookStatus {
        event: hook.event,
        tier: None,
        targets: Vec::new(),
        refused: Vec::new(),
    };
    for way in allowed(hook, choice) {
        match attach_way(programs, btf, way) {
            Ok(()) => {
                status.tier = Some(way.tier.name());
                status.targets = way.probes.iter().map(|probe| probe.target).collect();
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

/// All probes of a way, or none of them.
fn attach_way(programs: &mut Ebpf, btf: &Btf, way: &Way) -> Result<(), String> {
    let mut attached = Vec::new();
    for probe in way.probes {
        match attach_probe(programs, btf, probe) {
            Ok(()) => attached.push(probe),
            Err(reason) => {
                for probe in attached.into_iter().chain([probe]) {
                    detach(programs, probe);
                }
                return Err(format!("{} refused: {reason}", probe.target));
            }
        }
    }
    Ok(())
}

fn attach_probe(programs: &mut Ebpf, btf: &Btf, probe: &Probe) -> Result<(), String> {
    let program = programs
        .program_mut(probe.program)
        .ok_or("no such program in this build")?;
    let done = match program {
        Program::BtfTracePoint(program) => program
            .load(probe.target, btf)
            .and_then(|()| program.attach().map(|_| ())),
        _ => return Err("the program is of a kind the table does not know".into()),
    };
    done.map_err(|error| reason(&error))?;
    if let Ok(info) = program.info() {
        tracing::debug!(program = probe.program, target = probe.target, verified = ?info.verified_instruction_count());
    }
    Ok(())
}

fn detach(programs: &mut Ebpf, probe: &Probe) {
    // That it was not loaded in the first place is no failure.
    let _ = match programs.program_mut(probe.program) {
        Some(Program::BtfTracePoint(program)) => program.unload(),
        _ => Ok(()),
    };
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
            let lines: Vec<&str> = log
                .lines()
                .filter(|line| !line.starts_with("processed "))
                .collect();
            match lines.last() {
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
            assert!(all.is_sorted(), "{}: ways stand cheapest first", hook.event);
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
