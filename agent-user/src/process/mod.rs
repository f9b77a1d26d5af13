//! Process: who moved the bytes.
//!
//! Enters: process ids, and the news that processes start and end. Leaves: [`Instance`]s: service name, executable, command
//! line without secrets, container, systemd unit, runtime. Bounded: [`Directory`] remembers a stated number of
//! processes, each with strings of bounded length. Deliberately absent: clocks; /proc is read below a given root, so that
//! tests bring their own.

mod cgroup;
mod command_line;
mod directory;
mod elf;
mod go;
mod java;
mod mapping;
mod memory;
mod procfs;
mod python;
mod runtime;
mod service_name;

pub use directory::{Directory, DirectoryCounters};
pub use go::{GoFunctions, GoLayout};
pub use java::JavaLook;
pub use procfs::Procfs;
pub use python::{PythonLook, PythonProgram, UvloopFunctions};
pub use runtime::Runtime;

/// One running process of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Stable for the process's life and across restarts of the agent: from boot id, pid and start time. Never 0.
    pub id: u64,
    pub pid: u32,
    /// OpenTelemetry `service.name`.
    pub service: String,
    /// `process.executable.path`; empty where it cannot be read.
    pub executable: String,
    /// `process.command_line`, cut to a bound, with what looks like a secret replaced.
    pub command_line: String,
    /// `container.id`, empty where there is none.
    pub container_id: String,
    /// Systemd unit (`nginx.service`), empty where there is none.
    pub systemd_unit: String,
    pub runtime: Runtime,
    /// Start of the process, in nanoseconds since boot.
    pub started_boot_ns: u64,
}
