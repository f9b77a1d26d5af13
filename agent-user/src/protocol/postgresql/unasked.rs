//! What the server says that answers nothing: notifications, a refused or ended session.

use compact_str::CompactString;

use super::PostgreSql;
use super::fault::Fault;
use super::frame::{HEAD_BYTES, Head};
use super::server::TEXT_WANTED_BYTES;
use crate::protocol::{Class, Ends, Intent, Message, Outcome, Pairing, Step};

impl PostgreSql {
    /// An error that answers no statement: the session was refused, or is being ended.
    pub(super) fn stray_error(&mut self, head: Head, fault: Fault) -> Step {
        let connecting = std::mem::take(&mut self.connecting);
        if !connecting && !fault.fatal {
            return self.skip(head);
        }
        let mut message = Message::new(Class::OneWay, Pairing::InOrder, Ends::Here);
        message.operation = CompactString::const_new(if connecting { "CONNECT" } else { "TERMINATE" });
        message.status = fault.sqlstate;
        message.outcome = Outcome::Error(fault.text);
        message.size_bytes = Some(head.bytes as u64);
        // The rest of a long one, beyond what was waited for, is skipped with it.
        let visible = head.bytes.min(TEXT_WANTED_BYTES);
        if visible < head.bytes {
            message.ends = Ends::After((head.bytes - visible) as u64);
        }
        Step::Message {
            consumed: visible,
            message,
        }
    }
}

pub(super) fn notification(head: Head, body: &[u8]) -> Step {
    let channel = body.get(4..).unwrap_or_default();
    let end = memchr::memchr(0, channel).unwrap_or(channel.len());
    let visible = HEAD_BYTES + body.len();
    let rest = (head.bytes - visible) as u64;
    let ends = if rest > 0 { Ends::After(rest) } else { Ends::Here };
    let mut message = Message::new(Class::OneWay, Pairing::InOrder, ends);
    message.operation = CompactString::const_new("NOTIFY");
    message.target = CompactString::from_utf8_lossy(&channel[..end.min(128)]);
    message.intent = Intent::Receive;
    message.size_bytes = Some(head.bytes as u64);
    Step::Message {
        consumed: visible,
        message,
    }
}
