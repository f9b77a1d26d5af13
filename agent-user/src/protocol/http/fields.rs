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
    /// `Expect: 100-continue`: the body comes only if the server wants it.
    pub(super) expects: bool,
    pub(super) context: ContextReader,
}

impl<'a> RequestFields<'a> {
    /// Bytes of the shortest name that [`Self::see`] has a use for (`b3`).
    pub(super) const SHORTEST: usize = 2;

    /// Whether it may have a use for a line of at least so many bytes, by the name's first letter.
    #[inline]
    pub(super) fn wants(line: &[u8]) -> bool {
        let letter = line[0] | 0x20;
        matches!(letter, b'h' | b'u' | b'c' | b't' | b'e') || ContextReader::wants(letter)
    }

    #[inline]
    pub(super) fn see(&mut self, name: &[u8], value: &'a [u8]) {
        match name.len() {
            4 if is(name, b"host") => self.host = value,
            6 if is(name, b"expect") => self.expects = value.eq_ignore_ascii_case(b"100-continue"),
            7 if is(name, b"upgrade") => self.upgrade = value,
            10 if is(name, b"connection") => self.upgrades |= has_token(value, "upgrade"),
            10 if is(name, b"user-agent") => self.user_agent = Some(value),
            12 if is(name, b"content-type") => self.content_type = value,
            14 if is(name, b"content-length") => self.length.see(value),
            17 if is(name, b"transfer-encoding") => self.transfer.see(value),
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
    /// As [`RequestFields::SHORTEST`] (`Upgrade`).
    pub(super) const SHORTEST: usize = 7;

    /// As [`RequestFields::wants`], by the first and the fourth letter: most responses have a `Connection` and a
    /// `Cache-Control`, too.
    #[inline]
    pub(super) fn wants(line: &[u8]) -> bool {
        matches!(
            (line[0] | 0x20, line[3] | 0x20),
            (b'u', b'r') | (b'c', b't') | (b't', b'n')
        )
    }

    #[inline]
    pub(super) fn see(&mut self, name: &[u8], value: &'a [u8]) {
        match name.len() {
            7 if is(name, b"upgrade") => self.upgrade = value,
            12 if is(name, b"content-type") => self.content_type = value,
            14 if is(name, b"content-length") => self.length.see(value),
            17 if is(name, b"transfer-encoding") => self.transfer.see(value),
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
        // Nearly always.
        if let (Self::None, Some(bytes)) = (*self, decimal(value)) {
            *self = Self::Bytes(bytes);
            return;
        }
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
        } else if *self == Self::None && value.eq_ignore_ascii_case(b"identity") {
            // What RFC 2616 called no coding at all.
            Self::None
        } else {
            Self::Other
        };
    }
}

/// `lower` in lower case: letters and hyphens, whose bit of case is set. Of one known length, so that it takes few
/// instructions.
#[inline(always)]
fn is<const LENGTH: usize>(name: &[u8], lower: &[u8; LENGTH]) -> bool {
    <&[u8; LENGTH]>::try_from(name).is_ok_and(|name| {
        let differing = |(name, lower): (&u8, &u8)| (name ^ lower) & !(lower >> 1 & 0x20);
        name.iter()
            .zip(lower)
            .map(differing)
            .fold(0, |all, one| all | one)
            == 0
    })
}

pub(super) fn has_token(list: &[u8], token: &str) -> bool {
    list.split(|byte| *byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_regard_to_case() {
        for byte in 0..=255u8 {
            for (lower, expected) in [
                (b"a", b"aA".contains(&byte)),
                (b"z", b"zZ".contains(&byte)),
                (b"-", byte == b'-'),
            ] {
                assert_eq!(is(&[byte], lower), expected, "{byte}");
            }
        }
        assert!(is(b"Content-LENGTH", b"content-length") && !is(b"Content-Length2", b"content-length"));
    }
}
