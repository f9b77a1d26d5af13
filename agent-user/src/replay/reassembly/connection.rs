//! Connection: both directions of a TCP connection, in an order that could have happened.
//!
//! Enters: the segments of one connection, as captured. Leaves: [`Delivery`]s; a direction's bytes in order, and no
//! bytes before those of the other direction that their sender had received. Bounded: by [`Half`]; nothing waits longer
//! than [`PATIENCE_PACKETS`] for bytes that the capture is known to lack. Deliberately absent: the table of connections.
//!
//! A hole is the network's (a retransmission will fill it) until the receiver acknowledges it; then the capture lost it,
//! or merely recorded it late.

use super::half::{Half, Placed, Run};
use crate::event::TimeNs;
use crate::replay::packet::{Segment, TcpFields};

/// Packets of the connection to wait for bytes that were received but not yet seen in the capture.
pub(super) const PATIENCE_PACKETS: u32 = 16;
/// Segments far from anything expected after which the connection counts as another one.
const STRANGE_MAX: u32 = 3;

/// Which end sent something; `First` is the sender of the first captured packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    First,
    Second,
}

/// Bytes that moved, or (with empty `bytes`) that are known to have moved and were not captured.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Delivery<'a> {
    pub(super) from: End,
    pub(super) time_ns: TimeNs,
    pub(super) position: u64,
    pub(super) length: u64,
    pub(super) bytes: &'a [u8],
}

/// What a connection made of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It belongs here.
    Yes,
    /// It belongs here and brought nothing new.
    Repeated,
    /// Another connection with the same addresses begins with it.
    Other,
}

#[derive(Default)]
pub(super) struct Connection {
    halves: [Half; 2],
    /// Who sent the SYN, or received the answer to it.
    pub(super) opener: Option<End>,
    pub(super) is_closed: bool,
    /// One end broke it off. What was under way by then may have been captured later.
    pub(super) is_reset: bool,
    strange: u32,
}

impl End {
    pub(super) fn peer(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

type Deliver<'a> = dyn FnMut(Delivery<'_>) + 'a;

impl Connection {
    /// Initial sequence numbers of the opener and the other end, where both are known.
    pub(super) fn initial_sequences(&self) -> Option<(u32, u32)> {
        let opener = self.opener?;
        let of = |end: End| self.halves[end as usize].initial_sequence();
        Some((of(opener)?, of(opener.peer())?))
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.halves.iter().map(Half::held_bytes).sum()
    }

    /// Takes in one packet, after [`Connection::synchronize`].
    pub(super) fn segment(
        &mut self,
        from: End,
        segment: &Segment<'_>,
        tcp: TcpFields,
        deliver: &mut Deliver<'_>,
    ) -> Taken {
        if self.is_closed && !tcp.syn {
            return self.after_close(from, segment, tcp);
        }
        self.halves[from as usize].seen = true;
        if tcp.rst {
            self.reset(from, tcp, deliver);
            return Taken::Yes;
        }
        let acknowledges = tcp
            .acknowledgment
            .and_then(|number| self.halves[from.peer() as usize].acknowledge(number));
        let data_sequence = tcp.sequence.wrapping_add(u32::from(tcp.syn));
        let mut taken = Taken::Yes;
        if segment.length > 0 {
            let run = Run {
                time_ns: segment.time_ns,
                position: 0,
                length: u64::from(segment.length),
                bytes: segment.payload,
                acknowledges,
            };
            taken = self.payload(from, &run, data_sequence, deliver);
            if taken == Taken::Other {
                return taken;
            }
        }
        if tcp.fin {
            self.halves[from as usize].finish(data_sequence.wrapping_add(segment.length));
        }
        self.settle(deliver);
        if self.halves.iter().all(Half::is_finished) {
            self.is_closed = true;
        }
        taken
    }

    /// Stragglers of a closed connection bring nothing; data behind its end, or from elsewhere in sequence space, is another
    /// connection's.
    fn after_close(&mut self, from: End, segment: &Segment<'_>, tcp: TcpFields) -> Taken {
        if segment.length == 0 {
            return Taken::Yes;
        }
        let half = &self.halves[from as usize];
        if half.is_behind_end(tcp.sequence) {
            return Taken::Other;
        }
        if half.is_near(tcp.sequence) {
            return Taken::Repeated;
        }
        self.strange += 1;
        if self.strange >= STRANGE_MAX {
            Taken::Other
        } else {
            Taken::Repeated
        }
    }

    /// Takes note of a SYN. False where it begins another connection.
    pub(super) fn synchronize(&mut self, from: End, tcp: TcpFields) -> bool {
        if !tcp.syn {
            return true;
        }
        let is_over = self.is_closed || self.is_reset;
        if is_over && self.halves[from as usize].initial_sequence() != Some(tcp.sequence) {
            return false;
        }
        let opener = if tcp.acknowledgment.is_some() {
            from.peer()
        } else {
            from
        };
        if !self.halves[from as usize].synchronize(tcp.sequence) {
            return false;
        }
        if let Some(acknowledgment) = tcp.acknowledgment.filter(|_| self.opener.is_none()) {
            // The SYN itself was not captured, but its answer names it.
            self.halves[opener as usize].synchronize(acknowledgment.wrapping_sub(1));
        }
        self.opener.get_or_insert(opener);
        true
    }

    fn payload(&mut self, from: End, run: &Run<&[u8]>, sequence: u32, deliver: &mut Deliver<'_>) -> Taken {
        let waits = self.awaits_peer(from, run.acknowledges);
        let half = &mut self.halves[from as usize];
        if !waits && let Some(run) = half.pass(run, sequence) {
            self.strange = 0;
            let Run {
                time_ns,
                position,
                length,
                bytes,
                ..
            } = run;
            deliver(Delivery {
                from,
                time_ns,
                position,
                length,
                bytes,
            });
            return Taken::Yes;
        }
        match half.hold(run, sequence) {
            Placed::Held => {
                self.strange = 0;
                Taken::Yes
            }
            Placed::Old => Taken::Repeated,
            Placed::Strange => {
                self.strange += 1;
                if self.strange >= STRANGE_MAX {
                    Taken::Other
                } else {
                    Taken::Repeated
                }
            }
        }
    }

    /// Whether bytes that acknowledge this much must wait for the other direction. One that was never captured is not
    /// waited for.
    fn awaits_peer(&self, from: End, acknowledges: Option<u64>) -> bool {
        let peer = &self.halves[from.peer() as usize];
        peer.seen && acknowledges.is_some_and(|position| position > peer.position())
    }

    /// Delivers what can be delivered, and gives up what has been waited for long enough.
    fn settle(&mut self, deliver: &mut Deliver<'_>) {
        if self.halves.iter().all(|half| half.first_held().is_none()) {
            return;
        }
        self.deliver_ready(deliver);
        for end in [End::First, End::Second] {
            self.halves[end as usize].wait();
            while self.is_patience_over(end) {
                self.give_up(end, deliver);
                self.deliver_ready(deliver);
            }
        }
    }

    fn deliver_ready(&mut self, deliver: &mut Deliver<'_>) {
        while self.deliver_ready_of(End::First, deliver) | self.deliver_ready_of(End::Second, deliver) {}
    }

    fn deliver_ready_of(&mut self, end: End, deliver: &mut Deliver<'_>) -> bool {
        let mut delivered = false;
        while let Some(head) = self.halves[end as usize].first_held()
            && head.position <= self.halves[end as usize].position()
            && !self.awaits_peer(end, head.acknowledges)
        {
            self.deliver_first(end, deliver);
            delivered = true;
        }
        delivered
    }

    fn deliver_first(&mut self, from: End, deliver: &mut Deliver<'_>) {
        let half = &mut self.halves[from as usize];
        if let Some(Run {
            time_ns,
            position,
            length,
            bytes,
            ..
        }) = half.take_first()
        {
            half.advance_to(position + length);
            deliver(Delivery {
                from,
                time_ns,
                position,
                length,
                bytes: &bytes,
            });
        }
    }

    fn is_patience_over(&self, end: End) -> bool {
        let half = &self.halves[end as usize];
        let Some(head) = half.first_held() else {
            return false;
        };
        if half.is_over_bound() {
            return true;
        }
        // Behind a hole that the other end has not acknowledged, a retransmission is due.
        let lost_by_capture = head.position <= half.position().max(half.acknowledged);
        lost_by_capture && half.waited_packets > PATIENCE_PACKETS
    }

    /// Delivers the first held segment of an end, declaring missing what it waits for.
    fn give_up(&mut self, end: End, deliver: &mut Deliver<'_>) {
        let Some(head) = self.halves[end as usize].first_held() else {
            return;
        };
        let (position, time_ns, acknowledges) = (head.position, head.time_ns, head.acknowledges);
        // Its own hole first, as far at a time as the other end says to have received before it went on.
        while let Some(received) = self.received_before_going_on(end.peer(), position) {
            self.skip_to(end, received, time_ns, deliver);
            self.deliver_ready_of(end.peer(), deliver);
        }
        self.skip_to(end, position, time_ns, deliver);
        if self.awaits_peer(end, acknowledges) {
            self.deliver_ready_of(end.peer(), deliver);
        }
        if self.awaits_peer(end, acknowledges) {
            let peer = &self.halves[end.peer() as usize];
            let held = peer.first_held().map_or(u64::MAX, |head| head.position);
            let missing_to = acknowledges.unwrap_or(0).min(held);
            self.skip_to(end.peer(), missing_to, time_ns, deliver);
            self.deliver_ready_of(end.peer(), deliver);
        }
        self.deliver_first(end, deliver);
    }

    /// What of the other direction the first held segment of an end waits for, where that is missing before `limit`.
    fn received_before_going_on(&self, end: End, limit: u64) -> Option<u64> {
        let (half, peer) = (&self.halves[end as usize], &self.halves[end.peer() as usize]);
        let head = half
            .first_held()
            .filter(|head| head.position <= half.position())?;
        head.acknowledges
            .filter(|received| *received > peer.position() && *received < limit)
    }

    fn skip_to(&mut self, from: End, position: u64, time_ns: TimeNs, deliver: &mut Deliver<'_>) {
        let half = &mut self.halves[from as usize];
        let start = half.position();
        if position > start {
            half.advance_to(position);
            deliver(Delivery {
                from,
                time_ns,
                position: start,
                length: position - start,
                bytes: &[],
            });
        }
    }

    fn reset(&mut self, from: End, tcp: TcpFields, deliver: &mut Deliver<'_>) {
        // A reset that answers a segment of the peer carries its acknowledgment number, or 0, as sequence number.
        if tcp.sequence == 0 || self.halves[from as usize].is_near(tcp.sequence) {
            self.flush(deliver);
            self.is_reset = true;
        }
    }

    /// Delivers everything held, oldest first.
    pub(super) fn flush(&mut self, deliver: &mut Deliver<'_>) {
        loop {
            self.deliver_ready(deliver);
            let time_of = |end: End| self.halves[end as usize].first_held().map(|head| head.time_ns);
            match (time_of(End::First), time_of(End::Second)) {
                (None, None) => return,
                (Some(first), Some(second)) if second < first => self.give_up(End::Second, deliver),
                (Some(_), _) => self.give_up(End::First, deliver),
                (None, Some(_)) => self.give_up(End::Second, deliver),
            }
        }
    }
}
