//! Where a message body ends: chunked framing (RFC 9112 section 7.1) and bodies that end with the connection.
//!
//! Bodies of known length need no state unless they are watched: they are skipped with their head
//! ([`super::Ends::After`]).

use super::head::Framing;
use super::line::{self, Line};
use crate::protocol::Side;

/// The longest chunk-size line (with extensions) or trailer line that is waited for.
const MAX_LINE_BYTES: usize = 8 << 10;

#[derive(Debug)]
pub(super) struct Body {
    state: State,
    /// Somebody looks at the data, so it is not skipped.
    watched: bool,
}

#[derive(Debug)]
enum State {
    /// It comes only if the server wants it (RFC 9110 section 10.1.1); then it is framed so.
    Expected(Framing),
    /// So much of a watched body of known length is to come.
    Length(u64),
    /// At the start of a chunk-size line.
    Size,
    /// So much of a watched chunk's data is to come.
    ChunkData(u64),
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

impl State {
    fn of(framing: Framing) -> Self {
        match framing {
            Framing::Chunked => Self::Size,
            Framing::UntilClose => Self::UntilClose,
            Framing::Length(bytes) => Self::Length(bytes),
            Framing::None | Framing::Faulty => Self::Faulty,
        }
    }
}

impl Body {
    pub(super) fn new(framing: Framing, watched: bool) -> Self {
        let state = State::of(framing);
        Self { state, watched }
    }

    pub(super) fn expected(framing: Framing, watched: bool) -> Self {
        let state = State::Expected(framing);
        Self { state, watched }
    }

    pub(super) fn of_cut_head() -> Self {
        Self {
            state: State::UntilHead,
            watched: false,
        }
    }

    /// The data is of no interest any more.
    pub(super) fn look_away(&mut self) {
        self.watched = false;
    }

    /// Whether these are no longer bytes of this body: they begin with a head. An expected body may also never begin, where
    /// the server `answered` without it.
    pub(super) fn is_over(&self, side: Side, bytes: &[u8], answered: bool) -> bool {
        let start_line = match side {
            Side::Client => line::request_line,
            Side::Server => line::status_line,
        };
        let may_be = match self.state {
            State::UntilHead | State::UntilLastChunk => true,
            State::Expected(_) => answered,
            _ => false,
        };
        may_be && start_line(bytes) == Line::Yes
    }

    /// As [`Body::is_over`] of the client's, once more bytes are there.
    pub(super) fn may_be_over(&self, bytes: &[u8], answered: bool) -> bool {
        answered && matches!(self.state, State::Expected(_)) && line::request_line(bytes) == Line::Maybe
    }

    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// Whether its message was reported as one that ends later, and has not ended yet.
    pub(super) fn owes_end(&self) -> bool {
        matches!(self.state, State::UntilLastChunk | State::Expected(_))
    }

    /// Whether the body can be followed although so many bytes at its place are missing.
    pub(super) fn lose(&mut self, missing: u64) -> bool {
        self.begin();
        match &mut self.state {
            State::UntilClose | State::UntilHead | State::UntilLastChunk => true,
            State::Length(rest) | State::ChunkData(rest) if missing <= *rest => {
                *rest -= missing;
                true
            }
            State::Length(_) | State::Faulty | State::Expected(_) => false,
            // Chunk data that is not watched is skipped, so what is missing here is framing.
            State::Size | State::ChunkData(_) | State::DataEnd | State::Trailer => {
                self.state = State::UntilLastChunk;
                true
            }
        }
    }

    /// Deals with the bytes shown; data among them is also shown to `watch`, if the body is watched.
    pub(super) fn step(&mut self, bytes: &[u8], watch: &mut dyn FnMut(&[u8])) -> BodyStep {
        if !bytes.is_empty() {
            self.begin();
        }
        match self.state {
            State::Length(rest) => self.data(bytes, rest, watch),
            State::ChunkData(rest) if rest > 0 => self.data(bytes, rest, watch),
            State::ChunkData(_) => {
                self.state = State::DataEnd;
                self.step(bytes, watch)
            }
            _ if bytes.is_empty() => BodyStep::NeedMore,
            State::UntilClose if self.watched => {
                watch(bytes);
                BodyStep::Consumed(bytes.len())
            }
            State::UntilClose | State::UntilHead => BodyStep::Consumed(bytes.len()),
            State::UntilLastChunk if ends_with_last_chunk(bytes) => BodyStep::End(bytes.len()),
            State::UntilLastChunk => BodyStep::Consumed(bytes.len()),
            State::Faulty | State::Expected(_) => BodyStep::Malformed,
            State::Size | State::DataEnd | State::Trailer => self.chunks(bytes, watch),
        }
    }

    /// The client sends what it was expected to.
    fn begin(&mut self) {
        if let State::Expected(framing) = self.state {
            self.state = State::of(framing);
        }
    }

    fn data(&mut self, bytes: &[u8], rest: u64, watch: &mut dyn FnMut(&[u8])) -> BodyStep {
        let taken = bytes.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        if self.watched {
            watch(&bytes[..taken]);
        }
        let left = rest - taken as u64;
        let length = matches!(self.state, State::Length(_));
        if length && left == 0 {
            return BodyStep::End(taken);
        }
        let skip = !self.watched;
        let rest = if skip { 0 } else { left };
        self.state = if length {
            State::Length(rest)
        } else {
            State::ChunkData(rest)
        };
        match (skip, taken) {
            (true, _) => BodyStep::Skip(taken as u64 + left),
            (false, 0) => BodyStep::NeedMore,
            (false, _) => BodyStep::Consumed(taken),
        }
    }

    /// Takes as many whole chunks as `bytes` hold in one step.
    fn chunks(&mut self, bytes: &[u8], watch: &mut dyn FnMut(&[u8])) -> BodyStep {
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
            match self.state {
                State::DataEnd if line.is_empty() => self.state = State::Size,
                State::Size => match chunk_size(line) {
                    Some(0) => self.state = State::Trailer,
                    Some(size) => {
                        self.state = State::DataEnd;
                        let here = &bytes[at..];
                        if self.watched {
                            watch(&here[..here.len().min(usize::try_from(size).unwrap_or(usize::MAX))]);
                        }
                        if size >= here.len() as u64 && self.watched {
                            self.state = State::ChunkData(size - here.len() as u64);
                            return BodyStep::Consumed(bytes.len());
                        }
                        if size >= here.len() as u64 {
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
        Body::new(Framing::Chunked, false).step(bytes, &mut |_| ())
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
        let mut body = Body::new(Framing::Chunked, false);
        assert_eq!(
            body.step(b"ffffffff\r\nabc", &mut |_| ()),
            BodyStep::Skip(10 + 0xffff_ffff)
        );
        assert_eq!(body.step(b"\r\n0\r\n", &mut |_| ()), BodyStep::Consumed(5));
        assert_eq!(body.step(b"\r", &mut |_| ()), BodyStep::NeedMore);
        assert_eq!(body.step(b"\r\n", &mut |_| ()), BodyStep::End(2));
    }

    #[test]
    fn a_body_whose_framing_was_missed_ends_with_a_last_chunk_or_the_next_head() {
        let mut body = Body::new(Framing::Chunked, false);
        assert_eq!(body.step(b"5\r\n", &mut |_| ()), BodyStep::Skip(8));
        assert!(body.lose(9));
        assert_eq!(
            body.step(b"some data 0\r\n\r\n", &mut |_| ()),
            BodyStep::Consumed(15)
        );
        assert!(!body.is_over(Side::Server, b"more data", false));
        assert!(body.is_over(Side::Server, b"HTTP/1.1 200 OK\r\n", false));
        assert_eq!(body.step(b"data\r\n0\r\n\r\n", &mut |_| ()), BodyStep::End(11));
    }

    #[test]
    fn watched_data_is_shown_and_nothing_else() {
        for framing in [Framing::Chunked, Framing::Length(9)] {
            for step in 1..30 {
                let bytes: &[u8] = if framing == Framing::Chunked {
                    b"4;x\r\nabcd\r\n5\r\nefghi\r\n0\r\n\r\n"
                } else {
                    b"abcdefghi"
                };
                let (mut body, mut seen, mut held) = (Body::new(framing, true), Vec::new(), Vec::new());
                for part in bytes.chunks(step) {
                    held.extend_from_slice(part);
                    loop {
                        let answer = body.step(&held, &mut |data| seen.extend_from_slice(data));
                        match answer {
                            BodyStep::Consumed(used) | BodyStep::End(used) => drop(held.drain(..used)),
                            _ => {}
                        }
                        if held.is_empty() || answer == BodyStep::NeedMore {
                            break;
                        }
                    }
                }
                assert_eq!(seen, b"abcdefghi", "{framing:?} in steps of {step}");
            }
        }
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
