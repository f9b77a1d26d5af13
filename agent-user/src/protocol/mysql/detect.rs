//! Is it MySQL? The server greets first; anywhere else packets fit their writes exactly.

use super::compressed;
use super::packet::{self, HEAD_BYTES};
use crate::protocol::{Opening, Verdict};

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    match (client(opening), server(opening)) {
        (Verdict::Reject, _) | (_, Verdict::Reject) => Verdict::Reject,
        (Verdict::Score(client), Verdict::Score(server)) => Verdict::Score((client.max(server) + 4).min(100)),
        (Verdict::Score(score), _) | (_, Verdict::Score(score)) => Verdict::Score(score),
        (Verdict::NeedMore, Verdict::NeedMore) => Verdict::NeedMore,
    }
}

fn client(opening: &Opening<'_>) -> Verdict {
    let bytes = opening.client;
    let Some(head) = packet::head(bytes) else {
        return if bytes.len() >= 3 && opening.from_start && opening.server.is_empty() {
            Verdict::Reject
        } else {
            Verdict::NeedMore
        };
    };
    let payload = &bytes[HEAD_BYTES..bytes.len().min(head.bytes())];
    if head.payload_bytes == 0 {
        return Verdict::Reject;
    }
    let is_command = |inner: packet::Head, payload: &[u8]| {
        inner.sequence == 0 && packet::is_command(inner.payload_bytes, payload)
    };
    if !opening.from_start && head.sequence == 0 && compressed::begins(bytes, is_command) {
        return Verdict::Score(if bytes.len() == head.bytes() + 3 { 90 } else { 70 });
    }
    let exact = bytes.len() == head.bytes();
    if head.sequence == 1 {
        // A login; SSLRequests and old ones are short.
        let plausible = (32..=8_192).contains(&head.payload_bytes) && bytes.len() <= head.bytes() + 2_048;
        return match packet::login(payload) {
            Some(login) if plausible && login.capabilities & packet::CLIENT_PROTOCOL_41 != 0 => {
                Verdict::Score(92)
            }
            _ if payload.len() < 32 && plausible => Verdict::NeedMore,
            _ => Verdict::Reject,
        };
    }
    // The server speaks first.
    if opening.from_start && opening.server.is_empty() {
        return Verdict::Reject;
    }
    if head.sequence != 0 || opening.from_start || !packet::is_command(head.payload_bytes, payload) {
        return Verdict::Reject;
    }
    let Some(&code) = payload.first() else {
        return Verdict::NeedMore;
    };
    let usual_port = u8::from(opening.server_port == 3_306) * 4;
    let verb = payload
        .get(1)
        .is_some_and(|&byte| byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'(' | b' ' | 0))
        && (payload[1] == 0 || is_text(&payload[1..payload.len().min(9)]));
    match (code, exact) {
        (0x03 | 0x16, true) if verb && payload.len() > 4 => Verdict::Score(92),
        (0x03 | 0x16, false) if verb && payload.len() > 16 => Verdict::Score(76 + usual_port),
        (0x17, true) => Verdict::Score(90),
        (0x17, false) if payload.len() >= 10 => Verdict::Score(70 + usual_port),
        (0x0e | 0x1f, true) => Verdict::Score(72 + usual_port),
        (0x02, true) if !is_text(&payload[1..]) => Verdict::Reject,
        (0x01 | 0x02 | 0x19 | 0x1a | 0x1c, true) => Verdict::Score(60 + usual_port),
        (0x19, false) if bytes.len() > head.bytes() => Verdict::Score(60 + usual_port),
        (0x04 | 0x09 | 0x11, true) => Verdict::Score(40 + usual_port),
        _ if !exact && bytes.len() < HEAD_BYTES + 16 => Verdict::NeedMore,
        _ => Verdict::Reject,
    }
}

/// Of whatever character set: none of the bytes is a control character that is no white space.
fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace())
}

fn server(opening: &Opening<'_>) -> Verdict {
    let bytes = opening.server;
    let Some(head) = packet::head(bytes) else {
        return Verdict::NeedMore;
    };
    let payload = &bytes[HEAD_BYTES..bytes.len().min(head.bytes())];
    let Some(&kind) = payload.first() else {
        return Verdict::NeedMore;
    };
    let exact = bytes.len() == head.bytes();
    if head.sequence == 0 && kind == 10 {
        let fits = (24..=512).contains(&head.payload_bytes)
            && packet::is_greeting(payload)
            && bytes.len() <= head.bytes();
        return match fits {
            true if payload.len() < 8 => Verdict::NeedMore,
            true => Verdict::Score(97),
            false => Verdict::Reject,
        };
    }
    if opening.from_start {
        // Refused before anything else: "Too many connections", "Host is blocked".
        let code = payload
            .get(1..3)
            .map(|code| u16::from_le_bytes([code[0], code[1]]));
        let refused = kind == 0xff
            && bytes.len() <= head.bytes()
            && code.is_none_or(|code| (1_000..5_000).contains(&code));
        let text = payload.get(3..).unwrap_or_default();
        return match refused && text.iter().all(|byte| (b' '..0x7f).contains(byte)) {
            true if text.len() < 8 => Verdict::NeedMore,
            true => Verdict::Score(if exact { 90 } else { 80 }),
            false => Verdict::Reject,
        };
    }
    match kind {
        0xff if exact && head.sequence > 0 && payload.get(3) == Some(&b'#') => Verdict::Score(92),
        0x00 if exact && head.sequence == 1 && head.payload_bytes >= 7 => Verdict::Score(70),
        // A result set: its first definition names the catalogue "def".
        1..=250 if head.sequence == 1 && head.payload_bytes == 1 => match bytes.get(5..12) {
            Some([_, _, 0, 2, 3, b'd', b'e']) => Verdict::Score(97),
            Some(_) => Verdict::Reject,
            None => Verdict::NeedMore,
        },
        _ => Verdict::NeedMore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::scripted::opening;

    #[test]
    fn greetings_commands_and_results_score() {
        let greeting = b"\x4a\0\0\0\x0a8.0.33\0\x08\0\0\0abcdefgh\0\xff\xf7\xff\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0abcdefghijkl\0";
        assert!(matches!(
            detect(&opening(b"", greeting, true)),
            Verdict::Score(90..)
        ));
        assert!(matches!(
            detect(&opening(b"\x09\0\0\0\x03SELECT 1", b"", false)),
            Verdict::Score(90..)
        ));
        assert!(matches!(
            detect(&opening(
                b"\x01\0\0\0\x0e",
                b"\x07\0\0\x01\0\0\0\x02\0\0\0",
                false
            )),
            Verdict::Score(70..)
        ));
        assert!(matches!(
            detect(&opening(b"", b"\x01\0\0\x01\x01\x17\0\0\x02\x03def", false)),
            Verdict::Score(90..)
        ));
    }

    #[test]
    fn a_length_and_a_small_number_are_no_command() {
        for client in [
            &b"\x03\0\0\0\x02\0\0"[..],
            b"\x0a\0\0\0\x03i\xff\0\x01\x02\0\0\x01\0",
        ] {
            assert_eq!(
                detect(&opening(client, b"", false)),
                Verdict::Reject,
                "{client:?}"
            );
        }
    }

    #[test]
    fn others_are_rejected() {
        for client in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"*1\r\n$4\r\nPING\r\n",
            b"Q\0\0\0\x0dSELECT 1\0",
            b"\x3a\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0",
        ] {
            assert_eq!(detect(&opening(client, b"", true)), Verdict::Reject, "{client:?}");
            assert_eq!(
                detect(&opening(client, b"", false)),
                Verdict::Reject,
                "{client:?}"
            );
        }
        assert_eq!(
            detect(&opening(b"", b"SSH-2.0-OpenSSH\r\n", true)),
            Verdict::Reject
        );
    }
}
