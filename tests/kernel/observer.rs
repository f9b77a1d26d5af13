//! Observer: runs capture on this process's own traffic and keeps what it was told, by connection.

use std::{
    collections::HashMap, net::SocketAddr, sync::LazyLock, sync::Mutex, sync::MutexGuard, time::Duration,
};

use spanhound_agent::{
    event::{Closed, ConnectionId, Direction, Event, Opened, Woken},
    kernel::{Capture, CaptureError, Loss, ProcessRule, Settings, TierChoice},
};
use spanhound_common::rule::PROCESS_CHOSEN;

/// Every tier; what a kernel lacks of them is skipped there.
pub(crate) const TIERS: [TierChoice; 4] = [
    TierChoice::Fentry,
    TierChoice::Kprobe,
    TierChoice::Tracepoint,
    TierChoice::Syscall,
];

/// In every tier that can be had: bytes are moved by `act`, and `holds` judges what that saw, unless this kernel is known to
/// miss runs there and did. Otherwise nothing may be lost.
pub(crate) fn in_every_tier<T>(act: impl Fn(&mut Observer) -> T, holds: impl Fn(TierChoice, T)) {
    for tier in TIERS {
        let Some(mut observer) = Observer::start(tier) else {
            continue;
        };
        let seen = act(&mut observer);
        if !observer.is_excused(tier) {
            holds(tier, seen);
            observer.nothing_lost(tier);
        }
    }
}

/// One capture at a time: each sees the whole machine.
static ALONE: Mutex<()> = Mutex::new(());

/// Everything told of one connection.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) opened: Option<Opened>,
    pub(crate) closed: Option<Closed>,
    pub(crate) sent: Stream,
    pub(crate) received: Stream,
    /// Whom its datagrams were said to go to.
    pub(crate) addressees: Vec<SocketAddr>,
}

/// One direction: positions and bytes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Stream {
    /// Where it begins.
    pub(crate) start: Option<u64>,
    /// One per byte moved; `None` where it was counted, not captured.
    pub(crate) bytes: Vec<Option<u8>>,
    /// Records that did not follow on the one before: (expected, told).
    pub(crate) jumps: Vec<(u64, u64)>,
}

impl Stream {
    fn add(&mut self, position: u64, moved: u64, bytes: &[u8]) {
        assert!(bytes.len() as u64 <= moved, "more captured than moved");
        let start = *self.start.get_or_insert(position);
        let expected = start + self.bytes.len() as u64;
        if position != expected {
            self.jumps.push((expected, position));
            if position > expected {
                self.bytes.extend((expected..position).map(|_| None));
            }
        }
        self.bytes.extend(bytes.iter().copied().map(Some));
        self.bytes.extend((bytes.len() as u64..moved).map(|_| None));
    }

    /// Whether these are the bytes, all of them captured.
    pub(crate) fn is(&self, expected: &[u8]) -> bool {
        self.jumps.is_empty()
            && self.bytes.len() == expected.len()
            && self
                .bytes
                .iter()
                .zip(expected)
                .all(|(told, expected)| *told == Some(*expected))
    }

    /// Whether as many bytes moved, and those captured are right.
    pub(crate) fn counts(&self, expected: &[u8]) -> bool {
        self.jumps.is_empty()
            && self.bytes.len() == expected.len()
            && self
                .bytes
                .iter()
                .zip(expected)
                .all(|(told, expected)| told.is_none_or(|told| told == *expected))
    }
}

pub(crate) struct Observer {
    pub(crate) capture: Capture,
    pub(crate) told: HashMap<ConnectionId, Told>,
    pub(crate) order: Vec<ConnectionId>,
    pub(crate) woken: Vec<Woken>,
    _alone: MutexGuard<'static, ()>,
}

impl Observer {
    /// `None`, with the reason printed, where this machine cannot do it.
    pub(crate) fn start(tier: TierChoice) -> Option<Self> {
        Self::with(Settings {
            tier,
            ignore_self: false,
            // What the rest of the machine does is not this test's business, and must not fill its ring.
            chosen_only: true,
            default_bytes: 16 * 1024,
            ..Settings::default()
        })
    }

    /// As [`Self::unchosen`], with this process chosen where only chosen ones are captured.
    pub(crate) fn with(settings: Settings) -> Option<Self> {
        let chosen_only = settings.chosen_only;
        let mut this = Self::unchosen(settings)?;
        if chosen_only {
            this.choose(std::process::id());
        }
        Some(this)
    }

    pub(crate) fn choose(&mut self, pid: u32) {
        let rule = ProcessRule {
            flags: PROCESS_CHOSEN,
            ..ProcessRule::default()
        };
        self.capture.set_process(pid, rule);
    }

    /// Takes in what was told up to now.
    pub(crate) fn take_waiting(&mut self) {
        self.poll();
    }

    fn poll(&mut self) -> usize {
        let (told, order, woken) = (&mut self.told, &mut self.order, &mut self.woken);
        self.capture.poll(usize::MAX, |event| match event {
            Event::Woken(one) => woken.push(one),
            event => take(told, order, event),
        })
    }

    pub(crate) fn unchosen(settings: Settings) -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let wanted = std::env::var("SPANHOUND_TIERS").unwrap_or_default();
        let name = format!("{:?}", settings.tier).to_lowercase();
        let required = wanted.split(',').any(|tier| tier == name);
        // SAFETY: no preconditions.
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("skipped: needs root");
            return None;
        }
        match Capture::start(&settings) {
            // Without hooks of its own a tier is the floor, which has its own tests.
            Ok(capture)
                if matches!(settings.tier, TierChoice::Fentry | TierChoice::Kprobe)
                    && capture
                        .hooks()
                        .iter()
                        .all(|hook| hook.tier != Some(name.as_str())) =>
            {
                assert!(!required, "tier {name} must be there");
                eprintln!("skipped: no hook of tier {name}");
                None
            }
            Ok(capture) => {
                let this = Self {
                    capture,
                    told: HashMap::new(),
                    order: Vec::new(),
                    woken: Vec::new(),
                    _alone: alone,
                };
                // Refused, the tier below would stand in and every test pass.
                if matches!(settings.tier, TierChoice::Auto | TierChoice::Tracepoint)
                    && has_socket_tracepoints()
                {
                    assert_eq!(this.data_tier(), Some("tracepoint"), "{:?}", this.capture.hooks());
                }
                Some(this)
            }
            Err(error) if required => panic!("tier {name} must be there: {error}"),
            // The other tiers must be there on every kernel.
            Err(error @ CaptureError::NoHook { .. })
                if matches!(settings.tier, TierChoice::Fentry | TierChoice::Kprobe) =>
            {
                eprintln!("skipped: {error}");
                None
            }
            Err(error @ CaptureError::NoPrograms) => {
                eprintln!("skipped: {error}");
                None
            }
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }

    /// Takes in what was told, until `done` or nothing new came for a while.
    pub(crate) fn watch(&mut self, done: impl Fn(&Self) -> bool) {
        let mut quiet = 0;
        while quiet < 100 {
            let handed = self.poll();
            if done(self) {
                return;
            }
            if handed == 0 {
                quiet += 1;
                std::thread::sleep(Duration::from_millis(10));
            } else {
                quiet = 0;
            }
        }
    }

    /// Both ends of the connection with these ports, once both are closed: (client, server).
    pub(crate) fn both_ends(&mut self, client_port: u16, server_port: u16) -> (Told, Told) {
        let find = |this: &Self, local: u16, remote: u16| {
            this.order.iter().copied().find(|id| {
                let opened = this.told.get(id).and_then(|told| told.opened.as_ref());
                let ports = opened.and_then(|o| Some((o.local?.port(), o.remote?.port())));
                ports == Some((local, remote))
            })
        };
        let is_closed =
            |this: &Self, id: Option<ConnectionId>| id.is_some_and(|id| this.told[&id].closed.is_some());
        self.watch(|this| {
            is_closed(this, find(this, client_port, server_port))
                && is_closed(this, find(this, server_port, client_port))
        });
        let client = find(self, client_port, server_port).and_then(|id| self.told.remove(&id));
        let server = find(self, server_port, client_port).and_then(|id| self.told.remove(&id));
        let told = &self.told;
        self.order.retain(|id| told.contains_key(id));
        (client.unwrap_or_default(), server.unwrap_or_default())
    }

    /// A Unix connection has no ports: the first two of this path.
    pub(crate) fn both_ends_of_path(&mut self, path: &str, bytes: usize) -> (Told, Told) {
        let is_there = |told: &Told| {
            told.opened
                .as_ref()
                .is_some_and(|opened| opened.unix_path == path)
        };
        self.watch(|this| {
            let ends = this.told.values().filter(|told| is_there(told));
            ends.map(|told| told.sent.bytes.len() + told.received.bytes.len())
                .sum::<usize>()
                >= 2 * bytes
        });
        let mut ends = self
            .order
            .iter()
            .filter(|id| self.told[id].opened.as_ref().is_some_and(|o| o.unix_path == path));
        let (first, second) = (ends.next().copied(), ends.next().copied());
        let mut take = |id: Option<ConnectionId>| id.and_then(|id| self.told.remove(&id)).unwrap_or_default();
        let (first, second) = (take(first), take(second));
        let told = &self.told;
        self.order.retain(|id| told.contains_key(id));
        let server_first = first
            .opened
            .as_ref()
            .is_some_and(|o| o.role == spanhound_agent::event::Role::Server);
        if server_first {
            (second, first)
        } else {
            (first, second)
        }
    }

    /// Name of the tier that sees data move.
    pub(crate) fn data_tier(&self) -> Option<&'static str> {
        self.tier_of("data through sockets")
    }

    pub(crate) fn tier_of(&self, event: &str) -> Option<&'static str> {
        let mut hooks = self.capture.hooks().iter();
        hooks.find(|hook| hook.event == event)?.tier
    }

    /// Linux 7 may take a thread off the processor in the middle of a tracepoint's program, and leaves that program out until
    /// the thread goes on (docs/LOSSES.md); it says how often. No earlier kernel misses a run of these tiers.
    pub(crate) fn is_excused(&self, tier: TierChoice) -> bool {
        if self.loss(Loss::MissedRuns) == 0 {
            return false;
        }
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let version: u32 = release
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
            .unwrap_or(0);
        assert!(version >= 7, "{tier:?} misses nothing: {:?}", self.all_losses());
        eprintln!("skipped: this kernel counted {:?}", self.all_losses());
        true
    }

    pub(crate) fn nothing_lost(&self, tier: TierChoice) {
        let losses = self.all_losses();
        assert!(losses.is_empty() || self.is_excused(tier), "{tier:?}: {losses:?}");
    }

    pub(crate) fn loss(&self, loss: Loss) -> u64 {
        self.capture
            .losses()
            .iter()
            .find(|count| count.loss == loss)
            .map_or(0, |count| count.count)
    }

    /// Every loss counter that is not zero.
    pub(crate) fn all_losses(&self) -> Vec<(&'static str, u64)> {
        self.capture
            .losses()
            .iter()
            .filter(|l| l.count > 0)
            .map(|l| (l.loss.name(), l.count))
            .collect()
    }
}

/// Whether sockets have tracepoints of their own (Linux 6.3), as the kernel's type information tells.
fn has_socket_tracepoints() -> bool {
    static THERE: LazyLock<bool> = LazyLock::new(|| {
        let types = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
        memchr::memmem::find(&types, b"\0btf_trace_sock_recv_length\0").is_some()
    });
    *THERE
}

fn take(told: &mut HashMap<ConnectionId, Told>, order: &mut Vec<ConnectionId>, event: Event<'_>) {
    match event {
        Event::Opened(opened) => {
            let id = opened.connection;
            order.push(id);
            told.entry(id).or_default().opened = Some(opened);
        }
        Event::Data(data) => {
            // Of one whose ends were already looked at.
            let Some(told) = told.get_mut(&data.connection) else {
                return;
            };
            match data.direction {
                Direction::In => told.received.add(data.position, data.moved, data.bytes),
                Direction::Out => told.sent.add(data.position, data.moved, data.bytes),
            }
        }
        Event::Addressed(addressed) => {
            if let Some(told) = told.get_mut(&addressed.connection) {
                told.addressees.push(addressed.to);
            }
        }
        Event::Closed(closed) => {
            if let Some(told) = told.get_mut(&closed.connection) {
                told.closed = Some(closed);
            }
        }
        Event::Connecting(_)
        | Event::Woken(_)
        | Event::Awaited(_)
        | Event::Multiplexed(_)
        | Event::ProcessStarted(_)
        | Event::ProcessEnded(_) => {}
    }
}
