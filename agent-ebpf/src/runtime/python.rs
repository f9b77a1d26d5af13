//! Python: which task of asyncio writes or connects, and which other task waits for that one.
//!
//! Plain asyncio writes inside the task. uvloop collects streams and writes them when the loop has run what was ready: two
//! functions tell, `Loop._queue_write` runs in the task with the stream, and `UVStream._exec_write` runs right before that
//! stream is written. Nothing is believed for its address alone: a task that waits must be of the same type as the one that
//! runs. Bounded: every walk by a number of steps, streams and threads with the least recently used forgotten.
//! Deliberately absent: frames, and anything of the program's own data.

use aya_ebpf::{
    helpers::bpf_get_current_task,
    macros::{map, uprobe},
    maps::{HashMap, LruHashMap},
    programs::ProbeContext,
};
use spanhound_common::{
    PythonTasks,
    limits::{PYTHON_PROCESSES_MAX, PYTHON_WRITES_MAX},
    record::{ActorRecord, ROUTINE_TASK, TASK_NUMBER_MASK, TASK_NUMBER_SHIFT},
};

use crate::{actor::Current, config::offset, read};

/// Written by user space, by thread group id; removed by it when the process ended.
#[map]
static PYTHONS: HashMap<u32, PythonTasks> = HashMap::with_max_entries(PYTHON_PROCESSES_MAX, 0);

/// Written by user space, by thread id: where the thread's state is.
#[map]
static PYTHON_THREADS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(PYTHON_WRITES_MAX, 0);

/// A stream of uvloop, by its address.
#[derive(Clone, Copy)]
#[repr(C)]
struct Stream {
    pid: u64,
    address: u64,
}

/// As in [`ActorRecord`].
#[derive(Clone, Copy)]
#[repr(C)]
struct Routine {
    own: u64,
    parent: u64,
}

/// Who wrote to a stream that waits for the end of the loop's turn.
#[map]
static PYTHON_QUEUED: LruHashMap<Stream, Routine> = LruHashMap::with_max_entries(PYTHON_WRITES_MAX, 0);

/// For whom a thread writes next, by thread id.
#[map]
static PYTHON_WRITING: LruHashMap<u32, Routine> = LruHashMap::with_max_entries(PYTHON_WRITES_MAX, 0);

/// `PyObject`, `PyDictObject` and `PyDictKeysObject` (`Include/cpython/object.h`, `dictobject.h`; `pycore_dict.h`).
const TYPE: u64 = 8;
const DICTIONARY_KEYS: u64 = 32;
const KEYS_SIZE: u64 = 8;
/// Entries of the smallest table; each is hash, key and value.
const ENTRIES: usize = 5;
const ENTRY_WORDS: usize = 3;
const VALUE: usize = 2;
/// `PyVarObject.ob_size`, `PyCellObject.ob_ref`; `FutureObj.fut_callback0` of `Modules/_asynciomodule.c`.
const SIZE: u64 = 16;
const CELL_CONTENT: u64 = 16;
const FIRST_CALLBACK: u64 = 24;
/// Where an integer's lowest digit is, since 3.12 (names are integers since then, until somebody asks for one).
const DIGIT: u64 = 24;
/// Variables looked at of those a callback closes over.
const CELLS: u64 = 8;
/// Digits looked at of a task's number.
const DIGITS: usize = 10;
const NAME: [u8; 5] = *b"Task-";

/// Sets who writes. What was queued is asked first only where no task runs.
#[inline(always)]
pub fn task(actor: &mut ActorRecord) {
    let routine = running(actor.pid).or_else(|| taken(actor.tid));
    if let Some(routine) = routine {
        actor.routine = routine.own;
        actor.parent_routine = routine.parent;
    }
}

/// `cdef inline void Loop._queue_write(self, UVStream stream)` of uvloop's `loop.pyx`.
#[uprobe]
pub fn uvloop_queue_write(ctx: ProbeContext) -> u32 {
    let Some(address) = ctx.arg::<u64>(1) else {
        return 0;
    };
    let pid = Current::thread().pid;
    let stream = Stream {
        pid: pid as u64,
        address,
    };
    let queued = running(pid);
    // Full: the oldest goes, and what it wrote is looked at without.
    match queued {
        Some(routine) => {
            let _ = PYTHON_QUEUED.insert(stream, routine, 0);
        }
        None => {
            let _ = PYTHON_QUEUED.remove(stream);
        }
    }
    0
}

/// `cdef UVStream._exec_write(self)` of uvloop's `handles/stream.pyx`.
#[uprobe]
pub fn uvloop_exec_write(ctx: ProbeContext) -> u32 {
    let Some(address) = ctx.arg::<u64>(0) else {
        return 0;
    };
    let current = Current::thread();
    let stream = Stream {
        pid: current.pid as u64,
        address,
    };
    // SAFETY: copied at once.
    match unsafe { PYTHON_QUEUED.get(stream) }.copied() {
        Some(routine) => {
            let _ = PYTHON_QUEUED.remove(stream);
            let _ = PYTHON_WRITING.insert(current.tid, routine, 0);
        }
        None => {
            let _ = PYTHON_WRITING.remove(current.tid);
        }
    }
    0
}

/// For whom the thread writes, said once.
#[inline(always)]
fn taken(tid: u32) -> Option<Routine> {
    // SAFETY: copied at once.
    let routine = unsafe { PYTHON_WRITING.get(tid) }.copied()?;
    let _ = PYTHON_WRITING.remove(tid);
    Some(routine)
}

#[inline(always)]
fn running(pid: u32) -> Option<Routine> {
    let task = python_task(pid as u64);
    if task == 0 {
        return None;
    }
    let waiting = python_waiting(pid as u64, task);
    Some(Routine {
        own: named(pid, task),
        parent: if waiting == 0 { 0 } else { named(pid, waiting) },
    })
}

/// The task with its number, as [`ROUTINE_TASK`] describes.
#[inline(always)]
fn named(pid: u32, task: u64) -> u64 {
    let address = task & ((1 << TASK_NUMBER_SHIFT) - 1);
    let number = python_number(pid as u64, task) & TASK_NUMBER_MASK;
    ROUTINE_TASK | number << TASK_NUMBER_SHIFT | address
}

#[inline(always)]
fn layout(pid: u64) -> Option<&'static PythonTasks> {
    // SAFETY: entries are replaced as a whole; what a torn read leads to is no task.
    unsafe { PYTHONS.get(pid as u32) }
}

/// The task that runs, 0 where none does or it cannot be told. Exported, as the next two, so that it is verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn python_task(pid: u64) -> u64 {
    let Some(layout) = layout(pid) else { return 0 };
    if layout.running == 0 {
        return of_thread(layout).unwrap_or(0);
    }
    of_process(layout).unwrap_or(0)
}

/// Through Python 3.13: one dictionary for all event loops, which has an entry while a loop's task runs.
#[inline(always)]
fn of_process(layout: &PythonTasks) -> Option<u64> {
    let keys = read::user::<u64>(layout.running + DICTIONARY_KEYS)?;
    if read::user::<u8>(keys.wrapping_add(KEYS_SIZE))? as u32 != layout.table_size {
        return None;
    }
    let entries =
        read::user::<[u64; ENTRIES * ENTRY_WORDS]>(keys.wrapping_add(layout.entries_offset as u64))?;
    let (mut one, mut count, mut at) = (0, 0, 0);
    while at < ENTRIES {
        let task = entries[at * ENTRY_WORDS + VALUE];
        if task != 0 {
            one = task;
            count += 1;
        }
        at += 1;
    }
    // Two loops at work: which one this thread's is, is not known.
    (count == 1).then_some(one)
}

/// Since 3.14 each thread's state names it. A thread that got the number of one that is gone is not taken for it.
#[inline(always)]
fn of_thread(layout: &PythonTasks) -> Option<u64> {
    // SAFETY: copied at once.
    let state = unsafe { PYTHON_THREADS.get(Current::thread().tid) }.copied()?;
    // SAFETY: the helper has no preconditions.
    let fsbase = read::kernel::<u64>(unsafe { bpf_get_current_task() }, offset::task_fsbase())?;
    if read::user::<u64>(state.wrapping_add(layout.thread_offset as u64))? != fsbase {
        return None;
    }
    read::user::<u64>(state.wrapping_add(layout.running_offset as u64))
}

/// The task that waits for this one, itself or by `gather`, `wait` and their like: the callback of those closes over a
/// future whose first callback wakes the task that waits. 0 where there is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn python_waiting(pid: u64, task: u64) -> u64 {
    let Some(layout) = layout(pid) else { return 0 };
    waiting(layout, task).unwrap_or(0)
}

#[inline(always)]
fn waiting(layout: &PythonTasks, task: u64) -> Option<u64> {
    let kind = read::user::<u64>(task.wrapping_add(TYPE))?;
    let callback = read::user::<u64>(task.wrapping_add(FIRST_CALLBACK))?;
    if callback == 0 {
        return None;
    }
    if let Some(woken) = woken(layout, callback, kind) {
        return Some(woken);
    }
    let closure = read::user::<u64>(callback.wrapping_add(layout.closure_offset as u64))?;
    let size = read::user::<u64>(closure.wrapping_add(SIZE))?;
    let mut at = 0;
    while at < CELLS {
        if at >= size {
            return None;
        }
        if let Some(found) = through_cell(layout, closure, at, kind) {
            return Some(found);
        }
        at += 1;
    }
    None
}

#[inline(always)]
fn through_cell(layout: &PythonTasks, closure: u64, at: u64, kind: u64) -> Option<u64> {
    let item = closure.wrapping_add(layout.items_offset as u64 + 8 * at);
    let cell = read::user::<u64>(item)?;
    let content = read::user::<u64>(cell.wrapping_add(CELL_CONTENT))?;
    let callback = read::user::<u64>(content.wrapping_add(FIRST_CALLBACK))?;
    woken(layout, callback, kind)
}

/// The task that this callback wakes, where it is an object that wakes one.
#[inline(always)]
fn woken(layout: &PythonTasks, callback: u64, kind: u64) -> Option<u64> {
    let callback_kind = read::user::<u64>(callback.wrapping_add(TYPE))?;
    if read::user::<u64>(callback_kind.wrapping_add(TYPE))? != layout.type_of_types {
        return None;
    }
    let task = read::user::<u64>(callback.wrapping_add(layout.woken_offset as u64))?;
    (read::user::<u64>(task.wrapping_add(TYPE))? == kind).then_some(task)
}

/// The number in the task's name, 0 where it has none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn python_number(pid: u64, task: u64) -> u64 {
    let Some(layout) = layout(pid) else { return 0 };
    number(layout, task).unwrap_or(0)
}

#[inline(always)]
fn number(layout: &PythonTasks, task: u64) -> Option<u64> {
    let name = read::user::<u64>(task.wrapping_add(layout.name_offset as u64))?;
    if read::user::<u64>(name.wrapping_add(TYPE))? == layout.type_of_integers {
        return read::user::<u32>(name.wrapping_add(DIGIT)).map(u64::from);
    }
    let text = read::user::<[u8; 16]>(name.wrapping_add(layout.text_offset as u64))?;
    let mut number = 0;
    let mut at = 0;
    while at < NAME.len() {
        if text[at] != NAME[at] {
            return None;
        }
        at += 1;
    }
    while at < NAME.len() + DIGITS {
        let digit = text[at].wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number * 10 + digit as u64;
        at += 1;
    }
    Some(number)
}
