//! A batch as an OTLP `ExportTraceServiceRequest`, written straight into bytes.
//!
//! Enters: a batch, in parts. Leaves: protobuf. Written by hand on prost's encoding primitives, because building prost's own
//! structures first costs more than all parsing (`cargo xtask bench overhead`); a test decodes the result with the
//! official types. Field numbers: opentelemetry-proto 1.9, `trace/v1/trace.proto` and its neighbours.

use std::sync::Arc;

use hyper::body::Bytes;
use prost::encoding::encoded_len_varint;
use rustc_hash::FxHashMap;
use spanhound_proto::v1::Agent;

use super::field::{bytes, delimited, delimited_bytes, fixed64, message, text, varint};
use crate::batch::{Batch, Linked};
use crate::link::{Confidence, Method};
use crate::process::Instance;
use crate::protocol::Side;
use crate::span::{AttributeRef, Endpoints, Kind, Span, Status};

/// Writes batches part by part: export requests written one behind the other are one (protobuf appends repeated fields).
pub struct Encoder {
    agent: Agent,
    written: Vec<u8>,
    /// How much the last request took, and something more: growing takes a copy.
    capacity: usize,
}

impl Encoder {
    pub fn new(agent: Agent) -> Self {
        Self {
            agent,
            written: Vec::new(),
            capacity: 0,
        }
    }
}

impl crate::export::Encoder for Encoder {
    fn add(&mut self, part: &Batch) {
        if self.written.is_empty() {
            self.written.reserve(self.capacity);
        }
        encode(&mut self.written, part, &self.agent);
    }

    /// OTLP has no place for health: without spans there is nothing to say.
    fn finish(&mut self) -> Option<Bytes> {
        let written = std::mem::take(&mut self.written);
        self.capacity = written.len() + written.len() / 8;
        (!written.is_empty()).then(|| Bytes::from(written))
    }
}

/// Encodes every span of a part, grouped by instance.
fn encode(out: &mut Vec<u8>, part: &Batch, agent: &Agent) {
    let mut by_instance: FxHashMap<u64, Vec<&Linked>> = FxHashMap::default();
    for spans in part
        .spans
        .chunk_by(|left, right| left.span.instance.id == right.span.instance.id)
    {
        if let Some(first) = spans.first() {
            let group = by_instance.entry(first.span.instance.id).or_default();
            group.extend(spans);
        }
    }
    let mut connections = Connections::default();
    for spans in by_instance.values() {
        let Some(first) = spans.first() else { continue };
        message::<4>(out, 1, |resource_spans| {
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
                        encode_span(span, linked, part.unix_offset_ns, &mut connections)
                    });
                }
            });
        });
    }
}

/// Attributes of connections, written once a part for all spans of one.
#[derive(Default)]
struct Connections {
    /// By address, which the part keeps alive, and side.
    known: FxHashMap<(*const Endpoints, bool), Written>,
    bytes: Vec<u8>,
}

/// Where one connection's attributes lie: those a message may say better come first, one by one.
#[derive(Clone, Copy, Default)]
struct Written {
    start: usize,
    address_end: usize,
    port_end: usize,
    end: usize,
}

impl Connections {
    fn write(&mut self, out: &mut Vec<u8>, span: &Span) {
        let side = span.side();
        let key = (Arc::as_ptr(&span.endpoints), side == Side::Server);
        let bytes = &mut self.bytes;
        let written = *self.known.entry(key).or_insert_with(|| {
            let start = bytes.len();
            let mut only = |wanted: &dyn Fn(&str) -> bool| {
                span.endpoints.attributes(side, &mut |key, value| {
                    if wanted(key) {
                        attribute(bytes, 9, key, value);
                    }
                });
                bytes.len()
            };
            Written {
                start,
                address_end: only(&|key| key == SERVER_ADDRESS),
                port_end: only(&|key| key == SERVER_PORT),
                end: only(&|key| key != SERVER_ADDRESS && key != SERVER_PORT),
            }
        });
        let from = match (span.says(SERVER_ADDRESS), span.says(SERVER_PORT)) {
            (false, false) => written.start,
            (true, false) => written.address_end,
            (false, true) => {
                out.extend_from_slice(&self.bytes[written.start..written.address_end]);
                written.port_end
            }
            (true, true) => written.port_end,
        };
        out.extend_from_slice(&self.bytes[from..written.end]);
    }
}

const SERVER_ADDRESS: &str = "server.address";
const SERVER_PORT: &str = "server.port";

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

fn encode_span(out: &mut Vec<u8>, linked: &Linked, unix_offset_ns: u64, connections: &mut Connections) {
    let Linked { span, link } = linked;
    out.extend_from_slice(&ids(link.trace_id, link.span_id));
    if link.parent_span_id != 0 {
        bytes(out, 4, &link.parent_span_id.to_be_bytes());
    }
    match span.short_name() {
        Some((operation, subject)) if !(operation.is_empty() || subject.is_empty()) => {
            delimited(out, 5, operation.len() + 1 + subject.len());
            out.extend_from_slice(operation.as_bytes());
            out.push(b' ');
            out.extend_from_slice(subject.as_bytes());
        }
        Some((operation, subject)) => text(out, 5, if operation.is_empty() { subject } else { operation }),
        None => text(out, 5, &span.name()),
    }
    out.extend_from_slice(&kind_and_times(
        kind(span.kind()),
        span.start_ns().wrapping_add(unix_offset_ns),
        span.end_ns().wrapping_add(unix_offset_ns),
    ));
    span.attributes_of_exchange(&mut |key, value| attribute(out, 9, key, value));
    connections.write(out, span);
    out.extend_from_slice(link_method(link.method));
    out.extend_from_slice(link_confidence(link.confidence));
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

/// The fields `trace_id` and `span_id`.
fn ids(trace_id: u128, span_id: u64) -> [u8; 28] {
    let mut fields = [0; 28];
    fields[..2].copy_from_slice(&[1 << 3 | 2, 16]);
    fields[2..18].copy_from_slice(&trace_id.to_be_bytes());
    fields[18..20].copy_from_slice(&[2 << 3 | 2, 8]);
    fields[20..].copy_from_slice(&span_id.to_be_bytes());
    fields
}

/// The fields `kind`, `start_time_unix_nano` and `end_time_unix_nano`.
fn kind_and_times(kind: u8, start_ns: u64, end_ns: u64) -> [u8; 20] {
    let mut fields = [0; 20];
    fields[..3].copy_from_slice(&[6 << 3, kind, 7 << 3 | 1]);
    fields[3..11].copy_from_slice(&start_ns.to_le_bytes());
    fields[11] = 8 << 3 | 1;
    fields[12..].copy_from_slice(&end_ns.to_le_bytes());
    fields
}

/// An attribute of a span with a short text, written by the compiler.
macro_rules! written {
    ($key:literal, $value:literal) => {{
        const PAIR: [u8; 8 + $key.len() + $value.len()] = short_text(9, $key.as_bytes(), $value.as_bytes());
        &PAIR
    }};
}

fn link_method(method: Method) -> &'static [u8] {
    match method {
        Method::None => written!("spanhound.link.method", "none"),
        Method::Header => written!("spanhound.link.method", "header"),
        Method::Tcp => written!("spanhound.link.method", "tcp"),
        Method::Thread => written!("spanhound.link.method", "thread"),
        Method::Goroutine => written!("spanhound.link.method", "goroutine"),
        Method::Task => written!("spanhound.link.method", "task"),
        Method::Handoff => written!("spanhound.link.method", "handoff"),
        Method::Inference => written!("spanhound.link.method", "inference"),
    }
}

fn link_confidence(confidence: Confidence) -> &'static [u8] {
    match confidence {
        Confidence::None => written!("spanhound.link.confidence", "none"),
        Confidence::Inferred => written!("spanhound.link.confidence", "inferred"),
        Confidence::Exact => written!("spanhound.link.confidence", "exact"),
    }
}

fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    }
}

/// Key and value together, so that the pair's length takes one byte.
const SHORT_BYTES: usize = 0x80 - 6;

/// A `KeyValue` whose lengths all take one byte.
const fn short_text<const LENGTH: usize>(field: u8, key: &[u8], text: &[u8]) -> [u8; LENGTH] {
    assert!(LENGTH == 8 + key.len() + text.len() && key.len() + text.len() < SHORT_BYTES);
    let (key_bytes, text_bytes) = (key.len() as u8, text.len() as u8);
    let mut pair = [0; LENGTH];
    let (start, rest) = pair.split_at_mut(4);
    start.copy_from_slice(&[field << 3 | 2, 6 + key_bytes + text_bytes, 1 << 3 | 2, key_bytes]);
    let (start, rest) = rest.split_at_mut(key.len());
    start.copy_from_slice(key);
    let (start, rest) = rest.split_at_mut(4);
    start.copy_from_slice(&[2 << 3 | 2, 2 + text_bytes, 1 << 3 | 2, text_bytes]);
    rest.copy_from_slice(text);
    pair
}

/// A `KeyValue`. Most are short texts or integers: every length takes one byte, and is known.
fn attribute(out: &mut Vec<u8>, field: u8, key: &str, value: AttributeRef<'_>) {
    match value {
        AttributeRef::Text(text) if key.len() + text.len() < SHORT_BYTES => {
            let length = text.len() as u8;
            let head = [2 << 3 | 2, 2 + length, 1 << 3 | 2, length];
            short(out, field, key, head, text.as_bytes());
        }
        AttributeRef::Int(integer @ 0..0x4000) if key.len() < SHORT_BYTES - 2 => {
            // Seven bits a byte, the lowest first, and room for fourteen.
            let digits = [integer as u8 | 0x80, (integer >> 7) as u8];
            short(
                out,
                field,
                key,
                [2 << 3 | 2, 3, 3 << 3, digits[0], digits[1]],
                &[],
            );
        }
        _ => any_attribute(out, field, key, value),
    }
}

/// `head` is what the value begins with, its own length among it.
#[inline(always)]
fn short<const HEAD: usize>(out: &mut Vec<u8>, field: u8, key: &str, head: [u8; HEAD], content: &[u8]) {
    let (key_bytes, value_bytes) = (key.len() as u8, (HEAD + content.len()) as u8);
    out.extend_from_slice(&[field << 3 | 2, 2 + key_bytes + value_bytes, 1 << 3 | 2, key_bytes]);
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(content);
}

#[inline(never)]
fn any_attribute(out: &mut Vec<u8>, field: u8, key: &str, value: AttributeRef<'_>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use prost::Message;

    #[test]
    fn attributes_of_every_length_are_read_as_they_were_meant() {
        let read = |key: &str, value: AttributeRef<'_>| {
            let mut out = Vec::new();
            attribute(&mut out, 9, key, value);
            assert_eq!(out[0], 9 << 3 | 2);
            let pair = KeyValue::decode_length_delimited(&out[1..]).unwrap();
            assert_eq!(pair.key, key);
            pair.value.and_then(|AnyValue { value }| value).unwrap()
        };
        for length in [
            1,
            20,
            SHORT_BYTES - 3,
            SHORT_BYTES - 2,
            SHORT_BYTES - 1,
            SHORT_BYTES,
            300,
        ] {
            let key = "k".repeat(length);
            for number in [0, 1, 127, 128, 200, 0x3FFF, 0x4000, 65_535, i64::MAX, -1] {
                assert_eq!(read(&key, AttributeRef::Int(number)), Value::IntValue(number));
            }
            for text in [
                String::new(),
                "x".to_owned(),
                "y".repeat(SHORT_BYTES),
                "z".repeat(300),
            ] {
                assert_eq!(
                    read(&key, AttributeRef::Text(&text)),
                    Value::StringValue(text.clone())
                );
            }
        }
    }
}
