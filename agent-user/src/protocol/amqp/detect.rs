//! Whether bytes are AMQP 0-9-1.

use super::PROTOCOL_HEADER_BYTES;
use super::frame::{self, BODY, HEADER, HEARTBEAT, Head, METHOD};
use super::method::{CONNECTION_START, Method};
use crate::protocol::{Opening, Side, Verdict};

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    match (client(opening), side(Side::Server, opening.server)) {
        (Verdict::Reject, _) | (_, Verdict::Reject) => Verdict::Reject,
        (client, server) => client.max(server),
    }
}

fn client(opening: &Opening<'_>) -> Verdict {
    let bytes = opening.client;
    let common = bytes.len().min(4);
    if common > 0 && bytes[..common] == b"AMQP"[..common] {
        return match bytes.get(4..PROTOCOL_HEADER_BYTES) {
            None => Verdict::NeedMore,
            Some(version) if is_read(version) => Verdict::Score(99),
            Some(_) => Verdict::Reject,
        };
    }
    if opening.from_start && !bytes.is_empty() {
        Verdict::Reject
    } else {
        side(Side::Client, bytes)
    }
}

/// Version bytes of a protocol header: 0-9-1, and 0-9 as it was first written. Not 0-8, 0-10 and 1.0.
pub(super) fn is_read(version: &[u8]) -> bool {
    matches!(version, [0, 0, 9, 1] | [1, 1, 0, 9])
}

fn side(side: Side, bytes: &[u8]) -> Verdict {
    if bytes.is_empty() {
        return Verdict::NeedMore;
    }
    let head = match frame::head(bytes) {
        Head::NeedMore => return Verdict::NeedMore,
        Head::Broken => return Verdict::Reject,
        Head::Frame(head) => head,
    };
    let is_whole = bytes.len() >= head.total_bytes();
    match head.kind {
        METHOD => match bytes.get(frame::FRAME_HEADER_BYTES..).and_then(Method::read) {
            None => Verdict::NeedMore,
            Some((method, _)) if !method.is_from(side, head.channel) => Verdict::Reject,
            Some((CONNECTION_START, _)) => Verdict::Score(97),
            Some(_) => Verdict::Score(if is_whole { 92 } else { 60 }),
        },
        HEADER => match bytes.get(frame::FRAME_HEADER_BYTES..frame::FRAME_HEADER_BYTES + 4) {
            None => Verdict::NeedMore,
            Some([0, 60, 0, 0]) => Verdict::Score(if is_whole { 88 } else { 50 }),
            Some(_) => Verdict::Reject,
        },
        BODY => Verdict::Score(if is_whole { 60 } else { 20 }),
        HEARTBEAT if is_whole => Verdict::Score(85),
        _ => Verdict::NeedMore,
    }
}

/// Whether a frame of `side` begins here, with some certainty.
pub(super) fn is_frame(side: Side, bytes: &[u8]) -> bool {
    matches!(self::side(side, bytes), Verdict::Score(50..))
}
