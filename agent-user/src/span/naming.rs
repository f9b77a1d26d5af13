//! Span names and error rules by protocol family.
//!
//! Enters: an exchange. Leaves: the name OpenTelemetry's semantic conventions (1.44) ask for: low cardinality, so a path
//! only as a route template. Deliberately absent: attributes.

use compact_str::CompactString;

use crate::exchange::Exchange;
use crate::protocol::table::Family;
use crate::protocol::{Message, Side, Value};

pub(super) const NAME_MAX_CHARS: usize = 120;

pub(super) fn name(exchange: &Exchange) -> CompactString {
    let (operation, subject) = parts(exchange);
    let mut name = CompactString::with_capacity(operation.len() + 1 + subject.len());
    name.push_str(operation);
    if !(operation.is_empty() || subject.is_empty()) {
        name.push(' ');
    }
    name.push_str(subject);
    if name.len() > NAME_MAX_CHARS
        && let Some((cut, _)) = name.char_indices().nth(NAME_MAX_CHARS)
    {
        name.truncate(cut);
    }
    name
}

/// What is done, and with what: a space between them where there are both. Not cut to their length.
pub(super) fn parts(exchange: &Exchange) -> (&str, &str) {
    let request = &exchange.request;
    let operation = request.operation.as_str();
    let subject = match exchange.protocol.family() {
        Family::Http => text(request, "http.route").unwrap_or_default(),
        Family::Rpc => text(request, "rpc.method").unwrap_or(request.target.as_str()),
        Family::Database | Family::Cache => text(request, "db.collection.name")
            .or_else(|| text(request, "db.namespace").filter(|name| !is_number(name)))
            .unwrap_or_default(),
        Family::Messaging => text(request, "messaging.destination.name").unwrap_or(request.target.as_str()),
        Family::Name => request.target.as_str(),
    };
    match (operation.is_empty(), subject.is_empty()) {
        (true, true) => ("", exchange.protocol.name()),
        (false, false) if subject.starts_with(operation) || operation.ends_with(subject) => ("", subject),
        _ => (operation, subject),
    }
}

/// A numbered namespace, as Redis has them, says nothing.
fn is_number(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

/// HTTP: a 4xx is the client's failure, not the server's.
pub(super) fn status_means_error(exchange: &Exchange, side: Side) -> bool {
    exchange.protocol.family() == Family::Http
        && side == Side::Client
        && exchange
            .response
            .as_ref()
            .is_some_and(|response| response.status.starts_with('4'))
}

fn text<'a>(message: &'a Message, key: &str) -> Option<&'a str> {
    message.attributes.iter().find_map(|(name, value)| match value {
        Value::Text(text) if *name == key => Some(text.as_str()),
        _ => None,
    })
}
