//! Every protocol's recordings before every protocol's detector at once: nobody may take another's.

use super::{Clock, Run, load};
use crate::event::Role;
use crate::protocol::recording::Conversation;
use crate::protocol::{Protocol, Side};

/// Which part of a conversation the detectors are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Both,
    Only(Side),
}

#[test]
fn every_recording_is_recognised_and_never_taken_for_another() {
    let mut wrong = Vec::new();
    for protocol in Protocol::ALL
        .iter()
        .filter(|protocol| protocol.definition().is_some())
    {
        for conversation in load(*protocol)
            .iter()
            .filter(|conversation| conversation.detectable)
        {
            for role in [Role::Server, Role::Unknown] {
                let found = recognise(conversation, Shown::Both, role, 0);
                if found.first() != Some(&conversation.protocol) {
                    wrong.push(format!(
                        "{}: {role:?} from the start: {found:?}",
                        conversation.name
                    ));
                }
            }
            let sides = [Shown::Only(Side::Client), Shown::Only(Side::Server), Shown::Both];
            for turn in 0..conversation.turns.len().min(12) {
                for shown in sides {
                    let found = recognise(conversation, shown, Role::Server, turn);
                    let allowed = |protocol: &Protocol| {
                        let begins = |line: &String| line.starts_with(&format!("{} |", protocol.name()));
                        *protocol == conversation.protocol || conversation.known_lines().iter().any(begins)
                    };
                    if !found.iter().all(allowed) {
                        wrong.push(format!(
                            "{}: {shown:?} from turn {turn}: {found:?}",
                            conversation.name
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The protocols a flow took a conversation for, one after the other.
fn recognise(conversation: &Conversation, shown: Shown, role: Role, first_turn: usize) -> Vec<Protocol> {
    let run = Run {
        forced: None,
        role,
        first_turn,
        ..Run::of(conversation)
    };
    let (mut flow, mut seen) = run.open();
    let mut clock = Clock::default();
    let mut found = Vec::new();
    for turn in &conversation.turns[first_turn..] {
        if shown == Shown::Both || shown == Shown::Only(turn.side) {
            clock.show(&mut flow, turn.side, &turn.bytes, turn.bytes.len(), &mut seen);
        }
        if let Some(protocol) = flow.protocol().filter(|protocol| found.last() != Some(protocol)) {
            found.push(protocol);
        }
    }
    found
}
