//! MySQL and MariaDB, protocol version 10. Sources: MySQL internals, "Client/Server Protocol"; MariaDB knowledge base.
//!
//! Enters: bytes of both sides. Leaves: one exchange for each command that is answered: a query (however many statements
//! and results it has), each execution of a prepared statement, and `PREPARE`, `FETCH`, `PING`, `USE` and the other
//! commands by their names. Operation: the SQL verb, or the command's name (`EXECUTE` where the statement was not seen). Target:
//! the statement without literals, or the database of `USE`. Status: the error's number (`1146`), otherwise `OK`, as the
//! packet is called. A refused session is a one-way `CONNECT`.
//!
//! What tells the end of a result does not depend on capabilities, so a connection joined in the middle is read at once.
//! Bounded: prepared statements as [`Prepared`] is, [`PENDING_MAX`] commands. Deliberately absent: parameters, rows,
//! passwords; replication streams (handed over as opaque).

mod client;
mod compressed;
mod detect;
mod fault;
mod missing;
mod packet;
mod server;

use std::collections::VecDeque;
use std::sync::Arc;

use compact_str::CompactString;

use super::statement::{Prepared, Statement};
use super::table::Family;
use super::{Definition, LostReason, Parser, Recovery, Resync, Settings, Side, Step};
use compressed::Compression;
use packet::HEAD_BYTES;
use server::Response;

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Database,
    system: "mysql",
    detect: detect::detect,
    open: |settings| Box::new(MySql::new(settings)),
    capture_prefix_bytes: 8_192,
};

/// Commands the server has not answered.
const PENDING_MAX: usize = 4_096;

/// What answers a command.
#[derive(Clone)]
enum Answer {
    /// OK or ERR.
    Ok,
    /// OK, ERR, or result sets.
    Results,
    /// The answer to a file the client was asked for.
    AfterFile,
    /// An id with definitions.
    Prepare(Arc<Statement>),
    /// Rows or definitions up to an EOF.
    Rows,
    /// One packet of text.
    Text,
    /// OK after more questions for a password.
    ChangeUser,
    /// Events without end.
    Stream,
}

#[derive(Clone)]
struct Pending {
    answer: Answer,
    /// Sequence number the answer begins with.
    sequence: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Login,
    Authenticating,
    Commands,
}

struct MySql {
    settings: Settings,
    phase: Phase,
    /// From the end of the login on.
    compression: Option<Compression>,
    compressed_lanes: [compressed::Lane; 2],
    /// Whether EOF packets are left out; `None` where the login was not seen.
    deprecate_eof: Option<bool>,
    /// Every response to come belongs to a command in `pending`.
    in_step: bool,
    namespace: CompactString,
    /// The default database once the command under way has succeeded.
    next_namespace: Option<CompactString>,
    prepared: Prepared<u32>,
    last_prepared: Option<Arc<Statement>>,
    pending: VecDeque<Pending>,
    response: Response,
    client_continues: bool,
    /// Bytes of a response's last packet beyond what was looked at.
    overlong: u64,
    streaming: bool,
}

impl MySql {
    fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            phase: Phase::Greeting,
            compression: None,
            compressed_lanes: Default::default(),
            deprecate_eof: None,
            in_step: false,
            namespace: CompactString::default(),
            next_namespace: None,
            prepared: Prepared::default(),
            last_prepared: None,
            pending: VecDeque::new(),
            response: Response::default(),
            client_continues: false,
            overlong: 0,
            streaming: false,
        }
    }

    fn is_compressed(&self) -> bool {
        self.compression.is_some() && self.phase == Phase::Commands
    }

    /// Responses to what was sent so far can no longer be told apart.
    fn out_of_step(&mut self) {
        self.pending.clear();
        self.response = Response::default();
        (self.in_step, self.client_continues) = (false, false);
        self.overlong = 0;
        self.compressed_lanes = Default::default();
    }

    fn lost(&mut self, reason: LostReason) -> Step {
        self.out_of_step();
        Step::Lost(reason)
    }
}

impl MySql {
    /// Packets as they are, or as they were before they were compressed.
    fn parse_plain(&mut self, side: Side, bytes: &[u8]) -> Step {
        if side == Side::Server {
            return match self.owed_to_server() {
                Some(step) => step,
                None => self.server_packet(bytes),
            };
        }
        if bytes.is_empty() {
            return Step::NeedMore;
        }
        self.client_packet(bytes, false)
    }

    /// Whether a packet can be the first of a command or of a response; others may lie anywhere in a row.
    fn may_begin(side: Side, head: packet::Head, payload: &[u8]) -> bool {
        match (side, payload.first()) {
            (Side::Client, _) => head.sequence == 0 && packet::is_command(head.payload_bytes, payload),
            (Side::Server, _) if head.sequence == 0 => false,
            (Side::Server, Some(0)) => head.payload_bytes >= 7,
            (Side::Server, Some(0xff)) => payload.len() >= 3,
            (Side::Server, Some(0xfe | 0xfb)) => true,
            (Side::Server, Some(_)) => head.sequence == 1,
            (Side::Server, None) => false,
        }
    }
}

impl Parser for MySql {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        match self.compression {
            Some(compression) if self.phase == Phase::Commands => {
                self.parse_compressed(compression, side, bytes)
            }
            _ => self.parse_plain(side, bytes),
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        match side {
            Side::Client if self.phase != Phase::Greeting && !self.is_compressed() => {
                self.client_packet(bytes, true)
            }
            _ => Step::Consumed(bytes.len()),
        }
    }

    fn gap(&mut self, side: Side, missing: u64) -> Recovery {
        if self.is_compressed() {
            self.out_of_step();
            return Recovery::Resync;
        }
        let mut missing = missing;
        if side == Side::Server && self.overlong > 0 {
            let covered = self.overlong.min(missing);
            self.overlong -= covered;
            missing -= covered;
        }
        if side == Side::Server && (missing == 0 || self.lose_response(missing)) {
            return Recovery::Continue;
        }
        self.out_of_step();
        if side == Side::Client {
            self.prepared.forget();
            self.last_prepared = None;
            self.namespace.clear();
        }
        Recovery::Resync
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        if self.is_compressed() {
            return self.resync_compressed(side, bytes, at_write);
        }
        let Some(head) = packet::head(bytes).filter(|_| at_write) else {
            return Resync::NotYet { keep: 0 };
        };
        if self.phase == Phase::Greeting
            && let Some(compression) = self.joined_compressed(side, bytes)
        {
            (self.compression, self.phase) = (Some(compression), Phase::Commands);
            return Resync::At(0);
        }
        let payload = &bytes[HEAD_BYTES..bytes.len().min(head.bytes())];
        let found = match side {
            Side::Client
                if head.sequence == 1
                    && packet::login(payload).is_some()
                    && self.phase != Phase::Commands =>
            {
                self.phase = Phase::Login;
                true
            }
            Side::Server if head.sequence == 0 && packet::is_greeting(payload) => {
                self.phase = Phase::Greeting;
                return Resync::At(0);
            }
            _ => Self::may_begin(side, head, payload),
        };
        if !found {
            return Resync::NotYet { keep: 0 };
        }
        if self.phase != Phase::Login && self.phase != Phase::Authenticating {
            self.phase = Phase::Commands;
        }
        Resync::At(0)
    }
}

#[cfg(test)]
mod tests;
