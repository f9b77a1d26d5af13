//! NATS client protocol (docs.nats.io, "Client Protocol"): core messages, headers, request and reply over inboxes.
//!
//! Enters: control lines and payloads. Leaves: publications and deliveries; a publication that names a reply subject is
//! a request, and the message on that subject its response, at the asking end and at the answering one. Bounded:
//! [`MAX_OPEN`] reply subjects remembered; no payload kept. Deliberately absent: cluster, leaf node and WebSocket
//! protocols, and what JetStream writes into payloads.
//!
//! After a loss, a message on an inbox that no known request named is an answer whose request was not seen.
//! CONNECT is answered by the PONG to the PING that every client sends with it, by `+OK`, or by `-ERR`.

mod detect;
mod line;

use std::collections::VecDeque;
use std::hash::Hasher;

use compact_str::CompactString;
use rustc_hash::FxHasher;

use self::line::{Line, Moved, Read};
use super::context::ContextReader;
use super::table::{Definition, Family};
use super::{
    Class, Ends, Intent, LostReason, Message, Next, Outcome, Pairing, Parser, Recovery, Resync, Side, Step,
    Value,
};

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Messaging,
    system: "nats",
    detect: detect::detect,
    open: |_| Box::<Nats>::default(),
    capture_prefix_bytes: 1024,
};

/// How the reply subjects begin that clients make up.
const INBOX: &str = "_INBOX.";
/// Reply subjects remembered of either side.
const MAX_OPEN: usize = 1024;
/// Headers longer than this are skipped unread.
const MAX_HEADER_BYTES: u64 = 16 * 1024;
/// First byte of a TLS record: the server's INFO asked for TLS.
const TLS_HANDSHAKE: u8 = 0x16;

#[derive(Default)]
struct Nats {
    sides: [OneSide; 2],
    /// Every command of the client is answered.
    verbose: bool,
    /// CONNECT waits for its answer, and the PING after it is part of it.
    connecting: bool,
    /// Requests may have passed unseen.
    incomplete: bool,
}

/// What one side asked for.
#[derive(Default)]
struct OneSide {
    /// Hashes of the reply subjects it named.
    replies: VecDeque<u64>,
    pings: Numbered,
    commands: Numbered,
}

/// Requests answered in the order they were sent.
#[derive(Default)]
struct Numbered {
    sent: u64,
    answered: u64,
}

impl Numbered {
    fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    fn answer(&mut self) -> Option<u64> {
        (self.answered < self.sent).then(|| {
            self.answered += 1;
            self.answered
        })
    }
}

/// Ids of different kinds of requests must not meet.
#[derive(Clone, Copy)]
enum Kind {
    Reply,
    Ping,
    Command,
}

fn id(kind: Kind, asking: Side, number: u64) -> Pairing {
    Pairing::Id(number << 3 | (kind as u64) << 1 | asking as u64)
}

fn hash(subject: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(subject.as_bytes());
    // The upper bits are the better ones, and three are shifted out.
    hasher.finish() >> 3
}

impl Nats {
    fn command(&mut self, operation: &'static str, target: &str, consumed: usize) -> Step {
        let commands = &mut self.sides[Side::Client as usize].commands;
        let mut message = if self.verbose {
            Message::new(
                Class::Request,
                id(Kind::Command, Side::Client, commands.send()),
                Ends::Here,
            )
        } else {
            Message::new(Class::OneWay, Pairing::InOrder, Ends::Here)
        };
        message.operation = CompactString::const_new(operation);
        message.target = target.into();
        if !target.is_empty() {
            message
                .attributes
                .push(("messaging.destination.name", Value::Text(target.into())));
        }
        Step::Message { consumed, message }
    }

    fn connect(&mut self, options: &[u8], consumed: usize) -> Step {
        let compact: Vec<u8> = options
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        self.verbose = memchr::memmem::find(&compact, b"\"verbose\":true").is_some();
        self.connecting = true;
        let number = self.sides[Side::Client as usize].commands.send();
        let mut message = Message::new(
            Class::Request,
            id(Kind::Command, Side::Client, number),
            Ends::Here,
        );
        message.operation = "CONNECT".into();
        Step::Message { consumed, message }
    }

    fn ping(&mut self, side: Side, consumed: usize) -> Step {
        if self.connecting && side == Side::Client {
            return Step::Consumed(consumed);
        }
        let number = self.sides[side as usize].pings.send();
        let mut message = Message::new(Class::Request, id(Kind::Ping, side, number), Ends::Here);
        message.operation = "PING".into();
        Step::Message { consumed, message }
    }

    /// `side` answers a PING of its peer.
    fn pong(&mut self, side: Side, consumed: usize) -> Step {
        let asking = side.peer();
        let asked = &mut self.sides[asking as usize];
        let pairing = if self.connecting && side == Side::Server {
            self.connecting = false;
            asked
                .commands
                .answer()
                .map(|number| id(Kind::Command, asking, number))
        } else {
            asked.pings.answer().map(|number| id(Kind::Ping, asking, number))
        };
        answer(pairing, "PONG", Outcome::Ok, consumed)
    }

    fn acknowledge(&mut self, status: &'static str, outcome: Outcome, consumed: usize) -> Step {
        let commands = &mut self.sides[Side::Client as usize].commands;
        let expected = self.verbose || self.connecting;
        // A verbose server's answer to CONNECT is followed by a PONG of its own.
        self.connecting = false;
        let pairing = commands
            .answer()
            .filter(|_| expected)
            .map(|number| id(Kind::Command, Side::Client, number));
        if pairing.is_none() && outcome != Outcome::Ok {
            let mut message = Message::new(Class::OneWay, Pairing::InOrder, Ends::Here);
            message.operation = status.into();
            message.outcome = outcome;
            return Step::Message { consumed, message };
        }
        answer(pairing, status, outcome, consumed)
    }

    /// A publication of the client or a delivery of the server: a response where its subject was named as reply.
    fn moved(&mut self, side: Side, moved: &Moved<'_>, headers: &[u8], line_bytes: usize) -> Step {
        let consumed = line_bytes + headers.len();
        let rest_bytes = moved.total_bytes - headers.len() as u64 + 2;
        let mut message = self.classify(side, moved);
        message.ends = Ends::After(rest_bytes);
        message.intent = if side == Side::Client {
            Intent::Publish
        } else {
            Intent::Receive
        };
        message.operation = CompactString::const_new(moved.operation);
        message.target = moved.subject.into();
        let (name, kind) = if side == Side::Client {
            ("publish", "send")
        } else {
            ("process", "process")
        };
        message.attributes.push((
            "messaging.operation.name",
            Value::Text(CompactString::const_new(name)),
        ));
        message.attributes.push((
            "messaging.operation.type",
            Value::Text(CompactString::const_new(kind)),
        ));
        message
            .attributes
            .push(("messaging.destination.name", Value::Text(moved.subject.into())));
        let body_bytes = moved.total_bytes - moved.header_bytes.unwrap_or(0);
        message
            .attributes
            .push(("messaging.message.body.size", Value::Int(body_bytes as i64)));
        read_headers(headers, &mut message);
        if message.class == Class::Response {
            message.operation = CompactString::default();
            message.target = CompactString::default();
            message
                .attributes
                .retain(|(name, _)| *name == "messaging.message.body.size");
            if message.outcome == Outcome::Unset {
                message.outcome = Outcome::Ok;
                message.status = "OK".into();
            }
        }
        Step::Message { consumed, message }
    }

    fn classify(&mut self, side: Side, moved: &Moved<'_>) -> Box<Message> {
        let subject = hash(moved.subject);
        let asked = &mut self.sides[side.peer() as usize].replies;
        if let Some(place) = asked.iter().position(|reply| *reply == subject) {
            asked.remove(place);
            return Message::new(Class::Response, id(Kind::Reply, side.peer(), subject), Ends::Here);
        }
        if self.incomplete && moved.subject.starts_with(INBOX) {
            // The answer to a request that was not seen.
            return Message::new(Class::Response, id(Kind::Reply, side.peer(), subject), Ends::Here);
        }
        if let Some(reply) = moved.reply {
            let replies = &mut self.sides[side as usize].replies;
            if replies.len() >= MAX_OPEN {
                replies.pop_front();
            }
            replies.push_back(hash(reply));
            return Message::new(Class::Request, id(Kind::Reply, side, hash(reply)), Ends::Here);
        }
        if self.verbose && side == Side::Client {
            let number = self.sides[side as usize].commands.send();
            return Message::new(Class::Request, id(Kind::Command, side, number), Ends::Here);
        }
        Message::new(Class::OneWay, Pairing::InOrder, Ends::Here)
    }

    fn line(&mut self, side: Side, line: Line<'_>, length: usize, bytes: &[u8], is_cut: bool) -> Step {
        match line {
            Line::Info => Step::Consumed(length),
            Line::Connect(options) => self.connect(options, length),
            Line::Publish(moved) | Line::Deliver(moved) => {
                let wanted = moved
                    .header_bytes
                    .filter(|header_bytes| *header_bytes <= MAX_HEADER_BYTES)
                    .unwrap_or(0);
                match bytes.get(length..length + wanted as usize) {
                    Some(headers) => self.moved(side, &moved, headers, length),
                    None if is_cut => self.moved(side, &moved, &[], length),
                    None => Step::NeedMore,
                }
            }
            Line::Subscribe { subject, queue } => {
                let mut step = self.command("SUB", subject, length);
                if let (Step::Message { message, .. }, Some(queue)) = (&mut step, queue) {
                    message
                        .attributes
                        .push(("messaging.consumer.group.name", Value::Text(queue.into())));
                }
                step
            }
            Line::Unsubscribe => self.command("UNSUB", "", length),
            Line::Ping => self.ping(side, length),
            Line::Pong => self.pong(side, length),
            Line::Ok => self.acknowledge("+OK", Outcome::Ok, length),
            Line::Error(text) => self.acknowledge("-ERR", Outcome::Error(text.into()), length),
        }
    }

    fn read(&mut self, side: Side, bytes: &[u8], is_cut: bool) -> Step {
        match line::read(side, bytes) {
            _ if bytes.is_empty() => Step::NeedMore,
            Read::NeedMore if is_cut => Step::Consumed(bytes.len()),
            Read::NeedMore => Step::NeedMore,
            Read::Broken if bytes[0] == TLS_HANDSHAKE => Step::HandOver {
                consumed: 0,
                to: Next::Opaque,
            },
            Read::Broken => Step::Lost(LostReason::Malformed),
            Read::Line(line, length) => self.line(side, line, length, bytes, is_cut),
        }
    }
}

fn answer(pairing: Option<Pairing>, status: &'static str, outcome: Outcome, consumed: usize) -> Step {
    let Some(pairing) = pairing else {
        return Step::Consumed(consumed);
    };
    let mut message = Message::new(Class::Response, pairing, Ends::Here);
    message.status = CompactString::const_new(status);
    message.outcome = outcome;
    Step::Message { consumed, message }
}

/// `NATS/1.0[ status[ description]]`, then headers as in HTTP.
fn read_headers(headers: &[u8], message: &mut Message) {
    let mut lines = headers
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status = lines
        .next()
        .and_then(|line| std::str::from_utf8(line).ok())
        .unwrap_or_default();
    let mut fields = status.splitn(3, ' ').skip(1);
    if let Some(code) = fields.next().filter(|code| !code.is_empty()) {
        message.status = code.into();
        let text = fields.next().filter(|text| !text.is_empty());
        // 503 without a text: nobody subscribes to the subject (ADR-4).
        let text = text.unwrap_or(if code == "503" { "No Responders" } else { "" });
        let is_failure = code.starts_with(['4', '5']);
        message.outcome = if is_failure {
            Outcome::Error(text.into())
        } else {
            Outcome::Ok
        };
    }
    let mut context = ContextReader::default();
    for line in lines {
        if let Some(colon) = memchr::memchr(b':', line) {
            context.see(&line[..colon], line[colon + 1..].trim_ascii());
        }
    }
    message.context = context.finish();
}

impl Parser for Nats {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        self.read(side, bytes, false)
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        self.read(side, bytes, true)
    }

    fn gap(&mut self, _: Side, _: u64) -> Recovery {
        self.incomplete = true;
        Recovery::Resync
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        // Answers to what was missed would be taken for answers to what comes.
        for asked in &mut self.sides {
            asked.commands.answered = asked.commands.sent;
            asked.pings.answered = asked.pings.sent;
        }
        (self.connecting, self.incomplete) = (false, true);
        let is_line = |at: &usize| matches!(line::read(side, &bytes[*at..]), Read::Line(..));
        let starts = memchr::memchr_iter(b'\n', bytes).map(|end| end + 1);
        let found = at_write.then_some(0).into_iter().chain(starts).find(is_line);
        found.map_or(
            Resync::NotYet {
                keep: bytes.len().min(4096),
            },
            Resync::At,
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::{Protocol, harness};

    #[test]
    fn recorded_conversations() {
        harness::check(Protocol::Nats);
    }
}
