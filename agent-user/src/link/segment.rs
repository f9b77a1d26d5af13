//! Segments: what a thread that works for many requests has read and not yet acted upon.
//!
//! An event loop reads, and then acts. Some act on each read at once (Node, nginx); others read all that is ready first,
//! and then act in the same order (asyncio). Which of the two it is shows when requests are answered: the answer tells
//! whose turn it is. Enters: reads, answers, calls, each with the request it was for where that is known. Leaves: the
//! request whose turn it is. Bounded: [`READS_MAX`] reads.

use std::collections::VecDeque;

use super::ExchangeId;
use crate::event::TimeNs;

/// Reads remembered between two actions.
const READS_MAX: usize = 64;

/// Bytes that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// The request they were for; `None` where that is not known.
    pub(super) owner: Option<ExchangeId>,
    /// The call that they answer.
    pub(super) answers: Option<ExchangeId>,
    pub(super) time_ns: TimeNs,
    /// Nothing was done upon them yet.
    pub(super) fresh: bool,
}

/// What was read by the one whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Current {
    pub(super) read: Read,
    /// Nothing else was read since something was done.
    pub(super) alone: bool,
    /// The request that was worked for before this one.
    pub(super) before: Option<ExchangeId>,
}

#[derive(Debug, Default)]
pub(super) struct Segment {
    /// Oldest first.
    reads: VecDeque<Read>,
    /// Something was written since the last read.
    acted: bool,
    /// How often it has begun to read again.
    turn: u32,
    /// For whom something was read last, and for whom before that.
    owners: [Option<ExchangeId>; 2],
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
    /// Bytes came in: for that request, as the answer to that call.
    pub(super) fn read(&mut self, owner: Option<ExchangeId>, answers: Option<ExchangeId>, time_ns: TimeNs) {
        if std::mem::take(&mut self.acted) {
            self.reads.clear();
            self.turn = self.turn.wrapping_add(1);
        }
        if self.reads.len() >= READS_MAX {
            self.reads.pop_front();
        }
        self.note_owner(owner);
        self.reads.push_back(Read {
            owner,
            answers,
            time_ns,
            fresh: true,
        });
    }

    /// What was read last is a new request.
    pub(super) fn identified(&mut self, request: ExchangeId, time_ns: TimeNs) {
        match self.reads.back_mut() {
            Some(last) if last.owner.is_none() && last.answers.is_none() => {
                last.owner = Some(request);
                self.note_owner(Some(request));
            }
            _ => self.read(Some(request), None, time_ns),
        }
    }

    /// Number of the loop's turn.
    pub(super) fn turn(&self) -> u32 {
        self.turn
    }

    /// The place of the read upon which a call is made now. Where reads wait for their turn it is the first of those that
    /// `lead` to calls: new requests and answers may stand in lines of their own.
    pub(super) fn turn_to_call(&self, turns: Turns, leads: impl Fn(&Read) -> bool) -> Option<usize> {
        let last = self.reads.len().checked_sub(1)?;
        match turns.queue() {
            true => Some(self.reads.iter().position(leads).unwrap_or(0)),
            false => Some(last),
        }
    }

    /// The place of the read upon which the request is answered now: where reads wait for their turn, the request itself where
    /// it was just read, or the first answer of a call that does not lead to another call.
    pub(super) fn turn_to_answer(
        &self,
        request: ExchangeId,
        turns: Turns,
        leads: impl Fn(&Read) -> bool,
    ) -> Option<usize> {
        let last = self.reads.len().checked_sub(1)?;
        if !turns.queue() {
            return Some(last);
        }
        let mut reads = self.reads.iter();
        let itself = reads.position(|read| read.owner == Some(request) && read.answers.is_none());
        let due = |read: &Read| read.answers.is_some() && read.fresh && !leads(read);
        itself.or_else(|| self.reads.iter().position(due)).or(Some(0))
    }

    /// What was read at that place.
    pub(super) fn at(&self, place: Option<usize>) -> Option<Current> {
        let read = *self.reads.get(place?)?;
        let mut owners = self.owners.into_iter().flatten();
        Some(Current {
            read,
            alone: self.reads.len() == 1,
            before: owners.find(|owner| Some(*owner) != read.owner),
        })
    }

    fn note_owner(&mut self, owner: Option<ExchangeId>) {
        if owner.is_some() && owner != self.owners[0] {
            self.owners = [owner, self.owners[0]];
        }
    }

    fn act(&mut self, place: Option<usize>) {
        self.acted = true;
        if let Some(read) = place.and_then(|place| self.reads.get_mut(place)) {
            read.fresh = false;
        }
    }

    /// A call was written, or a connection for one begun, upon what was read there.
    pub(super) fn called(&mut self, place: Option<usize>, turns: Turns) {
        self.act(place);
        // The last one may make more calls than one.
        if turns.queue() && self.reads.len() > 1 {
            self.reads.remove(place.unwrap_or(0));
        }
    }

    /// The request was answered upon what was read there: those read before it have had their turn.
    pub(super) fn answered(&mut self, request: ExchangeId, place: Option<usize>, turns: &mut Turns) {
        self.act(place);
        // Calls in parallel leave several reads for one request: the last one set the answer off.
        let Some(at) = self.reads.iter().rposition(|read| read.owner == Some(request)) else {
            let answers = |read: &Read| read.answers.is_some();
            if turns.queue()
                && self.reads.len() > 1
                && let Some(place) = place.filter(|place| self.reads.get(*place).is_some_and(answers))
            {
                self.reads.remove(place);
            }
            return;
        };
        // The request may have made the call of which only the answer is known, so that it was that call's turn.
        let told = |read: &Read| read.owner.is_some() || read.answers.is_none();
        if self.reads.len() > 1 && (self.reads[at].answers.is_some() || self.reads.back().is_some_and(told)) {
            let count = if at + 1 == self.reads.len() {
                &mut turns.at_once
            } else {
                &mut turns.in_order
            };
            *count = count.saturating_add(1);
        }
        if at + 1 == self.reads.len() && !turns.queue() {
            self.reads.clear();
        } else if turns.queue() {
            self.reads.remove(place.unwrap_or(at));
        } else {
            self.reads.drain(..=at);
        }
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

    fn read(segment: &mut Segment, owner: Option<ExchangeId>) {
        segment.read(owner, None, 0);
    }

    impl Segment {
        fn owner(&self, turns: Turns) -> Option<ExchangeId> {
            self.at(self.turn_to_call(turns, |_| false))?.read.owner
        }

        fn calls(&mut self, turns: Turns) {
            self.called(self.turn_to_call(turns, |_| false), turns);
        }

        fn answers(&mut self, request: ExchangeId, turns: &mut Turns) {
            let place = self.turn_to_answer(request, *turns, |_| false);
            self.answered(request, place, turns);
        }
    }

    #[test]
    fn a_loop_that_acts_at_once_works_for_the_last_read() {
        let (mut segment, turns) = (Segment::default(), Turns::default());
        read(&mut segment, Some(A));
        read(&mut segment, None);
        segment.identified(B, 0);
        assert_eq!(segment.owner(turns), Some(B));
        segment.calls(turns);
        assert_eq!(segment.owner(turns), Some(B), "it may call again");
        read(&mut segment, Some(A));
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
                .for_each(|request| read(&mut segment, Some(request)));
            segment.answers(A, &mut turns);
        }
        [A, B, C]
            .into_iter()
            .for_each(|request| read(&mut segment, Some(request)));
        assert_eq!(segment.owner(turns), Some(A));
        segment.calls(turns);
        assert_eq!(segment.owner(turns), Some(B));
        segment.answers(B, &mut turns);
        assert_eq!(segment.owner(turns), Some(C));
        segment.calls(turns);
        segment.calls(turns);
        assert_eq!(segment.owner(turns), Some(C), "the last one keeps its turn");
    }

    #[test]
    fn a_request_whose_call_is_not_known_does_not_look_like_a_queue() {
        let (mut segment, mut turns) = (Segment::default(), Turns::default());
        for _ in 0..20 {
            read(&mut segment, Some(A));
            segment.read(None, Some(B), 0);
            segment.answers(A, &mut turns);
        }
        assert!(!turns.queue());
    }

    #[test]
    fn parallel_calls_of_one_request_do_not_look_like_a_queue() {
        let (mut segment, mut turns) = (Segment::default(), Turns::default());
        for _ in 0..20 {
            [A, B, A]
                .into_iter()
                .for_each(|request| read(&mut segment, Some(request)));
            segment.answers(A, &mut turns);
        }
        assert!(!turns.queue());
    }

    #[test]
    fn what_was_acted_upon_is_no_longer_fresh_and_an_act_nobody_is_known_for_takes_the_turn() {
        let (mut segment, mut turns) = (Segment::default(), Turns::default());
        let current = |segment: &Segment, turns| {
            segment
                .at(segment.turn_to_call(turns, |_| false))
                .map(|current| (current.read.answers, current.read.fresh))
        };
        segment.read(None, Some(B), 0);
        assert_eq!(current(&segment, turns), Some((Some(B), true)));
        segment.answers(A, &mut turns);
        assert_eq!(current(&segment, turns), Some((Some(B), false)));
        turns.in_order = 4;
        segment.read(None, Some(B), 0);
        segment.read(None, Some(C), 0);
        segment.answers(A, &mut turns);
        assert_eq!(current(&segment, turns), Some((Some(C), true)));
    }

    #[test]
    fn reads_without_an_action_are_bounded() {
        let mut segment = Segment::default();
        (0..1000).for_each(|number| read(&mut segment, Some(ExchangeId(number))));
        assert_eq!(segment.reads.len(), READS_MAX);
    }
}
