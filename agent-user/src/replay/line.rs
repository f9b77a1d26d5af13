//! Line: one finished exchange as one line of output.
//!
//! Enters: an exchange and who took part. Leaves: JSON or text. Bounded: one line at a time. Deliberately absent:
//! pairing, order.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use crate::event::TimeNs;
use crate::exchange::Exchange;
use crate::protocol::{Message, Outcome, PropagatedContext, Side, Value};

/// One span of `replay`, as `docs/REPLAY.md` describes its fields.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    protocol: &'static str,
    /// What is spoken on top of `protocol`.
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<&'static str>,
    client: SocketAddr,
    server: SocketAddr,
    start_unix_ns: TimeNs,
    /// To the last byte of the response; `None` where none was seen.
    duration_ns: Option<u64>,
    operation: &'a str,
    target: &'a str,
    status: &'a str,
    error: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    error_message: &'a str,
    request_bytes: u64,
    response_bytes: u64,
    /// Which end sent the request, where it is not the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<&'static str>,
    /// Why there is no whole response.
    #[serde(skip_serializing_if = "str::is_empty")]
    incomplete: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkShown<'a>>,
}

/// What the trace headers of the request, or of the one message it fetched, say of its parent.
#[derive(Debug, Serialize)]
struct LinkShown<'a> {
    method: &'static str,
    confidence: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    trace_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    parent_span_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
}

impl<'a> Line<'a> {
    pub(super) fn new(exchange: &'a Exchange, client: SocketAddr, server: SocketAddr) -> Self {
        let response = exchange.response.as_deref();
        let request = exchange.request.as_ref();
        let status = response.map_or(&request.status, |response| &response.status);
        let failure = [response, Some(request)].into_iter().flatten().find_map(failure);
        let attributes = [Some(request), response]
            .into_iter()
            .flatten()
            .flat_map(|message| &message.attributes);
        Self {
            protocol: if exchange.protocol.is_api() {
                exchange.carrier
            } else {
                exchange.protocol
            }
            .name(),
            api: exchange.protocol.is_api().then(|| exchange.protocol.name()),
            client,
            server,
            start_unix_ns: exchange.request_start_ns,
            duration_ns: exchange
                .response_end_ns
                .map(|end_ns| end_ns.saturating_sub(exchange.request_start_ns)),
            operation: &request.operation,
            target: &request.target,
            status,
            error: failure.is_some(),
            error_message: failure.unwrap_or_default(),
            request_bytes: exchange.request_bytes,
            response_bytes: exchange.response_bytes,
            sender: (exchange.sender == Side::Server).then_some("server"),
            incomplete: exchange.ending.reason(),
            attributes: attributes.map(|(name, value)| (*name, Shown(value))).collect(),
            link: [Some(request), response]
                .into_iter()
                .flatten()
                .find_map(|message| message.context.as_deref())
                .map(link),
        }
    }
}

fn failure(message: &Message) -> Option<&str> {
    match &message.outcome {
        Outcome::Error(text) => Some(text),
        Outcome::Unset | Outcome::Ok => None,
    }
}

fn link(context: &PropagatedContext) -> LinkShown<'_> {
    let hexadecimal = |id: u128, digits: usize| {
        if id == 0 {
            String::new()
        } else {
            format!("{id:0digits$x}")
        }
    };
    LinkShown {
        method: "header",
        confidence: "exact",
        trace_id: hexadecimal(context.trace_id, 32),
        parent_span_id: hexadecimal(u128::from(context.span_id), 16),
        request_id: &context.request_id,
    }
}

#[derive(Debug)]
struct Shown<'a>(&'a Value);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::List(texts) => serializer.collect_seq(texts.iter().map(|text| text.as_str())),
        }
    }
}

/// For reading: start, duration, who, what, how it went.
impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (seconds, rest_ns) = (
            self.start_unix_ns / 1_000_000_000,
            self.start_unix_ns % 1_000_000_000,
        );
        write!(f, "{seconds}.{rest_ns:09} ")?;
        match self.duration_ns {
            Some(duration_ns) => write!(f, "{:>12.3} ms", duration_ns as f64 / 1e6)?,
            None => write!(f, "{:>15}", "-")?,
        }
        write!(
            f,
            "  {:<10} {} -> {}  {}",
            self.protocol, self.client, self.server, self.operation
        )?;
        for part in [self.target, self.status]
            .into_iter()
            .filter(|part| !part.is_empty())
        {
            write!(f, " {}", part.escape_debug())?;
        }
        match (self.error, self.error_message) {
            (false, _) => Ok(()),
            (true, "") => write!(f, "  ERROR"),
            (true, message) => write!(f, "  ERROR {}", message.escape_debug()),
        }
    }
}
