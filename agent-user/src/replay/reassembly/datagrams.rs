//! Datagrams: what a flow of UDP is known by.
//!
//! Enters: datagrams of both ends. Leaves: their byte positions, and which of them were captured twice (a mirror port shows
//! what goes in and what goes out, a host's every interface what passes several). Bounded: [`REMEMBERED`] datagrams a flow.
//! Deliberately absent: order, loss.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::connection::End;
use crate::event::TimeNs;
use crate::replay::packet::Segment;

/// Equal datagrams so far apart are copies of one. Resolvers that ask again wait longer, and ask under another number.
const COPY_WITHIN_NS: TimeNs = 10_000_000;
/// Datagrams that a copy is looked for among.
const REMEMBERED: usize = 8;

/// One flow's.
#[derive(Default)]
pub(super) struct Datagrams {
    /// Bytes each end sent.
    positions: [u64; 2],
    /// What the latest held, and when.
    latest: [(u64, TimeNs); REMEMBERED],
    seen: usize,
}

impl Datagrams {
    /// Where a datagram lies in its direction; `None` for the copy of one that was there.
    pub(super) fn place(&mut self, from: End, datagram: &Segment<'_>) -> Option<u64> {
        let mut hasher = FxHasher::default();
        hasher.write_u8(from as u8);
        hasher.write_u32(datagram.length);
        hasher.write(datagram.payload);
        let (held, time_ns) = (hasher.finish(), datagram.time_ns);
        let known = &self.latest[..self.seen.min(REMEMBERED)];
        if known
            .iter()
            .any(|(other, then_ns)| *other == held && then_ns.abs_diff(time_ns) <= COPY_WITHIN_NS)
        {
            return None;
        }
        self.latest[self.seen % REMEMBERED] = (held, time_ns);
        self.seen += 1;
        let position = &mut self.positions[from as usize];
        let start = *position;
        *position += u64::from(datagram.length);
        Some(start)
    }
}
