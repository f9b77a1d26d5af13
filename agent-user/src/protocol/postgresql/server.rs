//! What the server answers, and which of the client's frames it answers with it.

use compact_str::{CompactString, ToCompactString};

use super::fault::{self, Fault};
use super::frame::{self, HEAD_BYTES, Head};
use super::missing::HeldResult;
use super::{Owed, Phase, PostgreSql};
use crate::protocol::answered::Answered;
use crate::protocol::reader::lossy_text;
use crate::protocol::{Attributes, Class, Ends, LostReason, Message, Outcome, Pairing, Side, Step, Value};

/// Bytes of an error or notification that are waited for.
pub(super) const TEXT_WANTED_BYTES: usize = 4_096;
const ABORTED: &str = "not executed: an earlier statement of the pipeline failed";

/// The answer under way.
#[derive(Default)]
pub(super) struct Answer {
    /// Bytes since the last exchange ended.
    pub(super) bytes: u64,
    /// The response's head was reported.
    pub(super) begun: bool,
    pub(super) fault: Option<Fault>,
    pub(super) tag: CompactString,
    pub(super) rows: i64,
    pub(super) affected: Option<i64>,
    /// The server refuses what comes until the next Sync.
    pub(super) aborting: bool,
    /// The client was told to send copy data, and did not say it is done.
    pub(super) copy_in: bool,
    /// Bytes are missing: the next frame must be looked for.
    pub(super) lost: bool,
    /// Bytes are missing, and nothing of an answer was seen since.
    pub(super) unaccounted: bool,
    /// Some of what is pending may have been answered unseen.
    pub(super) blurred: bool,
    /// Client bytes are missing: up to the next ReadyForQuery answers may be to what was not seen.
    pub(super) hidden_round: bool,
    /// The ReadyForQuery in front has ended its round.
    pub(super) round_closed: bool,
    /// Joined in the middle: what was sent before may be answered first. Until the first ReadyForQuery results are held.
    pub(super) unproven: bool,
    pub(super) held: Vec<HeldResult>,
    /// So many of the oldest frames were answered in the missing bytes, because the client went on.
    pub(super) over: usize,
}

impl PostgreSql {
    /// The frame at the front of `bytes`, or what is owed before it.
    pub(super) fn server_frame(&mut self, bytes: &[u8]) -> Step {
        if let Some(step) = self.close_unseen() {
            return step;
        }
        if bytes.is_empty() {
            return Step::NeedMore;
        }
        if self.answer.lost {
            match frame::find_server_frame(bytes, true) {
                None => return self.taken(bytes.len()),
                Some(0) => self.answer.lost = false,
                Some(at) => {
                    self.answer.lost = false;
                    return self.taken(at);
                }
            }
        }
        let head = match frame::head(Side::Server, bytes) {
            None => return Step::NeedMore,
            Some(Err(())) => return self.lost(LostReason::Malformed),
            Some(Ok(head)) => head,
        };
        let unasked = matches!(head.kind, b'N' | b'S' | b'A' | b'R' | b'K' | b'v' | b'd' | b'c');
        if !unasked && self.in_step && self.pending.is_empty() && !self.connecting && head.kind != b'E' {
            return Step::AwaitPeer;
        }
        self.answer.unaccounted &= unasked;
        let wanted = match head.kind {
            b'C' | b'Z' => head.bytes,
            b'E' | b'A' => head.bytes.min(TEXT_WANTED_BYTES),
            _ => HEAD_BYTES,
        };
        let Some(frame) = bytes.get(..wanted) else {
            return Step::NeedMore;
        };
        let body = &frame[HEAD_BYTES..];
        if self.answer.hidden_round && !matches!(head.kind, b'Z' | b'A') {
            return self.skip(head);
        }
        if self.answer.unproven && self.pending.iter().any(|pending| pending.owed == Owed::Execute) {
            match head.kind {
                b'C' | b'I' | b's' | b'E' => return self.hold_result(head, body),
                b'D' | b'Z' | b'A' => {}
                _ => return self.skip(head),
            }
        }
        match head.kind {
            b'D' => self.rows(bytes),
            b'Z' => self.ready(),
            b'C' => self.complete(head, body),
            b'E' => self.error(head, body),
            b'A' => super::unasked::notification(head, body),
            b'1' => self.part_done(head, Owed::Parse),
            b'2' => self.part_done(head, Owed::Bind),
            b'3' => self.part_done(head, Owed::Close),
            b'n' | b'T' => self.description(head),
            b'I' => self.result(head, ""),
            b's' => self.result(head, "PortalSuspended"),
            b'G' => self.copy_in(head),
            b'W' => self.copy_both(head),
            b'H' | b'V' => self.begin(head),
            b'R' => {
                // Only a session that begins is authenticated.
                self.connecting = true;
                self.skip(head)
            }
            _ => self.skip(head),
        }
    }

    fn taken(&mut self, count: usize) -> Step {
        self.answer.bytes += count as u64;
        Step::Consumed(count)
    }

    pub(super) fn skip(&mut self, head: Head) -> Step {
        self.answer.bytes += head.bytes as u64;
        Step::Skip(head.bytes as u64)
    }

    fn owed(&self) -> Option<Owed> {
        self.pending.front().map(|pending| pending.owed)
    }

    /// The answer to a part of an extended statement.
    fn part_done(&mut self, head: Head, owed: Owed) -> Step {
        match self.pending.front() {
            Some(first) if first.owed == owed => {
                let exchange = first.exchange;
                self.pending.pop_front();
                if exchange {
                    self.respond(head.bytes, "")
                } else {
                    self.taken(head.bytes)
                }
            }
            // After missing bytes the parts before it are taken as answered.
            Some(_) if self.answer.blurred => {
                self.skip_to(owed);
                self.taken(head.bytes)
            }
            _ => self.taken(head.bytes),
        }
    }

    /// Drops answered parts in front of the next `owed` of this round, if there is one before any exchange.
    fn skip_to(&mut self, owed: Owed) {
        let place = self
            .pending
            .iter()
            .position(|pending| pending.owed == owed || pending.exchange || pending.owed == Owed::Sync);
        if let Some(place) = place
            && self.pending[place].owed == owed
            && !self.pending[place].exchange
        {
            self.pending.drain(..=place);
        }
    }

    /// RowDescription or NoData: ends a Describe, or begins a result.
    fn description(&mut self, head: Head) -> Step {
        match self.owed() {
            Some(Owed::DescribeStatement | Owed::DescribePortal) => {
                let exchange = self.pending.pop_front().is_some_and(|pending| pending.exchange);
                if exchange && head.kind == b'n' {
                    self.respond(head.bytes, "")
                } else if exchange {
                    self.respond_with_rest(head)
                } else {
                    self.skip(head)
                }
            }
            Some(Owed::Query | Owed::Execute) => self.begin(head),
            _ => self.skip(head),
        }
    }

    /// The first frame of an exchange's response, more to come.
    fn begin(&mut self, head: Head) -> Step {
        let due = self.pending.front().is_some_and(|pending| pending.exchange);
        if self.answer.begun || !due {
            return self.skip(head);
        }
        self.answer.begun = true;
        // The frame itself is shown again, and skipped.
        Step::Message {
            consumed: 0,
            message: Message::new(Class::Response, Pairing::InOrder, Ends::Later),
        }
    }

    /// As many DataRows as are at hand.
    fn rows(&mut self, bytes: &[u8]) -> Step {
        let due = matches!(self.owed(), Some(Owed::Query | Owed::Execute)) && !self.answer.unproven;
        if due && !self.answer.begun {
            self.answer.begun = true;
            return Step::Message {
                consumed: 0,
                message: Message::new(Class::Response, Pairing::InOrder, Ends::Later),
            };
        }
        let mut used = 0;
        while let Some(Ok(Head {
            kind: b'D',
            bytes: length,
        })) = frame::head(Side::Server, &bytes[used..])
        {
            if bytes.len() - used < length {
                if used > 0 {
                    break;
                }
                self.answer.rows += 1;
                self.answer.bytes += length as u64;
                return Step::Skip(length as u64);
            }
            self.answer.rows += 1;
            used += length;
        }
        self.taken(used)
    }

    fn complete(&mut self, head: Head, body: &[u8]) -> Step {
        let tag = self.count_result(body);
        self.result(head, &tag)
    }

    /// The command tag, of which rows are noted.
    pub(super) fn count_result(&mut self, body: &[u8]) -> CompactString {
        let tag = body.strip_suffix(&[0]).unwrap_or(body);
        let tag = lossy_text(tag);
        let mut words = tag.split(' ');
        let verb = words.next().unwrap_or_default();
        let count = words.next_back().and_then(|count| count.parse::<i64>().ok());
        match verb {
            "SELECT" | "FETCH" | "SHOW" | "EXPLAIN" => {
                self.answer.rows = self.answer.rows.max(count.unwrap_or(0))
            }
            _ => {
                if let Some(count) = count {
                    self.answer.affected = Some(self.answer.affected.unwrap_or(0) + count);
                }
            }
        }
        tag
    }

    /// A statement is done.
    fn result(&mut self, head: Head, tag: &str) -> Step {
        if self.answer.blurred && self.exchanges_in_round() > 1 {
            // Which of them it answers is not known; all end with their round.
            (self.answer.rows, self.answer.affected) = (0, None);
            return self.taken(head.bytes);
        }
        if self.answer.blurred
            && let Some(place) = self.pending.iter().position(|pending| pending.exchange)
        {
            self.pending.drain(..place);
        }
        match self.owed() {
            Some(Owed::Execute) => {
                self.pending.pop_front();
                self.respond(head.bytes, tag)
            }
            Some(Owed::Query) => {
                self.answer.tag = tag.to_compact_string();
                self.taken(head.bytes)
            }
            _ => self.taken(head.bytes),
        }
    }

    pub(super) fn exchanges_in_round(&self) -> usize {
        let round = self
            .pending
            .iter()
            .take_while(|pending| pending.owed != Owed::Sync);
        round.filter(|pending| pending.exchange).count()
    }

    /// Ends the response of the exchange in front, with `consumed` bytes of its last frame.
    pub(super) fn respond(&mut self, consumed: usize, tag: &str) -> Step {
        self.answer.bytes += consumed as u64;
        let mut attributes = Attributes::new();
        if self.answer.rows > 0 || tag.starts_with("SELECT") {
            attributes.push(("db.response.returned_rows", Value::Int(self.answer.rows)));
        }
        if let Some(affected) = self.answer.affected {
            attributes.push(("db.response.affected_rows", Value::Int(affected)));
        }
        let (status, outcome) = match self.answer.fault.take() {
            Some(fault) => (fault.sqlstate, Outcome::Error(fault.text)),
            None => (tag.to_compact_string(), Outcome::Ok),
        };
        self.finish(consumed, status, outcome, attributes)
    }

    fn finish(
        &mut self,
        consumed: usize,
        status: CompactString,
        outcome: Outcome,
        attributes: Attributes,
    ) -> Step {
        let size_bytes = Some(std::mem::take(&mut self.answer.bytes));
        (self.answer.rows, self.answer.affected) = (0, None);
        self.answer.tag.clear();
        let answered = Answered {
            status,
            outcome,
            attributes,
            size_bytes,
        };
        answered.step(std::mem::take(&mut self.answer.begun), consumed)
    }

    /// Ends the response of the exchange in front with a frame that may not be at hand.
    fn respond_with_rest(&mut self, head: Head) -> Step {
        let Step::Message { mut message, .. } = self.respond(HEAD_BYTES, "") else {
            return self.skip(head);
        };
        let rest = (head.bytes - HEAD_BYTES) as u64;
        message.size_bytes = message.size_bytes.map(|size| size + rest);
        message.ends = if rest > 0 { Ends::After(rest) } else { Ends::Here };
        Step::Message {
            consumed: HEAD_BYTES,
            message,
        }
    }

    fn error(&mut self, head: Head, body: &[u8]) -> Step {
        let fault = fault::read(body);
        let round_end = self
            .pending
            .iter()
            .position(|pending| matches!(pending.owed, Owed::Sync | Owed::Query | Owed::Call));
        match round_end.map(|place| self.pending[place].owed) {
            Some(Owed::Query | Owed::Call) if round_end == Some(0) => {
                self.answer.fault = Some(fault);
                return self.skip(head);
            }
            None if self.pending.is_empty() && self.in_step && !self.connecting && !fault.fatal => {
                return Step::AwaitPeer;
            }
            None if self.pending.is_empty() => return self.stray_error(head, fault),
            _ => {}
        }
        if self.answer.blurred && self.exchanges_in_round() > 1 {
            return self.skip(head);
        }
        let in_round = round_end.unwrap_or(self.pending.len());
        self.answer.aborting = true;
        self.answer.copy_in = false;
        match self
            .pending
            .iter()
            .take(in_round)
            .position(|pending| pending.exchange)
        {
            Some(place) => {
                self.pending.drain(..=place);
                self.answer.fault = Some(fault);
                let visible = HEAD_BYTES + body.len();
                match (self.respond(visible, ""), head.bytes - visible) {
                    (
                        Step::Message {
                            consumed,
                            mut message,
                        },
                        rest,
                    ) if rest > 0 => {
                        message.ends = Ends::After(rest as u64);
                        Step::Message { consumed, message }
                    }
                    (step, _) => step,
                }
            }
            None => self.skip(head),
        }
    }

    fn copy_in(&mut self, head: Head) -> Step {
        if !self.answer.copy_in {
            self.answer.copy_in = true;
            if self.owed() == Some(Owed::Execute) {
                // A Sync sent ahead is ignored while the server takes copy data.
                while self.pending.get(1).is_some_and(|next| next.owed == Owed::Sync) {
                    self.pending.remove(1);
                }
            }
        }
        self.begin(head)
    }

    /// Replication: what follows is a stream without end, so the exchange ends here.
    fn copy_both(&mut self, head: Head) -> Step {
        let Some(first) = self.pending.front_mut() else {
            return self.skip(head);
        };
        if !std::mem::take(&mut first.exchange) {
            return self.skip(head);
        }
        self.respond_with_rest(head)
    }

    /// ReadyForQuery: everything up to the round's end is answered.
    fn ready(&mut self) -> Step {
        const BYTES: usize = 6;
        self.connecting = false;
        if let Some(step) = self.settle_unproven() {
            return step;
        }
        while !self.answer.round_closed
            && let Some(first) = self.pending.front().copied()
        {
            let ends_round = matches!(first.owed, Owed::Sync | Owed::Query | Owed::Call);
            if first.exchange && self.answer.hidden_round {
                self.pending.pop_front();
                if ends_round {
                    // The frame is shown again, and finds nothing left to answer.
                    self.answer.round_closed = true;
                }
                return self.unseen();
            }
            if first.exchange && first.owed != Owed::Query && first.owed != Owed::Call {
                self.pending.pop_front();
                if self.answer.blurred {
                    return self.unseen();
                }
                let outcome = if self.answer.aborting {
                    Outcome::Error(ABORTED.into())
                } else {
                    Outcome::Ok
                };
                return self.finish(0, CompactString::default(), outcome, Attributes::new());
            }
            self.pending.pop_front();
            if ends_round {
                self.leave_round();
                if !first.exchange {
                    break;
                }
                let tag = std::mem::take(&mut self.answer.tag);
                self.answer.unproven = false;
                return self.respond(BYTES, &tag);
            }
        }
        if self.pending.is_empty() && self.phase == Phase::Session {
            self.in_step = true;
            self.leave_round();
        }
        self.answer.bytes = 0;
        (self.answer.round_closed, self.answer.unproven) = (false, false);
        if self.pending.is_empty() {
            self.answer.hidden_round = false;
        }
        Step::Consumed(BYTES)
    }

    pub(super) fn leave_round(&mut self) {
        self.answer.aborting = false;
        self.answer.copy_in = false;
        // What is missing may lie behind the round that ends.
        self.answer.blurred = self.answer.unaccounted;
    }
}
