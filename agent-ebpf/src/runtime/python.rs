//! Python: which task of asyncio writes or connects, and which other task waits for that one.
//!
//! Plain asyncio writes inside the task. uvloop collects streams and writes them when the loop has run what was ready: two
//! functions tell, `Loop._queue_write` runs in the task with the stream, and `UVStream._exec_write` runs right before that
//! stream is written. Nothing is believed for its address alone: a task that waits must be of the same type as the one that
//! runs. Bounded: every walk by a number of steps, streams and threads with the least recently used forgotten.
//! Deliberately absent: frames, and anything of the program's own data.

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_ktime_get_ns},
    macros::{map, uprobe},
    maps::{HashMap, LruHashMap},
    programs::ProbeContext,
};
use spanhound_common::{
    AwaitedRecord, Loss, PythonTasks,
    limits::{PYTHON_PROCESSES_MAX, PYTHON_WRITES_MAX},
    record::{ActorRecord, Kind, ROUTINE_TASK, TASK_NUMBER_MASK, TASK_NUMBER_SHIFT},
    rule::{ATTRIBUTES_APART, ATTRIBUTES_TAGGED},
};

use crate::{actor::Current, config::offset, emit, read};

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
/// `partialobject.args` of `Modules/_functoolsmodule.c`, `PyMethodObject.im_self`.
const PARTIAL_ARGUMENTS: u64 = 24;
const METHOD_SELF: u64 = 24;
/// Looked at of what a callback closes over or passes on, and of an object's attributes (a scope of anyio names its task in
/// the ninth or the eleventh).
const ITEMS: u64 = 8;
const ATTRIBUTES: u64 = 12;
const NO_CELL: u32 = u32::MAX;
/// Tasks looked at of a chain in which each waits for the next.
const DEPTH: u32 = 4;
/// Digits looked at of a task's number.
const DIGITS: usize = 10;
const NAME: [u8; 5] = *b"Task-";
/// `PyTypeObject.tp_name` and `tp_basicsize`; what an object without slots has at most, and where slots are.
const TYPE_NAME: u64 = 24;
const TYPE_BYTES: u64 = 32;
const PLAIN_BYTES: u64 = 24;
const SLOTS: u64 = 16;
/// A class that names the task which waits.
const GROUP: [u8; 10] = *b"TaskGroup\0";

/// Sets who writes: the task that runs and the one that waits for it, or where none runs those for which the thread writes,
/// which is said once.
#[inline(always)]
pub fn task(actor: &mut ActorRecord) {
    let pid = actor.pid as u64;
    let task = python_task(pid);
    if task != 0 {
        actor.routine = named(pid, task);
        actor.parent_routine = python_parent(pid, actor.tid as u64, task);
        return;
    }
    // SAFETY: copied at once.
    if let Some(routine) = unsafe { PYTHON_WRITING.get(actor.tid) }.copied() {
        actor.routine = routine.own;
        actor.parent_routine = routine.parent;
        let _ = PYTHON_WRITING.remove(actor.tid);
    }
}

/// `cdef inline void Loop._queue_write(self, UVStream stream)` of uvloop's `loop.pyx`.
#[uprobe]
pub fn uvloop_queue_write(ctx: ProbeContext) -> u32 {
    let Some(address) = ctx.arg::<u64>(1) else {
        return 0;
    };
    let current = Current::thread();
    let stream = Stream {
        pid: current.pid as u64,
        address,
    };
    let (pid, tid) = (current.pid as u64, current.tid as u64);
    let task = python_task(pid);
    if task == 0 {
        let _ = PYTHON_QUEUED.remove(stream);
        return 0;
    }
    let routine = Routine {
        own: named(pid, task),
        parent: python_parent(pid, tid, task),
    };
    // Full: the oldest goes, and what it wrote is looked at without.
    let _ = PYTHON_QUEUED.insert(stream, routine, 0);
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

/// The task that waits for this one; who waits for those is told on the way. Exported, as those below, so that it is verified by
/// itself, and that its stack is not its caller's.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn python_parent(pid: u64, tid: u64, task: u64) -> u64 {
    let mut waiting = python_waiting(pid, task);
    if waiting == 0 {
        return 0;
    }
    let parent = named(pid, waiting);
    let mut awaited = parent;
    let mut depth = 1;
    while depth < DEPTH {
        depth += 1;
        waiting = python_waiting(pid, waiting);
        if waiting == 0 {
            break;
        }
        let next = named(pid, waiting);
        // SAFETY: the helper has no preconditions.
        let time_ns = unsafe { bpf_ktime_get_ns() };
        emit::record(Loss::RingFullAwaited, |record: &mut AwaitedRecord| {
            record.kind = Kind::Awaited as u8;
            record.pid = pid as u32;
            record.tid = tid as u32;
            record.time_ns = time_ns;
            record.task = awaited;
            record.waiting = next;
        });
        awaited = next;
    }
    parent
}

/// The task with its number, as [`ROUTINE_TASK`] describes.
#[inline(always)]
fn named(pid: u64, task: u64) -> u64 {
    let address = task & ((1 << TASK_NUMBER_SHIFT) - 1);
    let number = python_number(pid, task) & TASK_NUMBER_MASK;
    ROUTINE_TASK | number << TASK_NUMBER_SHIFT | address
}

#[inline(always)]
fn layout(pid: u64) -> Option<&'static PythonTasks> {
    // SAFETY: entries are replaced as a whole; what a torn read leads to is no task.
    unsafe { PYTHONS.get(pid as u32) }
}

/// The task that runs, 0 where none does or it cannot be told.
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

/// The task that waits for this one, itself or by `gather`, `wait` and their like: the callback of those knows a future whose
/// first callback wakes the task that waits, or a group that names it. 0 where there is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn python_waiting(pid: u64, task: u64) -> u64 {
    let Some(layout) = layout(pid) else { return 0 };
    waiting(pid, layout, task).unwrap_or(0)
}

#[inline(always)]
fn waiting(pid: u64, layout: &PythonTasks, task: u64) -> Option<u64> {
    let kind = read::user::<u64>(task.wrapping_add(TYPE))?;
    let callback = read::user::<u64>(task.wrapping_add(FIRST_CALLBACK))?;
    if callback == 0 {
        return None;
    }
    if let Some(woken) = woken(layout, callback, kind) {
        return Some(woken);
    }
    // A function, and what it closes over.
    if let Some(closure) = tuple(layout, callback, layout.closure_offset as u64) {
        return items(pid, layout, closure, CELL_CONTENT as u32, kind);
    }
    // `functools.partial`, and what it passes on: how `wait_for` waits before 3.12.
    if let Some(arguments) = tuple(layout, callback, PARTIAL_ARGUMENTS) {
        return items(pid, layout, arguments, NO_CELL, kind);
    }
    // A method, and what it is of: `TaskGroup`.
    let object = read::user::<u64>(callback.wrapping_add(METHOD_SELF))?;
    found(python_known_by(pid, object, kind))
}

/// The tuple that the object has at this offset.
#[inline(always)]
fn tuple(layout: &PythonTasks, object: u64, offset: u64) -> Option<u64> {
    let tuple = read::user::<u64>(object.wrapping_add(offset))?;
    (read::user::<u64>(tuple.wrapping_add(TYPE))? == layout.type_of_tuples).then_some(tuple)
}

/// The first task that one of the tuple's items knows, or what is in it where the items are cells.
#[inline(always)]
fn items(pid: u64, layout: &PythonTasks, tuple: u64, content: u32, kind: u64) -> Option<u64> {
    let size = read::user::<u64>(tuple.wrapping_add(SIZE))?;
    let mut at = 0;
    while at < ITEMS {
        if at >= size {
            return None;
        }
        let mut object = read::user::<u64>(tuple.wrapping_add(layout.items_offset as u64 + 8 * at))?;
        if content != NO_CELL {
            object = read::user_or_zero::<u64>(object.wrapping_add(content as u64));
        }
        let task = python_known_by(pid, object, kind);
        if task != 0 {
            return Some(task);
        }
        at += 1;
    }
    None
}

/// The task that waits for this object, if it is a future; or that is an attribute of it, if it is a group of tasks: of
/// asyncio its own, of anyio that of the scope which is its first attribute. 0 where there is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn python_known_by(pid: u64, object: u64, kind: u64) -> u64 {
    let Some(layout) = layout(pid) else { return 0 };
    known_by(layout, object, kind).unwrap_or(0)
}

#[inline(always)]
fn known_by(layout: &PythonTasks, object: u64, kind: u64) -> Option<u64> {
    if let Some(callback) = read::user::<u64>(object.wrapping_add(FIRST_CALLBACK))
        && let Some(task) = woken(layout, callback, kind)
    {
        return Some(task);
    }
    if !is_group(object)? {
        return None;
    }
    let group = attributes(layout, object)?;
    if let Some(task) = first_of_kind(group, kind) {
        return Some(task);
    }
    let scope = read::user::<u64>(group)?;
    let class = read::user::<u64>(scope.wrapping_add(TYPE))?;
    if read::user::<u64>(class.wrapping_add(TYPE_BYTES))? > PLAIN_BYTES {
        return first_of_kind(scope.wrapping_add(SLOTS), kind);
    }
    first_of_kind(attributes(layout, scope)?, kind)
}

/// Whether the object's class is called `TaskGroup`.
#[inline(always)]
fn is_group(object: u64) -> Option<bool> {
    let kind = read::user::<u64>(object.wrapping_add(TYPE))?;
    let name = read::user::<u64>(kind.wrapping_add(TYPE_NAME))?;
    let text = read::user::<[u8; GROUP.len()]>(name)?;
    let mut at = 0;
    while at < GROUP.len() {
        if text[at] != GROUP[at] {
            return Some(false);
        }
        at += 1;
    }
    Some(true)
}

/// Where the attributes of an object are.
#[inline(always)]
fn attributes(layout: &PythonTasks, object: u64) -> Option<u64> {
    if layout.attributes_offset == 0 {
        return None;
    }
    let mut place = object.wrapping_add(layout.attributes_offset as i64 as u64);
    if layout.attributes & ATTRIBUTES_APART != 0 {
        place = read::user::<u64>(place)?;
    }
    if layout.attributes & ATTRIBUTES_TAGGED != 0 {
        place = place.wrapping_add(1);
    }
    Some(place)
}

#[inline(always)]
fn first_of_kind(objects: u64, kind: u64) -> Option<u64> {
    let mut at = 0;
    while at < ATTRIBUTES {
        let object = read::user_or_zero::<u64>(objects.wrapping_add(8 * at));
        if object != 0 && read::user_or_zero::<u64>(object.wrapping_add(TYPE)) == kind {
            return Some(object);
        }
        at += 1;
    }
    None
}

#[inline(always)]
fn found(task: u64) -> Option<u64> {
    (task != 0).then_some(task)
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
