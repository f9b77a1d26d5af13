//! What requests of one kind have in common: the name that shapes are learned by.
//!
//! Enters: operation and target of a request. Leaves: both without what tells one request from another, so that nothing
//! is ever linked by an id in a path or key. Bounded: 96 bytes.

use compact_str::CompactString;

use super::Seen;

const NAME_BYTES: usize = 96;

/// `GET /items/#`; empty where nothing is asked for.
pub(super) fn of(seen: &Seen<'_>) -> CompactString {
    let mut name = CompactString::default();
    if seen.operation.is_empty() && seen.target.is_empty() {
        return name;
    }
    name.push_str(seen.operation.get(..32).unwrap_or(seen.operation));
    name.push(' ');
    // What follows a question mark belongs to the one request, in paths; statements come without literals.
    let target = if seen.target.starts_with('/') {
        seen.target.split('?').next().unwrap_or_default()
    } else {
        seen.target
    };
    let mut rest = target;
    while !rest.is_empty() && name.len() < NAME_BYTES {
        let end = rest.find(is_separator).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        if word.len() > 40 || word.bytes().any(|byte| byte.is_ascii_digit()) {
            name.push('#');
        } else {
            name.push_str(word);
        }
        let mut characters = tail.chars();
        name.extend(characters.next());
        rest = characters.as_str();
    }
    name
}

fn is_separator(character: char) -> bool {
    "/:.,;|=&() \t\n\"'".contains(character)
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
