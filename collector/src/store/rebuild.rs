//! A manifest that cannot be read is rebuilt from the segments' files. Lost with it: which batches were stored (a batch
//! repeated right then is stored twice) and what silent agents last said. A generation whose log is still there was not
//! committed: its files are left out and written again from the log.

use super::manifest::{self, Manifest};
use super::segment::{Segment, read};
use super::wal;
use crate::losses::Losses;
use std::fs;
use std::io;
use std::path::Path;

/// Reads the manifest, or rebuilds it when it is damaged.
///
/// # Errors
/// When the directory cannot be read, or was written by a program of another version.
pub fn read_or_rebuild(directory: &Path, losses: &Losses) -> io::Result<Manifest> {
    match manifest::read(directory) {
        Ok(manifest) => Ok(manifest.unwrap_or_default()),
        Err(error)
            if error.kind() == io::ErrorKind::InvalidData || error.kind() == io::ErrorKind::UnexpectedEof =>
        {
            tracing::error!(%error, "the manifest is damaged; it is rebuilt from the segments");
            losses.manifests_rebuilt.add(1);
            let manifest = rebuild(directory)?;
            fs::rename(manifest::path_of(directory), directory.join("manifest.damaged"))?;
            manifest::write(directory, manifest.clone())?;
            Ok(manifest)
        }
        Err(error) => Err(error),
    }
}

fn rebuild(directory: &Path) -> io::Result<Manifest> {
    let logged = wal::generations(&directory.join("wal"))?;
    let segments_directory = directory.join("segments");
    let mut manifest = Manifest::default();
    for partition in fs::read_dir(&segments_directory)? {
        let partition = partition?;
        if !partition.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(partition.path())? {
            let name = file?.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".spans.parquet")) else {
                continue;
            };
            match describe(
                &segments_directory,
                format!("{}/{name}", partition.file_name().to_string_lossy()),
            ) {
                Ok(segment) if logged.contains(&segment.generations().1) => {}
                Ok(segment) => manifest.segments.push(segment),
                // Removed with the other files that no manifest names.
                Err(error) => tracing::error!(%error, "a segment cannot be read and is lost"),
            }
        }
    }
    // A merge that was cut off left both the merged segment and what it replaces.
    let all = manifest.segments.clone();
    manifest
        .segments
        .retain(|segment| !all.iter().any(|other| replaces(other, segment)));
    for segment in &manifest.segments {
        manifest.written_generation = manifest.written_generation.max(segment.generations().1);
        manifest.spans_written += segment.spans;
    }
    // Logs are written in order: those still there come after everything committed.
    if let Some(first) = logged.first() {
        manifest.written_generation = manifest.written_generation.min(first.saturating_sub(1));
    }
    Ok(manifest)
}

/// Whether `merged` was made from `segment`, among others.
fn replaces(merged: &Segment, segment: &Segment) -> bool {
    let ((first, last), (from, to)) = (merged.generations(), segment.generations());
    merged.id != segment.id && merged.partition() == segment.partition() && first <= from && to <= last
}

fn describe(directory: &Path, id: String) -> Result<Segment, super::segment::SegmentError> {
    let mut segment = Segment {
        id,
        spans: 0,
        points: 0,
        bytes: 0,
        first_start_unix_ns: u64::MAX,
        last_start_unix_ns: 0,
    };
    let (mut spans, mut first, mut last) = (0, u64::MAX, 0);
    read::all_spans(directory, &segment, |span| {
        spans += 1;
        first = first.min(span.start_unix_ns);
        last = last.max(span.start_unix_ns);
    })?;
    let mut points = 0;
    read::points(directory, &segment, &(0..u64::MAX), None, |_| {
        points += 1;
        std::ops::ControlFlow::Continue(())
    })?;
    segment.bytes = segment
        .paths(directory)
        .iter()
        .filter_map(|path| Some(fs::metadata(path).ok()?.len()))
        .sum();
    (segment.spans, segment.points) = (spans, points);
    (segment.first_start_unix_ns, segment.last_start_unix_ns) = (first, last);
    Ok(segment)
}
