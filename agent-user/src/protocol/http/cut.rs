//! Heads whose end will not be seen.
//!
//! Enters: the beginning of a head. Leaves: what its whole lines say; of a request at least method and target, where they are
//! known. Bounded: one copy of a head. Deliberately absent: where the body begins, and how it ends.

use super::Asked;
use super::fields::RequestFields;
use super::head::{self, Framing, Parsed, RequestHead, ResponseHead};
use super::line::{known_method, split_at_space};

/// What is there of a head whose end is missing says nothing about the body: it ends here, and the place is lost.
pub(super) fn response(bytes: &[u8], asked: Asked) -> Parsed<ResponseHead> {
    closed_off(bytes, |whole| match head::response(whole, asked, false) {
        Parsed::Head(mut head, _) => {
            head.framing = Framing::None;
            Parsed::Head(head, bytes.len())
        }
        other => other,
    })
}

pub(super) fn request(bytes: &[u8]) -> Parsed<RequestHead> {
    if memchr::memchr(b'\n', bytes).is_some() {
        return closed_off(bytes, |whole| match head::request(whole, false) {
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
    let known = known_method(method).is_some();
    let (target, _) = split_at_space(rest).unwrap_or((rest, b""));
    if !known || target.is_empty() {
        return Parsed::Partial;
    }
    let target = String::from_utf8_lossy(target);
    let method = String::from_utf8_lossy(method);
    let mut head = head::request_head(&method, &target, false, RequestFields::default());
    // Its version was not seen.
    head.message.attributes.retain(|(name, _)| *name != head::VERSION);
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
