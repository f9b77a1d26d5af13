//! Commands: arrays of bulk strings, or inline lines.

use compact_str::CompactString;

use super::command::{ARGUMENT_MAX_BYTES, Arguments, HEAD_ARGUMENTS, is_name};
use super::frame::{self, Element, LINE_MAX_BYTES, number};
use super::{PENDING_MAX, Pending, Redis, Replies};
use crate::protocol::{Attributes, Class, End, Ends, Intent, LostReason, Message, Pairing, Step, Value};

/// Arguments of a command whose head was reported, still to pass.
#[derive(Default)]
pub(super) struct Tail {
    arguments: u64,
    /// Bytes of the whole command so far.
    bytes: u64,
    /// The command's end is to be told.
    open: bool,
}

/// Where a walk over a command's arguments ended.
struct Walk<'a> {
    arguments: Arguments<'a>,
    /// Arguments passed whole.
    passed: u64,
    /// Bytes passed.
    bytes: usize,
    stop: Stop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// All arguments passed.
    Complete,
    /// In the middle of a short argument or a head.
    Short,
    /// At a long argument: bytes of its head, and of the rest with its CRLF.
    Long {
        head: usize,
        rest: u64,
    },
    Malformed,
}

impl Redis {
    pub(super) fn command(&mut self, bytes: &[u8], cut: bool) -> Step {
        if self.tail.open {
            return self.tail(bytes);
        }
        match bytes.first() {
            None => Step::NeedMore,
            Some(b'*') => self.array(bytes, cut),
            Some(_) => self.inline(bytes, cut),
        }
    }

    fn array(&mut self, bytes: &[u8], cut: bool) -> Step {
        let head = match frame::head(bytes) {
            None if cut => return Step::Consumed(bytes.len()),
            None => return Step::NeedMore,
            Some(None) => return self.lost(LostReason::Malformed),
            Some(Some(head)) => head,
        };
        let count = match head.element {
            Element::Aggregate {
                elements: Some(count),
                ..
            } if count <= 1 << 20 => count,
            Element::Null => 0,
            _ => return self.lost(LostReason::Malformed),
        };
        if count == 0 {
            return Step::Consumed(head.bytes);
        }
        let walk = walk(bytes, head.bytes, count);
        if walk.arguments.get(0).is_some_and(|name| !is_name_so_far(name)) {
            return self.lost(LostReason::Malformed);
        }
        match walk.stop {
            Stop::Malformed => self.lost(LostReason::Malformed),
            Stop::Long { .. } if !walk.arguments.is_named() => self.lost(LostReason::Malformed),
            Stop::Complete => self.report(&walk.arguments, walk.bytes, Ends::Here, walk.bytes as u64),
            Stop::Long { head, rest } if walk.passed + 1 == count => {
                let consumed = walk.bytes + head;
                self.report(
                    &walk.arguments,
                    consumed,
                    Ends::After(rest),
                    consumed as u64 + rest,
                )
            }
            Stop::Short if walk.passed < HEAD_ARGUMENTS as u64 && !(cut && walk.arguments.is_named()) => {
                if cut {
                    Step::Consumed(bytes.len())
                } else {
                    Step::NeedMore
                }
            }
            Stop::Long { .. } | Stop::Short => {
                // Its head is known; the rest passes by.
                self.tail = Tail {
                    arguments: count - walk.passed,
                    bytes: walk.bytes as u64,
                    open: true,
                };
                self.report(&walk.arguments, walk.bytes, Ends::Later, 0)
            }
        }
    }

    /// Passes what is left of a command.
    fn tail(&mut self, bytes: &[u8]) -> Step {
        let mut used = 0;
        while self.tail.arguments > 0 {
            let rest = &bytes[used..];
            let (length, head) = match argument_head(rest) {
                Ok(Some(found)) => found,
                Ok(None) if used > 0 => return Step::Consumed(used),
                Ok(None) => return Step::NeedMore,
                Err(()) => return self.lost(LostReason::Malformed),
            };
            let whole = head as u64 + length + 2;
            if (rest.len() as u64) < whole && used > 0 {
                return Step::Consumed(used);
            }
            self.tail.bytes += whole;
            self.tail.arguments -= 1;
            if (rest.len() as u64) < whole {
                return Step::Skip(whole);
            }
            used += whole as usize;
        }
        self.tail.open = false;
        let end = End {
            size_bytes: Some(self.tail.bytes),
            ..End::default()
        };
        Step::End {
            consumed: used,
            end: Box::new(end),
        }
    }

    /// Client bytes are missing. True where they can be taken for the rest of the command under way.
    pub(super) fn lose_tail(&mut self, missing: u64) -> bool {
        if !self.tail.open {
            return false;
        }
        self.tail.bytes += missing;
        self.tail.arguments = 0;
        (self.hidden_commands, self.replied_since) = (true, true);
        true
    }

    fn inline(&mut self, bytes: &[u8], cut: bool) -> Step {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if bytes.len() > LINE_MAX_BYTES || !is_inline_so_far(bytes) {
                return self.lost(LostReason::Malformed);
            }
            return if cut {
                Step::Consumed(bytes.len())
            } else {
                Step::NeedMore
            };
        };
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        let mut arguments = Arguments {
            head: [None; HEAD_ARGUMENTS],
            seen: 0,
            count: 0,
            last_cut: false,
        };
        for word in line
            .split(|byte| byte.is_ascii_whitespace())
            .filter(|word| !word.is_empty())
        {
            if arguments.seen < HEAD_ARGUMENTS {
                arguments.head[arguments.seen] = Some(word).filter(|word| word.len() <= ARGUMENT_MAX_BYTES);
                arguments.seen += 1;
            }
            arguments.count += 1;
        }
        match arguments.get(0) {
            None if arguments.count == 0 => Step::Consumed(end + 1),
            Some(name) if is_name(name) => self.report(&arguments, end + 1, Ends::Here, end as u64 + 1),
            _ => self.lost(LostReason::Malformed),
        }
    }

    /// `size_bytes` is 0 where the end tells it.
    fn report(&mut self, arguments: &Arguments<'_>, consumed: usize, ends: Ends, size_bytes: u64) -> Step {
        if self.pending.len() >= PENDING_MAX {
            return self.lost(LostReason::TooLarge);
        }
        if self.hidden_commands {
            if !self.pending.is_empty() {
                // Replies to commands that were not seen may come before the one to this.
                return self.lost(LostReason::MissingState);
            }
            if !self.replied_since {
                return match ends {
                    Ends::After(rest) => Step::Skip(consumed as u64 + rest),
                    Ends::Here | Ends::Later => Step::Consumed(consumed),
                };
            }
            self.hidden_commands = false;
        }
        let operation = arguments.operation();
        let (target, key_place) = arguments.target(&operation);
        let answering = arguments.answering(&operation);
        let mut message = Message::new(Class::Request, Pairing::InOrder, ends);
        let mut attributes = Attributes::with_capacity(2);
        attributes.push((
            "db.query.text",
            Value::Text(arguments.text(&operation, &target, key_place)),
        ));
        self.follow_session(&operation, arguments);
        let database = self.database.map(usize::from);
        if let Some(digits) = database.and_then(|database| DATABASES.get(database)) {
            attributes.push(("db.namespace", Value::Text(CompactString::const_new(digits))));
        }
        message.attributes = attributes;
        message.intent = match operation.as_str() {
            "PUBLISH" | "SPUBLISH" => Intent::Publish,
            _ => Intent::Call,
        };
        message.target = target;
        message.operation = operation;
        message.size_bytes = (size_bytes > 0).then_some(size_bytes);
        if self.answered_by_nothing(&message.operation) {
            message.class = Class::OneWay;
        } else {
            self.note_next_command();
            let reply_types = super::command::reply_types(&message.operation);
            self.pending.push_back(Pending {
                answering,
                reply_types,
            });
        }
        Step::Message { consumed, message }
    }

    /// What commands change about those after them.
    fn follow_session(&mut self, operation: &str, arguments: &Arguments<'_>) {
        match operation {
            "SELECT" => {
                self.database = arguments
                    .get(1)
                    .and_then(number)
                    .and_then(|index| u8::try_from(index).ok())
            }
            "RESET" => self.database = Some(0),
            "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE" => self.subscribed = true,
            "CLIENT REPLY" => {
                self.replies = match arguments.get(2).map(<[u8]>::to_ascii_uppercase).as_deref() {
                    Some(b"OFF") => Replies::Off,
                    Some(b"SKIP") => Replies::SkipNext,
                    _ => Replies::On,
                };
            }
            _ => {}
        }
    }

    /// Whether the server was told to keep silent about a command.
    fn answered_by_nothing(&mut self, operation: &str) -> bool {
        if operation == "CLIENT REPLY" {
            return self.replies != Replies::On;
        }
        let silent = self.replies != Replies::On;
        if self.replies == Replies::SkipNext {
            self.replies = Replies::On;
        }
        silent
    }
}

const DATABASES: [&str; 16] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15",
];

/// Length of an argument and of its head.
fn argument_head(bytes: &[u8]) -> Result<Option<(u64, usize)>, ()> {
    match frame::head(bytes) {
        None => Ok(None),
        Some(Some(head)) => match head.element {
            Element::Bulk { kind: b'$', length } => Ok(Some((length, head.bytes))),
            _ => Err(()),
        },
        Some(None) => Err(()),
    }
}

fn walk(bytes: &[u8], from: usize, count: u64) -> Walk<'_> {
    let mut arguments = Arguments {
        head: [None; HEAD_ARGUMENTS],
        seen: 0,
        count,
        last_cut: false,
    };
    let mut walk_bytes = from;
    let mut passed = 0u64;
    let mut stop = Stop::Complete;
    while passed < count {
        let rest = &bytes[walk_bytes..];
        let (length, head) = match argument_head(rest) {
            Ok(Some(found)) => found,
            Ok(None) => {
                stop = Stop::Short;
                break;
            }
            Err(()) => {
                stop = Stop::Malformed;
                break;
            }
        };
        let whole = head as u64 + length + 2;
        let in_head = arguments.seen < HEAD_ARGUMENTS;
        if (rest.len() as u64) < whole {
            if length > ARGUMENT_MAX_BYTES as u64 {
                arguments.seen += usize::from(in_head);
                stop = Stop::Long {
                    head,
                    rest: length + 2,
                };
            } else {
                if in_head {
                    let shown = &rest[head..rest.len().min(head + length as usize)];
                    arguments.head[arguments.seen] = Some(shown);
                    arguments.seen += 1;
                    arguments.last_cut = shown.len() < length as usize;
                }
                stop = Stop::Short;
            }
            break;
        }
        let end = head + length as usize;
        if &rest[end..end + 2] != b"\r\n" {
            stop = Stop::Malformed;
            break;
        }
        if in_head {
            arguments.head[arguments.seen] =
                Some(&rest[head..end]).filter(|text| text.len() <= ARGUMENT_MAX_BYTES);
            arguments.seen += 1;
        }
        walk_bytes += whole as usize;
        passed += 1;
    }
    Walk {
        arguments,
        passed,
        bytes: walk_bytes,
        stop,
    }
}

fn is_name_so_far(bytes: &[u8]) -> bool {
    bytes.is_empty() || is_name(bytes)
}

pub(super) fn is_inline_so_far(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|&byte| byte >= b' ' || byte.is_ascii_whitespace())
        && bytes
            .first()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte.is_ascii_whitespace())
}

/// Whether a command may begin at the front of `bytes`.
pub(super) fn is_command_start(bytes: &[u8]) -> bool {
    if bytes.first() != Some(&b'*') {
        let word = bytes
            .split(|byte| byte.is_ascii_whitespace())
            .next()
            .unwrap_or_default();
        return memchr::memchr(b'\n', bytes).is_some() && is_name(word);
    }
    let Some(head) = frame::head(bytes) else {
        return bytes.len() > 1;
    };
    let Some(head) = head else { return false };
    let Element::Aggregate {
        elements: Some(count @ 1..),
        ..
    } = head.element
    else {
        return false;
    };
    let walk = walk(bytes, head.bytes, count);
    walk.stop != Stop::Malformed && walk.arguments.get(0).is_none_or(is_name_so_far)
}
