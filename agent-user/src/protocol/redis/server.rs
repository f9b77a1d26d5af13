//! Replies, and what the server says unasked.

use compact_str::CompactString;

use super::command::Answering;
use super::frame::{self, Element, Head};
use super::{Pending, Redis};
use crate::protocol::reader::lossy_text;
use crate::protocol::{
    Attributes, Class, End, Ends, Intent, LostReason, Message, Next, Outcome, Pairing, Step, Value,
};

const DEPTH_MAX: usize = 32;
const STATUS_MAX_BYTES: usize = 32;
const TEXT_MAX_BYTES: usize = 240;

/// The reply under way.
#[derive(Default)]
pub(super) struct Reply {
    /// Elements still due at each open level; `None` for one that ends with a mark.
    open: Vec<Option<u64>>,
    /// It answers a command: its end is to be told.
    reported: bool,
    bytes: u64,
    /// Bytes are missing from it, and where it ends is not known.
    pub(super) lost: bool,
    /// The client went on after that: it has ended.
    pub(super) over: bool,
}

/// Whether a reply is wholly at hand, and how long it is.
enum Whole {
    Yes(usize),
    No,
    Malformed,
    TooDeep,
}

impl Redis {
    pub(super) fn reply(&mut self, bytes: &[u8]) -> Step {
        if self.reply.over {
            self.reply = Reply::default();
            return Step::Unseen { id: None };
        }
        if bytes.is_empty() {
            // A string that was skipped may have been the last element.
            return if self.reply.reported && self.reply.open.is_empty() && !self.reply.lost {
                self.end_reply(0)
            } else {
                Step::NeedMore
            };
        }
        if self.reply.lost {
            self.reply.bytes += bytes.len() as u64;
            return Step::Consumed(bytes.len());
        }
        if !self.reply.open.is_empty() {
            return self.elements(bytes);
        }
        if self.reply.reported {
            return self.end_reply(0);
        }
        if self.replicating {
            return Step::HandOver {
                consumed: 0,
                to: Next::Opaque,
            };
        }
        let head = match frame::head(bytes) {
            None => return Step::NeedMore,
            Some(None) => return self.lost(LostReason::Malformed),
            Some(Some(head)) => head,
        };
        match head.element {
            Element::Aggregate { kind: b'|', elements } => self.open_aggregate(head.bytes, elements),
            Element::Aggregate {
                kind: kind @ (b'>' | b'*'),
                ..
            } if kind == b'>' || self.may_be_push() => self.push_or_reply(bytes, head),
            _ => self.answer(bytes, head),
        }
    }

    fn may_be_push(&self) -> bool {
        self.subscribed || (self.pending.is_empty() && !self.in_step)
    }

    /// RESP3 push, or a RESP2 array where messages may arrive.
    fn push_or_reply(&mut self, bytes: &[u8], head: Head<'_>) -> Step {
        let Element::Aggregate { kind, elements } = head.element else {
            return self.answer(bytes, head);
        };
        let mut words = [&b""[..]; 3];
        let mut at = head.bytes;
        // Kind, channel; or kind, pattern, channel.
        for number in 0..elements.unwrap_or(0).min(3) as usize {
            if number == 2 && words[0] != b"pmessage" {
                break;
            }
            let (length, head) = match frame::head(&bytes[at..]) {
                None => return Step::NeedMore,
                Some(Some(Head {
                    element: Element::Bulk { length, .. },
                    bytes,
                })) if length <= 4_096 => (length as usize, bytes),
                Some(Some(_)) => break,
                Some(None) => return self.lost(LostReason::Malformed),
            };
            let Some(word) = bytes.get(at + head..at + head + length) else {
                return Step::NeedMore;
            };
            words[number] = word;
            at += head + length + 2;
            if at > bytes.len() {
                return Step::NeedMore;
            }
        }
        let subscription = words[0].ends_with(b"subscribe");
        if subscription {
            self.subscribed |= !words[0].starts_with(b"un");
            if self
                .pending
                .front()
                .is_some_and(|first| first.answering == Answering::Subscribing)
            {
                return self.answer(bytes, head);
            }
            return self.open_aggregate(head.bytes, elements);
        }
        let channel = match words[0] {
            b"message" | b"smessage" => words[1],
            b"pmessage" => words[2],
            _ if kind == b'>' => return self.open_aggregate(head.bytes, elements),
            _ => return self.answer(bytes, head),
        };
        self.subscribed = true;
        let mut message = Message::new(Class::OneWay, Pairing::InOrder, Ends::Later);
        message.operation = lossy_text(words[0]).to_ascii_uppercase();
        message.target = lossy_text(&channel[..channel.len().min(256)]);
        message.intent = Intent::Receive;
        self.reply.reported = true;
        self.begin(head.bytes, elements);
        Step::Message {
            consumed: head.bytes,
            message,
        }
    }

    fn begin(&mut self, head_bytes: usize, elements: Option<u64>) {
        self.reply.bytes = head_bytes as u64;
        if elements != Some(0) {
            self.reply.open.push(elements);
        }
    }

    /// An aggregate that answers nothing.
    fn open_aggregate(&mut self, head_bytes: usize, elements: Option<u64>) -> Step {
        self.begin(head_bytes, elements);
        Step::Consumed(head_bytes)
    }

    /// A reply to the oldest command that waits for one.
    fn answer(&mut self, bytes: &[u8], head: Head<'_>) -> Step {
        let whole = match whole(bytes, head) {
            Whole::Malformed => return self.lost(LostReason::Malformed),
            Whole::TooDeep => return self.lost(LostReason::Unsupported),
            Whole::Yes(consumed) => Some(consumed),
            Whole::No => None,
        };
        self.replied_since = true;
        let Some(first) = self.pending.front().copied() else {
            if self.in_step && !self.hidden_commands && !self.subscribed && !self.monitoring {
                return Step::AwaitPeer;
            }
            return self.pass(whole, head);
        };
        if !fits(first, head.element) {
            // It answers a command that was not seen.
            self.in_step = false;
            return self.pass(whole, head);
        }
        self.pending.pop_front();
        self.in_step = true;
        self.monitoring |= first.answering == Answering::Monitoring;
        self.replicating |= first.answering == Answering::Replicating;
        let mut message = Message::new(Class::Response, Pairing::InOrder, Ends::Here);
        (message.status, message.outcome) = status(head.element, bytes, head.bytes);
        message.attributes = attributes(head.element);
        let consumed = match (whole, head.element) {
            (Some(consumed), _) => {
                message.size_bytes = Some(consumed as u64);
                consumed
            }
            (_, Element::Bulk { length, .. }) => {
                message.ends = Ends::After(length + 2);
                message.size_bytes = Some(head.bytes as u64 + length + 2);
                head.bytes
            }
            (_, element) => {
                message.ends = Ends::Later;
                self.reply.reported = true;
                let elements = match element {
                    Element::Aggregate { elements, .. } => elements,
                    _ => None,
                };
                self.begin(head.bytes, elements);
                head.bytes
            }
        };
        Step::Message { consumed, message }
    }

    /// A reply without its command.
    fn pass(&mut self, whole: Option<usize>, head: Head<'_>) -> Step {
        match (whole, head.element) {
            (Some(consumed), _) => Step::Consumed(consumed),
            (_, Element::Bulk { length, .. }) => Step::Skip(head.bytes as u64 + length + 2),
            (_, Element::Aggregate { elements, .. }) => self.open_aggregate(head.bytes, elements),
            _ => self.open_aggregate(head.bytes, None),
        }
    }

    /// Elements of an aggregate whose head has passed.
    fn elements(&mut self, bytes: &[u8]) -> Step {
        let mut used = 0;
        while !self.reply.open.is_empty() && used < bytes.len() {
            let head = match frame::head(&bytes[used..]) {
                None if used > 0 => break,
                None => return Step::NeedMore,
                Some(None) => return self.lost(LostReason::Malformed),
                Some(Some(head)) => head,
            };
            let rest = (bytes.len() - used) as u64;
            let size = head.bytes as u64 + payload_bytes(head.element);
            if rest < size {
                if used > 0 {
                    break;
                }
                self.reply.bytes += size;
                self.pass_element(head.element);
                return Step::Skip(size);
            }
            if self.reply.open.len() >= DEPTH_MAX {
                return self.lost(LostReason::Unsupported);
            }
            used += size as usize;
            self.reply.bytes += size;
            self.pass_element(head.element);
        }
        if self.reply.open.is_empty() && self.reply.reported {
            return self.end_reply(used);
        }
        Step::Consumed(used)
    }

    /// Counts an element at the innermost open level, and closes what is complete with it.
    fn pass_element(&mut self, element: Element<'_>) {
        pass_element(&mut self.reply.open, element);
    }

    fn end_reply(&mut self, consumed: usize) -> Step {
        let reply = std::mem::take(&mut self.reply);
        let end = End {
            size_bytes: Some(reply.bytes),
            ..End::default()
        };
        Step::End {
            consumed,
            end: Box::new(end),
        }
    }

    // Missing bytes.

    /// Server bytes are missing. True where only one command waits for its reply, or has it under way.
    pub(super) fn lose_reply(&mut self, missing: u64) -> bool {
        let waiting = self.pending.len() + usize::from(self.reply.reported);
        if waiting != 1 || self.reply.over || self.subscribed || self.monitoring {
            return false;
        }
        self.reply.bytes += missing;
        self.reply.open.clear();
        self.reply.lost = true;
        true
    }

    /// The client sends its next command: one that waits for replies has got those that are missing here.
    pub(super) fn note_next_command(&mut self) {
        if !self.reply.lost {
            return;
        }
        if self.reply.reported {
            self.reply.over = true;
        } else {
            // Nothing of the reply was seen, and its command is not answered by what follows.
            self.unseen_reply = true;
        }
    }

    /// Reports a reply of which nothing was seen, so that later ones find their own command.
    pub(super) fn owed_reply(&mut self) -> Option<Step> {
        if !std::mem::take(&mut self.unseen_reply) {
            return None;
        }
        self.pending.pop_front()?;
        self.reply = Reply::default();
        Some(Step::Unseen { id: None })
    }
}

/// Whether an element can answer a command.
fn fits(command: Pending, element: Element<'_>) -> bool {
    let kind = match element {
        Element::Line { kind: b'-', .. }
        | Element::Line {
            kind: b'+',
            text: b"QUEUED",
        }
        | Element::Null => return true,
        Element::Bulk { kind: b'!', .. } => return true,
        Element::Line { kind, .. } | Element::Bulk { kind, .. } | Element::Aggregate { kind, .. } => kind,
        Element::StreamedString => b'$',
        Element::EndMark => return false,
    };
    command.reply_types.is_empty() || command.reply_types.contains(&kind)
}

fn payload_bytes(element: Element<'_>) -> u64 {
    match element {
        // A stream's last chunk has no payload, nor a line's end of its own.
        Element::Bulk {
            kind: b';',
            length: 0,
        } => 0,
        Element::Bulk { length, .. } => length + 2,
        _ => 0,
    }
}

fn pass_element(open: &mut Vec<Option<u64>>, element: Element<'_>) {
    let opens = match element {
        Element::EndMark
        | Element::Bulk {
            kind: b';',
            length: 0,
        } => {
            open.pop();
            None
        }
        // Chunks of a streamed string end with an empty one.
        Element::Bulk { kind: b';', .. } => return,
        Element::Aggregate { kind: b'|', elements } => {
            // Attributes come before the element they describe, and do not count.
            if elements != Some(0) {
                open.push(elements);
                if let Some(outer) = open.len().checked_sub(2).and_then(|outer| open[outer].as_mut()) {
                    *outer += 1;
                }
            }
            return;
        }
        Element::Aggregate { elements, .. } => Some(elements),
        Element::StreamedString => Some(None),
        _ => None,
    };
    match opens {
        Some(elements) if elements != Some(0) => open.push(elements),
        _ => {
            while let Some(innermost) = open.last_mut() {
                let Some(left) = innermost else { return };
                *left = left.saturating_sub(1);
                if *left > 0 {
                    return;
                }
                open.pop();
            }
        }
    }
}

/// Whether a reply is wholly at hand.
fn whole(bytes: &[u8], first: Head<'_>) -> Whole {
    let mut open = Vec::new();
    let mut head = first;
    let mut at = 0;
    loop {
        let size = head.bytes as u64 + payload_bytes(head.element);
        if ((bytes.len() - at) as u64) < size {
            return Whole::No;
        }
        at += size as usize;
        match head.element {
            Element::Bulk {
                kind: b'$' | b'!' | b'=',
                ..
            } if &bytes[at - 2..at] != b"\r\n" => return Whole::Malformed,
            Element::Line { .. } | Element::Bulk { .. } | Element::Null if open.is_empty() => {
                return Whole::Yes(at);
            }
            Element::Aggregate {
                elements: Some(0), ..
            } if open.is_empty() => return Whole::Yes(at),
            Element::EndMark if open.is_empty() => return Whole::Malformed,
            element => pass_element(&mut open, element),
        }
        if open.is_empty() {
            return Whole::Yes(at);
        }
        if open.len() > DEPTH_MAX {
            return Whole::TooDeep;
        }
        match frame::head(&bytes[at..]) {
            None => return Whole::No,
            Some(None) => return Whole::Malformed,
            Some(Some(next)) => head = next,
        }
    }
}

fn status(element: Element<'_>, bytes: &[u8], head_bytes: usize) -> (CompactString, Outcome) {
    match element {
        Element::Line { kind: b'-', text } => error(text),
        Element::Bulk { kind: b'!', length } => {
            let end = (head_bytes + length as usize).min(bytes.len());
            error(&bytes[head_bytes..end])
        }
        Element::Line { kind: b'+', text } => {
            (lossy_text(&text[..text.len().min(STATUS_MAX_BYTES)]), Outcome::Ok)
        }
        Element::Null => (CompactString::const_new("nil"), Outcome::Ok),
        _ => (CompactString::default(), Outcome::Ok),
    }
}

/// `CODE text`: the text without what it quotes of a command's arguments.
fn error(text: &[u8]) -> (CompactString, Outcome) {
    let text = String::from_utf8_lossy(&text[..text.len().min(TEXT_MAX_BYTES)]);
    let (code, message) = text.split_once(' ').unwrap_or((&text, ""));
    let message = message
        .split(", with args beginning with")
        .next()
        .unwrap_or_default();
    let is_code = code.len() <= STATUS_MAX_BYTES
        && code
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (
        CompactString::from(if is_code { code } else { "ERR" }),
        Outcome::Error(message.into()),
    )
}

fn attributes(element: Element<'_>) -> Attributes {
    match element {
        Element::Aggregate {
            kind: b'*' | b'~',
            elements: Some(count),
        } => {
            vec![("db.response.returned_rows", Value::Int(count as i64))]
        }
        _ => Attributes::new(),
    }
}
