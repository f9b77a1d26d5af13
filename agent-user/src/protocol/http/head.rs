//! Heads: start line and header fields become a message and the framing of what follows.

use std::mem::MaybeUninit;

use compact_str::{CompactString, format_compact};
use httparse::{ParserConfig, Status};

use super::Asked;
use super::fields::{ContentLength, RequestFields, ResponseFields, Transfer, has_token};
use super::plain::Lines;
use super::{cut, line};
use crate::protocol::reader::{lossy_text, text};
use crate::protocol::refine::Refiner;
use crate::protocol::{Attributes, Class, Ends, Message, Next, Outcome, Pairing, Protocol, Value, redaction};

/// More header fields than this are a malformed head; Apache and nginx stop at 100.
pub(super) const MAX_FIELDS: usize = 192;

/// Longer attribute values and targets are cut here.
const MAX_TEXT_BYTES: usize = 4 << 10;

pub(super) enum Parsed<T> {
    /// A head of so many bytes.
    Head(T, usize),
    Partial,
    Malformed,
}

pub(super) struct RequestHead {
    pub(super) message: Box<Message>,
    pub(super) framing: Framing,
    pub(super) asked: Asked,
    /// The body comes only if the server wants it.
    pub(super) expects: bool,
    /// What is to look at the body.
    pub(super) refiner: Option<Box<Refiner>>,
}

pub(super) struct ResponseHead {
    pub(super) message: Box<Message>,
    pub(super) framing: Framing,
    pub(super) hand_over: Option<Next>,
    pub(super) content_type: ContentType,
}

/// The first bytes of a media type. Few responses are asked for it: text would cost more.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContentType {
    bytes: [u8; 64],
    length: u8,
}

impl ContentType {
    fn of(value: &[u8]) -> Self {
        let mut bytes = [0; 64];
        let length = value.len().min(bytes.len());
        bytes[..length].copy_from_slice(&value[..length]);
        Self {
            bytes,
            length: length as u8,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
    /// The RFC forbids to read on: contradicting lengths, or a transfer coding that cannot delimit a request.
    Faulty,
}

/// Reads a request head. A `cut` one is read as far as it goes: its last line counts only where it is whole, but for a
/// request line whose method is known.
pub(super) fn request(bytes: &[u8], cut: bool) -> Parsed<RequestHead> {
    plain_request(bytes).unwrap_or_else(|| any_request(bytes, cut))
}

/// A whole head of the plain shape.
fn plain_request(bytes: &[u8]) -> Option<Parsed<RequestHead>> {
    let mut lines = Lines::new(bytes);
    let line = lines.request_line()?;
    let mut fields = RequestFields::default();
    lines
        .fields(RequestFields::SHORTEST, RequestFields::wants, |name, value| {
            fields.see(name, value)
        })
        .then(|| {
            let head = request_head(line.method, line.target, line.version_1_0, fields);
            Parsed::Head(head, lines.length())
        })
}

fn any_request(bytes: &[u8], cut: bool) -> Parsed<RequestHead> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let mut config = ParserConfig::default();
    config.ignore_invalid_headers_in_requests(true);
    match config.parse_request_with_uninit_headers(&mut request, bytes, &mut headers) {
        Ok(Status::Complete(length)) => {
            let mut fields = RequestFields::default();
            for header in &*request.headers {
                fields.see(header.name.as_bytes(), header.value);
            }
            let (method, target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
            let head = request_head(method, target, request.version == Some(0), fields);
            Parsed::Head(head, length)
        }
        Ok(Status::Partial) if cut => cut::request(bytes),
        Ok(Status::Partial) => Parsed::Partial,
        Err(_) => match line::without_spaces(bytes) {
            None => Parsed::Malformed,
            Some((whole, [there, here])) => match any_request(&whole, cut) {
                Parsed::Head(head, length) => Parsed::Head(head, length - there + here),
                other => other,
            },
        },
    }
}

/// Reads a response head, given what it answers.
pub(super) fn response(bytes: &[u8], asked: Asked, cut: bool) -> Parsed<ResponseHead> {
    plain_response(bytes, asked).unwrap_or_else(|| any_response(bytes, asked, cut))
}

/// A whole head of the plain shape.
fn plain_response(bytes: &[u8], asked: Asked) -> Option<Parsed<ResponseHead>> {
    let mut lines = Lines::new(bytes);
    let line = lines.status_line()?;
    let mut fields = ResponseFields::default();
    lines
        .fields(ResponseFields::SHORTEST, ResponseFields::wants, |name, value| {
            fields.see(name, value)
        })
        .then(|| {
            let head = response_head(line.code, line.version_1_0, &fields, asked);
            Parsed::Head(head, lines.length())
        })
}

fn any_response(bytes: &[u8], asked: Asked, cut: bool) -> Parsed<ResponseHead> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let mut config = ParserConfig::default();
    config
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .ignore_invalid_headers_in_responses(true);
    match config.parse_response_with_uninit_headers(&mut response, bytes, &mut headers) {
        Ok(Status::Complete(length)) => {
            let mut fields = ResponseFields::default();
            for header in &*response.headers {
                fields.see(header.name.as_bytes(), header.value);
            }
            let code = response.code.unwrap_or(0);
            let head = response_head(code, response.version == Some(0), &fields, asked);
            Parsed::Head(head, length)
        }
        Ok(Status::Partial) if cut => cut::response(bytes, asked),
        Ok(Status::Partial) => Parsed::Partial,
        Err(_) => Parsed::Malformed,
    }
}

pub(super) fn request_head(
    method: &str,
    target: &str,
    version_1_0: bool,
    fields: RequestFields<'_>,
) -> RequestHead {
    let mut message = Message::new(Class::Request, Pairing::InOrder, Ends::Here);
    message.operation = CompactString::new(method);
    message.attributes.reserve_exact(6);
    let RequestFields {
        host,
        upgrade,
        upgrades,
        user_agent,
        content_type,
        length,
        transfer,
        expects,
        context,
    } = fields;
    if let Some(user_agent) = user_agent {
        set_text(&mut message.attributes, "user_agent.original", user_agent);
    }
    let asked = match method {
        "HEAD" => Asked::Head,
        "CONNECT" => Asked::Connect,
        _ if upgrades && has_token(upgrade, "h2c") => Asked::UpgradeHttp2,
        _ if upgrades && !upgrade.is_empty() => Asked::Upgrade,
        _ => Asked::Plain,
    };
    if !line::is_known_method(method) {
        message.attributes.push((
            "http.request.method",
            Value::Text(CompactString::const_new("_OTHER")),
        ));
        set_text(
            &mut message.attributes,
            "http.request.method_original",
            method.as_bytes(),
        );
    }
    let authority = set_target(&mut message, target, asked);
    let authority = authority.filter(|authority| !authority.is_empty());
    match (authority, text(host)) {
        (Some(authority), _) | (None, Some(authority)) => set_authority(&mut message.attributes, authority),
        (None, None) => set_authority(&mut message.attributes, &String::from_utf8_lossy(host)),
    }
    message.context = context.finish();
    let framing = match (transfer, length) {
        _ if asked == Asked::Connect => Framing::None,
        (Transfer::Chunked, _) => Framing::Chunked,
        (Transfer::Other, _) | (_, ContentLength::Faulty) => Framing::Faulty,
        (Transfer::None, ContentLength::Bytes(bytes)) => Framing::Length(bytes),
        (Transfer::None, ContentLength::None) => Framing::None,
    };
    let framing = if version_1_0 {
        framing.of_version_1_0()
    } else {
        framing
    };
    let refiner = Refiner::of_request(&mut message, content_type).filter(|_| framing != Framing::None);
    message.attributes.push(version(version_1_0));
    RequestHead {
        message,
        framing,
        asked,
        expects,
        refiner,
    }
}

fn response_head(code: u16, version_1_0: bool, fields: &ResponseFields<'_>, asked: Asked) -> ResponseHead {
    let mut message = Message::new(Class::Response, Pairing::InOrder, Ends::Here);
    message.status = match code {
        200 => CompactString::const_new("200"),
        404 => CompactString::const_new("404"),
        _ => format_compact!("{code:03}"),
    };
    if code >= 500 {
        message.outcome = Outcome::Error(CompactString::default());
    }
    let ResponseFields {
        upgrade,
        content_type,
        length,
        transfer,
    } = *fields;
    let hand_over = match (code, asked) {
        (101, Asked::UpgradeHttp2) if upgrade.is_empty() => Some(Next::Protocol(Protocol::Http2)),
        (101, _) => Some(upgraded_to(upgrade)),
        (200..=299, Asked::Connect) => Some(Next::Detect),
        _ => None,
    };
    if code < 200 && (code != 101 || hand_over == Some(Next::Protocol(Protocol::Http2))) {
        // After an upgrade to HTTP/2 the answer proper comes in that.
        message.class = Class::Interim;
    }
    if hand_over == Some(Next::Protocol(Protocol::WebSocket)) {
        message.refined = Some(Protocol::WebSocket);
    }
    let framing = match (transfer, length) {
        _ if code < 200 || matches!(code, 204 | 304) || asked == Asked::Head || hand_over.is_some() => {
            Framing::None
        }
        (Transfer::Chunked, _) => Framing::Chunked,
        (Transfer::Other, _) | (Transfer::None, ContentLength::None) => Framing::UntilClose,
        (Transfer::None, ContentLength::Bytes(bytes)) => Framing::Length(bytes),
        (Transfer::None, ContentLength::Faulty) => Framing::Faulty,
    };
    let framing = if version_1_0 {
        framing.of_version_1_0()
    } else {
        framing
    };
    ResponseHead {
        message,
        framing,
        hand_over,
        content_type: ContentType::of(content_type),
    }
}

fn upgraded_to(upgrade: &[u8]) -> Next {
    if has_token(upgrade, "h2c") {
        return Next::Protocol(Protocol::Http2);
    }
    if has_token(upgrade, "websocket") {
        return Next::Protocol(Protocol::WebSocket);
    }
    if has_token(upgrade, "tls/1.0") || has_token(upgrade, "tls/1.2") {
        Next::Opaque
    } else {
        Next::Detect
    }
}

impl Framing {
    /// HTTP/1.0 knows no transfer codings; RFC 9112 section 6.1 calls the framing faulty.
    fn of_version_1_0(self) -> Self {
        if self == Self::Chunked { Self::Faulty } else { self }
    }
}

/// Sets path and query of any form of request target (RFC 9112 section 3.2); the authority of those that carry one.
fn set_target<'a>(message: &mut Message, target: &'a str, asked: Asked) -> Option<&'a str> {
    let absolute = if target.starts_with('/') {
        None
    } else {
        target.split_once("://")
    };
    let (authority, local) = match absolute {
        _ if asked == Asked::Connect => (Some(redaction::without_userinfo(target)), ""),
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            set_text(&mut message.attributes, "url.scheme", scheme.as_bytes());
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            (Some(redaction::without_userinfo(&rest[..end])), &rest[end..])
        }
        _ => (None, target),
    };
    match authority {
        Some(authority) if asked == Asked::Connect => message.target = bounded(authority),
        Some(_) if !local.starts_with('/') => set_path(message, &format!("/{local}")),
        _ => set_path(message, local),
    }
    authority
}

/// The target is the path; the query is an attribute, redacted. A fragment does not belong here and is dropped.
pub(in crate::protocol) fn set_path(message: &mut Message, local: &str) {
    // Of both, the first one counts: a fragment may hold a question mark, and a path neither.
    let end = memchr::memchr2(b'?', b'#', local.as_bytes()).unwrap_or(local.len());
    let (path, rest) = local.split_at(end);
    let query = rest.strip_prefix('?').unwrap_or_default();
    let query = split_at(query, b'#').map_or(query, |(query, _)| query);
    message.target = bounded(path);
    if !query.is_empty() {
        set_text(
            &mut message.attributes,
            "url.query",
            redaction::query(query).as_bytes(),
        );
    }
}

/// `server.address` and `server.port` of an authority; nothing where it is empty.
pub(in crate::protocol) fn set_authority(attributes: &mut Attributes, authority: &str) {
    let colon = authority.bytes().rposition(|byte| matches!(byte, b':' | b']'));
    let (host, port) = match colon {
        Some(place) if authority.as_bytes()[place] == b':' => {
            (&authority[..place], authority[place + 1..].parse::<u16>().ok())
        }
        _ => (authority, None),
    };
    let host = if host.starts_with('[') {
        host.trim_start_matches('[').trim_end_matches(']')
    } else {
        host
    };
    if host.is_empty() {
        return;
    }
    attributes.push(("server.address", Value::Text(bounded(host))));
    if let Some(port) = port {
        attributes.push(("server.port", Value::Int(i64::from(port))));
    }
}

/// `split_once` for an ASCII character; every request goes through it several times.
fn split_at(text: &str, ascii: u8) -> Option<(&str, &str)> {
    memchr::memchr(ascii, text.as_bytes()).map(|place| (&text[..place], &text[place + 1..]))
}

pub(super) const VERSION: &str = "network.protocol.version";

fn version(is_1_0: bool) -> (&'static str, Value) {
    let text = if is_1_0 { "1.0" } else { "1.1" };
    (VERSION, Value::Text(CompactString::const_new(text)))
}

pub(in crate::protocol) fn set_text(attributes: &mut Attributes, name: &'static str, value: &[u8]) {
    let value = &value[..value.len().min(MAX_TEXT_BYTES)];
    attributes.push((name, Value::Text(lossy_text(value))));
}

fn bounded(text: &str) -> CompactString {
    match text.floor_char_boundary(MAX_TEXT_BYTES) {
        end if end < text.len() => format_compact!("{}…", &text[..end]),
        _ => CompactString::new(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told<T>(parsed: Parsed<T>, tell: impl FnOnce(T) -> String) -> String {
        match parsed {
            Parsed::Head(head, length) => format!("{length} {}", tell(head)),
            Parsed::Partial => "partial".to_owned(),
            Parsed::Malformed => "malformed".to_owned(),
        }
    }

    fn request_told(parsed: Parsed<RequestHead>) -> String {
        told(parsed, |head| {
            format!("{:?} {:?} {:?}", head.message, head.framing, head.asked)
        })
    }

    fn response_told(parsed: Parsed<ResponseHead>) -> String {
        told(parsed, |head| {
            format!(
                "{:?} {:?} {:?} {:?}",
                head.message, head.framing, head.hand_over, head.content_type
            )
        })
    }

    fn check(bytes: &[u8]) -> (bool, bool) {
        let (request, response) = (plain_request(bytes), plain_response(bytes, Asked::Plain));
        let plain = (request.is_some(), response.is_some());
        if let Some(request) = request {
            assert_eq!(request_told(request), request_told(any_request(bytes, false)));
        }
        if let Some(response) = response {
            let any = any_response(bytes, Asked::Plain, false);
            assert_eq!(response_told(response), response_told(any));
        }
        plain
    }

    #[test]
    fn usual_heads_are_of_the_plain_shape() {
        let fields = "Host: a:80\r\nUser-Agent:x\r\nContent-Length: 5\r\ntraceparent: \
            00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nX-Empty:\r\n\r\nbody";
        assert_eq!(
            check(format!("GET /a?b=c HTTP/1.1\r\n{fields}").as_bytes()),
            (true, false)
        );
        assert_eq!(
            check(format!("HTTP/1.0 404 Not Found\r\n{fields}").as_bytes()),
            (false, true)
        );
        assert_eq!(check(b"HTTP/1.1 200\r\n\r\n"), (false, true));
    }

    #[test]
    fn fields_up_to_the_limit_and_not_beyond() {
        for (count, plain) in [(MAX_FIELDS, true), (MAX_FIELDS + 1, false)] {
            let fields = "A: b\r\n".repeat(count);
            assert_eq!(
                check(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes()).0,
                plain
            );
            assert_eq!(
                check(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes()).1,
                plain
            );
        }
    }

    proptest! {
        /// Pieces of heads in any order, with any byte changed.
        #[test]
        fn what_is_read_quickly_is_read_alike(
            start in prop::sample::select(vec![
                "GET / HTTP/1.1\r\n", "POST /a?b#c HTTP/1.0\r\n", "CONNECT a:1 HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n",
                "HTTP/1.1 101 \r\n", "HTTP/1.0 500\r\n", "GET http://a/b HTTP/1.1\r\n", "BREW / HTTP/1.1\r\n", "GET  / HTTP/1.1\r\n",
            ]),
            lines in prop::collection::vec(prop::sample::select(vec![
                "Host: a:80\r\n", "Host : b\r\n", "content-length: 12\r\n", "Content-Length: 12, 12\r\n", "Content-Length:\r\n",
                "Content-Length : 3\r\n", "Transfer-Encoding: gzip, chunked \r\n", "Connection: upgrade\r\n", "Upgrade: h2c\r\n",
                "Upgrade:  websocket\r\n", " folded\r\n", "\tfolded\r\n", "no colon\r\n", ": no name\r\n", "A: b\n", "A: b\rc\r\n",
                "User-Agent: \u{7f}\r\n", "User-Agent: é\r\n", "Content-Type: application/json\r\n", "X-Request-ID: 0123456789\r\n",
                "b3: 0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331\r\n", "H@st: x\r\n", "\r\n",
            ]), 0..8),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut bytes = [start, &lines.concat(), "\r\n"].concat().into_bytes();
            for (place, byte) in changes {
                *place.get_mut(&mut bytes) = byte;
            }
            check(&bytes);
        }
    }
}
