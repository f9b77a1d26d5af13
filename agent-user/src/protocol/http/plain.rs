//! Heads of the plain shape, in which nearly all are written: lines that end in CR LF, without control characters, none
//! folded.
//!
//! Enters: bytes. Leaves: start line and field lines, or nothing where the shape is another one: `httparse` is to judge
//! those, and it must say the same of these (there is a test). Bounded: [`MAX_FIELDS`]. Deliberately absent: errors, partial
//! heads, and what nearly nobody sends; each costs instructions in every request.

use super::head::MAX_FIELDS;
use super::line::is_known_method;

/// Method, target and the rest behind the line.
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) version_1_0: bool,
    pub(super) length: usize,
}

pub(super) struct StatusLine {
    pub(super) code: u16,
    pub(super) version_1_0: bool,
    pub(super) length: usize,
}

pub(super) fn request_line(bytes: &[u8]) -> Option<RequestLine<'_>> {
    let end = line_end(bytes)?;
    let line = std::str::from_utf8(&bytes[..end])
        .ok()
        .filter(|line| line.is_ascii())?;
    let (method, rest) = line.split_at(memchr::memchr(b' ', line.as_bytes())?);
    let (target, version) = rest[1..].split_at(rest.len().checked_sub(VERSION_BYTES + 2)?);
    let version_1_0 = match version {
        " HTTP/1.1" => false,
        " HTTP/1.0" => true,
        _ => return None,
    };
    let plain = is_known_method(method) && !target.is_empty() && !target.as_bytes().contains(&b' ');
    plain.then_some(RequestLine {
        method,
        target,
        version_1_0,
        length: end + 2,
    })
}

const VERSION_BYTES: usize = "HTTP/1.1".len();

pub(super) fn status_line(bytes: &[u8]) -> Option<StatusLine> {
    let version_1_0 = match bytes.get(..9)? {
        b"HTTP/1.1 " => false,
        b"HTTP/1.0 " => true,
        _ => return None,
    };
    let length = line_end(bytes)? + 2;
    let code = match bytes[9..length] {
        [a, b, c, b' ' | b'\r', ..] => [a, b, c],
        _ => return None,
    };
    code.iter().all(u8::is_ascii_digit).then(|| StatusLine {
        code: code
            .iter()
            .fold(0, |code, digit| code * 10 + u16::from(digit - b'0')),
        version_1_0,
        length,
    })
}

/// Shows name and value of every field line whose name's first letter `wanted` takes; answers the length of all lines with
/// the empty one behind them.
pub(super) fn fields<'a>(
    bytes: &'a [u8],
    wanted: impl Fn(u8) -> bool,
    mut see: impl FnMut(&'a [u8], &'a [u8]),
) -> Option<usize> {
    let mut at = 0;
    for _ in 0..=MAX_FIELDS {
        let rest = &bytes[at..];
        let end = line_end(rest)?;
        at += end + 2;
        let line = &rest[..end];
        let Some(first) = line.first() else {
            return Some(at);
        };
        if !first.is_ascii_alphabetic() {
            return None;
        }
        if !wanted(first | 0x20) {
            continue;
        }
        // A line without a colon is passed over, as everywhere.
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            let name = &line[..colon];
            // Some take the name without the space.
            if name.ends_with(b" ") {
                return None;
            }
            see(name, trimmed(&line[colon + 1..]));
        }
    }
    None
}

fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' '] = value {
        value = rest;
    }
    value
}

/// How many bytes the first line takes without its end.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let end = control_at(bytes)?;
    bytes[end..].starts_with(b"\r\n").then_some(end)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x80 * ONES;

/// Where the first ASCII control character stands: eight bytes at a time.
fn control_at(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // A borrow can only touch bytes behind the first one found.
        let below_space = word.wrapping_sub(0x20 * ONES) & !word;
        let without_delete = word ^ (0x7F * ONES);
        let delete = without_delete.wrapping_sub(ONES) & !without_delete;
        let found = (below_space | delete) & HIGHS;
        if found != 0 {
            return Some(8 * number + found.trailing_zeros() as usize / 8);
        }
    }
    let in_rest = rest.iter().position(u8::is_ascii_control)?;
    Some(bytes.len() - rest.len() + in_rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_control_character_is_found(bytes in prop::collection::vec(any::<u8>(), 0..40), text in "[ -~]{0,40}") {
            prop_assert_eq!(control_at(&bytes), bytes.iter().position(u8::is_ascii_control));
            let behind_text = [text.as_bytes(), &bytes].concat();
            prop_assert_eq!(control_at(&behind_text), behind_text.iter().position(u8::is_ascii_control));
        }
    }
}
