//! The columns of a segment, once: what is written, what is read and what docs/STORE.md describes come from here.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};

/// Text attributes with a column of their own, by their OpenTelemetry name.
pub const TEXT_ATTRIBUTES: &[&str] = &[
    "http.request.method",
    "http.route",
    "url.path",
    "url.full",
    "url.scheme",
    "server.address",
    "client.address",
    "network.protocol.version",
    "user_agent.original",
    "error.type",
    "db.system.name",
    "db.namespace",
    "db.collection.name",
    "db.operation.name",
    "db.query.text",
    "db.response.status_code",
    "rpc.system.name",
    "rpc.method",
    "rpc.response.status_code",
    "messaging.system",
    "messaging.destination.name",
    "messaging.operation.name",
];

/// Integer attributes with a column of their own.
pub const INTEGER_ATTRIBUTES: &[&str] = &[
    "http.response.status_code",
    "server.port",
    "http.request.body.size",
    "http.response.body.size",
];

/// The text columns of a span, in order.
pub const SPAN_TEXTS: &[&str] = &[
    "service",
    "instance",
    "host_name",
    "executable",
    "command_line",
    "container_id",
    "systemd_unit",
    "runtime",
    "protocol",
    "family",
    "name",
    "operation",
    "target",
    "status_text",
    "error_message",
    "peer",
    "peer_service",
    "local",
    "unanswered",
];

/// The unsigned columns of a span, in order.
pub const SPAN_NUMBERS: &[&str] = &[
    "span_id",
    "parent_span_id",
    "duration_ns",
    "request_bytes",
    "response_bytes",
    "exchange_key",
    "instance_id",
    "instance_started_unix_ns",
    "pid",
];

/// The columns of small numbers (enumerations of the wire), in order.
pub const SPAN_ENUMS: &[&str] = &["kind", "status", "link_method", "link_confidence"];

/// One row a span, sorted by trace id.
pub static SPANS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![
        Field::new("trace_id", DataType::FixedSizeBinary(16), false),
        Field::new(
            "start",
            DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            false,
        ),
        Field::new("link_probability", DataType::Float32, false),
    ];
    fields.extend(
        SPAN_NUMBERS
            .iter()
            .map(|name| Field::new(*name, DataType::UInt64, false)),
    );
    fields.extend(
        SPAN_ENUMS
            .iter()
            .map(|name| Field::new(*name, DataType::UInt8, false)),
    );
    fields.extend(
        SPAN_TEXTS
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, false)),
    );
    fields.extend(
        TEXT_ATTRIBUTES
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, true)),
    );
    fields.extend(
        INTEGER_ATTRIBUTES
            .iter()
            .map(|name| Field::new(*name, DataType::Int64, true)),
    );
    // The other attributes, one JSON object.
    fields.push(Field::new("attributes", DataType::Utf8, true));
    Arc::new(Schema::new(fields))
});

/// The text columns of a point, in order.
pub const POINT_TEXTS: &[&str] = &[
    "target_node",
    "source_node",
    "service",
    "instance",
    "name",
    "target",
    "status_text",
];

/// One row a counted call, sorted by node and start: what the scatter chart and the lists read.
pub static POINTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![
        Field::new("trace_id", DataType::FixedSizeBinary(16), false),
        Field::new(
            "start",
            DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            false,
        ),
        Field::new("span_id", DataType::UInt64, false),
        Field::new("duration_ns", DataType::UInt64, false),
        Field::new("on_node", DataType::Boolean, false),
        Field::new("on_edge", DataType::Boolean, false),
        Field::new("class", DataType::UInt8, false),
        Field::new("link_confidence", DataType::UInt8, false),
    ];
    fields.extend(
        POINT_TEXTS
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, false)),
    );
    Arc::new(Schema::new(fields))
});
