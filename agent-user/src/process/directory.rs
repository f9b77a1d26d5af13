//! The processes known by now.
//!
//! Enters: process ids, and the names processes start with. Leaves: shared [`Instance`]s. Bounded: the number of processes
//! remembered, the least recently asked for goes first; and of names, beyond which a process that is gone has only its
//! number. A process id that was given to another process is noticed by its start time.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::procfs::{Procfs, Stat};
use super::service_name::{Clues, service_name};
use super::{
    GoFunctions, GoLayout, Instance, JavaLook, PythonLook, Runtime, cgroup, command_line, go, java, python,
};
use crate::event::ProcessName;

/// What the directory turned away, since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryCounters {
    /// Processes forgotten because too many were known.
    pub processes_evicted: u64,
    /// Processes that were gone before they could be read.
    pub processes_unreadable: u64,
}

struct Known {
    instance: Arc<Instance>,
    last_used: u64,
}

/// Who is who, by process id.
pub struct Directory {
    procfs: Procfs,
    boot_id: String,
    ticks_per_second: u64,
    limit: usize,
    known: FxHashMap<u32, Known>,
    /// Of processes that began since the agent did.
    names: FxHashMap<u32, ProcessName>,
    uses: u64,
    counters: DirectoryCounters,
}

impl Directory {
    /// `ticks_per_second` is `sysconf(_SC_CLK_TCK)`.
    pub fn new(procfs: Procfs, ticks_per_second: u64, limit: usize) -> Self {
        let boot_id = procfs.boot_id();
        Self {
            procfs,
            boot_id,
            ticks_per_second: ticks_per_second.max(1),
            limit: limit.max(1),
            known: FxHashMap::default(),
            names: FxHashMap::default(),
            uses: 0,
            counters: DirectoryCounters::default(),
        }
    }

    pub fn counters(&self) -> DirectoryCounters {
        self.counters
    }

    /// A process began and goes by this name: all that is known of it if it ends before anybody looks.
    pub fn started(&mut self, pid: u32, name: ProcessName) {
        if self.names.len() < self.limit {
            self.names.insert(pid, name);
        }
    }

    /// Who this process is. One that is gone is called by the name it started with, or by its number.
    pub fn instance(&mut self, pid: u32) -> Arc<Instance> {
        self.uses += 1;
        if let Some(known) = self.known.get_mut(&pid) {
            known.last_used = self.uses;
            return known.instance.clone();
        }
        let instance = Arc::new(match self.procfs.stat(pid) {
            Some(stat) => self.read(pid, stat),
            None => {
                self.counters.processes_unreadable += 1;
                self.unreadable(pid)
            }
        });
        if self.known.len() >= self.limit
            && let Some(oldest) = self
                .known
                .iter()
                .min_by_key(|(_, known)| known.last_used)
                .map(|(pid, _)| *pid)
        {
            self.known.remove(&oldest);
            self.counters.processes_evicted += 1;
        }
        self.known.insert(
            pid,
            Known {
                instance: instance.clone(),
                last_used: self.uses,
            },
        );
        instance
    }

    /// Every process there is now.
    pub fn pids(&self) -> Vec<u32> {
        self.procfs.pids()
    }

    /// Where a Go program keeps its goroutines' ids; `None` for anything else. Reads the executable, remembers nothing.
    pub fn go_layout(&self, pid: u32) -> Option<GoLayout> {
        go::layout(&go::version(&self.procfs.executable_file(pid))?)
    }

    /// Where a Go program's clients hand requests to their connections, and its server streams to goroutines; `None` for a file
    /// that cannot be read, or has no names.
    pub fn go_functions(&self, pid: u32) -> Option<GoFunctions> {
        go::functions(&self.procfs.executable_file(pid))
    }

    /// Where a Python program keeps what its event loops run. Reads its memory and files, remembers nothing.
    pub fn python(&self, pid: u32) -> PythonLook {
        python::look(&self.procfs, pid)
    }

    /// Which threads of a Java program carry virtual threads, and where they tell which. As [`Self::python`].
    pub fn java(&self, pid: u32) -> JavaLook {
        java::look(&self.procfs, pid)
    }

    /// The process ended, or became another program: what was known of it no longer holds.
    pub fn forget(&mut self, pid: u32) {
        self.known.remove(&pid);
        self.names.remove(&pid);
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn read(&self, pid: u32, stat: Stat) -> Instance {
        let executable = self.procfs.executable(pid);
        let arguments = self.procfs.arguments(pid);
        let membership = cgroup::membership(&self.procfs.cgroup(pid));
        let go_version = go::version(&self.procfs.executable_file(pid));
        let runtime = Runtime::detect(&executable, &self.procfs.maps(pid), go_version.is_some());
        let environment = self
            .procfs
            .environment(pid, &["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"]);
        let resource = environment[1].as_deref().and_then(|attributes| {
            attributes
                .split(',')
                .find_map(|pair| pair.trim().strip_prefix("service.name="))
        });
        let working_directory = self.procfs.working_directory(pid);
        let service = service_name(&Clues {
            declared: environment[0].as_deref(),
            resource,
            systemd_unit: &membership.systemd_unit,
            executable: &executable,
            arguments: &arguments,
            process_name: &self.procfs.name(pid),
            directory: working_directory
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default(),
            runtime,
        });
        Instance {
            id: self.id(pid, stat.start_ticks),
            pid,
            service,
            executable,
            command_line: command_line::without_secrets(&arguments),
            container_id: membership.container_id,
            systemd_unit: membership.systemd_unit,
            runtime,
            started_boot_ns: (u128::from(stat.start_ticks) * 1_000_000_000
                / u128::from(self.ticks_per_second)) as u64,
        }
    }

    fn unreadable(&self, pid: u32) -> Instance {
        let name = self.names.get(&pid).map(ProcessName::to_string);
        Instance {
            id: self.id(pid, 0),
            pid,
            service: name
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| format!("process-{pid}")),
            executable: String::new(),
            command_line: String::new(),
            container_id: String::new(),
            systemd_unit: String::new(),
            runtime: Runtime::Unknown,
            started_boot_ns: 0,
        }
    }

    /// FNV-1a over boot id, pid and start time.
    fn id(&self, pid: u32, start_ticks: u64) -> u64 {
        let bytes = self
            .boot_id
            .bytes()
            .chain(pid.to_be_bytes())
            .chain(start_ticks.to_be_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        hash.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(limit: usize) -> Directory {
        Directory::new(Procfs::new("/proc"), 100, limit)
    }

    #[test]
    fn a_live_process_has_a_stable_identity() {
        let mut directory = directory(8);
        let first = directory.instance(std::process::id());
        directory.forget(std::process::id());
        assert_eq!(first, directory.instance(std::process::id()));
        assert!(first.started_boot_ns > 0 && !first.service.is_empty() && first.runtime == Runtime::Native);
    }

    #[test]
    fn a_process_that_is_gone_goes_by_the_name_it_started_with() {
        let (mut directory, pid) = (directory(2), u32::MAX);
        directory.started(pid, ProcessName(*b"cur\x1bl\0\0\0\0\0\0\0\0\0\0\0"));
        assert_eq!(directory.instance(pid).service, "curl");
        directory.forget(pid);
        assert_eq!(directory.instance(pid).service, format!("process-{pid}"));
    }

    #[test]
    fn the_number_of_processes_is_bounded_and_counted() {
        let mut directory = directory(2);
        for pid in [u32::MAX, u32::MAX - 1, u32::MAX - 2] {
            assert_eq!(directory.instance(pid).service, format!("process-{pid}"));
        }
        assert_eq!(directory.len(), 2);
        assert_eq!(
            directory.counters(),
            DirectoryCounters {
                processes_evicted: 1,
                processes_unreadable: 3
            }
        );
    }
}
