//! What is known of one stream.
//!
//! Enters: heads of its messages, and data where it is looked at. Leaves: whether it is gRPC, and what bodies tell.
//! Bounded: keeps no data. Deliberately absent: messages of their own; they are the connection's.

use compact_str::CompactString;

use super::frame::{Frame, HEADER_BYTES};
use crate::protocol::refine::Refiner;
use crate::protocol::{Ends, Message, Side};

/// Flag and length in front of each gRPC message (PROTOCOL-HTTP2.md, "Length-Prefixed-Message").
const GRPC_PREFIX_BYTES: usize = 5;

/// Longer messages are not believed; libraries refuse them from 4 MiB on.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) grpc: bool,
    /// Path of a request whose content type could not be read, until it is known whether it is gRPC.
    pub(super) unsure_path: Option<CompactString>,
    /// By side.
    pub(super) began: [bool; 2],
    pub(super) ended: [bool; 2],
    pub(super) bytes: [u64; 2],
    /// What looks at its bodies, and at which of them it still does.
    pub(super) refiner: Option<Box<Refiner>>,
    pub(super) watched: [bool; 2],
    /// By side: some of its data has passed.
    has_data: [bool; 2],
}

impl Stream {
    /// Refines the message by its head, and looks at the body that follows if that can tell more.
    pub(super) fn watch(&mut self, side: Side, message: &mut Message, content_type: &[u8]) {
        if side == Side::Client {
            let refiner = Refiner::of_request(message, content_type);
            self.refiner = refiner.filter(|_| message.ends == Ends::Later);
            self.watched[side as usize] = self.refiner.is_some();
        } else if let Some(refiner) = &mut self.refiner {
            self.watched[side as usize] = refiner.response_head(content_type);
        }
    }

    /// Answers whether the first token of a streamed answer is in this part of a body.
    pub(super) fn look_at(&mut self, side: Side, body: &[u8]) -> bool {
        match (&mut self.refiner, side) {
            (Some(refiner), Side::Client) => {
                self.watched[side as usize] = refiner.request_body(body);
                false
            }
            (Some(refiner), Side::Server) => refiner.response_body(body),
            (None, _) => false,
        }
    }

    /// Where the content type is not known: whether the first data of a side is framed as gRPC. What is not at hand is not
    /// waited for.
    pub(super) fn look_for_grpc(&mut self, side: Side, frame: Frame, bytes: &[u8]) {
        let first = !std::mem::replace(&mut self.has_data[side as usize], true);
        let Some(path) = self.unsure_path.as_ref().filter(|_| first && !self.grpc) else {
            return;
        };
        let payload = &bytes[HEADER_BYTES..bytes.len().min(frame.whole_bytes())];
        let whole = payload.len() == frame.payload_bytes;
        // Padding cannot be told from content where its end is not at hand.
        let content = if whole { frame.content(payload) } else { None };
        let begins = path != "…" && begins_message(content.unwrap_or(payload), frame);
        self.grpc = is_method(path) && (begins || content.is_some_and(is_framed));
    }
}

/// Whether a message begins here that ends with the frame, or goes on in the next one.
fn begins_message(content: &[u8], frame: Frame) -> bool {
    let Some([flag, length @ ..]) = content.first_chunk::<GRPC_PREFIX_BYTES>() else {
        return false;
    };
    let bytes = GRPC_PREFIX_BYTES + u32::from_be_bytes(*length) as usize;
    let goes_on = bytes > frame.payload_bytes && bytes <= MAX_MESSAGE_BYTES && !frame.end_stream;
    *flag <= 1 && (goes_on || bytes == frame.payload_bytes)
}

/// `/package.Service/Method`, or not known.
fn is_method(path: &str) -> bool {
    let is_name = |name: &str| {
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
        !name.is_empty() && name.bytes().all(is_name_byte)
    };
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    path == "…" || parts.is_some_and(|(service, method)| is_name(service) && is_name(method))
}

/// Whether whole messages fill `content`.
fn is_framed(mut content: &[u8]) -> bool {
    let mut messages = 0;
    while let Some(([flag, length @ ..], behind)) = content.split_first_chunk::<GRPC_PREFIX_BYTES>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(rest) = behind.get(length..).filter(|_| *flag <= 1) else {
            return false;
        };
        content = rest;
        messages += 1;
    }
    messages > 0 && content.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_messages_are_framed() {
        assert!(is_framed(b"\0\0\0\0\0") && is_framed(b"\0\0\0\0\x02hi\x01\0\0\0\x01x"));
        for other in [
            &b""[..],
            b"\0\0\0\0",
            b"\0\0\0\0\x03hi",
            b"\x02\0\0\0\0",
            b"{\"a\":1}",
        ] {
            assert!(!is_framed(other), "{other:?}");
        }
    }

    #[test]
    fn a_message_may_be_longer_than_its_first_frame() {
        let frame = |payload_bytes: u32, flags: u8| {
            let [_, length @ ..] = payload_bytes.to_be_bytes();
            Frame::read(&[length[0], length[1], length[2], 0, flags, 0, 0, 0, 1]).unwrap()
        };
        let message = b"\0\0\0\x10\0and more";
        assert!(begins_message(message, frame(100, 0)) && begins_message(message, frame(4_101, 1)));
        assert!(!begins_message(message, frame(100, 1)) && !begins_message(message, frame(5_000, 0)));
        assert!(!begins_message(b"{\"a\":1}", frame(100, 0)));
    }

    #[test]
    fn methods_have_two_parts() {
        assert!(is_method("/demo.v1.Greeter/Hello") && is_method("…"));
        for other in ["/", "/a", "/a/", "//b", "/a/b/c", "/api/item-1", "/q/a?b=1"] {
            assert!(!is_method(other), "{other}");
        }
    }
}
