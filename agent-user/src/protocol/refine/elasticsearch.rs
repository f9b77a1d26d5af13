//! Elasticsearch and OpenSearch: endpoint and index, which their paths tell.

use compact_str::CompactString;

use crate::protocol::{Message, Protocol, Value};

/// Endpoints that no other API in use has under the same name.
const ENDPOINTS: [&str; 14] = [
    "_search",
    "_msearch",
    "_bulk",
    "_mget",
    "_doc",
    "_create",
    "_update",
    "_count",
    "_delete_by_query",
    "_update_by_query",
    "_reindex",
    "_refresh",
    "_cluster",
    "_cat",
];

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Without its underscore, as OpenTelemetry's `db.operation.name` has it.
    endpoint: CompactString,
    index: CompactString,
}

/// `/{index}/_endpoint/...` or `/_endpoint/...`.
pub(super) fn recognise(method: &str, path: &str) -> Option<Call> {
    if !matches!(method, "GET" | "POST" | "PUT" | "DELETE" | "HEAD") || !path.starts_with('/') {
        return None;
    }
    // Every endpoint begins with one; few other paths have any.
    memchr::memchr(b'_', path.as_bytes())?;
    let mut segments = path[1..].splitn(3, '/');
    let (first, second) = (segments.next()?, segments.next().unwrap_or(""));
    let (index, endpoint) = if first.starts_with('_') {
        ("", first)
    } else {
        (first, second)
    };
    ENDPOINTS.contains(&endpoint).then(|| Call {
        endpoint: CompactString::new(&endpoint[1..]),
        index: CompactString::new(index),
    })
}

impl Call {
    pub(super) fn describe(self, message: &mut Message) {
        message.refined = Some(Protocol::Elasticsearch);
        message
            .attributes
            .push(("http.request.method", Value::Text(message.operation.clone())));
        message
            .attributes
            .push(("url.path", Value::Text(message.target.clone())));
        message
            .attributes
            .push(("db.operation.name", Value::Text(self.endpoint)));
        if !self.index.is_empty() {
            message
                .attributes
                .push(("db.collection.name", Value::Text(self.index)));
        }
    }
}
