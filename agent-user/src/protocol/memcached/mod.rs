//! Memcached: the text protocol with its meta commands, and the binary one. Source: memcached's doc/protocol.txt and
//! protocol-binary.txt.
//!
//! Enters: bytes of both sides. Leaves: one exchange for each command (a get of many keys is one); commands that ask for
//! no answer are one-way. Operation: the command as the text protocol writes it (`get`, `set`, `mg`), in the binary one too.
//! Target: the first key. Status: the answer's first word (`VALUE`, `END`, `STORED`, `HD`), or the binary status by its
//! name in the protocol. A quiet command whose success is silent is answered by the next answer that comes behind it.
//!
//! Bounded: [`PENDING_MAX`] commands. Deliberately absent: values, credentials.

mod binary;
mod datagram;
mod detect;
mod text;

use std::collections::VecDeque;

use compact_str::CompactString;

use super::answered::Answered;
use super::table::Family;
use super::{
    Attributes, Class, Definition, Ends, LostReason, Message, Outcome, Pairing, Parser, Recovery, Resync,
    Settings, Side, Step, Value,
};
use crate::protocol::reader::lossy_text;
use text::Form;

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Cache,
    system: "memcached",
    detect: detect::detect,
    open: |settings| match settings.datagram {
        true => Box::new(datagram::Datagrams::new(settings)),
        false => Box::new(Memcached::new(settings)),
    },
    capture_prefix_bytes: 4_096,
};

/// Commands the server has not answered.
const PENDING_MAX: usize = 65_536;
const KEY_SHOWN_BYTES: usize = 250;

/// How a command is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// One line, or one binary packet.
    Once,
    /// Items up to `END`, or binary packets up to one without a key.
    Items,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    answer: Answer,
    /// Success says nothing; this is what it would have said.
    quiet: Option<&'static str>,
    /// Binary opcode, and what tells the answer: opaque of binary or meta commands, key of meta commands.
    opcode: u8,
    tag: Option<u64>,
    /// What it can be answered with.
    form: Form,
}

struct Memcached {
    pending: VecDeque<Pending>,
    /// Every answer to come belongs to a command in `pending`.
    in_step: bool,
    /// The answer under way.
    begun: bool,
    /// First word of its items.
    item: &'static str,
    items: i64,
    bytes: u64,
}

impl Memcached {
    fn new(_: &Settings) -> Self {
        Self {
            pending: VecDeque::new(),
            in_step: true,
            begun: false,
            item: "",
            items: 0,
            bytes: 0,
        }
    }

    fn out_of_step(&mut self) {
        self.pending.clear();
        (self.in_step, self.begun, self.items, self.bytes) = (false, false, 0, 0);
    }

    fn lost(&mut self, reason: LostReason) -> Step {
        self.out_of_step();
        Step::Lost(reason)
    }

    /// Ends the answer to the oldest command. `rest` bytes behind those consumed belong to it.
    fn answered(&mut self, status: &str, outcome: Outcome, consumed: usize, rest: u64) -> Step {
        let answer = self.pending.pop_front().map(|pending| pending.answer);
        let mut attributes = Attributes::new();
        if answer == Some(Answer::Items) && !matches!(outcome, Outcome::Error(_)) {
            attributes.push(("db.response.returned_rows", Value::Int(self.items)));
        }
        self.items = 0;
        let size_bytes = Some(std::mem::take(&mut self.bytes) + consumed as u64 + rest);
        let answered = Answered {
            status: CompactString::from(status),
            outcome,
            attributes,
            size_bytes,
        };
        let mut step = answered.step(std::mem::take(&mut self.begun), consumed);
        if let Step::Message { message, .. } = &mut step
            && rest > 0
        {
            message.ends = Ends::After(rest);
        }
        step
    }

    /// The oldest command was quiet and what came answers one behind it: it succeeded.
    fn answered_silently(&mut self, quiet: &'static str) -> Step {
        let kept = std::mem::take(&mut self.bytes);
        let step = self.answered(quiet, Outcome::Ok, 0, 0);
        self.bytes = kept;
        step
    }

    fn request(
        &mut self,
        operation: &str,
        key: &[u8],
        key_cut: bool,
        sizes: Sizes,
        pending: Option<Pending>,
    ) -> Step {
        if self.pending.len() >= PENDING_MAX {
            return self.lost(LostReason::TooLarge);
        }
        let ends = if sizes.rest > 0 {
            Ends::After(sizes.rest)
        } else {
            Ends::Here
        };
        let class = if pending.is_some() {
            Class::Request
        } else {
            Class::OneWay
        };
        let mut message = Message::new(class, Pairing::InOrder, ends);
        message.operation = CompactString::from(operation);
        message.target = lossy_text(&key[..key.len().min(KEY_SHOWN_BYTES)]);
        if key_cut {
            message.target.push('…');
        }
        let mut text = message.operation.clone();
        if !message.target.is_empty() {
            text.push(' ');
            text.push_str(&message.target);
        }
        if sizes.keys > 1 {
            text.push_str(" ...");
            message
                .attributes
                .push(("db.operation.batch.size", Value::Int(sizes.keys)));
        }
        message.attributes.push(("db.query.text", Value::Text(text)));
        message.size_bytes = Some(sizes.consumed as u64 + sizes.rest);
        self.pending.extend(pending);
        Step::Message {
            consumed: sizes.consumed,
            message,
        }
    }
}

/// How much of a request there is.
#[derive(Clone, Copy)]
struct Sizes {
    consumed: usize,
    /// Bytes behind those consumed: the value.
    rest: u64,
    keys: i64,
}

impl Parser for Memcached {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        match (side, bytes.first()) {
            (_, None) => Step::NeedMore,
            (Side::Client, Some(0x80)) => self.binary_request(bytes, false),
            (Side::Server, Some(0x81)) => self.binary_response(bytes),
            (Side::Client, Some(_)) => self.text_command(bytes, false),
            (Side::Server, Some(_)) => self.text_answer(bytes),
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        match (side, bytes.first()) {
            (Side::Client, Some(0x80)) => self.binary_request(bytes, true),
            (Side::Client, Some(_)) => self.text_command(bytes, true),
            _ => Step::Consumed(bytes.len()),
        }
    }

    fn gap(&mut self, _: Side, _: u64) -> Recovery {
        self.out_of_step();
        Recovery::Resync
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        self.in_step = false;
        let found = at_write && (binary::begins(side, bytes) || text::begins(side, bytes));
        if found {
            Resync::At(0)
        } else {
            Resync::NotYet { keep: 0 }
        }
    }
}

#[cfg(test)]
mod tests;
