//! Chunks kept for later: until a protocol is recognised, or until the other side got further.
//!
//! Enters: borrowed chunks. Leaves: the same, oldest first. Bounded: [`CHUNKS_MAX`] and [`BYTES_MAX`]. Deliberately
//! absent: any reading of the bytes.

use std::collections::VecDeque;

use crate::connection::stream::Chunk;
use crate::event::{Actor, Direction, TimeNs};

const CHUNKS_MAX: usize = 256;
const BYTES_MAX: usize = 64 * 1024;

pub(super) struct Queued {
    pub(super) direction: Direction,
    time_ns: TimeNs,
    actor: Actor,
    pub(super) position: u64,
    moved: u64,
    pub(super) bytes: Vec<u8>,
    continues: bool,
}

impl Queued {
    pub(super) fn chunk(&self) -> Chunk<'_> {
        Chunk {
            time_ns: self.time_ns,
            actor: self.actor,
            position: self.position,
            moved: self.moved,
            bytes: &self.bytes,
            continues: self.continues,
        }
    }
}

/// Most connections never keep anything, so that it takes a word until they do.
#[derive(Default)]
pub(super) struct Queue(Option<Box<Kept>>);

#[derive(Default)]
struct Kept {
    chunks: VecDeque<Queued>,
    bytes: usize,
}

impl Queue {
    /// Bytes kept.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |kept| kept.bytes)
    }

    /// Keeps a chunk; answers how many older ones had to go for it.
    pub(super) fn push(&mut self, direction: Direction, chunk: &Chunk<'_>) -> u64 {
        let kept = self.0.get_or_insert_default();
        kept.bytes += chunk.bytes.len();
        kept.chunks.push_back(Queued {
            direction,
            time_ns: chunk.time_ns,
            actor: chunk.actor,
            position: chunk.position,
            moved: chunk.moved,
            bytes: chunk.bytes.to_vec(),
            continues: chunk.continues,
        });
        let mut turned_away = 0;
        while kept.chunks.len() > CHUNKS_MAX || (kept.bytes > BYTES_MAX && kept.chunks.len() > 1) {
            kept.pop();
            turned_away += 1;
        }
        turned_away
    }

    /// The oldest chunk. With the last one goes what it took to keep any.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let kept = self.0.as_mut()?;
        let oldest = kept.pop();
        if kept.chunks.is_empty() {
            self.clear();
        }
        oldest
    }

    pub(super) fn of(&self, direction: Direction) -> impl DoubleEndedIterator<Item = &Queued> {
        let chunks = self.0.iter().flat_map(|kept| &kept.chunks);
        chunks.filter(move |queued| queued.direction == direction)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

impl Kept {
    fn pop(&mut self) -> Option<Queued> {
        let oldest = self.chunks.pop_front()?;
        self.bytes -= oldest.bytes.len();
        Some(oldest)
    }
}
