//! Cassandra's CQL binary protocol, versions 1 to 5 (also ScyllaDB, DataStax). Source: Apache Cassandra,
//! doc/native_protocol_v1.spec to v5.spec.
//!
//! Enters: bytes of both sides. Leaves: one exchange for each request, paired by stream id. Operation: the CQL verb, or the
//! opcode's name (`PREPARE`, `BATCH`, `OPTIONS`; `EXECUTE` where the statement was not seen). Target: the statement without
//! literals; of a batch, the first one. Status: an error's code (`0x2200`), otherwise the kind of result (`ROWS`, `VOID`) or the
//! opcode's name. Events are one-way.
//!
//! Bounded: [`WANTED_BYTES`] of an envelope, and as many of what a compressed one holds; a compressed segment of version 5;
//! statements as [`Prepared`] is, [`PREPARING_MAX`] being prepared. Deliberately absent: values, rows, passwords.

mod body;
mod detect;
mod frame;

use std::collections::VecDeque;
use std::sync::Arc;

use compact_str::CompactString;

use super::compression::{self, Algorithm};
use super::statement::{self, Prepared, Statement};
use super::table::Family;
use super::{
    Class, Definition, Ends, LostReason, Message, Outcome, Pairing, Parser, Recovery, Resync, Settings, Side,
    Step, Value,
};
use frame::{HEADER_BYTES, Header, Segment, TRAILER_BYTES};

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Database,
    system: "cassandra",
    detect: detect::detect,
    open: |settings| Box::new(Cassandra::new(settings)),
    capture_prefix_bytes: 4_096,
};

/// Bytes of an envelope that are looked at.
const WANTED_BYTES: usize = HEADER_BYTES + statement::INPUT_MAX_BYTES;
/// Statements whose preparation is not answered yet.
const PREPARING_MAX: usize = 128;

/// Whether envelopes travel in segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Envelopes,
    /// So many bytes of the segment's payload are left, or none before its header.
    Segments {
        left: u64,
        trailer: bool,
    },
}

struct Cassandra {
    settings: Settings,
    framing: [Framing; 2],
    compressed: bool,
    /// What the compressed segment being shown holds, and how much of it is dealt with.
    inflated: [Option<(Vec<u8>, usize)>; 2],
    /// Bytes of an envelope that goes on in the next segments.
    spread: [u64; 2],
    prepared: Prepared<Vec<u8>>,
    preparing: VecDeque<(i16, Arc<Statement>)>,
    keyspace: CompactString,
}

impl Cassandra {
    fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            framing: [Framing::Envelopes; 2],
            compressed: false,
            inflated: [None, None],
            spread: [0; 2],
            prepared: Prepared::default(),
            preparing: VecDeque::new(),
            keyspace: CompactString::default(),
        }
    }

    fn read(&mut self, side: Side, bytes: &[u8], cut: bool) -> Step {
        if bytes.is_empty() {
            return Step::NeedMore;
        }
        match self.framing[side as usize] {
            Framing::Envelopes => self.envelope(side, bytes, u64::MAX, cut),
            Framing::Segments {
                left: 0,
                trailer: true,
            } => {
                self.framing[side as usize] = Framing::Segments {
                    left: 0,
                    trailer: false,
                };
                Step::Skip(TRAILER_BYTES)
            }
            Framing::Segments {
                left: 0,
                trailer: false,
            } => self.segment(side, bytes),
            Framing::Segments { left, .. } => self.in_segment(side, bytes, left, cut),
        }
    }

    fn segment(&mut self, side: Side, bytes: &[u8]) -> Step {
        let segment = match frame::segment(bytes, self.compressed) {
            None => return Step::NeedMore,
            Some(None) => return Step::Lost(LostReason::Malformed),
            Some(Some(segment)) => segment,
        };
        if self.compressed {
            return self.compressed_segment(side, bytes, segment);
        }
        let payload = u64::from(segment.payload_bytes);
        let spread = &mut self.spread[side as usize];
        if !segment.self_contained && *spread > 0 {
            *spread = spread.saturating_sub(payload);
            return Step::Skip(segment.header_bytes as u64 + payload + TRAILER_BYTES);
        }
        self.framing[side as usize] = Framing::Segments {
            left: payload,
            trailer: true,
        };
        Step::Consumed(segment.header_bytes)
    }

    /// The envelopes of a compressed segment, one after the other; the segment counts as consumed behind the last one.
    fn compressed_segment(&mut self, side: Side, bytes: &[u8], segment: Segment) -> Step {
        let payload_bytes = segment.payload_bytes as usize;
        let total = segment.header_bytes + payload_bytes + TRAILER_BYTES as usize;
        let Some(payload) = bytes.get(segment.header_bytes..segment.header_bytes + payload_bytes) else {
            return Step::NeedMore;
        };
        let (inside, at) = self.inflated[side as usize].take().unwrap_or_else(|| {
            let whole = match segment.inflated_bytes as usize {
                0 => payload.to_vec(),
                limit => compression::beginning(Algorithm::Lz4, payload, limit),
            };
            (whole, 0)
        });
        let spread = &mut self.spread[side as usize];
        if !segment.self_contained && *spread > 0 {
            *spread = spread.saturating_sub(inside.len() as u64);
            return Step::Skip(total as u64);
        }
        let rest = &inside[at..];
        if rest.is_empty() {
            return Step::Skip(total as u64);
        }
        match self.envelope(side, rest, rest.len() as u64, true) {
            Step::Message {
                consumed,
                mut message,
            } => {
                let behind = match message.ends {
                    Ends::After(rest) => usize::try_from(rest).unwrap_or(usize::MAX),
                    _ => 0,
                };
                message.ends = Ends::Here;
                let at = (at + consumed).saturating_add(behind).min(inside.len());
                self.inflated[side as usize] = Some((inside, at));
                Step::Message { consumed: 0, message }
            }
            Step::Lost(reason) => Step::Lost(reason),
            _ => Step::Skip(total as u64),
        }
    }

    fn in_segment(&mut self, side: Side, bytes: &[u8], left: u64, cut: bool) -> Step {
        let inside = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let step = self.envelope(side, &bytes[..inside], left, cut);
        let used = match &step {
            Step::Consumed(count) => *count as u64,
            Step::Skip(count) => *count,
            Step::Message { consumed, message } => match message.ends {
                Ends::After(rest) => *consumed as u64 + rest,
                _ => *consumed as u64,
            },
            _ => return step,
        };
        // The session may have changed its framing meanwhile, but not within a segment.
        self.framing[side as usize] = Framing::Segments {
            left: left.saturating_sub(used),
            trailer: true,
        };
        step
    }

    /// The envelope at the front of `bytes`, of which at most `room` bytes come in one piece.
    fn envelope(&mut self, side: Side, bytes: &[u8], room: u64, cut: bool) -> Step {
        let header = match frame::header(side, bytes) {
            None if cut => return Step::Consumed(bytes.len()),
            None => return Step::NeedMore,
            Some(None) => return Step::Lost(LostReason::Malformed),
            Some(Some(header)) => header,
        };
        let here = header.bytes().min(room);
        let wanted = usize::try_from(here).unwrap_or(usize::MAX).min(WANTED_BYTES);
        if bytes.len() < wanted && !cut {
            return Step::NeedMore;
        }
        let visible = wanted.min(bytes.len());
        self.spread[side as usize] = header.bytes() - here;
        let own = header.own_bytes().min(visible);
        let inflated;
        let mut body = &bytes[own..visible];
        if header.flags & frame::COMPRESSED != 0 {
            inflated = body::inflated(body, WANTED_BYTES);
            body = &inflated;
        }
        let mut message = match side {
            Side::Client => self.request(header, body),
            Side::Server => self.response(header, body),
        };
        let rest = here - visible as u64;
        if rest > 0 {
            message.ends = Ends::After(rest);
        }
        message.size_bytes = Some(header.bytes());
        Step::Message {
            consumed: visible,
            message,
        }
    }

    fn request(&mut self, header: Header, body: &[u8]) -> Box<Message> {
        let mut message = Message::new(Class::Request, pairing(header), Ends::Here);
        let request = body::request(header, body, self.settings.keep_literals);
        self.compressed |= header.version == 5 && request.compression;
        let mut statement = request.statement;
        message.operation = request.operation;
        if let Some(id) = request.prepared_id {
            statement = self.prepared.get(&id);
            if let Some(statement) = statement.as_ref().filter(|_| request.batch.is_none()) {
                message.operation = statement.operation.clone();
            }
        }
        if !self.keyspace.is_empty() {
            message
                .attributes
                .push(("db.namespace", Value::Text(self.keyspace.clone())));
        }
        if let Some(count) = request.batch {
            message
                .attributes
                .push(("db.operation.batch.size", Value::Int(i64::from(count))));
        }
        if let Some(statement) = statement {
            message.target = statement.text.clone();
            message.context = statement.context.clone();
            if !statement.collection.is_empty() {
                message
                    .attributes
                    .push(("db.collection.name", Value::Text(statement.collection.clone())));
            }
            if frame::opcode_name(header.opcode) == "PREPARE" {
                if self.preparing.len() >= PREPARING_MAX {
                    self.preparing.pop_front();
                }
                self.preparing.push_back((header.stream, statement));
            }
        }
        message
    }

    fn response(&mut self, header: Header, body: &[u8]) -> Box<Message> {
        let response = body::response(header, body);
        if header.opcode == 0x0c {
            let mut message = Message::new(Class::OneWay, Pairing::InOrder, Ends::Here);
            (message.operation, message.target) = (response.status, response.event);
            return message;
        }
        // READY and AUTHENTICATE are the last outside segments.
        if header.version == 5 && matches!(header.opcode, 0x02 | 0x03) {
            self.framing = [Framing::Segments {
                left: 0,
                trailer: false,
            }; 2];
        }
        let preparing = self
            .preparing
            .iter()
            .position(|(stream, _)| *stream == header.stream);
        if let Some((_, statement)) = preparing.and_then(|place| self.preparing.remove(place))
            && let Some(id) = response.prepared_id
        {
            self.prepared.insert(id, statement);
        }
        if let Some(keyspace) = response.keyspace {
            self.keyspace = keyspace;
        }
        let mut message = Message::new(Class::Response, pairing(header), Ends::Here);
        message.status = response.status;
        message.outcome = response.error.map_or(Outcome::Ok, Outcome::Error);
        message
    }
}

fn pairing(header: Header) -> Pairing {
    Pairing::Id(u64::from(header.stream as u16))
}

impl Parser for Cassandra {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        self.read(side, bytes, false)
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        match (side, self.framing[side as usize]) {
            (Side::Client, Framing::Envelopes | Framing::Segments { left: 1.., .. }) => {
                self.read(side, bytes, true)
            }
            _ => Step::Consumed(bytes.len()),
        }
    }

    fn gap(&mut self, side: Side, _: u64) -> Recovery {
        if side == Side::Client {
            self.preparing.clear();
        }
        self.spread[side as usize] = 0;
        self.inflated[side as usize] = None;
        Recovery::Resync
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        if !at_write {
            return Resync::NotYet { keep: 0 };
        }
        self.spread[side as usize] = 0;
        self.inflated[side as usize] = None;
        if matches!(frame::header(side, bytes), Some(Some(_))) {
            self.framing[side as usize] = Framing::Envelopes;
            return Resync::At(0);
        }
        for compressed in [false, true] {
            if let Some(Some(segment)) = frame::segment(bytes, compressed)
                && segment.self_contained
            {
                self.compressed = compressed;
                self.framing[side as usize] = Framing::Segments {
                    left: 0,
                    trailer: false,
                };
                return Resync::At(0);
            }
        }
        Resync::NotYet { keep: 0 }
    }
}

#[cfg(test)]
mod tests;
