//! Is it MongoDB? A header with a known operation, and a document that fits behind it.

use super::{
    CHECKSUM_PRESENT, HEADER_BYTES, Header, MORE_TO_COME, OP_COMMAND, OP_COMMAND_REPLY, OP_COMPRESSED,
    OP_MSG, OP_QUERY, OP_REPLY, bson, flags, header,
};
use crate::protocol::{Opening, Side, Verdict};

const EXHAUST_ALLOWED: u32 = 1 << 16;

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    let client = score(Side::Client, opening.client);
    let server = match score(Side::Server, opening.server) {
        // The first bytes seen of a server may lie in the middle of a reply.
        Verdict::Reject if !opening.from_start => Verdict::NeedMore,
        verdict => verdict,
    };
    match (client, server) {
        (Verdict::Reject, _) | (_, Verdict::Reject) => Verdict::Reject,
        (Verdict::Score(client), Verdict::Score(server)) => Verdict::Score(client.max(server)),
        (Verdict::Score(score), _) => Verdict::Score(score),
        (Verdict::NeedMore, Verdict::Score(score)) if !opening.from_start => Verdict::Score(score),
        _ => Verdict::NeedMore,
    }
}

fn score(side: Side, bytes: &[u8]) -> Verdict {
    match header(side, bytes) {
        None if bytes.len() >= 4 && bytes[3] != 0 => Verdict::Reject,
        None => Verdict::NeedMore,
        Some(None) => Verdict::Reject,
        Some(Some(header)) => {
            let body = &bytes[HEADER_BYTES..bytes.len().min(header.bytes)];
            match body {
                [] | [_, ..] if body.len() < 4 => Verdict::NeedMore,
                _ if body.len() < 9
                    && matches!((header.opcode, flags(body)), (OP_MSG, 0..4) | (OP_QUERY, 0..256)) =>
                {
                    Verdict::Score(80)
                }
                _ if body.len() < 9 && header.opcode != OP_COMMAND => Verdict::NeedMore,
                // Only answers name what they answer; which end sends them may not be known.
                _ if fits(header, body) && is_answer(header) == (side == Side::Client) => Verdict::Score(85),
                _ if fits(header, body) => Verdict::Score(97),
                _ => Verdict::Reject,
            }
        }
    }
}

/// Some clients write -1 where they answer nothing.
fn is_answer(header: Header) -> bool {
    !matches!(header.response_to, 0 | u32::MAX)
}

fn fits(header: Header, body: &[u8]) -> bool {
    let room = header.bytes - HEADER_BYTES;
    match header.opcode {
        OP_MSG => {
            let known = CHECKSUM_PRESENT | MORE_TO_COME | EXHAUST_ALLOWED;
            flags(body) & !known == 0
                && body[4] <= 1
                && bson::length(&body[5..]).is_some_and(|length| length <= room - 5)
        }
        OP_QUERY => {
            let name = body[4..].iter().take_while(|&&byte| byte != 0);
            flags(body) < 256 && name.clone().count() > 1 && name.clone().all(|byte| byte.is_ascii_graphic())
        }
        OP_COMMAND => {
            let end = memchr::memchr(0, body).unwrap_or(body.len());
            (1..64).contains(&end) && body[..end].iter().all(u8::is_ascii_graphic)
        }
        OP_COMMAND_REPLY => {
            header.response_to != 0 && bson::length(body).is_some_and(|length| length <= room)
        }
        OP_REPLY => header.response_to != 0 && flags(body) < 16,
        OP_COMPRESSED => matches!(body[8], 0..=3) && (1..=2_013).contains(&flags(body)),
        _ => body[..4] == [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_score_and_others_are_rejected() {
        let ping = b"\x28\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x13\0\0\0\x10ping\0\x01\0\0\0\0\0\0";
        assert_eq!(score(Side::Client, ping), Verdict::Score(97));
        assert_eq!(score(Side::Server, ping), Verdict::Score(85));
        assert_eq!(score(Side::Client, &ping[..12]), Verdict::NeedMore);
        for other in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"*1\r\n$4\r\nPING\r\n",
            b"\x09\0\0\0\x03SELECT 1....",
            b"Q\0\0\0\x0dSELECT 1\0...",
        ] {
            assert_eq!(score(Side::Client, other), Verdict::Reject, "{other:?}");
        }
    }
}
