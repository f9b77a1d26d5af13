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

#[derive(Default)]
pub(super) struct Queue {
    chunks: VecDeque<Queued>,
    bytes: usize,
}

impl Queue {
    /// Bytes kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a chunk; answers how many older ones had to go for it.
    pub(super) fn push(&mut self, direction: Direction, chunk: &Chunk<'_>) -> u64 {
        self.bytes += chunk.bytes.len();
        self.chunks.push_back(Queued {
            direction,
            time_ns: chunk.time_ns,
            actor: chunk.actor,
            position: chunk.position,
            moved: chunk.moved,
            bytes: chunk.bytes.to_vec(),
            continues: chunk.continues,
        });
        let mut turned_away = 0;
        while self.chunks.len() > CHUNKS_MAX || (self.bytes > BYTES_MAX && self.chunks.len() > 1) {
            self.pop();
            turned_away += 1;
        }
        turned_away
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let oldest = self.chunks.pop_front()?;
        self.bytes -= oldest.bytes.len();
        Some(oldest)
    }

    pub(super) fn of(&self, direction: Direction) -> impl DoubleEndedIterator<Item = &Queued> {
        self.chunks
            .iter()
            .filter(move |queued| queued.direction == direction)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
