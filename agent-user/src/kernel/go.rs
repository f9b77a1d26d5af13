//! Go: probes at the entries of two functions of each watched Go program, see `agent-ebpf/src/runtime/go.rs`.
//!
//! Enters: process ids with the places of the functions. Leaves: nothing; the goroutine in a record is the caller's then.
//! Bounded: [`PROGRAMS_MAX`] programs at once. A program that is turned away keeps the other rungs.

use std::{num::NonZeroU32, path::PathBuf};

use aya::{
    Ebpf,
    programs::{
        Program, ProgramError, UProbe,
        uprobe::{UProbeAttachLocation, UProbeLinkId, UProbeScope},
    },
};
use rustc_hash::FxHashMap;

use crate::process::GoFunctions;

/// Go programs probed at once.
const PROGRAMS_MAX: usize = 256;
const ROUND_TRIP: &str = "go_round_trip";
const CONNECTION_WRITE: &str = "go_connection_write";

/// The probes that are set.
#[derive(Default)]
pub(super) struct GoProbes {
    links: FxHashMap<u32, [UProbeLinkId; 2]>,
    pub(super) turned_away: u64,
}

impl GoProbes {
    pub(super) fn watch(&mut self, programs: &mut Ebpf, pid: u32, functions: GoFunctions) {
        self.forget(programs, pid);
        if self.links.len() >= PROGRAMS_MAX {
            self.turned_away += 1;
            return;
        }
        match attach(programs, pid, functions) {
            Ok(links) => {
                tracing::debug!(pid, "sees the HTTP client of a Go program");
                self.links.insert(pid, links);
            }
            Err(error) => {
                self.turned_away += 1;
                tracing::debug!(pid, %error, "cannot see the HTTP client of a Go program");
            }
        }
    }

    pub(super) fn forget(&mut self, programs: &mut Ebpf, pid: u32) {
        let Some(links) = self.links.remove(&pid) else {
            return;
        };
        for (name, link) in [ROUND_TRIP, CONNECTION_WRITE].into_iter().zip(links) {
            if let Ok(program) = program(programs, name) {
                // With the process its probes are gone already.
                let _ = program.detach(link);
            }
        }
    }
}

fn attach(programs: &mut Ebpf, pid: u32, functions: GoFunctions) -> Result<[UProbeLinkId; 2], ProgramError> {
    let path = PathBuf::from(format!("/proc/{pid}/exe"));
    let scope = NonZeroU32::new(pid).map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
    let mut one = |name: &str, offset: u64| {
        let program = program(programs, name)?;
        match program.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
            Err(error) => return Err(error),
        }
        program.attach(UProbeAttachLocation::AbsoluteOffset(offset), &path, scope)
    };
    let round_trip = one(ROUND_TRIP, functions.round_trip)?;
    match one(CONNECTION_WRITE, functions.connection_write) {
        Ok(connection_write) => Ok([round_trip, connection_write]),
        Err(error) => {
            if let Ok(program) = program(programs, ROUND_TRIP) {
                // The failure that counts is the other one.
                let _ = program.detach(round_trip);
            }
            Err(error)
        }
    }
}

fn program<'a>(programs: &'a mut Ebpf, name: &str) -> Result<&'a mut UProbe, ProgramError> {
    match programs.program_mut(name) {
        Some(Program::UProbe(program)) => Ok(program),
        _ => Err(ProgramError::NotLoaded),
    }
}
