//! Java: which threads of each watched process carry virtual threads, see `agent-ebpf/src/runtime/java.rs`.
//!
//! Enters: process ids with threads and where these tell what they carry. Leaves: nothing; records name virtual threads then.
//! Bounded: by the map, of which the thread least recently asked for goes.

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use rustc_hash::FxHashMap;
use spanhound_common::JavaThread;

use super::capture::{CaptureError, take};

pub(super) struct Javas {
    carriers: HashMap<MapData, u32, JavaThread>,
    /// Threads of each process that is watched.
    watched: FxHashMap<u32, Vec<u32>>,
    pub(super) turned_away: u64,
}

impl Javas {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self, CaptureError> {
        const NAME: &str = "JAVA_CARRIERS";
        let carriers = HashMap::try_from(take(programs, NAME)?);
        Ok(Self {
            carriers: carriers.map_err(|error| CaptureError::Map(NAME, error))?,
            watched: FxHashMap::default(),
            turned_away: 0,
        })
    }

    /// Replaces what was known of the process; threads that were known stay so meanwhile. Answers whether any can be read now.
    pub(super) fn watch(&mut self, pid: u32, carriers: &[(u32, JavaThread)]) -> bool {
        let mut gone = self.watched.remove(&pid).unwrap_or_default();
        gone.retain(|tid| carriers.iter().all(|(other, _)| other != tid));
        self.remove(&gone);
        let mut threads = Vec::new();
        for (tid, carrier) in carriers {
            if self.carriers.insert(tid, carrier, 0).is_ok() {
                threads.push(*tid);
            }
        }
        if threads.is_empty() {
            self.turned_away += 1;
            return false;
        }
        tracing::debug!(
            pid,
            carriers = threads.len(),
            "reads the virtual threads of a Java program"
        );
        self.watched.insert(pid, threads);
        true
    }

    pub(super) fn watches(&self, pid: u32) -> bool {
        self.watched.contains_key(&pid)
    }

    pub(super) fn forget(&mut self, pid: u32) {
        let gone = self.watched.remove(&pid).unwrap_or_default();
        self.remove(&gone);
    }

    fn remove(&mut self, threads: &[u32]) {
        for tid in threads {
            // Absent is what is wanted.
            let _ = self.carriers.remove(tid);
        }
    }
}
