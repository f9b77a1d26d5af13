//! Rows to columns and back: [`Span`]s and [`Point`]s as Arrow record batches. Reading never panics on a file whose
//! columns are not the expected ones; it says which.

use super::point::Point;
use super::schema::{
    INTEGER_ATTRIBUTES, POINTS, SPAN_ENUMS, SPAN_NUMBERS, SPAN_TEXTS, SPANS, TEXT_ATTRIBUTES,
};
use crate::span::{Instance, Link, Span, Text, Value};
use crate::store::summary::Class;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Float32Array, Int64Array, RecordBatch,
    StringArray, TimestampNanosecondArray, UInt8Array, UInt64Array,
};
use arrow::datatypes::{Float32Type, Int64Type, TimestampNanosecondType, UInt8Type, UInt64Type};
use arrow::error::ArrowError;
use serde_json::{Map, Value as Json};
use spanhound_proto::v1::{Confidence, LinkMethod, SpanKind, Status};
use std::sync::Arc;

/// The spans as rows of [`SPANS`].
///
/// # Errors
/// Never for spans that passed ingest; the library's own otherwise.
pub fn of_spans(spans: &[&Span]) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<ArrayRef> = vec![
        trace_ids(spans.iter().map(|span| span.trace_id))?,
        starts(spans.iter().map(|span| span.start_unix_ns)),
        Arc::new(Float32Array::from_iter_values(
            spans.iter().map(|span| span.link.probability),
        )),
    ];
    for index in 0..SPAN_NUMBERS.len() {
        let values = spans.iter().map(|span| numbers_of(span)[index]);
        columns.push(Arc::new(UInt64Array::from_iter_values(values)));
    }
    for index in 0..SPAN_ENUMS.len() {
        columns.push(Arc::new(UInt8Array::from_iter_values(
            spans.iter().map(|span| enums_of(span)[index]),
        )));
    }
    for index in 0..SPAN_TEXTS.len() {
        columns.push(Arc::new(StringArray::from_iter_values(
            spans.iter().map(|span| &**texts_of(span)[index]),
        )));
    }
    for name in TEXT_ATTRIBUTES {
        let values = spans.iter().map(|span| span.attribute_text(name));
        columns.push(Arc::new(values.collect::<StringArray>()));
    }
    for name in INTEGER_ATTRIBUTES {
        let values = spans.iter().map(|span| integer_attribute(span, name));
        columns.push(Arc::new(values.collect::<Int64Array>()));
    }
    columns.push(Arc::new(
        spans.iter().map(|span| residual(span)).collect::<StringArray>(),
    ));
    RecordBatch::try_new(SPANS.clone(), columns)
}

/// The rows of a batch read with all columns of [`SPANS`].
///
/// # Errors
/// When a column is missing or of another type, or a value is none that this program writes.
pub fn to_spans(batch: &RecordBatch) -> Result<Vec<Span>, ArrowError> {
    let trace_ids = read_trace_ids(batch)?;
    let starts = read_starts(batch)?;
    let probabilities = column(batch, "link_probability")?
        .as_primitive_opt::<Float32Type>()
        .ok_or_else(|| unexpected("link_probability"))?;
    let numbers = SPAN_NUMBERS
        .iter()
        .map(|name| numbers(batch, name))
        .collect::<Result<Vec<_>, _>>()?;
    let enums = SPAN_ENUMS
        .iter()
        .map(|name| bytes(batch, name))
        .collect::<Result<Vec<_>, _>>()?;
    let texts = SPAN_TEXTS
        .iter()
        .map(|name| texts(batch, name))
        .collect::<Result<Vec<_>, _>>()?;
    let text_attributes = TEXT_ATTRIBUTES
        .iter()
        .map(|name| self::texts(batch, name))
        .collect::<Result<Vec<_>, _>>()?;
    let integer_attributes = INTEGER_ATTRIBUTES
        .iter()
        .map(|name| {
            column(batch, name)?
                .as_primitive_opt::<Int64Type>()
                .ok_or_else(|| unexpected(name))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let residuals = self::texts(batch, "attributes")?;
    let mut spans = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let text = |index: usize| Text::from(texts[index].value(row));
        let number = |index: usize| numbers[index].value(row);
        let code = |index: usize| i32::from(enums[index].value(row));
        let mut attributes = Vec::new();
        for (name, values) in TEXT_ATTRIBUTES.iter().zip(&text_attributes) {
            if values.is_valid(row) {
                attributes.push((Text::from(*name), Value::Text(Text::from(values.value(row)))));
            }
        }
        for (name, values) in INTEGER_ATTRIBUTES.iter().zip(&integer_attributes) {
            if values.is_valid(row) {
                attributes.push((Text::from(*name), Value::Integer(values.value(row))));
            }
        }
        if residuals.is_valid(row) {
            attributes.extend(read_residual(residuals.value(row)));
        }
        spans.push(Span {
            trace_id: trace_ids[row],
            span_id: number(0),
            parent_span_id: number(1),
            link: Link {
                method: LinkMethod::try_from(code(2)).map_err(|_| unexpected("link_method"))?,
                confidence: Confidence::try_from(code(3)).map_err(|_| unexpected("link_confidence"))?,
                probability: probabilities.value(row),
            },
            kind: SpanKind::try_from(code(0)).map_err(|_| unexpected("kind"))?,
            status: Status::try_from(code(1)).map_err(|_| unexpected("status"))?,
            start_unix_ns: starts[row],
            duration_ns: number(2),
            request_bytes: number(3),
            response_bytes: number(4),
            exchange_key: number(5),
            instance: Arc::new(Instance {
                id: number(6),
                started_unix_ns: number(7),
                pid: u32::try_from(number(8)).unwrap_or(0),
                service: text(0),
                name: text(1),
                host_name: text(2),
                executable: text(3),
                command_line: text(4),
                container_id: text(5),
                systemd_unit: text(6),
                runtime: text(7),
            }),
            protocol: text(8),
            family: text(9),
            name: text(10),
            operation: text(11),
            target: text(12),
            status_text: text(13),
            error_message: text(14),
            peer: text(15),
            peer_service: text(16),
            local: text(17),
            unanswered: text(18),
            attributes,
        });
    }
    Ok(spans)
}

/// In the order of [`SPAN_NUMBERS`].
fn numbers_of(span: &Span) -> [u64; 9] {
    let instance = &span.instance;
    [
        span.span_id,
        span.parent_span_id,
        span.duration_ns,
        span.request_bytes,
        span.response_bytes,
        span.exchange_key,
        instance.id,
        instance.started_unix_ns,
        u64::from(instance.pid),
    ]
}

/// In the order of [`SPAN_ENUMS`].
fn enums_of(span: &Span) -> [u8; 4] {
    [
        span.kind as u8,
        span.status as u8,
        span.link.method as u8,
        span.link.confidence as u8,
    ]
}

/// In the order of [`SPAN_TEXTS`].
fn texts_of(span: &Span) -> [&Text; 19] {
    let instance = &*span.instance;
    [
        &instance.service,
        &instance.name,
        &instance.host_name,
        &instance.executable,
        &instance.command_line,
        &instance.container_id,
        &instance.systemd_unit,
        &instance.runtime,
        &span.protocol,
        &span.family,
        &span.name,
        &span.operation,
        &span.target,
        &span.status_text,
        &span.error_message,
        &span.peer,
        &span.peer_service,
        &span.local,
        &span.unanswered,
    ]
}

fn integer_attribute(span: &Span, key: &str) -> Option<i64> {
    span.attributes.iter().find_map(|(name, value)| match value {
        Value::Integer(integer) if &**name == key => Some(*integer),
        _ => None,
    })
}

/// The attributes that have no column of their own, as a JSON object.
fn residual(span: &Span) -> Option<String> {
    let rest: Map<String, Json> = span
        .attributes
        .iter()
        .filter(|(name, value)| match value {
            Value::Text(_) => !TEXT_ATTRIBUTES.contains(&&**name),
            Value::Integer(_) => !INTEGER_ATTRIBUTES.contains(&&**name),
            _ => true,
        })
        .map(|(name, value)| (name.to_string(), value.to_json()))
        .collect();
    (!rest.is_empty()).then(|| Json::Object(rest).to_string())
}

fn read_residual(text: &str) -> Vec<(Text, Value)> {
    let object: Map<String, Json> = serde_json::from_str(text).unwrap_or_default();
    let read = |value: Json| match value {
        Json::String(text) => Some(Value::Text(Text::from(text))),
        Json::Bool(boolean) => Some(Value::Boolean(boolean)),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Some(Value::Integer(integer)),
            None => number.as_f64().map(Value::Number),
        },
        Json::Array(values) => Some(Value::Texts(
            values
                .iter()
                .filter_map(|value| value.as_str().map(Text::from))
                .collect(),
        )),
        Json::Null | Json::Object(_) => None,
    };
    object
        .into_iter()
        .filter_map(|(name, value)| Some((Text::from(name), read(value)?)))
        .collect()
}

/// The points as rows of [`POINTS`].
///
/// # Errors
/// As [`of_spans`].
pub fn of_points(points: &[Point]) -> Result<RecordBatch, ArrowError> {
    let texts = |of: fn(&Point) -> &Text| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            points.iter().map(|point| &**of(point)),
        ))
    };
    let columns: Vec<ArrayRef> = vec![
        trace_ids(points.iter().map(|point| point.trace_id))?,
        starts(points.iter().map(|point| point.start_unix_ns)),
        Arc::new(UInt64Array::from_iter_values(
            points.iter().map(|point| point.span_id),
        )),
        Arc::new(UInt64Array::from_iter_values(
            points.iter().map(|point| point.duration_ns),
        )),
        Arc::new(
            points
                .iter()
                .map(|point| Some(point.on_node))
                .collect::<BooleanArray>(),
        ),
        Arc::new(
            points
                .iter()
                .map(|point| Some(point.on_edge))
                .collect::<BooleanArray>(),
        ),
        Arc::new(UInt8Array::from_iter_values(
            points.iter().map(|point| point.class.as_u8()),
        )),
        Arc::new(UInt8Array::from_iter_values(
            points.iter().map(|point| point.confidence as u8),
        )),
        texts(|point| &point.target_node),
        texts(|point| &point.source_node),
        texts(|point| &point.service),
        texts(|point| &point.instance),
        texts(|point| &point.name),
        texts(|point| &point.target),
        texts(|point| &point.status_text),
    ];
    RecordBatch::try_new(POINTS.clone(), columns)
}

/// The rows of a batch read with all columns of [`POINTS`].
///
/// # Errors
/// As [`to_spans`].
pub fn to_points(batch: &RecordBatch) -> Result<Vec<Point>, ArrowError> {
    let trace_ids = read_trace_ids(batch)?;
    let starts = read_starts(batch)?;
    let (span_ids, durations) = (numbers(batch, "span_id")?, numbers(batch, "duration_ns")?);
    let flags = |name| {
        column(batch, name)?
            .as_boolean_opt()
            .ok_or_else(|| unexpected(name))
    };
    let (on_node, on_edge) = (flags("on_node")?, flags("on_edge")?);
    let (classes, confidences) = (bytes(batch, "class")?, bytes(batch, "link_confidence")?);
    let texts = |name| self::texts(batch, name);
    let (target_nodes, source_nodes) = (texts("target_node")?, texts("source_node")?);
    let (services, instances) = (texts("service")?, texts("instance")?);
    let (names, targets, statuses) = (texts("name")?, texts("target")?, texts("status_text")?);
    let text = |column: &StringArray, row| Text::from(column.value(row));
    (0..batch.num_rows())
        .map(|row| {
            Ok(Point {
                trace_id: trace_ids[row],
                span_id: span_ids.value(row),
                start_unix_ns: starts[row],
                duration_ns: durations.value(row),
                on_node: on_node.value(row),
                on_edge: on_edge.value(row),
                class: Class::from_u8(classes.value(row)),
                confidence: Confidence::try_from(i32::from(confidences.value(row)))
                    .map_err(|_| unexpected("link_confidence"))?,
                target_node: text(target_nodes, row),
                source_node: text(source_nodes, row),
                service: text(services, row),
                instance: text(instances, row),
                name: text(names, row),
                target: text(targets, row),
                status_text: text(statuses, row),
            })
        })
        .collect()
}

fn trace_ids(ids: impl ExactSizeIterator<Item = u128>) -> Result<ArrayRef, ArrowError> {
    if ids.len() == 0 {
        return Ok(arrow::array::new_empty_array(
            &arrow::datatypes::DataType::FixedSizeBinary(16),
        ));
    }
    Ok(Arc::new(FixedSizeBinaryArray::try_from_iter(
        ids.map(u128::to_be_bytes),
    )?))
}

fn starts(starts: impl Iterator<Item = u64>) -> ArrayRef {
    let nanoseconds = starts.map(|start| i64::try_from(start).unwrap_or(i64::MAX));
    Arc::new(TimestampNanosecondArray::from_iter_values(nanoseconds).with_timezone("UTC"))
}

/// The column of trace ids.
///
/// # Errors
/// When there is none.
pub fn read_trace_ids(batch: &RecordBatch) -> Result<Vec<u128>, ArrowError> {
    let column = column(batch, "trace_id")?
        .as_fixed_size_binary_opt()
        .ok_or_else(|| unexpected("trace_id"))?;
    (0..column.len())
        .map(|row| {
            column
                .value(row)
                .try_into()
                .map(u128::from_be_bytes)
                .map_err(|_| unexpected("trace_id"))
        })
        .collect()
}

/// The column of start times, Unix nanoseconds.
///
/// # Errors
/// When there is none.
pub fn read_starts(batch: &RecordBatch) -> Result<Vec<u64>, ArrowError> {
    let column = column(batch, "start")?
        .as_primitive_opt::<TimestampNanosecondType>()
        .ok_or_else(|| unexpected("start"))?;
    Ok(column
        .values()
        .iter()
        .map(|start| u64::try_from(*start).unwrap_or(0))
        .collect())
}

/// A column of unsigned numbers.
///
/// # Errors
/// When there is none of that name.
pub fn numbers<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a UInt64Array, ArrowError> {
    column(batch, name)?
        .as_primitive_opt::<UInt64Type>()
        .ok_or_else(|| unexpected(name))
}

fn bytes<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a UInt8Array, ArrowError> {
    column(batch, name)?
        .as_primitive_opt::<UInt8Type>()
        .ok_or_else(|| unexpected(name))
}

/// A column of texts.
///
/// # Errors
/// When there is none of that name.
pub fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, ArrowError> {
    column(batch, name)?
        .as_string_opt::<i32>()
        .ok_or_else(|| unexpected(name))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| unexpected(name))
}

fn unexpected(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("column {name} is missing or not as expected"))
}
