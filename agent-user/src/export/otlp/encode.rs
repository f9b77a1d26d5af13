//! A batch as an OTLP `ExportTraceServiceRequest`, written straight into bytes.
//!
//! Enters: a batch. Leaves: protobuf. Written by hand on prost's encoding primitives, because building prost's own
//! structures first costs more than all parsing (`cargo xtask bench overhead`); a test decodes the result with the
//! official types. Field numbers: opentelemetry-proto 1.9, `trace/v1/trace.proto` and its neighbours.

use prost::encoding::encoded_len_varint;
use rustc_hash::FxHashMap;
use spanhound_proto::v1::Agent;

use super::field::{bytes, delimited, delimited_bytes, fixed64, message, text, varint};
use crate::batch::{Batch, Linked};
use crate::link::{Confidence, Method};
use crate::process::Instance;
use crate::span::{AttributeRef, Kind, Status};

/// What a span mostly takes; more only costs a copy.
const SPAN_BYTES: usize = 448;

/// Encodes every span of the batch, grouped by instance.
pub fn encode(batch: &Batch, agent: &Agent) -> Vec<u8> {
    let mut by_instance: FxHashMap<u64, Vec<&Linked>> = FxHashMap::default();
    for linked in &batch.spans {
        by_instance
            .entry(linked.span.instance.id)
            .or_default()
            .push(linked);
    }
    let mut out = Vec::with_capacity(batch.spans.len() * SPAN_BYTES);
    for spans in by_instance.values() {
        let Some(first) = spans.first() else { continue };
        message::<4>(&mut out, 1, |resource_spans| {
            message::<3>(resource_spans, 1, |resource| {
                resource_attributes(resource, &first.span.instance, agent)
            });
            message::<4>(resource_spans, 2, |scope_spans| {
                message::<1>(scope_spans, 1, |scope| {
                    text(scope, 1, "spanhound");
                    text(scope, 2, env!("CARGO_PKG_VERSION"));
                });
                for linked in spans {
                    message::<2>(scope_spans, 2, |span| {
                        encode_span(span, linked, batch.unix_offset_ns)
                    });
                }
            });
        });
    }
    out
}

fn resource_attributes(out: &mut Vec<u8>, instance: &Instance, agent: &Agent) {
    let mut put = |key: &str, value: AttributeRef<'_>| {
        if !matches!(value, AttributeRef::Text("")) {
            attribute(out, 1, key, value);
        }
    };
    put("service.name", AttributeRef::Text(&instance.service));
    put(
        "service.instance.id",
        AttributeRef::Text(&format!("{:016x}", instance.id)),
    );
    put("process.pid", AttributeRef::Int(i64::from(instance.pid)));
    put(
        "process.executable.path",
        AttributeRef::Text(&instance.executable),
    );
    put("process.command_line", AttributeRef::Text(&instance.command_line));
    put(
        "process.runtime.name",
        AttributeRef::Text(instance.runtime.name()),
    );
    put("container.id", AttributeRef::Text(&instance.container_id));
    put("systemd.unit", AttributeRef::Text(&instance.systemd_unit));
    put("host.name", AttributeRef::Text(&agent.host_name));
    put("telemetry.sdk.name", AttributeRef::Text("spanhound"));
    put("telemetry.sdk.language", AttributeRef::Text("rust"));
    put("telemetry.sdk.version", AttributeRef::Text(&agent.version));
}

fn encode_span(out: &mut Vec<u8>, linked: &Linked, unix_offset_ns: u64) {
    let Linked { span, link } = linked;
    bytes(out, 1, &link.trace_id.to_be_bytes());
    bytes(out, 2, &link.span_id.to_be_bytes());
    if link.parent_span_id != 0 {
        bytes(out, 4, &link.parent_span_id.to_be_bytes());
    }
    text(out, 5, &span.name());
    varint(out, 6, kind(span.kind()));
    fixed64(out, 7, span.start_ns().wrapping_add(unix_offset_ns));
    fixed64(out, 8, span.end_ns().wrapping_add(unix_offset_ns));
    span.attributes(&mut |key, value| attribute(out, 9, key, value));
    let method = match link.method {
        Method::None => "none",
        Method::Header => "header",
        Method::Tcp => "tcp",
        Method::Thread => "thread",
        Method::Goroutine => "goroutine",
        Method::Task => "task",
        Method::Handoff => "handoff",
        Method::Inference => "inference",
    };
    attribute(out, 9, "spanhound.link.method", AttributeRef::Text(method));
    let confidence = match link.confidence {
        Confidence::None => "none",
        Confidence::Inferred => "inferred",
        Confidence::Exact => "exact",
    };
    attribute(
        out,
        9,
        "spanhound.link.confidence",
        AttributeRef::Text(confidence),
    );
    if link.confidence == Confidence::Inferred {
        attribute(
            out,
            9,
            "spanhound.link.probability",
            AttributeRef::Float(f64::from(link.probability)),
        );
    }
    let unanswered = span.exchange.ending.reason();
    if !unanswered.is_empty() {
        attribute(out, 9, "spanhound.unanswered", AttributeRef::Text(unanswered));
    }
    if span.status() == Status::Error {
        message::<3>(out, 15, |status| {
            text(status, 2, span.error_message());
            varint(status, 3, 2);
        });
    }
}

fn kind(kind: Kind) -> u64 {
    match kind {
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    }
}

/// Key and value together, so that the pair's length takes one byte.
const SHORT_BYTES: usize = 0x80 - 6;

/// A `KeyValue`.
fn attribute(out: &mut Vec<u8>, field: u8, key: &str, value: AttributeRef<'_>) {
    // A list's length is not worth a look ahead.
    if let AttributeRef::List(list) = value {
        return message::<3>(out, field, |pair| {
            bytes(pair, 1, key.as_bytes());
            message::<3>(pair, 2, |any| {
                message::<3>(any, 5, |array| {
                    for item in list {
                        delimited(array, 1, delimited_bytes(item.len()));
                        bytes(array, 1, item.as_bytes());
                    }
                });
            });
        });
    }
    // Most are short texts: every length takes one byte, and is known.
    if let AttributeRef::Text(text) = value
        && key.len() + text.len() < SHORT_BYTES
    {
        let (key_bytes, text_bytes) = (key.len() as u8, text.len() as u8);
        let pair_bytes = 2 + key_bytes + 2 + 2 + text_bytes;
        out.reserve(2 + usize::from(pair_bytes));
        out.extend_from_slice(&[field << 3 | 2, pair_bytes, 1 << 3 | 2, key_bytes]);
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(&[2 << 3 | 2, 2 + text_bytes, 1 << 3 | 2, text_bytes]);
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let any_bytes = match value {
        AttributeRef::Text(text) => delimited_bytes(text.len()),
        AttributeRef::Bool(_) => 2,
        AttributeRef::Int(integer) => 1 + encoded_len_varint(integer as u64),
        AttributeRef::Float(_) | AttributeRef::List(_) => 9,
    };
    delimited(
        out,
        field,
        delimited_bytes(key.len()) + delimited_bytes(any_bytes),
    );
    bytes(out, 1, key.as_bytes());
    delimited(out, 2, any_bytes);
    match value {
        // An empty string is a value of its own here, unlike in a plain field.
        AttributeRef::Text(text) => bytes(out, 1, text.as_bytes()),
        AttributeRef::Bool(boolean) => varint(out, 2, u64::from(boolean)),
        AttributeRef::Int(integer) => varint(out, 3, integer as u64),
        AttributeRef::Float(number) => fixed64(out, 4, number.to_bits()),
        AttributeRef::List(_) => {}
    }
}
