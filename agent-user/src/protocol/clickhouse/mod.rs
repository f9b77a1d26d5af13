//! ClickHouse's native protocol. Source: ClickHouse documentation, "Native protocol".
//!
//! Enters: bytes of both sides. Leaves: one exchange for each query, from its Query packet to EndOfStream or Exception; and
//! `PING`. Operation: the SQL verb. Target: the statement without literals. Status: an exception's code (`60`), otherwise `OK`.
//! A refused session is a one-way `CONNECT`.
//!
//! Packets have no length, so the server's are walked through. Of a result whose packets cannot be (a type that is not known,
//! too large to be held) the end is looked for; one without is taken to end when the client goes on, and is reported as lost.
//! Bounded: [`HELD_MAX_BYTES`].
//! Deliberately absent: values, passwords, sessions joined between servers' own queries.

mod detect;
mod packet;
mod query;

use std::collections::VecDeque;

use compact_str::{CompactString, ToCompactString};

use super::answered::Answered;
use super::statement::{self, Dialect};
use super::table::Family;
use super::{
    Class, Definition, Ends, LostReason, Message, Outcome, Pairing, Parser, Recovery, Resync, Settings, Side,
    Step, Value,
};
use packet::{Said, Stop};

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Database,
    system: "clickhouse",
    detect: detect::detect,
    open: |settings| Box::new(ClickHouse::new(settings)),
    capture_prefix_bytes: 8_192,
};

/// A server's packet longer than this is not waited for.
const HELD_MAX_BYTES: usize = 32 * 1024;
/// Bytes of a Query packet that are looked at.
const QUERY_WANTED_BYTES: usize = 8 * 1024;
/// The newest revision whose packets are read; spoken where the greeting was not seen.
const REVISION: u64 = 54_467;
const TEXT_MAX_BYTES: usize = 200;

struct ClickHouse {
    settings: Settings,
    greeting: [bool; 2],
    /// The lower of both ends'.
    revision: u64,
    /// A greeting was not seen: the revision is what the server's packets fit.
    unsure: bool,
    /// Bytes of the server were shown since the last query.
    answering: bool,
    database: CompactString,
    /// Queries and pings that are not answered.
    pending: VecDeque<bool>,
    /// The server's packets cannot be followed before the next query.
    blind: bool,
    begun: bool,
    rows: u64,
    bytes: u64,
    over: bool,
}

impl ClickHouse {
    fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            greeting: [true; 2],
            revision: REVISION,
            unsure: false,
            answering: true,
            database: CompactString::default(),
            pending: VecDeque::new(),
            blind: false,
            begun: false,
            rows: 0,
            bytes: 0,
            over: false,
        }
    }

    fn out_of_step(&mut self) {
        self.pending.clear();
        (self.blind, self.begun, self.over) = (false, false, false);
        (self.rows, self.bytes) = (0, 0);
    }

    fn client(&mut self, bytes: &[u8], cut: bool) -> Step {
        let Some(&kind) = bytes.first() else {
            return Step::NeedMore;
        };
        if self.greeting[Side::Client as usize] {
            return self.client_hello(bytes, cut);
        }
        // A query before the last one's answer: nothing of that is to be seen, or it passed unread.
        let is_query = kind == 1 && (self.pending.is_empty() || self.blind || !self.answering);
        match kind {
            1 if is_query => self.query(bytes, cut),
            4 if bytes.len() == 1 && self.pending.is_empty() => {
                self.pending.push_back(false);
                let mut message = Message::new(Class::Request, Pairing::InOrder, Ends::Here);
                message.operation = CompactString::const_new("PING");
                Step::Message { consumed: 1, message }
            }
            // Data for the query, a cancellation, what newer clients add to their greeting.
            _ => Step::Consumed(bytes.len()),
        }
    }

    fn client_hello(&mut self, bytes: &[u8], cut: bool) -> Step {
        match packet::hello(Side::Client, bytes, REVISION) {
            Ok(hello) => {
                self.greeting[Side::Client as usize] = false;
                self.revision = self.revision.min(hello.revision);
                let database = &hello.database[..hello.database.len().min(64)];
                self.database = CompactString::from_utf8_lossy(database);
                Step::Consumed(hello.bytes)
            }
            Err(Stop::Short) if !cut && bytes.len() < 4_096 => Step::NeedMore,
            Err(_) => Step::Lost(LostReason::Malformed),
        }
    }

    fn query(&mut self, bytes: &[u8], cut: bool) -> Step {
        let found = query::text(bytes);
        let whole = found.is_some_and(|(_, whole)| whole);
        // Another byte of a query's data may look like this one: then nothing is waited for.
        let is_due = self.pending.is_empty() || self.blind;
        if !whole && !cut && is_due && bytes.len() < QUERY_WANTED_BYTES {
            return Step::NeedMore;
        }
        let Some((text, _)) = found else {
            return Step::Consumed(bytes.len());
        };
        self.answering = false;
        self.over |= self.blind && !self.pending.is_empty();
        self.pending.push_back(true);
        let statement = statement::normalise(text, Dialect::ClickHouse, self.settings.keep_literals, !whole);
        let mut message = Message::new(Class::Request, Pairing::InOrder, Ends::Here);
        if !self.database.is_empty() {
            message
                .attributes
                .push(("db.namespace", Value::Text(self.database.clone())));
        }
        if !statement.collection.is_empty() {
            message
                .attributes
                .push(("db.collection.name", Value::Text(statement.collection)));
        }
        (message.operation, message.target, message.context) =
            (statement.operation, statement.text, statement.context);
        let end = text.as_ptr() as usize - bytes.as_ptr() as usize + text.len();
        Step::Message {
            consumed: end,
            message,
        }
    }

    fn server(&mut self, bytes: &[u8]) -> Step {
        if std::mem::take(&mut self.over) {
            self.pending.pop_front();
            (self.blind, self.begun, self.rows, self.bytes) = (false, false, 0, 0);
            return Step::Unseen { id: None };
        }
        if bytes.is_empty() {
            return Step::NeedMore;
        }
        if self.greeting[Side::Server as usize] && bytes[0] == 0 {
            return match packet::hello(Side::Server, bytes, self.revision) {
                Ok(hello) => {
                    self.greeting[Side::Server as usize] = false;
                    self.revision = self.revision.min(hello.revision);
                    Step::Consumed(hello.bytes)
                }
                Err(Stop::Short) if bytes.len() < 4_096 => Step::NeedMore,
                Err(_) => Step::Lost(LostReason::Malformed),
            };
        }
        if self.blind {
            self.answering = true;
            return self.look_for_end(bytes);
        }
        if self.pending.is_empty() && bytes[0] != 2 {
            self.bytes += bytes.len() as u64;
            return Step::Consumed(bytes.len());
        }
        self.answering = true;
        if self.unsure
            && let Some(revision) = packet::fitting_revision(bytes, self.revision)
        {
            self.revision = revision;
        }
        match packet::server_packet(bytes, self.revision) {
            Err(Stop::Short) if bytes.len() < HELD_MAX_BYTES => Step::NeedMore,
            Err(_) => {
                self.blind = true;
                self.look_for_end(bytes)
            }
            Ok((said, length)) => self.said(said, length),
        }
    }

    /// Packets that cannot be followed: only the end of the result is looked for.
    fn look_for_end(&mut self, bytes: &[u8]) -> Step {
        if self.pending.len() == 1 && packet::ends_result(bytes, self.revision) {
            // How many rows there were is not known.
            (self.blind, self.rows) = (false, 0);
            return self.finish(bytes.len(), CompactString::const_new("OK"), Outcome::Ok);
        }
        self.bytes += bytes.len() as u64;
        Step::Consumed(bytes.len())
    }

    fn said(&mut self, said: Said<'_>, length: usize) -> Step {
        let is_query = self.pending.front().copied();
        match (said, is_query) {
            // The answer to a query that was not seen.
            (Said::Exception { .. }, None) if !self.greeting[Side::Server as usize] => Step::Consumed(length),
            (Said::Exception { code, text }, _) => {
                let text = String::from_utf8_lossy(&text[..text.len().min(TEXT_MAX_BYTES)]);
                // What is quoted may be a value.
                let text = text.split(['\'', '`', '"']).next().unwrap_or_default().trim_end();
                self.finish(length, code.to_compact_string(), Outcome::Error(text.into()))
            }
            (Said::End, Some(true)) | (Said::Pong, Some(false)) => {
                self.finish(length, CompactString::const_new("OK"), Outcome::Ok)
            }
            (said, Some(true)) => {
                if let Said::Rows(rows) = said {
                    self.rows += rows;
                }
                if !std::mem::replace(&mut self.begun, true) {
                    let message = Message::new(Class::Response, Pairing::InOrder, Ends::Later);
                    self.bytes += length as u64;
                    return Step::Message {
                        consumed: length,
                        message,
                    };
                }
                self.bytes += length as u64;
                Step::Consumed(length)
            }
            _ => Step::Consumed(length),
        }
    }

    fn finish(&mut self, consumed: usize, status: CompactString, outcome: Outcome) -> Step {
        let refused = self.pending.pop_front().is_none();
        let size_bytes = Some(std::mem::take(&mut self.bytes) + consumed as u64);
        let rows = std::mem::take(&mut self.rows);
        let mut attributes = Vec::new();
        if rows > 0 {
            attributes.push(("db.response.returned_rows", Value::Int(rows as i64)));
        }
        let answered = Answered {
            status,
            outcome,
            attributes,
            size_bytes,
        };
        let mut step = answered.step(std::mem::take(&mut self.begun), consumed);
        if let Step::Message { message, .. } = &mut step
            && refused
        {
            message.class = Class::OneWay;
            message.operation = CompactString::const_new("CONNECT");
        }
        step
    }
}

impl Parser for ClickHouse {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        match side {
            Side::Client => self.client(bytes, false),
            Side::Server => self.server(bytes),
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        match side {
            Side::Client => self.client(bytes, true),
            Side::Server => Step::Consumed(bytes.len()),
        }
    }

    fn gap(&mut self, side: Side, missing: u64) -> Recovery {
        match (side, self.pending.len()) {
            // The rest of a long query, or data for it.
            (Side::Client, 1) if !self.greeting[Side::Client as usize] => Recovery::Continue,
            (Side::Server, 1) => {
                self.blind = true;
                self.bytes += missing;
                Recovery::Continue
            }
            _ => {
                self.out_of_step();
                Recovery::Resync
            }
        }
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        let found = at_write
            && match side {
                Side::Client if packet::hello(side, bytes, self.revision).is_ok() => return Resync::At(0),
                Side::Client => query::text(bytes).is_some() || bytes == [4],
                Side::Server => {
                    packet::hello(side, bytes, self.revision).is_ok()
                        || matches!(bytes[0], 1..=8 | 10 | 11 | 14)
                }
            };
        if !found {
            return Resync::NotYet { keep: 0 };
        }
        if packet::hello(side, bytes, self.revision).is_err() {
            self.greeting[side as usize] = false;
            self.unsure = true;
        }
        Resync::At(0)
    }
}

#[cfg(test)]
mod tests;
