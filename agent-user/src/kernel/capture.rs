//! Capture: the loaded kernel programs and the ring buffer they write to.

use std::os::fd::AsFd;

use aya::{
    Ebpf, EbpfError,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
};
use spanhound_common::{
    ConnectionSetting, JavaThread, Layout, Loss, PortRule, ProcessRule, limits,
    rule::{
        BUDGET_IGNORED, PROCESS_CHOSEN, PROCESS_IGNORED, PROCESS_JAVA, PROCESS_PYTHON, PROCESS_WAKES,
        exception_bit, setting_slot,
    },
};

use super::{
    attach::{self, Attaching, HookStatus, Trial},
    btf::BtfError,
    decode::decode,
    functions::GoProbes,
    inodes::Inodes,
    java::Javas,
    load, memory,
    probes::WAKES,
    python::Pythons,
    ring::{Bell, Ring},
};
use crate::event::{ConnectionId, Event, Transport};
use crate::process::{GoFunctions, PythonProgram};

/// Which kind of kernel hook to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TierChoice {
    /// The first of the table of hooks that the kernel accepts, for each event by itself.
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

/// The ring buffer is crowded when this part of it waits to be read. The kernel programs ring at a quarter.
const CROWDED_SHARE: usize = 8;

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
    /// Processes nothing is captured of.
    pub ignored_pids: Vec<u32>,
    /// Capture nothing of this process itself; off only in tests that are their own traffic.
    pub ignore_self: bool,
    pub ports: Vec<(u16, PortRule)>,
}

impl Settings {
    /// Whether processes without a rule are left at once (a chosen port may make any process's connection wanted).
    pub(super) fn rest_ignored(&self) -> bool {
        self.chosen_only && self.ports.is_empty()
    }
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
            ignore_self: true,
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
    #[error(
        "the kernel object was built from another tree than this agent: run `cargo xtask ebpf` and build it again"
    )]
    OtherTree,
    #[error("capture needs the capabilities {missing}: run as root, or grant them to the agent")]
    Privileges { missing: String },
    #[error("cannot read /sys/kernel/btf/vmlinux (a kernel built with CONFIG_DEBUG_INFO_BTF has it): {0}")]
    NoBtf(#[source] std::io::Error),
    #[error("cannot understand /sys/kernel/btf/vmlinux: {0}")]
    Btf(#[from] BtfError),
    #[error("the kernel does not take the programs: {0}")]
    Load(#[from] Box<EbpfError>),
    #[error("no hook of this kernel shows {event}: {refused}")]
    NoHook { event: &'static str, refused: String },
    #[error("map {0} is not in the programs")]
    NoMap(&'static str),
    #[error("map {0}: {1}")]
    Map(&'static str, #[source] MapError),
    #[error("cannot read the ring buffer: {0}")]
    Ring(#[source] std::io::Error),
}

/// One counter of the kernel side's loss ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossCount {
    pub loss: Loss,
    pub count: u64,
}

/// The running capture. Dropping it detaches every program and frees every map: nothing is pinned.
pub struct Capture {
    /// Keeps programs and links alive.
    programs: Ebpf,
    ring: Ring,
    bell: Bell,
    /// More than this in the ring buffer is close to too much.
    crowded_bytes: usize,
    /// Keeps the ring's descriptor open, for the bell.
    _events: MapData,
    settings: Array<MapData, ConnectionSetting>,
    setting_slots: u32,
    processes: HashMap<MapData, u32, ProcessRule>,
    exceptions: Array<MapData, u64>,
    rest_ignored: bool,
    rules: Array<MapData, u32>,
    rules_changed: u32,
    losses: PerCpuArray<MapData, u64>,
    hooks: Vec<HookStatus>,
    layout: Layout,
    map_bytes: u64,
    /// Of sockets from before.
    inodes: Inodes,
    refused_settings: u64,
    go: GoProbes,
    pythons: Pythons,
    javas: Javas,
    /// The program that sees threads wake each other was attached, or refused.
    wakes_asked: bool,
}

impl Capture {
    /// Loads and attaches the kernel programs.
    ///
    /// # Errors
    ///
    /// Where a needed event has no hook at all, privileges are missing, or the agent carries no programs.
    pub fn start(settings: &Settings) -> Result<Self, CaptureError> {
        let load::Loaded {
            mut programs,
            layout,
            btf,
            arguments,
        } = load::load(settings)?;
        let map_bytes = programs.maps().map(|(_, map)| memory::map_bytes(map)).sum();
        let Map::RingBuf(events) = take(&mut programs, "EVENTS")? else {
            return Err(CaptureError::NoMap("EVENTS"));
        };
        let ring_bytes = events
            .info()
            .map_err(|e| CaptureError::Map("EVENTS", e))?
            .max_entries();
        let mut this = Self {
            ring: Ring::open(events.fd().as_fd(), ring_bytes as usize).map_err(CaptureError::Ring)?,
            bell: Bell::of(events.fd().as_fd()).map_err(CaptureError::Ring)?,
            crowded_bytes: ring_bytes as usize / CROWDED_SHARE,
            _events: events,
            settings: Array::try_from(take(&mut programs, "SETTINGS")?)
                .map_err(|e| CaptureError::Map("SETTINGS", e))?,
            setting_slots: limits::SETTINGS_DEFAULT,
            processes: HashMap::try_from(take(&mut programs, "PROCESSES")?)
                .map_err(|e| CaptureError::Map("PROCESSES", e))?,
            exceptions: Array::try_from(take(&mut programs, "EXCEPTIONS")?)
                .map_err(|e| CaptureError::Map("EXCEPTIONS", e))?,
            rest_ignored: settings.rest_ignored(),
            rules: Array::try_from(take(&mut programs, "RULES")?)
                .map_err(|e| CaptureError::Map("RULES", e))?,
            rules_changed: 0,
            losses: PerCpuArray::try_from(take(&mut programs, "LOSSES")?)
                .map_err(|e| CaptureError::Map("LOSSES", e))?,
            hooks: Vec::new(),
            layout,
            map_bytes,
            inodes: Inodes::default(),
            refused_settings: 0,
            go: GoProbes::new(),
            pythons: Pythons::new(&mut programs)?,
            javas: Javas::new(&mut programs)?,
            wakes_asked: false,
            programs,
        };
        let mut ports: HashMap<MapData, u32, u32> = HashMap::try_from(take(&mut this.programs, "PORTS")?)
            .map_err(|e| CaptureError::Map("PORTS", e))?;
        for &(port, rule) in &settings.ports {
            ports
                .insert(u32::from(port), rule as u32, 0)
                .map_err(|e| CaptureError::Map("PORTS", e))?;
        }
        for &pid in &settings.ignored_pids {
            this.set_process(
                pid,
                ProcessRule {
                    flags: PROCESS_IGNORED,
                    ..ProcessRule::default()
                },
            );
        }
        let mut attaching = Attaching {
            programs: &mut this.programs,
            btf: &btf,
            arguments: &arguments,
        };
        this.hooks = attach::attach(&mut attaching, settings.tier)?;
        // From here on nothing of a new socket goes unseen.
        this.inodes = Inodes::now();
        Ok(this)
    }

    /// Tries every program of the probe table by itself, and lets all go again.
    ///
    /// # Errors
    ///
    /// Where nothing can be loaded at all.
    pub(super) fn try_every(settings: &Settings) -> Result<Vec<Trial>, CaptureError> {
        let mut loaded = load::load(settings)?;
        Ok(attach::try_every(&mut Attaching {
            programs: &mut loaded.programs,
            btf: &loaded.btf,
            arguments: &loaded.arguments,
        }))
    }

    /// Hands over up to `limit` waiting events, borrowed from the ring buffer, and says how many there were. Returns
    /// at once. Fewer than `limit` means the buffer was drained.
    pub fn poll(&mut self, limit: usize, mut on_event: impl FnMut(Event<'_>)) -> usize {
        self.ring.read(limit, |record| {
            if let Some(mut event) = decode(record) {
                if let Event::Opened(opened) = &mut event {
                    opened.adopted |=
                        opened.transport == Transport::Unix && self.inodes.is_older(opened.inode);
                }
                on_event(event);
            }
        })
    }

    /// Waits until the ring buffer fills up, at most so long. Events that wait already do not end the wait.
    pub fn wait(&self, timeout_ms: i32) {
        self.bell.wait(timeout_ms);
    }

    /// Whether so much waits that it must be taken in now, whoever else wants the processor.
    pub fn is_crowded(&self) -> bool {
        self.ring.waiting_bytes() > self.crowded_bytes
    }

    /// Sets how much of each call is copied: call it whenever the parser's wish for the connection changes.
    pub fn set_budget(&mut self, connection: ConnectionId, in_bytes: u32, out_bytes: u32) {
        let slot = setting_slot(connection.0, self.setting_slots);
        let setting = ConnectionSetting {
            connection: connection.0,
            bytes: [in_bytes, out_bytes],
        };
        if self.settings.set(slot, setting, 0).is_err() {
            self.refused_settings += 1;
        }
    }

    /// Nothing more of this connection is wanted; its records stop, except that it closed.
    pub fn ignore(&mut self, connection: ConnectionId) {
        self.set_budget(connection, BUDGET_IGNORED, BUDGET_IGNORED);
    }

    /// Sets or replaces what holds for a process.
    pub fn set_process(&mut self, pid: u32, mut rule: ProcessRule) {
        // Who says what else holds does not know of it.
        if self.pythons.watches(pid) {
            rule.flags |= PROCESS_PYTHON;
        }
        if self.javas.watches(pid) {
            rule.flags |= PROCESS_JAVA;
        }
        if rule.flags & PROCESS_WAKES != 0 && !std::mem::replace(&mut self.wakes_asked, true) {
            // Refused: `doctor` says so too, and calls made by other threads than the request's get no hint from it.
            if let Err(error) = attach::attach_asked(&mut self.programs, WAKES) {
                tracing::warn!(%error, "cannot see which thread wakes which");
            }
        }
        if self.processes.insert(pid, rule, 0).is_err() {
            self.refused_settings += 1;
            return;
        }
        let exception = match self.rest_ignored {
            true => rule.flags & PROCESS_CHOSEN != 0,
            false => rule.flags & PROCESS_IGNORED != 0,
        };
        self.set_exception(pid, exception);
        // Connections judged by the rules before are judged again.
        self.rules_changed = self.rules_changed.wrapping_add(1);
        if self.rules.set(0, self.rules_changed, 0).is_err() {
            self.refused_settings += 1;
        }
    }

    /// Sees for whom the connections of this Go program's clients write, and which goroutine serves a stream.
    pub fn watch_go(&mut self, pid: u32, functions: &GoFunctions) {
        self.go.watch(&mut self.programs, pid, functions);
    }

    /// Reads which task of this Python program writes and connects.
    pub fn watch_python(&mut self, pid: u32, program: &PythonProgram) {
        if self.pythons.watch(&mut self.programs, pid, program) {
            self.set_process_again(pid);
        }
    }

    /// Reads which virtual threads these threads of a Java program carry.
    pub fn watch_java(&mut self, pid: u32, carriers: &[(u32, JavaThread)]) {
        let was_watched = self.javas.watches(pid);
        if self.javas.watch(pid, carriers) && !was_watched {
            self.set_process_again(pid);
        }
    }

    fn set_process_again(&mut self, pid: u32) {
        let rule = self.processes.get(&pid, 0).unwrap_or_default();
        self.set_process(pid, rule);
    }

    /// Forgets what was set for a process (it ended).
    pub fn forget_process(&mut self, pid: u32) {
        self.go.forget(&mut self.programs, pid);
        self.pythons.forget(&mut self.programs, pid);
        self.javas.forget(pid);
        // Absent is what is wanted.
        let _ = self.processes.remove(&pid);
        self.set_exception(pid, false);
    }

    fn set_exception(&mut self, pid: u32, exception: bool) {
        let (word, bit) = exception_bit(pid);
        let Ok(before) = self.exceptions.get(&word, 0) else {
            self.refused_settings += 1;
            return;
        };
        let after = if exception { before | bit } else { before & !bit };
        if after != before && self.exceptions.set(word, after, 0).is_err() {
            self.refused_settings += 1;
        }
    }

    /// Every loss counter of the kernel side, in the order of [`Loss::ALL`].
    pub fn losses(&self) -> Vec<LossCount> {
        let count = |loss: Loss| {
            if loss == Loss::MissedRuns {
                return self
                    .programs
                    .programs()
                    .map(|(_, program)| memory::missed_runs(program))
                    .sum();
            }
            self.losses
                .get(&(loss as u32), 0)
                .map_or(0, |counts| counts.iter().copied().fold(0, u64::saturating_add))
        };
        Loss::ALL
            .iter()
            .map(|&loss| LossCount {
                loss,
                count: count(loss),
            })
            .collect()
    }

    /// Go programs whose calls could not be followed to the goroutine that made them.
    pub fn go_turned_away(&self) -> u64 {
        self.go.turned_away()
    }

    /// Python programs whose tasks could not be read, or not those of uvloop.
    pub fn python_turned_away(&self) -> u64 {
        self.pythons.turned_away()
    }

    /// Java programs whose virtual threads could not be read.
    pub fn java_turned_away(&self) -> u64 {
        self.javas.turned_away
    }

    /// Budgets and process rules the kernel's maps had no room for.
    pub fn refused_settings(&self) -> u64 {
        self.refused_settings
    }

    pub fn hooks(&self) -> &[HookStatus] {
        &self.hooks
    }

    /// Where the running kernel keeps what the programs read.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Kernel memory all maps may take, as the kernel counts it.
    pub fn map_bytes(&self) -> u64 {
        self.map_bytes
    }
}

pub(super) fn take(programs: &mut Ebpf, name: &'static str) -> Result<Map, CaptureError> {
    programs.take_map(name).ok_or(CaptureError::NoMap(name))
}
