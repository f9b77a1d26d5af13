//! Responses: OK, ERR, result sets, and whatever else a command can be answered with.

use std::sync::Arc;

use compact_str::CompactString;

use super::fault;
use super::packet::{self, HEAD_BYTES, Head, LONGEST_PAYLOAD, integer};
use super::{Answer, MySql, Phase};
use crate::protocol::answered::Answered;
use crate::protocol::statement::Statement;
use crate::protocol::{Attributes, Class, Ends, LostReason, Message, Next, Outcome, Pairing, Step, Value};

/// Bytes of an ERR packet, or of what may be the last packet of a result, that are waited for.
const WANTED_BYTES: usize = 512;
pub(super) const MORE_RESULTS: u16 = 0x0008;
const CURSOR_EXISTS: u16 = 0x0040;

/// Where in a response the next packet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// OK, ERR, or the head of something longer.
    #[default]
    First,
    /// So many column definitions are due, then rows.
    Columns(u64),
    /// The packet after the column definitions: EOF, or the first row.
    AfterColumns,
    Rows,
    /// So many definitions of a prepared statement are due.
    Definitions {
        parameters: u16,
        columns: u16,
    },
}

/// The response under way.
#[derive(Default)]
pub(super) struct Response {
    place: Place,
    pub(super) bytes: u64,
    pub(super) begun: bool,
    pub(super) rows: i64,
    affected: i64,
    pub(super) is_rows: bool,
    /// The next packet goes on with the payload of the one before.
    continues: bool,
    /// Bytes are missing, and where the next packet begins is not known.
    pub(super) lost: bool,
    pub(super) over: bool,
}

impl MySql {
    pub(super) fn server_packet(&mut self, bytes: &[u8]) -> Step {
        if self.response.over {
            self.pending.pop_front();
            self.response = Response::default();
            return Step::Unseen { id: None };
        }
        if bytes.is_empty() {
            return Step::NeedMore;
        }
        if self.response.lost {
            return self.find_end(bytes);
        }
        let Some(head) = packet::head(bytes) else {
            return Step::NeedMore;
        };
        if std::mem::take(&mut self.response.continues) {
            self.response.continues = head.payload_bytes == LONGEST_PAYLOAD;
            return self.skip(head);
        }
        match self.phase {
            Phase::Greeting => self.greeting(head, bytes),
            Phase::Login | Phase::Authenticating => self.authentication(head, bytes),
            Phase::Commands => self.response(head, bytes),
        }
    }

    fn skip(&mut self, head: Head) -> Step {
        self.response.bytes += head.bytes() as u64;
        Step::Skip(head.bytes() as u64)
    }

    fn greeting(&mut self, head: Head, bytes: &[u8]) -> Step {
        let visible = &bytes[HEAD_BYTES..bytes.len().min(head.bytes())];
        match visible.first() {
            None => Step::NeedMore,
            Some(0xff) => self.refusal(head, bytes),
            Some(10) if packet::is_greeting(visible) => {
                self.phase = Phase::Login;
                Step::Skip(head.bytes() as u64)
            }
            Some(_) => self.lost(LostReason::Malformed),
        }
    }

    fn authentication(&mut self, head: Head, bytes: &[u8]) -> Step {
        match bytes.get(HEAD_BYTES) {
            None if head.payload_bytes > 0 => Step::NeedMore,
            Some(0xff) => self.refusal(head, bytes),
            Some(0) => {
                self.phase = Phase::Commands;
                self.in_step = true;
                Step::Skip(head.bytes() as u64)
            }
            _ => Step::Skip(head.bytes() as u64),
        }
    }

    /// The session was refused.
    fn refusal(&mut self, head: Head, bytes: &[u8]) -> Step {
        let wanted = head.bytes().min(WANTED_BYTES);
        let Some(visible) = bytes.get(..wanted) else {
            return Step::NeedMore;
        };
        let (status, text) = fault::read(&visible[HEAD_BYTES..]);
        let rest = (head.bytes() - wanted) as u64;
        let ends = if rest > 0 { Ends::After(rest) } else { Ends::Here };
        let mut message = Message::new(Class::OneWay, Pairing::InOrder, ends);
        message.operation = CompactString::const_new("CONNECT");
        message.status = status;
        message.outcome = Outcome::Error(text);
        Step::Message {
            consumed: wanted,
            message,
        }
    }

    fn response(&mut self, head: Head, bytes: &[u8]) -> Step {
        let Some(pending) = self.pending.front() else {
            if self.in_step {
                return Step::AwaitPeer;
            }
            return self.unasked(head);
        };
        // Questions for a password are part of it.
        let asked = matches!(pending.answer, Answer::ChangeUser) && self.response.bytes > 0;
        let first = self.response.place == Place::First && !self.response.begun && !asked;
        if first && head.sequence != pending.sequence {
            // It belongs to a response that began before what was seen.
            self.in_step = false;
            return self.unasked(head);
        }
        self.in_step = true;
        let Some(&kind) = bytes.get(HEAD_BYTES) else {
            return if head.payload_bytes == 0 {
                self.skip(head)
            } else {
                Step::NeedMore
            };
        };
        let may_end = matches!(kind, 0xff | 0xfe)
            || (self.response.place == Place::First && !matches!(pending.answer, Answer::Text));
        if may_end && head.payload_bytes < LONGEST_PAYLOAD {
            let wanted = head.bytes().min(WANTED_BYTES);
            if bytes.len() < wanted {
                return Step::NeedMore;
            }
            let payload = &bytes[HEAD_BYTES..wanted];
            if kind == 0xff {
                return self.failed(head, payload, wanted);
            }
            return match self.response.place {
                Place::First => self.first_packet(head, payload, wanted),
                Place::AfterColumns | Place::Rows if head.payload_bytes < 9 || is_final_ok(payload) => {
                    self.end_of_rows(head, payload, wanted)
                }
                Place::Definitions { .. } | Place::Columns(_) => self.pass(head, bytes),
                _ => self.row(head, bytes),
            };
        }
        match self.response.place {
            // The text of STATISTICS.
            Place::First => self.succeeded(head, bytes.len()),
            Place::AfterColumns | Place::Rows => self.row(head, bytes),
            _ => self.pass(head, bytes),
        }
    }

    /// A packet that answers nothing that was seen.
    fn unasked(&mut self, head: Head) -> Step {
        self.response.continues = head.payload_bytes == LONGEST_PAYLOAD;
        Step::Skip(head.bytes() as u64)
    }

    fn first_packet(&mut self, head: Head, payload: &[u8], visible: usize) -> Step {
        let Some(pending) = self.pending.front() else {
            return self.unasked(head);
        };
        let kind = payload.first().copied().unwrap_or(0);
        match (&pending.answer, kind) {
            (Answer::Prepare(statement), 0) => {
                let statement = statement.clone();
                self.prepared_as(head, payload, visible, statement)
            }
            // Asked for another password.
            (Answer::ChangeUser, 0xfe | 0x01) => self.skip(head),
            (Answer::Stream, _) => {
                let step = self.succeeded(head, visible);
                self.streaming = true;
                step
            }
            (Answer::Rows, 0xfe) => self.end_of_rows(head, payload, visible),
            (Answer::Rows, _) => {
                self.response.place = Place::Rows;
                self.begin()
            }
            (_, 0 | 0xfe) => self.ok(head, payload, visible),
            // LOCAL INFILE: the client sends the file, and an answer follows.
            (Answer::Results, 0xfb) => {
                if let Some(first) = self.pending.front_mut() {
                    first.answer = Answer::AfterFile;
                }
                self.response.place = Place::First;
                self.response.begun = true;
                self.response.bytes += head.bytes() as u64;
                Step::Message {
                    consumed: head.bytes(),
                    message: Message::new(Class::Response, Pairing::InOrder, Ends::Later),
                }
            }
            (Answer::Results, _) => match integer(payload) {
                Some((count, size)) if count > 0 && count <= 4_096 => {
                    // MariaDB may leave the definitions out, and says so behind the count.
                    let defined = payload.get(size) != Some(&0);
                    self.response.place = if defined {
                        Place::Columns(count)
                    } else {
                        Place::AfterColumns
                    };
                    self.response.is_rows = true;
                    self.response.bytes += head.bytes() as u64;
                    if std::mem::replace(&mut self.response.begun, true) {
                        return Step::Consumed(head.bytes());
                    }
                    let message = Message::new(Class::Response, Pairing::InOrder, Ends::Later);
                    Step::Message {
                        consumed: head.bytes(),
                        message,
                    }
                }
                _ => self.lost(LostReason::Malformed),
            },
            _ => self.succeeded(head, visible),
        }
    }

    fn begin(&mut self) -> Step {
        self.response.begun = true;
        Step::Message {
            consumed: 0,
            message: Message::new(Class::Response, Pairing::InOrder, Ends::Later),
        }
    }

    /// A definition.
    fn pass(&mut self, head: Head, bytes: &[u8]) -> Step {
        if bytes.len() < head.bytes().min(HEAD_BYTES + 1) {
            return Step::NeedMore;
        }
        let is_eof = head.payload_bytes == 5 && bytes[HEAD_BYTES] == 0xfe;
        self.response.place = match self.response.place {
            Place::Columns(1) => Place::AfterColumns,
            Place::Columns(left) => Place::Columns(left - 1),
            // An EOF stands behind each group of definitions, unless the session does without.
            other if is_eof => other,
            Place::Definitions { parameters, columns } if parameters > 0 => Place::Definitions {
                parameters: parameters - 1,
                columns,
            },
            Place::Definitions { columns, .. } => Place::Definitions {
                parameters: 0,
                columns: columns.saturating_sub(1),
            },
            other => other,
        };
        let Place::Definitions {
            parameters: 0,
            columns: 0,
        } = self.response.place
        else {
            return self.skip(head);
        };
        let eof_follows = self.deprecate_eof == Some(false) && !is_eof;
        if eof_follows {
            self.skip(head)
        } else {
            self.succeeded(head, bytes.len())
        }
    }

    fn row(&mut self, head: Head, bytes: &[u8]) -> Step {
        self.response.place = Place::Rows;
        let mut used = 0;
        let mut next = head;
        // As many whole rows as are at hand.
        loop {
            self.response.continues = next.payload_bytes == LONGEST_PAYLOAD;
            self.response.rows += 1;
            if bytes.len() - used < next.bytes() {
                if used > 0 {
                    self.response.rows -= 1;
                    self.response.continues = false;
                    break;
                }
                return self.skip(next);
            }
            used += next.bytes();
            if self.response.continues {
                break;
            }
            match (packet::head(&bytes[used..]), bytes.get(used + HEAD_BYTES)) {
                (Some(following), Some(kind)) if !matches!(kind, 0xfe | 0xff) => next = following,
                _ => break,
            }
        }
        self.response.bytes += used as u64;
        Step::Consumed(used)
    }

    /// EOF, or the OK that replaces it.
    fn end_of_rows(&mut self, head: Head, payload: &[u8], visible: usize) -> Step {
        let status = if head.payload_bytes < 6 {
            payload
                .get(3..5)
                .map(|status| u16::from_le_bytes([status[0], status[1]]))
        } else {
            ok_fields(payload).map(|(_, status)| status)
        };
        let status = status.unwrap_or(0);
        // Servers before 4.1 have nothing in it.
        let rows_follow = self.response.place == Place::AfterColumns
            && matches!(head.payload_bytes, 1 | 5)
            && status & CURSOR_EXISTS == 0;
        if rows_follow {
            self.response.place = Place::Rows;
            return self.skip(head);
        }
        if status & MORE_RESULTS != 0 {
            self.response.place = Place::First;
            return self.skip(head);
        }
        self.succeeded(head, visible)
    }

    fn ok(&mut self, head: Head, payload: &[u8], visible: usize) -> Step {
        let (affected, status) = ok_fields(payload).unwrap_or_default();
        self.response.affected += affected.min(i64::MAX as u64) as i64;
        if let Some(namespace) = self.next_namespace.take() {
            self.namespace = namespace;
        }
        if status & MORE_RESULTS != 0 {
            if self.response.begun {
                return self.skip(head);
            }
            self.response.begun = true;
            self.response.bytes += head.bytes() as u64;
            let message = Message::new(Class::Response, Pairing::InOrder, Ends::Later);
            return Step::Message {
                consumed: head.bytes(),
                message,
            };
        }
        self.succeeded(head, visible)
    }

    fn prepared_as(&mut self, head: Head, payload: &[u8], visible: usize, statement: Arc<Statement>) -> Step {
        let Some(fields) = payload.first_chunk::<9>() else {
            return self.lost(LostReason::Malformed);
        };
        let id = u32::from_le_bytes([fields[1], fields[2], fields[3], fields[4]]);
        let columns = u16::from_le_bytes([fields[5], fields[6]]);
        let parameters = u16::from_le_bytes([fields[7], fields[8]]);
        self.last_prepared = Some(statement.clone());
        self.prepared.insert(id, statement);
        if columns == 0 && parameters == 0 {
            return self.succeeded(head, visible);
        }
        self.response.place = Place::Definitions { parameters, columns };
        self.response.begun = true;
        self.response.bytes += head.bytes() as u64;
        Step::Message {
            consumed: head.bytes(),
            message: Message::new(Class::Response, Pairing::InOrder, Ends::Later),
        }
    }

    fn failed(&mut self, head: Head, payload: &[u8], visible: usize) -> Step {
        self.next_namespace = None;
        let (code, text) = fault::read(payload);
        self.finish(head, visible, code, Outcome::Error(text))
    }

    pub(super) fn succeeded(&mut self, head: Head, visible: usize) -> Step {
        self.finish(head, visible, CompactString::const_new("OK"), Outcome::Ok)
    }

    /// Ends the response with a packet of which `visible` bytes are at hand, or more; what is behind them is skipped.
    fn finish(&mut self, head: Head, visible: usize, status: CompactString, outcome: Outcome) -> Step {
        let response = std::mem::take(&mut self.response);
        self.pending.pop_front();
        let size_bytes = Some(response.bytes + head.bytes() as u64);
        let mut attributes = Attributes::new();
        if response.is_rows || response.rows > 0 {
            attributes.push(("db.response.returned_rows", Value::Int(response.rows)));
        }
        if response.affected > 0 {
            attributes.push(("db.response.affected_rows", Value::Int(response.affected)));
        }
        let consumed = visible.min(head.bytes());
        self.overlong = (head.bytes() - consumed) as u64;
        let answered = Answered {
            status,
            outcome,
            attributes,
            size_bytes,
        };
        answered.step(response.begun, consumed)
    }

    /// What is to be done before the next packet of the server is looked at.
    pub(super) fn owed_to_server(&mut self) -> Option<Step> {
        if self.overlong > 0 {
            return Some(Step::Skip(std::mem::take(&mut self.overlong)));
        }
        if self.streaming {
            return Some(Step::HandOver {
                consumed: 0,
                to: Next::Opaque,
            });
        }
        None
    }
}

/// An OK packet with EOF's head.
fn is_final_ok(payload: &[u8]) -> bool {
    payload.first() == Some(&0xfe) && ok_fields(payload).is_some()
}

/// Affected rows and status flags of an OK packet.
pub(super) fn ok_fields(payload: &[u8]) -> Option<(u64, u16)> {
    let rest = payload.get(1..)?;
    let (affected, size) = integer(rest)?;
    let rest = rest.get(size..)?;
    let (_, size) = integer(rest)?;
    let status = rest.get(size..size + 2)?;
    Some((affected, u16::from_le_bytes([status[0], status[1]])))
}
