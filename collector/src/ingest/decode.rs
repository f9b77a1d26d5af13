//! Wire batch -> spans. Enters: one decoded `Batch` of an agent (or translated OTLP). Leaves: its spans with strings
//! resolved, and how many were refused by reason. Bounded: spans, strings and instances per batch, bytes per string,
//! attributes per span. Never panics on what a batch holds. Absent on purpose: durability and joining.

use crate::losses::{Counter, Losses};
use crate::span::{Instance, Link, Span, Text, Value};
use spanhound_proto::v1;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const MAX_BATCH_BYTES: usize = 16 << 20;
pub const MAX_SPANS: usize = 100_000;
pub const MAX_STRINGS: usize = 400_000;
pub const MAX_INSTANCES: usize = 20_000;
pub const MAX_STRING_BYTES: usize = 16 << 10;
pub const MAX_ATTRIBUTES: usize = 128;
/// How far a span may start ahead of the collector's clock.
pub const MAX_AHEAD_NS: u64 = 3_600_000_000_000;

/// Why a whole batch cannot be taken. The sender must not repeat it.
#[derive(Debug, thiserror::Error)]
#[error("the batch has {count} {what}, more than {bound}")]
pub struct BatchTooLarge {
    pub what: &'static str,
    pub count: usize,
    pub bound: usize,
}

/// The spans of a batch and what was refused.
#[derive(Debug, Default)]
pub struct Decoded {
    pub spans: Vec<Span>,
    pub refused: BTreeMap<&'static str, u64>,
}

/// Which start times are accepted.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    pub now_unix_ns: u64,
    pub retention_ns: u64,
}

/// Checks the bounds of a batch that hold before anything of it is used.
///
/// # Errors
/// [`BatchTooLarge`].
pub fn check_bounds(batch: &v1::Batch) -> Result<(), BatchTooLarge> {
    for (what, count, bound) in [
        ("spans", batch.spans.len(), MAX_SPANS),
        ("strings", batch.strings.len(), MAX_STRINGS),
        ("instances", batch.instances.len(), MAX_INSTANCES),
    ] {
        if count > bound {
            return Err(BatchTooLarge { what, count, bound });
        }
    }
    Ok(())
}

/// Resolves and checks every span; those that fail are counted under their reason, in `Decoded` and in `losses`.
pub fn decode(batch: &v1::Batch, accepted: Accepted, losses: &Losses) -> Decoded {
    let strings = Strings::new(&batch.strings, losses);
    let instances: Vec<Option<Arc<Instance>>> = batch
        .instances
        .iter()
        .map(|instance| strings.instance(instance).map(Arc::new))
        .collect();
    let mut decoded = Decoded {
        spans: Vec::with_capacity(batch.spans.len()),
        ..Decoded::default()
    };
    for span in &batch.spans {
        match decode_span(span, &strings, &instances, accepted, losses) {
            Ok(span) => decoded.spans.push(span),
            Err(reason) => {
                reason.counter(losses).add(1);
                *decoded.refused.entry(reason.name()).or_default() += 1;
            }
        }
    }
    decoded
}

/// Why one span is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    MalformedTraceId,
    MalformedSpanId,
    BadStringIndex,
    BadInstanceIndex,
    BadEnumValue,
    TooOld,
    InFuture,
}

impl Refusal {
    fn name(self) -> &'static str {
        match self {
            Self::MalformedTraceId => "malformed_trace_id",
            Self::MalformedSpanId => "malformed_span_id",
            Self::BadStringIndex => "bad_string_index",
            Self::BadInstanceIndex => "bad_instance_index",
            Self::BadEnumValue => "bad_enum_value",
            Self::TooOld => "too_old",
            Self::InFuture => "in_future",
        }
    }

    fn counter(self, losses: &Losses) -> &Counter {
        match self {
            Self::MalformedTraceId => &losses.malformed_trace_id,
            Self::MalformedSpanId => &losses.malformed_span_id,
            Self::BadStringIndex => &losses.bad_string_index,
            Self::BadInstanceIndex => &losses.bad_instance_index,
            Self::BadEnumValue => &losses.bad_enum_value,
            Self::TooOld => &losses.too_old,
            Self::InFuture => &losses.in_future,
        }
    }
}

struct Strings {
    texts: Vec<Text>,
    empty: Text,
}

impl Strings {
    fn new(strings: &[String], losses: &Losses) -> Self {
        let texts = strings
            .iter()
            .map(|string| {
                if string.len() <= MAX_STRING_BYTES {
                    return Text::from(string.as_str());
                }
                losses.strings_truncated.add(1);
                Text::from(&string[..string.floor_char_boundary(MAX_STRING_BYTES)])
            })
            .collect();
        Self {
            texts,
            empty: Text::from(""),
        }
    }

    fn get(&self, index: u32) -> Result<Text, Refusal> {
        match self.texts.get(index as usize) {
            _ if index == 0 => Ok(self.empty.clone()),
            Some(text) => Ok(text.clone()),
            None => Err(Refusal::BadStringIndex),
        }
    }

    /// `None` when the instance names a string the batch does not have; its spans are refused.
    fn instance(&self, wire: &v1::Instance) -> Option<Instance> {
        let text = |index| self.get(index).ok();
        Some(Instance {
            id: wire.id,
            service: text(wire.service)?,
            name: text(wire.instance_name)?,
            host_name: text(wire.host_name)?,
            executable: text(wire.executable)?,
            command_line: text(wire.command_line)?,
            container_id: text(wire.container_id)?,
            systemd_unit: text(wire.systemd_unit)?,
            runtime: text(wire.runtime)?,
            pid: wire.pid,
            started_unix_ns: wire.started_unix_ns,
        })
    }
}

fn decode_span(
    wire: &v1::Span,
    strings: &Strings,
    instances: &[Option<Arc<Instance>>],
    accepted: Accepted,
    losses: &Losses,
) -> Result<Span, Refusal> {
    let trace_id = <[u8; 16]>::try_from(wire.trace_id.as_slice())
        .map(u128::from_be_bytes)
        .ok()
        .filter(|id| *id != 0)
        .ok_or(Refusal::MalformedTraceId)?;
    if wire.span_id == 0 {
        return Err(Refusal::MalformedSpanId);
    }
    if wire.start_unix_ns < accepted.now_unix_ns.saturating_sub(accepted.retention_ns) {
        return Err(Refusal::TooOld);
    }
    if wire.start_unix_ns > accepted.now_unix_ns.saturating_add(MAX_AHEAD_NS) {
        return Err(Refusal::InFuture);
    }
    let instance = instances
        .get(wire.instance as usize)
        .cloned()
        .flatten()
        .ok_or(Refusal::BadInstanceIndex)?;
    let enums = (|| {
        let method = v1::LinkMethod::try_from(wire.link_method).ok()?;
        let confidence = v1::Confidence::try_from(wire.link_confidence).ok()?;
        let probability = if wire.link_probability.is_finite() {
            wire.link_probability.clamp(0.0, 1.0)
        } else {
            0.0
        };
        let link = Link {
            method,
            confidence,
            probability,
        };
        Some((
            link,
            v1::SpanKind::try_from(wire.kind).ok()?,
            v1::Status::try_from(wire.status).ok()?,
        ))
    })();
    let (link, kind, status) = enums.ok_or(Refusal::BadEnumValue)?;
    let text = |index| strings.get(index);
    let kept = wire.attributes.len().min(MAX_ATTRIBUTES);
    losses
        .attributes_trimmed
        .add((wire.attributes.len() - kept) as u64);
    let mut attributes = Vec::with_capacity(kept);
    for attribute in &wire.attributes[..kept] {
        if let Some(value) = &attribute.value {
            attributes.push((text(attribute.key)?, decode_value(value, strings)?));
        }
    }
    Ok(Span {
        trace_id,
        span_id: wire.span_id,
        parent_span_id: wire.parent_span_id,
        link: if wire.parent_span_id == 0 {
            Link::NONE
        } else {
            link
        },
        kind,
        status,
        start_unix_ns: wire.start_unix_ns,
        duration_ns: wire.duration_ns,
        request_bytes: wire.request_bytes,
        response_bytes: wire.response_bytes,
        exchange_key: wire.exchange_key,
        instance,
        protocol: text(wire.protocol)?,
        family: text(wire.family)?,
        name: text(wire.name)?,
        operation: text(wire.operation)?,
        target: text(wire.target)?,
        status_text: text(wire.status_text)?,
        error_message: text(wire.error_message)?,
        peer: text(wire.peer)?,
        peer_service: text(wire.peer_service)?,
        local: text(wire.local)?,
        unanswered: text(wire.unanswered)?,
        attributes,
    })
}

fn decode_value(value: &v1::attribute::Value, strings: &Strings) -> Result<Value, Refusal> {
    use v1::attribute::Value as Wire;
    Ok(match value {
        Wire::Text(index) => Value::Text(strings.get(*index)?),
        Wire::Integer(integer) => Value::Integer(*integer),
        Wire::Number(number) => Value::Number(*number),
        Wire::Boolean(boolean) => Value::Boolean(*boolean),
        Wire::Texts(list) => {
            let kept = &list.texts[..list.texts.len().min(MAX_ATTRIBUTES)];
            Value::Texts(
                kept.iter()
                    .map(|index| strings.get(*index))
                    .collect::<Result<_, _>>()?,
            )
        }
    })
}
