//! Header fields that a head's meaning hangs on.
//!
//! Enters: names and values, in their order. Leaves: what they say together. Bounded: borrowed values, and one context.

use crate::protocol::context::ContextReader;

#[derive(Default)]
pub(super) struct RequestFields<'a> {
    pub(super) host: &'a [u8],
    pub(super) upgrade: &'a [u8],
    /// `Connection` names `Upgrade`.
    pub(super) upgrades: bool,
    pub(super) user_agent: Option<&'a [u8]>,
    pub(super) content_type: &'a [u8],
    pub(super) length: ContentLength,
    pub(super) transfer: Transfer,
    pub(super) context: ContextReader,
}

impl<'a> RequestFields<'a> {
    /// Whether [`Self::see`] has a use for names that begin with this letter, in lower case.
    #[inline]
    pub(super) fn wants(letter: u8) -> bool {
        matches!(letter, b'h' | b'u' | b'c' | b't') || ContextReader::wants(letter)
    }

    #[inline]
    pub(super) fn see(&mut self, name: &[u8], value: &'a [u8]) {
        match name.len() {
            4 if is(name, "host") => self.host = value,
            7 if is(name, "upgrade") => self.upgrade = value,
            10 if is(name, "connection") => self.upgrades |= has_token(value, "upgrade"),
            10 if is(name, "user-agent") => self.user_agent = Some(value),
            12 if is(name, "content-type") => self.content_type = value,
            14 if is(name, "content-length") => self.length.see(value),
            17 if is(name, "transfer-encoding") => self.transfer.see(value),
            _ => self.context.see(name, value),
        }
    }
}

#[derive(Default)]
pub(super) struct ResponseFields<'a> {
    pub(super) upgrade: &'a [u8],
    pub(super) content_type: &'a [u8],
    pub(super) length: ContentLength,
    pub(super) transfer: Transfer,
}

impl<'a> ResponseFields<'a> {
    /// As [`RequestFields::wants`].
    #[inline]
    pub(super) fn wants(letter: u8) -> bool {
        matches!(letter, b'u' | b'c' | b't')
    }

    #[inline]
    pub(super) fn see(&mut self, name: &[u8], value: &'a [u8]) {
        match name.len() {
            7 if is(name, "upgrade") => self.upgrade = value,
            12 if is(name, "content-type") => self.content_type = value,
            14 if is(name, "content-length") => self.length.see(value),
            17 if is(name, "transfer-encoding") => self.transfer.see(value),
            _ => {}
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ContentLength {
    #[default]
    None,
    Bytes(u64),
    Faulty,
}

impl ContentLength {
    /// Repeated equal values count as one (RFC 9112 section 6.3, 5.), anything else is faulty.
    fn see(&mut self, value: &[u8]) {
        for part in value.split(|byte| *byte == b',') {
            let bytes = decimal(part.trim_ascii());
            *self = match *self {
                Self::None => bytes.map_or(Self::Faulty, Self::Bytes),
                Self::Bytes(before) if bytes == Some(before) => Self::Bytes(before),
                Self::Bytes(_) | Self::Faulty => Self::Faulty,
            };
        }
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Transfer {
    #[default]
    None,
    /// `chunked` is the last coding.
    Chunked,
    Other,
}

impl Transfer {
    fn see(&mut self, value: &[u8]) {
        let last = value
            .rsplit(|byte| *byte == b',')
            .next()
            .unwrap_or(value)
            .trim_ascii();
        *self = if last.eq_ignore_ascii_case(b"chunked") {
            Self::Chunked
        } else {
            Self::Other
        };
    }
}

fn is(name: &[u8], lower: &str) -> bool {
    name.eq_ignore_ascii_case(lower.as_bytes())
}

pub(super) fn has_token(list: &[u8], token: &str) -> bool {
    list.split(|byte| *byte == b',')
        .any(|item| is(item.trim_ascii(), token))
}
