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
            .skip(self.answer.over)
            .filter(|pending| matches!(pending.owed, Owed::Sync | Owed::Query | Owed::Call))
            .count();
        if rounds > 1 {
            return false;
        }
        self.answer.bytes += missing;
        self.answer.lost |= missing > 0;
        self.answer.unaccounted |= missing > 0;
        self.answer.blurred = true;
        true
    }

    /// The client sends a frame: one that waits for its answers, and goes on to something new, has seen those that are
    /// missing here. Where it sent a Flush it waited for what was asked so far.
    pub(super) fn note_new_round(&mut self, kind: u8) {
        let flushed = std::mem::take(&mut self.round.flushed);
        // Copy data, its end, and what the server ignores meanwhile.
        let is_copy =
            matches!(kind, b'd' | b'c' | b'f') || (matches!(kind, b'S' | b'H') && self.answer.copy_in);
        let asked = self.pending.back();
        let over =
            flushed || asked.is_some_and(|last| matches!(last.owed, Owed::Sync | Owed::Query | Owed::Call));
        if self.answer.unaccounted && over && !is_copy {
            self.answer.unaccounted = false;
            self.answer.over = self.pending.len();
        }
    }

    /// Ends what was answered in bytes that are missing.
    pub(super) fn close_unseen(&mut self) -> Option<Step> {
        while self.answer.over > 0 {
            self.answer.over -= 1;
            let Some(first) = self.pending.pop_front() else {
                break;
            };
            if matches!(first.owed, Owed::Sync | Owed::Query | Owed::Call) {
                self.leave_round();
            }
            if first.exchange {
                return Some(self.unseen());
            }
        }
        self.answer.over = 0;
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

#[cfg(test)]
mod tests {
    use crate::protocol::scripted::{Turn, client, play, server};

    fn frames(frames: &[(u8, &[u8])]) -> Vec<u8> {
        let frame = |(kind, body): &(u8, &[u8])| {
            [&[*kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
        };
        frames.iter().flat_map(frame).collect()
    }

    fn played(turns: Vec<Turn>) -> Vec<String> {
        let ready = frames(&[(b'R', &[0; 4]), (b'Z', b"I")]);
        let mut whole = vec![client(b"\0\0\0\x10\0\x03\0\0user\0u\0\0"), server(ready)];
        whole.extend(turns);
        play(&whole, true, usize::MAX).lines
    }

    const SELECT: &[(u8, &[u8])] = &[(b'C', b"SELECT 1\0"), (b'Z', b"I")];

    /// As asyncpg does: what a Flush brings is waited for.
    #[test]
    fn what_was_asked_before_a_flush_is_answered_when_the_client_goes_on() {
        let turns = vec![
            client(frames(&[
                (b'P', b"s\0SELECT a\0\0\0"),
                (b'D', b"Ss\0"),
                (b'H', b""),
            ])),
            server(frames(&[(b'1', b""), (b'n', b"")])).captured(1),
            client(frames(&[(b'Q', b"SELECT b\0")])),
            server(frames(SELECT)),
            client(frames(&[
                (b'P', b"t\0SELECT c\0\0\0"),
                (b'D', b"St\0"),
                (b'H', b""),
            ])),
            server(frames(&[(b'1', b""), (b'n', b"")])).captured(1),
            client(frames(&[
                (b'B', b"\0t\0\0\0\0\0\0\0"),
                (b'E', b"\0\0\0\0\0"),
                (b'S', b""),
            ])),
            server(frames(&[
                (b'2', b""),
                (b'E', b"C57014\0Mcanceled\0\0"),
                (b'Z', b"I"),
            ])),
        ];
        let lines = [
            "PREPARE SELECT a ->  (lost)",
            "SELECT SELECT b -> SELECT 1",
            "PREPARE SELECT c ->  (lost)",
            "SELECT SELECT c -> 57014 !canceled",
        ];
        assert_eq!(played(turns), lines);
    }

    /// What servers send by themselves is no answer.
    #[test]
    fn a_notification_does_not_answer_what_is_missing() {
        let turns = vec![
            client(frames(&[(b'Q', b"LISTEN c\0")])),
            server(frames(&[(b'C', b"LISTEN\0"), (b'Z', b"I")])).captured(1),
            server(frames(&[(b'A', b"\0\0\0\x07c\0x\0")])),
            client(frames(&[(b'Q', b"SELECT a\0")])),
            server(frames(SELECT)).captured(1),
            client(frames(&[(b'Q', b"SELECT b\0")])),
            server(frames(SELECT)),
        ];
        let lines = [
            "NOTIFY c -> ",
            "LISTEN LISTEN c ->  (lost)",
            "SELECT SELECT a ->  (lost)",
            "SELECT SELECT b -> SELECT 1",
        ];
        assert_eq!(played(turns), lines);
    }

    /// The data may be sent before the server asked for it.
    #[test]
    fn a_copy_whose_end_was_missed_ends_with_the_next_statement() {
        let turns = vec![
            client(frames(&[
                (b'Q', b"COPY t FROM STDIN\0"),
                (b'd', b"1\n"),
                (b'c', b""),
            ])),
            server(frames(&[(b'G', &[0, 0, 1, 0, 0])])),
            server(frames(&[(b'C', b"COPY 1\0"), (b'Z', b"I")])).captured(1),
            client(frames(&[(b'Q', b"SELECT b\0")])),
            server(frames(SELECT)),
        ];
        assert_eq!(
            played(turns),
            ["COPY COPY t FROM STDIN ->  (lost)", "SELECT SELECT b -> SELECT 1"]
        );
    }
}
