//! One control line of NATS.
//!
//! Enters: bytes that begin with a line. Leaves: [`Line`]s. Bounded: [`MAX_LINE_BYTES`]. Deliberately absent: payloads.

use crate::protocol::Side;

/// CONNECT and INFO carry JSON; every other line is at most 4 KiB by the server's default.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;
/// Payload sizes beyond this are not believed (the server's limit is 64 MiB).
const MAX_PAYLOAD_BYTES: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Info,
    Connect(&'a [u8]),
    Publish(Moved<'a>),
    Deliver(Moved<'a>),
    Subscribe {
        subject: &'a str,
        queue: Option<&'a str>,
    },
    Unsubscribe,
    Ping,
    Pong,
    Ok,
    Error(&'a str),
}

/// PUB, HPUB, MSG or HMSG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved<'a> {
    pub(super) operation: &'static str,
    pub(super) subject: &'a str,
    pub(super) reply: Option<&'a str>,
    /// Bytes of headers in front of the payload; `None` where the operation has none.
    pub(super) header_bytes: Option<u64>,
    /// Headers and payload, without the closing line end.
    pub(super) total_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    NeedMore,
    /// A line, and its length with its end.
    Line(Line<'a>, usize),
    /// No line of NATS.
    Broken,
}

/// Reads the line of `side` that `bytes` begin with.
pub(super) fn read(side: Side, bytes: &[u8]) -> Read<'_> {
    if !may_begin(side, bytes) {
        return Read::Broken;
    }
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return if bytes.len() > MAX_LINE_BYTES {
            Read::Broken
        } else {
            Read::NeedMore
        };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let read = std::str::from_utf8(line)
        .ok()
        .and_then(|line| self::line(side, line));
    read.map_or(Read::Broken, |line| Read::Line(line, end + 1))
}

/// Operations of either side, with the byte that must follow them.
const CLIENT: &[&[u8]] = &[b"CONNECT", b"PUB", b"HPUB", b"SUB", b"UNSUB", b"PING", b"PONG"];
const SERVER: &[&[u8]] = &[b"INFO", b"MSG", b"HMSG", b"PING", b"PONG", b"+OK", b"-ERR"];

/// Whether the first bytes are those of an operation, as far as they go.
fn may_begin(side: Side, bytes: &[u8]) -> bool {
    let operations = if side == Side::Client { CLIENT } else { SERVER };
    operations.iter().any(|operation| {
        let common = bytes.len().min(operation.len());
        let ends = bytes.get(operation.len()).is_none_or(u8::is_ascii_whitespace);
        bytes[..common].eq_ignore_ascii_case(&operation[..common]) && ends
    })
}

fn line(side: Side, line: &str) -> Option<Line<'_>> {
    let (operation, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let mut upper = [0; 8];
    let upper = upper.get_mut(..operation.len())?;
    upper.copy_from_slice(operation.as_bytes());
    upper.make_ascii_uppercase();
    match (side, &*upper) {
        (Side::Server, b"INFO") => rest.trim_start().starts_with('{').then_some(Line::Info),
        (Side::Client, b"CONNECT") => rest
            .trim_start()
            .starts_with('{')
            .then_some(Line::Connect(rest.as_bytes())),
        (Side::Client, b"PUB") => moved("PUB", rest, 0, false).map(Line::Publish),
        (Side::Client, b"HPUB") => moved("HPUB", rest, 0, true).map(Line::Publish),
        (Side::Server, b"MSG") => moved("MSG", rest, 1, false).map(Line::Deliver),
        (Side::Server, b"HMSG") => moved("HMSG", rest, 1, true).map(Line::Deliver),
        (Side::Client, b"SUB") => subscribe(rest),
        (Side::Client, b"UNSUB") => (1..=2)
            .contains(&rest.split_ascii_whitespace().count())
            .then_some(Line::Unsubscribe),
        (_, b"PING") => rest.is_empty().then_some(Line::Ping),
        (_, b"PONG") => rest.is_empty().then_some(Line::Pong),
        (Side::Server, b"+OK") => rest.is_empty().then_some(Line::Ok),
        (Side::Server, b"-ERR") => Some(Line::Error(rest.trim().trim_matches('\''))),
        _ => None,
    }
}

fn moved<'a>(operation: &'static str, rest: &'a str, ids: usize, headers: bool) -> Option<Moved<'a>> {
    let mut fields: [&str; 5] = [""; 5];
    let mut count = 0;
    for field in rest.split_ascii_whitespace() {
        *fields.get_mut(count)? = field;
        count += 1;
    }
    let sizes = 1 + usize::from(headers);
    let reply = match count.checked_sub(1 + ids + sizes)? {
        0 => None,
        1 => Some(fields[1 + ids]),
        _ => return None,
    };
    let total_bytes = size(fields[count - 1])?;
    let header_bytes = if headers {
        Some(size(fields[count - 2])?)
    } else {
        None
    };
    if header_bytes.is_some_and(|header_bytes| header_bytes > total_bytes) {
        return None;
    }
    Some(Moved {
        operation,
        subject: fields[0],
        reply,
        header_bytes,
        total_bytes,
    })
}

fn size(field: &str) -> Option<u64> {
    let is_number = !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit());
    field
        .parse()
        .ok()
        .filter(|size| is_number && *size <= MAX_PAYLOAD_BYTES)
}

fn subscribe(rest: &str) -> Option<Line<'_>> {
    let mut fields = rest.split_ascii_whitespace();
    let (subject, second, third) = (fields.next()?, fields.next()?, fields.next());
    let queue = third.map(|_| second);
    fields
        .next()
        .is_none()
        .then_some(Line::Subscribe { subject, queue })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_operation_in_any_case() {
        let moved = |operation, reply, header_bytes| Moved {
            operation,
            subject: "a.b",
            reply,
            header_bytes,
            total_bytes: 11,
        };
        let cases: &[(Side, &[u8], Line<'_>)] = &[
            (
                Side::Client,
                b"PUB a.b 11\r\n",
                Line::Publish(moved("PUB", None, None)),
            ),
            (
                Side::Client,
                b"pub\ta.b  r.1 11\r\n",
                Line::Publish(moved("PUB", Some("r.1"), None)),
            ),
            (
                Side::Client,
                b"HPUB a.b r 7 11\r\n",
                Line::Publish(moved("HPUB", Some("r"), Some(7))),
            ),
            (
                Side::Server,
                b"MSG a.b 9 11\r\n",
                Line::Deliver(moved("MSG", None, None)),
            ),
            (
                Side::Server,
                b"HMSG a.b 9 r 7 11\r\n",
                Line::Deliver(moved("HMSG", Some("r"), Some(7))),
            ),
            (
                Side::Client,
                b"SUB a.> 3\r\n",
                Line::Subscribe {
                    subject: "a.>",
                    queue: None,
                },
            ),
            (
                Side::Client,
                b"SUB a q 3\r\n",
                Line::Subscribe {
                    subject: "a",
                    queue: Some("q"),
                },
            ),
            (Side::Client, b"UNSUB 3 5\r\n", Line::Unsubscribe),
            (
                Side::Server,
                b"-ERR 'Stale Connection'\r\n",
                Line::Error("Stale Connection"),
            ),
            (Side::Server, b"+OK\r\n", Line::Ok),
            (Side::Server, b"INFO {\"a\":1} \r\n", Line::Info),
        ];
        for (side, bytes, line) in cases {
            assert_eq!(read(*side, bytes), Read::Line(*line, bytes.len()));
            for cut in 1..bytes.len() {
                assert_eq!(read(*side, &bytes[..cut]), Read::NeedMore);
            }
        }
    }

    #[test]
    fn refuses_what_only_looks_like_it() {
        for bytes in [
            "PUBLISH a 1\r\n",
            "PUB a\r\n",
            "PUB a b c 1\r\n",
            "PUB a x\r\n",
            "PUB a 99999999999\r\n",
            "MSG a 1 1\r\n",
        ] {
            assert_eq!(read(Side::Client, bytes.as_bytes()), Read::Broken, "{bytes}");
        }
        assert_eq!(read(Side::Server, b"+OKAY\r\n"), Read::Broken);
    }
}
