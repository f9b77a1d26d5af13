//! Half: one direction of a TCP connection, put back in order.
//!
//! Enters: segments with sequence numbers, as captured. Leaves: [`Run`]s at ascending byte positions, each byte once;
//! what the capture lost shows as a jump of position. Bounded: [`HELD_MAX_SEGMENTS`] and [`HELD_MAX_BYTES`] wait for a
//! hole to be filled. Deliberately absent: the other direction, and when to stop waiting for a hole.

use std::collections::BTreeMap;

use crate::event::TimeNs;

/// Segments one direction may hold behind a hole.
pub(super) const HELD_MAX_SEGMENTS: usize = 1024;
/// Payload bytes one direction may hold behind a hole.
pub(super) const HELD_MAX_BYTES: usize = 2 << 20;
/// A sequence number farther than this from the expected one belongs to another connection, or is damaged.
const PLAUSIBLE_DISTANCE: i64 = 64 << 20;

/// Bytes in order, some of which the capture may have cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run<B> {
    pub(super) time_ns: TimeNs,
    pub(super) position: u64,
    /// Bytes on the wire.
    pub(super) length: u64,
    /// The first of them, as many as the capture holds.
    pub(super) bytes: B,
    /// Up to which position of the other direction its sender had received when it sent this.
    pub(super) acknowledges: Option<u64>,
}

impl<B: AsRef<[u8]>> Run<B> {
    fn end(&self) -> u64 {
        self.position + self.length
    }
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// All its bytes were there already (retransmission, keep-alive probe), or it has none.
    Old,
    /// It is held: behind a hole, or behind others that are.
    Held,
    /// Its sequence number is far from anything expected.
    Strange,
}

#[derive(Default)]
pub(super) struct Half {
    /// Sequence number of the byte at `position`; `None` until a segment or an acknowledgment told.
    sequence: Option<u32>,
    /// Everything before has been delivered or given up.
    position: u64,
    /// Sequence number of the SYN, where one was seen.
    initial_sequence: Option<u32>,
    held: BTreeMap<u64, Run<Vec<u8>>>,
    held_bytes: usize,
    /// The other end has received everything before this position.
    pub(super) acknowledged: u64,
    /// A packet of this direction was captured.
    pub(super) seen: bool,
    has_data: bool,
    /// Where the direction ends, known from a FIN.
    pub(super) end: Option<u64>,
    /// Packets of the connection that came while the first held segment was waiting.
    pub(super) waited_packets: u32,
}

impl Half {
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn initial_sequence(&self) -> Option<u32> {
        self.initial_sequence
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn is_finished(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }

    pub(super) fn is_over_bound(&self) -> bool {
        self.held.len() > HELD_MAX_SEGMENTS || self.held_bytes > HELD_MAX_BYTES
    }

    /// The SYN of this direction. False when it cannot belong to what was seen so far: another connection begins.
    pub(super) fn synchronize(&mut self, initial: u32) -> bool {
        let first = initial.wrapping_add(1);
        match (self.initial_sequence, self.sequence) {
            (Some(known), _) if known != initial => return false,
            (None, Some(sequence)) if sequence.wrapping_sub(self.position as u32) != first => return false,
            (None, None) => self.sequence = Some(first),
            _ => {}
        }
        self.initial_sequence = Some(initial);
        true
    }

    /// The other end says which byte of this direction it expects next.
    pub(super) fn acknowledge(&mut self, acknowledgment: u32) -> Option<u64> {
        let Some(position) = self.position_of(acknowledgment) else {
            self.sequence = Some(acknowledgment);
            return Some(self.position);
        };
        let distance = position - self.position as i64;
        if position < 0 || distance > PLAUSIBLE_DISTANCE {
            return None;
        }
        // A FIN takes a sequence number, but no byte.
        let position = position.min(self.end.map_or(i64::MAX, |end| end as i64));
        self.acknowledged = self.acknowledged.max(position as u64);
        Some(position as u64)
    }

    fn position_of(&self, sequence: u32) -> Option<i64> {
        let distance = sequence.wrapping_sub(self.sequence?) as i32;
        Some(self.position as i64 + i64::from(distance))
    }

    /// Where a segment lies. A direction that nothing was seen of yet begins with its first segment.
    fn place(&mut self, sequence: u32) -> i64 {
        let untouched = !self.has_data && self.initial_sequence.is_none();
        match self.position_of(sequence) {
            Some(position) if !(untouched && position < 0) => position,
            _ => {
                self.sequence = Some(sequence);
                0
            }
        }
    }

    /// Where the direction ends, told by the sequence number behind its last byte.
    pub(super) fn finish(&mut self, sequence: u32) {
        let position = self.place(sequence);
        if let Ok(position) = u64::try_from(position) {
            self.end.get_or_insert(position);
        }
    }

    /// Whether a segment lies behind the FIN, as none of this connection's can.
    pub(super) fn is_behind_end(&self, sequence: u32) -> bool {
        let position = self.position_of(sequence);
        position
            .zip(self.end)
            .is_some_and(|(position, end)| position > end as i64)
    }

    /// Whether a reset with this sequence number is believed.
    pub(super) fn is_near(&self, sequence: u32) -> bool {
        let distance = self
            .position_of(sequence)
            .map_or(0, |position| position - self.position as i64);
        distance.abs() <= PLAUSIBLE_DISTANCE
    }

    /// The segment itself, cut to what is new, when it continues what was delivered and nothing is held: the usual
    /// case, without a copy. It counts as delivered then. Everything else goes through [`Half::hold`].
    pub(super) fn pass<'a>(&mut self, segment: &Run<&'a [u8]>, sequence: u32) -> Option<Run<&'a [u8]>> {
        if !self.held.is_empty() {
            return None;
        }
        let position = self.place(sequence);
        let run = fresh(segment, position, self.position)?;
        if run.position != self.position {
            return None;
        }
        self.has_data = true;
        self.advance_to(run.position + run.length);
        Some(run)
    }

    /// Keeps a segment until the bytes before it have come.
    pub(super) fn hold(&mut self, segment: &Run<&[u8]>, sequence: u32) -> Placed {
        let position = self.place(sequence);
        self.has_data = true;
        if (position - self.position as i64).abs() > PLAUSIBLE_DISTANCE {
            return Placed::Strange;
        }
        let Some(run) = fresh(segment, position, self.position) else {
            return Placed::Old;
        };
        if let Some(known) = self.held.get(&run.position)
            && known.length >= run.length
            && known.bytes.len() >= run.bytes.len()
        {
            return Placed::Old;
        }
        if self
            .first_held()
            .is_none_or(|first| run.position < first.position)
        {
            self.waited_packets = 0;
        }
        self.held_bytes += run.bytes.len();
        let run = Run {
            bytes: run.bytes.to_vec(),
            time_ns: run.time_ns,
            position: run.position,
            length: run.length,
            acknowledges: run.acknowledges,
        };
        if let Some(replaced) = self.held.insert(run.position, run) {
            self.held_bytes -= replaced.bytes.len();
        }
        Placed::Held
    }

    /// Another packet of the connection came and the first held segment still waits.
    pub(super) fn wait(&mut self) {
        self.waited_packets = if self.held.is_empty() {
            0
        } else {
            self.waited_packets + 1
        };
    }

    /// The first of the held segments.
    pub(super) fn first_held(&self) -> Option<&Run<Vec<u8>>> {
        self.held.values().next()
    }

    /// Takes the first held segment, cut to what is new. `None` also when nothing of it is; ask again then.
    pub(super) fn take_first(&mut self) -> Option<Run<Vec<u8>>> {
        let (_, mut run) = self.held.pop_first()?;
        self.held_bytes -= run.bytes.len();
        self.waited_packets = 0;
        if run.end() <= self.position {
            return None;
        }
        let known = self.position.saturating_sub(run.position);
        run.position += known;
        run.length -= known;
        run.bytes.drain(..(known as usize).min(run.bytes.len()));
        Some(run)
    }

    /// Everything before `position` has been delivered or is given up.
    pub(super) fn advance_to(&mut self, position: u64) {
        let distance = position.saturating_sub(self.position);
        self.sequence = self
            .sequence
            .map(|sequence| sequence.wrapping_add(distance as u32));
        self.position += distance;
    }
}

/// What of a segment at `position` lies at or behind `known`.
fn fresh<'a>(segment: &Run<&'a [u8]>, position: i64, known: u64) -> Option<Run<&'a [u8]>> {
    let old = (known as i64 - position).max(0) as u64;
    if old >= segment.length {
        return None;
    }
    Some(Run {
        time_ns: segment.time_ns,
        position: (position + old as i64) as u64,
        length: segment.length - old,
        bytes: segment.bytes.get(old as usize..).unwrap_or_default(),
        acknowledges: segment.acknowledges,
    })
}
