//! OTLP -> wire batch, so that instrumented applications' spans take the same road. Service and instance come from the
//! resource, protocol and family from the semantic conventions (current and former names). Spans keep their ids; a
//! parent is linked by method `otlp`, exact. Absent on purpose: events, links and scopes; recognising a repeated
//! export, which OTLP gives no id for.

use super::Kept;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use spanhound_proto::v1;
use std::collections::HashMap;

/// Translates an export. The batch has no sequence number (0).
pub fn to_batch(request: ExportTraceServiceRequest) -> v1::Batch {
    let mut strings = Strings::new();
    let mut batch = v1::Batch::default();
    for resource_spans in request.resource_spans {
        let instance = batch.instances.len() as u32;
        let resource = resource_spans.resource.unwrap_or_default();
        batch.instances.push(instance_of(&resource, &mut strings));
        for span in resource_spans
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            batch.spans.push(span_of(span, instance, &mut strings));
        }
    }
    batch.strings = strings.list;
    batch
}

/// The answer to an export.
pub fn answer(kept: &Kept) -> ExportTraceServiceResponse {
    let rejected: u64 = kept.refused.values().sum();
    let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: format!("{:?}", kept.refused),
    });
    ExportTraceServiceResponse { partial_success }
}

fn instance_of(resource: &Resource, strings: &mut Strings) -> v1::Instance {
    let get = |key| text_of(&resource.attributes, key);
    let service = get("service.name").unwrap_or("unknown_service");
    let pid = integer_of(&resource.attributes, "process.pid").and_then(|pid| u32::try_from(pid).ok());
    let host_name = get("host.name").unwrap_or_default();
    let name =
        get("service.instance.id").map_or_else(|| format!("{host_name}:{}", pid.unwrap_or(0)), str::to_owned);
    v1::Instance {
        id: 0,
        service: strings.index(service),
        executable: strings.index(get("process.executable.path").unwrap_or_default()),
        command_line: 0,
        container_id: strings.index(get("container.id").unwrap_or_default()),
        systemd_unit: 0,
        pid: pid.unwrap_or(0),
        started_unix_ns: 0,
        runtime: strings.index(get("telemetry.sdk.language").unwrap_or_default()),
        instance_name: strings.index(&name),
        host_name: strings.index(host_name),
    }
}

fn span_of(span: Span, instance: u32, strings: &mut Strings) -> v1::Span {
    let get = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| text_of(&span.attributes, key))
            .unwrap_or_default()
    };
    let database = get(&["db.system.name", "db.system"]);
    let rpc = get(&["rpc.system.name", "rpc.system"]);
    let messaging = get(&["messaging.system"]);
    let operation = get(&[
        "http.request.method",
        "http.method",
        "db.operation.name",
        "db.operation",
        "rpc.method",
    ]);
    let target = get(&[
        "http.route",
        "url.path",
        "http.target",
        "db.query.text",
        "db.statement",
        "messaging.destination.name",
    ]);
    let (family, protocol) = if matches!(database, "redis" | "memcached") {
        ("cache", database)
    } else if !database.is_empty() {
        ("database", database)
    } else if !messaging.is_empty() {
        ("messaging", messaging)
    } else if !rpc.is_empty() {
        ("rpc", rpc)
    } else if get(&["http.request.method", "http.method", "url.full", "http.url"]).is_empty() {
        ("", "")
    } else {
        ("http", "http")
    };
    let status_text = ["http.response.status_code", "http.status_code"]
        .iter()
        .find_map(|key| integer_of(&span.attributes, key))
        .map(|code| code.to_string())
        .unwrap_or_default();
    let peer = peer_of(&span.attributes);
    let (status, error_message) = match &span.status {
        Some(status) if status.code() == StatusCode::Error => (v1::Status::Error, status.message.as_str()),
        Some(status) if status.code() == StatusCode::Ok => (v1::Status::Ok, ""),
        _ => (v1::Status::Unset, ""),
    };
    let parent_span_id = id_of(&span.parent_span_id);
    let linked = parent_span_id != 0;
    v1::Span {
        span_id: id_of(&span.span_id),
        parent_span_id,
        link_method: if linked {
            v1::LinkMethod::Otlp
        } else {
            v1::LinkMethod::None
        } as i32,
        link_confidence: if linked {
            v1::Confidence::Exact
        } else {
            v1::Confidence::None
        } as i32,
        link_probability: if linked { 1.0 } else { 0.0 },
        kind: kind_of(span.kind()) as i32,
        instance,
        protocol: strings.index(protocol),
        name: strings.index(&span.name),
        operation: strings.index(operation),
        target: strings.index(target),
        status_text: strings.index(&status_text),
        error_message: strings.index(error_message),
        status: status as i32,
        start_unix_ns: span.start_time_unix_nano,
        duration_ns: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
        peer: strings.index(&peer),
        family: strings.index(family),
        attributes: span
            .attributes
            .iter()
            .filter_map(|attribute| attribute_of(attribute, strings))
            .collect(),
        trace_id: span.trace_id.clone(),
        ..v1::Span::default()
    }
}

fn kind_of(kind: SpanKind) -> v1::SpanKind {
    match kind {
        SpanKind::Unspecified | SpanKind::Internal => v1::SpanKind::Internal,
        SpanKind::Server => v1::SpanKind::Server,
        SpanKind::Client => v1::SpanKind::Client,
        SpanKind::Producer => v1::SpanKind::Producer,
        SpanKind::Consumer => v1::SpanKind::Consumer,
    }
}

/// An id of the wrong length is 0 and refused where one is needed.
fn id_of(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

/// The called address, numeric where the span has it: that is how agents name it.
fn peer_of(attributes: &[KeyValue]) -> String {
    let first_text = |keys: &[&str]| keys.iter().find_map(|key| text_of(attributes, key));
    let first_port = |keys: &[&str]| keys.iter().find_map(|key| integer_of(attributes, key));
    let address = first_text(&[
        "network.peer.address",
        "net.sock.peer.addr",
        "server.address",
        "net.peer.name",
    ]);
    let port = first_port(&[
        "network.peer.port",
        "net.sock.peer.port",
        "server.port",
        "net.peer.port",
    ]);
    match (address, port) {
        (Some(address), Some(port)) if address.contains(':') => format!("[{address}]:{port}"),
        (Some(address), Some(port)) => format!("{address}:{port}"),
        (Some(address), None) => address.to_owned(),
        (None, _) => String::new(),
    }
}

fn attribute_of(attribute: &KeyValue, strings: &mut Strings) -> Option<v1::Attribute> {
    use v1::attribute::Value;
    let value = match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Value::Text(strings.index(text)),
        any_value::Value::BoolValue(boolean) => Value::Boolean(*boolean),
        any_value::Value::IntValue(integer) => Value::Integer(*integer),
        any_value::Value::DoubleValue(number) => Value::Number(*number),
        any_value::Value::ArrayValue(array) => {
            let texts = array
                .values
                .iter()
                .filter_map(as_text)
                .map(|text| strings.index(text))
                .collect();
            Value::Texts(v1::TextList { texts })
        }
        _ => return None,
    };
    Some(v1::Attribute {
        key: strings.index(&attribute.key),
        value: Some(value),
    })
}

fn text_of<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .as_ref()
        .and_then(as_text)
}

fn integer_of(attributes: &[KeyValue], key: &str) -> Option<i64> {
    match attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .as_ref()?
        .value
        .as_ref()?
    {
        any_value::Value::IntValue(integer) => Some(*integer),
        _ => None,
    }
}

fn as_text(value: &AnyValue) -> Option<&str> {
    match value.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

struct Strings {
    list: Vec<String>,
    known: HashMap<String, u32>,
}

impl Strings {
    fn new() -> Self {
        Self {
            list: vec![String::new()],
            known: HashMap::from([(String::new(), 0)]),
        }
    }

    fn index(&mut self, text: &str) -> u32 {
        if let Some(index) = self.known.get(text) {
            return *index;
        }
        let index = self.list.len() as u32;
        self.list.push(text.to_owned());
        self.known.insert(text.to_owned(), index);
        index
    }
}
