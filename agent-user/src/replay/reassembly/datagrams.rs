//! Datagrams: what a flow of UDP is known by.
//!
//! Enters: datagrams of both ends. Leaves: their byte positions, and which of them were captured twice (a mirror port shows
//! what goes in and what goes out, a host's every interface what passes several). Bounded: [`REMEMBERED`] datagrams an end.
//! Deliberately absent: order, loss.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::connection::End;
use crate::event::TimeNs;
use crate::replay::packet::Segment;

/// Equal datagrams so far apart are copies of one, if the other end said nothing between them.
const COPY_WITHIN_NS: TimeNs = 10_000_000;
/// Datagrams that a copy is looked for among.
const REMEMBERED: usize = 4;

/// One flow's.
#[derive(Default)]
pub(super) struct Datagrams {
    ends: [Sent; 2],
}

/// What one end sent.
#[derive(Default)]
struct Sent {
    bytes: u64,
    /// What the latest datagrams held, and when: those since the other end said something.
    latest: [(u64, TimeNs); REMEMBERED],
    count: usize,
}

impl Datagrams {
    /// Where a datagram lies in its direction; `None` for the copy of one that was there.
    pub(super) fn place(&mut self, from: End, datagram: &Segment<'_>) -> Option<u64> {
        let mut hasher = FxHasher::default();
        hasher.write_u32(datagram.length);
        hasher.write(datagram.payload);
        let (held, time_ns) = (hasher.finish(), datagram.time_ns);
        let sent = &mut self.ends[from as usize];
        let known = &sent.latest[..sent.count.min(REMEMBERED)];
        if known
            .iter()
            .any(|(other, then_ns)| *other == held && then_ns.abs_diff(time_ns) <= COPY_WITHIN_NS)
        {
            return None;
        }
        sent.latest[sent.count % REMEMBERED] = (held, time_ns);
        sent.count += 1;
        let start = sent.bytes;
        sent.bytes += u64::from(datagram.length);
        self.ends[from.peer() as usize].count = 0;
        Some(start)
    }
}
