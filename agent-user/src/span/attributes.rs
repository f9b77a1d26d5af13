//! Attributes of a span: those every exchange of a family has, then those its parser found.
//!
//! Enters: a span. Leaves: keys of OpenTelemetry's semantic conventions (1.44) with borrowed values. Bounded: by the
//! messages. Deliberately absent: resource attributes; they are the instance's.

use compact_str::CompactString;

use super::{Endpoints, Kind, Span, Status};
use crate::protocol::table::Family;
use crate::protocol::{Message, Side, Value};

/// A value, borrowed from the span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttributeRef<'a> {
    Text(&'a str),
    Int(i64),
    Float(f64),
    Bool(bool),
    List(&'a [CompactString]),
}

impl<'a> From<&'a Value> for AttributeRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(text),
            Value::Int(integer) => Self::Int(*integer),
            Value::Float(float) => Self::Float(*float),
            Value::Bool(boolean) => Self::Bool(*boolean),
            Value::List(list) => Self::List(list),
        }
    }
}

type Visit<'v> = dyn FnMut(&'static str, AttributeRef<'_>) + 'v;

/// `connection` shows those of the connection among the others.
pub(super) fn visit(span: &Span, connection: bool, visit: &mut Visit<'_>) {
    let request = &*span.exchange.request;
    let response = span.exchange.response.as_deref();
    let mut derived = |key: &'static str, value: AttributeRef<'_>| {
        let empty = matches!(value, AttributeRef::Text(text) if text.is_empty());
        if !empty && !has(request, key) && !response.is_some_and(|response| has(response, key)) {
            visit(key, value);
        }
    };
    by_family(span, &mut derived);
    if connection {
        network(&span.endpoints, span.side(), &mut derived);
    }
    if span.status() == Status::Error {
        let status = span.status_text();
        derived(
            "error.type",
            AttributeRef::Text(if status.is_empty() { "_OTHER" } else { status }),
        );
    }
    let of_response = response
        .map(|response| response.attributes.as_slice())
        .unwrap_or_default();
    for (key, value) in &request.attributes {
        if of_response.is_empty() || !of_response.iter().any(|(later, _)| later == key) {
            visit(key, value.into());
        }
    }
    for (key, value) in of_response {
        visit(key, value.into());
    }
}

fn has(message: &Message, key: &str) -> bool {
    message.attributes.iter().any(|(name, _)| *name == key)
}

fn by_family(span: &Span, visit: &mut Visit<'_>) {
    let request = &*span.exchange.request;
    let (operation, target) = (request.operation.as_str(), request.target.as_str());
    let status = span.status_text();
    let system = span.exchange.protocol.system();
    match span.exchange.protocol.family() {
        Family::Http => {
            if let Some(first_ns) = span.exchange.first_token_ns {
                let seconds = first_ns.saturating_sub(span.start_ns()) as f64 / 1e9;
                visit(
                    "gen_ai.response.time_to_first_chunk",
                    AttributeRef::Float(seconds),
                );
            }
            visit("http.request.method", AttributeRef::Text(operation));
            visit("url.path", AttributeRef::Text(target));
            if let Ok(code) = status.parse() {
                visit("http.response.status_code", AttributeRef::Int(code));
            }
        }
        Family::Rpc => {
            visit("rpc.system.name", AttributeRef::Text(system));
            visit(
                "rpc.method",
                AttributeRef::Text(if operation.is_empty() { target } else { operation }),
            );
            visit("rpc.response.status_code", AttributeRef::Text(status));
        }
        Family::Database | Family::Cache => {
            visit("db.system.name", AttributeRef::Text(system));
            visit("db.operation.name", AttributeRef::Text(operation));
            // Where the target is a key or a collection, the protocol tells the text itself.
            if !has(request, "db.query.text") && !has(request, "url.path") {
                visit("db.query.text", AttributeRef::Text(target));
            }
            if span.status() == Status::Error {
                visit("db.response.status_code", AttributeRef::Text(status));
            }
        }
        Family::Messaging => {
            visit("messaging.system", AttributeRef::Text(system));
            visit("messaging.operation.name", AttributeRef::Text(operation));
            visit("messaging.destination.name", AttributeRef::Text(target));
            let operation_type = match span.kind() {
                Kind::Producer => "send",
                Kind::Consumer => "receive",
                Kind::Client | Kind::Server => "",
            };
            visit("messaging.operation.type", AttributeRef::Text(operation_type));
        }
        Family::Name => visit("dns.question.name", AttributeRef::Text(target)),
    }
}

/// Whether a message says this itself, whatever the connection would say.
pub(super) fn is_said(span: &Span, key: &str) -> bool {
    has(&span.exchange.request, key)
        || span
            .exchange
            .response
            .as_deref()
            .is_some_and(|response| has(response, key))
}

pub(super) fn network(endpoints: &Endpoints, side: Side, visit: &mut Visit<'_>) {
    let Endpoints {
        local,
        remote,
        unix_path,
        local_text,
        remote_text,
    } = endpoints;
    if !unix_path.is_empty() {
        visit("network.transport", AttributeRef::Text("unix"));
        visit("server.address", AttributeRef::Text(unix_path));
        return;
    }
    let (server, server_text, peer_key) = match side {
        Side::Client => (remote, remote_text, "network.peer.address"),
        Side::Server => (local, local_text, "client.address"),
    };
    if let Some(address) = server {
        visit("server.address", AttributeRef::Text(host(server_text)));
        visit("server.port", AttributeRef::Int(i64::from(address.port())));
    }
    if let Some(address) = remote {
        visit(peer_key, AttributeRef::Text(host(remote_text)));
        visit("network.peer.port", AttributeRef::Int(i64::from(address.port())));
    }
}

/// The address of `address:port` or `[address]:port`.
fn host(text: &str) -> &str {
    let host = text.rfind(':').map_or(text, |colon| &text[..colon]);
    host.strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_written_addresses() {
        assert_eq!(host("127.0.0.1:80"), "127.0.0.1");
        assert_eq!(host("[fe80::1%3]:80"), "fe80::1%3");
        assert_eq!(host(""), "");
    }
}
