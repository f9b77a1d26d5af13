//! Segments: what a thread that works for many requests has read and not yet acted upon.
//!
//! An event loop reads, and then acts. Some act on each read at once (Node, nginx); others read all that is ready first,
//! and then act in the same order (asyncio). Which of the two it is shows when requests are answered: the answer tells
//! whose turn it is. Enters: reads, answers, calls, each with the request it was for where that is known. Leaves: the
//! request whose turn it is. Bounded: [`READS_MAX`] reads.

use std::collections::VecDeque;

use super::ExchangeId;

/// Reads remembered between two actions.
const READS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Segment {
    /// Whose bytes were read, oldest first; `None` where that is not known.
    reads: VecDeque<Option<ExchangeId>>,
    /// Something was written since the last read.
    acted: bool,
    /// How often it has begun to read again.
    turn: u32,
}

/// How a process's loops take their turns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    /// Answers to the request read last, with others read before it; and answers to another one.
    at_once: u32,
    in_order: u32,
}

impl Turns {
    /// The reads before the last one wait for their turn.
    pub(super) fn queue(self) -> bool {
        self.in_order >= 4 && self.in_order >= self.at_once / 2
    }
}

impl Segment {
    /// Bytes came in.
    pub(super) fn read(&mut self, owner: Option<ExchangeId>) {
        if std::mem::take(&mut self.acted) {
            self.reads.clear();
            self.turn = self.turn.wrapping_add(1);
        }
        if self.reads.len() >= READS_MAX {
            self.reads.pop_front();
        }
        self.reads.push_back(owner);
    }

    /// What was read last is a new request.
    pub(super) fn identified(&mut self, request: ExchangeId) {
        match self.reads.back_mut() {
            Some(last) if last.is_none() => *last = Some(request),
            _ => self.read(Some(request)),
        }
    }

    /// Number of the loop's turn.
    pub(super) fn turn(&self) -> u32 {
        self.turn
    }

    /// Whose turn it is.
    pub(super) fn owner(&self, turns: Turns) -> Option<ExchangeId> {
        if turns.queue() {
            self.reads.front().copied().flatten()
        } else {
            self.reads.back().copied().flatten()
        }
    }

    /// A call was written, or a connection for one begun.
    pub(super) fn called(&mut self, turns: Turns) {
        self.acted = true;
        // The last one may make more calls than one.
        if turns.queue() && self.reads.len() > 1 {
            self.reads.pop_front();
        }
    }

    /// The request was answered: those read before it have had their turn.
    pub(super) fn answered(&mut self, request: ExchangeId, turns: &mut Turns) {
        self.acted = true;
        // Calls in parallel leave several reads for one request: the last one set the answer off.
        let Some(at) = self.reads.iter().rposition(|read| *read == Some(request)) else {
            return;
        };
        if self.reads.len() > 1 {
            let count = if at + 1 == self.reads.len() {
                &mut turns.at_once
            } else {
                &mut turns.in_order
            };
            *count = count.saturating_add(1);
        }
        self.reads.drain(..=at);
    }

    /// Nothing that follows is for what was read.
    pub(super) fn end(&mut self) {
        self.reads.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ExchangeId = ExchangeId(1);
    const B: ExchangeId = ExchangeId(2);
    const C: ExchangeId = ExchangeId(3);

    #[test]
    fn a_loop_that_acts_at_once_works_for_the_last_read() {
        let (mut segment, turns) = (Segment::default(), Turns::default());
        segment.read(Some(A));
        segment.read(None);
        segment.identified(B);
        assert_eq!(segment.owner(turns), Some(B));
        segment.called(turns);
        assert_eq!(segment.owner(turns), Some(B), "it may call again");
        segment.read(Some(A));
        assert_eq!(segment.owner(turns), Some(A));
        segment.end();
        assert_eq!(segment.owner(turns), None);
    }

    #[test]
    fn a_loop_that_answers_in_the_order_of_its_reads_calls_in_that_order() {
        let (mut segment, mut turns) = (Segment::default(), Turns::default());
        for _ in 0..4 {
            [A, B, C]
                .into_iter()
                .for_each(|request| segment.read(Some(request)));
            segment.answered(A, &mut turns);
        }
        [A, B, C]
            .into_iter()
            .for_each(|request| segment.read(Some(request)));
        assert_eq!(segment.owner(turns), Some(A));
        segment.called(turns);
        assert_eq!(segment.owner(turns), Some(B));
        segment.answered(B, &mut turns);
        assert_eq!(segment.owner(turns), Some(C));
        segment.called(turns);
        segment.called(turns);
        assert_eq!(segment.owner(turns), Some(C), "the last one keeps its turn");
    }

    #[test]
    fn parallel_calls_of_one_request_do_not_look_like_a_queue() {
        let (mut segment, mut turns) = (Segment::default(), Turns::default());
        for _ in 0..20 {
            [A, B, A]
                .into_iter()
                .for_each(|request| segment.read(Some(request)));
            segment.answered(A, &mut turns);
        }
        assert!(!turns.queue());
    }

    #[test]
    fn reads_without_an_action_are_bounded() {
        let mut segment = Segment::default();
        (0..1000).for_each(|number| segment.read(Some(ExchangeId(number))));
        assert_eq!(segment.reads.len(), READS_MAX);
    }
}
