//! Bounds both sides of the kernel border rely on.

/// Most bytes of one system call's payload that one record carries.
pub const CAPTURE_BYTES_MAX: u32 = 16 * 1024;

/// Most bytes that are put together from the several buffers of one call. (One less than a power of two: a mask bounds
/// them, and a record's reservation is twice as long as the verifier cannot see the sum of two masked numbers.)
pub const GATHERED_BYTES_MAX: u32 = 8 * 1024 - 1;

/// Bytes of each system call copied until user space sets a connection's own budget.
pub const CAPTURE_BYTES_DEFAULT: u32 = 4 * 1024;

/// Bytes copied from the end of a movement whose middle is left out: how a long answer ends is often all that tells that
/// it has ended (a last chunk, a ready-for-query).
pub const TAIL_BYTES: u32 = 32;

/// Buffers of one vectored call that are looked at; what lies behind them is counted, not copied.
pub const BUFFERS_MAX: u32 = 16;

/// Buffers of one vectored call that are gone back over to its first one, in the tiers that see the last one; what more
/// buffers held is counted, not copied.
pub const BUFFERS_BEHIND_MAX: u32 = 256;

/// Messages of one `sendmmsg`/`recvmmsg` that the syscall tier looks at. A resolver sends two.
pub const MESSAGES_MAX: u32 = 16;

/// Ring buffer between kernel and user space: a power of two and a multiple of the page size.
pub const RING_BYTES_DEFAULT: u32 = 8 * 1024 * 1024;

/// Live connections the kernel remembers; the least recently used one is forgotten, and adopted again when it moves data.
pub const CONNECTIONS_DEFAULT: u32 = 32 * 1024;

/// Connections numbered while they connect and not yet used; the least recently numbered one is forgotten.
pub const CONNECTING_DEFAULT: u32 = 8 * 1024;

/// Go connections whose caller is remembered, and goroutines that write for others.
pub const GO_CALLERS_DEFAULT: u32 = 16 * 1024;

/// Streams that Go programs have asked for and not begun to write.
pub const GO_STREAMS_DEFAULT: u32 = 4 * 1024;

/// Python processes whose tasks are read.
pub const PYTHON_PROCESSES_MAX: u32 = 1024;

/// Streams of uvloop that wait to be written, threads that write them, and threads of Python whose state is known.
pub const PYTHON_WRITES_MAX: u32 = 4 * 1024;

/// Threads of Java that carry virtual threads.
pub const JAVA_CARRIERS_MAX: u32 = 4 * 1024;

/// Threads whose wake-ups are remembered; the one that was woken least recently is forgotten.
pub const WOKEN_THREADS_DEFAULT: u32 = 4 * 1024;

/// Wake-ups remembered of one thread since it last wrote to a socket, one for each waker and place; the oldest goes.
pub const WAKES_MAX: usize = 8;

/// Threads inside a send or receive at once, in the kprobe tier.
pub const CALLS_DEFAULT: u32 = 8 * 1024;

/// Threads inside a `sendmmsg` or `recvmmsg` at once, in the tracepoint tier.
pub const BATCHES_MAX: u32 = 1024;

/// Slots of per-connection settings; two connections may share one, the later setting wins. A power of two.
pub const SETTINGS_DEFAULT: u32 = 64 * 1024;

/// Processes with a rule of their own.
pub const PROCESSES_DEFAULT: u32 = 8 * 1024;

/// Ports with a rule of their own.
pub const PORTS_MAX: u32 = 1024;

/// Longest path of a Unix socket (`sun_path` in `include/uapi/linux/un.h`).
pub const UNIX_PATH_BYTES: usize = 108;
