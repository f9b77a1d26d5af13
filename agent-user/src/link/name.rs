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
    let mut name = Text::default();
    name.push(operation);
    name.push(" ");
    let mut rest = target;
    while !rest.is_empty() && name.length < NAME_BYTES {
        let (mut end, mut digits) = (0, false);
        for byte in rest.bytes().take_while(|byte| !is_separator(*byte)) {
            digits |= byte.is_ascii_digit();
            end += 1;
        }
        let (word, tail) = rest.split_at(end);
        name.push(if digits || word.len() > WORD_BYTES {
            "#"
        } else {
            word
        });
        // Separators are ASCII: one byte each.
        let (separator, behind) = tail.split_at(tail.len().min(1));
        name.push(separator);
        rest = behind;
    }
    name.finish()
}

/// A name under construction, without an allocation.
struct Text {
    bytes: [u8; NAME_BYTES + WORD_BYTES + 1],
    length: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            bytes: [0; NAME_BYTES + WORD_BYTES + 1],
            length: 0,
        }
    }
}

impl Text {
    fn push(&mut self, text: &str) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + text.len()) {
            room.copy_from_slice(text.as_bytes());
            self.length += text.len();
        }
    }

    fn finish(&self) -> CompactString {
        // Only whole texts were pushed.
        CompactString::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

const fn is_separator(byte: u8) -> bool {
    matches!(
        byte,
        b'/' | b':'
            | b'.'
            | b','
            | b';'
            | b'|'
            | b'='
            | b'&'
            | b'('
            | b')'
            | b' '
            | b'\t'
            | b'\n'
            | b'"'
            | b'\''
    )
}

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
