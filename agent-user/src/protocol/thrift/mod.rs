//! Apache Thrift: binary (with and without version) and compact encoding, framed, unframed and with headers.
//!
//! Enters: messages. Leaves: calls with their replies, by sequence number and name; one-way calls. Bounded:
//! [`HEAD_BYTES`] of a framed message are read; an unframed one must be followed to its end. Deliberately absent:
//! arguments, results, and JSON encoding.

mod header;
mod value;

use compact_str::{CompactString, format_compact};

use self::header::{Header, Kind, Read};
use super::table::{Definition, Family};
use super::{
    Class, Ends, LostReason, Message, Opening, Outcome, Pairing, Parser, Recovery, Resync, Side, Step, Value,
    Verdict,
};

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Rpc,
    system: "apache_thrift",
    detect,
    open: |_| Box::<Thrift>::default(),
    capture_prefix_bytes: HEAD_BYTES as u32,
};

/// So much of a framed message is waited for and read.
const HEAD_BYTES: usize = 1024;

/// Calls whose reply is still to come: sequence number and number of the call.
const MAX_OPEN: usize = 1024;

#[derive(Default)]
struct Thrift {
    open: std::collections::VecDeque<(u32, u64)>,
    calls: u64,
}

fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    match (
        score(Side::Client, opening.client),
        score(Side::Server, opening.server),
    ) {
        (Verdict::Reject, _) | (_, Verdict::Reject) => Verdict::Reject,
        (client, server) => client.max(server),
    }
}

fn score(side: Side, bytes: &[u8]) -> Verdict {
    let header = match header::read(bytes) {
        Read::NeedMore => return Verdict::NeedMore,
        Read::Broken => return Verdict::Reject,
        Read::Sealed { .. } => return Verdict::Score(60),
        Read::Header(header) => header,
    };
    if !is_from(side, header.kind) {
        return Verdict::Reject;
    }
    let body = value::read(&bytes[header.body_at..], header.encoding);
    let fits = header
        .frame_bytes
        .zip(body.length)
        .is_none_or(|(frame, length)| header.body_at + length == frame);
    match body.length {
        _ if body.is_broken || !fits => Verdict::Reject,
        Some(_) => Verdict::Score(if header.strict { 95 } else { 88 }),
        None => Verdict::Score(if header.strict { 82 } else { 35 }),
    }
}

fn is_from(side: Side, kind: Kind) -> bool {
    matches!(kind, Kind::Call | Kind::OneWay) == (side == Side::Client)
}

impl Thrift {
    fn call(&mut self, header: &Header<'_>) -> Box<Message> {
        self.calls += 1;
        let mut message = match header.kind {
            Kind::OneWay => Message::new(Class::OneWay, Pairing::InOrder, Ends::Here),
            _ => {
                if self.open.len() >= MAX_OPEN {
                    self.open.pop_front();
                }
                self.open.push_back((header.sequence, self.calls));
                Message::new(Class::Request, Pairing::Id(self.calls), Ends::Here)
            }
        };
        // `service:method` where several services share a connection.
        let (service, method) = header.name.split_once(':').unwrap_or(("", header.name));
        message.operation = method.into();
        message.target = header.name.into();
        let qualified = if service.is_empty() {
            method.into()
        } else {
            format_compact!("{service}/{method}")
        };
        message.attributes.push(("rpc.method", Value::Text(qualified)));
        message
    }

    /// `None` where no call is open with that number.
    fn reply(&mut self, header: &Header<'_>, body: &value::Body<'_>) -> Option<Box<Message>> {
        // Clients that never have two calls open may leave the number at 0.
        let place = self
            .open
            .iter()
            .position(|(sequence, _)| *sequence == header.sequence)?;
        let (_, call) = self.open.remove(place)?;
        let mut message = Message::new(Class::Response, Pairing::Id(call), Ends::Here);
        let is_declared_exception =
            header.kind == Kind::Reply && body.first_field.is_some_and(|field| field != 0);
        message.status = CompactString::const_new(if header.kind == Kind::Reply {
            "REPLY"
        } else {
            "EXCEPTION"
        });
        message.outcome = match header.kind {
            Kind::Exception => Outcome::Error(body.text.into()),
            _ if is_declared_exception => Outcome::Error("declared exception".into()),
            // Cut off before it could tell.
            _ if body.first_field.is_none() && body.length.is_none() => Outcome::Unset,
            _ => Outcome::Ok,
        };
        Some(message)
    }

    /// A reply to an open call may be what could not be read; numbers may be used again.
    fn lost(&mut self) -> Step {
        self.open.clear();
        Step::Lost(LostReason::Malformed)
    }

    fn read(&mut self, side: Side, bytes: &[u8], is_cut: bool) -> Step {
        if bytes.is_empty() {
            return Step::NeedMore;
        }
        let header = match header::read(bytes) {
            Read::NeedMore => return Step::NeedMore,
            Read::Broken => return self.lost(),
            Read::Sealed { frame_bytes } => return Step::Skip(frame_bytes as u64),
            Read::Header(header) if is_from(side, header.kind) => header,
            Read::Header(_) => return self.lost(),
        };
        let body = value::read(&bytes[header.body_at..], header.encoding);
        if body.is_broken {
            return self.lost();
        }
        let (consumed, ends) = match (header.frame_bytes, body.length) {
            (Some(frame_bytes), _) => {
                let head_bytes = frame_bytes.min(HEAD_BYTES.max(header.body_at));
                if bytes.len() < head_bytes && !is_cut {
                    return Step::NeedMore;
                }
                let consumed = head_bytes.min(bytes.len());
                let rest = (frame_bytes - consumed) as u64;
                (consumed, if rest > 0 { Ends::After(rest) } else { Ends::Here })
            }
            (None, Some(length)) => (header.body_at + length, Ends::Here),
            (None, None) if is_cut => (bytes.len(), Ends::Here),
            (None, None) => return Step::NeedMore,
        };
        let message = if side == Side::Client {
            Some(self.call(&header))
        } else {
            self.reply(&header, &body)
        };
        match (message, ends) {
            (Some(mut message), ends) => {
                message.ends = ends;
                Step::Message { consumed, message }
            }
            (None, Ends::After(rest)) => Step::Skip(consumed as u64 + rest),
            (None, _) => Step::Consumed(consumed),
        }
    }
}

impl Parser for Thrift {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        self.read(side, bytes, false)
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        match self.read(side, bytes, true) {
            Step::NeedMore => Step::Consumed(bytes.len()),
            step => step,
        }
    }

    fn gap(&mut self, _: Side, _: u64) -> Recovery {
        self.open.clear();
        Recovery::Resync
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        let is_message = |at: &usize| matches!(score(side, &bytes[*at..]), Verdict::Score(80..));
        let found = (0..bytes.len()).filter(|at| *at > 0 || at_write).find(is_message);
        found.map_or(
            Resync::NotYet {
                keep: bytes.len().min(256),
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
        harness::check(Protocol::Thrift);
    }
}
