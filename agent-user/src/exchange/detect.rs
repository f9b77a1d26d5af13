//! Which protocol a connection speaks, by asking every detector.
//!
//! Enters: the first bytes of both directions. Leaves: a protocol and, where it was open, which end is the client.
//! Bounded: looks at what it is shown. Deliberately absent: any order of preference.

use crate::event::Role;
use crate::protocol::table::TABLE;
use crate::protocol::{Opening, Protocol, Verdict};

/// From this score on nothing more is waited for.
const CERTAIN: u8 = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detection {
    Found {
        protocol: Protocol,
        role: Role,
    },
    /// More bytes may tell.
    Wait,
    /// No detector takes these bytes.
    None,
}

/// What was seen of a connection so far, from the watched process's view.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) incoming: &'a [u8],
    pub(super) outgoing: &'a [u8],
    pub(super) role: Role,
    pub(super) local_port: u16,
    pub(super) remote_port: u16,
    pub(super) from_start: bool,
    pub(super) datagram: bool,
    /// Nothing more will be waited for: the best score decides, however low.
    pub(super) last_chance: bool,
}

pub(super) fn detect(seen: &Seen<'_>) -> Detection {
    let roles: &[Role] = match seen.role {
        Role::Client => &[Role::Client],
        Role::Server => &[Role::Server],
        Role::Unknown => &[Role::Server, Role::Client],
    };
    let mut best: Option<(u8, Protocol, Role)> = None;
    let mut tied = false;
    let mut waiting = false;
    for &role in roles {
        let opening = opening(seen, role);
        for (protocol, definition) in TABLE {
            match (definition.detect)(&opening) {
                Verdict::Reject => {}
                Verdict::NeedMore => waiting = true,
                Verdict::Score(score) => match best {
                    Some((most, ..)) if score < most => {}
                    Some((most, same, _)) if score == most => tied |= same != *protocol,
                    _ => (best, tied) = (Some((score, *protocol, role)), false),
                },
            }
        }
    }
    match best {
        Some((score, protocol, role)) if !tied && (score >= CERTAIN || !waiting || seen.last_chance) => {
            Detection::Found { protocol, role }
        }
        Some(_) if !seen.last_chance => Detection::Wait,
        None if waiting && !seen.last_chance => Detection::Wait,
        _ => Detection::None,
    }
}

/// How well what was seen fits a protocol with the watched end in this role; below 0 where it does not.
pub(super) fn weigh(protocol: Protocol, seen: &Seen<'_>, role: Role) -> i32 {
    let verdict = protocol
        .definition()
        .map(|definition| (definition.detect)(&opening(seen, role)));
    match verdict {
        Some(Verdict::Score(score)) => i32::from(score),
        Some(Verdict::NeedMore) => 0,
        Some(Verdict::Reject) | None => -100,
    }
}

fn opening<'a>(seen: &Seen<'a>, role: Role) -> Opening<'a> {
    let (client, server, server_port) = match role {
        Role::Client => (seen.outgoing, seen.incoming, seen.remote_port),
        Role::Server | Role::Unknown => (seen.incoming, seen.outgoing, seen.local_port),
    };
    Opening {
        client,
        server,
        from_start: seen.from_start,
        server_port,
        datagram: seen.datagram,
    }
}
