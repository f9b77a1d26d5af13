//! Heads: start line and header fields become a message and the framing of what follows.

use std::mem::MaybeUninit;

use compact_str::CompactString;
use httparse::{Header, ParserConfig, Status};

use super::Asked;
use super::line::{is_known_method, split_at_space};
use crate::protocol::context::ContextReader;
use crate::protocol::reader::lossy_text;
use crate::protocol::refine::Refiner;
use crate::protocol::{Attributes, Class, Ends, Message, Next, Outcome, Pairing, Protocol, Value, redaction};

/// More header fields than this are a malformed head; Apache and nginx stop at 100.
const MAX_FIELDS: usize = 192;

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
    /// What is to look at the body.
    pub(super) refiner: Option<Box<Refiner>>,
}

pub(super) struct ResponseHead {
    pub(super) message: Box<Message>,
    pub(super) framing: Framing,
    pub(super) hand_over: Option<Next>,
    pub(super) content_type: CompactString,
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
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let mut config = ParserConfig::default();
    config.ignore_invalid_headers_in_requests(true);
    match config.parse_request_with_uninit_headers(&mut request, bytes, &mut fields) {
        Ok(Status::Complete(length)) => {
            let mut head = request_head(
                request.method.unwrap_or(""),
                request.path.unwrap_or(""),
                request.headers,
            );
            if request.version == Some(0) {
                head.framing = head.framing.of_version_1_0();
            }
            head.message.attributes.push(version(request.version));
            Parsed::Head(head, length)
        }
        Ok(Status::Partial) if cut => cut_request(bytes),
        Ok(Status::Partial) => Parsed::Partial,
        Err(_) => Parsed::Malformed,
    }
}

/// Reads a response head, given what it answers.
pub(super) fn response(bytes: &[u8], asked: Asked, cut: bool) -> Parsed<ResponseHead> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let mut config = ParserConfig::default();
    config
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true);
    match config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields) {
        Ok(Status::Complete(length)) => {
            let code = response.code.unwrap_or(0);
            Parsed::Head(
                response_head(code, response.version == Some(0), response.headers, asked),
                length,
            )
        }
        Ok(Status::Partial) if cut => closed_off(bytes, |whole| match response_of_cut(whole, asked) {
            Parsed::Head(head, _) => Parsed::Head(head, bytes.len()),
            other => other,
        }),
        Ok(Status::Partial) => Parsed::Partial,
        Err(_) => Parsed::Malformed,
    }
}

/// What is there of a head whose end is missing says nothing about the body: it ends here, and the place is lost.
fn response_of_cut(whole: &[u8], asked: Asked) -> Parsed<ResponseHead> {
    match response(whole, asked, false) {
        Parsed::Head(mut head, length) => {
            head.framing = Framing::None;
            Parsed::Head(head, length)
        }
        other => other,
    }
}

fn cut_request(bytes: &[u8]) -> Parsed<RequestHead> {
    if memchr::memchr(b'\n', bytes).is_some() {
        return closed_off(bytes, |whole| match request(whole, false) {
            Parsed::Head(mut head, _) => {
                head.framing = Framing::None;
                Parsed::Head(head, bytes.len())
            }
            other => other,
        });
    }
    let Some((method, rest)) = split_at_space(bytes) else {
        return Parsed::Partial;
    };
    let known = std::str::from_utf8(method).is_ok_and(is_known_method);
    let (target, _) = split_at_space(rest).unwrap_or((rest, b""));
    if !known || target.is_empty() {
        return Parsed::Partial;
    }
    let target = String::from_utf8_lossy(target);
    let mut head = request_head(&String::from_utf8_lossy(method), &target, &[]);
    if !target.contains(['?', '#']) {
        let seen = if target.contains("://") && target.matches('/').count() < 3 {
            ""
        } else {
            &head.message.target
        };
        head.message.target = compact_str::format_compact!("{seen}…");
    }
    head.framing = Framing::None;
    Parsed::Head(head, bytes.len())
}

/// Shows `read` the whole lines of a cut-off head with an end behind them.
fn closed_off<T>(bytes: &[u8], read: impl FnOnce(&[u8]) -> Parsed<T>) -> Parsed<T> {
    let Some(newline) = memchr::memrchr(b'\n', bytes) else {
        return Parsed::Partial;
    };
    let mut whole = Vec::with_capacity(newline + 3);
    whole.extend_from_slice(&bytes[..=newline]);
    whole.extend_from_slice(b"\r\n");
    read(&whole)
}

fn request_head(method: &str, target: &str, fields: &[Header<'_>]) -> RequestHead {
    let mut message = Message::new(Class::Request, Pairing::InOrder, Ends::Here);
    message.operation = CompactString::new(method);
    message.attributes.reserve_exact(6);
    let mut context = ContextReader::default();
    let mut length = ContentLength::default();
    let mut transfer = Transfer::default();
    let (mut host, mut content_type): (&[u8], &[u8]) = (b"", b"");
    let (mut upgrade, mut upgrades): (&[u8], bool) = (b"", false);
    for field in fields {
        let (name, value) = (field.name.as_bytes(), field.value);
        match name.len() {
            4 if is(name, "host") => host = value,
            7 if is(name, "upgrade") => upgrade = value,
            10 if is(name, "connection") => upgrades |= has_token(value, "upgrade"),
            10 if is(name, "user-agent") => set_text(&mut message.attributes, "user_agent.original", value),
            12 if is(name, "content-type") => content_type = value,
            14 if is(name, "content-length") => length.see(value),
            17 if is(name, "transfer-encoding") => transfer.see(value),
            _ => context.see(name, value),
        }
    }
    let asked = match method {
        "HEAD" => Asked::Head,
        "CONNECT" => Asked::Connect,
        _ if upgrades && has_token(upgrade, "h2c") => Asked::UpgradeHttp2,
        _ if upgrades && !upgrade.is_empty() => Asked::Upgrade,
        _ => Asked::Plain,
    };
    if !is_known_method(method) {
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
    set_authority(
        &mut message.attributes,
        authority.unwrap_or(&String::from_utf8_lossy(host)),
    );
    message.context = context.finish();
    let framing = match (transfer, length) {
        _ if asked == Asked::Connect => Framing::None,
        (Transfer::Chunked, _) => Framing::Chunked,
        (Transfer::Other, _) | (_, ContentLength::Faulty) => Framing::Faulty,
        (Transfer::None, ContentLength::Bytes(bytes)) => Framing::Length(bytes),
        (Transfer::None, ContentLength::None) => Framing::None,
    };
    let refiner = Refiner::of_request(&mut message, content_type).filter(|_| framing != Framing::None);
    RequestHead {
        message,
        framing,
        asked,
        refiner,
    }
}

fn response_head(code: u16, version_1_0: bool, fields: &[Header<'_>], asked: Asked) -> ResponseHead {
    let mut message = Message::new(Class::Response, Pairing::InOrder, Ends::Here);
    let digits = [
        b'0' + (code / 100 % 10) as u8,
        b'0' + (code / 10 % 10) as u8,
        b'0' + (code % 10) as u8,
    ];
    message.status = lossy_text(&digits);
    if code >= 500 {
        message.outcome = Outcome::Error(CompactString::default());
    }
    let mut length = ContentLength::default();
    let mut transfer = Transfer::default();
    let (mut upgrade, mut content_type): (&[u8], &[u8]) = (b"", b"");
    for field in fields {
        let (name, value) = (field.name.as_bytes(), field.value);
        match name.len() {
            7 if is(name, "upgrade") => upgrade = value,
            12 if is(name, "content-type") => content_type = value,
            14 if is(name, "content-length") => length.see(value),
            17 if is(name, "transfer-encoding") => transfer.see(value),
            _ => {}
        }
    }
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
    let content_type = lossy_text(&content_type[..content_type.len().min(64)]);
    ResponseHead {
        message,
        framing,
        hand_over,
        content_type,
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

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum ContentLength {
    #[default]
    None,
    Bytes(u64),
    Faulty,
}

impl ContentLength {
    /// Repeated equal values count as one (RFC 9112 section 6.3, 5.), anything else is faulty.
    fn see(&mut self, value: &[u8]) {
        for part in value.split(|byte| *byte == b',') {
            let part = part.trim_ascii();
            let digits = part.iter().all(u8::is_ascii_digit);
            let bytes = std::str::from_utf8(part)
                .ok()
                .filter(|_| digits)
                .and_then(|part| part.parse().ok());
            *self = match *self {
                Self::None => bytes.map_or(Self::Faulty, Self::Bytes),
                Self::Bytes(before) if bytes == Some(before) => Self::Bytes(before),
                Self::Bytes(_) | Self::Faulty => Self::Faulty,
            };
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Transfer {
    #[default]
    None,
    /// `chunked` is the last coding.
    Chunked,
    Other,
}

impl Transfer {
    fn see(&mut self, value: &[u8]) {
        let last = value
            .rsplit(|byte| *byte == b',')
            .next()
            .unwrap_or(value)
            .trim_ascii();
        *self = if last.eq_ignore_ascii_case(b"chunked") {
            Self::Chunked
        } else {
            Self::Other
        };
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
    let local = split_at(local, b'#').map_or(local, |(local, _)| local);
    let (path, query) = split_at(local, b'?').unwrap_or((local, ""));
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
    set_text(attributes, "server.address", host.as_bytes());
    if let Some(port) = port {
        attributes.push(("server.port", Value::Int(i64::from(port))));
    }
}

/// `split_once` for an ASCII character; every request goes through it several times.
fn split_at(text: &str, ascii: u8) -> Option<(&str, &str)> {
    memchr::memchr(ascii, text.as_bytes()).map(|place| (&text[..place], &text[place + 1..]))
}

fn version(minor: Option<u8>) -> (&'static str, Value) {
    let text = if minor == Some(0) { "1.0" } else { "1.1" };
    (
        "network.protocol.version",
        Value::Text(CompactString::const_new(text)),
    )
}

pub(in crate::protocol) fn set_text(attributes: &mut Attributes, name: &'static str, value: &[u8]) {
    let value = &value[..value.len().min(MAX_TEXT_BYTES)];
    attributes.push((name, Value::Text(lossy_text(value))));
}

fn bounded(text: &str) -> CompactString {
    match text.floor_char_boundary(MAX_TEXT_BYTES) {
        end if end < text.len() => compact_str::format_compact!("{}…", &text[..end]),
        _ => CompactString::new(text),
    }
}

fn is(name: &[u8], lower: &str) -> bool {
    name.eq_ignore_ascii_case(lower.as_bytes())
}

fn has_token(list: &[u8], token: &str) -> bool {
    list.split(|byte| *byte == b',')
        .any(|item| is(item.trim_ascii(), token))
}
