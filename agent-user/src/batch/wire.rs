//! A batch in the form of `proto/spanhound/v1/wire.proto`.
//!
//! Enters: a [`Batch`] in parts, and who sends it. Leaves: the message, every string in it once. Bounded: by the batch.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use spanhound_proto::v1;

use super::{Batch, Linked};
use crate::health::Snapshot;
use crate::link::{Confidence, Method};
use crate::process::Instance;
use crate::protocol::table::Family;
use crate::span::{AttributeRef, Kind, Span, Status};

/// Who sends: constant while the agent runs.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    pub run_id: u64,
    pub agent: v1::Agent,
}

/// Writes a batch part by part.
pub struct Encoder {
    sender: Sender,
    written: Written,
}

impl Encoder {
    pub fn new(sender: Sender) -> Self {
        Self {
            sender,
            written: Written::new(),
        }
    }

    pub fn add(&mut self, part: &Batch) {
        for linked in &part.spans {
            let span = self.written.span(linked, part.unix_offset_ns, &self.sender.agent);
            self.written.spans.push(span);
        }
        if let Some(health) = &part.health {
            self.written.health = Some(self.written.health(health, part.unix_offset_ns));
        }
    }

    /// All parts since the last call.
    pub fn finish(&mut self, sequence: u64) -> v1::Batch {
        let written = std::mem::replace(&mut self.written, Written::new());
        v1::Batch {
            agent_run_id: self.sender.run_id,
            sequence,
            agent: Some(self.sender.agent.clone()),
            strings: written.strings,
            instances: written.instances,
            spans: written.spans,
            health: written.health,
        }
    }
}

#[derive(Default)]
struct Written {
    strings: Vec<String>,
    index_of: FxHashMap<String, u32>,
    instances: Vec<v1::Instance>,
    instance_of: FxHashMap<u64, u32>,
    spans: Vec<v1::Span>,
    health: Option<v1::Health>,
}

impl Written {
    fn new() -> Self {
        let mut written = Self::default();
        // Index 0 is the empty string.
        written.intern("");
        written
    }

    fn intern(&mut self, text: &str) -> u32 {
        if let Some(index) = self.index_of.get(text) {
            return *index;
        }
        let index = self.strings.len() as u32;
        self.strings.push(text.to_owned());
        self.index_of.insert(text.to_owned(), index);
        index
    }

    fn instance(&mut self, instance: &Arc<Instance>, unix_offset_ns: u64, agent: &v1::Agent) -> u32 {
        if let Some(index) = self.instance_of.get(&instance.id) {
            return *index;
        }
        let index = self.instances.len() as u32;
        let name = match instance.container_id.get(..12) {
            Some(short) => short.to_owned(),
            None => format!("{}:{}", agent.host_name, instance.pid),
        };
        let encoded = v1::Instance {
            id: instance.id,
            service: self.intern(&instance.service),
            executable: self.intern(&instance.executable),
            command_line: self.intern(&instance.command_line),
            container_id: self.intern(&instance.container_id),
            systemd_unit: self.intern(&instance.systemd_unit),
            pid: instance.pid,
            started_unix_ns: instance.started_boot_ns.wrapping_add(unix_offset_ns),
            runtime: self.intern(instance.runtime.name()),
            instance_name: self.intern(&name),
            host_name: self.intern(&agent.host_name),
        };
        self.instances.push(encoded);
        self.instance_of.insert(instance.id, index);
        index
    }

    fn span(&mut self, linked: &Linked, unix_offset_ns: u64, agent: &v1::Agent) -> v1::Span {
        let Linked { span, link } = linked;
        let exchange = &span.exchange;
        let mut attributes = Vec::new();
        span.attributes(&mut |key, value| attributes.push(self.attribute(key, value)));
        v1::Span {
            trace_id: link.trace_id.to_be_bytes().to_vec(),
            span_id: link.span_id,
            parent_span_id: link.parent_span_id,
            link_method: method(link.method).into(),
            link_confidence: confidence(link.confidence).into(),
            link_probability: link.probability,
            kind: kind(span).into(),
            instance: self.instance(&span.instance, unix_offset_ns, agent),
            protocol: self.intern(exchange.protocol.name()),
            name: self.intern(&span.name()),
            operation: self.intern(&exchange.request.operation),
            target: self.intern(&exchange.request.target),
            status_text: self.intern(span.status_text()),
            error_message: self.intern(span.error_message()),
            status: status(span).into(),
            start_unix_ns: span.start_ns().wrapping_add(unix_offset_ns),
            duration_ns: span.duration_ns(),
            request_bytes: exchange.request_bytes,
            response_bytes: exchange.response_bytes,
            peer: self.intern(&span.endpoints.remote_text),
            local: self.intern(&span.endpoints.local_text),
            attributes,
            exchange_key: link.exchange_key,
            unanswered: self.intern(exchange.ending.reason()),
            family: self.intern(family_name(exchange.protocol.family())),
            peer_service: 0,
        }
    }

    fn attribute(&mut self, key: &str, value: AttributeRef<'_>) -> v1::Attribute {
        use v1::attribute::Value;
        let value = match value {
            AttributeRef::Text(text) => Value::Text(self.intern(text)),
            AttributeRef::Int(integer) => Value::Integer(integer),
            AttributeRef::Float(number) => Value::Number(number),
            AttributeRef::Bool(boolean) => Value::Boolean(boolean),
            AttributeRef::List(list) => Value::Texts(v1::TextList {
                texts: list.iter().map(|text| self.intern(text)).collect(),
            }),
        };
        v1::Attribute {
            key: self.intern(key),
            value: Some(value),
        }
    }

    fn health(&mut self, health: &Snapshot, unix_offset_ns: u64) -> v1::Health {
        let named = |counts: &[(&'static str, u64)]| {
            counts
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect()
        };
        v1::Health {
            time_unix_ns: health.time_unix_ns,
            losses: named(&health.losses),
            counters: named(&health.counters),
            resident_bytes: health.resident_bytes,
            cpu_ns: health.cpu_ns,
            service_losses: health
                .by_service
                .iter()
                .map(|(service, reason, count)| v1::ServiceLoss {
                    service: self.intern(service),
                    reason: (*reason).to_owned(),
                    count: *count,
                })
                .collect(),
            connection_losses: health
                .by_connection
                .iter()
                .map(|loss| v1::ConnectionLoss {
                    service: self.intern(&loss.service),
                    local: self.intern(&loss.endpoints.local_text),
                    remote: self.intern(&loss.endpoints.remote_text),
                    reason: loss.reason.to_owned(),
                    count: loss.count,
                    last_unix_ns: loss.last_ns.wrapping_add(unix_offset_ns),
                })
                .collect(),
            hooks: health
                .hooks
                .iter()
                .map(|hook| v1::Hook {
                    event: hook.event.clone(),
                    tier: hook.tier.clone(),
                    problem: hook.problem.clone(),
                })
                .collect(),
        }
    }
}

/// The family's name on the wire.
pub fn family_name(family: Family) -> &'static str {
    match family {
        Family::Http => "http",
        Family::Rpc => "rpc",
        Family::Database => "database",
        Family::Cache => "cache",
        Family::Messaging => "messaging",
        Family::Name => "name",
    }
}

fn method(method: Method) -> v1::LinkMethod {
    match method {
        Method::None => v1::LinkMethod::None,
        Method::Header => v1::LinkMethod::Header,
        Method::Tcp => v1::LinkMethod::Tcp,
        Method::Thread => v1::LinkMethod::Thread,
        Method::Goroutine => v1::LinkMethod::Goroutine,
        Method::Task => v1::LinkMethod::Task,
        Method::Handoff => v1::LinkMethod::Handoff,
        Method::Inference => v1::LinkMethod::Inference,
    }
}

fn confidence(confidence: Confidence) -> v1::Confidence {
    match confidence {
        Confidence::None => v1::Confidence::None,
        Confidence::Inferred => v1::Confidence::Inferred,
        Confidence::Exact => v1::Confidence::Exact,
    }
}

fn kind(span: &Span) -> v1::SpanKind {
    match span.kind() {
        Kind::Server => v1::SpanKind::Server,
        Kind::Client => v1::SpanKind::Client,
        Kind::Producer => v1::SpanKind::Producer,
        Kind::Consumer => v1::SpanKind::Consumer,
    }
}

fn status(span: &Span) -> v1::Status {
    match span.status() {
        Status::Unset => v1::Status::Unset,
        Status::Error => v1::Status::Error,
    }
}
