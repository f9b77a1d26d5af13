//! AMQP 0-9-1 methods: their names, who sends them, what answers them, and the arguments that name things.

use compact_str::{CompactString, format_compact};

use super::frame::short_text;
use crate::protocol::Side;
use crate::protocol::reader::Reader;

/// Class and method number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Method(pub(super) u16, pub(super) u16);

pub(super) const CONNECTION_START: Method = Method(10, 10);
pub(super) const CONNECTION_START_OK: Method = Method(10, 11);
pub(super) const CONNECTION_CLOSE: Method = Method(10, 50);
pub(super) const CHANNEL_CLOSE: Method = Method(20, 40);
pub(super) const CONSUME: Method = Method(60, 20);
pub(super) const CONSUME_OK: Method = Method(60, 21);
pub(super) const PUBLISH: Method = Method(60, 40);
pub(super) const RETURN: Method = Method(60, 50);
pub(super) const DELIVER: Method = Method(60, 60);
pub(super) const GET: Method = Method(60, 70);
pub(super) const GET_OK: Method = Method(60, 71);
pub(super) const ACK: Method = Method(60, 80);
pub(super) const REJECT: Method = Method(60, 90);
pub(super) const NACK: Method = Method(60, 120);
pub(super) const CONFIRM_SELECT_OK: Method = Method(85, 11);

/// Who may send a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
    Either,
}

/// What a method is to the exchange it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Asks,
    /// Answers this one.
    Answers(Method),
    Neither,
}

impl Method {
    /// The method a method frame's payload begins with, and a reader of its arguments.
    pub(super) fn read(payload: &[u8]) -> Option<(Self, Reader<'_>)> {
        let mut reader = Reader::new(payload);
        let method = Self(reader.u16()?, reader.u16()?);
        Some((method, reader))
    }

    /// Name, sender and part; `None` for a number that is none.
    pub(super) fn describe(self) -> Option<(&'static str, Sender, Part)> {
        use Part::{Answers, Asks, Neither};
        use Sender::{Client, Either, Server};
        let answers = |method: u16| Answers(Self(self.0, method));
        Some(match (self.0, self.1) {
            (10, 10) => ("connection.start", Server, Neither),
            (10, 11) => ("connection.start-ok", Client, Asks),
            (10, 20) => ("connection.secure", Server, Neither),
            (10, 21) => ("connection.secure-ok", Client, Neither),
            (10, 30) => ("connection.tune", Server, answers(11)),
            (10, 31) => ("connection.tune-ok", Client, Neither),
            (10, 40) => ("connection.open", Client, Asks),
            (10, 41) => ("connection.open-ok", Server, answers(40)),
            (10, 50) => ("connection.close", Either, Asks),
            (10, 51) => ("connection.close-ok", Either, answers(50)),
            (10, 60) => ("connection.blocked", Server, Neither),
            (10, 61) => ("connection.unblocked", Server, Neither),
            (10, 70) => ("connection.update-secret", Client, Asks),
            (10, 71) => ("connection.update-secret-ok", Server, answers(70)),
            (20, 10) => ("channel.open", Client, Asks),
            (20, 11) => ("channel.open-ok", Server, answers(10)),
            (20, 20) => ("channel.flow", Either, Asks),
            (20, 21) => ("channel.flow-ok", Either, answers(20)),
            (20, 40) => ("channel.close", Either, Asks),
            (20, 41) => ("channel.close-ok", Either, answers(40)),
            (30, 10) => ("access.request", Client, Asks),
            (30, 11) => ("access.request-ok", Server, answers(10)),
            (40, 10) => ("exchange.declare", Client, Asks),
            (40, 11) => ("exchange.declare-ok", Server, answers(10)),
            (40, 20) => ("exchange.delete", Client, Asks),
            (40, 21) => ("exchange.delete-ok", Server, answers(20)),
            (40, 30) => ("exchange.bind", Client, Asks),
            (40, 31) => ("exchange.bind-ok", Server, answers(30)),
            (40, 40) => ("exchange.unbind", Client, Asks),
            (40, 51) => ("exchange.unbind-ok", Server, answers(40)),
            (50, 10) => ("queue.declare", Client, Asks),
            (50, 11) => ("queue.declare-ok", Server, answers(10)),
            (50, 20) => ("queue.bind", Client, Asks),
            (50, 21) => ("queue.bind-ok", Server, answers(20)),
            (50, 30) => ("queue.purge", Client, Asks),
            (50, 31) => ("queue.purge-ok", Server, answers(30)),
            (50, 40) => ("queue.delete", Client, Asks),
            (50, 41) => ("queue.delete-ok", Server, answers(40)),
            (50, 50) => ("queue.unbind", Client, Asks),
            (50, 51) => ("queue.unbind-ok", Server, answers(50)),
            (60, 10) => ("basic.qos", Client, Asks),
            (60, 11) => ("basic.qos-ok", Server, answers(10)),
            (60, 20) => ("basic.consume", Client, Asks),
            (60, 21) => ("basic.consume-ok", Server, answers(20)),
            // A server that deletes a queue cancels its consumers, without being answered.
            (60, 30) => ("basic.cancel", Either, Asks),
            (60, 31) => ("basic.cancel-ok", Either, answers(30)),
            (60, 40) => ("basic.publish", Client, Neither),
            (60, 50) => ("basic.return", Server, Neither),
            (60, 60) => ("basic.deliver", Server, Neither),
            (60, 70) => ("basic.get", Client, Asks),
            (60, 71) => ("basic.get-ok", Server, answers(70)),
            (60, 72) => ("basic.get-empty", Server, answers(70)),
            (60, 80) => ("basic.ack", Either, Neither),
            (60, 90) => ("basic.reject", Client, Neither),
            (60, 100) => ("basic.recover-async", Client, Neither),
            (60, 110) => ("basic.recover", Client, Asks),
            (60, 111) => ("basic.recover-ok", Server, answers(110)),
            (60, 120) => ("basic.nack", Either, Neither),
            (85, 10) => ("confirm.select", Client, Asks),
            (85, 11) => ("confirm.select-ok", Server, answers(10)),
            (90, 10) => ("tx.select", Client, Asks),
            (90, 11) => ("tx.select-ok", Server, answers(10)),
            (90, 20) => ("tx.commit", Client, Asks),
            (90, 21) => ("tx.commit-ok", Server, answers(20)),
            (90, 30) => ("tx.rollback", Client, Asks),
            (90, 31) => ("tx.rollback-ok", Server, answers(30)),
            _ => return None,
        })
    }

    /// Whether `side` may send it on `channel`; channel 0 is for the connection class alone.
    pub(super) fn is_from(self, side: Side, channel: u16) -> bool {
        let Some((_, sender, _)) = self.describe() else {
            return false;
        };
        let side_fits = match sender {
            Sender::Either => true,
            Sender::Client => side == Side::Client,
            Sender::Server => side == Side::Server,
        };
        side_fits && (self.0 == 10) == (channel == 0)
    }

    pub(super) fn has_content(self) -> bool {
        matches!(self, PUBLISH | RETURN | DELIVER | GET_OK)
    }
}

/// What a request asks about, and whether it forgoes an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) target: CompactString,
    pub(super) no_wait: bool,
    /// Consumers: deliveries are not acknowledged.
    pub(super) no_ack: bool,
    pub(super) consumer_tag: CompactString,
}

/// Reads the arguments of a request; what is cut off is left at its default.
pub(super) fn subject(method: Method, reader: &mut Reader<'_>) -> Subject {
    let mut subject = Subject::default();
    let _ = read_subject(method, reader, &mut subject);
    subject
}

fn read_subject(method: Method, reader: &mut Reader<'_>, subject: &mut Subject) -> Option<()> {
    let names = match (method.0, method.1) {
        (10, 40) => {
            subject.target = short_text(reader)?.into();
            return Some(());
        }
        (60, 30) => 0,
        // A name, or two, in front of the one octet of flags.
        (40, 10) | (60, 20) => 2,
        (40, 20) | (50, 10 | 30 | 40) | (60, 70) => 1,
        (40, 30 | 40) | (50, 20) => 3,
        (50, 50) => 0,
        (85, 10) => {
            subject.no_wait = reader.u8()? & 1 != 0;
            return Some(());
        }
        _ => return Some(()),
    };
    if method == Method(60, 30) {
        subject.consumer_tag = short_text(reader)?.into();
        subject.no_wait = reader.u8()? & 1 != 0;
        return Some(());
    }
    let _reserved = reader.u16()?;
    subject.target = short_text(reader)?.into();
    for index in 1..names {
        let name = short_text(reader)?;
        if method == CONSUME && index == 1 {
            subject.consumer_tag = name.into();
        }
    }
    if names == 0 {
        return Some(());
    }
    let flags = reader.u8()?;
    let no_wait_bit = match (method.0, method.1) {
        (40 | 50, 10) => 4,
        (40, 20) => 1,
        (50, 40) => 2,
        (60, 20) => 3,
        (60, 70) => return Some(()),
        _ => 0,
    };
    subject.no_wait = flags >> no_wait_bit & 1 != 0;
    subject.no_ack = method == CONSUME && flags & 2 != 0;
    Some(())
}

/// Exchange and routing key as one destination name (OpenTelemetry, "RabbitMQ").
pub(super) fn destination(exchange: &str, routing_key: &str) -> CompactString {
    match (exchange, routing_key) {
        ("", key) => key.into(),
        (exchange, "") => exchange.into(),
        (exchange, key) => format_compact!("{exchange}:{key}"),
    }
}

/// A close method's arguments.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Close<'a> {
    pub(super) code: u16,
    pub(super) text: &'a str,
    /// What caused it; zeros where nothing did.
    pub(super) cause: Method,
}

pub(super) fn close<'a>(reader: &mut Reader<'a>) -> Option<Close<'a>> {
    Some(Close {
        code: reader.u16()?,
        text: short_text(reader)?,
        cause: Method(reader.u16()?, reader.u16()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: Method, arguments: &[u8]) -> Subject {
        subject(method, &mut Reader::new(arguments))
    }

    #[test]
    fn subjects_and_their_flags() {
        let declared = read(Method(50, 10), b"\0\0\x02q1\x10\0\0\0\0");
        assert_eq!((declared.target.as_str(), declared.no_wait), ("q1", true));
        let consumed = read(CONSUME, b"\0\0\x01q\x01t\x02\0\0\0\0");
        assert_eq!(
            (consumed.consumer_tag.as_str(), consumed.no_ack, consumed.no_wait),
            ("t", true, false)
        );
        let bound = read(Method(50, 20), b"\0\0\x01q\x01e\x01k\x01\0\0\0\0");
        assert_eq!((bound.target.as_str(), bound.no_wait), ("q", true));
        assert!(read(Method(40, 10), b"\0\0\x01e\x05topic\x12").no_wait);
        assert_eq!(
            read(Method(40, 10), b"\0\0\x01e\x05to"),
            Subject {
                target: "e".into(),
                ..Subject::default()
            }
        );
    }

    #[test]
    fn every_answer_answers_a_request() {
        let all = (0..128).flat_map(|class| (0..128).map(move |method| Method(class, method)));
        for (name, sender, part) in all.filter_map(Method::describe) {
            if let Part::Answers(asked) = part {
                let (_, asking, asked_part) = asked.describe().unwrap();
                assert_eq!(asked_part, Part::Asks, "{name}");
                assert!(asking == Sender::Either || asking != sender, "{name}");
            }
        }
    }
}
