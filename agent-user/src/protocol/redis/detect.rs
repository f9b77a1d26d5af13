//! Is it Redis? Commands are arrays of bulk strings; replies are RESP elements; inline commands are known by name only.

use super::client::is_command_start;
use super::frame::{self, Element};
use super::names;
use crate::protocol::{Opening, Verdict};

/// An array of strings in the middle of a connection, of which the first is no command's name.
const EITHER: u8 = 70;

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    match (client(opening), server(opening)) {
        (Verdict::Reject, _) | (_, Verdict::Reject) => Verdict::Reject,
        (Verdict::Score(EITHER), Verdict::Score(_)) => Verdict::Score(EITHER),
        (Verdict::Score(client), Verdict::Score(server)) => Verdict::Score((client + server / 2).min(99)),
        (Verdict::Score(client), Verdict::NeedMore) if client >= 60 => Verdict::Score(client),
        (Verdict::NeedMore, Verdict::Score(server)) if !opening.from_start => Verdict::Score(server),
        _ => Verdict::NeedMore,
    }
}

fn client(opening: &Opening<'_>) -> Verdict {
    let bytes = opening.client;
    match bytes {
        [] => Verdict::NeedMore,
        [b'*', rest @ ..] => match rest.iter().position(|byte| !byte.is_ascii_digit()) {
            None if rest.len() < 10 => Verdict::NeedMore,
            Some(digits) if digits > 0 && is_pushed(&rest[digits..]) => Verdict::Reject,
            Some(digits) if digits > 0 && is_command_start(bytes) => {
                let next = rest.get(digits + 2);
                match next {
                    None => Verdict::NeedMore,
                    Some(b'$') if bytes.len() < digits + 8 => Verdict::NeedMore,
                    // In the middle it may be the other end's data.
                    Some(b'$') if opening.from_start || is_known_command(&rest[digits + 2..]) => {
                        Verdict::Score(96)
                    }
                    Some(b'$') => Verdict::Score(EITHER),
                    Some(_) => Verdict::Reject,
                }
            }
            _ => Verdict::Reject,
        },
        // Too many protocols begin with a word; the reply must be RESP as well.
        _ if is_inline(bytes) => Verdict::Score(40),
        _ => Verdict::Reject,
    }
}

/// Whether a bulk string is the name of a command.
fn is_known_command(string: &[u8]) -> bool {
    let Some(Some(head)) = frame::head(string) else {
        return false;
    };
    match head.element {
        Element::Bulk { length, .. } => string
            .get(head.bytes..)
            .and_then(|text| text.get(..usize::try_from(length).ok()?))
            .is_some_and(names::is_known),
        _ => false,
    }
}

/// Whether an array, shown from behind its count on, is what subscribers are sent.
fn is_pushed(array: &[u8]) -> bool {
    [
        &b"\r\n$7\r\nmessage\r\n"[..],
        b"\r\n$8\r\npmessage\r\n",
        b"\r\n$8\r\nsmessage\r\n",
    ]
    .iter()
    .any(|pushed| array.starts_with(pushed))
}

/// A line that begins with a command people and health checks send inline. Not those of POP3 and its kin, whose servers
/// answer in the same way: `quit`, `auth`, `noop`.
fn is_inline(bytes: &[u8]) -> bool {
    const KNOWN: [&str; 12] = [
        "ping", "info", "get", "set", "select", "keys", "incr", "del", "echo", "exists", "monitor", "config",
    ];
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return false;
    };
    let word = bytes[..end]
        .split(|byte| byte.is_ascii_whitespace())
        .next()
        .unwrap_or_default();
    KNOWN
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

fn server(opening: &Opening<'_>) -> Verdict {
    if opening.server.is_empty() {
        return Verdict::NeedMore;
    }
    let head = match frame::head(opening.server) {
        None => return Verdict::NeedMore,
        Some(Some(head)) => head,
        // It may be the middle of a long reply.
        Some(None) if !opening.from_start => return Verdict::NeedMore,
        Some(None) => return Verdict::Reject,
    };
    let usual_port = opening.server_port == 6_379;
    let alone = match head.element {
        Element::Aggregate {
            kind: b'*' | b'~' | b'%' | b'>',
            ..
        } => 75,
        Element::Bulk { kind: b'$', length } => {
            // The string ends where its length says.
            let end = head.bytes.saturating_add(length as usize);
            match opening.server.get(end..end + 2) {
                Some(b"\r\n") => 85,
                Some(_) => {
                    return if opening.from_start {
                        Verdict::Reject
                    } else {
                        Verdict::NeedMore
                    };
                }
                None => 60,
            }
        }
        Element::Null => 60,
        Element::Line { kind: b':', .. } => 60,
        // Mail servers and NATS say +OK and -ERR too.
        Element::Line { .. } => 20,
        _ => 10,
    };
    Verdict::Score(alone + u8::from(usual_port) * 5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::scripted::opening;

    #[test]
    fn commands_and_replies_score() {
        assert!(matches!(
            detect(&opening(b"*1\r\n$4\r\nPING\r\n", b"", true)),
            Verdict::Score(90..)
        ));
        assert!(matches!(
            detect(&opening(
                b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nxx",
                b"",
                false
            )),
            Verdict::Score(90..)
        ));
        assert!(matches!(
            detect(&opening(b"", b"$5\r\nhello\r\n", false)),
            Verdict::Score(80..)
        ));
        assert!(matches!(
            detect(&opening(b"PING\r\n", b"+PONG\r\n", true)),
            Verdict::Score(50..)
        ));
        assert!(matches!(
            detect(&opening(b"*1\r\n$4\r\nPING\r\n", b"the middle of a value", false)),
            Verdict::Score(90..)
        ));
    }

    #[test]
    fn in_the_middle_an_array_of_strings_is_either_side_s() {
        let hash = &b"*2\r\n$4\r\nname\r\n$3\r\nbob\r\n"[..];
        let [Verdict::Score(asked), Verdict::Score(answered)] =
            [opening(hash, b"", false), opening(b"", hash, false)].map(|shown| detect(&shown))
        else {
            panic!("no score")
        };
        assert!(asked < answered && answered < 80, "{asked} {answered}");
        let asks = &b"*2\r\n$7\r\nhgetall\r\n$1\r\nk\r\n"[..];
        assert!(detect(&opening(hash, asks, false)) < detect(&opening(asks, hash, false)));
        let get = b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n";
        assert_eq!(detect(&opening(get, b"", false)), Verdict::Score(96));
    }

    #[test]
    fn mail_and_pushed_messages_are_no_commands() {
        for (client, server) in [
            (&b"QUIT\r\n"[..], &b"+OK bye\r\n"[..]),
            (b"AUTH PLAIN\r\n", b"-ERR no\r\n"),
            (b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$2\r\nhi\r\n", b""),
        ] {
            assert!(
                !matches!(detect(&opening(client, server, false)), Verdict::Score(_)),
                "{client:?}"
            );
        }
    }

    #[test]
    fn others_are_rejected_or_waited_for() {
        for client in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"\x16\x03\x01\0\0",
            b"*** hello\r\n",
            b"*1\r\nxx",
            b"Q\0\0\0\x0d",
        ] {
            assert!(
                !matches!(
                    detect(&opening(client, b"HTTP/1.1 200 OK\r\n", true)),
                    Verdict::Score(_)
                ),
                "{client:?}"
            );
        }
        assert_eq!(
            detect(&opening(b"get a\r\n", b"VALUE a 0 1\r\nx\r\nEND\r\n", true)),
            Verdict::Reject
        );
        assert_eq!(
            detect(&opening(b"", b"+OK POP3 ready\r\n", true)),
            Verdict::NeedMore
        );
    }
}
