//! Is it Cassandra? An envelope whose body fits its opcode, or a segment whose header checks.

use super::frame::{self, Header};
use crate::protocol::{Opening, Side, Verdict};

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    let client = score(Side::Client, opening.client);
    let server = match score(Side::Server, opening.server) {
        // The first bytes seen of a server may lie in the middle of a result.
        Verdict::Reject if !opening.from_start => Verdict::NeedMore,
        verdict => verdict,
    };
    match (client, server) {
        (Verdict::Reject, _) | (_, Verdict::Reject) => Verdict::Reject,
        (Verdict::Score(client), Verdict::Score(server)) => Verdict::Score((client.max(server) + 2).min(100)),
        (Verdict::Score(score), _) => Verdict::Score(score),
        (Verdict::NeedMore, Verdict::Score(score)) if !opening.from_start => Verdict::Score(score),
        _ => Verdict::NeedMore,
    }
}

fn score(side: Side, bytes: &[u8]) -> Verdict {
    match frame::header(side, bytes) {
        None => Verdict::NeedMore,
        Some(Some(header)) => {
            let end = usize::try_from(header.bytes()).unwrap_or(usize::MAX);
            let body = &bytes[header.own_bytes().min(bytes.len())..bytes.len().min(end)];
            body_score(header, body, bytes.len() as u64)
        }
        Some(None) => match frame::segment(bytes, false) {
            None => Verdict::NeedMore,
            Some(Some(segment)) if segment.payload_bytes > 0 => {
                let inside = &bytes[segment.header_bytes.min(bytes.len())..];
                let envelope = !segment.self_contained || !matches!(frame::header(side, inside), Some(None));
                if envelope {
                    Verdict::Score(96)
                } else {
                    Verdict::Reject
                }
            }
            Some(_) => match frame::segment(bytes, true) {
                Some(Some(segment)) if segment.payload_bytes > 0 => Verdict::Score(93),
                _ => Verdict::Reject,
            },
        },
    }
}

fn body_score(header: Header, body: &[u8], shown: u64) -> Verdict {
    if header.flags & (frame::COMPRESSED | frame::CUSTOM_PAYLOAD | frame::TRACING | frame::WARNING) != 0 {
        return match shown == header.bytes() {
            true => Verdict::Score(85),
            false if header.version < 3 => Verdict::Reject,
            false => Verdict::Score(60),
        };
    }
    let int = body.first_chunk().map(|int| u32::from_be_bytes(*int));
    let fits = match header.opcode {
        0x01 | 0x06 => body
            .first_chunk()
            .map(|count| (1..64).contains(&u16::from_be_bytes(*count))),
        0x02 | 0x05 => Some(header.body_bytes == 0),
        0x07 | 0x09 => int.map(|length| {
            let first = body
                .get(4)
                .is_none_or(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
            length > 0 && length <= header.body_bytes - 4 && first
        }),
        0x0a => body
            .first_chunk()
            .map(|length| (1..=64).contains(&u16::from_be_bytes(*length))),
        0x0d => body.first().map(|kind| *kind <= 2),
        0x00 => int.map(|code| code <= 0x2fff),
        0x08 => int.map(|kind| (1..=5).contains(&kind)),
        0x03 | 0x04 | 0x0b | 0x0c => body
            .first_chunk()
            .map(|length| (1..256).contains(&u16::from_be_bytes(*length))),
        _ => Some(header.body_bytes < 65_536),
    };
    match fits {
        None if header.body_bytes >= 4 => Verdict::NeedMore,
        None | Some(false) => Verdict::Reject,
        Some(true) if shown >= header.bytes() => Verdict::Score(94),
        Some(true) => Verdict::Score(80),
    }
}
