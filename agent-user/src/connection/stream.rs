//! One direction of a connection: byte positions, what is held for a reader, what is known to be missing.
//!
//! Enters: [`Chunk`]s as they moved. Leaves: their overlap with what was seen before removed, and the time and actor
//! of any byte still of interest. Bounded: [`HELD_MAX_BYTES`] and [`MARKS_MAX`]. Deliberately absent: parsing.

use crate::event::{Actor, TimeNs};

/// Most bytes kept while a reader waits for the rest of a message.
pub const HELD_MAX_BYTES: usize = 256 * 1024;
/// Most arrival times kept for held bytes; beyond it the youngest are merged into the last one.
const MARKS_MAX: usize = 64;

/// Bytes that moved in one system call or datagram.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    pub time_ns: TimeNs,
    pub actor: Actor,
    /// Byte position in its direction of the first byte.
    pub position: u64,
    /// How many bytes moved; those beyond `bytes` were not captured.
    pub moved: u64,
    pub bytes: &'a [u8],
    /// The end of a movement whose beginning was another chunk.
    pub continues: bool,
}

/// When the bytes from a position on arrived, and who moved them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub position: u64,
    pub time_ns: TimeNs,
    pub actor: Actor,
}

#[derive(Debug, Default)]
pub struct Stream {
    /// Byte position of the first byte the reader has not dealt with. `held` begins here.
    position: u64,
    /// Whether `position` is anchored in the connection; the first chunk anchors it otherwise.
    anchored: bool,
    held: Vec<u8>,
    /// Bytes from `position` on that nobody needs to see. Invariant: not 0 only while `held` is empty.
    skip: u64,
    /// When the first held byte arrived; where none is held, the last chunk.
    first: Option<Mark>,
    /// The same of held bytes behind it, ascending by position: the last one at or before a byte says when it arrived.
    later: Vec<Mark>,
}

/// What of a chunk is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fresh<'a> {
    /// Bytes missing between what was known and this chunk.
    pub missing_before: u64,
    pub bytes: &'a [u8],
    /// Bytes that moved behind `bytes` and were not captured.
    pub missing_after: u64,
}

impl Stream {
    /// A stream whose first byte is byte 0 of the connection, so that even a missing beginning is noticed.
    pub fn from_start() -> Self {
        Self {
            anchored: true,
            ..Self::default()
        }
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// Byte position behind everything at hand.
    pub fn end(&self) -> u64 {
        self.position + self.held.len() as u64
    }

    /// Takes note of a chunk and tells what of it was not seen before.
    pub fn arrive<'a>(&mut self, chunk: &Chunk<'a>) -> Fresh<'a> {
        if !self.anchored {
            self.anchored = true;
            self.position = chunk.position;
        }
        let expected = self.position + self.held.len() as u64;
        let moved = chunk.moved.max(chunk.bytes.len() as u64);
        let seen_before = expected.saturating_sub(chunk.position).min(moved);
        let bytes = &chunk.bytes[(seen_before as usize).min(chunk.bytes.len())..];
        let uncaptured = moved - chunk.bytes.len() as u64;
        let seen_of_uncaptured = seen_before.saturating_sub(chunk.bytes.len() as u64);
        self.mark(Mark {
            position: chunk.position.max(expected),
            time_ns: chunk.time_ns,
            actor: chunk.actor,
        });
        Fresh {
            missing_before: chunk.position.saturating_sub(expected),
            bytes,
            missing_after: uncaptured - seen_of_uncaptured,
        }
    }

    fn mark(&mut self, mark: Mark) {
        if self.held.is_empty() {
            self.first = Some(mark);
            self.later.clear();
        } else if self.later.len() < MARKS_MAX {
            self.later.push(mark);
        }
    }

    /// When the byte at `position` arrived. `None` before the first chunk.
    pub fn mark_at(&self, position: u64) -> Option<&Mark> {
        let past = self.later.partition_point(|mark| mark.position <= position);
        match past.checked_sub(1) {
            Some(last) => self.later.get(last),
            None => self.first.as_ref(),
        }
    }

    /// Hands the held bytes out, to be given back by [`Stream::hold`].
    pub fn take_held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Keeps `bytes` (which begin at the current position) for later, or gives them back when they are too many.
    pub fn hold(&mut self, bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        debug_assert!(self.held.is_empty(), "held bytes were not taken");
        if bytes.len() > HELD_MAX_BYTES {
            return Err(bytes);
        }
        self.held = bytes;
        let position = self.position;
        let past = self.later.partition_point(|mark| mark.position <= position);
        if let Some(last) = self.later.drain(..past).next_back() {
            self.first = Some(last);
        }
        Ok(())
    }

    /// The reader is done with `count` bytes that were at hand.
    pub fn advance(&mut self, count: u64) {
        self.position += count;
    }

    /// The next `count` bytes need not be seen.
    pub fn skip(&mut self, count: u64) {
        self.skip = self.skip.saturating_add(count);
    }

    pub fn is_skipping(&self) -> bool {
        self.skip > 0
    }

    /// Uses up to `available` bytes for a skip under way; answers how many.
    pub fn pass_skipped(&mut self, available: u64) -> u64 {
        let passed = self.skip.min(available);
        self.skip -= passed;
        self.position += passed;
        passed
    }

    /// Drops what is held and `missing` bytes behind it; answers how many bytes the reader lost in all.
    pub fn lose(&mut self, missing: u64) -> u64 {
        let lost = self.held.len() as u64 + missing;
        self.held = Vec::new();
        self.skip = 0;
        self.position += lost;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(position: u64, moved: u64, bytes: &[u8]) -> Chunk<'_> {
        Chunk {
            time_ns: position + 1,
            actor: Actor::default(),
            position,
            moved,
            bytes,
            continues: false,
        }
    }

    #[test]
    fn overlap_is_removed_and_gaps_are_told() {
        let mut stream = Stream::default();
        let fresh = stream.arrive(&chunk(0, 4, b"abcd"));
        assert_eq!(
            (fresh.missing_before, fresh.bytes, fresh.missing_after),
            (0, &b"abcd"[..], 0)
        );
        assert!(stream.hold(b"abcd".to_vec()).is_ok());
        let fresh = stream.arrive(&chunk(2, 4, b"cdef"));
        assert_eq!(
            (fresh.missing_before, fresh.bytes, fresh.missing_after),
            (0, &b"ef"[..], 0)
        );
        let fresh = stream.arrive(&chunk(10, 9, b"xy"));
        assert_eq!(
            (fresh.missing_before, fresh.bytes, fresh.missing_after),
            (6, &b"xy"[..], 7)
        );
        let fresh = stream.arrive(&chunk(1, 3, b"b"));
        assert_eq!(
            (fresh.missing_before, fresh.bytes, fresh.missing_after),
            (0, &b""[..], 0)
        );
    }

    #[test]
    fn the_first_chunk_anchors_an_adopted_stream() {
        let mut stream = Stream::default();
        assert_eq!(stream.arrive(&chunk(1_000, 3, b"abc")).missing_before, 0);
        assert_eq!(stream.position(), 1_000);
    }

    #[test]
    fn marks_tell_when_a_held_byte_arrived() {
        let mut stream = Stream::default();
        stream.arrive(&chunk(0, 2, b"ab"));
        assert!(stream.hold(b"ab".to_vec()).is_ok());
        stream.arrive(&chunk(2, 2, b"cd"));
        assert_eq!(stream.mark_at(1).map(|mark| mark.time_ns), Some(1));
        assert_eq!(stream.mark_at(2).map(|mark| mark.time_ns), Some(3));
    }

    #[test]
    fn too_much_is_not_held() {
        let mut stream = Stream::default();
        assert!(stream.hold(vec![0; HELD_MAX_BYTES + 1]).is_err());
        assert_eq!(stream.lose(5), 5);
    }
}
