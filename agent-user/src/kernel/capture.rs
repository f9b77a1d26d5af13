//! Capture: the loaded kernel programs and the ring buffer they write to.

use std::os::fd::BorrowedFd;

use spanhound_common::{Loss, PortRule, ProcessRule, limits};

use crate::event::{ConnectionId, Event};

/// Which kind of kernel hook to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TierChoice {
    /// The cheapest the kernel accepts, for each event by itself.
    #[default]
    Auto,
    /// Function entry and exit hooks (`fentry`/`fexit`).
    Fentry,
    Kprobe,
    /// Stable tracepoints on sockets where the kernel has them (Linux 6.3), on system calls otherwise.
    Tracepoint,
    /// Tracepoints on system calls even where sockets have their own.
    Syscall,
}

impl TierChoice {
    /// By the name it has in the configuration.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "fentry" => Some(Self::Fentry),
            "kprobe" => Some(Self::Kprobe),
            "tracepoint" => Some(Self::Tracepoint),
            "syscall" => Some(Self::Syscall),
            _ => None,
        }
    }
}

/// What capture starts with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub tier: TierChoice,
    /// Ring buffer size; rounded up to a power of two.
    pub ring_bytes: u32,
    /// Live connections the kernel remembers.
    pub connections: u32,
    /// Processes with a rule of their own.
    pub processes: u32,
    /// Bytes of each call copied until [`Capture::set_budget`] says otherwise.
    pub default_bytes: u32,
    /// Capture only processes and ports with a rule that chooses them.
    pub chosen_only: bool,
    pub unix: bool,
    pub udp: bool,
    /// Processes nothing is captured of; the agent itself always is one.
    pub ignored_pids: Vec<u32>,
    pub ports: Vec<(u16, PortRule)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tier: TierChoice::Auto,
            ring_bytes: limits::RING_BYTES_DEFAULT,
            connections: limits::CONNECTIONS_DEFAULT,
            processes: limits::PROCESSES_DEFAULT,
            default_bytes: limits::CAPTURE_BYTES_DEFAULT,
            chosen_only: false,
            unix: true,
            udp: true,
            ignored_pids: Vec::new(),
            ports: Vec::new(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error(
        "this agent was built without its kernel programs: run `cargo xtask ebpf` and build it again, \
         or set SPANHOUND_EBPF_OBJECT while building"
    )]
    NoPrograms,
}

/// Which hook serves an event, and why no better one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookStatus {
    /// What it sees, in plain words ("TCP data out").
    pub event: &'static str,
    /// Name of the tier that serves it; `None` where nothing does.
    pub tier: Option<&'static str>,
    /// Kernel function or tracepoint it sits on.
    pub target: String,
    /// Why better ones were passed over, one line each.
    pub refused: Vec<String>,
}

/// One counter of the kernel side's loss ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossCount {
    pub loss: Loss,
    pub count: u64,
}

/// The running capture. Dropping it detaches every program and frees every map.
pub struct Capture {
    hooks: Vec<HookStatus>,
}

impl Capture {
    /// Loads and attaches the kernel programs.
    ///
    /// # Errors
    ///
    /// Where a needed event has no hook at all, privileges are missing, or the agent carries no programs.
    pub fn start(_settings: &Settings) -> Result<Self, CaptureError> {
        Err(CaptureError::NoPrograms)
    }

    /// Hands over up to `limit` waiting events, borrowed from the ring buffer, and says how many there were. Returns
    /// at once. Fewer than `limit` means the buffer was drained.
    pub fn poll(&mut self, _limit: usize, mut _on_event: impl FnMut(Event<'_>)) -> usize {
        0
    }

    /// Sets how much of each call is copied: call it whenever the parser's wish for the connection changes.
    pub fn set_budget(&mut self, _connection: ConnectionId, _in_bytes: u32, _out_bytes: u32) {}

    /// Nothing more of this connection is wanted; its records stop, except that it closed.
    pub fn ignore(&mut self, _connection: ConnectionId) {}

    /// Sets or replaces what holds for a process.
    pub fn set_process(&mut self, _pid: u32, _rule: ProcessRule) {}

    /// Forgets what was set for a process (it ended).
    pub fn forget_process(&mut self, _pid: u32) {}

    /// Every loss counter of the kernel side, in the order of [`Loss::ALL`].
    pub fn losses(&self) -> Vec<LossCount> {
        Loss::ALL
            .iter()
            .map(|&loss| LossCount { loss, count: 0 })
            .collect()
    }

    pub fn hooks(&self) -> &[HookStatus] {
        &self.hooks
    }

    /// Readable when the ring buffer fills up: wait on this beside a timer of some milliseconds.
    pub fn wake_up(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
