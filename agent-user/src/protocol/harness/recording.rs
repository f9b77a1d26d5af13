//! Recorded conversations as text, so that they can be read, reviewed and made by hand.
//!
//! A line's first character says what it is:
//!
//! ```text
//! # anything: where the bytes come from
//! @ from-start no           settings: from-start yes|no, port N, datagram, undetectable, protocol NAME
//! > GET / HTTP/1.1\r\n\r\n  bytes of the client, a turn (one write) a line
//! < HTTP/1.1 200 OK\r\n     bytes of the server
//! + Content-Length: 0\r\n   more bytes of the same turn
//! = http | GET | / | 200 | ok           an exchange it holds: protocol, operation, target, status, ok or error
//! ~ http | GET | / | 200 | ok           one that may come of it instead where bytes are missing
//! %                         ends the conversation; the next line begins another
//! ```
//!
//! In bytes, `\r \n \t \0 \\` and `\xNN` are escapes, every other character stands for itself. An exchange without a
//! whole response has the status `-`, a one-way message an empty one. Make recordings with
//! `cargo run -p spanhound-agent --example record`. Targets should differ within a conversation, or wrong pairs go unseen.

use std::path::{Path, PathBuf};

use crate::protocol::{Protocol, Side};

#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) side: Side,
    pub(crate) bytes: Vec<u8>,
}

/// An exchange a conversation is known to hold.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) line: String,
    /// Only where bytes are missing.
    pub(crate) when_lossy: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) from_start: bool,
    pub(crate) datagram: bool,
    pub(crate) server_port: u16,
    /// Its first bytes tell the protocol.
    pub(crate) detectable: bool,
    pub(crate) turns: Vec<Turn>,
    pub(crate) known: Vec<Known>,
}

impl Conversation {
    fn new(name: String, protocol: Protocol) -> Self {
        Self {
            name,
            protocol,
            from_start: true,
            datagram: false,
            server_port: 25_000,
            detectable: true,
            turns: Vec::new(),
            known: Vec::new(),
        }
    }

    pub(crate) fn total_bytes(&self) -> usize {
        self.bytes_before(self.turns.len())
    }

    /// How many bytes the turns before this one hold.
    pub(crate) fn bytes_before(&self, turn: usize) -> usize {
        self.turns[..turn].iter().map(|turn| turn.bytes.len()).sum()
    }

    pub(crate) fn known_lines(&self) -> Vec<String> {
        self.known
            .iter()
            .filter(|known| !known.when_lossy)
            .map(|known| known.line.clone())
            .collect()
    }

    /// Every answered exchange among `lines` is a known one, each at most as often as it is known; those that may come
    /// of missing bytes as often as they like.
    pub(crate) fn assert_no_other(&self, lines: &[String], how: &str) {
        let mut known = self.known_lines();
        let mut partial: Vec<&String> = lines.iter().filter(|line| !line.contains(" | - | ")).collect();
        partial.retain(|line| match known.iter().position(|known| known == *line) {
            Some(place) => {
                known.swap_remove(place);
                false
            }
            None => true,
        });
        for line in partial {
            let mut lossy = self.known.iter().filter(|known| known.when_lossy);
            match known.iter().position(|known| is_same(known, line)) {
                Some(place) => drop(known.swap_remove(place)),
                None if lossy.any(|known| is_same(&known.line, line)) => {}
                None => panic!(
                    "{}: {how}: not in the recording: {line}\nof {lines:#?}",
                    self.name
                ),
            }
        }
    }

    fn set(&mut self, setting: &str) {
        match setting.split_once(' ').unwrap_or((setting, "")) {
            ("from-start", answer) => self.from_start = answer == "yes",
            ("port", number) => self.server_port = number.parse().unwrap(),
            ("datagram", "") => self.datagram = true,
            ("undetectable", "") => self.detectable = false,
            ("protocol", name) => self.protocol = Protocol::from_name(name).unwrap(),
            _ => panic!("{}: unknown setting: {setting}", self.name),
        }
    }
}

/// Whether an exchange is the known one, as far as it says: a target whose end was not seen ends in `…`, a status that
/// was not seen is empty and then says nothing of errors either.
fn is_same(known: &str, line: &str) -> bool {
    let (Some(known), Some(line)) = (fields(known), fields(line)) else {
        return known == line;
    };
    let target = match line.1.strip_suffix('…') {
        Some(begin) => known.1.starts_with(begin),
        None => known.1 == line.1,
    };
    let operation = known.0 == line.0
        || line
            .0
            .strip_suffix(" |  | ")
            .is_some_and(|protocol| known.0.split(" | ").next() == Some(protocol));
    operation && target && (line.2 == known.2 || line.2 == "  | ok")
}

/// A line's protocol and operation, target, and status with outcome. Targets may well hold the separator.
fn fields(line: &str) -> Option<(&str, &str, &str)> {
    let (separator, mut begin) = (" | ", 0);
    for _ in 0..2 {
        begin += line.get(begin..)?.find(separator)? + separator.len();
    }
    let outcome = line.rfind(separator)?;
    let status = line[..outcome].rfind(separator)?;
    // Nothing may stand between two separators but what they share.
    let end = status.max(begin);
    Some((
        &line[..begin],
        &line[begin..end],
        line.get(status + separator.len() - 1..).unwrap_or(""),
    ))
}

/// All recordings of a protocol; none where it has no folder.
pub(crate) fn load(protocol: Protocol) -> Vec<Conversation> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/wire")
        .join(protocol.name());
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
        .iter()
        .flat_map(|path| parse(protocol, path, &std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn parse(protocol: Protocol, path: &Path, text: &str) -> Vec<Conversation> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let mut all = Vec::new();
    let named = |count: usize| Conversation::new(format!("{}/{file}#{count}", protocol.name()), protocol);
    let mut current = named(0);
    for line in text.lines() {
        let rest = line
            .get(1..)
            .map_or("", |rest| rest.strip_prefix(' ').unwrap_or(rest));
        match line.chars().next() {
            Some('>') => current.turns.push(Turn {
                side: Side::Client,
                bytes: unescape(rest),
            }),
            Some('<') => current.turns.push(Turn {
                side: Side::Server,
                bytes: unescape(rest),
            }),
            Some('+') => current.turns.last_mut().unwrap().bytes.extend(unescape(rest)),
            Some('=') => current.known.push(Known {
                line: rest.to_owned(),
                when_lossy: false,
            }),
            Some('~') => current.known.push(Known {
                line: rest.to_owned(),
                when_lossy: true,
            }),
            Some('@') => current.set(rest),
            Some('%') => {
                let next = named(all.len() + 1);
                all.push(std::mem::replace(&mut current, next));
            }
            Some('#') | None => {}
            _ => panic!("{}: not a recording's line: {line}", current.name),
        }
    }
    all.push(current);
    all.retain(|conversation| !conversation.turns.is_empty());
    all
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("unknown escape {other:?} in {text}"),
        });
    }
    bytes
}

#[test]
fn a_recording_is_read_as_written() {
    let text =
        "# note\n@ port 80\n> a\\r\\n\n+ \\x00\\\\ b\n<  c \n= http | GET | / | 200 | ok\n%\n> second\n";
    let all = parse(Protocol::Http, Path::new("x.txt"), text);
    assert_eq!((all.len(), all[0].server_port), (2, 80));
    assert_eq!(all[0].turns[0].bytes, b"a\r\n\x00\\ b");
    assert_eq!(
        (all[0].turns[1].side, &all[0].turns[1].bytes[..]),
        (Side::Server, &b" c "[..])
    );
    assert_eq!((all[0].bytes_before(1), all[0].known_lines().len()), (7, 1));
}
