//! Maps: everything the kernel programs remember. Each has a bound (user space may set another at load) and an evictor.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use spanhound_common::{
    ConnectionSetting, Loss, ProcessRule,
    limits::{
        BATCHES_MAX, CALLS_DEFAULT, CONNECTIONS_DEFAULT, PORTS_MAX, PROCESSES_DEFAULT, RING_BYTES_DEFAULT,
        SETTINGS_DEFAULT,
    },
    rule::EXCEPTION_WORDS,
};

use crate::{
    connection::Connection,
    payload::Draft,
    socket::{Batch, Entered},
    stream::PROGRAMS,
};

/// To user space. Full: the record is let go and counted.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(RING_BYTES_DEFAULT, 0);

/// By address of the kernel's `struct sock`. An entry goes when its socket is
/// destroyed; when the map is full the least recently used one goes.
#[map]
pub static CONNECTIONS: LruHashMap<u64, Connection> = LruHashMap::with_max_entries(CONNECTIONS_DEFAULT, 0);

/// How many connections each program numbered on each processor.
#[map]
pub static NUMBERED: PerCpuArray<u64> = PerCpuArray::with_max_entries(PROGRAMS + 1, 0);

/// Written by user space, by slot; a later setting takes the slot over.
#[map]
pub static SETTINGS: Array<ConnectionSetting> = Array::with_max_entries(SETTINGS_DEFAULT, 0);

/// Written by user space, by thread group id; removed by it when the process ended.
#[map]
pub static PROCESSES: HashMap<u32, ProcessRule> = HashMap::with_max_entries(PROCESSES_DEFAULT, 0);

/// Written by user space: a bit for each process whose being captured differs from what holds for the rest.
#[map]
pub static EXCEPTIONS: Array<u64> = Array::with_max_entries(EXCEPTION_WORDS, 0);

/// Written by user space at load, by port.
#[map]
pub static PORTS: HashMap<u32, u32> = HashMap::with_max_entries(PORTS_MAX, 0);

/// Counts every change of rules, so that connections decided before it are decided again.
#[map]
pub static RULES: Array<u32> = Array::with_max_entries(1, 0);

#[map]
pub static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::COUNT, 0);

/// Calls between entry and return, by thread; kprobe tier only. An entry goes with its return; full: the return is counted.
#[map]
pub static CALLS: LruHashMap<u64, Entered> = LruHashMap::with_max_entries(CALLS_DEFAULT, 0);

/// How far threads are in their `sendmmsg` or `recvmmsg`, by thread; tracepoint tier only. The least recently used one goes.
#[map]
pub static BATCHES: LruHashMap<u64, Batch> = LruHashMap::with_max_entries(BATCHES_MAX, 0);

/// Not 0 once there was an entry in [`BATCHES`]: until then nobody has to look into calls that move nothing.
#[map]
pub static BATCHED: Array<u32> = Array::with_max_entries(1, 0);

/// Where records are put together; a draft belongs to its program (see [`PROGRAMS`]).
#[map]
pub static DRAFTS: PerCpuArray<Draft> = PerCpuArray::with_max_entries(PROGRAMS, 0);
