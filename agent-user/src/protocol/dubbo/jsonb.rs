//! Strings and small integers in JSONB, the binary format of fastjson 2 (fastjson2, "JSONB format").
//!
//! Enters: the body of a message. Leaves: its first values. Bounded: [`TEXT_MAX_BYTES`] a string. Deliberately absent:
//! every other value, UTF-16 strings and references to symbols.

use compact_str::CompactString;

use crate::protocol::reader::{Reader, lossy_text};

const NULL: u8 = 0xaf;
/// ASCII strings whose length is part of the type.
const SHORT_TEXT: u8 = 0x49;
const SHORT_TEXT_MAX: u8 = 0x78;
const ASCII: u8 = 0x79;
const UTF_8: u8 = 0x7a;
const INT_32: u8 = 0x48;

const TEXT_MAX_BYTES: usize = 1024;

/// The next value, where it is a string or null.
pub(super) fn string(reader: &mut Reader<'_>) -> Option<CompactString> {
    let length = match reader.u8()? {
        NULL => return Some(CompactString::default()),
        kind @ SHORT_TEXT..=SHORT_TEXT_MAX => usize::from(kind - SHORT_TEXT),
        ASCII | UTF_8 => usize::try_from(integer(reader)?).ok()?,
        _ => return None,
    };
    let text = reader.take(length).filter(|text| text.len() <= TEXT_MAX_BYTES)?;
    Some(lossy_text(text))
}

/// The next value, where it is a small integer.
pub(super) fn small_integer(reader: &mut Reader<'_>) -> Option<i32> {
    integer(reader)
}

/// One to three bytes, of which the first says how many; or a type and four bytes.
fn integer(reader: &mut Reader<'_>) -> Option<i32> {
    let first = reader.u8()?;
    Some(match first {
        0xf0..=0xff => i32::from(first as i8),
        0x00..=0x2f => i32::from(first),
        0x30..=0x3f => (i32::from(first) - 0x38) << 8 | i32::from(reader.u8()?),
        0x40..=0x47 => (i32::from(first) - 0x44) << 16 | i32::from(reader.u16()?),
        INT_32 => reader.i32()?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_integers_of_every_length() {
        let long = "x".repeat(300);
        let cases = [
            (b"\x4bhi".to_vec(), "hi".to_owned()),
            ([&b"\x79\x39\x2c"[..], long.as_bytes()].concat(), long),
            ("\x7a\x03\u{6f22}".as_bytes().to_vec(), "\u{6f22}".to_owned()),
            (vec![NULL], String::new()),
        ];
        for (bytes, text) in cases {
            assert_eq!(string(&mut Reader::new(&bytes)).unwrap(), text);
            for cut in 0..bytes.len() {
                assert_eq!(string(&mut Reader::new(&bytes[..cut])), None);
            }
        }
        for (bytes, number) in [
            (&[0xff][..], -1),
            (&[4], 4),
            (&[0x39, 0x2c], 300),
            (&[0x44, 0x80, 0], 32_768),
            (&[0x48, 0, 1, 0, 0], 65_536),
        ] {
            assert_eq!(small_integer(&mut Reader::new(bytes)), Some(number));
        }
        assert_eq!(string(&mut Reader::new(b"\x79\x48\xff\xff\xff\xff")), None);
    }
}
