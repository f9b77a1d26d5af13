//! DNS over UDP and TCP (RFC 1035, 6891, 7766; zone transfers RFC 5936).
//!
//! Enters: datagrams, or messages behind two bytes of length. Leaves: a request a query and a response an answer,
//! paired by id, name and type. Bounded: [`MAX_OPEN`] queries remembered. Deliberately absent: multicast DNS and LLMNR
//! (their answers do not come back to the asking socket's peer) and the NetBIOS name service.

mod detect;
mod wire;

use std::collections::VecDeque;
use std::hash::Hasher;

use rustc_hash::FxHasher;

use self::wire::{DnsMessage, HEADER_BYTES, Question, TYPE_AXFR};
use super::table::{Definition, Family};
use super::{
    Class, End, Ends, LostReason, Message, Outcome, Pairing, Parser, Recovery, Resync, Settings, Side, Step,
    Value,
};

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Name,
    system: "",
    detect: detect::detect,
    open: |settings: &Settings| Box::new(Dns::new(settings.datagram)),
    capture_prefix_bytes: 1280,
};

/// Queries remembered, to find one for an answer that repeats no question.
const MAX_OPEN: usize = 64;
/// Bytes of length before each message over TCP.
const PREFIX_BYTES: usize = 2;

struct Dns {
    datagram: bool,
    /// The latest queries.
    open: VecDeque<Open>,
    /// The zone transfer under way.
    transfer: Option<Transfer>,
}

#[derive(Clone, Copy)]
struct Open {
    id: u16,
    /// The same for the same question asked again with the same id: it may be answered each time.
    question: u64,
    pairing: u64,
}

struct Transfer {
    question: u64,
    pairing: u64,
    /// SOA records of it that were seen.
    zone_marks: u32,
}

impl Dns {
    fn new(datagram: bool) -> Self {
        Self {
            datagram,
            open: VecDeque::new(),
            transfer: None,
        }
    }

    fn message(&mut self, message: &DnsMessage, consumed: usize) -> Step {
        if message.is_response {
            self.response(message, consumed)
        } else {
            self.query(message, consumed)
        }
    }

    fn query(&mut self, query: &DnsMessage, consumed: usize) -> Step {
        let Some(question) = &query.question else {
            return Step::Consumed(consumed);
        };
        let question_hash = hash(query.id, question);
        let latest = self.open.iter().rfind(|open| open.question == question_hash);
        let pairing = latest.map_or(question_hash, |latest| latest.pairing.wrapping_add(1));
        if self.open.len() >= MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(Open {
            id: query.id,
            question: question_hash,
            pairing,
        });
        let mut message = Message::new(Class::Request, Pairing::Id(pairing), Ends::Here);
        message.operation = match query.opcode {
            0 => wire::type_name(question.kind),
            1 => "IQUERY".into(),
            2 => "STATUS".into(),
            4 => "NOTIFY".into(),
            5 => "UPDATE".into(),
            _ => "UNKNOWN".into(),
        };
        message.target = question.name.clone();
        message
            .attributes
            .push(("dns.question.name", Value::Text(question.name.clone())));
        Step::Message { consumed, message }
    }

    fn response(&mut self, response: &DnsMessage, consumed: usize) -> Step {
        let question = response
            .question
            .as_ref()
            .map(|question| hash(response.id, question));
        if let Some(step) = question.and_then(|question| self.continue_transfer(question, response, consumed))
        {
            return step;
        }
        let place = self.open.iter().position(|open| match question {
            Some(question) => open.question == question,
            None => open.id == response.id,
        });
        let asked = place.and_then(|place| self.open.remove(place));
        // The answer may have overtaken its query.
        let Some(pairing) = asked.map(|open| open.pairing).or(question) else {
            return Step::Consumed(consumed);
        };
        let is_transfer = response
            .question
            .as_ref()
            .is_some_and(|question| question.kind == TYPE_AXFR);
        let goes_on = is_transfer && response.zone_marks == 1 && !self.datagram;
        if goes_on {
            self.transfer = question.map(|question| Transfer {
                question,
                pairing,
                zone_marks: 1,
            });
        }
        let ends = if goes_on { Ends::Later } else { Ends::Here };
        let mut message = Message::new(Class::Response, Pairing::Id(pairing), ends);
        message.status = wire::response_code_name(response.response_code);
        message.outcome = match response.response_code {
            0 => Outcome::Ok,
            _ => Outcome::Error(message.status.clone()),
        };
        if !response.addresses.is_empty() {
            message
                .attributes
                .push(("dns.answers", Value::List(response.addresses.clone())));
        }
        Step::Message { consumed, message }
    }

    /// Further messages of a zone transfer, up to the one with the closing SOA record.
    fn continue_transfer(&mut self, question: u64, response: &DnsMessage, consumed: usize) -> Option<Step> {
        let transfer = self.transfer.as_mut()?;
        if transfer.question != question {
            return None;
        }
        transfer.zone_marks += response.zone_marks;
        if transfer.zone_marks < 2 && response.response_code == 0 {
            return Some(Step::Consumed(consumed));
        }
        let id = Some(transfer.pairing);
        self.transfer = None;
        Some(Step::End {
            consumed,
            end: Box::new(End { id, ..End::default() }),
        })
    }
}

/// Names are compared without regard to case; servers may change it.
fn hash(id: u16, question: &Question) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_u16(id);
    hasher.write_u16(question.kind);
    question
        .name
        .bytes()
        .for_each(|byte| hasher.write_u8(byte.to_ascii_lowercase()));
    hasher.finish()
}

impl Parser for Dns {
    fn parse(&mut self, _: Side, bytes: &[u8]) -> Step {
        if self.datagram {
            return match wire::read(bytes) {
                Some(message) => self.message(&message, bytes.len()),
                None if bytes.is_empty() => Step::NeedMore,
                None => Step::Lost(LostReason::Malformed),
            };
        }
        let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
            return Step::NeedMore;
        };
        let length = usize::from(u16::from_be_bytes(*prefix));
        if length < HEADER_BYTES {
            return Step::Lost(LostReason::Malformed);
        }
        match rest.get(..length).map(wire::read) {
            None => Step::NeedMore,
            Some(Some(message)) => self.message(&message, PREFIX_BYTES + length),
            Some(None) => Step::Lost(LostReason::Malformed),
        }
    }

    fn cut(&mut self, _: Side, bytes: &[u8]) -> Step {
        match bytes.get(PREFIX_BYTES..).and_then(wire::read) {
            Some(message) => self.message(&message, bytes.len()),
            None => Step::Consumed(bytes.len()),
        }
    }

    fn gap(&mut self, _: Side, _: u64) -> Recovery {
        if self.datagram {
            Recovery::Continue
        } else {
            Recovery::Resync
        }
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        if self.datagram {
            return Resync::At(0);
        }
        let offsets = 0..bytes.len().saturating_sub(PREFIX_BYTES + HEADER_BYTES);
        let mut candidates = offsets.filter(|at| at_write || *at > 0);
        match candidates.find(|at| detect::is_framed(&bytes[*at..], side)) {
            Some(at) => Resync::At(at),
            None => Resync::NotYet {
                keep: bytes.len().min(PREFIX_BYTES + HEADER_BYTES + 256),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::scripted::{client, expect, server};
    use crate::protocol::{Protocol, harness};

    #[test]
    fn recorded_conversations() {
        harness::check(Protocol::Dns);
    }

    /// A query (or the answer to it) behind its length.
    fn framed(id: u8, is_answer: bool) -> Vec<u8> {
        let flags = if is_answer { 0x81 } else { 1 };
        let message = [
            &[0, 23, 0, id, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
            b"\x05a-b-c\0\0\x01\0\x01",
        ]
        .concat();
        assert_eq!(message.len(), 25);
        message
    }

    #[test]
    fn a_question_asked_again_is_answered_each_time() {
        let turns = [
            client(framed(1, false)),
            client(framed(2, false)),
            client(framed(1, false)),
            server(framed(1, true)),
            server(framed(1, true)),
            server(framed(2, true)),
        ];
        let played = expect(Protocol::Dns, &turns, &["A a-b-c -> NOERROR"; 3]);
        let asked: Vec<u64> = played
            .exchanges
            .iter()
            .map(|exchange| exchange.request_start_ns)
            .collect();
        assert_eq!(asked, [1, 3, 2]);
    }
}
