//! The span as every room of the collector holds it: the wire's span with its strings resolved and its bounds
//! checked. What enters: nothing; this is the vocabulary. Absent on purpose: storage layout (see `store::segment`)
//! and the JSON shape (see `query`).

use serde_json::{Map, Number, Value as Json};
use spanhound_proto::v1::{Confidence, LinkMethod, SpanKind, Status};
use std::sync::Arc;

/// A string shared by the spans of a batch.
pub type Text = Arc<str>;

/// W3C trace id, most significant byte first.
pub type TraceId = u128;

/// W3C span id; 0 is "none".
pub type SpanId = u64;

/// How a span is known to have been caused by its parent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    pub method: LinkMethod,
    pub confidence: Confidence,
    /// 1 for exact, the posterior for inferred, 0 for none.
    pub probability: f32,
}

impl Link {
    pub const NONE: Self = Self {
        method: LinkMethod::None,
        confidence: Confidence::None,
        probability: 0.0,
    };
    /// The two ends of one connection, recognised by their exchange key.
    pub const TCP: Self = Self {
        method: LinkMethod::Tcp,
        confidence: Confidence::Exact,
        probability: 1.0,
    };
}

/// One running process or container of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Stable hash of agent, pid and process start time.
    pub id: u64,
    pub service: Text,
    pub name: Text,
    pub host_name: Text,
    pub executable: Text,
    pub command_line: Text,
    pub container_id: Text,
    pub systemd_unit: Text,
    pub runtime: Text,
    pub pid: u32,
    pub started_unix_ns: u64,
}

/// The value of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Text),
    Integer(i64),
    Number(f64),
    Boolean(bool),
    Texts(Vec<Text>),
}

impl Value {
    /// The value as JSON; a number JSON cannot hold (NaN, infinities) becomes null.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => Json::from(&**text),
            Self::Integer(integer) => Json::from(*integer),
            Self::Number(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
            Self::Boolean(boolean) => Json::from(*boolean),
            Self::Texts(texts) => texts.iter().map(|text| Json::from(&**text)).collect(),
        }
    }
}

/// An exchange seen from one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent_span_id: SpanId,
    pub link: Link,
    pub kind: SpanKind,
    pub status: Status,
    pub start_unix_ns: u64,
    pub duration_ns: u64,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Equal on both ends of one exchange; 0 where unknown.
    pub exchange_key: u64,
    pub instance: Arc<Instance>,
    pub protocol: Text,
    pub family: Text,
    pub name: Text,
    pub operation: Text,
    pub target: Text,
    pub status_text: Text,
    pub error_message: Text,
    pub peer: Text,
    pub peer_service: Text,
    pub local: Text,
    /// Why there was no response; empty for complete spans.
    pub unanswered: Text,
    pub attributes: Vec<(Text, Value)>,
}

impl Span {
    /// Whether the span comes from an instrumented application (OTLP) rather than from an agent.
    pub fn is_otlp(&self) -> bool {
        self.instance.id == 0
    }

    /// Whether the span is a call to something: a request or a message sent.
    pub fn is_calling(&self) -> bool {
        matches!(self.kind, SpanKind::Client | SpanKind::Producer)
    }

    /// Whether the span is work done for a request or a message received.
    pub fn is_serving(&self) -> bool {
        matches!(self.kind, SpanKind::Server | SpanKind::Consumer)
    }

    /// Whether the span is the client's end of an exchange. A consumer is one: it fetches from its broker.
    pub fn is_client_end(&self) -> bool {
        self.is_calling() || self.kind == SpanKind::Consumer
    }

    pub fn is_error(&self) -> bool {
        self.status == Status::Error
    }

    /// The attribute's text, when it is there and is text.
    pub fn attribute_text(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find_map(|(name, value)| match value {
            Value::Text(text) if &**name == key => Some(&**text),
            _ => None,
        })
    }

    /// The attributes as a JSON object.
    pub fn attributes_json(&self) -> Map<String, Json> {
        self.attributes
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_json()))
            .collect()
    }

    /// What the span takes in memory, strings counted as if shared by ten spans.
    pub fn estimated_bytes(&self) -> usize {
        let texts = [
            &self.name,
            &self.operation,
            &self.target,
            &self.error_message,
            &self.peer,
            &self.local,
        ];
        size_of::<Self>()
            + self.attributes.len() * size_of::<(Text, Value)>()
            + texts.iter().map(|text| text.len() + 16).sum::<usize>() / 10
    }
}
