//! Since Python 3.14 each thread's state names the task it runs. The interpreter and `_asyncio` describe where, for those who
//! read from outside: `_Py_DebugOffsets` at the start of `_PyRuntime` (`Include/internal/pycore_debug_offsets.h`), and the
//! section `.AsyncioDebug` (`Modules/_asynciomodule.c`).
//!
//! Both begin with sizes of the same structure and the version, which must agree. Bounded: threads. Deliberately absent:
//! threads that start later.

use spanhound_common::PythonTasks;

use super::interpreter::Interpreter;
use crate::process::memory::Memory;

const THREADS_MAX: usize = 1_024;
const COOKIE: u64 = u64::from_le_bytes(*b"xdebugpy");

/// Words of `_Py_DebugOffsets` as 3.14 and 3.15 have them.
const DEBUG_WORDS: usize = 32;
const VERSION: usize = 1;
const FREE_THREADED: usize = 2;
const INTERPRETERS_HEAD: usize = 5;
const INTERPRETER_BYTES: usize = 6;
const THREADS_HEAD: usize = 9;
const THREAD_NEXT: usize = 24;

/// Words of `.AsyncioDebug`.
pub(super) const ASYNCIO_WORDS: usize = 13;
const TASK_NAME: usize = 1;
const ASYNCIO_INTERPRETER_BYTES: usize = 7;
const RUNNING_TASK: usize = 11;

/// What the kernel programs need beside the types, and each thread (as the process numbers it) with its state. `version` is
/// the interpreter's own word for it.
pub(super) fn described(
    interpreter: &Interpreter,
    memory: &impl Memory,
    version: u64,
    asyncio: &[u64; ASYNCIO_WORDS],
) -> Option<(PythonTasks, Vec<(u32, u64)>)> {
    let mut offsets = [0; DEBUG_WORDS];
    for (at, offset) in offsets.iter_mut().enumerate() {
        *offset = memory.word(interpreter.runtime.wrapping_add(8 * at as u64))?;
    }
    let agree = offsets[0] == COOKIE
        && offsets[VERSION] == version
        && offsets[FREE_THREADED] == 0
        && offsets[INTERPRETER_BYTES] == asyncio[ASYNCIO_INTERPRETER_BYTES];
    if !agree {
        return None;
    }
    // 3.15 has three more words of a thread's state before them.
    let (thread_id, native_thread_id) = if version >> 16 == 0x030e {
        (27, 28)
    } else {
        (30, 31)
    };
    let small = |offset: u64| u32::try_from(offset).ok().filter(|offset| *offset < 1 << 20);
    let tasks = PythonTasks {
        running_offset: small(asyncio[RUNNING_TASK])?,
        thread_offset: small(offsets[thread_id])?,
        name_offset: small(asyncio[TASK_NAME])?,
        ..PythonTasks::default()
    };
    let first = memory.word(interpreter.runtime.wrapping_add(offsets[INTERPRETERS_HEAD]))?;
    let mut state = memory.word(first.wrapping_add(offsets[THREADS_HEAD]))?;
    let mut threads = Vec::new();
    while state != 0 && threads.len() < THREADS_MAX {
        let native = memory.word(state.wrapping_add(offsets[native_thread_id]))?;
        threads.push((native as u32, state));
        state = memory.word(state.wrapping_add(offsets[THREAD_NEXT]))?;
    }
    Some((tasks, threads))
}
