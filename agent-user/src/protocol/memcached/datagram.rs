//! Memcached over UDP: each datagram begins with a frame header, which numbers the request and the parts of its answer.
//!
//! Enters: datagrams. Leaves: one exchange for each request, paired by the number the client gave it. Bounded: [`OPEN_MAX`]
//! requests. Deliberately absent: several commands in one datagram (the first one is told). Source: memcached's
//! doc/protocol.txt, "UDP protocol".

use std::collections::VecDeque;

use super::{Memcached, Pending};
use crate::protocol::{
    Class, End, Ends, LostReason, Message, Outcome, Pairing, Parser, Recovery, Resync, Settings, Side, Step,
};

const HEADER_BYTES: usize = 8;
const OPEN_MAX: usize = 256;

struct Header {
    request: u16,
    part: u16,
    parts: u16,
}

fn header(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let (&[a, b, c, d, e, f, 0, 0], rest) = bytes.split_first_chunk::<HEADER_BYTES>()? else {
        return None;
    };
    let header = Header {
        request: u16::from_be_bytes([a, b]),
        part: u16::from_be_bytes([c, d]),
        parts: u16::from_be_bytes([e, f]),
    };
    (header.part < header.parts).then_some((header, rest))
}

/// What a datagram carries, where it can be one of these at all.
pub(super) fn payload(side: Side, bytes: &[u8]) -> Option<&[u8]> {
    let (header, rest) = header(bytes)?;
    let fits = side == Side::Server || header.parts == 1;
    fits.then_some(rest)
}

pub(super) struct Datagrams {
    settings: Settings,
    /// Requests without an answer: the client's number, ours, and what is due.
    open: VecDeque<(u16, u64, Pending)>,
    requests: u64,
    /// An answer in parts, of which the first was seen: the client's number, and ours.
    in_parts: Option<(u16, u64)>,
}

impl Datagrams {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            open: VecDeque::new(),
            requests: 0,
            in_parts: None,
        }
    }

    fn request(&mut self, header: &Header, payload: &[u8], datagram_bytes: usize) -> Step {
        let mut reader = Memcached::new(&self.settings);
        let mut step = reader.parse(Side::Client, payload);
        if matches!(step, Step::NeedMore) {
            step = reader.cut(Side::Client, payload);
        }
        let Step::Message { mut message, .. } = step else {
            return Step::Lost(LostReason::Malformed);
        };
        self.requests += 1;
        if let Some(pending) = reader.pending.pop_front() {
            if self.open.len() >= OPEN_MAX {
                self.open.pop_front();
            }
            self.open.push_back((header.request, self.requests, pending));
        }
        message.pairing = Pairing::Id(self.requests);
        message.ends = Ends::Here;
        message.size_bytes = Some(datagram_bytes as u64);
        Step::Message {
            consumed: datagram_bytes,
            message,
        }
    }

    fn answer(&mut self, header: &Header, payload: &[u8], datagram_bytes: usize) -> Step {
        if header.part > 0 {
            return self.further_part(header, datagram_bytes);
        }
        let place = self
            .open
            .iter()
            .position(|(request, ..)| *request == header.request);
        let Some((_, number, pending)) = place.and_then(|place| self.open.remove(place)) else {
            return Step::Consumed(datagram_bytes);
        };
        let (status, outcome) = self.judge(pending, payload);
        let goes_on = header.parts > 1;
        if goes_on {
            self.in_parts = Some((header.request, number));
        }
        let ends = if goes_on { Ends::Later } else { Ends::Here };
        let mut message = Message::new(Class::Response, Pairing::Id(number), ends);
        (message.status, message.outcome) = (status.into(), outcome);
        Step::Message {
            consumed: datagram_bytes,
            message,
        }
    }

    /// What the first part of an answer says.
    fn judge(&self, pending: Pending, payload: &[u8]) -> (String, Outcome) {
        let mut reader = Memcached::new(&self.settings);
        reader.pending.push_back(pending);
        let mut rest = payload;
        while !rest.is_empty() {
            let used = match reader.parse(Side::Server, rest) {
                Step::Message { message, .. } if message.ends != Ends::Later => {
                    return (message.status.into_string(), message.outcome);
                }
                Step::End { end, .. } => {
                    return (
                        end.status.unwrap_or_default().into_string(),
                        end.outcome.unwrap_or_default(),
                    );
                }
                Step::Message { consumed, .. } | Step::Consumed(consumed) => consumed,
                Step::Skip(count) => usize::try_from(count).unwrap_or(usize::MAX),
                _ => break,
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        // Items, and their end in a later part.
        let outcome = if reader.begun { Outcome::Ok } else { Outcome::Unset };
        (reader.item.to_owned(), outcome)
    }

    fn further_part(&mut self, header: &Header, datagram_bytes: usize) -> Step {
        let is_last = header.part + 1 == header.parts;
        match self
            .in_parts
            .filter(|(request, _)| *request == header.request && is_last)
        {
            Some((_, number)) => {
                self.in_parts = None;
                let end = End {
                    id: Some(number),
                    ..End::default()
                };
                Step::End {
                    consumed: datagram_bytes,
                    end: Box::new(end),
                }
            }
            None => Step::Consumed(datagram_bytes),
        }
    }
}

impl Parser for Datagrams {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        match (header(bytes), side) {
            (None, _) if bytes.is_empty() => Step::NeedMore,
            (None, _) => Step::Lost(LostReason::Malformed),
            (Some((header, payload)), Side::Client) => self.request(&header, payload, bytes.len()),
            (Some((header, payload)), Side::Server) => self.answer(&header, payload, bytes.len()),
        }
    }

    fn gap(&mut self, _: Side, _: u64) -> Recovery {
        Recovery::Continue
    }

    fn resync(&mut self, _: Side, _: &[u8], _: bool) -> Resync {
        Resync::At(0)
    }
}
