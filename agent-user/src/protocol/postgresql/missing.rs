//! What becomes of answers whose bytes are missing.
//!
//! Enters: the news that bytes of the server are gone, and what the client does next. Leaves: the ends of exchanges that
//! must lie among them. A client that waits for its answers says by going on that it has them; one that does not is resynced.

use compact_str::CompactString;

use super::fault::{self, Fault};
use super::frame::Head;
use super::{Owed, PostgreSql};
use crate::protocol::Step;

/// Results held; a longer first round is given up.
const HELD_MAX: usize = 256;

/// The result of an Execute that may not be one that was seen.
pub(super) struct HeldResult {
    tag: CompactString,
    rows: i64,
    affected: Option<i64>,
    fault: Option<Fault>,
}

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
                return Some(self.unseen());
            }
        }
        self.answer.rounds_over = 0;
        None
    }

    /// The answer to the exchange that was in front is among the missing bytes.
    pub(super) fn unseen(&mut self) -> Step {
        (self.answer.rows, self.answer.affected, self.answer.fault) = (0, None, None);
        (self.answer.begun, self.answer.bytes) = (false, 0);
        self.answer.tag.clear();
        Step::Unseen { id: None }
    }

    /// A result of the first round after joining: whose it is shows at the round's end.
    pub(super) fn hold_result(&mut self, head: Head, body: &[u8]) -> Step {
        let mut fault = None;
        let mut tag = CompactString::default();
        match head.kind {
            b'C' => tag = self.count_result(body),
            b's' => tag = CompactString::const_new("PortalSuspended"),
            b'E' => {
                self.answer.aborting = true;
                fault = Some(fault::read(body));
            }
            _ => {}
        }
        let (rows, affected) = (self.answer.rows, self.answer.affected);
        (self.answer.rows, self.answer.affected) = (0, None);
        if self.answer.held.len() <= HELD_MAX {
            self.answer.held.push(HeldResult {
                tag,
                rows,
                affected,
                fault,
            });
        }
        self.skip(head)
    }

    /// At the first ReadyForQuery after joining: as many results as statements were seen are theirs, others nobody's.
    pub(super) fn settle_unproven(&mut self) -> Option<Step> {
        let executes = self.exchanges_in_round();
        if self.answer.held.is_empty() || executes == 0 {
            self.answer.held.clear();
            return None;
        }
        let place = self.pending.iter().position(|pending| pending.exchange)?;
        self.pending.drain(..=place);
        // A failure keeps those behind it from being executed, so that counts prove nothing.
        let failed = executes > 1 && self.answer.held.iter().any(|held| held.fault.is_some());
        if failed || self.answer.held.len() != executes {
            // Whose they are is not known.
            self.answer.blurred = true;
            self.answer.held.clear();
            return Some(self.unseen());
        }
        let held = self.answer.held.remove(0);
        (self.answer.rows, self.answer.affected, self.answer.fault) = (held.rows, held.affected, held.fault);
        Some(self.respond(0, &held.tag))
    }
}
