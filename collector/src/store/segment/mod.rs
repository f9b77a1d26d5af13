//! Segments: spans that no longer change, as files DuckDB, ClickHouse or Polars read as well. Enters: a settled, frozen
//! generation. Leaves: per time partition `ID.spans.parquet`, `ID.points.parquet` and `ID.rollup`, and typed reads of
//! them. A segment counts only once the manifest names it. Bounded: 100,000 rows a row group, 100,000 rows a row
//! group being what a read holds in memory at a time. Absent on purpose: the list of segments (see `manifest`).

pub mod columns;
pub mod point;
pub mod read;
pub mod rollup_file;
pub mod schema;
pub mod write;

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Width of a time partition.
pub const PARTITION_NS: u64 = 3_600_000_000_000;

/// Why a segment cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    #[error("{path}: {cause}", path = path.display())]
    Io { path: PathBuf, cause: std::io::Error },
    #[error("{path}: {cause}", path = path.display())]
    Parquet {
        path: PathBuf,
        cause: parquet::errors::ParquetError,
    },
    #[error("{path}: {cause}", path = path.display())]
    Arrow {
        path: PathBuf,
        cause: arrow::error::ArrowError,
    },
    #[error("{path}: damaged: {problem}", path = path.display())]
    Damaged { path: PathBuf, problem: &'static str },
}

impl SegmentError {
    /// The file is not there: retention removed it while a query was on its way.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound)
    }
}

/// What the manifest knows of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Partition directory and generation, e.g. `2026-11-22T11/000000000012`; of a merged segment the first and the last
    /// generation, `2026-11-22T11/000000000012-000000000034`.
    pub id: String,
    pub spans: u64,
    pub points: u64,
    pub bytes: u64,
    /// Start of the first and of the last span to start, Unix ns.
    pub first_start_unix_ns: u64,
    pub last_start_unix_ns: u64,
}

impl Segment {
    pub fn spans_path(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.spans.parquet", self.id))
    }

    pub fn points_path(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.points.parquet", self.id))
    }

    pub fn rollup_path(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.rollup", self.id))
    }

    /// The partition's directory name.
    pub fn partition(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }

    /// The first and the last generation in the segment; 0 for a name of no sense.
    pub fn generations(&self) -> (u64, u64) {
        let name = self.id.rsplit('/').next().unwrap_or_default();
        let (first, last) = name.split_once('-').unwrap_or((name, name));
        (first.parse().unwrap_or(0), last.parse().unwrap_or(0))
    }

    /// Whether a span may have started in `from_ns..to_ns`.
    pub fn overlaps(&self, from_ns: u64, to_ns: u64) -> bool {
        self.first_start_unix_ns < to_ns && self.last_start_unix_ns >= from_ns
    }

    pub fn paths(&self, directory: &Path) -> [PathBuf; 3] {
        [
            self.spans_path(directory),
            self.points_path(directory),
            self.rollup_path(directory),
        ]
    }
}

/// The directory name of the partition that holds a start time, e.g. `2026-11-22T11`.
pub fn partition_name(start_unix_ns: u64) -> String {
    let seconds = i64::try_from(start_unix_ns / 1_000_000_000).unwrap_or(0);
    chrono::DateTime::from_timestamp(seconds, 0)
        .unwrap_or_default()
        .format("%Y-%m-%dT%H")
        .to_string()
}
