//! Heads of the plain shape, in which nearly all are written: lines that end in CR LF, without control characters, none
//! folded.
//!
//! Enters: bytes. Leaves: start line and field lines, or nothing where the shape is another one: `httparse` is to judge
//! those, and it must say the same of these (there is a test). Bounded: [`MAX_FIELDS`]. Deliberately absent: errors, partial
//! heads, and what nearly nobody sends; each costs instructions in every request.

use super::head::MAX_FIELDS;
use super::line::known_method;
use crate::protocol::reader::text;

pub(super) struct RequestLine<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) version_1_0: bool,
}

pub(super) struct StatusLine {
    pub(super) code: u16,
    pub(super) version_1_0: bool,
}

/// The lines of a head, one after the other.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, rest: bytes }
    }

    /// How many bytes the lines so far take.
    pub(super) fn length(&self) -> usize {
        self.bytes.len() - self.rest.len()
    }

    pub(super) fn request_line(&mut self) -> Option<RequestLine<'a>> {
        let line = self.next()?;
        let method = line
            .iter()
            .take(LONGEST_METHOD + 1)
            .position(|byte| *byte == b' ')?;
        let (method, rest) = (&line[..method], &line[method + 1..]);
        let target = memchr::memchr(b' ', rest)?;
        let (target, version) = (text(&rest[..target])?, &rest[target + 1..]);
        let method = known_method(method)?;
        let version_1_0 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return None,
        };
        (!target.is_empty()).then_some(RequestLine {
            method,
            target,
            version_1_0,
        })
    }

    pub(super) fn status_line(&mut self) -> Option<StatusLine> {
        if !self.bytes.starts_with(b"HTTP/1.") {
            return None;
        }
        let version_1_0 = match self.bytes.get(7..9)? {
            b"1 " => false,
            b"0 " => true,
            _ => return None,
        };
        let (code, reason) = self.next()?.get(9..)?.split_first_chunk::<3>()?;
        let digits = code.iter().all(u8::is_ascii_digit) && matches!(reason, [] | [b' ', ..]);
        digits.then(|| StatusLine {
            code: code
                .iter()
                .fold(0, |code, digit| code * 10 + u16::from(digit - b'0')),
            version_1_0,
        })
    }

    /// Shows name and value of every field line that `wanted` takes, up to and with the empty line; false where one is not
    /// plain. A name of interest is at least `shortest` bytes long, so its colon stands no earlier; of others the name shown
    /// may be a longer one, which is of no interest either.
    pub(super) fn fields(
        &mut self,
        shortest: usize,
        wanted: impl Fn(&[u8]) -> bool,
        mut see: impl FnMut(&'a [u8], &'a [u8]),
    ) -> bool {
        for _ in 0..=MAX_FIELDS {
            let Some(line) = self.next() else { return false };
            let Some(first) = line.first() else { return true };
            if !first.is_ascii_alphabetic() {
                return false;
            }
            if line.len() < shortest || !wanted(line) {
                continue;
            }
            // A line without a colon is passed over, as everywhere.
            if let Some(behind) = line[shortest..].iter().position(|byte| *byte == b':') {
                let colon = shortest + behind;
                let name = &line[..colon];
                // Some take the name without the space.
                if name.ends_with(b" ") {
                    return false;
                }
                see(name, trimmed(&line[colon + 1..]));
            }
        }
        false
    }

    /// The next line without its end.
    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (line, rest) = self.rest.split_at(control_at(self.rest)?);
        self.rest = rest.strip_prefix(b"\r\n")?;
        Some(line)
    }
}

const LONGEST_METHOD: usize = "OPTIONS".len();

fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' '] = value {
        value = rest;
    }
    value
}

/// Where the first ASCII control character stands.
#[inline]
fn control_at(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks();
    for (number, chunk) in chunks.iter().enumerate() {
        let found = controls(chunk);
        if found != 0 {
            return Some(CHUNK * number + found.trailing_zeros() as usize);
        }
    }
    let mut chunk = [b' '; CHUNK];
    chunk[..rest.len()].copy_from_slice(rest);
    let found = controls(&chunk);
    (found != 0).then(|| bytes.len() - rest.len() + found.trailing_zeros() as usize)
}

const CHUNK: usize = 16;

/// A bit for each byte that is an ASCII control character, the lowest for the first. Every byte of a head goes through here.
#[cfg(target_arch = "x86_64")]
#[inline]
fn controls(chunk: &[u8; CHUNK]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    // SAFETY: SSE2 belongs to x86-64, and the load takes the chunk's sixteen bytes wherever they lie.
    unsafe {
        let bytes = _mm_loadu_si128(chunk.as_ptr().cast());
        let below_space = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
        let delete = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F));
        _mm_movemask_epi8(_mm_or_si128(below_space, delete)) as u32
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn controls(chunk: &[u8; CHUNK]) -> u32 {
    let bit = |bits, byte: &u8| bits << 1 | u32::from(byte.is_ascii_control());
    chunk.iter().rev().fold(0, bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_characters_are_found_at_every_place() {
        for byte in 0..=255u8 {
            for (place, length) in [(0, 1), (7, 16), (15, 16), (16, 20), (37, 40)] {
                let mut bytes = vec![b'a'; length];
                bytes[place] = byte;
                assert_eq!(
                    control_at(&bytes),
                    byte.is_ascii_control().then_some(place),
                    "{byte}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn lines_are_what_lies_between_line_ends(lines in prop::collection::vec("[ -~]{0,20}", 0..6), rest in "[ -~]{0,9}") {
            let text: String = lines.iter().map(|line| format!("{line}\r\n")).chain([rest]).collect();
            let mut read = Lines::new(text.as_bytes());
            for line in &lines {
                prop_assert_eq!(read.next(), Some(line.as_bytes()));
            }
            prop_assert_eq!(read.next(), None);
        }
    }
}
