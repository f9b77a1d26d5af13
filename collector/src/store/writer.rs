//! The writer: the only thread that appends to the log and to the buffer. Enters: decoded batches. Leaves: a reply once
//! the batch is durable, generations for maintenance. Batches that wait together share one flush of the disk.

use super::maintenance::Work;
use super::wal::Wal;
use super::{Shared, buffer::Generation};
use crate::ingest::Refusal;
use crate::ingest::agent::Report;
use crate::span::Span;
use rustc_hash::FxHashSet;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use tokio::sync::{mpsc, oneshot};

/// Batches that share a flush, at most.
const MAX_GROUP: usize = 64;
const MAINTAIN_EVERY_NS: u64 = 10_000_000_000;

/// What the writer is asked to do.
pub enum Job {
    Append(Box<Incoming>),
    Tick,
    /// Write everything in memory to segments; answered when that is done.
    Flush(oneshot::Sender<()>),
}

/// A decoded batch and who waits for it.
pub struct Incoming {
    pub run_id: u64,
    /// 0 for batches that are never recognised as repeated.
    pub sequence: u64,
    pub spans: Vec<Span>,
    pub report: Option<Report>,
    pub encoded: Vec<u8>,
    /// Answers whether the batch had been stored before.
    pub reply: oneshot::Sender<Result<bool, Refusal>>,
}

/// The writer thread's own.
pub struct Writer {
    shared: Arc<Shared>,
    wal: Wal,
    work: Sender<Work>,
    maintained_unix_ns: u64,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, wal: Wal, work: Sender<Work>) -> Self {
        Self {
            shared,
            wal,
            work,
            maintained_unix_ns: 0,
        }
    }

    /// Until every sender is gone.
    pub fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let (mut group, mut then) = (Vec::new(), Some(first));
            while let Some(Job::Append(incoming)) = then {
                group.push(*incoming);
                then = if group.len() < MAX_GROUP {
                    jobs.try_recv().ok()
                } else {
                    None
                };
            }
            self.append(group);
            match then {
                Some(Job::Flush(done)) => self.flush(done),
                Some(Job::Tick) => self.tick(),
                Some(Job::Append(_)) | None => {}
            }
        }
    }

    fn append(&mut self, group: Vec<Incoming>) {
        if group.is_empty() {
            return;
        }
        let now_unix_ns = (self.shared.clock)();
        let mut fresh = Vec::new();
        {
            let state = self.shared.read();
            let mut bytes = state.buffered_bytes();
            let mut in_group = FxHashSet::default();
            for incoming in group {
                let key = (incoming.run_id, incoming.sequence);
                if incoming.sequence != 0 && (state.seen.contains(key.0, key.1) || in_group.contains(&key)) {
                    self.shared.losses.batches_repeated.add(1);
                    // In the group: durable when the group is; a failure of the group is answered to the first only,
                    // so the repetition is refused for another try.
                    let answer = if in_group.contains(&key) {
                        Err(Refusal::Memory)
                    } else {
                        Ok(true)
                    };
                    let _ = incoming.reply.send(answer);
                    continue;
                }
                if bytes > self.shared.config.store.memory_bytes {
                    self.shared.losses.batches_refused_memory.add(1);
                    let _ = incoming.reply.send(Err(Refusal::Memory));
                    continue;
                }
                bytes += incoming.encoded.len();
                in_group.insert(key);
                self.wal.append(now_unix_ns, &incoming.encoded);
                fresh.push(incoming);
            }
        }
        if fresh.is_empty() {
            return;
        }
        if let Err(error) = self.wal.commit() {
            tracing::warn!(%error, batches = fresh.len(), "the write-ahead log takes no more; batches are refused until it does");
            self.shared.losses.batches_refused_disk.add(fresh.len() as u64);
            for incoming in fresh {
                let _ = incoming.reply.send(Err(Refusal::Disk(error.to_string())));
            }
            return;
        }
        let mut replies = Vec::with_capacity(fresh.len());
        {
            let mut state = self.shared.write();
            for incoming in fresh {
                if incoming.sequence != 0 {
                    state
                        .seen
                        .insert(incoming.run_id, incoming.sequence, &self.shared.losses);
                }
                state.accept(incoming.spans, incoming.report, now_unix_ns, &self.shared.losses);
                replies.push(incoming.reply);
            }
        }
        for reply in replies {
            // The caller may have gone; its batch is stored and recognised when it comes again.
            let _ = reply.send(Ok(false));
        }
        self.seal_when_due(now_unix_ns);
    }

    fn tick(&mut self) {
        let now_unix_ns = (self.shared.clock)();
        let window_ns = self.shared.config.store.join_window_ns();
        {
            let mut state = self.shared.write();
            let state = &mut *state;
            let before = now_unix_ns.saturating_sub(window_ns);
            for generation in state.sealed.iter_mut().chain([&mut state.active]) {
                generation.settle(before, &state.joins, &self.shared.config, &self.shared.losses);
            }
            state.joins.turn(now_unix_ns);
        }
        self.freeze_settled();
        self.seal_when_due(now_unix_ns);
        if now_unix_ns.saturating_sub(self.maintained_unix_ns) >= MAINTAIN_EVERY_NS {
            self.maintained_unix_ns = now_unix_ns;
            self.hand_over(Work::Maintain);
        }
    }

    fn flush(&mut self, done: oneshot::Sender<()>) {
        let now_unix_ns = (self.shared.clock)();
        self.seal(now_unix_ns);
        {
            let mut state = self.shared.write();
            let state = &mut *state;
            for generation in &mut state.sealed {
                generation.settle(u64::MAX, &state.joins, &self.shared.config, &self.shared.losses);
            }
        }
        self.freeze_settled();
        self.hand_over(Work::Answer(done));
    }

    fn seal_when_due(&mut self, now_unix_ns: u64) {
        let store = &self.shared.config.store;
        let due = {
            let active = &self.shared.read().active;
            let age_ns = now_unix_ns.saturating_sub(active.opened_unix_ns);
            let old = age_ns >= u64::from(store.segment_seconds) * 1_000_000_000;
            (old && !active.spans.is_empty())
                || active.bytes >= store.segment_bytes
                || self.wal.len_bytes() >= store.segment_bytes as u64
        };
        if due {
            self.seal(now_unix_ns);
        }
    }

    /// Starts a new generation with its own log.
    fn seal(&mut self, now_unix_ns: u64) {
        let id = self.shared.read().active.id;
        if self.wal.len_bytes() == 0 {
            return;
        }
        match Wal::create(&self.shared.wal_directory(), id + 1) {
            Ok(wal) => self.wal = wal,
            Err(error) => {
                tracing::warn!(%error, "no new write-ahead log can be started; the current one goes on");
                return;
            }
        }
        let mut state = self.shared.write();
        let mut sealed = std::mem::replace(&mut state.active, Generation::new(id + 1));
        sealed.sealed_unix_ns = now_unix_ns;
        state.sealed.push_back(sealed);
    }

    /// Hands the oldest generations over to maintenance as soon as all their spans are settled.
    fn freeze_settled(&mut self) {
        loop {
            let (frozen, repairs) = {
                let mut state = self.shared.write();
                let Some(mut generation) = state.sealed.pop_front_if(|oldest| oldest.is_settled()) else {
                    return;
                };
                let repairs = &mut state.joins.repairs;
                repairs.freeze(generation.id, generation.sealed_unix_ns);
                for span in &mut generation.spans {
                    repairs.apply(span);
                }
                let unwritten = repairs.take_unwritten();
                let frozen = Arc::new(generation);
                state.frozen.push(frozen.clone());
                (frozen, unwritten)
            };
            self.hand_over(Work::Write {
                generation: frozen,
                repairs,
            });
        }
    }

    fn hand_over(&self, work: Work) {
        if self.work.send(work).is_err() {
            tracing::error!("maintenance has stopped; segments are not written until the next start");
        }
    }
}
