//! Packets of ClickHouse's native protocol, and the blocks of columns in them.
//!
//! Enters: bytes and the revision both ends speak. Leaves: how long a packet is, and what it says. Bounded: nested types to
//! [`TYPE_DEPTH_MAX`]; copies nothing. Source: ClickHouse documentation, "Native protocol", and its Core/ProtocolDefines.h.

use crate::protocol::Side;

const TYPE_DEPTH_MAX: u32 = 8;
const COUNT_MAX: u64 = 1 << 32;

/// Why a walk over bytes stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// They end before the packet does.
    Short,
    /// They are no packet, or hold a type that is not read.
    Unreadable,
}

/// A place in some bytes.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn u8(&mut self) -> Result<u8, Stop> {
        let &byte = self.bytes.get(self.at).ok_or(Stop::Short)?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], Stop> {
        let end = usize::try_from(count)
            .ok()
            .and_then(|count| self.at.checked_add(count))
            .ok_or(Stop::Unreadable)?;
        let taken = self.bytes.get(self.at..end).ok_or(Stop::Short)?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn varint(&mut self) -> Result<u64, Stop> {
        let mut value = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Stop::Unreadable)
    }

    pub(super) fn text(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.varint()?;
        self.take(length)
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        let bytes = self.take(8)?;
        Ok(bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }
}

/// What a client's or server's greeting says.
pub(super) struct Hello<'a> {
    pub(super) revision: u64,
    /// The client's default database.
    pub(super) database: &'a [u8],
    pub(super) bytes: usize,
}

/// `client_revision`: a server says more to newer clients.
pub(super) fn hello(side: Side, bytes: &[u8], client_revision: u64) -> Result<Hello<'_>, Stop> {
    let mut walk = Walk::new(bytes);
    if walk.u8()? != 0 {
        return Err(Stop::Unreadable);
    }
    let length = walk.varint()?;
    if !(4..=128).contains(&length) {
        return Err(Stop::Unreadable);
    }
    let name = walk.take(length)?;
    if !name.iter().all(|byte| (b' '..0x7f).contains(byte)) {
        return Err(Stop::Unreadable);
    }
    let (_major, _minor, revision) = (walk.varint()?, walk.varint()?, walk.varint()?);
    if !(50_000..100_000).contains(&revision) {
        return Err(Stop::Unreadable);
    }
    let mut database = &b""[..];
    match side {
        Side::Client => {
            database = walk.text()?;
            walk.text()?;
            walk.text()?;
        }
        Side::Server => greeting_tail(&mut walk, revision.min(client_revision))?,
    }
    Ok(Hello {
        revision,
        database,
        bytes: walk.at,
    })
}

/// Time zone, display name, and what else was added since.
fn greeting_tail(walk: &mut Walk<'_>, revision: u64) -> Result<(), Stop> {
    if revision >= 54_058 {
        walk.text()?;
    }
    if revision >= 54_372 {
        walk.text()?;
    }
    if revision >= 54_401 {
        walk.varint()?;
    }
    if revision >= NEWEST_GREETING {
        // Not followed further: the greeting is one write.
        walk.at = walk.bytes.len();
    }
    Ok(())
}

/// From here on greetings carry lists whose form depends on settings.
const NEWEST_GREETING: u64 = 54_461;

/// What a server's packet says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Nothing,
    Rows(u64),
    Pong,
    End,
    Exception { code: i32, text: &'a [u8] },
}

/// The server's packet at the front of `bytes`, and its length.
pub(super) fn server_packet(bytes: &[u8], revision: u64) -> Result<(Said<'_>, usize), Stop> {
    let mut walk = Walk::new(bytes);
    let said = match walk.u8()? {
        kind @ (1 | 7 | 8 | 10 | 14) => {
            walk.text()?;
            // Logs and events are never compressed; results are where the client asked for it.
            let rows = if is_compressed(&walk)? {
                compressed(&mut walk)?
            } else {
                block(&mut walk, revision)?
            };
            if kind == 1 {
                Said::Rows(rows)
            } else {
                Said::Nothing
            }
        }
        2 => exception(&mut walk)?,
        3 => {
            let fields = 3
                + u32::from(revision >= 54_463)
                + 2 * u32::from(revision >= 54_420)
                + u32::from(revision >= 54_460);
            for _ in 0..fields {
                walk.varint()?;
            }
            Said::Nothing
        }
        4 => Said::Pong,
        5 => Said::End,
        6 => {
            for _ in 0..3 {
                walk.varint()?;
            }
            walk.u8()?;
            walk.varint()?;
            walk.u8()?;
            if revision >= 54_469 {
                walk.u8()?;
                walk.varint()?;
            }
            Said::Nothing
        }
        11 => {
            walk.text()?;
            walk.text()?;
            Said::Nothing
        }
        17 => {
            walk.text()?;
            Said::Nothing
        }
        _ => return Err(Stop::Unreadable),
    };
    Ok((said, walk.at))
}

/// The revision, `newest` at most, in which `bytes` are packets up to their last byte; tried are those that differ in what is
/// read here.
pub(super) fn fitting_revision(bytes: &[u8], newest: u64) -> Option<u64> {
    let fits = |revision: &u64| {
        let mut rest = bytes;
        while let Ok((_, length)) = server_packet(rest, *revision) {
            rest = &rest[length..];
            if rest.is_empty() {
                return true;
            }
        }
        false
    };
    [54_469, 54_467, 54_462, 54_459, 54_453, 54_419]
        .into_iter()
        .map(|revision| newest.min(revision))
        .find(fits)
}

/// Bytes at the end of a write in which the packets that close a result are looked for.
const CLOSING_BYTES: usize = 4 << 10;

/// Whether `bytes` end as a result does: with the server's account of it, and EndOfStream as the last byte.
pub(super) fn ends_result(bytes: &[u8], revision: u64) -> bool {
    let from = bytes.len().saturating_sub(CLOSING_BYTES);
    let tail = &bytes[from..];
    let closes = |at: usize| {
        let mut rest = &tail[at..];
        while let Ok((said, length)) = server_packet(rest, revision) {
            match said {
                Said::End => return rest.len() == 1,
                Said::Nothing | Said::Rows(0) => rest = &rest[length..],
                _ => return false,
            }
        }
        false
    };
    tail.last() == Some(&5) && (0..tail.len() - 1).any(|at| matches!(tail[at], 3 | 6 | 14) && closes(at))
}

fn exception<'a>(walk: &mut Walk<'a>) -> Result<Said<'a>, Stop> {
    let code = walk.take(4)?;
    let code = code.first_chunk().map_or(0, |code| i32::from_le_bytes(*code));
    walk.text()?;
    let text = walk.text()?;
    walk.text()?;
    if walk.u8()? == 1 {
        exception(walk)?;
    }
    Ok(Said::Exception { code, text })
}

/// A compressed block begins with a checksum and a known method; a plain one with its info's first field.
fn is_compressed(walk: &Walk<'_>) -> Result<bool, Stop> {
    let rest = &walk.bytes[walk.at..];
    match rest {
        [1, 0 | 1, 2, ..] => Ok(false),
        _ if rest.len() < 17 => Err(Stop::Short),
        _ => Ok(matches!(rest[16], 0x82 | 0x90 | 0x02)),
    }
}

/// Compressed frames follow each other until something else does; how many rows they hold is not known.
fn compressed(walk: &mut Walk<'_>) -> Result<u64, Stop> {
    loop {
        walk.take(16)?;
        walk.u8()?;
        let sizes = walk.take(8)?;
        let size = sizes
            .first_chunk::<4>()
            .map_or(0, |size| u32::from_le_bytes(*size));
        walk.take(u64::from(size.checked_sub(9).ok_or(Stop::Unreadable)?))?;
        let rest = &walk.bytes[walk.at..];
        if rest.len() < 17 || !matches!(rest[16], 0x82 | 0x90 | 0x02) {
            return Ok(0);
        }
    }
}

fn block(walk: &mut Walk<'_>, revision: u64) -> Result<u64, Stop> {
    loop {
        match walk.varint()? {
            0 => break,
            1 => walk.take(1)?,
            2 => walk.take(4)?,
            _ => return Err(Stop::Unreadable),
        };
    }
    let (columns, rows) = (walk.varint()?, walk.varint()?);
    if columns > 10_000 || rows > COUNT_MAX {
        return Err(Stop::Unreadable);
    }
    for _ in 0..columns {
        walk.text()?;
        let kind = walk.text()?;
        let kind = std::str::from_utf8(kind).map_err(|_| Stop::Unreadable)?;
        if revision >= 54_454 && walk.u8()? != 0 {
            return Err(Stop::Unreadable);
        }
        if rows > 0 {
            column(walk, kind, rows, 0)?;
        }
    }
    Ok(rows)
}

fn column(walk: &mut Walk<'_>, kind: &str, rows: u64, depth: u32) -> Result<(), Stop> {
    if depth > TYPE_DEPTH_MAX || rows > COUNT_MAX {
        return Err(Stop::Unreadable);
    }
    let (name, arguments) = match kind.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')').ok_or(Stop::Unreadable)?),
        None => (kind, ""),
    };
    if let Some(width) = width(name, arguments) {
        return walk
            .take(width.checked_mul(rows).ok_or(Stop::Unreadable)?)
            .map(|_| ());
    }
    match name {
        "String" => {
            for _ in 0..rows {
                walk.text()?;
            }
            Ok(())
        }
        "Nullable" => {
            walk.take(rows)?;
            column(walk, arguments, rows, depth + 1)
        }
        "Array" => {
            let inner = offsets(walk, rows)?;
            column(walk, arguments, inner, depth + 1)
        }
        "Map" => {
            let inner = offsets(walk, rows)?;
            parts(arguments).try_for_each(|part| column(walk, part, inner, depth + 1))
        }
        "Tuple" => parts(arguments).try_for_each(|part| column(walk, unnamed(part), rows, depth + 1)),
        "SimpleAggregateFunction" => {
            let inner = parts(arguments).last().ok_or(Stop::Unreadable)?;
            column(walk, inner, rows, depth + 1)
        }
        "LowCardinality" => {
            walk.u64()?;
            let flags = walk.u64()?;
            let keys = walk.u64()?;
            let inner = arguments
                .strip_prefix("Nullable(")
                .and_then(|inner| inner.strip_suffix(')'))
                .unwrap_or(arguments);
            column(walk, inner, keys, depth + 1)?;
            let indexes = walk.u64()?;
            walk.take(indexes.checked_mul(1 << (flags & 3)).ok_or(Stop::Unreadable)?)
                .map(|_| ())
        }
        _ => Err(Stop::Unreadable),
    }
}

/// Offsets of so many arrays; answers how many elements they hold.
fn offsets(walk: &mut Walk<'_>, rows: u64) -> Result<u64, Stop> {
    let offsets = walk.take(rows.checked_mul(8).ok_or(Stop::Unreadable)?)?;
    Ok(offsets.last_chunk().map_or(0, |last| u64::from_le_bytes(*last)))
}

/// Bytes a value of a type takes, where that is fixed.
fn width(name: &str, arguments: &str) -> Option<u64> {
    Some(match name {
        "UInt8" | "Int8" | "Bool" | "Enum8" | "Nothing" => 1,
        "UInt16" | "Int16" | "Date" | "Enum16" | "BFloat16" => 2,
        "UInt32" | "Int32" | "Float32" | "DateTime" | "Date32" | "IPv4" | "Decimal32" | "Time" => 4,
        "UInt64" | "Int64" | "Float64" | "DateTime64" | "Decimal64" | "Time64" => 8,
        "UInt128" | "Int128" | "UUID" | "IPv6" | "Decimal128" => 16,
        "UInt256" | "Int256" | "Decimal256" => 32,
        "FixedString" => arguments.parse().ok()?,
        "Decimal" => match arguments.split(',').next()?.trim().parse::<u32>().ok()? {
            0..=9 => 4,
            10..=18 => 8,
            19..=38 => 16,
            _ => 32,
        },
        _ if name.starts_with("Interval") => 8,
        _ => return None,
    })
}

/// The arguments of a type, split at the commas between them.
fn parts(arguments: &str) -> impl DoubleEndedIterator<Item = &str> {
    let mut depth = 0i32;
    let cuts: Vec<&str> = arguments
        .split(|letter| {
            depth += i32::from(letter == '(') - i32::from(letter == ')');
            letter == ',' && depth == 0
        })
        .map(str::trim)
        .collect();
    cuts.into_iter()
}

/// A tuple's element without its name.
fn unnamed(part: &str) -> &str {
    match part.split_once(' ') {
        Some((name, kind)) if !name.contains('(') => kind,
        _ => part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&[text.len() as u8][..], text.as_bytes()].concat()
    }

    #[test]
    fn blocks_of_many_types_are_walked() {
        let mut bytes = vec![1, 0, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 4, 2];
        bytes.extend([text("a"), text("UInt16"), vec![0, 0, 0, 0]].concat());
        bytes.extend([text("b"), text("Nullable(String)"), vec![0, 1, 1, b'x', 0]].concat());
        bytes.extend(
            [
                text("c"),
                text("Array(Tuple(x UInt8, y Decimal(9, 2)))"),
                vec![1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
                vec![7; 10],
            ]
            .concat(),
        );
        bytes.extend([text("d"), text("FixedString(3)"), vec![b'z'; 6]].concat());
        assert_eq!(server_packet(&bytes, 54_400), Ok((Said::Rows(2), bytes.len())));
        for end in 0..bytes.len() {
            assert_eq!(server_packet(&bytes[..end], 54_400), Err(Stop::Short), "{end}");
        }
    }
}
