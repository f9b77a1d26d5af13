//! Frames of the PostgreSQL protocol, version 3: one type byte, a length that counts itself, a body.
//!
//! Enters: bytes. Leaves: what lies at their front, and where in the middle of a stream a frame begins. Bounded: no
//! allocation; a search looks at each byte a bounded number of times. Source: PostgreSQL documentation, "Message Formats".

use crate::protocol::Side;

pub(super) const HEAD_BYTES: usize = 5;
/// `MaxAllocSize` of the server: no message is longer.
const LENGTH_MAX: u32 = 0x3fff_ffff;
const PROTOCOL_MAJOR: u32 = 3;
pub(super) const STARTUP_MAX_BYTES: usize = 10_000;

/// One frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u8,
    /// Of the whole frame, type byte included.
    pub(super) bytes: usize,
}

/// `None`: too few bytes. `Some(Err)`: no frame of that side.
pub(super) fn head(side: Side, bytes: &[u8]) -> Option<Result<Head, ()>> {
    let kind = *bytes.first()?;
    let Some(length) = bytes.get(1..HEAD_BYTES) else {
        let known = length_range(side, kind).is_some();
        return if known { None } else { Some(Err(())) };
    };
    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    Some(match length_range(side, kind) {
        Some((least, most)) if (least..=most).contains(&length) => Ok(Head {
            kind,
            bytes: length as usize + 1,
        }),
        _ => Err(()),
    })
}

/// Least and greatest length field of a type; `None` for a type that side does not send.
fn length_range(side: Side, kind: u8) -> Option<(u32, u32)> {
    const SMALL: u32 = 30_000;
    Some(match (side, kind) {
        (Side::Client, b'Q') => (5, LENGTH_MAX),
        (Side::Client, b'P') => (8, LENGTH_MAX),
        (Side::Client, b'B') => (12, LENGTH_MAX),
        (Side::Client, b'E') => (9, SMALL),
        (Side::Client, b'D' | b'C') => (6, SMALL),
        (Side::Client, b'S' | b'H' | b'X' | b'c') => (4, 4),
        (Side::Client, b'F') => (14, LENGTH_MAX),
        (Side::Client, b'd') => (4, LENGTH_MAX),
        (Side::Client, b'f') => (5, SMALL),
        (Side::Client, b'p') => (4, SMALL * 4),
        (Side::Server, b'1' | b'2' | b'3' | b'I' | b'n' | b's' | b'c') => (4, 4),
        (Side::Server, b'Z') => (5, 5),
        (Side::Server, b'R') => (8, SMALL * 4),
        (Side::Server, b'K') => (12, 264),
        (Side::Server, b'S') => (6, SMALL),
        (Side::Server, b'C') => (5, 128),
        (Side::Server, b'A') => (10, SMALL),
        (Side::Server, b'E' | b'N') => (5, SMALL * 4),
        (Side::Server, b'T') => (6, LENGTH_MAX),
        (Side::Server, b't') => (6, 300_000),
        (Side::Server, b'D') => (6, LENGTH_MAX),
        (Side::Server, b'd') => (4, LENGTH_MAX),
        (Side::Server, b'G' | b'H' | b'W') => (7, 7 + 2 * 65_535),
        (Side::Server, b'V') => (8, LENGTH_MAX),
        (Side::Server, b'v') => (12, SMALL),
        _ => return None,
    })
}

/// Whether a frame's visible bytes fit its type. `frame` may be cut off at the end of what is known.
fn body_fits(side: Side, head: Head, frame: &[u8]) -> bool {
    let whole = frame.len() == head.bytes;
    let body = &frame[HEAD_BYTES.min(frame.len())..];
    match (side, head.kind) {
        (Side::Client, b'Q') => is_text(body, whole),
        (Side::Client, b'P') => {
            let mut parts = body.splitn(3, |&byte| byte == 0);
            let name = parts.next().is_none_or(printable);
            name && parts.next().is_none_or(printable)
                && (!whole || parts.next().is_some_and(|rest| rest.len() >= 2))
        }
        (Side::Client, b'B') => {
            let mut parts = body.splitn(3, |&byte| byte == 0);
            let names = parts.next().is_none_or(printable) && parts.next().is_none_or(printable);
            names && (!whole || parts.next().is_some_and(|rest| rest.len() >= 6))
        }
        (Side::Client, b'E') => !whole || body.get(body.len() - 5) == Some(&0),
        (Side::Client, b'D' | b'C') => {
            body.first().is_none_or(|kind| matches!(kind, b'S' | b'P'))
                && body.get(1..).is_none_or(|name| is_text(name, whole))
        }
        (Side::Client, b'f') | (Side::Server, b'C') => is_text(body, whole),
        (Side::Server, b'Z') => body
            .first()
            .is_none_or(|state| matches!(state, b'I' | b'T' | b'E')),
        (Side::Server, b'E' | b'N') => {
            body.first().is_none_or(u8::is_ascii_uppercase) && (!whole || body.ends_with(&[0]))
        }
        (Side::Server, b'S') => {
            body.first().is_none_or(u8::is_ascii_alphabetic) && (!whole || body.ends_with(&[0]))
        }
        (Side::Server, b'R') => body.get(..3).is_none_or(|kind| kind == [0, 0, 0]),
        (Side::Server, b'D') => row_fits(body, whole),
        (Side::Server, b'T') => body
            .get(..2)
            .is_none_or(|count| u16::from_be_bytes([count[0], count[1]]) <= 1_664),
        (Side::Server, b'G' | b'H' | b'W') => body.first().is_none_or(|format| *format <= 1),
        _ => true,
    }
}

fn printable(text: &[u8]) -> bool {
    text.iter()
        .all(|&byte| byte >= b' ' || byte.is_ascii_whitespace())
}

fn is_text(body: &[u8], whole: bool) -> bool {
    match body.split_last() {
        Some((0, text)) if whole => printable(text),
        _ if whole => false,
        _ => printable(body),
    }
}

/// The columns of a DataRow fill it exactly.
fn row_fits(body: &[u8], whole: bool) -> bool {
    let Some(count) = body.get(..2) else { return true };
    let mut at = 2usize;
    for _ in 0..u16::from_be_bytes([count[0], count[1]]) {
        let Some(length) = body.get(at..at + 4) else {
            return !whole;
        };
        let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        if length < -1 || length > LENGTH_MAX as i32 {
            return false;
        }
        at += 4 + length.max(0) as usize;
    }
    if whole { at == body.len() } else { at >= body.len() }
}

/// How well bytes read as frames of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// Whole frames.
    pub(super) frames: u32,
    /// The bytes end with a frame's last byte.
    pub(super) exact: bool,
    pub(super) last: u8,
}

/// Reads up to 64 frames from the front of `bytes`; `None` where they are none of that side's.
pub(super) fn chain(side: Side, bytes: &[u8]) -> Option<Chain> {
    let mut chain = Chain::default();
    let mut rest = bytes;
    while chain.frames < 64 {
        if rest.is_empty() {
            chain.exact = chain.frames > 0;
            return Some(chain);
        }
        match head(side, rest) {
            None => return Some(chain),
            Some(Err(())) => return None,
            Some(Ok(head)) => {
                let frame = &rest[..rest.len().min(head.bytes)];
                if !body_fits(side, head, frame) {
                    return None;
                }
                if rest.len() < head.bytes {
                    return Some(chain);
                }
                chain.frames += 1;
                chain.last = head.kind;
                rest = &rest[head.bytes..];
            }
        }
    }
    Some(chain)
}

/// Where in the middle of a server's stream a frame begins. The start of a write is believed with less proof.
pub(super) fn find_server_frame(bytes: &[u8], at_write: bool) -> Option<usize> {
    if at_write
        && let Some(chain) = chain(Side::Server, bytes)
        && (chain.exact || chain.frames >= 2 || bytes.len() >= HEAD_BYTES + 2)
    {
        return Some(0);
    }
    // The end of a response: CommandComplete, ErrorResponse or ReadyForQuery, and nothing but frames behind it.
    let tail = bytes.len().saturating_sub(4_096);
    memchr::memchr3_iter(b'C', b'E', b'Z', &bytes[tail..])
        .map(|at| at + tail)
        .find(|&at| {
            bytes.get(at + 1..at + 3).is_some_and(|length| length == [0, 0])
                && chain(Side::Server, &bytes[at..])
                    .is_some_and(|chain| chain.exact && (chain.frames > 1 || chain.last == b'Z'))
        })
}

/// The packets a client may open with, which have no type byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Startup {
    Session {
        bytes: usize,
    },
    /// SSLRequest or GSSENCRequest: the server answers with one byte.
    Encryption,
    Cancel {
        bytes: usize,
    },
    /// A protocol version this parser does not read.
    OtherVersion,
}

/// `None`: too few bytes. `Some(Err)`: no startup packet.
pub(super) fn startup(bytes: &[u8]) -> Option<Result<Startup, ()>> {
    if bytes.first().is_some_and(|&byte| byte != 0) || bytes.get(1).is_some_and(|&byte| byte != 0) {
        return Some(Err(()));
    }
    let head = bytes.get(..8)?;
    let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let code = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    Some(match (length, code) {
        (8, 80_877_103 | 80_877_104) => Ok(Startup::Encryption),
        (16..=268, 80_877_102) => Ok(Startup::Cancel { bytes: length }),
        (9..=STARTUP_MAX_BYTES, _) if code >> 16 == PROTOCOL_MAJOR && code & 0xffff < 100 => {
            Ok(Startup::Session { bytes: length })
        }
        (296, 0x0002_0000) => Ok(Startup::OtherVersion),
        _ => Err(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_from_other_bytes() {
        assert_eq!(
            chain(Side::Client, b"Q\0\0\0\x0dSELECT 1\0"),
            Some(Chain {
                frames: 1,
                exact: true,
                last: b'Q'
            })
        );
        assert_eq!(chain(Side::Client, b"Q\0\0\0\x0dSELE"), Some(Chain::default()));
        assert_eq!(chain(Side::Client, b"QUIT\r\n"), None);
        assert_eq!(chain(Side::Client, b"*1\r\n$4\r\nPING\r\n"), None);
        let row = b"D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";
        assert_eq!(
            chain(Side::Server, row),
            Some(Chain {
                frames: 3,
                exact: true,
                last: b'Z'
            })
        );
    }

    #[test]
    fn the_end_of_a_response_is_found_in_the_middle_of_a_row() {
        let bytes = b"1\0\0\0\x04abcdCEZ\0\0C\0\0\0\x0dSELECT 9\0Z\0\0\0\x05I";
        assert_eq!(find_server_frame(bytes, true), Some(14));
        assert_eq!(find_server_frame(b"1\0\0\0\x04abcd", true), None);
    }

    #[test]
    fn startup_packets_are_recognised() {
        assert_eq!(
            startup(&[0, 0, 0, 8, 4, 210, 22, 47]),
            Some(Ok(Startup::Encryption))
        );
        assert_eq!(
            startup(b"\0\0\0\x0a\0\x03\0\0a\0"),
            Some(Ok(Startup::Session { bytes: 10 }))
        );
        assert_eq!(startup(b"GET / HT"), Some(Err(())));
        assert_eq!(startup(&[0, 0, 0]), None);
    }
}
