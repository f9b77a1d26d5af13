//! Dubbo 2 (Apache Dubbo, "Dubbo2 Protocol Specification").
//!
//! Enters: messages behind a header of 16 bytes. Leaves: calls with service and method where they are written in Hessian 2 or
//! JSON, and responses, paired by request id at whichever end they were asked. Bounded: the first [`HEAD_BYTES`] of a message are
//! read. Deliberately absent: heartbeats, arguments and results, and Dubbo 3's Triple (it is gRPC).

mod body;
mod hessian;
mod jsonb;

use compact_str::format_compact;

use self::body::Values;
use super::context::ContextReader;
use super::reader::Reader;
use super::table::{Definition, Family};
use super::{
    Class, Ends, LostReason, Message, Opening, Outcome, Pairing, Parser, Resync, Side, Step, Value, Verdict,
};

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Rpc,
    system: "dubbo",
    detect,
    open: |_| Box::new(Dubbo),
    capture_prefix_bytes: HEAD_BYTES as u32,
};

const HEADER_BYTES: usize = 16;
const HEAD_BYTES: usize = 1024;
const MAGIC: [u8; 2] = [0xda, 0xbb];
/// The default limit is 8 MiB; users raise it.
const MAX_BODY_BYTES: u32 = 512 << 20;
/// The response's value is an exception; the same with attachments.
const WITH_EXCEPTION: [i32; 2] = [0, 3];

struct Dubbo;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    is_request: bool,
    is_two_way: bool,
    is_event: bool,
    serialization: u8,
    status: u8,
    id: u64,
    body_bytes: u32,
}

/// `Err(true)` where more bytes are needed, `Err(false)` where there is no header.
fn header(bytes: &[u8]) -> Result<Header, bool> {
    let common = bytes.len().min(2);
    if bytes[..common] != MAGIC[..common] {
        return Err(false);
    }
    let mut reader = Reader::new(bytes.get(..HEADER_BYTES).ok_or(true)?);
    let fields = (|| {
        reader.take(2)?;
        Some((reader.u8()?, reader.u8()?, reader.u64()?, reader.u32()?))
    })();
    let (flags, status, id, body_bytes) = fields.ok_or(true)?;
    let header = Header {
        is_request: flags & 0x80 != 0,
        is_two_way: flags & 0x40 != 0,
        is_event: flags & 0x20 != 0,
        serialization: flags & 0x1f,
        status,
        id,
        body_bytes,
    };
    let status_fits = header.is_request || matches!(status, 20..=100 if status % 5 == 0 || status == 31);
    let is_valid = body_bytes <= MAX_BODY_BYTES && header.serialization != 0 && status_fits;
    if is_valid { Ok(header) } else { Err(false) }
}

fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    let score = |side: Side, bytes: &[u8]| match header(bytes) {
        _ if bytes.is_empty() => Verdict::NeedMore,
        Err(true) => Verdict::NeedMore,
        Err(false) => Verdict::Reject,
        // A server may ask too, with heartbeats and callbacks.
        Ok(header) if header.is_request == (side == Side::Client) => Verdict::Score(97),
        Ok(_) => Verdict::Score(70),
    };
    match (
        score(Side::Client, opening.client),
        score(Side::Server, opening.server),
    ) {
        (Verdict::Reject, _) | (_, Verdict::Reject) => Verdict::Reject,
        (client, server) => client.max(server),
    }
}

fn pairing(id: u64, asking: Side) -> Pairing {
    Pairing::Id(id << 1 | asking as u64)
}

fn request(side: Side, header: Header, body: &[u8]) -> Box<Message> {
    let mut message = if header.is_two_way {
        Message::new(Class::Request, pairing(header.id, side), Ends::Here)
    } else {
        Message::new(Class::OneWay, Pairing::InOrder, Ends::Here)
    };
    let Some(mut values) = Values::new(header.serialization, body) else {
        return message;
    };
    let mut next = || values.text().unwrap_or_default();
    let (_dubbo_version, service, service_version, mut method) = (next(), next(), next(), next());
    let _parameter_types = next();
    // Generic calls name the method in their first argument.
    if method == "$invoke" || method == "$invokeAsync" {
        let named = next();
        if !named.is_empty() {
            method = named;
        }
    }
    message.target = if method.is_empty() {
        service
    } else {
        format_compact!("{service}/{method}")
    };
    message
        .attributes
        .push(("rpc.method", Value::Text(message.target.clone())));
    if !service_version.is_empty() && service_version != "0.0.0" {
        message
            .attributes
            .push(("rpc.dubbo.service.version", Value::Text(service_version)));
    }
    message.operation = method;
    if header.serialization == body::HESSIAN_2 {
        message.context = attachments(body);
    }
    message
}

/// The attachments are the last value of the body, behind arguments of any shape: trace headers are looked for as the
/// short strings they are.
fn attachments(body: &[u8]) -> Option<Box<super::PropagatedContext>> {
    /// With their length in front.
    const NAMES: [&[u8]; 5] = [
        b"\x0btraceparent",
        b"\x02b3",
        b"\x03sw8",
        b"\x0cx-request-id",
        b"\x0duber-trace-id",
    ];
    let mut context = ContextReader::default();
    for name in NAMES {
        if let Some(at) = memchr::memmem::rfind(body, name) {
            let mut reader = Reader::new(&body[at + name.len()..]);
            if let Some(value) = hessian::string(&mut reader) {
                context.see(&name[1..], value.as_bytes());
            }
        }
    }
    context.finish()
}

fn response(side: Side, header: Header, body: &[u8]) -> Box<Message> {
    let mut message = Message::new(Class::Response, pairing(header.id, side.peer()), Ends::Here);
    message.status = format_compact!("{}", header.status);
    let mut values = Values::new(header.serialization, body);
    message.outcome = match (status_text(header.status), &mut values) {
        ("", None) => Outcome::Ok,
        ("", Some(values)) => match values.small_integer() {
            Some(kind) if WITH_EXCEPTION.contains(&kind) => Outcome::Error("exception".into()),
            Some(_) => Outcome::Ok,
            // Cut off before it could tell.
            None => Outcome::Unset,
        },
        (text, values) => {
            let told = values.as_mut().and_then(Values::text);
            let told = told.as_deref().and_then(|told| told.lines().next());
            let first_line = told.filter(|told| !told.is_empty()).unwrap_or(text);
            Outcome::Error(first_line.into())
        }
    };
    message
}

/// What a status other than 20 means; empty for 20.
fn status_text(status: u8) -> &'static str {
    match status {
        20 => "",
        25 => "serialization error",
        30 => "client timeout",
        31 => "server timeout",
        35 => "channel inactive",
        40 => "bad request",
        50 => "bad response",
        60 => "service not found",
        70 => "service error",
        80 => "server error",
        90 => "client error",
        100 => "server thread pool exhausted",
        _ => "unknown status",
    }
}

fn read(side: Side, bytes: &[u8], is_cut: bool) -> Step {
    let header = match header(bytes) {
        Ok(header) => header,
        Err(true) => return Step::NeedMore,
        Err(false) => return Step::Lost(LostReason::Malformed),
    };
    let total_bytes = HEADER_BYTES + header.body_bytes as usize;
    if header.is_event {
        return Step::Skip(total_bytes as u64);
    }
    let head_bytes = total_bytes.min(HEAD_BYTES);
    if bytes.len() < head_bytes && !is_cut {
        return Step::NeedMore;
    }
    let head_bytes = head_bytes.min(bytes.len());
    let body = &bytes[HEADER_BYTES..head_bytes];
    let mut message = if header.is_request {
        request(side, header, body)
    } else {
        response(side, header, body)
    };
    if total_bytes > head_bytes {
        message.ends = Ends::After((total_bytes - head_bytes) as u64);
    }
    Step::Message {
        consumed: head_bytes,
        message,
    }
}

impl Parser for Dubbo {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        if bytes.is_empty() {
            Step::NeedMore
        } else {
            read(side, bytes, false)
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        match read(side, bytes, true) {
            Step::NeedMore => Step::Consumed(bytes.len()),
            step => step,
        }
    }

    fn resync(&mut self, _: Side, bytes: &[u8], at_write: bool) -> Resync {
        let candidates = memchr::memmem::find_iter(bytes, &MAGIC).filter(|at| *at > 0 || at_write);
        let mut whole = candidates.filter(|at| header(&bytes[*at..]).is_ok());
        whole.next().map_or(
            Resync::NotYet {
                keep: bytes.len().min(HEADER_BYTES - 1),
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
        harness::check(Protocol::Dubbo);
    }

    #[test]
    fn calls_written_in_json_are_named() {
        let message = |flags: u8, status: u8, id: u8, body: &[u8]| {
            let head = [
                0xda,
                0xbb,
                flags,
                status,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                id,
                0,
                0,
                0,
                body.len() as u8,
            ];
            [&head[..], body].concat()
        };
        let json =
            b"\"2.0.2\"\n\"com.shop.Orders\"\n\"1.0.0\"\n\"find\"\n\"Ljava/lang/String;\"\n\"x\"\n{}\n";
        let jsonb = b"\x4e2.0.2\x79\x0fcom.shop.Orders\x4e1.0.0\x4dfind\x49";
        let turns = [
            client(message(0xc6, 0, 1, json)),
            server(message(6, 20, 1, b"1\n\"found\"\n")),
            client(message(0xc6, 0, 2, json)),
            server(message(6, 20, 2, b"0\n{\"message\":\"no\"}\n")),
            client(message(0xc6, 0, 3, json)),
            server(message(6, 70, 3, b"\"not found\\n at x\"\n")),
            client(message(0xc0 | 23, 0, 4, jsonb)),
            server(message(23, 20, 4, b"\x04\x49")),
            client(message(0xc8, 0, 5, b"\x01\x02")),
            server(message(8, 20, 5, b"\x01")),
        ];
        expect(
            Protocol::Dubbo,
            &turns,
            &[
                "find com.shop.Orders/find -> 20",
                "find com.shop.Orders/find -> 20 !exception",
                "find com.shop.Orders/find -> 70 !not found",
                "find com.shop.Orders/find -> 20",
                " -> 20",
            ],
        );
    }
}
