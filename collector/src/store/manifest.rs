//! What is committed: the list of segments and what must outlive the log (batches seen, agents). One JSON file,
//! replaced atomically; a segment exists when it is named here. Also the repair files beside it.

use super::repair::Unwritten;
use super::seen::Seen;
use super::segment::Segment;
use crate::ingest::agent::AgentRecord;
use crate::losses::Losses;
use prost::Message;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;

/// The committed state of the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: u32,
    /// Logs of generations up to this one are in segments.
    pub written_generation: u64,
    /// Spans ever written to segments.
    pub spans_written: u64,
    pub segments: Vec<Segment>,
    pub seen: Seen,
    pub agents: BTreeMap<String, AgentRecord>,
}

/// Reads the manifest; `None` when there is none yet.
///
/// # Errors
/// When it cannot be read or is not one ([`io::ErrorKind::InvalidData`]).
pub fn read(directory: &Path) -> io::Result<Option<Manifest>> {
    let text = match fs::read(path_of(directory)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let manifest: Manifest = serde_json::from_slice(&text)?;
    if manifest.version != VERSION {
        let problem = format!(
            "the store has version {}, this program reads {VERSION}",
            manifest.version
        );
        return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
    }
    Ok(Some(manifest))
}

/// Replaces the manifest.
///
/// # Errors
/// The disk's; the former manifest is still in force then.
pub fn write(directory: &Path, mut manifest: Manifest) -> io::Result<()> {
    manifest.version = VERSION;
    replace(&path_of(directory), &serde_json::to_vec(&manifest)?)
}

pub fn path_of(directory: &Path) -> PathBuf {
    directory.join("manifest.json")
}

#[derive(Clone, PartialEq, Message)]
struct RepairFile {
    /// Span, parent, span, parent, ...
    #[prost(fixed64, repeated, tag = "1")]
    parents: Vec<u64>,
    /// From, to, from, to, ...: 16 bytes each.
    #[prost(bytes = "vec", tag = "2")]
    aliases: Vec<u8>,
}

/// Writes the repairs found while a generation waited.
///
/// # Errors
/// The disk's.
pub fn write_repairs(
    directory: &Path,
    generation: u64,
    now_unix_ns: u64,
    repairs: &Unwritten,
) -> io::Result<()> {
    let file = RepairFile {
        parents: repairs
            .parents
            .iter()
            .flat_map(|(span, parent)| [*span, *parent])
            .collect(),
        aliases: repairs
            .aliases
            .iter()
            .flat_map(|(from, to)| [*from, *to])
            .flat_map(u128::to_be_bytes)
            .collect(),
    };
    let content = file.encode_to_vec();
    let mut bytes = crc32fast::hash(&content).to_le_bytes().to_vec();
    bytes.extend(content);
    replace(
        &directory.join(format!(
            "repairs/{generation:012}-{}.bin",
            now_unix_ns / 1_000_000_000
        )),
        &bytes,
    )
}

/// Reads every repair file, oldest first, to `each` with its time (Unix ns). Damaged ones are counted and left out.
///
/// # Errors
/// When the directory cannot be read.
pub fn read_repairs(
    directory: &Path,
    losses: &Losses,
    mut each: impl FnMut(u64, Unwritten),
) -> io::Result<()> {
    for (time, path) in repair_files(directory)? {
        match fs::read(&path).ok().and_then(|bytes| decode_repairs(&bytes)) {
            Some(repairs) => each(time, repairs),
            None => losses.segments_damaged.add(1),
        }
    }
    Ok(())
}

/// Removes repair files from before `before_unix_ns`.
///
/// # Errors
/// When the directory cannot be read.
pub fn forget_repairs(directory: &Path, before_unix_ns: u64) -> io::Result<()> {
    for (time, path) in repair_files(directory)? {
        if time < before_unix_ns {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn repair_files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory.join("repairs"))? {
        let path = entry?.path();
        let time = path.file_name().and_then(|name| {
            name.to_str()?
                .strip_suffix(".bin")?
                .split_once('-')?
                .1
                .parse::<u64>()
                .ok()
        });
        files.extend(time.map(|seconds| (seconds.saturating_mul(1_000_000_000), path)));
    }
    files.sort_unstable();
    Ok(files)
}

fn decode_repairs(bytes: &[u8]) -> Option<Unwritten> {
    let (checksum, content) = bytes.split_first_chunk()?;
    if u32::from_le_bytes(*checksum) != crc32fast::hash(content) {
        return None;
    }
    let file = RepairFile::decode(content).ok()?;
    let ids: Vec<u128> = file
        .aliases
        .as_chunks::<16>()
        .0
        .iter()
        .map(|bytes| u128::from_be_bytes(*bytes))
        .collect();
    Some(Unwritten {
        parents: file
            .parents
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[span, parent]| (*span, *parent))
            .collect(),
        aliases: ids
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[from, to]| (*from, *to))
            .collect(),
    })
}

/// Writes a file so that after a crash it holds either its former content or all of the new.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairs_come_back_and_damaged_files_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("repairs")).unwrap();
        let repairs = Unwritten {
            parents: vec![(1, 2), (3, 4)],
            aliases: vec![(5, 6)],
        };
        write_repairs(directory.path(), 1, 7_000_000_000, &repairs).unwrap();
        write_repairs(directory.path(), 2, 9_000_000_000, &Unwritten::default()).unwrap();
        fs::write(directory.path().join("repairs/000000000003-9.bin"), b"torn").unwrap();
        let (mut read, losses) = (Vec::new(), Losses::default());
        read_repairs(directory.path(), &losses, |time, repairs| {
            read.push((time, repairs))
        })
        .unwrap();
        assert_eq!(
            read,
            [(7_000_000_000, repairs), (9_000_000_000, Unwritten::default())]
        );
        assert_eq!(losses.segments_damaged.get(), 1);
        forget_repairs(directory.path(), 8_000_000_000).unwrap();
        assert_eq!(fs::read_dir(directory.path().join("repairs")).unwrap().count(), 2);
    }

    #[test]
    fn the_manifest_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), None);
        let mut manifest = Manifest {
            version: VERSION,
            written_generation: 3,
            ..Manifest::default()
        };
        manifest.seen.insert(u64::MAX, 1, &Losses::default());
        write(directory.path(), manifest.clone()).unwrap();
        assert_eq!(read(directory.path()).unwrap(), Some(manifest));
        fs::write(path_of(directory.path()), "{").unwrap();
        assert!(read(directory.path()).is_err());
    }
}
