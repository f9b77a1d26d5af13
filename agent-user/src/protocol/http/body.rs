//! Where a message body ends: chunked framing (RFC 9112 section 7.1) and bodies that end with the connection.
//!
//! Bodies of known length need no state: they are skipped with their head ([`super::Ends::After`]).

use super::head::Framing;
use super::line::{self, Line};
use crate::protocol::Side;

/// The longest chunk-size line (with extensions) or trailer line that is waited for.
const MAX_LINE_BYTES: usize = 8 << 10;

#[derive(Debug)]
pub(super) struct Body(State);

#[derive(Debug)]
enum State {
    /// At the start of a chunk-size line.
    Size,
    /// Behind a chunk's data, before its line end.
    DataEnd,
    /// Behind the last chunk, at the start of a trailer line.
    Trailer,
    UntilClose,
    /// Behind a head whose end was not seen: until something is shown that begins with a head.
    UntilHead,
    /// Somewhere in a chunked body whose framing was not seen: until something ends with a last chunk, or begins with
    /// the next head.
    UntilLastChunk,
    Faulty,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyStep {
    NeedMore,
    Consumed(usize),
    Skip(u64),
    /// The body ends with so many bytes.
    End(usize),
    Malformed,
}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
            Framing::None | Framing::Length(_) | Framing::Faulty => State::Faulty,
        })
    }

    pub(super) fn of_cut_head() -> Self {
        Self(State::UntilHead)
    }

    /// Whether these are no longer bytes of this body: they begin with a head.
    pub(super) fn is_over(&self, side: Side, bytes: &[u8]) -> bool {
        let start_line = match side {
            Side::Client => line::request_line,
            Side::Server => line::status_line,
        };
        matches!(self.0, State::UntilHead | State::UntilLastChunk) && start_line(bytes) == Line::Yes
    }

    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.0, State::UntilClose)
    }

    /// Whether its message was reported as one that ends later, and has not ended yet.
    pub(super) fn owes_end(&self) -> bool {
        matches!(self.0, State::UntilLastChunk)
    }

    /// Whether the body can be followed although bytes at its place are missing.
    pub(super) fn lose(&mut self) -> bool {
        match self.0 {
            State::UntilClose | State::UntilHead | State::UntilLastChunk => true,
            // Chunk data is skipped, so what is missing here is framing.
            State::Size | State::DataEnd | State::Trailer => {
                self.0 = State::UntilLastChunk;
                true
            }
            State::Faulty => false,
        }
    }

    pub(super) fn step(&mut self, bytes: &[u8]) -> BodyStep {
        match self.0 {
            State::UntilClose | State::UntilHead => BodyStep::Consumed(bytes.len()),
            State::UntilLastChunk if ends_with_last_chunk(bytes) => BodyStep::End(bytes.len()),
            State::UntilLastChunk => BodyStep::Consumed(bytes.len()),
            State::Faulty => BodyStep::Malformed,
            State::Size | State::DataEnd | State::Trailer => self.chunks(bytes),
        }
    }

    /// Takes as many whole chunks as `bytes` hold in one step.
    fn chunks(&mut self, bytes: &[u8]) -> BodyStep {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let Some(newline) = memchr::memchr(b'\n', &rest[..rest.len().min(MAX_LINE_BYTES)]) else {
                return match at {
                    _ if rest.len() >= MAX_LINE_BYTES => BodyStep::Malformed,
                    0 => BodyStep::NeedMore,
                    _ => BodyStep::Consumed(at),
                };
            };
            let line = rest[..newline].strip_suffix(b"\r").unwrap_or(&rest[..newline]);
            at += newline + 1;
            match self.0 {
                State::DataEnd if line.is_empty() => self.0 = State::Size,
                State::Size => match chunk_size(line) {
                    Some(0) => self.0 = State::Trailer,
                    Some(size) => {
                        self.0 = State::DataEnd;
                        if size >= (bytes.len() - at) as u64 {
                            return BodyStep::Skip((at as u64).saturating_add(size));
                        }
                        at += size as usize;
                    }
                    None => return BodyStep::Malformed,
                },
                State::Trailer if line.is_empty() => return BodyStep::End(at),
                State::Trailer if line.contains(&b':') => {}
                _ => return BodyStep::Malformed,
            }
        }
    }
}

/// A last chunk without trailers, as nearly all are. That the data itself ends a write like this is not impossible; then
/// the body seems shorter than it is.
fn ends_with_last_chunk(bytes: &[u8]) -> bool {
    bytes
        .strip_suffix(b"0\r\n\r\n")
        .is_some_and(|before| before.is_empty() || before.ends_with(b"\r\n"))
}

/// Hexadecimal digits, then nothing, white space (which some servers pad with) or an extension.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let behind = line[digits..].trim_ascii_start().first();
    if digits == 0 || digits > 16 || behind.is_some_and(|byte| *byte != b';') {
        return None;
    }
    line[..digits].iter().try_fold(0u64, |size, digit| {
        Some((size << 4) | u64::from(char::from(*digit).to_digit(16)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bytes: &[u8]) -> BodyStep {
        Body::new(Framing::Chunked).step(bytes)
    }

    #[test]
    fn many_chunks_are_one_step() {
        assert_eq!(
            walk(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nHTTP"),
            BodyStep::End(24)
        );
        assert_eq!(walk(b"3\nabc\n0\nTrailer: x\n\n"), BodyStep::End(20));
    }

    #[test]
    fn data_beyond_the_bytes_is_skipped() {
        let mut body = Body::new(Framing::Chunked);
        assert_eq!(body.step(b"ffffffff\r\nabc"), BodyStep::Skip(10 + 0xffff_ffff));
        assert_eq!(body.step(b"\r\n0\r\n"), BodyStep::Consumed(5));
        assert_eq!(body.step(b"\r"), BodyStep::NeedMore);
        assert_eq!(body.step(b"\r\n"), BodyStep::End(2));
    }

    #[test]
    fn a_body_whose_framing_was_missed_ends_with_a_last_chunk_or_the_next_head() {
        let mut body = Body::new(Framing::Chunked);
        assert_eq!(body.step(b"5\r\n"), BodyStep::Skip(8));
        assert!(body.lose());
        assert_eq!(body.step(b"some data 0\r\n\r\n"), BodyStep::Consumed(15));
        assert!(!body.is_over(Side::Server, b"more data"));
        assert!(body.is_over(Side::Server, b"HTTP/1.1 200 OK\r\n"));
        assert_eq!(body.step(b"data\r\n0\r\n\r\n"), BodyStep::End(11));
    }

    #[test]
    fn nonsense_is_malformed() {
        for bytes in [
            &b"\r\n"[..],
            b"g\r\n",
            b"-1\r\n",
            b"11111111111111111\r\n",
            b"1 x\r\n",
            b"1\r\nab\r\n",
            b"0\r\nno colon\r\n",
        ] {
            assert_eq!(
                walk(bytes),
                BodyStep::Malformed,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
        assert_eq!(walk(&[b'1'; MAX_LINE_BYTES]), BodyStep::Malformed);
    }

    #[test]
    fn the_largest_size_does_not_overflow() {
        assert_eq!(walk(b"ffffffffffffffff\r\n"), BodyStep::Skip(u64::MAX));
    }
}
