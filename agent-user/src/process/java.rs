//! Java programs: which threads carry virtual threads (Java 21 and later), and where each tells which one runs on it.
//!
//! The virtual machine (HotSpot's `libjvm.so`) exports a description of its own structures for debuggers that look from
//! outside (`vmStructs.cpp`): from there to its list of threads, and to the object that is each one's `java.lang.Thread`.
//! Where such an object keeps its number is not described: it stands beside `eetop`, which holds the address of the machine's
//! own thread and so can be recognised.
//!
//! Enters: the memory of a process (read only) and the files it maps. Leaves: addresses and offsets for the kernel programs.
//! Bounded: threads and entries read. Deliberately absent: guesses; where the objects of all threads do not agree on the
//! offset (a collector that marks its pointers, as ZGC) the virtual threads stay unseen, and other rungs serve.

mod structs;

use rustc_hash::FxHashSet;
use spanhound_common::JavaThread;

use super::mapping::mappings;
use super::memory::{Memory, ProcessMemory};
use super::procfs::Procfs;
use structs::Structs;

const THREADS_MAX: u64 = 1_024;
/// Threads of these names carry virtual threads: those of any pool of this kind, as the machine's own is one.
const CARRIERS: &str = "ForkJoinPool-";
/// Where in an object `eetop` is looked for, in bytes.
const EETOP_OFFSETS: std::ops::Range<u64> = 8..96;
/// Far more threads than a process starts.
const NUMBER_MAX: u64 = 1 << 48;

/// What a look into a process found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JavaLook {
    /// Threads by the kernel's numbers. There may be none yet that carry virtual threads.
    Found {
        threads: Vec<u32>,
        carriers: Vec<(u32, JavaThread)>,
    },
    /// The machine is just starting, or moved its objects during the look.
    NotYet,
    /// It has no virtual threads.
    Without,
    /// No machine whose structures can be read.
    Unknown,
}

pub(super) fn look(procfs: &Procfs, pid: u32) -> JavaLook {
    let mappings = mappings(&procfs.all_maps(pid));
    let library = mappings
        .iter()
        .find(|mapping| mapping.path.ends_with("/libjvm.so"));
    let Some(library) = library else {
        return JavaLook::Unknown;
    };
    let file = procfs.mapped_file(pid, &library.path);
    let Some(memory) = ProcessMemory::open(&procfs.memory_file(pid)) else {
        return JavaLook::NotYet;
    };
    let Some(structs) = Structs::exported(&file, library.start, &memory) else {
        return JavaLook::Unknown;
    };
    let Some(running) = structs.running else {
        return JavaLook::Without;
    };
    let Some(threads) = threads(&structs, &memory) else {
        return JavaLook::NotYet;
    };
    let Some(number_offset) = number_offset(&threads, &memory) else {
        return JavaLook::NotYet;
    };
    let numbers = procfs.threads(pid);
    let carriers = threads.iter().filter_map(|thread| {
        let (tid, _) = numbers.iter().find(|(_, own)| *own == thread.tid)?;
        if !procfs.thread_name(pid, *tid).starts_with(CARRIERS) {
            return None;
        }
        let carrier = JavaThread {
            running: memory.word(thread.address.wrapping_add(running))?,
            own_number: memory.word(thread.object.wrapping_add(number_offset))?,
            number_offset: number_offset as u32,
            reserved: 0,
        };
        Some((*tid, carrier))
    });
    JavaLook::Found {
        carriers: carriers.collect(),
        threads: numbers.iter().map(|(tid, _)| *tid).collect(),
    }
}

/// A thread of the virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thread {
    /// Of the `JavaThread`.
    address: u64,
    /// Of its own `java.lang.Thread`.
    object: u64,
    /// As the process numbers it.
    tid: u32,
}

/// `ThreadsSMRSupport::_java_thread_list`; threads that have no object yet are left out.
fn threads(structs: &Structs, memory: &impl Memory) -> Option<Vec<Thread>> {
    let list = memory.word(structs.list)?;
    let length = u64::from(memory.half(list.wrapping_add(structs.list_length))?);
    let first = memory.word(list.wrapping_add(structs.list_threads))?;
    let mut threads = Vec::new();
    for at in 0..length.min(THREADS_MAX) {
        let address = memory.word(first.wrapping_add(8 * at))?;
        let system = memory.word(address.wrapping_add(structs.system_thread))?;
        let handle = memory.word(address.wrapping_add(structs.object))?;
        let (Some(tid), Some(object)) = (
            memory.half(system.wrapping_add(structs.system_tid)),
            memory.word(handle),
        ) else {
            continue;
        };
        threads.push(Thread { address, object, tid });
    }
    Some(threads)
}

/// Where a `java.lang.Thread` keeps its number: right behind `eetop` or right before it (`Thread.java`), in all of them, and
/// no two have the same.
fn number_offset(threads: &[Thread], memory: &impl Memory) -> Option<u64> {
    if threads.len() < 2 {
        return None;
    }
    let holds_address = |offset: &u64| {
        let holds =
            |thread: &Thread| memory.word(thread.object.wrapping_add(*offset)) == Some(thread.address);
        threads.iter().all(holds)
    };
    let eetop = EETOP_OFFSETS.step_by(8).find(holds_address)?;
    let numbers = |offset: &u64| {
        let mut seen = FxHashSet::default();
        threads.iter().all(|thread| {
            let number = memory.word(thread.object.wrapping_add(*offset));
            number.is_some_and(|number| (1..NUMBER_MAX).contains(&number) && seen.insert(number))
        })
    };
    [eetop + 8, eetop - 8].into_iter().find(numbers)
}

#[cfg(test)]
mod tests;
