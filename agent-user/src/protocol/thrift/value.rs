//! Walks over a struct of either encoding: where it ends, and what a reply says of failure.
//!
//! Enters: the bytes of arguments or of a result. Leaves: [`Body`]. Bounded: [`MAX_DEPTH`] structs inside each other,
//! [`MAX_VALUES`] values. Deliberately absent: field names (the wire has none) and values.

use super::header::Encoding;
use super::json;
use crate::protocol::reader::Reader;

const MAX_DEPTH: u8 = 32;
const MAX_VALUES: u32 = 100_000;

/// What is told of a struct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Body<'a> {
    /// Number of its first field; `None` where it is empty.
    pub(super) first_field: Option<i16>,
    /// Field 1 as text: the message of an exception.
    pub(super) text: &'a str,
    /// Its length; `None` where the bytes end before it.
    pub(super) length: Option<usize>,
    pub(super) is_broken: bool,
}

enum Stop {
    OutOfBytes,
    Broken,
}

/// A field's or element's type, in the numbers of the binary encoding.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Type(u8);

const BOOL: Type = Type(2);
const STRING: Type = Type(11);
const STRUCT: Type = Type(12);
const MAP: Type = Type(13);
const SET: Type = Type(14);
const LIST: Type = Type(15);

struct Walk<'a> {
    reader: Reader<'a>,
    encoding: Encoding,
    values: u32,
    body: Body<'a>,
}

pub(super) fn read(bytes: &[u8], encoding: Encoding) -> Body<'_> {
    if encoding == Encoding::Json {
        return json::body(bytes);
    }
    let mut walk = Walk {
        reader: Reader::new(bytes),
        encoding,
        values: 0,
        body: Body::default(),
    };
    match walk.fields(0) {
        Ok(()) => walk.body.length = Some(walk.reader.at()),
        Err(Stop::OutOfBytes) => {}
        Err(Stop::Broken) => walk.body.is_broken = true,
    }
    walk.body
}

fn at_hand<T>(read: Option<T>) -> Result<T, Stop> {
    read.ok_or(Stop::OutOfBytes)
}

impl<'a> Walk<'a> {
    fn fields(&mut self, depth: u8) -> Result<(), Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Broken);
        }
        let mut last = 0i16;
        loop {
            let Some((kind, number, is_bool)) = self.field(last)? else {
                return Ok(());
            };
            last = number;
            if depth == 0 && self.body.first_field.is_none() {
                self.body.first_field = Some(number);
            }
            // The compact encoding has a boolean field's value in its type.
            if is_bool && self.encoding == Encoding::Compact {
                continue;
            }
            let start = self.reader.at();
            let rest = self.reader.rest();
            self.value(kind, depth)?;
            if depth == 0 && number == 1 && kind == STRING && self.body.text.is_empty() {
                let text = &rest[..self.reader.at() - start];
                self.body.text = text_of(text, self.encoding);
            }
        }
    }

    /// The next field's type and number; `None` at the end of the struct.
    fn field(&mut self, last: i16) -> Result<Option<(Type, i16, bool)>, Stop> {
        let first = at_hand(self.reader.u8())?;
        if self.encoding == Encoding::Binary {
            if first == 0 {
                return Ok(None);
            }
            return Ok(Some((Type(first), at_hand(self.reader.i16())?, first == BOOL.0)));
        }
        let kind = first & 0xf;
        if kind == 0 {
            return if first == 0 { Ok(None) } else { Err(Stop::Broken) };
        }
        let number = match first >> 4 {
            0 => at_hand(self.reader.zigzag())? as i16,
            delta => last.wrapping_add(i16::from(delta)),
        };
        Ok(Some((compact_type(kind)?, number, kind <= 2)))
    }

    fn value(&mut self, kind: Type, depth: u8) -> Result<(), Stop> {
        self.values += 1;
        if self.values > MAX_VALUES || depth > MAX_DEPTH {
            return Err(Stop::Broken);
        }
        let is_compact = self.encoding == Encoding::Compact;
        match kind.0 {
            2 | 3 => drop(at_hand(self.reader.u8())?),
            4 => drop(at_hand(self.reader.take(8))?),
            6 | 8 | 10 if is_compact => drop(at_hand(self.reader.varint())?),
            6 => drop(at_hand(self.reader.take(2))?),
            8 => drop(at_hand(self.reader.take(4))?),
            10 => drop(at_hand(self.reader.take(8))?),
            11 => {
                let length = if is_compact {
                    at_hand(self.reader.varint())?
                } else {
                    at_hand(self.reader.u32())?.into()
                };
                let length = usize::try_from(length).map_err(|_| Stop::Broken)?;
                if length > i32::MAX as usize {
                    return Err(Stop::Broken);
                }
                at_hand(self.reader.take(length))?;
            }
            12 => self.fields(depth + 1)?,
            13 => self.map(depth)?,
            14 | 15 => self.list(depth)?,
            16 => drop(at_hand(self.reader.take(16))?),
            _ => return Err(Stop::Broken),
        }
        Ok(())
    }

    fn list(&mut self, depth: u8) -> Result<(), Stop> {
        let (kind, count) = if self.encoding == Encoding::Compact {
            let first = at_hand(self.reader.u8())?;
            let count = if first >> 4 == 15 {
                at_hand(self.reader.varint())?
            } else {
                u64::from(first >> 4)
            };
            (compact_type(first & 0xf)?, count)
        } else {
            (
                Type(at_hand(self.reader.u8())?),
                u64::from(at_hand(self.reader.u32())?),
            )
        };
        for _ in 0..count {
            self.value(kind, depth + 1)?;
        }
        Ok(())
    }

    fn map(&mut self, depth: u8) -> Result<(), Stop> {
        let (key, value, count) = if self.encoding == Encoding::Compact {
            let count = at_hand(self.reader.varint())?;
            if count == 0 {
                return Ok(());
            }
            let types = at_hand(self.reader.u8())?;
            (compact_type(types >> 4)?, compact_type(types & 0xf)?, count)
        } else {
            let (key, value) = (at_hand(self.reader.u8())?, at_hand(self.reader.u8())?);
            (Type(key), Type(value), u64::from(at_hand(self.reader.u32())?))
        };
        for _ in 0..count {
            self.value(key, depth + 1)?;
            self.value(value, depth + 1)?;
        }
        Ok(())
    }
}

fn compact_type(kind: u8) -> Result<Type, Stop> {
    Ok(match kind {
        1 | 2 => BOOL,
        3 => Type(3),
        4 => Type(6),
        5 => Type(8),
        6 => Type(10),
        7 => Type(4),
        8 => STRING,
        9 => LIST,
        10 => SET,
        11 => MAP,
        12 => STRUCT,
        13 => Type(16),
        _ => return Err(Stop::Broken),
    })
}

/// A string without its length.
fn text_of(bytes: &[u8], encoding: Encoding) -> &str {
    let mut reader = Reader::new(bytes);
    let length_read = match encoding {
        Encoding::Binary => reader.u32().map(u64::from),
        Encoding::Compact => reader.varint(),
        Encoding::Json => None,
    };
    length_read
        .and_then(|_| std::str::from_utf8(reader.rest()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_of_an_exception() {
        let binary = b"\x0b\0\x01\0\0\0\x03bad\x08\0\x02\0\0\0\x01\0";
        let compact = b"\x18\x03bad\x15\x02\0";
        for (bytes, encoding) in [
            (binary.as_slice(), Encoding::Binary),
            (compact.as_slice(), Encoding::Compact),
        ] {
            let body = read(bytes, encoding);
            assert_eq!(
                (body.first_field, body.text, body.length),
                (Some(1), "bad", Some(bytes.len()))
            );
            for cut in 0..bytes.len() {
                let body = read(&bytes[..cut], encoding);
                assert_eq!((body.length, body.is_broken), (None, false));
            }
        }
    }

    #[test]
    fn depth_and_counts_are_bounded() {
        assert!(read(&b"\x0c\0\x01".repeat(100), Encoding::Binary).is_broken);
        assert_eq!(
            read(b"\x0f\0\x01\x0c\xff\xff\xff\xff\0\0", Encoding::Binary).length,
            None
        );
        assert!(
            read(
                &[b"\x0f\0\x01\x0c\xff\xff\xff\xff".as_slice(), &[0; 200_000]].concat(),
                Encoding::Binary
            )
            .is_broken
        );
    }
}
