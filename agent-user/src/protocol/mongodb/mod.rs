//! MongoDB's wire protocol: OP_MSG, and the older messages that came before it. Source: MongoDB manual, "Wire Protocol".
//!
//! Enters: bytes of both sides. Leaves: one exchange for each command, paired by request id; messages that ask for no
//! answer (`moreToCome`, OP_INSERT and its kin) are one-way. Operation: the command's name (`find`), of older messages the
//! operation they stand for. Target: the collection. Status: the error's code (`11000`), otherwise `OK`.
//!
//! Bounded: [`WANTED_BYTES`] of a message are waited for, and as many of what a compressed one holds; the rest is skipped.
//! Deliberately absent: filters, documents and the values in error messages.

mod bson;
mod detect;

use compact_str::{CompactString, ToCompactString, format_compact};

use super::compression::{self, Algorithm};
use super::table::Family;
use super::{
    Class, Definition, Ends, LostReason, Message, Outcome, Pairing, Parser, Recovery, Resync, Side, Step,
    Value,
};
use bson::elements;

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Database,
    system: "mongodb",
    detect: detect::detect,
    open: |_| Box::new(MongoDb),
    capture_prefix_bytes: 2_048,
};

const HEADER_BYTES: usize = 16;
/// Bytes of a message that are looked at.
const WANTED_BYTES: usize = 2_048;
/// `maxMessageSizeBytes` is 48,000,000.
const MESSAGE_MAX_BYTES: u32 = 64 << 20;
const NAME_MAX_BYTES: usize = 128;

const OP_REPLY: i32 = 1;
const OP_UPDATE: i32 = 2_001;
const OP_INSERT: i32 = 2_002;
const OP_QUERY: i32 = 2_004;
const OP_GET_MORE: i32 = 2_005;
const OP_DELETE: i32 = 2_006;
const OP_KILL_CURSORS: i32 = 2_007;
/// Of MongoDB 3.2 and 3.4, between servers and from the shell.
const OP_COMMAND: i32 = 2_010;
const OP_COMMAND_REPLY: i32 = 2_011;
const OP_COMPRESSED: i32 = 2_012;
const OP_MSG: i32 = 2_013;

const CHECKSUM_PRESENT: u32 = 1;
const MORE_TO_COME: u32 = 2;
/// Flags of OP_REPLY.
const CURSOR_NOT_FOUND: u32 = 1;
const QUERY_FAILURE: u32 = 2;

/// The header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    bytes: usize,
    request_id: u32,
    response_to: u32,
    opcode: i32,
}

/// `None`: too few bytes. `Some(None)`: no message of that side.
fn header(side: Side, bytes: &[u8]) -> Option<Option<Header>> {
    let field = |at: usize| {
        bytes
            .get(at..at + 4)
            .map(|field| u32::from_le_bytes([field[0], field[1], field[2], field[3]]))
    };
    let (length, request_id, response_to, opcode) = (field(0)?, field(4)?, field(8)?, field(12)? as i32);
    let known = match opcode {
        OP_MSG | OP_COMPRESSED => true,
        OP_REPLY | OP_COMMAND_REPLY => side == Side::Server,
        OP_COMMAND | OP_UPDATE | OP_INSERT | OP_QUERY | OP_GET_MORE | OP_DELETE | OP_KILL_CURSORS => {
            side == Side::Client
        }
        _ => false,
    };
    let fits = known && (HEADER_BYTES as u32 + 5..=MESSAGE_MAX_BYTES).contains(&length);
    Some(fits.then_some(Header {
        bytes: length as usize,
        request_id,
        response_to,
        opcode,
    }))
}

struct MongoDb;

/// What a command's document says.
#[derive(Default)]
struct Command {
    name: CompactString,
    collection: CompactString,
    database: CompactString,
}

impl MongoDb {
    fn message(&mut self, side: Side, bytes: &[u8], cut: bool) -> Step {
        if bytes.is_empty() {
            return Step::NeedMore;
        }
        let header = match header(side, bytes) {
            None if cut => return Step::Consumed(bytes.len()),
            None => return Step::NeedMore,
            Some(None) => return Step::Lost(LostReason::Malformed),
            Some(Some(header)) => header,
        };
        let wanted = header.bytes.min(WANTED_BYTES);
        if bytes.len() < wanted && !cut {
            return Step::NeedMore;
        }
        let visible = wanted.min(bytes.len());
        let mut body = &bytes[HEADER_BYTES..visible];
        let mut opcode = header.opcode;
        let inflated;
        if opcode == OP_COMPRESSED {
            let Some((fields, compressed)) = body.split_first_chunk::<9>() else {
                return Step::Skip(header.bytes as u64);
            };
            opcode = i32::from_le_bytes([fields[0], fields[1], fields[2], fields[3]]);
            let algorithm = match fields[8] {
                0 => None,
                1 => Some(Algorithm::Snappy),
                2 => Some(Algorithm::Zlib),
                3 => Some(Algorithm::Zstd),
                _ => return Step::Lost(LostReason::Unsupported),
            };
            inflated = algorithm.map(|algorithm| compression::beginning(algorithm, compressed, WANTED_BYTES));
            body = inflated.as_deref().unwrap_or(compressed);
        }
        let rest = (header.bytes - visible) as u64;
        let ends = if rest > 0 { Ends::After(rest) } else { Ends::Here };
        let message = match side {
            Side::Client => request(header, opcode, body, ends),
            Side::Server => response(header, opcode, body, ends),
        };
        let Some(mut message) = message else {
            return Step::Skip(header.bytes as u64);
        };
        message.size_bytes = Some(header.bytes as u64);
        Step::Message {
            consumed: visible,
            message,
        }
    }
}

fn request(header: Header, opcode: i32, body: &[u8], ends: Ends) -> Option<Box<Message>> {
    let mut class = Class::Request;
    let command = match opcode {
        OP_MSG => {
            let flags = flags(body);
            if flags & MORE_TO_COME != 0 {
                class = Class::OneWay;
            }
            body_section(body).map(command).unwrap_or_default()
        }
        OP_QUERY => legacy_query(body),
        OP_COMMAND => named_command(body),
        OP_GET_MORE => legacy("getMore", body.get(4..)),
        OP_INSERT | OP_UPDATE | OP_DELETE => {
            class = Class::OneWay;
            let name = match opcode {
                OP_INSERT => "insert",
                OP_UPDATE => "update",
                _ => "delete",
            };
            legacy(name, body.get(4..))
        }
        OP_KILL_CURSORS => {
            class = Class::OneWay;
            Command {
                name: CompactString::const_new("killCursors"),
                ..Command::default()
            }
        }
        _ => Command::default(),
    };
    let mut message = Message::new(class, Pairing::Id(u64::from(header.request_id)), ends);
    let mut text = command.name.clone();
    if !command.collection.is_empty() {
        text.push(' ');
        text.push_str(&command.collection);
        message
            .attributes
            .push(("db.collection.name", Value::Text(command.collection.clone())));
    }
    message.attributes.push(("db.query.text", Value::Text(text)));
    if !command.database.is_empty() {
        message
            .attributes
            .push(("db.namespace", Value::Text(command.database)));
    }
    (message.operation, message.target) = (command.name, command.collection);
    if message.operation.is_empty() {
        // Not even the command's name was seen.
        message.target = CompactString::const_new("…");
    }
    Some(message)
}

fn response(header: Header, opcode: i32, body: &[u8], ends: Ends) -> Option<Box<Message>> {
    let mut message = Message::new(Class::Response, Pairing::Id(u64::from(header.response_to)), ends);
    let mut query_failed = false;
    let document = match opcode {
        OP_MSG => body_section(body),
        OP_REPLY => {
            query_failed = flags(body) & (CURSOR_NOT_FOUND | QUERY_FAILURE) != 0;
            let fields = body.first_chunk::<20>();
            let returned =
                fields.map(|fields| i32::from_le_bytes([fields[16], fields[17], fields[18], fields[19]]));
            message.attributes.push((
                "db.response.returned_rows",
                Value::Int(i64::from(returned.unwrap_or(0))),
            ));
            body.get(20..)
        }
        OP_COMMAND_REPLY => Some(body),
        _ => None,
    };
    (message.status, message.outcome) =
        document.map_or((CompactString::default(), Outcome::Unset), |document| {
            let (status, outcome, affected) = verdict(document);
            if let Some(affected) = affected {
                message
                    .attributes
                    .push(("db.response.affected_rows", Value::Int(affected)));
            }
            (status, outcome)
        });
    if query_failed && !matches!(message.outcome, Outcome::Error(_)) {
        let cursor_not_found = flags(body) & CURSOR_NOT_FOUND != 0;
        message.status = CompactString::const_new(if cursor_not_found { "43" } else { "ERROR" });
        message.outcome = Outcome::Error(CompactString::const_new(if cursor_not_found {
            "CursorNotFound"
        } else {
            ""
        }));
    }
    Some(message)
}

fn flags(body: &[u8]) -> u32 {
    body.first_chunk().map_or(0, |flags| u32::from_le_bytes(*flags))
}

/// The document of an OP_MSG that holds the command or its reply; document sequences may come before it.
fn body_section(body: &[u8]) -> Option<&[u8]> {
    let mut rest = body.get(4..)?;
    loop {
        match rest.split_first()? {
            (0, document) => return Some(document),
            (1, sequence) => {
                let length = i32::from_le_bytes(*sequence.first_chunk()?);
                rest = sequence.get(usize::try_from(length).ok().filter(|length| *length >= 4)?..)?;
            }
            _ => return None,
        }
    }
}

/// A command is a document whose first element names it, and its collection where it has one.
fn command(document: &[u8]) -> Command {
    let mut command = Command::default();
    for (number, (name, value)) in elements(document).enumerate() {
        match (number, name, value) {
            (0, "$query" | "query", bson::Value::Nested(inner)) => return self::command(inner),
            (0, _, value) => {
                command.name = shown(name);
                if let bson::Value::Text(collection) = value {
                    command.collection = shown(collection);
                }
            }
            (_, "$db", bson::Value::Text(database)) => command.database = shown(database),
            // The cursor's number comes first, its collection later.
            (_, "collection", bson::Value::Text(collection)) if command.name == "getMore" => {
                command.collection = shown(collection);
            }
            _ => {}
        }
    }
    command
}

fn shown(name: &str) -> CompactString {
    CompactString::from(name.get(..NAME_MAX_BYTES).unwrap_or(name))
}

/// OP_COMMAND: database, name, metadata, and the command's document; of 3.2, the last two the other way round.
fn named_command(body: &[u8]) -> Command {
    let end = memchr::memchr(0, body).unwrap_or(body.len());
    let rest = body.get(end + 1..).unwrap_or_default();
    let name_end = memchr::memchr(0, rest).unwrap_or(rest.len());
    let documents = rest.get(name_end + 1..).unwrap_or_default();
    let first = command(documents);
    let mut found = if first.name.as_bytes() == &rest[..name_end] {
        first
    } else {
        let length = documents
            .first_chunk()
            .map_or(0, |length| u32::from_le_bytes(*length));
        command(documents.get(length as usize..).unwrap_or_default())
    };
    found.name = shown(&String::from_utf8_lossy(&rest[..name_end]));
    found.database = shown(&String::from_utf8_lossy(&body[..end]));
    found
}

/// OP_QUERY: a find, or a command on the collection `$cmd`.
fn legacy_query(body: &[u8]) -> Command {
    let Some(rest) = body.get(4..) else {
        return Command::default();
    };
    let mut found = legacy("find", Some(rest));
    if found.collection != "$cmd" {
        return found;
    }
    let after_name = memchr::memchr(0, rest)
        .and_then(|end| rest.get(end + 1 + 8..))
        .unwrap_or_default();
    let inner = command(after_name);
    (found.name, found.collection) = (inner.name, inner.collection);
    found
}

/// An operation on a `database.collection` in front.
fn legacy(name: &'static str, full_name: Option<&[u8]>) -> Command {
    let full_name = full_name.unwrap_or_default();
    let end = memchr::memchr(0, full_name).unwrap_or(full_name.len());
    let full_name = String::from_utf8_lossy(&full_name[..end]);
    let (database, collection) = full_name.split_once('.').unwrap_or((&full_name, ""));
    Command {
        name: CompactString::const_new(name),
        collection: shown(collection),
        database: shown(database),
    }
}

/// Status, outcome and affected documents of a reply, as far as it is at hand.
fn verdict(document: &[u8]) -> (CompactString, Outcome, Option<i64>) {
    let (mut failed, mut code, mut name, mut text, mut affected) = (false, None, "", "", None);
    for (key, value) in elements(document) {
        match (key, value) {
            ("ok", value) => failed |= !value.is_true(),
            ("code", value) => code = value.int(),
            ("codeName", bson::Value::Text(value)) => name = value,
            ("errmsg" | "$err", bson::Value::Text(value)) => {
                text = value;
                failed |= key == "$err";
            }
            ("n", value) => affected = value.int(),
            ("writeErrors", bson::Value::Nested(errors)) => {
                let first = elements(errors).next().and_then(|(_, first)| match first {
                    bson::Value::Nested(first) => Some(first),
                    _ => None,
                });
                for (key, value) in first.map(elements).into_iter().flatten() {
                    match (key, value) {
                        ("code", value) => (failed, code) = (true, value.int()),
                        ("errmsg", bson::Value::Text(value)) => text = value,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if !failed {
        return (CompactString::const_new("OK"), Outcome::Ok, affected);
    }
    // What follows the first brace or quote are values.
    let text = text.split(['{', '"', '\'']).next().unwrap_or_default().trim_end();
    let text = text.get(..200).unwrap_or(text);
    let text = if name.is_empty() {
        CompactString::from(text)
    } else {
        format_compact!("{name}: {text}")
    };
    (
        code.map_or_else(
            || CompactString::const_new("ERROR"),
            |code| code.to_compact_string(),
        ),
        Outcome::Error(text),
        affected,
    )
}

impl Parser for MongoDb {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        self.message(side, bytes, false)
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        let mut step = self.message(side, bytes, true);
        if let (Side::Server, Step::Message { message, .. }) = (side, &mut step)
            && (message.status == "ERROR" || !matches!(message.outcome, Outcome::Error(_)))
        {
            // A reply's verdict stands at its end, and so does an error's code.
            (message.status, message.outcome) = (CompactString::default(), Outcome::Unset);
        }
        step
    }

    fn gap(&mut self, _: Side, _: u64) -> Recovery {
        Recovery::Resync
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        if at_write && matches!(header(side, bytes), Some(Some(_))) {
            return Resync::At(0);
        }
        Resync::NotYet { keep: 0 }
    }
}

#[cfg(test)]
mod tests;
