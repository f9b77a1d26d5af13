//! Merges small neighbouring segments of one time partition, so that a quiet collector does not end up with thousands of
//! files. What was repaired meanwhile is written into the merged segment. Bounded: [`MAX_SPANS`] a merge, in memory
//! while it runs. The result is named `FIRST-LAST` after the generations in it and replaces them in one manifest.

use super::rollup::Rollups;
use super::segment::{Segment, SegmentError, read, rollup_file, write};
use super::{Shared, manifest};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Spans of a merged segment.
const MAX_SPANS: u64 = 200_000;
/// So many small segments are merged while their partition is still being written to.
const MANY: usize = 8;
/// A partition that got nothing new for so long after its end is merged whatever it holds.
const CLOSED_AFTER_NS: u64 = 600_000_000_000;

/// Why a merge did not happen.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error("the manifest could not be replaced: {0}")]
    Manifest(io::Error),
}

/// The next run of segments to merge, oldest partition first.
pub fn due(segments: &[Arc<Segment>], now_unix_ns: u64) -> Option<Vec<Arc<Segment>>> {
    let mut sorted = segments.to_vec();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    sorted
        .chunk_by(|a, b| a.partition() == b.partition())
        .find_map(|partition| {
            let last = partition
                .iter()
                .map(|segment| segment.last_start_unix_ns)
                .max()
                .unwrap_or(0);
            let hour_end = (last / super::segment::PARTITION_NS + 1) * super::segment::PARTITION_NS;
            let closed = now_unix_ns > hour_end + CLOSED_AFTER_NS;
            runs(partition)
                .into_iter()
                .find(|run| run.len() >= if closed { 2 } else { MANY })
        })
}

/// Runs of neighbours that fit into one segment.
fn runs(partition: &[Arc<Segment>]) -> Vec<Vec<Arc<Segment>>> {
    let mut runs: Vec<Vec<Arc<Segment>>> = Vec::new();
    let mut spans = u64::MAX;
    for segment in partition {
        if spans.saturating_add(segment.spans) > MAX_SPANS {
            runs.push(Vec::new());
            spans = 0;
        }
        spans += segment.spans;
        if let Some(run) = runs.last_mut() {
            run.push(segment.clone());
        }
    }
    runs
}

/// Writes the merged segment and commits it. The files it replaces are left for the caller to remove once nobody reads
/// them any more.
///
/// # Errors
/// [`MergeError`]; nothing has changed then.
pub fn merge(shared: &Shared, run: &[Arc<Segment>]) -> Result<(), MergeError> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else {
        return Ok(());
    };
    let directory = shared.segments_directory();
    let (mut spans, mut points, mut rollups) = (Vec::new(), Vec::new(), Rollups::default());
    for segment in run {
        read::all_spans(&directory, segment, |span| spans.push(span))?;
        read::points(&directory, segment, &(0..u64::MAX), None, |point| {
            points.push(point);
            ControlFlow::Continue(())
        })?;
        rollups.merge(
            &rollup_file::read(&segment.rollup_path(&directory))?,
            &(0..u64::MAX),
        );
    }
    {
        let state = shared.read();
        spans.iter_mut().for_each(|span| state.joins.repairs.apply(span));
        for point in &mut points {
            point.trace_id = state.joins.repairs.trace_of(point.trace_id);
        }
    }
    let (from, to) = (first.generations().0, last.generations().1);
    let id = format!("{}/{from:012}-{to:012}", first.partition());
    let merged = write::write_segment(&directory, id, spans.iter().collect(), points, &rollups)?;
    let replaced = |id: &str| run.iter().any(|segment| segment.id == id);
    let mut manifest = shared.read().manifest();
    manifest.segments.retain(|segment| !replaced(&segment.id));
    manifest.segments.push(merged.clone());
    if let Err(error) = manifest::write(&shared.config.store.directory, manifest) {
        write::remove(&directory, &merged);
        return Err(MergeError::Manifest(error));
    }
    let mut state = shared.write();
    state.segments.retain(|segment| !replaced(&segment.id));
    state.segments.push(Arc::new(merged));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_NS: u64 = super::super::segment::PARTITION_NS;

    fn segment(hour: u64, generation: u64, spans: u64) -> Arc<Segment> {
        Arc::new(Segment {
            id: format!(
                "{}/{generation:012}",
                super::super::segment::partition_name(hour * HOUR_NS)
            ),
            spans,
            points: 0,
            bytes: 0,
            first_start_unix_ns: hour * HOUR_NS,
            last_start_unix_ns: hour * HOUR_NS + 1,
        })
    }

    fn ids(run: Option<Vec<Arc<Segment>>>) -> Vec<u64> {
        run.unwrap_or_default()
            .iter()
            .map(|segment| segment.generations().0)
            .collect()
    }

    #[test]
    fn a_partition_in_use_waits_for_many_a_closed_one_does_not() {
        let few = [segment(1, 1, 10), segment(1, 2, 10), segment(2, 3, 10)];
        assert!(due(&few, 2 * HOUR_NS).is_none());
        assert_eq!(ids(due(&few, 2 * HOUR_NS + CLOSED_AFTER_NS + 1)), [1, 2]);
        let many: Vec<_> = (1..=8)
            .rev()
            .map(|generation| segment(1, generation, 10))
            .collect();
        assert_eq!(ids(due(&many, HOUR_NS)), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn only_neighbours_that_fit_are_merged() {
        let sizes = [10, MAX_SPANS, 10, 20, MAX_SPANS - 30, 5];
        let segments: Vec<_> = (1..)
            .zip(sizes)
            .map(|(generation, spans)| segment(1, generation, spans))
            .collect();
        assert_eq!(ids(due(&segments, 9 * HOUR_NS)), [3, 4, 5]);
        assert!(due(&segments[..2], 9 * HOUR_NS).is_none());
    }
}
