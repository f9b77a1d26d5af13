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

use super::{Protocol, Side};

#[derive(Clone, Debug)]
pub struct Turn {
    pub side: Side,
    pub bytes: Vec<u8>,
}

/// An exchange a conversation is known to hold.
#[derive(Clone, Debug)]
pub struct Known {
    pub line: String,
    /// Only where bytes are missing.
    pub when_lossy: bool,
}

#[derive(Clone, Debug)]
pub struct Conversation {
    pub name: String,
    pub protocol: Protocol,
    pub from_start: bool,
    pub datagram: bool,
    pub server_port: u16,
    /// Its first bytes tell the protocol.
    pub detectable: bool,
    pub turns: Vec<Turn>,
    pub known: Vec<Known>,
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

    pub fn total_bytes(&self) -> usize {
        self.bytes_before(self.turns.len())
    }

    /// How many bytes the turns before this one hold.
    pub fn bytes_before(&self, turn: usize) -> usize {
        self.turns[..turn].iter().map(|turn| turn.bytes.len()).sum()
    }

    pub fn known_lines(&self) -> Vec<String> {
        self.known
            .iter()
            .filter(|known| !known.when_lossy)
            .map(|known| known.line.clone())
            .collect()
    }

    fn set(&mut self, setting: &str) -> Option<()> {
        match setting.split_once(' ').unwrap_or((setting, "")) {
            ("from-start", answer) => self.from_start = answer == "yes",
            ("port", number) => self.server_port = number.parse().ok()?,
            ("datagram", "") => self.datagram = true,
            ("undetectable", "") => self.detectable = false,
            ("protocol", name) => self.protocol = Protocol::from_name(name)?,
            _ => return None,
        }
        Some(())
    }

    /// Takes in a line of the format; `None` where it is none.
    fn read_line(&mut self, line: &str) -> Option<()> {
        let rest = line
            .get(1..)
            .map_or("", |rest| rest.strip_prefix(' ').unwrap_or(rest));
        let known = |when_lossy| Known {
            line: rest.to_owned(),
            when_lossy,
        };
        match line.chars().next() {
            Some('>') => self.turns.push(Turn {
                side: Side::Client,
                bytes: unescaped(rest)?,
            }),
            Some('<') => self.turns.push(Turn {
                side: Side::Server,
                bytes: unescaped(rest)?,
            }),
            Some('+') => self.turns.last_mut()?.bytes.extend(unescaped(rest)?),
            Some('=') => self.known.push(known(false)),
            Some('~') => self.known.push(known(true)),
            Some('@') => self.set(rest)?,
            Some('#') | None => {}
            _ => return None,
        }
        Some(())
    }
}

/// Why recordings cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}: not a line of a recording")]
    BadLine { path: PathBuf, line: usize },
}

/// All recordings of a protocol, found in its folder of `root`; none where it has no folder.
pub fn load(root: &Path, protocol: Protocol) -> Result<Vec<Conversation>, RecordingError> {
    let folder = root.join(protocol.name());
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| RecordingError::Unreadable { path, source }
    };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unreadable(&folder))? {
        files.push(entry.map_err(unreadable(&folder))?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let mut all = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        all.extend(parse(protocol, &path, &text)?);
    }
    Ok(all)
}

fn parse(protocol: Protocol, path: &Path, text: &str) -> Result<Vec<Conversation>, RecordingError> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let named = |count: usize| Conversation::new(format!("{}/{file}#{count}", protocol.name()), protocol);
    let (mut all, mut current) = (Vec::new(), named(0));
    for (number, line) in text.lines().enumerate() {
        if line.starts_with('%') {
            let next = named(all.len() + 1);
            all.push(std::mem::replace(&mut current, next));
            continue;
        }
        let bad = || RecordingError::BadLine {
            path: path.to_owned(),
            line: number + 1,
        };
        current.read_line(line).ok_or_else(bad)?;
    }
    all.push(current);
    all.retain(|conversation| !conversation.turns.is_empty());
    Ok(all)
}

fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                (digit(rest.next()?)? * 16 + digit(rest.next()?)?) as u8
            }
            _ => return None,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_as_written() {
        let text =
            "# note\n@ port 80\n> a\\r\\n\n+ \\x00\\\\ b\n<  c \n= http | GET | / | 200 | ok\n%\n> second\n";
        let all = parse(Protocol::Http, Path::new("x.txt"), text).unwrap();
        assert_eq!((all.len(), all[0].server_port), (2, 80));
        assert_eq!(all[0].turns[0].bytes, b"a\r\n\x00\\ b");
        assert_eq!(
            (all[0].turns[1].side, &all[0].turns[1].bytes[..]),
            (Side::Server, &b" c "[..])
        );
        assert_eq!((all[0].bytes_before(1), all[0].known_lines().len()), (7, 1));
    }

    #[test]
    fn a_bad_line_is_named() {
        for text in [
            "> fine\n> \\q",
            "> a\n> \\x1",
            "> a\n@ port x",
            "> a\nno mark",
            "\n+ nothing to add to",
        ] {
            let error = parse(Protocol::Http, Path::new("x.txt"), text).unwrap_err();
            assert_eq!(error.to_string(), "x.txt:2: not a line of a recording");
        }
    }
}
