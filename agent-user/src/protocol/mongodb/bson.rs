//! A walk over the top level of a BSON document.
//!
//! Enters: bytes that may end anywhere in the document. Leaves: its elements one by one, as far as they are at hand.
//! Bounded: no allocation. Deliberately absent: what is nested, unless asked for. Source: bsonspec.org, version 1.1.

/// The elements a span can use; others only pass by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Double(f64),
    Text(&'a str),
    Int(i64),
    Bool(bool),
    /// A document or an array, as far as it is at hand.
    Nested(&'a [u8]),
    Other,
}

impl Value<'_> {
    /// Numbers and booleans as MongoDB's `ok` takes them.
    pub(super) fn is_true(self) -> bool {
        match self {
            Self::Double(value) => value != 0.0,
            Self::Int(value) => value != 0,
            Self::Bool(value) => value,
            _ => false,
        }
    }

    pub(super) fn int(self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(value),
            Self::Double(value) => Some(value as i64),
            _ => None,
        }
    }
}

pub(super) struct Elements<'a> {
    rest: &'a [u8],
}

/// The elements of the document at the front of `bytes`.
pub(super) fn elements(bytes: &[u8]) -> Elements<'_> {
    let length = length(bytes).unwrap_or(0).min(bytes.len());
    Elements {
        rest: bytes.get(4..length).unwrap_or_default(),
    }
}

/// Length of the document at the front of `bytes`; `None` where there is none.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let length = i32::from_le_bytes(*bytes.first_chunk()?);
    usize::try_from(length).ok().filter(|length| *length >= 5)
}

impl<'a> Elements<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.rest.get(..count)?;
        self.rest = &self.rest[count..];
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a str> {
        let end = memchr::memchr(0, self.rest)?;
        let text = std::str::from_utf8(&self.rest[..end]).ok()?;
        self.rest = &self.rest[end + 1..];
        Some(text)
    }

    fn int(&mut self) -> Option<usize> {
        let bytes = self.take(4)?;
        usize::try_from(i32::from_le_bytes(*bytes.first_chunk()?)).ok()
    }

    fn value(&mut self, kind: u8) -> Option<Value<'a>> {
        Some(match kind {
            0x01 => Value::Double(f64::from_le_bytes(*self.take(8)?.first_chunk()?)),
            0x02 | 0x0d | 0x0e => {
                let length = self.int()?;
                let text = self.take(length)?;
                Value::Text(std::str::from_utf8(text.strip_suffix(&[0])?).unwrap_or_default())
            }
            0x03 | 0x04 => {
                let length = length(self.rest)?;
                let nested = &self.rest[..length.min(self.rest.len())];
                self.rest = &self.rest[nested.len()..];
                Value::Nested(nested)
            }
            0x05 => {
                let length = self.int()?;
                self.take(length.checked_add(1)?)?;
                Value::Other
            }
            0x06 | 0x0a | 0x7f | 0xff => Value::Other,
            0x07 => self.take(12).map(|_| Value::Other)?,
            0x08 => Value::Bool(self.take(1)?[0] != 0),
            0x09 | 0x11 => self.take(8).map(|_| Value::Other)?,
            0x0b => {
                self.text()?;
                self.text()?;
                Value::Other
            }
            0x0c => {
                let length = self.int()?;
                self.take(length.checked_add(12)?)?;
                Value::Other
            }
            0x0f => {
                let length = self.int()?;
                self.take(length.checked_sub(4)?)?;
                Value::Other
            }
            0x10 => Value::Int(i64::from(i32::from_le_bytes(*self.take(4)?.first_chunk()?))),
            0x12 => Value::Int(i64::from_le_bytes(*self.take(8)?.first_chunk()?)),
            0x13 => self.take(16).map(|_| Value::Other)?,
            _ => return None,
        })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let kind = self.take(1)?[0];
        if kind == 0 {
            self.rest = &[];
            return None;
        }
        let name = self.text()?;
        let value = self.value(kind);
        if value.is_none() {
            self.rest = &[];
        }
        Some((name, value?))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A document of elements already encoded.
    pub(crate) fn document(elements: &[Vec<u8>]) -> Vec<u8> {
        let body = elements.concat();
        let mut document = (body.len() as i32 + 5).to_le_bytes().to_vec();
        document.extend(body);
        document.push(0);
        document
    }

    pub(crate) fn text(name: &str, value: &str) -> Vec<u8> {
        let length = (value.len() as i32 + 1).to_le_bytes();
        [&[2], name.as_bytes(), &[0], &length, value.as_bytes(), &[0]].concat()
    }

    pub(crate) fn int(name: &str, value: i32) -> Vec<u8> {
        [&[0x10], name.as_bytes(), &[0], &value.to_le_bytes()[..]].concat()
    }

    pub(crate) fn nested(kind: u8, name: &str, value: Vec<u8>) -> Vec<u8> {
        [&[kind], name.as_bytes(), &[0], &value].concat()
    }

    #[test]
    fn elements_are_read_as_far_as_they_are_at_hand() {
        let whole = document(&[
            text("find", "orders"),
            nested(3, "filter", document(&[int("a", 1)])),
            text("$db", "shop"),
        ]);
        let all: Vec<_> = elements(&whole).map(|(name, _)| name).collect();
        assert_eq!(all, ["find", "filter", "$db"]);
        assert_eq!(elements(&whole).last(), Some(("$db", Value::Text("shop"))));
        for end in 0..whole.len() {
            assert!(elements(&whole[..end]).count() <= 3);
        }
        assert_eq!(elements(b"\xff\xff\xff\xff").count(), 0);
    }
}
