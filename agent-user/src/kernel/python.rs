//! Python: what the kernel programs must know of each watched process to read its tasks, see
//! `agent-ebpf/src/runtime/python.rs`.
//!
//! Enters: process ids with addresses and offsets. Leaves: nothing; records name tasks then. Bounded: by the maps, and as
//! `functions`. A process that is turned away keeps the other rungs and is counted.

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use rustc_hash::FxHashMap;
use spanhound_common::PythonTasks;

use super::{
    capture::{CaptureError, take},
    functions::FunctionProbes,
};
use crate::process::PythonProgram;

pub(super) struct Pythons {
    processes: HashMap<MapData, u32, PythonTasks>,
    threads: HashMap<MapData, u32, u64>,
    /// Threads of each process that is watched.
    watched: FxHashMap<u32, Vec<u32>>,
    uvloop: FunctionProbes,
    turned_away: u64,
}

impl Pythons {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self, CaptureError> {
        fn map<V: aya::Pod>(
            programs: &mut Ebpf,
            name: &'static str,
        ) -> Result<HashMap<MapData, u32, V>, CaptureError> {
            HashMap::try_from(take(programs, name)?).map_err(|error| CaptureError::Map(name, error))
        }
        Ok(Self {
            processes: map(programs, "PYTHONS")?,
            threads: map(programs, "PYTHON_THREADS")?,
            watched: FxHashMap::default(),
            uvloop: FunctionProbes::uvloop(),
            turned_away: 0,
        })
    }

    /// Answers whether its tasks can be read now.
    pub(super) fn watch(&mut self, programs: &mut Ebpf, pid: u32, program: &PythonProgram) -> bool {
        self.forget(programs, pid);
        let known = self.processes.insert(pid, program.tasks, 0).is_ok();
        if !known {
            self.turned_away += 1;
            return false;
        }
        let mut threads = Vec::new();
        for (tid, state) in &program.threads {
            // Full: the one least recently asked for goes.
            if self.threads.insert(tid, state, 0).is_ok() {
                threads.push(*tid);
            }
        }
        self.watched.insert(pid, threads);
        if let Some(functions) = &program.uvloop {
            let offsets = [functions.queue_write, functions.exec_write];
            self.uvloop.watch(programs, pid, &functions.file, &offsets);
        }
        tracing::debug!(pid, "reads the tasks of a Python program");
        true
    }

    pub(super) fn watches(&self, pid: u32) -> bool {
        self.watched.contains_key(&pid)
    }

    pub(super) fn forget(&mut self, programs: &mut Ebpf, pid: u32) {
        let Some(threads) = self.watched.remove(&pid) else {
            return;
        };
        self.uvloop.forget(programs, pid);
        // Absent is what is wanted.
        let _ = self.processes.remove(&pid);
        for tid in threads {
            let _ = self.threads.remove(&tid);
        }
    }

    pub(super) fn turned_away(&self) -> u64 {
        self.turned_away + self.uvloop.turned_away
    }
}
