//! gRPC, a refinement of HTTP/2: method names and statuses as its wire format and OpenTelemetry write them.
//!
//! Enters: paths and trailers the HTTP/2 parser found. Leaves: attributes and outcomes. Deliberately absent: messages,
//! which are protobuf without a schema.

use compact_str::CompactString;

use super::reader::lossy_text;
use super::{Attributes, Outcome, Value};

/// Longer error messages are cut.
const MAX_MESSAGE_BYTES: usize = 512;

/// Names by status code (grpc/grpc doc/statuscodes.md).
const STATUS_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// `rpc.method`, fully qualified, of a path `/package.Service/Method`.
pub(super) fn describe_method(attributes: &mut Attributes, path: &str) {
    let method = path.strip_prefix('/').unwrap_or(path);
    if !method.is_empty() && method != "…" {
        attributes.push(("rpc.method", Value::Text(CompactString::new(method))));
    }
}

/// What `grpc-status` and `grpc-message` say of a call.
pub(super) fn outcome(attributes: &mut Attributes, status: &str, message: &str) -> Outcome {
    let name = status
        .parse()
        .ok()
        .and_then(|code: usize| STATUS_NAMES.get(code))
        .copied();
    attributes.push((
        "rpc.response.status_code",
        Value::Text(CompactString::new(name.unwrap_or(status))),
    ));
    if status == "0" {
        Outcome::Ok
    } else {
        Outcome::Error(percent_decoded(message))
    }
}

/// `grpc-message` is percent-encoded UTF-8 (PROTOCOL-HTTP2.md); what is no valid escape stays as it is.
fn percent_decoded(text: &str) -> CompactString {
    let mut bytes = Vec::with_capacity(text.len().min(MAX_MESSAGE_BYTES));
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if bytes.len() >= MAX_MESSAGE_BYTES {
            break;
        }
        let escaped = behind.get(..2).filter(|_| byte == b'%').and_then(|digits| {
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            Some((digit(0)? * 16 + digit(1)?) as u8)
        });
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    lossy_text(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_named_and_messages_decoded() {
        let mut attributes = Attributes::new();
        assert_eq!(outcome(&mut attributes, "0", ""), Outcome::Ok);
        assert_eq!(
            outcome(&mut attributes, "5", "no%20such%E2%82%ac%zz%"),
            Outcome::Error("no such€%zz%".into())
        );
        assert_eq!(outcome(&mut attributes, "77", ""), Outcome::Error("".into()));
        let names: Vec<_> = attributes.into_iter().map(|(_, value)| value).collect();
        assert_eq!(
            names,
            [
                Value::Text("OK".into()),
                Value::Text("NOT_FOUND".into()),
                Value::Text("77".into())
            ]
        );
    }

    #[test]
    fn a_long_message_is_cut() {
        let Outcome::Error(text) = outcome(&mut Attributes::new(), "2", &"é".repeat(600)) else {
            panic!()
        };
        assert!(text.len() <= MAX_MESSAGE_BYTES + 3);
    }
}
