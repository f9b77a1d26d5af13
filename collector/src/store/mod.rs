//! The embedded store. Enters: wire batches. Leaves: an answer once they are durable, and typed reads (rollups, points,
//! traces, agents). The road inside: log (`wal`) -> buffer in generations (`buffer`), joined on arrival (`join`,
//! `repair`) and settled after the join window (`call`) -> segments (`segment`), committed by `manifest`. One writer
//! thread changes the buffer, one maintenance thread writes segments and removes what is too old. Bounded: memory by
//! `store.memory_bytes`, disk by `store.retention_bytes`, waiting batches by [`MAX_WAITING`]. Absent on purpose: JSON
//! and HTTP (room `query`).

pub mod buffer;
pub mod call;
pub mod histogram;
pub mod join;
pub mod maintenance;
pub mod manifest;
pub mod merge;
pub mod node;
pub mod read;
pub mod rebuild;
pub mod recent;
pub mod recover;
pub mod repair;
pub mod rollup;
pub mod seen;
pub mod segment;
pub mod state;
pub mod summary;
pub mod wal;
pub mod writer;

use crate::config::Config;
use crate::ingest::decode::{self, Accepted};
use crate::ingest::{Keep, Kept, Refusal, agent};
use crate::losses::Losses;
use prost::Message;
use spanhound_proto::v1;
use state::State;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};
use writer::{Incoming, Job};

/// Batches that may wait for the writer.
const MAX_WAITING: usize = 64;

/// Unix nanoseconds; handed in so that tests decide what time it is.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store directory {path} is not usable: {cause}", path = path.display())]
    Directory { path: PathBuf, cause: std::io::Error },
    #[error("the store directory {path} is in use by another collector", path = path.display())]
    InUse { path: PathBuf },
}

/// What writer, maintenance and readers share.
pub struct Shared {
    pub config: Config,
    pub losses: Losses,
    pub clock: Clock,
    state: RwLock<State>,
    /// Held as long as the store is open, so that no second collector uses the directory.
    _lock: std::fs::File,
}

impl Shared {
    /// A panic while the lock was held leaves sums at worst one span off; reading on beats refusing everything.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn segments_directory(&self) -> PathBuf {
        self.config.store.directory.join("segments")
    }

    pub fn wal_directory(&self) -> PathBuf {
        self.config.store.directory.join("wal")
    }

    pub fn retention_ns(&self) -> u64 {
        u64::from(self.config.store.retention_hours) * 3_600_000_000_000
    }
}

/// The open store.
pub struct Store {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    threads: Vec<JoinHandle<()>>,
}

impl Store {
    /// Opens the directory, takes up what is in it and starts the two threads.
    ///
    /// # Errors
    /// [`OpenError`] when the directory cannot be used. Damaged files are no error: they are put aside and counted.
    pub fn open(config: Config, clock: Clock) -> Result<Self, OpenError> {
        let (shared, wal) = recover::open(config, clock)?;
        let shared = Arc::new(shared);
        let (jobs, incoming) = mpsc::channel(MAX_WAITING);
        let (work, works) = std::sync::mpsc::channel();
        let writer = writer::Writer::new(shared.clone(), wal, work);
        let maintenance = maintenance::Maintenance::new(shared.clone());
        let threads = [
            std::thread::Builder::new()
                .name("store-write".to_owned())
                .spawn(move || writer.run(incoming)),
            std::thread::Builder::new()
                .name("store-maintain".to_owned())
                .spawn(move || maintenance.run(works)),
        ];
        let started = threads.into_iter().collect::<Result<Vec<_>, _>>();
        let threads = started.map_err(|cause| OpenError::Directory {
            path: shared.config.store.directory.clone(),
            cause,
        })?;
        Ok(Self {
            shared,
            jobs,
            threads,
        })
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Settles, seals and hands over what is due. To be called a few times a second.
    pub async fn tick(&self) {
        // A stopped writer needs no ticks.
        let _ = self.jobs.send(Job::Tick).await;
    }

    /// Writes everything in memory to segments, counted as joined by now, and returns when that is done or has failed.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.jobs.send(Job::Flush(done)).await.is_ok() {
            // An error says that the attempt failed; the log still has everything.
            let _ = written.await;
        }
    }

    /// Stops both threads once what is on its way to segments is written. The rest stays in the log: it may still be
    /// joined after the next start.
    pub async fn close(self) {
        drop(self.jobs);
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            threads
                .into_iter()
                .map(JoinHandle::join)
                .filter(Result::is_err)
                .count()
        });
        if joined.await.unwrap_or(1) > 0 {
            tracing::error!("a thread of the store had panicked");
        }
    }
}

impl Keep for Store {
    async fn keep(&self, batch: v1::Batch) -> Result<Kept, Refusal> {
        let shared = self.shared.clone();
        if let Err(error) = decode::check_bounds(&batch) {
            shared.losses.batches_too_large.add(1);
            return Err(error.into());
        }
        let prepared = tokio::task::spawn_blocking(move || {
            let now_unix_ns = (shared.clock)();
            let accepted = Accepted {
                now_unix_ns,
                retention_ns: shared.retention_ns(),
            };
            let decoded = decode::decode(&batch, accepted, &shared.losses);
            (
                decoded,
                agent::report(&batch),
                batch.encode_to_vec(),
                (batch.agent_run_id, batch.sequence),
            )
        });
        let (decoded, report, encoded, (run_id, sequence)) = prepared.await.map_err(|_| Refusal::Stopping)?;
        let (reply, answer) = oneshot::channel();
        let incoming = Incoming {
            run_id,
            sequence,
            spans: decoded.spans,
            report,
            encoded,
            reply,
        };
        self.jobs
            .send(Job::Append(Box::new(incoming)))
            .await
            .map_err(|_| Refusal::Stopping)?;
        let repeated = answer.await.map_err(|_| Refusal::Stopping)??;
        Ok(Kept {
            refused: decoded.refused,
            repeated,
        })
    }
}
