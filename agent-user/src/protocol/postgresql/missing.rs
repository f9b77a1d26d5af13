//! What becomes of answers whose bytes are missing.
//!
//! Enters: the news that bytes of the server are gone, and what the client does next. Leaves: the ends of exchanges that
//! must lie among them. A client that waits for its answers says by going on that it has them; one that does not is resynced.

use compact_str::CompactString;

use super::{Owed, PostgreSql};
use crate::protocol::{Attributes, End, Outcome, Step};

impl PostgreSql {
    /// Server bytes are missing. True where the answers can still be told apart: one round is under way at most.
    pub(super) fn lose_answer(&mut self, missing: u64) -> bool {
        let rounds = self
            .pending
            .iter()
            .filter(|pending| matches!(pending.owed, Owed::Sync | Owed::Query | Owed::Call))
            .count();
        if rounds > 1 {
            return false;
        }
        self.answer.bytes += missing;
        self.answer.lost = missing > 0 || self.answer.lost;
        self.answer.blurred = true;
        true
    }

    /// The client begins something new: a client that waits for its answers has seen those that are missing here.
    pub(super) fn note_new_round(&mut self) {
        let over = self
            .pending
            .back()
            .is_some_and(|last| matches!(last.owed, Owed::Sync | Owed::Query | Owed::Call));
        if self.answer.lost && over && self.answer.rounds_over == 0 && !self.answer.copy_in {
            self.answer.rounds_over = 1;
        }
    }

    /// Ends what is left of a round whose end was not seen.
    pub(super) fn close_unseen_round(&mut self) -> Option<Step> {
        while self.answer.rounds_over > 0 {
            let Some(first) = self.pending.pop_front() else {
                break;
            };
            if matches!(first.owed, Owed::Sync | Owed::Query | Owed::Call) {
                self.answer.rounds_over = 0;
                self.leave_round();
            }
            if first.exchange {
                (self.answer.rows, self.answer.affected, self.answer.fault) = (0, None, None);
                return Some(self.finish(0, CompactString::default(), Outcome::Unset, Attributes::new()));
            }
        }
        self.answer.rounds_over = 0;
        None
    }

    /// The connection ended while the end of a response was missing.
    pub(super) fn end_unseen(&mut self) -> Option<End> {
        (self.answer.lost && self.answer.begun).then(|| {
            self.answer.begun = false;
            End {
                size_bytes: Some(self.answer.bytes),
                ..End::default()
            }
        })
    }
}
