//! Functions: probes at the entries of a few functions of each watched program, for runtimes that write for others
//! (`agent-ebpf/src/runtime`).
//!
//! Enters: process ids with the places of the functions. Leaves: nothing; the goroutine or task in a record is the one that
//! is written for then, or a record tells it. Bounded: [`PROGRAMS_MAX`] programs at once. A program that is turned away keeps the other rungs.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    programs::{
        Program, ProgramError, UProbe,
        uprobe::{UProbeAttachLocation, UProbeLinkId, UProbeScope},
    },
};
use rustc_hash::FxHashMap;

use crate::process::GoFunctions;

/// Programs of one runtime probed at once.
const PROGRAMS_MAX: usize = 256;

/// The probes that are set.
pub(super) struct FunctionProbes {
    names: &'static [&'static str],
    links: FxHashMap<u32, Vec<UProbeLinkId>>,
    pub(super) turned_away: u64,
}

impl FunctionProbes {
    /// For Python's uvloop.
    pub(super) fn uvloop() -> Self {
        Self::new(&["uvloop_queue_write", "uvloop_exec_write"])
    }

    fn new(names: &'static [&'static str]) -> Self {
        Self {
            names,
            links: FxHashMap::default(),
            turned_away: 0,
        }
    }

    /// `offsets` of the functions in `file`, in the order of the names.
    pub(super) fn watch(&mut self, programs: &mut Ebpf, pid: u32, file: &Path, offsets: &[u64]) {
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
        detach(programs, self.names, links);
    }
}

/// The probes of one runtime's parts: each is set where the program has it.
pub(super) struct GoProbes {
    http_client: FunctionProbes,
    grpc_client: FunctionProbes,
    grpc_server: FunctionProbes,
}

impl GoProbes {
    pub(super) fn new() -> Self {
        Self {
            http_client: FunctionProbes::new(&["go_round_trip", "go_connection_write"]),
            grpc_client: FunctionProbes::new(&["go_header_frame"]),
            grpc_server: FunctionProbes::new(&["go_handle_streams", "go_handle_stream"]),
        }
    }

    pub(super) fn watch(&mut self, programs: &mut Ebpf, pid: u32, functions: &GoFunctions) {
        let file = PathBuf::from(format!("/proc/{pid}/exe"));
        if let Some(offsets) = &functions.http_client {
            self.http_client.watch(programs, pid, &file, offsets);
        }
        if let Some(offset) = functions.grpc_client {
            self.grpc_client.watch(programs, pid, &file, &[offset]);
        }
        if let Some(offsets) = &functions.grpc_server {
            self.grpc_server.watch(programs, pid, &file, offsets);
        }
    }

    pub(super) fn forget(&mut self, programs: &mut Ebpf, pid: u32) {
        for probes in [
            &mut self.http_client,
            &mut self.grpc_client,
            &mut self.grpc_server,
        ] {
            probes.forget(programs, pid);
        }
    }

    pub(super) fn turned_away(&self) -> u64 {
        [&self.http_client, &self.grpc_client, &self.grpc_server]
            .map(|probes| probes.turned_away)
            .iter()
            .sum()
    }
}

fn attach(
    programs: &mut Ebpf,
    pid: u32,
    file: &Path,
    names: &[&str],
    offsets: &[u64],
) -> Result<Vec<UProbeLinkId>, ProgramError> {
    let scope = NonZeroU32::new(pid).map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
    let mut links = Vec::with_capacity(names.len());
    for (name, offset) in names.iter().zip(offsets) {
        match attach_one(programs, name, file, scope, *offset) {
            Ok(link) => links.push(link),
            Err(error) => {
                detach(programs, names, links);
                return Err(error);
            }
        }
    }
    Ok(links)
}

fn attach_one(
    programs: &mut Ebpf,
    name: &str,
    file: &Path,
    scope: UProbeScope,
    offset: u64,
) -> Result<UProbeLinkId, ProgramError> {
    let program = program(programs, name)?;
    match program.load() {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
        Err(error) => return Err(error),
    }
    program.attach(UProbeAttachLocation::AbsoluteOffset(offset), file, scope)
}

/// Those of the first names, as many as there are.
fn detach(programs: &mut Ebpf, names: &[&str], links: Vec<UProbeLinkId>) {
    for (name, link) in names.iter().zip(links) {
        if let Ok(program) = program(programs, name) {
            // With the process its probes are gone already.
            let _ = program.detach(link);
        }
    }
}

fn program<'a>(programs: &'a mut Ebpf, name: &str) -> Result<&'a mut UProbe, ProgramError> {
    match programs.program_mut(name) {
        Some(Program::UProbe(program)) => Ok(program),
        _ => Err(ProgramError::NotLoaded),
    }
}
