//! What waits for longer than memory lasts: requests in a file, until the other end is back, also over a restart.
//!
//! Enters: requests that memory has no room for. Leaves: the same, oldest first. Bounded: [`Settings::disk_bytes`] a file;
//! the oldest make room. Deliberately absent: `fsync`. A power cut may cost what was written last; elements carry checksums,
//! so that nothing else is taken for a request.
//!
//! Writing and reading hold up the thread of the exporters, and nobody else.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hyper::body::Bytes;
use queue_file::QueueFile;
use tracing::{info, warn};

use super::Request;

/// The number of spans in front of each request, little-endian.
const SPANS_BYTES: usize = 4;
/// What the file adds to a request's bytes (header, footer and the number of spans), rounded up.
const ELEMENT_BYTES: u64 = 64;

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Requests kept in memory while the other end is away, for each exporter.
    pub memory_bytes: usize,
    /// Where those go that memory has no room for; empty for nowhere.
    pub directory: PathBuf,
    /// Kept there, for each exporter.
    pub disk_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_bytes: 16 * 1024 * 1024,
            directory: PathBuf::from("/var/lib/spanhound-agent"),
            disk_bytes: 256 * 1024 * 1024,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Queue(#[from] queue_file::Error),
    #[error("a request of {bytes} bytes is larger than buffer.disk_bytes")]
    TooLarge { bytes: u64 },
}

/// Room for all exporters of one agent; the directory is its own while the value lives.
pub struct Buffers {
    settings: Settings,
    /// Locked: another agent on the same host must not write into the same files. `None` without a directory.
    lock: Option<File>,
}

/// One exporter's room for what waits.
pub struct Buffer {
    pub(super) memory_bytes: usize,
    pub(super) spool: Option<Spool>,
}

impl Buffers {
    /// Where the directory cannot be used the log says why, and memory has to do.
    pub fn open(settings: &Settings) -> Self {
        let path = &settings.directory;
        let lock = if path.as_os_str().is_empty() {
            None
        } else {
            lock(path)
                .inspect_err(|error| {
                    let directory = path.display();
                    warn!(%directory, %error, "spans that wait for their receiver are kept in memory only");
                })
                .ok()
        };
        Self {
            settings: settings.clone(),
            lock,
        }
    }

    /// `name` is that of the exporter's [`Door`](super::Door).
    pub fn of(&self, name: &str) -> Buffer {
        let Settings {
            memory_bytes,
            directory,
            disk_bytes,
        } = &self.settings;
        Buffer {
            memory_bytes: *memory_bytes,
            spool: self
                .lock
                .as_ref()
                .map(|_| Spool::new(directory.join(name), *disk_bytes)),
        }
    }
}

fn lock(path: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let directory = File::open(path)?;
    directory.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::other("another agent uses it"),
        TryLockError::Error(error) => error,
    })?;
    Ok(directory)
}

/// One exporter's file. It exists only while something is in it.
pub(super) struct Spool {
    path: PathBuf,
    disk_bytes: u64,
    file: Option<QueueFile>,
    /// Bytes of a file that could not be read, since last asked.
    unreadable_bytes: u64,
}

impl Spool {
    fn new(path: PathBuf, disk_bytes: u64) -> Self {
        let mut spool = Self {
            path,
            disk_bytes,
            file: None,
            unreadable_bytes: 0,
        };
        if spool.path.exists() {
            match open(&spool.path) {
                Ok(file) => {
                    info!(path = %spool.path.display(), requests = file.size(), "an earlier run left spans to be sent");
                    spool.file = Some(file);
                }
                Err(error) => spool.start_over(&error),
            }
        }
        spool
    }

    pub(super) fn is_empty(&self) -> bool {
        self.file.as_ref().is_none_or(QueueFile::is_empty)
    }

    pub(super) fn take_unreadable_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.unreadable_bytes)
    }

    /// Keeps a request; answers how many spans of older ones had to go for it.
    pub(super) fn put(&mut self, request: &Request) -> Result<usize, SpoolError> {
        let bytes = request.bytes.len() as u64 + ELEMENT_BYTES;
        if bytes > self.disk_bytes {
            return Err(SpoolError::TooLarge { bytes });
        }
        let mut dropped = 0;
        while let Some(file) = &self.file
            && file.used_bytes() + bytes > self.disk_bytes
            && let Some(oldest) = self.take()
        {
            dropped += oldest.spans;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(&self.path)?),
        };
        let spans = u32::try_from(request.spans).unwrap_or(u32::MAX);
        file.add(&[&spans.to_le_bytes(), &request.bytes[..]].concat())?;
        Ok(dropped)
    }

    /// The oldest. What cannot be read is given up as a whole.
    pub(super) fn take(&mut self) -> Option<Request> {
        let file = self.file.as_mut()?;
        let taken = file.peek().and_then(|element| file.remove().map(|()| element));
        match taken {
            Ok(Some(element)) if element.len() >= SPANS_BYTES => {
                if file.is_empty() {
                    self.remove();
                }
                let bytes = Bytes::from(element);
                let spans = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                Some(Request {
                    spans: spans as usize,
                    bytes: bytes.slice(SPANS_BYTES..),
                })
            }
            Ok(Some(_)) => {
                self.start_over(&"an element too short");
                None
            }
            Ok(None) => {
                self.remove();
                None
            }
            Err(error) => {
                self.start_over(&error);
                None
            }
        }
    }

    fn start_over(&mut self, error: &dyn std::fmt::Display) {
        let bytes = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        warn!(path = %self.path.display(), %error, bytes, "cannot read the spans kept on disk; they are given up");
        self.unreadable_bytes += bytes;
        self.remove();
    }

    fn remove(&mut self) {
        self.file = None;
        if let Err(error) = std::fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "cannot remove the file of spans that waited");
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self.file.is_some() && self.is_empty() {
            self.remove();
        }
    }
}

fn open(path: &Path) -> Result<QueueFile, SpoolError> {
    let mut file = QueueFile::open(path)?;
    // Statements and addresses are nobody else's business, whoever made the directory.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    file.set_sync_writes(false);
    file.set_overwrite_on_remove(false);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("spanhound-spool-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }

        fn settings(&self, disk_bytes: u64) -> Settings {
            Settings {
                directory: self.0.clone(),
                disk_bytes,
                ..Settings::default()
            }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn request(number: u8, bytes: usize) -> Request {
        Request {
            spans: usize::from(number),
            bytes: Bytes::from(vec![number; bytes]),
        }
    }

    fn taken(spool: &mut Spool) -> Vec<usize> {
        std::iter::from_fn(|| spool.take())
            .inspect(|request| {
                assert!(
                    request
                        .bytes
                        .iter()
                        .all(|byte| usize::from(*byte) == request.spans)
                )
            })
            .map(|request| request.spans)
            .collect()
    }

    #[test]
    fn what_was_kept_outlives_the_agent_and_leaves_no_file_once_taken() {
        let place = Place::new("outlives");
        let settings = place.settings(1 << 20);
        for number in [1, 2] {
            let mut spool = Buffers::open(&settings).of("collector").spool.unwrap();
            assert_eq!(spool.put(&request(number, 1_000)).unwrap(), 0);
        }
        let mode = std::fs::metadata(place.0.join("collector"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let mut spool = Buffers::open(&settings).of("collector").spool.unwrap();
        assert_eq!(taken(&mut spool), [1, 2]);
        assert!(spool.is_empty());
        assert!(!place.0.join("collector").exists());
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let place = Place::new("bounded");
        let mut spool = Buffers::open(&place.settings(20_000)).of("otlp").spool.unwrap();
        let dropped: usize = (1..=40).map(|n| spool.put(&request(n, 900)).unwrap()).sum();
        assert!(std::fs::metadata(place.0.join("otlp")).unwrap().len() <= 2 * 20_000);
        let left = taken(&mut spool);
        assert!(left.len() > 10, "{left:?}");
        assert_eq!(left.last(), Some(&40));
        assert_eq!(dropped + left.iter().sum::<usize>(), (1..=40).sum::<usize>());
        let refused = spool.put(&request(1, 30_000));
        assert!(matches!(refused, Err(SpoolError::TooLarge { .. })), "{refused:?}");
    }

    #[test]
    fn a_damaged_file_is_counted_and_given_up() {
        let place = Place::new("damaged");
        let settings = place.settings(1 << 20);
        for damage in [0_usize, 200, 900] {
            let mut spool = Buffers::open(&settings).of("collector").spool.unwrap();
            for number in 1..=3 {
                spool.put(&request(number, 500)).unwrap();
            }
            drop(spool);
            let path = place.0.join("collector");
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[damage..].fill(0xa5);
            std::fs::write(&path, bytes).unwrap();
            let mut spool = Buffers::open(&settings).of("collector").spool.unwrap();
            let read = taken(&mut spool).len();
            assert!(read < 3);
            assert!(spool.take_unreadable_bytes() > 0, "damaged from byte {damage}");
            spool.put(&request(9, 10)).unwrap();
            assert_eq!(taken(&mut spool), [9]);
        }
    }

    #[test]
    fn two_agents_do_not_share_a_directory_and_a_bad_one_is_no_reason_to_stop() {
        let place = Place::new("shared");
        let first = Buffers::open(&place.settings(1 << 20));
        assert!(first.of("collector").spool.is_some());
        assert!(
            Buffers::open(&place.settings(1 << 20))
                .of("collector")
                .spool
                .is_none()
        );
        let nowhere = Settings {
            directory: PathBuf::from("/proc/nowhere"),
            ..Settings::default()
        };
        assert!(Buffers::open(&nowhere).of("collector").spool.is_none());
    }
}
