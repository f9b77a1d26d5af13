//! Is it PostgreSQL? Startup packets at the start of a connection, frames that chain anywhere else.

use super::frame::{self, Startup, chain};
use crate::protocol::{Opening, Side, Verdict};

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram || (opening.client.is_empty() && opening.server.is_empty()) {
        return if opening.datagram {
            Verdict::Reject
        } else {
            Verdict::NeedMore
        };
    }
    match (client(opening), server(opening)) {
        (Verdict::Reject, _) | (_, Verdict::Reject) => Verdict::Reject,
        (Verdict::Score(client), Verdict::Score(server)) => Verdict::Score((client.max(server) + 3).min(100)),
        (Verdict::Score(score), Verdict::NeedMore) | (Verdict::NeedMore, Verdict::Score(score)) => {
            Verdict::Score(score)
        }
        (Verdict::NeedMore, Verdict::NeedMore) => Verdict::NeedMore,
    }
}

fn client(opening: &Opening<'_>) -> Verdict {
    if opening.client.is_empty() {
        return Verdict::NeedMore;
    }
    match frame::startup(opening.client) {
        None => return Verdict::NeedMore,
        Some(Ok(Startup::Session { bytes })) => {
            // Pairs of zero-terminated texts, closed by an empty one.
            let body = &opening.client[8..opening.client.len().min(bytes)];
            let named = body.first().is_none_or(u8::is_ascii_alphabetic);
            return if named {
                Verdict::Score(97)
            } else {
                Verdict::Reject
            };
        }
        Some(Ok(_)) => return Verdict::Score(98),
        Some(Err(())) => {}
    }
    if opening.from_start {
        return Verdict::Reject;
    }
    score(Side::Client, opening)
}

fn server(opening: &Opening<'_>) -> Verdict {
    match opening.server {
        [] => Verdict::NeedMore,
        // The answer to an encryption request, which may be all there is so far.
        [b'S' | b'N' | b'G', rest @ ..]
            if matches!(frame::startup(opening.client), Some(Ok(Startup::Encryption))) =>
        {
            if rest
                .first()
                .is_none_or(|&next| matches!(next, b'R' | b'E' | 0x15..=0x17))
            {
                Verdict::Score(98)
            } else {
                Verdict::Reject
            }
        }
        bytes if opening.from_start && !matches!(bytes[0], b'R' | b'E' | b'N' | b'S' | b'v') => {
            Verdict::Reject
        }
        _ => score(Side::Server, opening),
    }
}

fn score(side: Side, opening: &Opening<'_>) -> Verdict {
    let bytes = if side == Side::Client {
        opening.client
    } else {
        opening.server
    };
    let Some(chain) = chain(side, bytes) else {
        // The first bytes seen of a server may lie in the middle of a result.
        return if side == Side::Server && !opening.from_start {
            Verdict::NeedMore
        } else {
            Verdict::Reject
        };
    };
    let usual_port = opening.server_port == 5_432 || opening.server_port == 6_432;
    Verdict::Score(match (chain.exact, chain.frames) {
        (true, 2..) => 96,
        (true, _) => match (side, chain.last) {
            (Side::Client, b'Q' | b'P' | b'B') | (Side::Server, b'C' | b'T' | b'E' | b'R') => 92,
            (Side::Server, b'Z') => 88,
            _ => 60 + u8::from(usual_port) * 5,
        },
        (false, 2..) => 80,
        (false, 1) => 60 + u8::from(usual_port) * 5,
        _ if bytes.len() < 7 => return Verdict::NeedMore,
        // One long frame, of which the beginning fits.
        _ => match bytes[0] {
            b'Q' | b'P' | b'B' => 75,
            // Any letter and a number: too little of a client's.
            _ if side == Side::Client => return Verdict::NeedMore,
            _ => 40 + u8::from(usual_port) * 5,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn middle<'a>(client: &'a [u8], server: &'a [u8]) -> Opening<'a> {
        Opening {
            client,
            server,
            from_start: false,
            server_port: 0,
            datagram: false,
        }
    }

    fn start<'a>(client: &'a [u8], server: &'a [u8]) -> Opening<'a> {
        Opening {
            from_start: true,
            ..middle(client, server)
        }
    }

    #[test]
    fn openings_of_postgresql_score() {
        for opening in [
            start(&[0, 0, 0, 8, 4, 210, 22, 47], b"N"),
            start(b"\0\0\0\x15\0\x03\0\0user\0postgres\0\0", b""),
            middle(b"Q\0\0\0\x0dSELECT 1\0", b""),
            middle(b"", b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I"),
            middle(b"P\0\0\0\x10\0SELECT 1\0\0\0B\0\0\0\x0c\0\0\0\0\0\0\0\0", b""),
        ] {
            assert!(
                matches!(detect(&opening), Verdict::Score(75..)),
                "{opening:?} {:?}",
                detect(&opening)
            );
        }
    }

    #[test]
    fn other_protocols_are_rejected() {
        for client in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"*1\r\n$4\r\nPING\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            b"\x04\0\0\0\x01\0\0\0\x16\0\x01\0\x0bCQL_VERSION",
            b"\x0f\0\0\0\x03SELECT version",
            b"CONNECT {}\r\n",
            b"\0\0\0\x20\0\x12\0\x04\0\0\0\x01",
        ] {
            assert_eq!(detect(&middle(client, b"")), Verdict::Reject, "{client:?}");
            assert_eq!(detect(&start(client, b"")), Verdict::Reject, "{client:?}");
        }
    }

    #[test]
    fn a_result_under_way_waits_for_the_other_side() {
        assert_eq!(detect(&middle(b"", b"some text in a row")), Verdict::NeedMore);
        assert!(matches!(
            detect(&middle(b"Q\0\0\0\x0dSELECT 1\0", b"some text")),
            Verdict::Score(_)
        ));
    }
}
