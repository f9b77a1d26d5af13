//! GraphQL over HTTP: type and name of the operation. The document is never kept.

use compact_str::CompactString;

use super::json;
use crate::protocol::{End, Protocol, Value};

pub(super) fn is_path(path: &str) -> bool {
    path.split('/')
        .any(|segment| segment == "graphql" || segment == "gql")
}

/// A request body `{"query": "...", "operationName": "..."}`, its members in any order, possibly cut off.
pub(super) fn describe(body: &[u8], end: &mut End) {
    let document = json::value_of(body, "query")
        .and_then(|value| value.strip_prefix(b"\""))
        .unwrap_or_default();
    let stated = json::text_of(body, "operationName", 128).filter(|name| !name.is_empty());
    if document.is_empty() && stated.is_none() {
        return;
    }
    end.refined = Some(Protocol::GraphQl);
    let (kind, name) = operation(document);
    if let Some(kind) = kind {
        end.attributes.push((
            "graphql.operation.type",
            Value::Text(CompactString::const_new(kind)),
        ));
    }
    if let Some(name) = stated.or(name) {
        end.attributes.push(("graphql.operation.name", Value::Text(name)));
    }
}

/// Type and name a document begins with. `{ ... }` is a query without a name.
fn operation(document: &[u8]) -> (Option<&'static str>, Option<CompactString>) {
    let mut rest = skip_space(document);
    if rest.starts_with(b"{") {
        return (Some("query"), None);
    }
    for kind in ["query", "mutation", "subscription"] {
        if let Some(behind) = rest.strip_prefix(kind.as_bytes()) {
            rest = skip_space(behind);
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let length = rest.iter().take_while(|byte| is_name(byte)).count();
            let name = (1..=128)
                .contains(&length)
                .then(|| CompactString::from_utf8_lossy(&rest[..length]));
            return (Some(kind), name);
        }
    }
    (None, None)
}

/// White space as JSON writes it: spaces, and escaped line ends and tabs.
fn skip_space(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [b' ', rest @ ..] | [b'\\', b'n' | b'r' | b't', rest @ ..] => rest,
            _ => return text,
        };
    }
}
