//! The values a Dubbo message's body begins with, in the serializations that name their types.
//!
//! Enters: a body and the number of its serialization (Apache Dubbo, `Constants`). Leaves: strings and small integers.
//! Bounded: as each reader is. Deliberately absent: what needs a schema to be read (Kryo, FST, Protobuf), Java's own.

use compact_str::CompactString;

use super::{hessian, jsonb};
use crate::protocol::reader::{Reader, lossy_text};

pub(super) const HESSIAN_2: u8 = 2;
const FASTJSON: u8 = 6;
const GSON: u8 = 16;
const FASTJSON_2: u8 = 23;

const TEXT_MAX_BYTES: usize = 1024;

/// A place in a body.
pub(super) enum Values<'a> {
    Hessian(Reader<'a>),
    /// A JSON value a line.
    Lines(&'a [u8]),
    Jsonb(Reader<'a>),
}

impl<'a> Values<'a> {
    /// `None` where the serialization is not read.
    pub(super) fn new(serialization: u8, body: &'a [u8]) -> Option<Self> {
        Some(match serialization {
            HESSIAN_2 => Self::Hessian(Reader::new(body)),
            FASTJSON | GSON => Self::Lines(body),
            FASTJSON_2 => Self::Jsonb(Reader::new(body)),
            _ => return None,
        })
    }

    /// The next value, where it is a string or null.
    pub(super) fn text(&mut self) -> Option<CompactString> {
        match self {
            Self::Hessian(reader) => hessian::string(reader),
            Self::Jsonb(reader) => jsonb::string(reader),
            Self::Lines(rest) => match line(rest)? {
                b"null" => Some(CompactString::default()),
                quoted => {
                    let text = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
                    // Names hold no escapes; of a message, what precedes the first one is its first line.
                    let text = text.split(|byte| *byte == b'\\').next()?;
                    Some(lossy_text(&text[..text.len().min(TEXT_MAX_BYTES)]))
                }
            },
        }
    }

    /// The next value, where it is a small integer.
    pub(super) fn small_integer(&mut self) -> Option<i32> {
        match self {
            Self::Hessian(reader) => hessian::small_integer(reader),
            Self::Jsonb(reader) => jsonb::small_integer(reader),
            Self::Lines(rest) => std::str::from_utf8(line(rest)?).ok()?.parse().ok(),
        }
    }
}

/// Takes the next line; `None` where its end is not at hand.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = memchr::memchr(b'\n', rest)?;
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}
