//! Apache Thrift: binary (with and without version), compact and JSON encoding, framed, unframed and with headers.
//!
//! Enters: messages. Leaves: calls with their replies, by sequence number and name; one-way calls. Bounded:
//! [`HEAD_BYTES`] of a framed message are read, and as many of what a compressed one holds; an unframed one must be followed
//! to its end. Deliberately absent: arguments, results; Thrift in HTTP's bodies, which is HTTP.

mod header;
mod json;
mod value;

use compact_str::{CompactString, format_compact};

use self::header::{Header, Kind, Read, Sealed};
use super::compression;
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
        Read::Sealed(sealed) => {
            return match header::unsealed(&unseal(sealed, bytes)) {
                Read::Header(header) if is_from(side, header.kind) => Verdict::Score(95),
                Read::Header(_) => Verdict::Reject,
                _ => Verdict::Score(60),
            };
        }
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
            Read::Sealed(sealed) => return self.sealed(side, sealed, bytes, is_cut),
            Read::Header(header) if is_from(side, header.kind) => header,
            Read::Header(_) => return self.lost(),
        };
        let body = value::read(&bytes[header.body_at..], header.encoding);
        if body.is_broken {
            return self.lost();
        }
        let (consumed, ends) = match (header.frame_bytes, body.length) {
            (Some(frame_bytes), _) => match frame_head(frame_bytes, header.body_at, bytes, is_cut) {
                Some(head) => head,
                None => return Step::NeedMore,
            },
            (None, Some(length)) => (header.body_at + length, Ends::Here),
            (None, None) if is_cut => (bytes.len(), Ends::Here),
            (None, None) => return Step::NeedMore,
        };
        self.told(side, &header, &body, consumed, ends)
    }

    /// A compressed frame: what it holds is read, as far as it is at hand.
    fn sealed(&mut self, side: Side, sealed: Sealed, bytes: &[u8], is_cut: bool) -> Step {
        let Some((consumed, ends)) = frame_head(sealed.frame_bytes, sealed.message_at, bytes, is_cut) else {
            return Step::NeedMore;
        };
        let inner = unseal(sealed, &bytes[..consumed]);
        match header::unsealed(&inner) {
            Read::Header(header) if is_from(side, header.kind) => {
                let body = value::read(&inner[header.body_at..], header.encoding);
                self.told(side, &header, &body, consumed, ends)
            }
            _ => Step::Skip(sealed.frame_bytes as u64),
        }
    }

    fn told(
        &mut self,
        side: Side,
        header: &Header<'_>,
        body: &value::Body<'_>,
        consumed: usize,
        ends: Ends,
    ) -> Step {
        let message = if side == Side::Client {
            Some(self.call(header))
        } else {
            self.reply(header, body)
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

/// The first bytes of what a compressed frame holds, as far as it is at hand.
fn unseal(sealed: Sealed, bytes: &[u8]) -> Vec<u8> {
    let end = sealed.frame_bytes.min(bytes.len());
    let compressed = bytes.get(sealed.message_at..end).unwrap_or_default();
    sealed
        .algorithm
        .map(|algorithm| compression::beginning(algorithm, compressed, HEAD_BYTES))
        .unwrap_or_default()
}

/// How many bytes of a frame are read, and what of it follows; `None` where more of them are to come.
fn frame_head(frame_bytes: usize, body_at: usize, bytes: &[u8], is_cut: bool) -> Option<(usize, Ends)> {
    let head_bytes = frame_bytes.min(HEAD_BYTES.max(body_at));
    if bytes.len() < head_bytes && !is_cut {
        return None;
    }
    let consumed = head_bytes.min(bytes.len());
    let rest = (frame_bytes - consumed) as u64;
    Some((consumed, if rest > 0 { Ends::After(rest) } else { Ends::Here }))
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
    use crate::protocol::scripted::{client, expect, server};
    use crate::protocol::{Protocol, harness};

    #[test]
    fn recorded_conversations() {
        harness::check(Protocol::Thrift);
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        [&(message.len() as u32).to_be_bytes(), message].concat()
    }

    #[test]
    fn compressed_calls_are_named() {
        use std::io::Write;
        let sealed = |message: &[u8]| {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(message).unwrap();
            let compressed = encoder.finish().unwrap();
            framed(&[b"\x0f\xff\0\0\0\0\0\x07\0\x01\0\x01\x01\0", &compressed[..]].concat())
        };
        let turns = [
            client(sealed(b"\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x07\0")),
            server(sealed(
                b"\x80\x01\0\x03\0\0\0\x04ping\0\0\0\x07\x0b\0\x01\0\0\0\x03bad\0",
            )),
        ];
        expect(Protocol::Thrift, &turns, &["ping ping -> EXCEPTION !bad"]);
    }

    #[test]
    fn calls_in_json_are_named() {
        for frame in [framed, |message: &[u8]| message.to_vec()] {
            let turns = [
                client(frame(br#"[1,"Calc:add",1,7,{"1":{"i32":1}}]"#)),
                server(frame(br#"[1,"add",2,7,{"0":{"i32":2}}]"#)),
                client(frame(br#"[1,"log",4,8,{}]"#)),
                client(frame(br#"[1,"div",1,9,{}]"#)),
                server(frame(br#"[1,"div",3,9,{"1":{"str":"by zero"}}]"#)),
            ];
            expect(
                Protocol::Thrift,
                &turns,
                &[
                    "add Calc:add -> REPLY",
                    "log log -> ",
                    "div div -> EXCEPTION !by zero",
                ],
            );
        }
    }
}
