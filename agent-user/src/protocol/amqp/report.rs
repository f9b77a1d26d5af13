//! What is said of a message once its frames are read.

use compact_str::CompactString;

use super::PROTOCOL_HEADER_BYTES;
use super::frame::ContentHeader;
use super::method::{self, DELIVER, GET_OK, Method, PUBLISH, RETURN};
use crate::protocol::{Class, Ends, Intent, LostReason, Message, Outcome, Pairing, Step, Value};

pub(super) fn protocol_header(bytes: &[u8]) -> Step {
    match bytes.get(..PROTOCOL_HEADER_BYTES) {
        None => Step::NeedMore,
        Some([b'A', b'M', b'Q', b'P', version @ ..]) if super::detect::is_read(version) => {
            Step::Consumed(PROTOCOL_HEADER_BYTES)
        }
        Some([b'A', b'M', b'Q', b'P', ..]) => Step::Lost(LostReason::Unsupported),
        Some(_) => Step::Lost(LostReason::Malformed),
    }
}

pub(super) fn acknowledged(pairing: Pairing, status: &'static str) -> Box<Message> {
    let mut message = Message::new(Class::Response, pairing, Ends::Here);
    message.status = CompactString::const_new(status);
    message.outcome = if status == "ack" {
        Outcome::Ok
    } else {
        Outcome::Error(CompactString::default())
    };
    message
}

pub(super) fn describe_content(
    method: Method,
    exchange: &str,
    routing_key: &str,
    header: Option<ContentHeader<'_>>,
    message: &mut Message,
) {
    let destination = method::destination(exchange, routing_key);
    let mut text = |name, value: &str| message.attributes.push((name, Value::Text(value.into())));
    if method != GET_OK {
        let (name, kind) = match method {
            PUBLISH => ("publish", "send"),
            DELIVER => ("deliver", "process"),
            _ => ("return", "receive"),
        };
        text("messaging.operation.name", name);
        text("messaging.operation.type", kind);
        text("messaging.destination.name", &destination);
    }
    if !routing_key.is_empty() {
        text("messaging.rabbitmq.destination.routing_key", routing_key);
    }
    if let Some(header) = header {
        if let Some(id) = header.correlation_id {
            text("messaging.message.conversation_id", id);
        }
        if let Some(id) = header.message_id {
            text("messaging.message.id", id);
        }
        message.attributes.push((
            "messaging.message.body.size",
            Value::Int(header.body_bytes as i64),
        ));
        message.context = header.context.finish();
    }
    if message.class != Class::Response {
        message.operation = method.describe().map_or("", |(name, ..)| name).into();
        message.target = destination;
        message.intent = if method == DELIVER {
            Intent::Receive
        } else {
            Intent::Publish
        };
    }
    if method == RETURN {
        message.intent = Intent::Call;
    }
}
