//! Typed reads of a segment. Row groups are left out by bloom filter and statistics, rows by a filter on the key
//! columns before the others are decoded. Bounded: one batch of rows in memory beside the result, whose bound the
//! caller gives.

use super::point::Point;
use super::{Segment, SegmentError, columns, rollup_file};
use crate::span::{Span, TraceId};
use crate::store::node::USER;
use crate::store::rollup::Subject;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ParquetRecordBatchReaderBuilder, RowFilter};
use parquet::errors::ParquetError;
use rustc_hash::{FxHashMap, FxHashSet};
use std::fs::File;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

const BATCH_ROWS: usize = 8_192;

/// Checks that a segment's files are whole as far as footers and the rollup's checksum tell.
///
/// # Errors
/// What is wrong with them.
pub fn check(directory: &Path, segment: &Segment) -> Result<(), SegmentError> {
    for (path, rows) in [
        (segment.spans_path(directory), segment.spans),
        (segment.points_path(directory), segment.points),
    ] {
        let opened = Opened::new(path)?;
        let groups = opened.builder.metadata().row_groups();
        if u64::try_from(groups.iter().map(|group| group.num_rows()).sum::<i64>()) != Ok(rows) {
            return Err(SegmentError::Damaged {
                path: opened.path,
                problem: "not the manifest's number of rows",
            });
        }
    }
    rollup_file::read(&segment.rollup_path(directory)).map(drop)
}

/// The spans of the given traces, up to `limit`.
///
/// # Errors
/// When the file cannot be read.
pub fn spans_of_traces(
    directory: &Path,
    segment: &Segment,
    traces: &FxHashSet<TraceId>,
    limit: usize,
) -> Result<Vec<Span>, SegmentError> {
    let mut spans = Vec::new();
    Opened::new(segment.spans_path(directory))?
        .of_traces(traces)?
        .for_each(|batch| {
            spans.extend(columns::to_spans(&batch)?);
            Ok(if spans.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
    spans.truncate(limit);
    Ok(spans)
}

/// How many spans the segment has of each of the given traces.
///
/// # Errors
/// When the file cannot be read.
pub fn count_spans(
    directory: &Path,
    segment: &Segment,
    traces: &FxHashSet<TraceId>,
) -> Result<FxHashMap<TraceId, u64>, SegmentError> {
    let mut counts = FxHashMap::default();
    let opened = Opened::new(segment.spans_path(directory))?.of_traces(traces)?;
    opened.project(&["trace_id"]).for_each(|batch| {
        for id in columns::read_trace_ids(&batch)? {
            *counts.entry(id).or_default() += 1;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(counts)
}

/// Every span of the segment, in order of trace id.
///
/// # Errors
/// When the file cannot be read.
pub fn all_spans(
    directory: &Path,
    segment: &Segment,
    mut each: impl FnMut(Span),
) -> Result<(), SegmentError> {
    Opened::new(segment.spans_path(directory))?.for_each(|batch| {
        columns::to_spans(&batch)?.into_iter().for_each(&mut each);
        Ok(ControlFlow::Continue(()))
    })
}

/// The points that start in `range_ns`, of one subject or of all, until `each` breaks.
///
/// # Errors
/// When the file cannot be read.
pub fn points(
    directory: &Path,
    segment: &Segment,
    range_ns: &Range<u64>,
    subject: Option<&Subject>,
    mut each: impl FnMut(Point) -> ControlFlow<()>,
) -> Result<(), SegmentError> {
    let target = subject.and_then(|subject| match subject {
        Subject::Node(node) if **node == *USER => None,
        Subject::Node(target) | Subject::Edge { target, .. } => Some(target.to_string()),
    });
    let opened = Opened::new(segment.points_path(directory))?;
    opened.of_target(target, range_ns.clone()).for_each(|batch| {
        let points = columns::to_points(&batch)?;
        let counted = points
            .into_iter()
            .filter(|point| subject.is_none_or(|subject| point.counts_on(subject)));
        Ok(counted.into_iter().try_for_each(&mut each))
    })
}

/// A Parquet file about to be read.
struct Opened {
    path: PathBuf,
    builder: ParquetRecordBatchReaderBuilder<File>,
}

impl Opened {
    fn new(path: PathBuf) -> Result<Self, SegmentError> {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(cause) => return Err(SegmentError::Io { path, cause }),
        };
        match ParquetRecordBatchReaderBuilder::try_new(file) {
            Ok(builder) => Ok(Self {
                path,
                builder: builder.with_batch_size(BATCH_ROWS),
            }),
            Err(cause) => Err(SegmentError::Parquet { path, cause }),
        }
    }

    fn project(mut self, names: &[&str]) -> Self {
        let mask = ProjectionMask::columns(self.builder.parquet_schema(), names.iter().copied());
        self.builder = self.builder.with_projection(mask);
        self
    }

    /// Leaves the rows of these traces.
    fn of_traces(mut self, traces: &FxHashSet<TraceId>) -> Result<Self, SegmentError> {
        let mut groups = Vec::new();
        for group in 0..self.builder.metadata().num_row_groups() {
            match self.builder.get_row_group_column_bloom_filter(group, 0) {
                Ok(Some(filter)) if !traces.iter().any(|id| filter.check(&id.to_be_bytes()[..])) => {}
                Ok(_) => groups.push(group),
                Err(cause) => {
                    return Err(SegmentError::Parquet {
                        path: self.path,
                        cause,
                    });
                }
            }
        }
        let mask = ProjectionMask::columns(self.builder.parquet_schema(), ["trace_id"]);
        let traces = traces.clone();
        let filter = ArrowPredicateFn::new(mask, move |batch: RecordBatch| {
            let ids = columns::read_trace_ids(&batch)?;
            Ok(BooleanArray::from_iter(
                ids.iter().map(|id| Some(traces.contains(id))),
            ))
        });
        self.builder = self
            .builder
            .with_row_groups(groups)
            .with_row_filter(RowFilter::new(vec![Box::new(filter)]));
        Ok(self)
    }

    /// Leaves the rows of this target node (or all) that start in the range.
    fn of_target(mut self, target: Option<String>, range_ns: Range<u64>) -> Self {
        if let Some(target) = &target {
            let schema = self.builder.parquet_schema();
            let column =
                (0..schema.num_columns()).find(|index| schema.column(*index).name() == "target_node");
            let may_hold = |group: &usize| {
                let statistics = self
                    .builder
                    .metadata()
                    .row_group(*group)
                    .column(column?)
                    .statistics()?;
                let (first, last) = (statistics.min_bytes_opt()?, statistics.max_bytes_opt()?);
                Some(first <= target.as_bytes() && target.as_bytes() <= last)
            };
            let groups: Vec<usize> = (0..self.builder.metadata().num_row_groups())
                .filter(|group| may_hold(group).unwrap_or(true))
                .collect();
            self.builder = self.builder.with_row_groups(groups);
        }
        let mask = ProjectionMask::columns(self.builder.parquet_schema(), ["target_node", "start"]);
        let filter = ArrowPredicateFn::new(mask, move |batch: RecordBatch| {
            let starts = columns::read_starts(&batch)?;
            let nodes = columns::texts(&batch, "target_node")?;
            let keep = starts.iter().enumerate().map(|(row, start)| {
                let of_target = target.as_ref().is_none_or(|target| nodes.value(row) == target);
                Some(of_target && range_ns.contains(start))
            });
            Ok(BooleanArray::from_iter(keep))
        });
        self.builder = self
            .builder
            .with_row_filter(RowFilter::new(vec![Box::new(filter)]));
        self
    }

    fn for_each(
        self,
        mut each: impl FnMut(RecordBatch) -> Result<ControlFlow<()>, ArrowError>,
    ) -> Result<(), SegmentError> {
        let path = self.path;
        let reader = match self.builder.build() {
            Ok(reader) => reader,
            Err(cause) => return Err(SegmentError::Parquet { path, cause }),
        };
        for batch in reader {
            match batch.and_then(&mut each) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(()),
                Err(ArrowError::ParquetError(problem)) => {
                    return Err(SegmentError::Parquet {
                        path,
                        cause: ParquetError::General(problem),
                    });
                }
                Err(cause) => return Err(SegmentError::Arrow { path, cause }),
            }
        }
        Ok(())
    }
}
