//! Event: what the kernel saw, as the rooms after `kernel` read it.
//!
//! Enters: nothing; this is vocabulary. `kernel` decodes ring buffer records into [`Event`], `replay` makes them from a
//! capture file. Leaves: borrowed values that live as long as the record. Bounded: [`Data::bytes`] never exceeds the
//! capture limit of `spanhound-common`. Deliberately absent: anything about protocols or spans.

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::num::NonZeroU64;

use spanhound_common::limits::WAKES_MAX;
use spanhound_common::record::{ROUTINE_TASK, ROUTINE_VIRTUAL_THREAD, TASK_NUMBER_MASK, TASK_NUMBER_SHIFT};

/// Nanoseconds of the kernel's monotonic clock (`CLOCK_MONOTONIC`), or of a capture file's clock in `replay`.
pub type TimeNs = u64;

/// A connection as the kernel programs number it: unique while the agent runs, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Which end of the connection the watched process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It connected.
    Client,
    /// It accepted.
    Server,
    /// Opened before the agent and not yet told apart.
    Unknown,
}

/// Which way bytes moved, seen from the watched process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    In,
    Out,
}

/// What carries the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Tcp,
    Udp,
    Unix,
}

/// Who ran when the event happened: enough for the `thread` and `goroutine` rungs of the link ladder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Actor {
    /// Thread group id: what users call the process id.
    pub pid: u32,
    /// Kernel thread id.
    pub tid: u32,
    /// Go: goroutine id; Java: a virtual thread's number with [`ROUTINE_VIRTUAL_THREAD`]. 0 where there is none or it
    /// could not be read.
    pub goroutine: u64,
    /// Go: id of the goroutine that started this one, 0 where unknown.
    pub parent_goroutine: u64,
    /// Python: the asyncio task that writes or connects; `None` where there is none or it could not be read.
    pub task: Option<Task>,
    /// Python: the task that waits for it.
    pub parent_task: Option<Task>,
}

impl Actor {
    /// The thread that does one thing after the other: the virtual one where one runs, else the kernel's.
    pub fn thread(&self) -> u64 {
        match self.is_virtual_thread() {
            true => self.goroutine,
            false => u64::from(self.tid),
        }
    }

    /// Whether it is a goroutine, which moves between threads: what else its thread does says nothing about it.
    pub fn is_goroutine(&self) -> bool {
        self.goroutine != 0 && !self.is_virtual_thread()
    }

    /// Whether [`Self::goroutine`] is a virtual thread.
    pub fn is_virtual_thread(&self) -> bool {
        self.goroutine & ROUTINE_VIRTUAL_THREAD != 0
    }
}

/// A task of Python's asyncio: where it is, and the low bits of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task(NonZeroU64);

/// Tasks differ by their numbers, in the upper bits, more than by their places, which are used again: a hash that multiplies
/// carries bits upwards only, and would put them all side by side.
impl Hash for Task {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.get() ^ self.0.get() >> TASK_NUMBER_SHIFT);
    }
}

impl Task {
    /// As [`spanhound_common::record::ROUTINE_TASK`] describes; `None` for anything else.
    pub fn from_routine(routine: u64) -> Option<Self> {
        NonZeroU64::new(routine)
            .filter(|_| routine & ROUTINE_TASK != 0)
            .map(Self)
    }

    /// Whether a later task at the same place can be told from this one.
    pub fn is_numbered(self) -> bool {
        self.0.get() >> TASK_NUMBER_SHIFT & TASK_NUMBER_MASK != 0
    }
}

/// Both initial sequence numbers of a TCP connection. Equal at both ends, and unchanged by address translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequencePair {
    /// Initial sequence number of the end that connected.
    pub client: u32,
    /// Initial sequence number of the end that accepted.
    pub server: u32,
}

/// A process begins to connect; [`Opened`] with the same id follows with the connection's first data, if there is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connecting {
    pub connection: ConnectionId,
    pub time_ns: TimeNs,
    pub actor: Actor,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub connection: ConnectionId,
    pub time_ns: TimeNs,
    pub actor: Actor,
    pub transport: Transport,
    pub role: Role,
    /// Address of the watched process's end; `None` for a Unix socket.
    pub local: Option<SocketAddr>,
    pub remote: Option<SocketAddr>,
    /// Path of a Unix socket, empty otherwise.
    pub unix_path: String,
    /// `None` where the kernel's layout could not be read or the transport has none.
    pub sequence: Option<SequencePair>,
    /// The connection is older than the agent: its first bytes were not seen.
    pub adopted: bool,
    /// Number of the socket's inode, as `/proc/PID/fd` shows it; 0 for TCP, and where it is not known.
    pub inode: u32,
    /// Inode of the network namespace, 0 where unknown.
    pub network_namespace: u32,
}

/// Data moved on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    pub connection: ConnectionId,
    /// When the call that moved them returned.
    pub time_ns: TimeNs,
    pub actor: Actor,
    pub direction: Direction,
    /// Byte position in this direction of the first byte that moved; 0 is the first byte of the connection.
    pub position: u64,
    /// How many bytes moved.
    pub moved: u64,
    /// The first of them, as many as the capture budget allowed; may be empty.
    pub bytes: &'a [u8],
    /// They are the end of a movement whose beginning was another event: no message need begin with them.
    pub continues: bool,
}

/// Whom the next datagram that this thread sends goes to, on a socket that is connected to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addressed {
    pub connection: ConnectionId,
    pub time_ns: TimeNs,
    pub tid: u32,
    pub to: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    pub connection: ConnectionId,
    pub time_ns: TimeNs,
    pub actor: Actor,
    /// Bytes that left and arrived in all, as the kernel's socket counted them; `None` where unknown.
    pub sent_bytes: Option<u64>,
    pub received_bytes: Option<u64>,
    /// Those of both directions that no hook saw move; capture counts them as a loss.
    pub unseen_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStarted {
    pub time_ns: TimeNs,
    pub pid: u32,
    /// True for an exec in an existing process, false for a fork.
    pub exec: bool,
    pub name: ProcessName,
}

/// What the kernel calls a process (`comm`): up to 15 bytes, zeroes behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessName(pub [u8; 16]);

impl std::fmt::Display for ProcessName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = self.0.iter().position(|byte| *byte == 0);
        let name = String::from_utf8_lossy(&self.0[..end.unwrap_or(self.0.len())]);
        let printable = name.chars().filter(|character| !character.is_control());
        formatter.write_str(&printable.collect::<String>())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEnded {
    pub time_ns: TimeNs,
    pub pid: u32,
}

/// A thread was woken by another one of its process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    pub time_ns: TimeNs,
    /// Thread that woke it; 0 for an entry that says nothing.
    pub waker: u32,
    /// Thread that had woken the waker before; 0 where nobody had since it last wrote to a socket.
    pub before: u32,
    /// Numbers the futex or other means by which it was woken, within the process.
    pub place: u32,
}

/// Who woke a thread since it last wrote to a socket, at most one entry for each waker and place. Told right before it writes,
/// and only of processes it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Woken {
    pub pid: u32,
    pub tid: u32,
    pub wakes: [Wake; WAKES_MAX],
}

/// A task waits for another, which waits for the one that writes next on that thread, itself or over more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    pub pid: u32,
    pub tid: u32,
    pub time_ns: TimeNs,
    pub task: Task,
    /// Waits for it.
    pub waiting: Task,
}

/// What a goroutine has to do with a connection that another one writes, or reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiplexing {
    /// It asks for the stream; told before the other one writes its first frame.
    Asks { stream_id: u64 },
    /// It serves the stream; told after the other one has read its first frame.
    Serves { stream_id: u64 },
    /// It reads the connection from now on; the other one has read the beginning.
    Reads,
}

/// Whom a stream of a connection with many belongs to, or who reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplexed {
    pub time_ns: TimeNs,
    pub actor: Actor,
    /// The other goroutine.
    pub carrier: u64,
    pub what: Multiplexing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Awaited(Awaited),
    Connecting(Connecting),
    Multiplexed(Multiplexed),
    Woken(Woken),
    Addressed(Addressed),
    Opened(Opened),
    Data(Data<'a>),
    Closed(Closed),
    ProcessStarted(ProcessStarted),
    ProcessEnded(ProcessEnded),
}
