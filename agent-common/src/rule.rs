//! Rules: what user space tells the kernel programs, at load time and while they run.

/// [`ProcessRule::flags`]: nothing of this process is captured.
pub const PROCESS_IGNORED: u32 = 1;
/// [`ProcessRule::flags`]: this process is captured where only chosen ones are.
pub const PROCESS_CHOSEN: u32 = 2;
/// [`ProcessRule::flags`]: a Go program; the goroutine offsets hold.
pub const PROCESS_GO: u32 = 4;
/// [`ProcessRule::flags`]: a Python program with asyncio; its [`PythonTasks`] are known.
pub const PROCESS_PYTHON: u32 = 8;
/// [`ProcessRule::flags`]: which of its threads wake which is told, see [`crate::record::WokenRecord`].
pub const PROCESS_WAKES: u32 = 16;

/// [`ProcessRule::flags`]: a Java program; threads of it carry virtual threads, see [`JavaThread`].
pub const PROCESS_JAVA: u32 = 32;

/// What holds for one process (thread group).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessRule {
    pub flags: u32,
    /// Offset of `goid` in Go's `runtime.g`, in bytes.
    pub goroutine_offset: u32,
    /// Offset of `parentGoid` in `runtime.g`, in bytes; 0 where there is none.
    pub parent_goroutine_offset: u32,
}

/// [`PythonTasks::attributes`]
pub const ATTRIBUTES_APART: u32 = 1;
pub const ATTRIBUTES_TAGGED: u32 = 2;

/// Where a Python process keeps what its event loops run: addresses in its memory, offsets in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PythonTasks {
    /// The dictionary of running tasks by event loop; 0 where each thread's state names its own.
    pub running: u64,
    /// The type that types are of, and those of integers and tuples.
    pub type_of_types: u64,
    pub type_of_integers: u64,
    pub type_of_tuples: u64,
    /// What the byte that tells a dictionary's size says of the smallest table.
    pub table_size: u32,
    /// First entry of the smallest table.
    pub entries_offset: u32,
    /// Of a function: the variables it closes over.
    pub closure_offset: u32,
    /// Of a tuple: its first item.
    pub items_offset: u32,
    /// Of a wake-up that is called when a future is done: the task it wakes.
    pub woken_offset: u32,
    /// Of a thread's state: the task that runs.
    pub running_offset: u32,
    /// Of a thread's state: the thread, as its FS base tells it.
    pub thread_offset: u32,
    /// Of a task: its name.
    pub name_offset: u32,
    /// Of a string: its characters.
    pub text_offset: u32,
    /// Of an object of a class written in Python: its attributes, or with [`ATTRIBUTES_APART`] a pointer to them (which is one
    /// too small with [`ATTRIBUTES_TAGGED`]); 0 where they are in a dictionary.
    pub attributes_offset: i32,
    pub attributes: u32,
    pub reserved: u32,
}

/// Where a thread of a Java process tells which virtual thread it carries: an address in its memory, an offset in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct JavaThread {
    /// Holds the address of the `java.lang.Thread` that runs: its own, or that of the virtual thread it carries.
    pub running: u64,
    /// Its own number (`Thread.threadId`).
    pub own_number: u64,
    /// Of a `java.lang.Thread`: its number, which no other thread of the process ever has.
    pub number_offset: u32,
    pub reserved: u32,
}

/// What holds for connections with this port at either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PortRule {
    Ignored = 1,
    Chosen = 2,
}

/// Budget value that switches a connection's records off.
pub const BUDGET_IGNORED: u32 = u32::MAX;

/// How much of each call is copied, for one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectionSetting {
    /// The connection it is meant for; another one in the same slot keeps the default.
    pub connection: u64,
    /// By direction: [`crate::record::DIRECTION_IN`] and [`crate::record::DIRECTION_OUT`].
    pub bytes: [u32; 2],
}

/// A connection id is, from its low end: the processor that numbered it, its count, and the program that numbered it (the
/// kernel lets no program run twice at once on one processor, but two programs may run in the middle of each other).
pub const CONNECTION_CPU_BITS: u32 = 12;
pub const CONNECTION_PROGRAM_SHIFT: u32 = 60;

/// The slot of a connection's [`ConnectionSetting`]. `slots` is a power of two.
pub const fn setting_slot(connection: u64, slots: u32) -> u32 {
    let count = connection >> CONNECTION_CPU_BITS;
    let cpu = connection & ((1 << CONNECTION_CPU_BITS) - 1);
    let program = connection >> CONNECTION_PROGRAM_SHIFT;
    // Each processor and program counts from a start of its own.
    let start = cpu
        .wrapping_mul(0x9E37)
        .wrapping_add(program.wrapping_mul(0x1D_0B55));
    (count.wrapping_add(start) as u32) & (slots - 1)
}

/// Words of the map with a bit for each process whose being captured differs from what holds for the rest: as many bits as
/// there can be process ids (`PID_MAX_LIMIT` of `include/linux/threads.h`).
pub const EXCEPTION_WORDS: u32 = (4 << 20) / 64;

/// Word and bit of a process.
pub const fn exception_bit(pid: u32) -> (u32, u64) {
    (pid / 64, 1 << (pid % 64))
}

/// Fixed when the programs are loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Switches {
    /// The agent itself.
    pub own_pid: u32,
    /// 1: only processes and ports with a rule that chooses them are captured.
    pub chosen_only: u32,
    /// 1: there are port rules to look at.
    pub port_rules: u32,
    /// 1: processes without a rule are left at once, so an exception is a chosen process; 0: it is an ignored one.
    pub rest_ignored: u32,
    /// Bytes of each call copied before user space says otherwise.
    pub default_bytes: u32,
    /// Slots in the settings map less one.
    pub setting_mask: u32,
    /// User space is woken when the ring buffer holds more than this.
    pub wake_bytes: u32,
    /// 1: Unix stream sockets are captured.
    pub unix: u32,
    /// 1: datagrams are captured.
    pub udp: u32,
    /// Kinds of `struct iov_iter` that stand in the process's memory: one buffer, several.
    pub iterator_buffer: u32,
    pub iterator_vector: u32,
    /// What of the kind's byte is the kind.
    pub iterator_mask: u32,
    /// 1: the kernel has the helper that finds a thread's saved registers (Linux 5.15).
    pub registers: u32,
    pub reserved: u32,
}

const _: () = {
    assert!(size_of::<ProcessRule>() == 12);
    assert!(size_of::<PythonTasks>() == 80);
    assert!(size_of::<JavaThread>() == 24);
    assert!(size_of::<ConnectionSetting>() == 16);
    assert!(size_of::<Switches>() == 56);
    assert!(setting_slot(5 << CONNECTION_CPU_BITS, 1024) == 5);
};
