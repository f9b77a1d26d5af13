//! What the client sends: statements, and the parts extended ones are made of.

use std::sync::Arc;

use compact_str::CompactString;

use super::frame::{self, HEAD_BYTES, Head};
use super::{Owed, PostgreSql};
use crate::protocol::reader::lossy_text;
use crate::protocol::statement::{self, Dialect, Statement};
use crate::protocol::{Attributes, Class, Ends, LostReason, Message, Pairing, Side, Step, Value};

/// Bytes of a name (statement, portal) that are waited for.
const NAME_MAX_BYTES: usize = 256;

/// Frames since the last exchange that belong to the next one.
#[derive(Default)]
pub(super) struct Round {
    bytes: u64,
    /// The latest frame was a Flush.
    pub(super) flushed: bool,
    /// The statement of a Parse or Describe that nothing ran yet, and which of the two it was.
    unexecuted: Option<Unexecuted>,
}

struct Unexecuted {
    statement: Option<Arc<Statement>>,
    /// The last of its frames in the queue of pending answers.
    owed: Owed,
}

impl PostgreSql {
    /// The frame at the front of `bytes`. `cut`: no more of it will be seen.
    pub(super) fn client_frame(&mut self, bytes: &[u8], cut: bool) -> Step {
        let head = match frame::head(Side::Client, bytes) {
            None if cut => return Step::Consumed(bytes.len()),
            None => return Step::NeedMore,
            Some(Err(())) => return self.lost(LostReason::Malformed),
            Some(Ok(head)) => head,
        };
        let wanted = match head.kind {
            b'Q' => HEAD_BYTES + statement::INPUT_MAX_BYTES,
            b'P' => HEAD_BYTES + NAME_MAX_BYTES + statement::INPUT_MAX_BYTES,
            b'B' => HEAD_BYTES + 2 * NAME_MAX_BYTES,
            b'E' | b'D' | b'C' => HEAD_BYTES + NAME_MAX_BYTES,
            _ => HEAD_BYTES,
        };
        let wanted = wanted.min(head.bytes);
        if bytes.len() < wanted && !cut {
            return Step::NeedMore;
        }
        let visible = wanted.min(bytes.len());
        let body = &bytes[HEAD_BYTES..visible];
        self.note_new_round(head.kind);
        match head.kind {
            b'Q' => self.query(head, body, visible),
            b'P' => self.parse_frame(head, body),
            b'B' => self.bind(head, body),
            b'D' => self.describe(head, body),
            b'E' => self.execute(head, body, visible),
            b'C' => {
                let (kind, name) = body.split_first().unwrap_or((&0, b""));
                let (name, _) = text(name);
                match kind {
                    b'S' => self.prepared.close_statement(&name),
                    _ => self.prepared.close_portal(&name),
                }
                self.push(Owed::Close, false);
                self.part(head)
            }
            b'H' | b'S' => self.sync_or_flush(head),
            b'F' => {
                let mut message = self.request(head, visible, None);
                message.operation = CompactString::const_new("CALL");
                self.push(Owed::Call, true);
                Step::Message {
                    consumed: visible,
                    message,
                }
            }
            b'c' | b'f' => {
                self.answer.copy_in = false;
                Step::Skip(head.bytes as u64)
            }
            // Copy data, passwords, the goodbye.
            _ => Step::Skip(head.bytes as u64),
        }
    }

    /// A frame that says nothing by itself.
    fn part(&mut self, head: Head) -> Step {
        self.round.bytes += head.bytes as u64;
        Step::Skip(head.bytes as u64)
    }

    fn query(&mut self, head: Head, body: &[u8], visible: usize) -> Step {
        let whole = visible == head.bytes;
        let text = if whole { &body[..body.len() - 1] } else { body };
        let statement = statement::normalise(text, Dialect::PostgreSql, self.settings.keep_literals, !whole);
        if !whole && statement.operation.is_empty() {
            // Not even its first word was captured.
            self.out_of_step();
            return Step::Consumed(visible);
        }
        self.push(Owed::Query, true);
        let message = self.request(head, visible, Some(&statement));
        Step::Message {
            consumed: visible,
            message,
        }
    }

    fn parse_frame(&mut self, head: Head, body: &[u8]) -> Step {
        if let Some(step) = self.report_unexecuted(0) {
            return step;
        }
        let (name, rest) = text(body);
        let (sql, whole) = match memchr::memchr(0, rest) {
            Some(end) => (&rest[..end], true),
            None => (rest, false),
        };
        let statement = Arc::new(statement::normalise(
            sql,
            Dialect::PostgreSql,
            self.settings.keep_literals,
            !whole,
        ));
        self.prepared.parse(name, statement.clone());
        self.push(Owed::Parse, false);
        self.round.unexecuted = Some(Unexecuted {
            statement: Some(statement),
            owed: Owed::Parse,
        });
        self.part(head)
    }

    fn bind(&mut self, head: Head, body: &[u8]) -> Step {
        let (portal, rest) = text(body);
        let (name, _) = text(rest);
        self.prepared.bind(portal, &name);
        self.push(Owed::Bind, false);
        self.part(head)
    }

    fn describe(&mut self, head: Head, body: &[u8]) -> Step {
        let (kind, name) = body.split_first().unwrap_or((&0, b""));
        if *kind == b'P' {
            self.push(Owed::DescribePortal, false);
            return self.part(head);
        }
        let (name, _) = text(name);
        if self.round.unexecuted.is_none() {
            let statement = self.prepared.statement(&name);
            self.round.unexecuted = Some(Unexecuted {
                statement,
                owed: Owed::DescribeStatement,
            });
        } else if let Some(unexecuted) = &mut self.round.unexecuted {
            unexecuted.owed = Owed::DescribeStatement;
        }
        self.push(Owed::DescribeStatement, false);
        self.part(head)
    }

    fn execute(&mut self, head: Head, body: &[u8], visible: usize) -> Step {
        let (portal, _) = text(body);
        let portal = self.prepared.execute(&portal);
        self.round.unexecuted = None;
        self.push(Owed::Execute, true);
        let mut message = self.request(head, visible, portal.statement.as_deref());
        if portal.executed {
            message.operation = CompactString::const_new("FETCH");
        } else if portal.statement.is_none() {
            message.operation = CompactString::const_new("EXECUTE");
        }
        Step::Message {
            consumed: visible,
            message,
        }
    }

    fn sync_or_flush(&mut self, head: Head) -> Step {
        let sync = head.kind == b'S';
        if sync && self.answer.copy_in {
            // The server ignores it while it takes copy data.
            return Step::Consumed(HEAD_BYTES);
        }
        let reported = self.report_unexecuted(HEAD_BYTES);
        if sync {
            self.push(Owed::Sync, false);
        }
        self.round = Round {
            flushed: !sync,
            ..Round::default()
        };
        reported.unwrap_or(Step::Consumed(HEAD_BYTES))
    }

    /// A Parse or Describe that nothing will run any more in its round.
    fn report_unexecuted(&mut self, consumed: usize) -> Option<Step> {
        let unexecuted = self.round.unexecuted.take()?;
        let last = self
            .pending
            .iter_mut()
            .rev()
            .find(|pending| pending.owed == unexecuted.owed)?;
        last.exchange = true;
        let head = Head {
            kind: b'S',
            bytes: consumed,
        };
        let mut message = self.request(head, consumed, unexecuted.statement.as_deref());
        message.operation = CompactString::const_new("PREPARE");
        Some(Step::Message { consumed, message })
    }

    /// The request that ends with a frame of which `visible` bytes are at hand.
    fn request(&mut self, head: Head, visible: usize, statement: Option<&Statement>) -> Box<Message> {
        let rest = (head.bytes - visible) as u64;
        let ends = if rest > 0 { Ends::After(rest) } else { Ends::Here };
        let mut message = Message::new(Class::Request, Pairing::InOrder, ends);
        message.size_bytes = Some(self.round.bytes + head.bytes as u64);
        self.round.bytes = 0;
        let mut attributes = Attributes::new();
        if !self.namespace.is_empty() {
            attributes.push(("db.namespace", Value::Text(self.namespace.clone())));
        }
        if let Some(statement) = statement {
            message.operation = statement.operation.clone();
            message.target = statement.text.clone();
            message.context = statement.context.clone();
            if !statement.collection.is_empty() {
                attributes.push(("db.collection.name", Value::Text(statement.collection.clone())));
            }
            if statement.statements > 1 {
                attributes.push((
                    "db.operation.batch.size",
                    Value::Int(i64::from(statement.statements)),
                ));
            }
        }
        message.attributes = attributes;
        message
    }
}

/// A zero-terminated name and what follows it; all there is where the end is not visible.
fn text(bytes: &[u8]) -> (CompactString, &[u8]) {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    let rest = bytes.get(end + 1..).unwrap_or_default();
    (lossy_text(&bytes[..end.min(NAME_MAX_BYTES)]), rest)
}
