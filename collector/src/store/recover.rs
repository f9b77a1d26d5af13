//! Takes up what is in the store's directory. Enters: the directory as a crash, a full disk or a damaged file system
//! left it. Leaves: the state as it was when the last batch was acknowledged. Files no manifest names are removed;
//! damaged ones are put aside in `damaged/` and counted; logs are replayed.

use super::buffer::Generation;
use super::join::WINDOW_NS;
use super::manifest::{self, Manifest};
use super::rebuild;
use super::seen::Seen;
use super::segment::{Segment, read};
use super::state::State;
use super::wal::{self, Wal};
use super::{Clock, OpenError, Shared};
use crate::config::Config;
use crate::ingest::agent;
use crate::ingest::decode::{self, Accepted};
use crate::losses::Losses;
use prost::Message;
use rustc_hash::FxHashSet;
use spanhound_proto::v1;
use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::RwLock;

/// Opens the directory; returns what is shared and the log of the first new generation.
///
/// # Errors
/// When the directory cannot be created, locked, read or written.
pub fn open(config: Config, clock: Clock) -> Result<(Shared, Wal), OpenError> {
    let path = config.store.directory.clone();
    let unusable = |cause| OpenError::Directory {
        path: path.clone(),
        cause,
    };
    for name in ["segments", "wal", "repairs"] {
        fs::create_dir_all(path.join(name)).map_err(unusable)?;
    }
    let lock = fs::File::create(path.join("lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path }),
        Err(TryLockError::Error(cause)) => return Err(unusable(cause)),
    }
    let losses = Losses::default();
    let now_unix_ns = clock();
    let (state, wal) = recover(&config, now_unix_ns, &losses).map_err(unusable)?;
    Ok((
        Shared {
            config,
            losses,
            clock,
            state: RwLock::new(state),
            _lock: lock,
        },
        wal,
    ))
}

fn recover(config: &Config, now_unix_ns: u64, losses: &Losses) -> io::Result<(State, Wal)> {
    let directory = &config.store.directory;
    let (wal_directory, segments_directory) = (directory.join("wal"), directory.join("segments"));
    let mut manifest = rebuild::read_or_rebuild(directory, losses)?;
    remove_unnamed(&segments_directory, &manifest)?;
    put_damaged_aside(directory, &mut manifest, losses)?;
    let logs = wal::generations(&wal_directory)?;
    let next = logs
        .iter()
        .copied()
        .max()
        .unwrap_or(0)
        .max(manifest.written_generation)
        + 1;
    let written = manifest.written_generation;
    let mut state = State::new(manifest, next, config.store.join_window_ns());
    manifest::read_repairs(directory, losses, |time, repairs| {
        state.joins.repairs.restore(&repairs, time, losses);
    })?;
    state.joins.repairs.freeze(written, now_unix_ns);
    remember_recent(&segments_directory, &mut state, now_unix_ns, losses);
    for generation in logs {
        let path = wal::path_of(&wal_directory, generation);
        if generation <= written {
            fs::remove_file(path)?;
        } else {
            replay(&path, generation, &mut state, config, losses)?;
        }
    }
    state.active = Generation::new(next);
    let wal = Wal::create(&wal_directory, next)?;
    Ok((state, wal))
}

/// Brings one log's batches back as a sealed generation.
fn replay(
    path: &Path,
    generation: u64,
    state: &mut State,
    config: &Config,
    losses: &Losses,
) -> io::Result<()> {
    // What is refused now was refused and counted when it came.
    let counted = Losses::default();
    let retention_ns = u64::from(config.store.retention_hours) * 3_600_000_000_000;
    let mut in_log = Seen::default();
    state.active = Generation::new(generation);
    let damaged = wal::replay(path, |record| {
        let Ok(batch) = v1::Batch::decode(record.batch.as_slice()) else {
            losses.wal_undecodable_records.add(1);
            return;
        };
        let (run_id, sequence) = (batch.agent_run_id, batch.sequence);
        if sequence != 0 {
            if in_log.contains(run_id, sequence) {
                return;
            }
            in_log.insert(run_id, sequence, losses);
            state.seen.insert(run_id, sequence, losses);
        }
        let accepted = Accepted {
            now_unix_ns: record.received_unix_ns,
            retention_ns,
        };
        let spans = decode::decode(&batch, accepted, &counted).spans;
        state.accept(spans, agent::report(&batch), record.received_unix_ns, losses);
    })?;
    if damaged > 0 {
        losses.wal_damaged_bytes.add(damaged);
        tracing::warn!(path = %path.display(), bytes = damaged, "skipped torn or damaged bytes of the write-ahead log");
    }
    let mut sealed = std::mem::take(&mut state.active);
    sealed.sealed_unix_ns = sealed.last_received_unix_ns();
    tracing::info!(
        spans = sealed.spans.len(),
        generation,
        "replayed the write-ahead log"
    );
    state.sealed.push_back(sealed);
    Ok(())
}

/// Fills the join tables from the segments of the window, so that the other end of an exchange may still come.
fn remember_recent(directory: &Path, state: &mut State, now_unix_ns: u64, losses: &Losses) {
    let from_ns = now_unix_ns.saturating_sub(WINDOW_NS);
    let mut recent: Vec<_> = state
        .segments
        .iter()
        .filter(|segment| segment.last_start_unix_ns >= from_ns)
        .collect();
    recent.sort_by_key(|segment| segment.last_start_unix_ns);
    // They were settled before they were written: what there is no room for is no loss.
    let uncounted = Losses::default();
    for segment in recent {
        let read = read::all_spans(directory, segment, |span| {
            if span.start_unix_ns >= from_ns {
                state.joins.observe(&span, 0, now_unix_ns, &uncounted);
            }
        });
        if let Err(error) = read {
            losses.segment_read_errors.add(1);
            tracing::warn!(%error, "a recent segment could not be read for joining");
        }
    }
}

/// Removes what an interrupted write or removal left.
fn remove_unnamed(directory: &Path, manifest: &Manifest) -> io::Result<()> {
    let named: FxHashSet<PathBuf> = manifest
        .segments
        .iter()
        .flat_map(|segment| segment.paths(directory))
        .collect();
    for partition in fs::read_dir(directory)? {
        let partition = partition?.path();
        if !partition.is_dir() {
            continue;
        }
        for file in fs::read_dir(&partition)? {
            let file = file?.path();
            if !named.contains(&file) {
                fs::remove_file(&file)?;
            }
        }
        // Only succeeds when nothing is left in the partition.
        let _ = fs::remove_dir(&partition);
    }
    Ok(())
}

/// Moves segments that cannot be read to `damaged/` and goes on without them.
fn put_damaged_aside(directory: &Path, manifest: &mut Manifest, losses: &Losses) -> io::Result<()> {
    let segments_directory = directory.join("segments");
    let mut damaged = Vec::new();
    manifest.segments.retain(|segment| match read::check(&segments_directory, segment) {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, segment = segment.id, spans = segment.spans, "put a damaged segment aside");
            damaged.push(segment.clone());
            false
        }
    });
    for segment in &damaged {
        losses.segments_damaged.add(1);
        losses.spans_in_damaged_segments.add(segment.spans);
        put_aside(directory, segment)?;
    }
    if damaged.is_empty() {
        Ok(())
    } else {
        manifest::write(directory, manifest.clone())
    }
}

fn put_aside(directory: &Path, segment: &Segment) -> io::Result<()> {
    let aside = directory.join("damaged");
    fs::create_dir_all(&aside)?;
    for path in segment.paths(&directory.join("segments")) {
        let Some(name) = path.file_name().filter(|_| path.exists()) else {
            continue;
        };
        let partition = segment.id.split('/').next().unwrap_or_default();
        fs::rename(
            &path,
            aside.join(format!("{partition}-{}", name.to_string_lossy())),
        )?;
    }
    Ok(())
}
