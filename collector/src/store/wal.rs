//! The write-ahead log: what is acknowledged is in here, flushed to the disk, until a segment holds it. One file a
//! generation of the buffer. Record: magic, length, CRC-32 of what follows (u32 each, little endian), time of receipt
//! (u64, Unix ns), the batch as protobuf. Enters: encoded batches. Leaves at start: every whole record; a torn tail or
//! damaged bytes are skipped to the next whole record and reported as a number of bytes. Bounded: a record's length.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: u32 = 0x5350_4831;
const HEADER_BYTES: usize = 12;
/// A batch and its time of receipt.
const MAX_RECORD_BYTES: usize = crate::ingest::decode::MAX_BATCH_BYTES + 64;

/// One batch as logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub received_unix_ns: u64,
    /// `spanhound.v1.Batch`, encoded.
    pub batch: Vec<u8>,
}

/// The file of one generation, open for appending.
#[derive(Debug)]
pub struct Wal {
    file: File,
    /// Everything before is durable and whole.
    durable_bytes: u64,
    pending: Vec<u8>,
}

impl Wal {
    /// Starts the log of a new generation.
    ///
    /// # Errors
    /// When the file exists or cannot be created and made durable.
    pub fn create(directory: &Path, generation: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path_of(directory, generation))?;
        File::open(directory)?.sync_all()?;
        Ok(Self {
            file,
            durable_bytes: 0,
            pending: Vec::new(),
        })
    }

    /// Adds a record to those the next [`Wal::commit`] writes.
    pub fn append(&mut self, received_unix_ns: u64, batch: &[u8]) {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&received_unix_ns.to_le_bytes());
        checksum.update(batch);
        self.pending.extend_from_slice(&MAGIC.to_le_bytes());
        self.pending
            .extend_from_slice(&((batch.len() + 8) as u32).to_le_bytes());
        self.pending.extend_from_slice(&checksum.finalize().to_le_bytes());
        self.pending.extend_from_slice(&received_unix_ns.to_le_bytes());
        self.pending.extend_from_slice(batch);
    }

    /// Writes what was appended and waits until the disk has it. On failure nothing of it counts and the file is cut
    /// back to what it held before.
    ///
    /// # Errors
    /// The disk's, `StorageFull` among them.
    pub fn commit(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let written = self.file.write_all(&pending).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.durable_bytes += pending.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A tail that cannot be cut off either is skipped at start like any torn one, or stored: it was whole
                // but never acknowledged, and its repetition is recognised by its sequence number.
                self.file.set_len(self.durable_bytes)?;
                self.file.seek(SeekFrom::Start(self.durable_bytes))?;
                Err(error)
            }
        }
    }

    pub fn len_bytes(&self) -> u64 {
        self.durable_bytes
    }
}

/// The log's file name of a generation.
pub fn path_of(directory: &Path, generation: u64) -> PathBuf {
    directory.join(format!("{generation:012}.wal"))
}

/// The generations that have a log in the directory, oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn generations(directory: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".wal")?.parse::<u64>().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads every whole record of a log to `each`; returns the number of bytes that were no whole record.
///
/// # Errors
/// When the file cannot be read.
pub fn replay(path: &Path, mut each: impl FnMut(Record)) -> io::Result<u64> {
    let mut content = Vec::new();
    File::open(path)?.read_to_end(&mut content)?;
    let (mut position, mut damaged_bytes) = (0, 0);
    while position < content.len() {
        match parse(&content[position..]) {
            Some((record, bytes)) => {
                each(record);
                position += bytes;
            }
            None => {
                let next = content[position + 1..]
                    .windows(4)
                    .position(|window| window == MAGIC.to_le_bytes());
                let skipped = next.map_or(content.len() - position, |offset| offset + 1);
                damaged_bytes += skipped as u64;
                position += skipped;
            }
        }
    }
    Ok(damaged_bytes)
}

fn parse(bytes: &[u8]) -> Option<(Record, usize)> {
    let word = |index: usize| {
        Some(u32::from_le_bytes(
            bytes.get(index * 4..index * 4 + 4)?.try_into().ok()?,
        ))
    };
    let length = word(1)? as usize;
    if word(0)? != MAGIC || !(8..=MAX_RECORD_BYTES).contains(&length) {
        return None;
    }
    let body = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?;
    if crc32fast::hash(body) != word(2)? {
        return None;
    }
    let (time, batch) = body.split_at(8);
    let received_unix_ns = u64::from_le_bytes(time.try_into().ok()?);
    Some((
        Record {
            received_unix_ns,
            batch: batch.to_vec(),
        },
        HEADER_BYTES + length,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(batches: &[&[u8]]) -> (tempfile::TempDir, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let mut wal = Wal::create(directory.path(), 3).unwrap();
        for (index, batch) in batches.iter().enumerate() {
            wal.append(index as u64, batch);
        }
        wal.commit().unwrap();
        let content = std::fs::read(path_of(directory.path(), 3)).unwrap();
        assert_eq!(wal.len_bytes(), content.len() as u64);
        (directory, content)
    }

    fn read(directory: &Path) -> (Vec<Vec<u8>>, u64) {
        let mut batches = Vec::new();
        let damaged = replay(&path_of(directory, 3), |record| batches.push(record.batch)).unwrap();
        (batches, damaged)
    }

    #[test]
    fn whole_records_survive_every_torn_tail() {
        let (directory, content) = written(&[b"first", b"second", b"third"]);
        assert_eq!(generations(directory.path()).unwrap(), [3]);
        let whole = [HEADER_BYTES + 8 + 5, 2 * (HEADER_BYTES + 8) + 11, content.len()];
        for length in 0..=content.len() {
            std::fs::write(path_of(directory.path(), 3), &content[..length]).unwrap();
            let (batches, damaged) = read(directory.path());
            let expected = whole.iter().filter(|end| **end <= length).count();
            assert_eq!(batches.len(), expected, "cut at {length}");
            let end = if expected == 0 { 0 } else { whole[expected - 1] };
            assert_eq!(damaged, (length - end) as u64);
        }
    }

    #[test]
    fn one_flipped_byte_loses_one_record() {
        let (directory, content) = written(&[b"first", b"second", b"third"]);
        for position in 0..content.len() {
            let mut damaged = content.clone();
            damaged[position] ^= 0x40;
            std::fs::write(path_of(directory.path(), 3), &damaged).unwrap();
            let (batches, lost) = read(directory.path());
            assert_eq!(batches.len(), 2, "flipped at {position}");
            assert!(lost > 0);
        }
    }

    #[test]
    fn a_full_disk_leaves_what_was_durable() {
        // /dev/full takes nothing, as a full disk.
        let mut wal = Wal {
            file: OpenOptions::new().write(true).open("/dev/full").unwrap(),
            durable_bytes: 0,
            pending: Vec::new(),
        };
        wal.append(1, b"batch");
        assert!(wal.commit().is_err());
        assert!(wal.pending.is_empty());
    }
}
