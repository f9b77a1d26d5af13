//! Functions: probes at the entries of two functions of each watched program, for runtimes that write for others
//! (`agent-ebpf/src/runtime`).
//!
//! Enters: process ids with the places of the functions. Leaves: nothing; the goroutine or task in a record is the one that
//! is written for then. Bounded: [`PROGRAMS_MAX`] programs at once. A program that is turned away keeps the other rungs.

use std::{num::NonZeroU32, path::Path};

use aya::{
    Ebpf,
    programs::{
        Program, ProgramError, UProbe,
        uprobe::{UProbeAttachLocation, UProbeLinkId, UProbeScope},
    },
};
use rustc_hash::FxHashMap;

/// Programs of one runtime probed at once.
const PROGRAMS_MAX: usize = 256;

/// The probes that are set.
pub(super) struct FunctionProbes {
    names: [&'static str; 2],
    links: FxHashMap<u32, [UProbeLinkId; 2]>,
    pub(super) turned_away: u64,
}

impl FunctionProbes {
    /// For `net/http` of Go.
    pub(super) fn go() -> Self {
        Self::new(["go_round_trip", "go_connection_write"])
    }

    /// For Python's uvloop.
    pub(super) fn uvloop() -> Self {
        Self::new(["uvloop_queue_write", "uvloop_exec_write"])
    }

    fn new(names: [&'static str; 2]) -> Self {
        Self {
            names,
            links: FxHashMap::default(),
            turned_away: 0,
        }
    }

    /// `offsets` of the functions in `file`.
    pub(super) fn watch(&mut self, programs: &mut Ebpf, pid: u32, file: &Path, offsets: [u64; 2]) {
        self.forget(programs, pid);
        if self.links.len() >= PROGRAMS_MAX {
            self.turned_away += 1;
            return;
        }
        match attach(programs, pid, file, self.names, offsets) {
            Ok(links) => {
                tracing::debug!(pid, functions = ?self.names, "sees functions of a program");
                self.links.insert(pid, links);
            }
            Err(error) => {
                self.turned_away += 1;
                tracing::debug!(pid, functions = ?self.names, %error, "cannot see functions of a program");
            }
        }
    }

    pub(super) fn forget(&mut self, programs: &mut Ebpf, pid: u32) {
        let Some(links) = self.links.remove(&pid) else {
            return;
        };
        for (name, link) in self.names.into_iter().zip(links) {
            if let Ok(program) = program(programs, name) {
                // With the process its probes are gone already.
                let _ = program.detach(link);
            }
        }
    }
}

fn attach(
    programs: &mut Ebpf,
    pid: u32,
    file: &Path,
    names: [&'static str; 2],
    offsets: [u64; 2],
) -> Result<[UProbeLinkId; 2], ProgramError> {
    let scope = NonZeroU32::new(pid).map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
    let mut one = |at: usize| {
        let program = program(programs, names[at])?;
        match program.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
            Err(error) => return Err(error),
        }
        program.attach(UProbeAttachLocation::AbsoluteOffset(offsets[at]), file, scope)
    };
    let first = one(0)?;
    match one(1) {
        Ok(second) => Ok([first, second]),
        Err(error) => {
            if let Ok(program) = program(programs, names[0]) {
                // The failure that counts is the other one.
                let _ = program.detach(first);
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
