//! PostgreSQL, protocol version 3 (also CockroachDB, YugabyteDB, Redshift, PgBouncer). Source: PostgreSQL documentation,
//! chapter "Frontend/Backend Protocol".
//!
//! Enters: bytes of both sides. Leaves: one exchange for each statement as the application counts them: a simple Query
//! is one (however many statements its text holds), each Execute is one. A Parse or Describe whose round runs nothing is a round trip that can
//! block or fail, so it is an exchange too, named `PREPARE`; a further Execute of the same portal is named `FETCH`.
//! Operation: the SQL verb. Target: the statement without literals; empty where the prepared statement was not seen. Status: the
//! SQLSTATE of an error, otherwise the command tag (`SELECT 5`), as the server writes them. Notifications, cancel requests and
//! errors outside any statement (refused session, shutdown) are one-way.
//!
//! Bounded: [`prepared`] statements, [`PENDING_MAX`] frames waiting for their answer. Deliberately absent: parameter
//! values, row contents, passwords, protocol version 2.

mod client;
mod detect;
mod fault;
mod frame;
mod missing;
mod prepared;
mod server;
mod unasked;

use std::collections::VecDeque;

use compact_str::CompactString;

use super::table::Family;
use super::{
    Class, Definition, Ends, LostReason, Message, Next, Pairing, Parser, Recovery, Resync, Settings, Side,
    Step,
};
use crate::protocol::reader::lossy_text;
use client::Round;
use frame::Startup;
use prepared::Session;
use server::Answer;

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Database,
    system: "postgresql",
    detect: detect::detect,
    open: |settings| Box::new(PostgreSql::new(settings)),
    // The server writes at most this much at once, so that every row's head and the end of a result are seen.
    capture_prefix_bytes: 8_192,
};

/// Frames of the client that the server has not answered.
const PENDING_MAX: usize = 65_536;

/// What the server owes an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Parse,
    Bind,
    DescribeStatement,
    DescribePortal,
    Close,
    Execute,
    /// Ends with the ReadyForQuery, as `Call` and `Sync` do.
    Query,
    Call,
    Sync,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    owed: Owed,
    /// Its answer is the response of an exchange.
    exchange: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing but startup packets so far.
    Startup,
    /// The server answers an encryption request with one byte.
    EncryptionAsked,
    Session,
}

struct PostgreSql {
    settings: Settings,
    phase: Phase,
    /// The startup packet was seen and no ReadyForQuery since.
    connecting: bool,
    /// Every answer to come belongs to something in `pending`.
    in_step: bool,
    /// The session began although no answer to the encryption request was seen.
    refusal_unseen: bool,
    namespace: CompactString,
    prepared: Session,
    round: Round,
    pending: VecDeque<Pending>,
    answer: Answer,
}

impl PostgreSql {
    fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            phase: Phase::Startup,
            connecting: false,
            in_step: false,
            refusal_unseen: false,
            namespace: CompactString::default(),
            prepared: Session::default(),
            round: Round::default(),
            pending: VecDeque::new(),
            answer: Answer::default(),
        }
    }

    fn startup_packet(&mut self, bytes: &[u8]) -> Step {
        match frame::startup(bytes) {
            None => Step::NeedMore,
            Some(Err(())) => Step::Lost(LostReason::Malformed),
            Some(Ok(Startup::Encryption)) => {
                self.phase = Phase::EncryptionAsked;
                Step::Consumed(8)
            }
            Some(Ok(Startup::OtherVersion)) => Step::HandOver {
                consumed: bytes.len(),
                to: Next::Opaque,
            },
            Some(Ok(Startup::Cancel { bytes: length })) => {
                if bytes.len() < length {
                    return Step::NeedMore;
                }
                let mut message = Message::new(Class::OneWay, Pairing::InOrder, Ends::Here);
                message.operation = CompactString::const_new("CANCEL");
                Step::Message {
                    consumed: length,
                    message,
                }
            }
            Some(Ok(Startup::Session { bytes: length })) => {
                let Some(packet) = bytes.get(..length) else {
                    return Step::NeedMore;
                };
                let mut texts = packet[8..].split(|&byte| byte == 0);
                while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
                    // The database is named after the user unless the client says otherwise.
                    if name == b"database" || (name == b"user" && self.namespace.is_empty()) {
                        self.namespace = lossy_text(&value[..value.len().min(64)]);
                    }
                }
                self.phase = Phase::Session;
                (self.connecting, self.in_step) = (true, true);
                Step::Consumed(length)
            }
        }
    }

    /// A client whose encryption request was refused begins again in plain text, whether the refusal was captured or not.
    fn after_encryption_request(&mut self, bytes: &[u8]) -> Step {
        match frame::startup(bytes) {
            Some(Ok(Startup::Session { .. })) => {
                self.refusal_unseen = true;
                self.startup_packet(bytes)
            }
            // The answer is still to come, and decides what these bytes are.
            _ => Step::AwaitPeer,
        }
    }

    fn encryption_answer(&mut self, bytes: &[u8]) -> Step {
        match bytes.first() {
            None => Step::NeedMore,
            Some(b'S' | b'G') => Step::HandOver {
                consumed: 1,
                to: Next::Opaque,
            },
            Some(b'N') => {
                self.phase = Phase::Startup;
                Step::Consumed(1)
            }
            // A server that knows no encryption answers with an error.
            Some(_) => {
                self.phase = Phase::Session;
                self.connecting = true;
                self.server_frame(bytes)
            }
        }
    }

    fn push(&mut self, owed: Owed, exchange: bool) {
        self.pending.push_back(Pending { owed, exchange });
    }

    /// Answers to what was asked so far can no longer be told apart.
    fn out_of_step(&mut self) {
        self.pending.clear();
        self.answer = Answer::default();
        self.round = Round::default();
        self.in_step = false;
    }

    fn lost(&mut self, reason: LostReason) -> Step {
        self.out_of_step();
        Step::Lost(reason)
    }
}

impl Parser for PostgreSql {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        match (self.phase, side) {
            (_, _) if bytes.is_empty() && side == Side::Client => Step::NeedMore,
            (Phase::Startup, Side::Client) => self.startup_packet(bytes),
            (Phase::Startup, Side::Server) => {
                if bytes.is_empty() {
                    Step::NeedMore
                } else {
                    Step::AwaitPeer
                }
            }
            (Phase::EncryptionAsked, Side::Server) => self.encryption_answer(bytes),
            (Phase::EncryptionAsked, Side::Client) => self.after_encryption_request(bytes),
            (Phase::Session, Side::Client) => {
                if self.pending.len() >= PENDING_MAX {
                    return self.lost(LostReason::TooLarge);
                }
                self.client_frame(bytes, false)
            }
            (Phase::Session, Side::Server) => {
                if std::mem::take(&mut self.refusal_unseen) && bytes.first() == Some(&b'N') {
                    return Step::Consumed(1);
                }
                self.server_frame(bytes)
            }
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        if side == Side::Client && self.phase == Phase::Session {
            self.client_frame(bytes, true)
        } else {
            Step::Consumed(bytes.len())
        }
    }

    fn gap(&mut self, side: Side, missing: u64) -> Recovery {
        if self.phase != Phase::Session {
            self.phase = Phase::Session;
            self.out_of_step();
            return Recovery::Resync;
        }
        match side {
            Side::Server if self.lose_answer(missing) => Recovery::Continue,
            Side::Client if missing == 0 => Recovery::Continue,
            Side::Client => {
                // Statements may have been prepared, closed or executed meanwhile.
                self.prepared.forget();
                self.out_of_step();
                self.answer.hidden_round = true;
                Recovery::Resync
            }
            Side::Server => {
                self.out_of_step();
                Recovery::Resync
            }
        }
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        self.answer.unproven |= !self.in_step;
        let found = match side {
            Side::Client => self.find_client_frame(bytes, at_write),
            Side::Server if self.phase == Phase::EncryptionAsked => Some(0),
            Side::Server => {
                self.phase = Phase::Session;
                frame::find_server_frame(bytes, at_write)
            }
        };
        found.map_or(Resync::NotYet { keep: 0 }, Resync::At)
    }
}

impl PostgreSql {
    /// Where a client's frame begins: clients write whole frames, so at the start of a write or not at all.
    fn find_client_frame(&mut self, bytes: &[u8], at_write: bool) -> Option<usize> {
        if at_write && matches!(frame::startup(bytes), Some(Ok(_))) {
            self.phase = Phase::Startup;
            return Some(0);
        }
        let chain = frame::chain(Side::Client, bytes)?;
        let plausible = at_write || (chain.exact && chain.frames >= 2);
        if plausible {
            self.phase = Phase::Session;
        }
        plausible.then_some(0)
    }
}

#[cfg(test)]
mod tests;
