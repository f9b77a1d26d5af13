//! Records: what the kernel programs write to the ring buffer. The first byte of each tells its kind.

use crate::limits::{UNIX_PATH_BYTES, WAKES_MAX};

/// First byte of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Opened = 1,
    Data = 2,
    Closed = 3,
    Process = 4,
    Connecting = 5,
    Woken = 6,
    Awaited = 7,
    Addressed = 8,
    Multiplexed = 9,
}

pub const DIRECTION_IN: u8 = 0;
pub const DIRECTION_OUT: u8 = 1;

pub const TRANSPORT_TCP: u8 = 0;
pub const TRANSPORT_UDP: u8 = 1;
pub const TRANSPORT_UNIX: u8 = 2;

pub const ROLE_UNKNOWN: u8 = 0;
pub const ROLE_CLIENT: u8 = 1;
pub const ROLE_SERVER: u8 = 2;

/// [`OpenedRecord::flags`]: bytes moved before the first event. Of TCP only: other sockets do not count them.
pub const OPENED_ADOPTED: u8 = 1;
/// [`OpenedRecord::flags`]: both initial sequence numbers are known.
pub const OPENED_SEQUENCE: u8 = 2;

/// [`ClosedRecord::flags`]: the byte totals are known.
pub const CLOSED_TOTALS: u8 = 1;

pub const FAMILY_NONE: u8 = 0;
pub const FAMILY_IPV4: u8 = 4;
pub const FAMILY_IPV6: u8 = 6;

/// [`DataRecord::flags`]: the bytes are the end of a movement whose beginning another record tells of.
pub const DATA_CONTINUES: u16 = 1;

/// Who ran, as [`crate::record`]s carry it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ActorRecord {
    pub pid: u32,
    pub tid: u32,
    /// A goroutine's id, or with [`ROUTINE_TASK`] an asyncio task, or with [`ROUTINE_VIRTUAL_THREAD`] a virtual thread's
    /// number; 0 where there is none.
    pub routine: u64,
    /// The goroutine that started it, or the task that waits for it.
    pub parent_routine: u64,
}

/// [`ActorRecord::routine`]: a task of Python's asyncio: its address in the low 47 bits, above it the low bits of the number
/// in its name, which no other task has (`Task-7`; 0 where it goes by another name).
pub const ROUTINE_TASK: u64 = 1 << 63;
pub const TASK_NUMBER_SHIFT: u32 = 47;
pub const TASK_NUMBER_MASK: u64 = 0xFFFF;

/// [`ActorRecord::routine`]: a virtual thread of Java, by its number (`Thread.threadId`).
pub const ROUTINE_VIRTUAL_THREAD: u64 = 1 << 62;

/// Data moved; `captured` bytes of payload follow.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DataRecord {
    pub kind: u8,
    pub direction: u8,
    pub flags: u16,
    /// Bytes of payload behind this header.
    pub captured: u32,
    pub connection: u64,
    pub time_ns: u64,
    pub actor: ActorRecord,
    pub position: u64,
    pub moved: u64,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct OpenedRecord {
    pub kind: u8,
    pub transport: u8,
    pub role: u8,
    pub flags: u8,
    pub family: u8,
    pub unix_path_len: u8,
    pub local_port: u16,
    pub connection: u64,
    pub time_ns: u64,
    pub actor: ActorRecord,
    /// IPv4 in the first four bytes; network order.
    pub local: [u8; 16],
    pub remote: [u8; 16],
    pub client_sequence: u32,
    pub server_sequence: u32,
    pub network_namespace: u32,
    pub remote_port: u16,
    pub reserved: [u8; 2],
    /// As in `sockaddr_un`; an abstract name begins with a zero byte.
    pub unix_path: [u8; UNIX_PATH_BYTES],
    /// Number of the socket's inode; 0 for TCP, and where it is not known.
    pub inode: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ClosedRecord {
    pub kind: u8,
    pub flags: u8,
    pub reserved: [u8; 6],
    pub connection: u64,
    pub time_ns: u64,
    pub actor: ActorRecord,
    /// Payload the application handed over in all.
    pub sent_bytes: u64,
    /// Payload the application was given in all.
    pub received_bytes: u64,
    /// Payload of both directions that no hook saw move; counted as a loss already.
    pub unseen_bytes: u64,
}

/// A process begins to connect. Data and [`OpenedRecord`] of the connection come later, if at all.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ConnectingRecord {
    pub kind: u8,
    pub reserved: [u8; 7],
    pub connection: u64,
    pub time_ns: u64,
    pub actor: ActorRecord,
}

/// Whom a socket that is connected to nobody sends a datagram to, told right before the [`DataRecord`] of the same thread.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AddressedRecord {
    pub kind: u8,
    /// [`FAMILY_IPV4`] or [`FAMILY_IPV6`].
    pub family: u8,
    pub port: u16,
    /// Thread id.
    pub tid: u32,
    pub connection: u64,
    pub time_ns: u64,
    /// In network order; of an IPv4 address the first four bytes.
    pub address: [u8; 16],
}

/// [`WakeRecord::place`]: the waker started this thread, wrote a few bytes to something that is no futex (an `eventfd`, a
/// pipe), or ended. Places of futexes are above these.
pub const WAKE_START: u32 = 1;
pub const WAKE_WRITE: u32 = 2;
pub const WAKE_END: u32 = 3;

/// A thread was woken by another one of its process.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct WakeRecord {
    pub time_ns: u64,
    /// Thread id.
    pub waker: u32,
    /// Who had woken the waker, at the same place if anybody had; 0 where nobody did since it last wrote to a socket.
    pub before: u32,
    /// By what: one of the numbers above, or the futex's address without its lowest three bits, folded.
    pub place: u32,
    pub reserved: u32,
}

/// Who woke a thread since it last wrote to a socket, told right before it writes again. Only of processes for which
/// [`crate::rule::PROCESS_WAKES`] holds.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct WokenRecord {
    pub kind: u8,
    pub reserved: [u8; 7],
    pub pid: u32,
    pub tid: u32,
    /// In no order; those with no waker are empty.
    pub wakes: [WakeRecord; WAKES_MAX],
}

/// A task of asyncio waits for one that waits for the task which writes or connects next on this thread. The first of such
/// a chain of waiting tasks is in the [`ActorRecord`] of what follows.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AwaitedRecord {
    pub kind: u8,
    pub reserved: [u8; 7],
    pub pid: u32,
    pub tid: u32,
    pub time_ns: u64,
    /// As in [`ActorRecord::routine`], both.
    pub task: u64,
    pub waiting: u64,
}

/// [`MultiplexedRecord::what`]: the goroutine has asked for the stream, and the other one is about to write its first frame.
pub const STREAM_ASKED: u8 = 0;
/// [`MultiplexedRecord::what`]: the goroutine serves the stream, and the other one, which started it, has read its first frame.
pub const STREAM_SERVED: u8 = 1;
/// [`MultiplexedRecord::what`]: the goroutine reads a connection from now on of which the other one, which started it, has read
/// the beginning. There is no number.
pub const STREAMS_READ: u8 = 2;

/// Which goroutine a stream of a connection belongs to that another goroutine writes, or reads.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct MultiplexedRecord {
    pub kind: u8,
    pub what: u8,
    pub reserved: u16,
    /// Its number in its connection.
    pub stream: u32,
    /// When it was asked for, or began to be served.
    pub time_ns: u64,
    /// The goroutine that writes, or reads, the connection.
    pub carrier: u64,
    /// The one that the stream belongs to.
    pub actor: ActorRecord,
}

pub const PROCESS_FORK: u8 = 0;
pub const PROCESS_EXEC: u8 = 1;
pub const PROCESS_EXIT: u8 = 2;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ProcessRecord {
    pub kind: u8,
    pub what: u8,
    pub reserved: u16,
    pub pid: u32,
    pub time_ns: u64,
    /// What the process goes by (`comm`); a new child goes by its parent's name.
    pub name: [u8; 16],
}

const _: () = {
    assert!(size_of::<ActorRecord>() == 24);
    assert!(size_of::<DataRecord>() == 64);
    assert!(size_of::<OpenedRecord>() == 208);
    assert!(size_of::<ClosedRecord>() == 72);
    assert!(size_of::<AddressedRecord>() == 40);
    assert!(size_of::<ConnectingRecord>() == 48);
    assert!(size_of::<ProcessRecord>() == 32);
    assert!(size_of::<AwaitedRecord>() == 40);
    assert!(size_of::<MultiplexedRecord>() == 48);
    assert!(size_of::<WakeRecord>() == 24);
    assert!(size_of::<WokenRecord>() == 16 + 24 * WAKES_MAX);
};
