//! Commands.

use std::sync::Arc;

use compact_str::CompactString;

use super::compressed::Compression;
use super::packet::{
    self, CLIENT_COMPRESS, CLIENT_DEPRECATE_EOF, CLIENT_SSL, CLIENT_ZSTD, HEAD_BYTES, Head, LONGEST_PAYLOAD,
};
use super::{Answer, MySql, PENDING_MAX, Pending, Phase};
use crate::protocol::reader::lossy_text;
use crate::protocol::statement::{self, Dialect, Statement};
use crate::protocol::{Attributes, Class, Ends, LostReason, Message, Next, Pairing, Side, Step, Value};

/// Bytes of a login that are waited for.
const LOGIN_WANTED_BYTES: usize = 512;
const QUERY_WANTED_BYTES: usize = 1 + statement::INPUT_MAX_BYTES;

impl MySql {
    /// The packet at the front of `bytes`. `cut`: no more of it will be seen.
    pub(super) fn client_packet(&mut self, bytes: &[u8], cut: bool) -> Step {
        let Some(head) = packet::head(bytes) else {
            return if cut {
                Step::Consumed(bytes.len())
            } else {
                Step::NeedMore
            };
        };
        if std::mem::take(&mut self.client_continues) {
            return self.continuation(head);
        }
        match self.phase {
            // A login comes in answer to a greeting, whether that was captured or not.
            Phase::Greeting if head.sequence == 1 => self.login(head, bytes, cut),
            Phase::Greeting => Step::AwaitPeer,
            Phase::Login => self.login(head, bytes, cut),
            Phase::Authenticating if head.sequence == 0 && head.payload_bytes > 0 => {
                // The session was accepted, which was not captured.
                self.phase = Phase::Commands;
                match self.compression {
                    Some(compression) => self.parse_compressed(compression, Side::Client, bytes),
                    None => self.command(head, bytes, cut),
                }
            }
            // Passwords.
            Phase::Authenticating => Step::Skip(head.bytes() as u64),
            Phase::Commands if head.sequence != 0 || head.payload_bytes == 0 => {
                // Files of LOCAL INFILE, passwords of CHANGE_USER.
                self.client_continues = false;
                Step::Skip(head.bytes() as u64)
            }
            Phase::Commands => self.command(head, bytes, cut),
        }
    }

    /// The next packet of a payload that is longer than a packet can be.
    fn continuation(&mut self, head: Head) -> Step {
        self.client_continues = head.payload_bytes == LONGEST_PAYLOAD;
        if let Some(last) = self.pending.back_mut() {
            last.sequence = last.sequence.wrapping_add(1);
        }
        Step::Skip(head.bytes() as u64)
    }

    fn login(&mut self, head: Head, bytes: &[u8], cut: bool) -> Step {
        let wanted = head.bytes().min(LOGIN_WANTED_BYTES);
        if bytes.len() < wanted && !cut {
            return Step::NeedMore;
        }
        let payload = &bytes[HEAD_BYTES..wanted.min(bytes.len())];
        let Some(login) = packet::login(payload) else {
            return self.lost(LostReason::Malformed);
        };
        if login.capabilities & CLIENT_SSL != 0 && head.payload_bytes <= 32 {
            return Step::HandOver {
                consumed: wanted.min(bytes.len()),
                to: Next::Opaque,
            };
        }
        self.compression = match login.capabilities {
            asked if asked & CLIENT_ZSTD != 0 => Some(Compression::Zstd),
            asked if asked & CLIENT_COMPRESS != 0 => Some(Compression::Zlib),
            _ => None,
        };
        self.deprecate_eof = Some(login.capabilities & CLIENT_DEPRECATE_EOF != 0);
        self.namespace = name(login.database);
        self.phase = Phase::Authenticating;
        Step::Skip(head.bytes() as u64)
    }

    fn command(&mut self, head: Head, bytes: &[u8], cut: bool) -> Step {
        let Some(&code) = bytes.get(HEAD_BYTES) else {
            return if cut {
                Step::Consumed(bytes.len())
            } else {
                Step::NeedMore
            };
        };
        let Some(name) = packet::command_name(code) else {
            return self.lost(LostReason::Malformed);
        };
        let wanted = match code {
            0x03 | 0x16 => QUERY_WANTED_BYTES,
            0x02 | 0x04 | 0x05 | 0x06 => 258,
            0x17 | 0x18 | 0x19 | 0x1a | 0x1c | 0xfa => 10,
            _ => 1,
        };
        let wanted = HEAD_BYTES + wanted.min(head.payload_bytes);
        if bytes.len() < wanted && !cut {
            return Step::NeedMore;
        }
        let visible = wanted.min(bytes.len());
        let body = &bytes[HEAD_BYTES + 1..visible];
        if !packet::is_command(head.payload_bytes, &bytes[HEAD_BYTES..visible]) {
            return self.lost(LostReason::Malformed);
        }
        if self.pending.len() >= PENDING_MAX {
            return self.lost(LostReason::TooLarge);
        }
        self.client_continues = head.payload_bytes == LONGEST_PAYLOAD;
        let whole = visible == head.bytes();
        let id = body.first_chunk().map(|id| u32::from_le_bytes(*id));
        match code {
            0x01 => return Step::Skip(head.bytes() as u64),
            0x18 => return Step::Skip(head.bytes() as u64),
            0x19 => {
                if let Some(id) = id {
                    self.prepared.remove(&id);
                }
                return Step::Skip(head.bytes() as u64);
            }
            _ => {}
        }
        let mut message = self.request(head, visible);
        message.operation = CompactString::const_new(name);
        let mut answer = Answer::Ok;
        match code {
            0x03 => {
                let statement = self.normalise(query_text(body), whole);
                if !whole && statement.operation.is_empty() {
                    // Not even its first word was captured.
                    self.out_of_step();
                    return Step::Consumed(visible);
                }
                describe(&mut message, &statement);
                message.operation = statement.operation.clone();
                if statement.operation == "USE" {
                    self.next_namespace = Some(use_target(&statement));
                }
                answer = Answer::Results;
            }
            0x16 => {
                let statement = Arc::new(self.normalise(body, whole));
                describe(&mut message, &statement);
                answer = Answer::Prepare(statement);
            }
            0x17 | 0xfa | 0x1c => {
                if let Some(statement) = id.and_then(|id| self.statement(id)) {
                    describe(&mut message, &statement);
                    if code != 0x1c {
                        message.operation = statement.operation.clone();
                    }
                }
                answer = if code == 0x1c {
                    Answer::Rows
                } else {
                    Answer::Results
                };
            }
            0x02 | 0x05 | 0x06 => {
                message.target = self::name(body);
                if !whole {
                    message.target.push('…');
                }
                if code == 0x02 {
                    self.next_namespace = Some(message.target.clone());
                }
            }
            0x04 => {
                message.target = self::name(&body[..memchr::memchr(0, body).unwrap_or(body.len())]);
                if !whole && !body.contains(&0) {
                    message.target.push('…');
                }
                answer = Answer::Rows;
            }
            0x09 => answer = Answer::Text,
            0x0a => answer = Answer::Results,
            0x11 => answer = Answer::ChangeUser,
            0x12 | 0x1e => answer = Answer::Stream,
            _ => {}
        }
        self.note_next_command();
        self.pending.push_back(Pending { answer, sequence: 1 });
        Step::Message {
            consumed: visible,
            message,
        }
    }

    /// The statement of an id; the last prepared one of MariaDB's `-1`.
    fn statement(&mut self, id: u32) -> Option<Arc<Statement>> {
        if id == u32::MAX {
            self.last_prepared.clone()
        } else {
            self.prepared.get(&id)
        }
    }

    fn normalise(&self, text: &[u8], whole: bool) -> Statement {
        statement::normalise(text, Dialect::MySql, self.settings.keep_literals, !whole)
    }

    fn request(&self, head: Head, visible: usize) -> Box<Message> {
        let rest = (head.bytes() - visible) as u64;
        let ends = if rest > 0 { Ends::After(rest) } else { Ends::Here };
        let mut message = Message::new(Class::Request, Pairing::InOrder, ends);
        message.size_bytes = Some(head.bytes() as u64);
        let mut attributes = Attributes::new();
        if !self.namespace.is_empty() {
            attributes.push(("db.namespace", Value::Text(self.namespace.clone())));
        }
        message.attributes = attributes;
        message
    }
}

fn describe(message: &mut Message, statement: &Statement) {
    message.target = statement.text.clone();
    message.context = statement.context.clone();
    if !statement.collection.is_empty() {
        message
            .attributes
            .push(("db.collection.name", Value::Text(statement.collection.clone())));
    }
    if statement.statements > 1 {
        message.attributes.push((
            "db.operation.batch.size",
            Value::Int(i64::from(statement.statements)),
        ));
    }
}

/// The text behind query attributes, of which only the empty form can be told without knowing the session.
fn query_text(body: &[u8]) -> &[u8] {
    body.strip_prefix(&[0, 1]).unwrap_or(body)
}

fn use_target(statement: &Statement) -> CompactString {
    let name = statement.text.split_whitespace().nth(1).unwrap_or_default();
    CompactString::from(name.trim_matches('`'))
}

fn name(bytes: &[u8]) -> CompactString {
    lossy_text(&bytes[..bytes.len().min(128)])
}
