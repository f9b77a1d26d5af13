//! Python programs: where a running interpreter keeps the task that each event loop of asyncio runs.
//!
//! Enters: the memory of a process (read only) and the files it maps. Leaves: addresses and offsets for the kernel
//! programs, for versions whose layout was read from real builds (3.8 to 3.15). Nothing is taken for what it should be
//! without its type: the interpreter exports the addresses of its types, and each object met on the way must name one.
//! Bounded: sizes and entries read. Deliberately absent: guesses; for another version, a build without the global
//! interpreter lock or one without its dynamic symbols the task rung stays off.

mod interpreter;
mod object;
mod threads;

use std::path::PathBuf;

use spanhound_common::PythonTasks;

use super::mapping::{Mapping, mappings};
use super::memory::ProcessMemory;
use super::procfs::Procfs;
use interpreter::Interpreter;
use object::Objects;

/// What the kernel programs need to read the tasks of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonProgram {
    pub tasks: PythonTasks,
    /// Threads and the addresses of their states, where those name the task that runs.
    pub threads: Vec<(u32, u64)>,
    pub uvloop: Option<UvloopFunctions>,
}

/// Functions of uvloop's module, as offsets in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UvloopFunctions {
    pub file: PathBuf,
    pub queue_write: u64,
    pub exec_write: u64,
}

/// What a look into a process found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PythonLook {
    Found(Box<PythonProgram>),
    /// It has not imported asyncio, or is just starting.
    NotYet,
    /// No interpreter whose layout is known.
    Unknown,
}

pub(super) fn look(procfs: &Procfs, pid: u32) -> PythonLook {
    let mappings = mappings(&procfs.all_maps(pid));
    let executable = procfs.executable(pid);
    let Some(interpreter) = interpreter::find(procfs, pid, &mappings, &executable) else {
        return PythonLook::Unknown;
    };
    let Some(memory) = ProcessMemory::open(&procfs.memory_file(pid)) else {
        return PythonLook::NotYet;
    };
    let Some(version) = interpreter.minor_version(&memory) else {
        return PythonLook::Unknown;
    };
    let Some(layout) = version.layout() else {
        return PythonLook::Unknown;
    };
    if version.names_task_in_threads() {
        return match in_threads(procfs, pid, &mappings, &interpreter, &memory) {
            Some((found, threads)) => PythonLook::Found(Box::new(PythonProgram {
                tasks: PythonTasks {
                    type_of_types: interpreter.types.type_,
                    type_of_integers: interpreter.types.integer,
                    type_of_tuples: interpreter.types.tuple,
                    running_offset: found.running_offset,
                    thread_offset: found.thread_offset,
                    name_offset: found.name_offset,
                    ..layout
                },
                threads,
                uvloop: uvloop(procfs, pid, &mappings),
            })),
            None => PythonLook::NotYet,
        };
    }
    let objects = Objects {
        memory: &memory,
        types: interpreter.types,
        version,
    };
    let Some(running) = running_tasks(&interpreter, &objects) else {
        return PythonLook::NotYet;
    };
    let tasks = PythonTasks {
        running,
        type_of_types: interpreter.types.type_,
        type_of_integers: interpreter.types.integer,
        type_of_tuples: interpreter.types.tuple,
        ..layout
    };
    PythonLook::Found(Box::new(PythonProgram {
        tasks,
        threads: Vec::new(),
        uvloop: uvloop(procfs, pid, &mappings),
    }))
}

/// Where threads name their tasks, once asyncio is imported, and the threads by the kernel's numbers.
fn in_threads(
    procfs: &Procfs,
    pid: u32,
    mappings: &[Mapping],
    interpreter: &Interpreter,
    memory: &ProcessMemory,
) -> Option<(PythonTasks, Vec<(u32, u64)>)> {
    let module = mappings
        .iter()
        .find(|mapping| mapping.path.contains("/_asyncio."));
    // Some builds have it in the interpreter.
    let file = module.map_or(interpreter.file.clone(), |module| {
        procfs.mapped_file(pid, &module.path)
    });
    let asyncio = interpreter::words_of_section(&file, ".AsyncioDebug")?;
    let version = interpreter.version_word(memory)?;
    let (tasks, threads) = threads::described(interpreter, memory, version, &asyncio)?;
    let numbers = procfs.threads(pid);
    let known = threads.into_iter().filter_map(|(inner, state)| {
        let (tid, _) = numbers.iter().find(|(_, own)| *own == inner)?;
        Some((*tid, state))
    });
    Some((tasks, known.collect()))
}

/// The dictionary of running tasks, once asyncio is imported.
fn running_tasks(interpreter: &Interpreter, objects: &Objects<'_>) -> Option<u64> {
    let modules = objects.modules(interpreter.runtime, interpreter.runtime_bytes)?;
    let asyncio = objects.module_dictionary(objects.entry(modules, "_asyncio")?)?;
    let running = objects.entry(asyncio, "_current_tasks")?;
    objects.is_dictionary(running).then_some(running)
}

/// Names as Cython makes them.
const QUEUE_WRITE: &str = "__pyx_f_6uvloop_4loop_4Loop__queue_write";
const EXEC_WRITE: &str = "__pyx_f_6uvloop_4loop_8UVStream__exec_write";

/// By the names in its symbol table; `None` where it is not loaded or was stripped.
fn uvloop(procfs: &Procfs, pid: u32, mappings: &[Mapping]) -> Option<UvloopFunctions> {
    let mapping = mappings
        .iter()
        .find(|mapping| mapping.path.contains("/uvloop/loop."))?;
    let file = procfs.mapped_file(pid, &mapping.path);
    let [queue_write, exec_write] = interpreter::function_offsets(&file, [QUEUE_WRITE, EXEC_WRITE])?;
    Some(UvloopFunctions {
        file,
        queue_write,
        exec_write,
    })
}

#[cfg(test)]
mod tests;
