//! Maintenance: writes frozen generations as segments and commits them, and removes segments that are too old or too
//! many. Enters: work from the writer. Bounded: the generations that wait are in the buffer's bound. A write that fails
//! (full disk) is repeated; retention goes on meanwhile, since it may make room.

use super::buffer::Generation;
use super::repair::Unwritten;
use super::segment::{Segment, write};
use super::{Shared, manifest, merge, wal};
use rustc_hash::FxHashSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::oneshot;

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What maintenance is asked to do, in order.
pub enum Work {
    Write {
        generation: Arc<Generation>,
        repairs: Unwritten,
    },
    Maintain,
    /// Answer when everything before is done or has failed once.
    Answer(oneshot::Sender<()>),
}

/// The maintenance thread's own.
pub struct Maintenance {
    shared: Arc<Shared>,
    /// What could not be written yet, oldest first.
    waiting: Vec<(Arc<Generation>, Unwritten)>,
    /// Replaced by merged ones; removed at the next round, when the queries that began before have ended.
    replaced: Vec<Arc<Segment>>,
    /// Ids that a merge failed on.
    unmergeable: FxHashSet<String>,
}

impl Maintenance {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            waiting: Vec::new(),
            replaced: Vec::new(),
            unmergeable: FxHashSet::default(),
        }
    }

    /// Until the writer is gone.
    pub fn run(mut self, work: Receiver<Work>) {
        loop {
            let next = if self.waiting.is_empty() {
                work.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                work.recv_timeout(RETRY_AFTER)
            };
            match next {
                Ok(Work::Write { generation, repairs }) => self.waiting.push((generation, repairs)),
                Ok(Work::Maintain) => {
                    self.retain();
                    self.merge_some();
                }
                Ok(Work::Answer(done)) => {
                    self.write_waiting();
                    // Nobody waits any more when the collector was told to stop twice.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.retain(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.write_waiting();
        }
    }

    fn write_waiting(&mut self) {
        while let Some((generation, repairs)) = self.waiting.first() {
            if let Err(error) = self.write(generation, repairs) {
                self.shared.losses.segment_write_errors.add(1);
                tracing::warn!(%error, generation = generation.id, "a segment could not be written; trying again");
                return;
            }
            self.waiting.remove(0);
        }
    }

    fn write(&self, generation: &Arc<Generation>, repairs: &Unwritten) -> anyhow::Result<()> {
        let directory = &self.shared.config.store.directory;
        if *repairs != Unwritten::default() {
            manifest::write_repairs(directory, generation.id, (self.shared.clock)(), repairs)?;
        }
        let segments_directory = self.shared.segments_directory();
        let segments = write::write_generation(&segments_directory, generation)?;
        if let Err(error) = self.commit(generation, &segments) {
            segments
                .iter()
                .for_each(|segment| write::remove(&segments_directory, segment));
            return Err(error.into());
        }
        match std::fs::remove_file(wal::path_of(&self.shared.wal_directory(), generation.id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a written log stays; it is removed at the next start");
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes the segments count and the generation leave the memory, in one step for readers.
    fn commit(&self, generation: &Arc<Generation>, segments: &[Segment]) -> io::Result<()> {
        let mut manifest = self.shared.read().manifest();
        manifest.written_generation = generation.id;
        manifest.spans_written += generation.spans.len() as u64;
        manifest.segments.extend(segments.iter().cloned());
        for (agent, spans) in &generation.spans_by_agent {
            if let Some(record) = manifest.agents.get_mut(agent) {
                record.spans_written += spans;
            }
        }
        manifest::write(&self.shared.config.store.directory, manifest)?;
        let mut state = self.shared.write();
        state.frozen.retain(|frozen| frozen.id != generation.id);
        state.segments.extend(segments.iter().cloned().map(Arc::new));
        state.written_generation = generation.id;
        state.spans_written += generation.spans.len() as u64;
        for (agent, spans) in &generation.spans_by_agent {
            if let Some(record) = state.agents.get_mut(agent) {
                record.spans_written += spans;
            }
        }
        Ok(())
    }

    /// One merge a round: maintenance has to stay free for what waits to be written.
    fn merge_some(&mut self) {
        let directory = self.shared.segments_directory();
        self.replaced
            .drain(..)
            .for_each(|segment| write::remove(&directory, &segment));
        let mut segments = self.shared.read().segments.clone();
        segments.retain(|segment| !self.unmergeable.contains(&segment.id));
        let Some(run) = merge::due(&segments, (self.shared.clock)()).filter(|_| self.waiting.is_empty())
        else {
            return;
        };
        match merge::merge(&self.shared, &run) {
            Ok(()) => self.replaced = run,
            Err(error) => {
                self.shared.losses.segment_merge_errors.add(1);
                tracing::warn!(%error, "segments could not be merged; they stay as they are");
                self.unmergeable
                    .extend(run.iter().map(|segment| segment.id.clone()));
            }
        }
    }

    /// Removes segments whose last span is older than the retention, then the oldest while there is too much.
    fn retain(&self) {
        let now_unix_ns = (self.shared.clock)();
        let store = &self.shared.config.store;
        let oldest_ns = now_unix_ns.saturating_sub(self.shared.retention_ns());
        let mut segments = self.shared.read().segments.clone();
        segments.sort_by_key(|segment| segment.last_start_unix_ns);
        let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let end = segments.iter().position(|segment| {
            let keep = segment.last_start_unix_ns >= oldest_ns && bytes <= store.retention_bytes;
            bytes -= segment.bytes;
            keep
        });
        let removed = &segments[..end.unwrap_or(segments.len())];
        if !removed.is_empty() {
            let mut manifest = self.shared.read().manifest();
            manifest
                .segments
                .retain(|segment| !removed.iter().any(|gone| gone.id == segment.id));
            // A full disk may refuse the smaller manifest too. The files go all the same: a start without them
            // counts them as damaged, which is better than a store that cannot free its disk.
            if let Err(error) = manifest::write(&store.directory, manifest) {
                tracing::warn!(%error, "the manifest could not be replaced while removing old segments");
            }
            self.shared
                .write()
                .segments
                .retain(|segment| !removed.iter().any(|gone| gone.id == segment.id));
            let directory = self.shared.segments_directory();
            removed
                .iter()
                .for_each(|segment| write::remove(&directory, segment));
            tracing::info!(segments = removed.len(), "removed what is past retention");
        }
        let passing_ns = u64::from(store.segment_seconds) * 2_000_000_000 + 60_000_000_000;
        let mut state = self.shared.write();
        // Not before what they repair has been written, however long that takes.
        let oldest_buffered_ns = state
            .generations()
            .map(|buffered| buffered.opened_unix_ns)
            .filter(|opened| *opened > 0)
            .min();
        let passing_before_ns = now_unix_ns
            .saturating_sub(passing_ns)
            .min(oldest_buffered_ns.unwrap_or(u64::MAX));
        state.joins.repairs.forget(passing_before_ns, oldest_ns);
        drop(state);
        if let Err(error) = manifest::forget_repairs(&store.directory, oldest_ns) {
            tracing::warn!(%error, "old repair files could not be removed");
        }
    }
}
