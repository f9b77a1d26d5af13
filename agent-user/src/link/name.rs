//! What requests of one kind have in common: the name that shapes are learned by.
//!
//! Enters: operation and target of a request. Leaves: both without what tells one request from another, so that nothing
//! is ever linked by an id in a path or key. Bounded: 96 bytes.

use compact_str::CompactString;

use super::Seen;

const NAME_BYTES: usize = 96;
const OPERATION_BYTES: usize = 32;
/// Longer words are no names.
const WORD_BYTES: usize = 40;

/// `GET /items/#`; empty where nothing is asked for.
pub(super) fn of(seen: &Seen<'_>) -> CompactString {
    if seen.operation.is_empty() && seen.target.is_empty() {
        return CompactString::default();
    }
    let operation = &seen.operation[..seen.operation.floor_char_boundary(OPERATION_BYTES)];
    // What follows a question mark belongs to the one request, in paths; statements come without literals.
    let target = match memchr::memchr(b'?', seen.target.as_bytes()) {
        Some(query) if seen.target.starts_with('/') => &seen.target[..query],
        _ => seen.target,
    };
    let mut name = Name::default();
    operation.bytes().for_each(|byte| name.push(byte));
    name.push(b' ');
    let (mut word, mut digits) = (name.length, false);
    for byte in target.bytes() {
        match KINDS[usize::from(byte)] {
            Kind::Separator => {
                name.end_word(word, digits);
                name.push(byte);
                (word, digits) = (name.length, false);
                if word >= NAME_BYTES {
                    break;
                }
            }
            kind => {
                digits |= kind == Kind::Digit;
                if name.length - word <= WORD_BYTES {
                    name.push(byte);
                }
            }
        }
    }
    name.end_word(word, digits);
    // Only whole words were kept.
    CompactString::from_utf8(&name.bytes[..name.length]).unwrap_or_default()
}

/// A name under construction, without an allocation.
struct Name {
    /// The last word may begin with the last byte that counts.
    bytes: [u8; NAME_BYTES + WORD_BYTES + 1],
    length: usize,
}

impl Default for Name {
    fn default() -> Self {
        Self {
            bytes: [0; NAME_BYTES + WORD_BYTES + 1],
            length: 0,
        }
    }
}

impl Name {
    #[inline]
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// A word with digits, or one longer than any name, is one of many.
    #[inline]
    fn end_word(&mut self, start: usize, digits: bool) {
        if digits || self.length - start > WORD_BYTES {
            self.length = start;
            self.push(b'#');
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Digit,
    Separator,
}

static KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Word; 256];
    let mut byte = 0;
    while byte < kinds.len() {
        kinds[byte] = match byte as u8 {
            b'0'..=b'9' => Kind::Digit,
            b'/' | b':' | b'.' | b',' | b';' | b'|' | b'=' | b'&' | b'(' | b')' => Kind::Separator,
            b' ' | b'\t' | b'\n' | b'"' | b'\'' => Kind::Separator,
            _ => Kind::Word,
        };
        byte += 1;
    }
    kinds
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Actor, ConnectionId};
    use crate::link::ExchangeId;
    use crate::protocol::Side;
    use proptest::prelude::*;

    fn named(operation: &str, target: &str) -> CompactString {
        of(&Seen {
            id: ExchangeId(1),
            side: Side::Server,
            actor: Actor::default(),
            connection: ConnectionId(1),
            time_ns: 1,
            sequence: None,
            position: None,
            client_address: None,
            server_address: None,
            network_namespace: 0,
            stream_id: 0,
            context: None,
            operation,
            target,
        })
    }

    #[test]
    fn what_tells_requests_apart_is_gone() {
        assert_eq!(named("GET", "/items/42/parts?truth=7"), "GET /items/#/parts");
        assert_eq!(named("GET", "/items/3fb1-aa"), named("GET", "/items/77c0-bb"));
        assert_eq!(named("GET", "user:17:name"), "GET user:#:name");
        assert_eq!(
            named("SELECT", "select * from items where id = $1"),
            "SELECT select * from items where id = #"
        );
        assert_eq!(named("", ""), "");
    }

    proptest! {
        #[test]
        fn any_target_gives_a_bounded_name(operation in ".{0,50}", target in ".{0,300}") {
            prop_assert!(named(&operation, &target).len() < NAME_BYTES + 48 + 50);
        }
    }
}
