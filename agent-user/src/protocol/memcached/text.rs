//! The text protocol: lines, some of which announce a value.

use std::hash::{BuildHasher as _, BuildHasherDefault};

use rustc_hash::FxHasher;

use super::{Answer, Memcached, Pending, Sizes};
use crate::protocol::{Class, Ends, LostReason, Message, Outcome, Pairing, Side, Step};

/// Longest command: a get of many keys. The server closes connections that send longer ones without an end.
const COMMAND_MAX_BYTES: usize = 64 * 1024;
const ANSWER_MAX_BYTES: usize = 8 * 1024;
const VALUE_MAX_BYTES: u64 = 1 << 30;
const ERROR_TEXT_MAX_BYTES: usize = 200;

/// What a command's name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `name key flags exptime bytes [cas] [noreply]` and a value.
    Store,
    /// `name key...`, items up to END.
    Fetch {
        first_key: usize,
    },
    /// `name key ... [noreply]`, one line.
    Key,
    /// `name ...`, one line.
    Plain,
    Stats,
    Quit,
    /// `name key flag...`.
    Meta,
    /// `ms key bytes flag...` and a value.
    MetaStore,
    MetaNoop,
    /// A command this parser does not know, or one in the binary protocol.
    Other,
}

impl Form {
    /// Whether an answer that begins with this word can be a command's of this form.
    fn fits(self, status: &str) -> bool {
        if is_failure(status) {
            return true;
        }
        let is_number = status.starts_with(|first: char| first.is_ascii_digit());
        match self {
            Self::Store => matches!(status, "STORED" | "NOT_STORED" | "EXISTS" | "NOT_FOUND"),
            Self::Fetch { .. } => matches!(status, "VALUE" | "END"),
            Self::Key => is_number || matches!(status, "DELETED" | "NOT_FOUND" | "TOUCHED"),
            Self::Meta | Self::MetaStore => is_meta(status),
            Self::MetaNoop => status == "MN",
            Self::Plain | Self::Stats | Self::Quit => {
                !is_number && !is_meta(status) && !matches!(status, "VALUE" | "MN")
            }
            Self::Other => true,
        }
    }
}

fn is_failure(status: &str) -> bool {
    matches!(status, "ERROR" | "CLIENT_ERROR" | "SERVER_ERROR")
}

fn is_meta(status: &str) -> bool {
    matches!(status, "HD" | "VA" | "EN" | "NF" | "NS" | "EX" | "ME")
}

fn form(name: &[u8]) -> Option<Form> {
    Some(match name {
        b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => Form::Store,
        b"get" | b"gets" => Form::Fetch { first_key: 1 },
        b"gat" | b"gats" => Form::Fetch { first_key: 2 },
        b"delete" | b"incr" | b"decr" | b"touch" => Form::Key,
        b"flush_all" | b"version" | b"verbosity" | b"cache_memlimit" | b"slabs" | b"lru" | b"lru_crawler"
        | b"watch" | b"shutdown" | b"refresh_certs" | b"misbehave" => Form::Plain,
        b"stats" => Form::Stats,
        b"quit" => Form::Quit,
        b"mg" | b"md" | b"ma" | b"me" => Form::Meta,
        b"ms" => Form::MetaStore,
        b"mn" => Form::MetaNoop,
        _ => return None,
    })
}

impl Memcached {
    pub(super) fn text_command(&mut self, bytes: &[u8], cut: bool) -> Step {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if !could_be_command(bytes) || bytes.len() > COMMAND_MAX_BYTES {
                return self.lost(LostReason::Malformed);
            }
            return if cut {
                self.cut_command(bytes)
            } else {
                Step::NeedMore
            };
        };
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        let words: Words<'_> = words(line);
        let Some(form) = words.first().and_then(form) else {
            return self.unknown_command(line, end + 1);
        };
        let name = words.text(0);
        let silent = words.last() == Some(b"noreply");
        let mut sizes = Sizes {
            consumed: end + 1,
            rest: 0,
            keys: 1,
        };
        let mut pending = Pending {
            answer: Answer::Once,
            quiet: None,
            opcode: 0,
            tag: None,
            form,
        };
        let mut key = words.get(1);
        match form {
            Form::Store => {
                let Some(value) = words.number(4) else {
                    return self.refused(name, sizes, pending);
                };
                sizes.rest = value + 2;
            }
            Form::Fetch { first_key } => {
                key = words.get(first_key);
                sizes.keys = words.count.saturating_sub(first_key) as i64;
                pending.answer = Answer::Items;
            }
            Form::Key => {}
            Form::Plain => key = b"",
            Form::Stats => {
                key = b"";
                pending.answer = Answer::Items;
            }
            Form::Quit => return Step::Consumed(end + 1),
            Form::Meta | Form::MetaStore => {
                if form == Form::MetaStore {
                    let Some(value) = words.number(2) else {
                        return self.refused(name, sizes, pending);
                    };
                    sizes.rest = value + 2;
                }
                pending.quiet = words.flag(b'q').map(|_| match name {
                    "mg" => "EN",
                    "md" | "ma" | "ms" => "HD",
                    _ => "EN",
                });
                let returns_key = words.flag(b'k').is_some_and(<[u8]>::is_empty);
                pending.tag = words.flag(b'O').or(returns_key.then_some(key)).map(hash);
            }
            Form::MetaNoop => key = b"",
            Form::Other => {}
        }
        // The others answer whatever they are told.
        if silent && (matches!(form, Form::Store | Form::Key) || (form == Form::Plain && name != "version")) {
            return self.request(name, key, false, sizes, None);
        }
        self.request(name, key, false, sizes, Some(pending))
    }

    /// A line whose end was not captured.
    fn cut_command(&mut self, bytes: &[u8]) -> Step {
        let words = words(bytes);
        let form = words.first().and_then(form);
        let (Some(Form::Fetch { first_key: 1 }), true) = (form, words.count > 1) else {
            return Step::Consumed(bytes.len());
        };
        let pending = Pending {
            answer: Answer::Items,
            quiet: None,
            opcode: 0,
            tag: None,
            form: Form::Fetch { first_key: 1 },
        };
        let sizes = Sizes {
            consumed: bytes.len(),
            rest: 0,
            keys: 1,
        };
        self.request(
            words.text(0),
            words.get(1),
            words.count == 2,
            sizes,
            Some(pending),
        )
    }

    /// The server answers a line it does not know with one of its own.
    fn unknown_command(&mut self, line: &[u8], consumed: usize) -> Step {
        if !line.is_ascii() || line.len() > 256 {
            return self.lost(LostReason::Malformed);
        }
        let pending = Pending {
            answer: Answer::Once,
            quiet: None,
            opcode: 0,
            tag: None,
            form: Form::Other,
        };
        self.request(
            "",
            b"",
            false,
            Sizes {
                consumed,
                rest: 0,
                keys: 1,
            },
            Some(pending),
        )
    }

    fn refused(&mut self, name: &str, sizes: Sizes, pending: Pending) -> Step {
        self.request(name, b"", false, sizes, Some(pending))
    }

    pub(super) fn text_answer(&mut self, bytes: &[u8]) -> Step {
        let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(ANSWER_MAX_BYTES)]) else {
            if bytes.len() >= ANSWER_MAX_BYTES || !bytes.iter().all(|&byte| byte >= b' ' || byte == b'\r') {
                return self.lost(LostReason::Malformed);
            }
            return Step::NeedMore;
        };
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        let words = words(line);
        let status = words.text(0);
        let consumed = end + 1;
        let value_at = match status {
            "VALUE" => Some(3),
            "VA" => Some(1),
            _ => None,
        };
        let rest = match value_at {
            Some(place) => match words.number(place) {
                Some(value) => value + 2,
                None => return self.lost(LostReason::Malformed),
            },
            None => 0,
        };
        let Some(first) = self.pending.front().copied() else {
            if self.in_step {
                return Step::AwaitPeer;
            }
            return Step::Skip(consumed as u64 + rest);
        };
        if !is_answer(status) && !status.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.lost(LostReason::Malformed);
        }
        if let Some(quiet) = first.quiet.filter(|_| !self.is_for(first, status, &words)) {
            return self.answered_silently(quiet);
        }
        if !first.form.fits(status) {
            return self.unfitting(status, consumed as u64 + rest);
        }
        self.in_step = true;
        let is_item = first.answer == Answer::Items && matches!(status, "VALUE" | "STAT" | "ITEM");
        if is_item {
            if !self.begun {
                self.begun = true;
                self.item = if status == "VALUE" { "VALUE" } else { "STAT" };
                return Step::Message {
                    consumed: 0,
                    message: Message::new(Class::Response, Pairing::InOrder, Ends::Later),
                };
            }
            self.items += 1;
            self.bytes += consumed as u64 + rest;
            return Step::Skip(consumed as u64 + rest);
        }
        let outcome = match status {
            failure if is_failure(failure) => {
                let text = &line[status.len()..];
                let text = String::from_utf8_lossy(&text[..text.len().min(ERROR_TEXT_MAX_BYTES)]);
                Outcome::Error(text.trim().into())
            }
            _ => Outcome::Ok,
        };
        let hit = first.answer == Answer::Items && status == "END" && self.items > 0;
        let number = status.starts_with(|first: char| first.is_ascii_digit());
        let status = if hit {
            self.item
        } else if number {
            ""
        } else {
            status
        };
        self.answered(status, outcome, consumed, rest)
    }

    /// An answer that the oldest command cannot have. Where a later one can, those before it were answered unseen, or by
    /// silence that could not be told from an answer; otherwise it answers what was not seen.
    fn unfitting(&mut self, status: &str, bytes: u64) -> Step {
        if !self.in_step || self.begun {
            return Step::Skip(bytes);
        }
        if !self.pending.iter().any(|pending| pending.form.fits(status)) {
            return self.lost(LostReason::MissingState);
        }
        self.pending.pop_front();
        Step::Unseen { id: None }
    }

    /// Whether an answer is that of a quiet command and not of one behind it.
    fn is_for(&self, first: Pending, status: &str, words: &Words<'_>) -> bool {
        if !first.form.fits(status) {
            return false;
        }
        // A failure names nothing.
        if is_failure(status) {
            return true;
        }
        let tag = words.flag(b'O').or(words.flag(b'k')).map(hash);
        if tag.is_some() || first.tag.is_some() {
            return tag == first.tag;
        }
        // Without a token: what success would have said was said by nobody.
        first.quiet != Some(status)
    }
}

fn is_answer(status: &str) -> bool {
    matches!(
        status,
        "VALUE"
            | "END"
            | "STORED"
            | "NOT_STORED"
            | "EXISTS"
            | "NOT_FOUND"
            | "DELETED"
            | "TOUCHED"
            | "OK"
            | "ERROR"
            | "CLIENT_ERROR"
            | "SERVER_ERROR"
            | "VERSION"
            | "STAT"
            | "RESET"
            | "HD"
            | "VA"
            | "EN"
            | "NF"
            | "NS"
            | "EX"
            | "MN"
            | "ME"
            | "ITEM"
            | "BUSY"
            | "BADCLASS"
            | "NOSPARE"
            | "NOTFULL"
            | "UNSAFE"
            | "SAME"
    )
}

/// Whether the text protocol may begin at the front of `bytes`.
pub(super) fn begins(side: Side, bytes: &[u8]) -> bool {
    let end = bytes
        .iter()
        .position(|byte| byte.is_ascii_whitespace())
        .unwrap_or(bytes.len());
    let word = &bytes[..end];
    match side {
        Side::Client => form(word).is_some(),
        Side::Server => std::str::from_utf8(word)
            .is_ok_and(|word| is_answer(word) || (end > 0 && word.bytes().all(|b| b.is_ascii_digit()))),
    }
}

/// Whether the beginning of a line can be that of a command.
fn could_be_command(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte >= b' ' || byte == b'\r')
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
}

/// The first words of a line.
pub(super) struct Words<'a> {
    head: [&'a [u8]; 12],
    count: usize,
    last: &'a [u8],
}

pub(super) fn words(line: &[u8]) -> Words<'_> {
    let mut words = Words {
        head: [b""; 12],
        count: 0,
        last: b"",
    };
    for word in line
        .split(|&byte| byte == b' ' || byte == b'\r')
        .filter(|word| !word.is_empty())
    {
        if let Some(place) = words.head.get_mut(words.count) {
            *place = word;
        }
        words.count += 1;
        words.last = word;
    }
    words
}

impl<'a> Words<'a> {
    pub(super) fn get(&self, place: usize) -> &'a [u8] {
        self.head.get(place).copied().unwrap_or_default()
    }

    fn first(&self) -> Option<&'a [u8]> {
        (self.count > 0).then_some(self.head[0])
    }

    fn last(&self) -> Option<&'a [u8]> {
        (self.count > 1).then_some(self.last)
    }

    fn text(&self, place: usize) -> &'a str {
        std::str::from_utf8(self.get(place)).unwrap_or_default()
    }

    pub(super) fn number(&self, place: usize) -> Option<u64> {
        self.text(place)
            .parse()
            .ok()
            .filter(|value| *value <= VALUE_MAX_BYTES)
    }

    /// A meta flag's token.
    fn flag(&self, flag: u8) -> Option<&'a [u8]> {
        let words = &self.head[..self.count.min(self.head.len())];
        words
            .iter()
            .skip(1)
            .find(|word| word.first() == Some(&flag))
            .filter(|word| flag != b'q' || word.len() == 1)
            .map(|word| &word[1..])
    }
}

fn hash(token: &[u8]) -> u64 {
    BuildHasherDefault::<FxHasher>::default().hash_one(token)
}
