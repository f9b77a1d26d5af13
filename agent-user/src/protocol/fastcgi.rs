//! FastCGI 1.0: what web servers speak to application processes such as php-fpm, often on Unix sockets.
//!
//! Enters: bytes of a connection. Leaves: a message a request (named by its parameters) and one a response (named by its
//! `Status` line), paired by request id, of which several may be under way. Bounded: parameters of [`MAX_REQUESTS`]
//! requests, at most [`MAX_PARAMS_BYTES`] each. Deliberately absent: the streams' content.

mod params;
mod record;

use compact_str::CompactString;
use rustc_hash::FxHashMap;

use self::record::{Contiguous, HEADER_BYTES, Kind, Record};
use super::table::Family;
use super::{
    Class, Definition, End, Ends, LostReason, Message, Outcome, Pairing, Parser, Recovery, Resync, Side, Step,
};

/// FastCGI as the table knows it.
pub(super) static DEFINITION: Definition = Definition {
    family: Family::Http,
    system: "",
    detect: record::detect,
    open: |_| Box::new(FastCgi::default()),
    capture_prefix_bytes: 4096,
};

/// Web servers in use today have one request a connection under way.
const MAX_REQUESTS: usize = 64;
const MAX_PARAMS_BYTES: usize = 64 << 10;
/// The longest block of response headers looked through for the status.
const MAX_HEADERS_BYTES: usize = 8 << 10;

#[derive(Debug, Default)]
struct FastCgi {
    requests: FxHashMap<u16, Request>,
    /// Ids are used again; counting makes each use a pairing of its own.
    uses: u64,
    /// What is left of a record, by side.
    rest: [u64; 2],
}

#[derive(Debug, Default)]
struct Request {
    number: u64,
    /// Parameters so far; emptied once they are complete.
    params: Vec<u8>,
    named: bool,
    answered: bool,
}

impl Parser for FastCgi {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        let rest = std::mem::take(&mut self.rest[side as usize]);
        if rest > 0 {
            return Step::Skip(rest);
        }
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Step::NeedMore;
        };
        let Some(record) = Record::read(header, side) else {
            return Step::Lost(LostReason::Malformed);
        };
        match record.kind {
            Kind::BeginRequest => self.begin(record, bytes),
            Kind::Params => self.params(record, bytes),
            Kind::Stdin if record.content_bytes == 0 => self.request_end(record),
            Kind::Stdout if record.content_bytes > 0 => self.stdout(record, bytes),
            Kind::EndRequest => self.response_end(record, bytes),
            _ => Step::Skip(record.whole_bytes() as u64),
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        let Some(record) = bytes.first_chunk().and_then(|header| Record::read(header, side)) else {
            return Step::Consumed(bytes.len());
        };
        let consumed = bytes.len();
        match record.kind {
            Kind::BeginRequest => {
                let found = record::contiguous_params(record, bytes);
                let message = self.named_request(record.request, &found, Ends::Here);
                Step::Message { consumed, message }
            }
            Kind::Stdout => match self.response(record, &bytes[HEADER_BYTES..], true) {
                Some(message) => Step::Message { consumed, message },
                None => Step::Consumed(consumed),
            },
            _ => Step::Consumed(consumed),
        }
    }

    fn gap(&mut self, side: Side, _missing: u64) -> Recovery {
        self.rest[side as usize] = 0;
        Recovery::Resync
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        self.rest[side as usize] = 0;
        record::find(side, bytes, at_write)
    }
}

impl FastCgi {
    /// The usual case is one step: the request's record and all its parameters behind one another.
    fn begin(&mut self, record: Record, bytes: &[u8]) -> Step {
        let found = record::contiguous_params(record, bytes);
        if found.whole {
            let message = self.named_request(record.request, &found, Ends::Later);
            return Step::Message {
                consumed: found.consumed,
                message,
            };
        }
        if !found.interrupted && found.consumed < MAX_PARAMS_BYTES {
            return Step::NeedMore;
        }
        self.open(record.request);
        Step::Skip(record.whole_bytes() as u64)
    }

    fn open(&mut self, id: u16) -> &mut Request {
        if self.requests.len() >= MAX_REQUESTS
            && let Some(oldest) = self
                .requests
                .iter()
                .min_by_key(|(_, request)| request.number)
                .map(|(id, _)| *id)
        {
            self.requests.remove(&oldest);
        }
        self.uses += 1;
        let request = Request {
            number: self.uses,
            ..Request::default()
        };
        let place = self.requests.entry(id).or_default();
        *place = request;
        place
    }

    fn named_request(&mut self, id: u16, found: &Contiguous, ends: Ends) -> Box<Message> {
        let request = self.open(id);
        request.named = true;
        let mut message = Message::new(Class::Request, Pairing::Id(request.number), ends);
        params::describe(&mut message, &found.bytes, found.whole);
        message
    }

    /// Parameters apart from their request's record: between those of other requests, or too many for one look.
    fn params(&mut self, record: Record, bytes: &[u8]) -> Step {
        let consumed = record.whole_bytes();
        let Some(content) = bytes.get(HEADER_BYTES..HEADER_BYTES + record.content_bytes) else {
            return Step::NeedMore;
        };
        let Some(request) = self
            .requests
            .get_mut(&record.request)
            .filter(|request| !request.named)
        else {
            return Step::Skip(consumed as u64);
        };
        if record.content_bytes > 0 {
            let room = MAX_PARAMS_BYTES - request.params.len();
            request
                .params
                .extend_from_slice(&content[..content.len().min(room)]);
            return Step::Skip(consumed as u64);
        }
        let params = std::mem::take(&mut request.params);
        request.named = true;
        let mut message = Message::new(Class::Request, Pairing::Id(request.number), Ends::Later);
        params::describe(&mut message, &params, params.len() < MAX_PARAMS_BYTES);
        self.rest[Side::Client as usize] = (consumed - HEADER_BYTES) as u64;
        Step::Message {
            consumed: HEADER_BYTES,
            message,
        }
    }

    fn request_end(&mut self, record: Record) -> Step {
        match self.requests.get(&record.request) {
            Some(request) => {
                let end = End {
                    id: Some(request.number),
                    ..End::default()
                };
                self.rest[Side::Client as usize] = (record.whole_bytes() - HEADER_BYTES) as u64;
                Step::End {
                    consumed: HEADER_BYTES,
                    end: Box::new(end),
                }
            }
            None => Step::Skip(record.whole_bytes() as u64),
        }
    }

    fn stdout(&mut self, record: Record, bytes: &[u8]) -> Step {
        let content = &bytes[HEADER_BYTES..];
        let whole = content.len() >= record.content_bytes || content.len() >= MAX_HEADERS_BYTES;
        let answered = self
            .requests
            .get(&record.request)
            .is_none_or(|request| request.answered);
        if answered {
            return Step::Skip(record.whole_bytes() as u64);
        }
        let content = &content[..content.len().min(record.content_bytes)];
        match self.response(record, content, whole) {
            Some(message) => {
                self.rest[Side::Server as usize] = (record.whole_bytes() - HEADER_BYTES) as u64;
                Step::Message {
                    consumed: HEADER_BYTES,
                    message,
                }
            }
            None => Step::NeedMore,
        }
    }

    /// The response that begins with these headers; `None` where their end must be waited for.
    fn response(&mut self, record: Record, content: &[u8], whole: bool) -> Option<Box<Message>> {
        let status = params::status(content, whole)?;
        let request = self
            .requests
            .get_mut(&record.request)
            .filter(|request| !request.answered)?;
        request.answered = true;
        let mut message = Message::new(Class::Response, Pairing::Id(request.number), Ends::Later);
        if status.starts_with('5') {
            message.outcome = Outcome::Error(CompactString::default());
        }
        message.status = status;
        Some(message)
    }

    fn response_end(&mut self, record: Record, bytes: &[u8]) -> Step {
        let Some(body) = bytes.get(HEADER_BYTES..HEADER_BYTES + record.content_bytes) else {
            return Step::NeedMore;
        };
        let consumed = record.whole_bytes();
        if bytes.len() < consumed {
            return Step::NeedMore;
        }
        let Some(request) = self.requests.remove(&record.request) else {
            return Step::Consumed(consumed);
        };
        let refused = match body.get(4) {
            Some(1) => Some("CANT_MPX_CONN"),
            Some(2) => Some("OVERLOADED"),
            Some(3) => Some("UNKNOWN_ROLE"),
            _ => None,
        };
        let outcome = refused.map(|name| Outcome::Error(CompactString::const_new(name)));
        if request.answered {
            let end = End {
                id: Some(request.number),
                outcome,
                ..End::default()
            };
            return Step::End {
                consumed,
                end: Box::new(end),
            };
        }
        let mut message = Message::new(Class::Response, Pairing::Id(request.number), Ends::Here);
        message.status = CompactString::const_new(refused.unwrap_or(""));
        message.outcome = outcome.unwrap_or_default();
        Step::Message { consumed, message }
    }
}

#[cfg(test)]
mod tests;
