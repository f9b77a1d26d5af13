//! Writes the files of a segment and makes them durable.

use super::point::Point;
use super::schema::{POINTS, SPANS};
use super::{PARTITION_NS, Segment, SegmentError, columns, partition_name, rollup_file};
use crate::span::Span;
use crate::store::buffer::Generation;
use crate::store::rollup::{MINUTE_NS, Rollups};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

pub const MAX_ROW_GROUP_ROWS: usize = 100_000;
/// Rows turned into columns at a time.
const BATCH_ROWS: usize = 8_192;

/// Writes one segment a time partition of the generation. Files left by an earlier attempt are overwritten.
///
/// # Errors
/// The disk's, [`std::io::ErrorKind::StorageFull`] among them; what was written so far is removed.
pub fn write_generation(directory: &Path, generation: &Generation) -> Result<Vec<Segment>, SegmentError> {
    let mut partitions: BTreeMap<u64, (Vec<&Span>, Vec<Point>)> = BTreeMap::new();
    for span in &generation.spans {
        partitions
            .entry(span.start_unix_ns / PARTITION_NS)
            .or_default()
            .0
            .push(span);
    }
    for call in &generation.calls {
        let span = &generation.spans[call.span];
        let point = Point::new(span, call);
        partitions
            .entry(span.start_unix_ns / PARTITION_NS)
            .or_default()
            .1
            .push(point);
    }
    let minutes = PARTITION_NS / MINUTE_NS;
    let mut segments = Vec::new();
    for (partition, (spans, points)) in partitions {
        let mut rollups = Rollups::default();
        rollups.merge(
            &generation.rollups,
            &(partition * minutes..(partition + 1) * minutes),
        );
        let id = format!(
            "{}/{:012}",
            partition_name(partition * PARTITION_NS),
            generation.id
        );
        match write_segment(directory, id, spans, points, &rollups) {
            Ok(segment) => segments.push(segment),
            Err(error) => {
                segments.iter().for_each(|segment| remove(directory, segment));
                return Err(error);
            }
        }
    }
    Ok(segments)
}

/// Writes one segment; its files are removed again when that fails.
///
/// # Errors
/// As [`write_generation`].
pub fn write_segment(
    directory: &Path,
    id: String,
    mut spans: Vec<&Span>,
    mut points: Vec<Point>,
    rollups: &Rollups,
) -> Result<Segment, SegmentError> {
    spans.sort_unstable_by_key(|span| (span.trace_id, span.start_unix_ns, span.span_id));
    points.sort_unstable_by(|a, b| {
        (&a.target_node, a.start_unix_ns, a.span_id).cmp(&(&b.target_node, b.start_unix_ns, b.span_id))
    });
    let starts = spans.iter().map(|span| span.start_unix_ns);
    let mut segment = Segment {
        id,
        spans: spans.len() as u64,
        points: points.len() as u64,
        bytes: 0,
        first_start_unix_ns: starts.clone().min().unwrap_or(0),
        last_start_unix_ns: starts.max().unwrap_or(0),
    };
    let written = write_files(directory, &segment, &spans, &points, rollups);
    if written.is_err() {
        remove(directory, &segment);
    }
    segment.bytes = written?;
    Ok(segment)
}

/// Removes the files of a segment the manifest does not name, or no longer names.
pub fn remove(directory: &Path, segment: &Segment) {
    for path in segment.paths(directory) {
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "a file of a removed segment stays; it is removed at the next start");
        }
    }
    // Only succeeds when nothing is left in the partition.
    let _ = segment.spans_path(directory).parent().map(fs::remove_dir);
}

fn write_files(
    directory: &Path,
    segment: &Segment,
    spans: &[&Span],
    points: &[Point],
    rollups: &Rollups,
) -> Result<u64, SegmentError> {
    let path = segment.spans_path(directory);
    let partition = path.parent().unwrap_or(directory);
    let io = |cause| SegmentError::Io {
        path: partition.to_owned(),
        cause,
    };
    fs::create_dir_all(partition).map_err(io)?;
    let mut bytes = write_parquet(
        &path,
        &SPANS,
        span_properties(),
        spans.chunks(BATCH_ROWS),
        columns::of_spans,
    )?;
    let path = segment.points_path(directory);
    bytes += write_parquet(
        &path,
        &POINTS,
        point_properties(),
        points.chunks(BATCH_ROWS),
        columns::of_points,
    )?;
    bytes += rollup_file::write(&segment.rollup_path(directory), rollups)?;
    for directory in [partition, directory] {
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(io)?;
    }
    Ok(bytes)
}

fn write_parquet<T>(
    path: &Path,
    schema: &SchemaRef,
    properties: WriterProperties,
    chunks: impl Iterator<Item = T>,
    to_batch: impl Fn(T) -> Result<RecordBatch, arrow::error::ArrowError>,
) -> Result<u64, SegmentError> {
    let io = |cause| SegmentError::Io {
        path: path.to_owned(),
        cause,
    };
    let parquet = |cause| SegmentError::Parquet {
        path: path.to_owned(),
        cause,
    };
    let file = File::create(path).map_err(io)?;
    let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(parquet)?;
    for chunk in chunks {
        let batch = to_batch(chunk).map_err(|cause| SegmentError::Arrow {
            path: path.to_owned(),
            cause,
        })?;
        writer.write(&batch).map_err(parquet)?;
    }
    let file = writer.into_inner().map_err(parquet)?;
    file.sync_all().map_err(io)?;
    Ok(file.metadata().map_err(io)?.len())
}

fn base_properties() -> parquet::file::properties::WriterPropertiesBuilder {
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("spanhound ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(MAX_ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page);
    // Ids do not repeat; a dictionary of them would only be given up later.
    for name in ["trace_id", "span_id", "parent_span_id", "exchange_key"] {
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    for name in ["start", "duration_ns"] {
        builder = builder
            .set_column_dictionary_enabled(ColumnPath::from(name), false)
            .set_column_encoding(ColumnPath::from(name), Encoding::DELTA_BINARY_PACKED);
    }
    builder
}

fn span_properties() -> WriterProperties {
    base_properties()
        .set_column_bloom_filter_enabled(ColumnPath::from("trace_id"), true)
        .set_column_bloom_filter_max_ndv(ColumnPath::from("trace_id"), MAX_ROW_GROUP_ROWS as u64)
        .build()
}

fn point_properties() -> WriterProperties {
    base_properties().build()
}
