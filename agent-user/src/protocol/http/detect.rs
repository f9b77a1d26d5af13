//! Recognising HTTP/1 at the opening of a connection, and finding a head again in the middle of one.

use memchr::memmem;

use super::head::{self, Parsed};
use super::line::{self, Line};
use super::{Asked, Resync};
use crate::protocol::{Opening, Verdict};

/// A request line longer than this is not waited for: what is there of it decides.
const MAX_LINE_BYTES: usize = 8 << 10;

/// "HTTP/1.1 200" is as far as a response must be seen.
const SIGNATURE: &[u8] = b"HTTP/1.";

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    let client = line::request_line(opening.client);
    let server = line::status_line(opening.server);
    match (client, server) {
        (Line::Yes, Line::No) if opening.from_start => Verdict::Score(30),
        (Line::Yes, _) => Verdict::Score(95),
        // Joined in the middle: one side may be inside a body.
        (Line::No, Line::Yes) if opening.from_start => Verdict::Reject,
        (_, Line::Yes) => Verdict::Score(95),
        (Line::No, Line::No) => Verdict::Reject,
        (Line::No, _) if opening.from_start || opening.server.is_empty() => Verdict::Reject,
        (_, Line::No) if opening.from_start || opening.client.is_empty() => Verdict::Reject,
        (Line::Maybe, _) if opening.client.len() >= MAX_LINE_BYTES => {
            if line::begins_with_known_method(opening.client) {
                Verdict::Score(60)
            } else {
                Verdict::Reject
            }
        }
        _ => Verdict::NeedMore,
    }
}

/// Where a request head starts in bytes from the middle of a stream.
pub(super) fn find_request(bytes: &[u8], at_write: bool) -> Resync {
    if at_write {
        match line::request_line(bytes) {
            Line::Yes if !matches!(head::request(bytes, false), Parsed::Malformed) => return Resync::At(0),
            Line::Maybe if bytes.len() < MAX_LINE_BYTES => return Resync::NotYet { keep: bytes.len() },
            _ => {}
        }
    }
    // Not at the start of a write only a whole head is believed: a body may well quote a request line.
    let mut pending = None;
    for version in memmem::find_iter(bytes, b" HTTP/1.") {
        let from = memchr::memrchr(b'\n', &bytes[..version]).map_or(0, |newline| newline + 1);
        let Some(start) = line::last_known_method(&bytes[from..version]).map(|offset| from + offset) else {
            continue;
        };
        match head::request(&bytes[start..], false) {
            Parsed::Head(..) => return Resync::At(start),
            Parsed::Partial => pending = pending.or(Some(start)),
            Parsed::Malformed => {}
        }
    }
    let keep = match pending {
        Some(start) => bytes.len() - start,
        // The line that may become a request line.
        None => bytes.len() - memchr::memrchr(b'\n', bytes).map_or(0, |newline| newline + 1),
    };
    Resync::NotYet {
        keep: if keep < super::MAX_HEAD_BYTES { keep } else { 0 },
    }
}

/// Where a response head starts in bytes from the middle of a stream.
pub(super) fn find_response(bytes: &[u8], at_write: bool) -> Resync {
    let mut pending = None;
    for start in memmem::find_iter(bytes, SIGNATURE) {
        let status_line = line::status_line(&bytes[start..]);
        match head::response(&bytes[start..], Asked::Plain, false) {
            Parsed::Head(..) => return Resync::At(start),
            Parsed::Partial if status_line == Line::Yes && start == 0 && at_write => return Resync::At(0),
            Parsed::Partial if status_line != Line::No => pending = pending.or(Some(start)),
            _ => {}
        }
    }
    let keep = match pending {
        Some(start) => bytes.len() - start,
        None => (1..SIGNATURE.len())
            .rev()
            .find(|length| bytes.ends_with(&SIGNATURE[..*length]))
            .unwrap_or(0),
    };
    Resync::NotYet {
        keep: if keep < super::MAX_HEAD_BYTES { keep } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::scripted::opening;

    #[test]
    fn a_request_line_or_a_status_line_is_enough() {
        assert_eq!(
            detect(&opening(b"GET / HTTP/1.1\r\n", b"", true)),
            Verdict::Score(95)
        );
        assert_eq!(
            detect(&opening(b"\r\nPROPFIND /x HTTP/1.0\n", b"", true)),
            Verdict::Score(95)
        );
        assert_eq!(
            detect(&opening(b"get /a HTTP/1.1\r\nHost: x\r\n\r\n", b"", true)),
            Verdict::Score(95)
        );
        assert_eq!(
            detect(&opening(b"", b"HTTP/1.1 200 OK\r\n", true)),
            Verdict::Score(95)
        );
        assert_eq!(
            detect(&opening(b"body bytes", b"HTTP/1.0 404 ", false)),
            Verdict::Score(95)
        );
    }

    #[test]
    fn others_are_rejected_and_short_ones_awaited() {
        for client in [
            &b"GET key\r\n"[..],
            b"get key\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
            b"DESCRIBE rtsp://h/ RTSP/1.0\r\n",
            b"OPTIONS sip:a@b SIP/2.0\r\n",
            b"CONNECT {\"verbose\":false}\r\n",
            b"\x16\x03\x01",
            b"*1\r\n$4\r\nPING\r\n",
            b"HELP\r\n",
        ] {
            assert_eq!(
                detect(&opening(client, b"", true)),
                Verdict::Reject,
                "{:?}",
                String::from_utf8_lossy(client)
            );
        }
        for client in [&b"G"[..], b"GET ", b"GET /a?b", b"GET / HTTP/1", b"\r\n"] {
            assert_eq!(
                detect(&opening(client, b"", true)),
                Verdict::NeedMore,
                "{:?}",
                String::from_utf8_lossy(client)
            );
        }
        assert_eq!(detect(&opening(b"", b"HTTP", true)), Verdict::NeedMore);
        assert_eq!(
            detect(&opening(b"", b"220 mail ready\r\n", true)),
            Verdict::Reject
        );
    }

    #[test]
    fn heads_are_found_behind_body_bytes() {
        assert_eq!(
            find_request(b"}POST /a HTTP/1.1\r\nHost: x\r\n\r\n", false),
            Resync::At(1)
        );
        assert_eq!(
            find_request(b"x\nGET /a HTTP/1.1\r\nHost", false),
            Resync::NotYet { keep: 21 }
        );
        assert_eq!(
            find_request(b"\"GET /a HTTP/1.1\" 200\n", false),
            Resync::NotYet { keep: 0 }
        );
        assert_eq!(find_response(b"...HTTP/1.1 200 OK\r\n\r\n", false), Resync::At(3));
        assert_eq!(find_response(b"HTTP/1.1 200 OK\r\nServer: ", true), Resync::At(0));
        assert_eq!(find_response(b"...HTTP/1.", false), Resync::NotYet { keep: 7 });
        assert_eq!(find_response(b"...HTT", false), Resync::NotYet { keep: 3 });
    }
}
