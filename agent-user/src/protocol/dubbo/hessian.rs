//! The strings a Dubbo request begins with, in Hessian 2 (Hessian 2.0 serialization, section 4.10).
//!
//! Enters: the body of a message. Leaves: its first strings. Bounded: [`MAX_STRING_CHARS`] a string. Deliberately
//! absent: every other value.

use compact_str::CompactString;

use crate::protocol::reader::Reader;

const MAX_STRING_CHARS: usize = 1024;

/// The next value, where it is a string or null.
pub(super) fn string(reader: &mut Reader<'_>) -> Option<CompactString> {
    let mut text = CompactString::default();
    loop {
        let tag = reader.u8()?;
        let (chars, is_last) = match tag {
            b'N' => return Some(text),
            0x00..=0x1f => (usize::from(tag), true),
            0x30..=0x33 => (usize::from(tag & 3) << 8 | usize::from(reader.u8()?), true),
            b'S' => (usize::from(reader.u16()?), true),
            b'R' => (usize::from(reader.u16()?), false),
            _ => return None,
        };
        if text.len() + chars > MAX_STRING_CHARS {
            return None;
        }
        // The length counts UTF-16 units; names outside the basic plane are not names of methods.
        for _ in 0..chars {
            text.push(character(reader)?);
        }
        if is_last {
            return Some(text);
        }
    }
}

fn character(reader: &mut Reader<'_>) -> Option<char> {
    let first = reader.u8()?;
    let more = match first {
        0x00..=0x7f => return Some(char::from(first)),
        0xc0..=0xdf => 1,
        0xe0..=0xef => 2,
        _ => return None,
    };
    let mut bytes = [first, 0, 0];
    bytes[1..=more].copy_from_slice(reader.take(more)?);
    std::str::from_utf8(&bytes[..=more]).ok()?.chars().next()
}

/// The next value, where it is a small integer.
pub(super) fn small_integer(reader: &mut Reader<'_>) -> Option<i32> {
    match reader.u8()? {
        tag @ 0x80..=0xbf => Some(i32::from(tag) - 0x90),
        b'I' => reader.i32(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_every_length() {
        let long = "x".repeat(300);
        let cases = [
            (b"\x05hello".to_vec(), "hello".to_owned()),
            ([b"\x31\x2c".as_slice(), long.as_bytes()].concat(), long.clone()),
            ([b"S\x01\x2c".as_slice(), long.as_bytes()].concat(), long),
            (b"R\0\x02abS\0\x01c".to_vec(), "abc".to_owned()),
            (
                "\u{2}\u{e9}\u{6f22}".as_bytes().to_vec(),
                "\u{e9}\u{6f22}".to_owned(),
            ),
            (b"N".to_vec(), String::new()),
        ];
        for (bytes, text) in cases {
            assert_eq!(string(&mut Reader::new(&bytes)).unwrap(), text);
            for cut in 0..bytes.len() {
                assert_eq!(string(&mut Reader::new(&bytes[..cut])), None);
            }
        }
        assert_eq!(string(&mut Reader::new(b"\x91")), None);
        assert_eq!(small_integer(&mut Reader::new(b"\x94")), Some(4));
    }
}
