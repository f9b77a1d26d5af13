//! MQTT 3.1, 3.1.1 and 5 (OASIS standards).
//!
//! Enters: control packets. Leaves: publications (answered at quality of service 1 and 2, by packet id, at whichever
//! end they were sent), subscriptions, connects and pings. Bounded: [`MAX_ALIASES`] topic aliases a direction; no
//! payload kept. Deliberately absent: MQTT-SN, WebSocket framing, wills.

mod detect;
mod packet;
mod reason;

use compact_str::{CompactString, format_compact};
use rustc_hash::FxHashMap;

use self::detect::Row;
use self::packet::{
    AUTH, CONNACK, CONNECT, DISCONNECT, Fixed, Head, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC,
    Property, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE,
};
use super::context::ContextReader;
use super::table::{Definition, Family};
use super::{Class, Ends, Intent, LostReason, Message, Outcome, Pairing, Parser, Resync, Side, Step, Value};

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Messaging,
    system: "mqtt",
    detect: detect::detect,
    open: |_| Box::<Mqtt>::default(),
    capture_prefix_bytes: 512,
};

/// Topic aliases remembered of either side.
const MAX_ALIASES: usize = 256;
/// What precedes a PUBLISH's payload is waited for up to here.
const MAX_HEAD_BYTES: usize = 128 * 1024;
/// A packet other than PUBLISH may be so long.
const MAX_PACKET_BYTES: usize = 128 * 1024;

#[derive(Default)]
struct Mqtt {
    /// Protocol level of the CONNECT; 0 while unknown.
    level: u8,
    aliases: [FxHashMap<u16, CompactString>; 2],
    pings_sent: u64,
    pings_answered: u64,
}

/// What an acknowledgment answers. Packet ids are a space of their own for each sender.
fn id(kind: u8, asking: Side, packet_id: u64) -> Pairing {
    Pairing::Id(packet_id << 5 | u64::from(kind) << 1 | asking as u64)
}

impl Mqtt {
    fn is_version_5(&self) -> bool {
        self.level == 5
    }

    fn publish(&mut self, side: Side, fixed: Fixed, body: &[u8]) -> Step {
        let Some(publish) = packet::publish(fixed, body, self.is_version_5()) else {
            return if body.len() >= fixed.rest_bytes.min(MAX_HEAD_BYTES) {
                Step::Lost(LostReason::Malformed)
            } else {
                Step::NeedMore
            };
        };
        let head_bytes = fixed.header_bytes + publish.header_bytes;
        let payload_bytes = (fixed.rest_bytes - publish.header_bytes) as u64;
        let ends = if payload_bytes > 0 {
            Ends::After(payload_bytes)
        } else {
            Ends::Here
        };
        let mut message = match fixed.quality() {
            0 => Message::new(Class::OneWay, Pairing::InOrder, ends),
            _ => Message::new(Class::Request, id(PUBLISH, side, publish.packet_id.into()), ends),
        };
        message.intent = if side == Side::Client {
            Intent::Publish
        } else {
            Intent::Receive
        };
        message.operation = "PUBLISH".into();
        let mut context = ContextReader::default();
        let mut alias = None;
        packet::properties(publish.properties, &mut |property| match property {
            Property::TopicAlias(number) => alias = Some(number),
            Property::User(name, value) => context.see(name.as_bytes(), value.as_bytes()),
            Property::ReasonText(_) | Property::Other => {}
        });
        message.target = self.topic(side, publish.topic, alias);
        message.context = context.finish();
        let (name, kind) = if side == Side::Client {
            ("publish", "send")
        } else {
            ("process", "process")
        };
        message.attributes = vec![
            (
                "messaging.operation.name",
                Value::Text(CompactString::const_new(name)),
            ),
            (
                "messaging.operation.type",
                Value::Text(CompactString::const_new(kind)),
            ),
            ("messaging.destination.name", Value::Text(message.target.clone())),
            ("messaging.message.body.size", Value::Int(payload_bytes as i64)),
        ];
        Step::Message {
            consumed: head_bytes,
            message,
        }
    }

    /// The topic, by its alias where it is left out (MQTT 5, section 3.3.2.3.4).
    fn topic(&mut self, side: Side, topic: &str, alias: Option<u16>) -> CompactString {
        let aliases = &mut self.aliases[side as usize];
        match alias {
            Some(alias) if topic.is_empty() => aliases.get(&alias).cloned().unwrap_or_default(),
            Some(alias) => {
                if aliases.len() < MAX_ALIASES || aliases.contains_key(&alias) {
                    aliases.insert(alias, topic.into());
                }
                topic.into()
            }
            None => topic.into(),
        }
    }

    /// A whole packet other than PUBLISH.
    fn packet(&mut self, side: Side, fixed: Fixed, body: &[u8]) -> Step {
        let consumed = fixed.total_bytes();
        match fixed.kind {
            CONNECT => self.connect(body, consumed),
            CONNACK => self.connack(body, consumed),
            SUBSCRIBE | UNSUBSCRIBE => self.subscribe(fixed.kind, body, consumed),
            SUBACK => self.suback(SUBSCRIBE, body, consumed),
            UNSUBACK => self.suback(UNSUBSCRIBE, body, consumed),
            PUBACK | PUBREC | PUBCOMP => self.acknowledge(side, fixed.kind, body, consumed),
            PINGREQ => {
                self.pings_sent += 1;
                request("PINGREQ", "", id(PINGREQ, side, self.pings_sent), consumed)
            }
            PINGRESP if self.pings_answered < self.pings_sent => {
                self.pings_answered += 1;
                response(
                    id(PINGREQ, side.peer(), self.pings_answered),
                    "PINGRESP".into(),
                    Outcome::Ok,
                    consumed,
                )
            }
            DISCONNECT => disconnect(body, consumed),
            AUTH => one_way("AUTH", consumed),
            _ => Step::Consumed(consumed),
        }
    }

    fn connect(&mut self, body: &[u8], consumed: usize) -> Step {
        let Some(connect) = packet::connect(body) else {
            return Step::Lost(LostReason::Malformed);
        };
        *self = Self {
            level: connect.level,
            ..Self::default()
        };
        let mut step = request(
            "CONNECT",
            connect.client_id,
            id(CONNECT, Side::Client, 0),
            consumed,
        );
        if let Step::Message { message, .. } = &mut step {
            message
                .attributes
                .push(("messaging.client.id", Value::Text(connect.client_id.into())));
        }
        step
    }

    fn connack(&self, body: &[u8], consumed: usize) -> Step {
        let Some(code) = body.get(1).copied() else {
            return Step::Lost(LostReason::Malformed);
        };
        let text = match code {
            0 => "",
            _ if code < 0x80 && !self.is_version_5() => reason::connect_return(code),
            _ => reason::failure(code),
        };
        let outcome = if code == 0 {
            Outcome::Ok
        } else {
            Outcome::Error(text.into())
        };
        response(
            id(CONNECT, Side::Client, 0),
            format_compact!("{code}"),
            outcome,
            consumed,
        )
    }

    fn subscribe(&mut self, kind: u8, body: &[u8], consumed: usize) -> Step {
        if self.level == 0 {
            // Joined in the middle: only one of the two readings ends with the packet.
            self.level = if packet::filters(kind, body, false).is_some() {
                4
            } else {
                5
            };
        }
        let Some(filters) = packet::filters(kind, body, self.is_version_5()) else {
            return Step::Lost(LostReason::Malformed);
        };
        let operation = if kind == SUBSCRIBE {
            "SUBSCRIBE"
        } else {
            "UNSUBSCRIBE"
        };
        let pairing = id(kind, Side::Client, filters.packet_id.into());
        let mut step = request(operation, filters.first, pairing, consumed);
        if let Step::Message { message, .. } = &mut step {
            message
                .attributes
                .push(("messaging.destination.name", Value::Text(filters.first.into())));
            if filters.count > 1 {
                message
                    .attributes
                    .push(("messaging.batch.message_count", Value::Int(filters.count as i64)));
            }
        }
        step
    }

    fn suback(&self, asked: u8, body: &[u8], consumed: usize) -> Step {
        let Some((packet_id, rest)) = body.split_first_chunk() else {
            return Step::Lost(LostReason::Malformed);
        };
        let mut codes = rest;
        if self.is_version_5() {
            let mut reader = super::reader::Reader::new(rest);
            let skipped = reader
                .varint()
                .and_then(|length| reader.take(usize::try_from(length).ok()?));
            codes = skipped.map_or(&[], |_| reader.rest());
        }
        let failed = codes.iter().copied().find(|code| *code >= 0x80);
        let shown = failed.or(codes.first().copied()).unwrap_or(0);
        let outcome = failed.map_or(Outcome::Ok, |code| Outcome::Error(reason::failure(code).into()));
        let pairing = id(asked, Side::Client, u16::from_be_bytes(*packet_id).into());
        response(pairing, format_compact!("{shown}"), outcome, consumed)
    }

    /// PUBACK, PUBREC or PUBCOMP: whether it ends the publication, and how.
    fn acknowledge(&self, side: Side, kind: u8, body: &[u8], consumed: usize) -> Step {
        let Some((packet_id, rest)) = body.split_first_chunk() else {
            return Step::Lost(LostReason::Malformed);
        };
        let code = rest.first().copied().unwrap_or(0);
        // The receiver's first answer at quality of service 2 ends it only when it refuses.
        if kind == PUBREC && code < 0x80 {
            return Step::Consumed(consumed);
        }
        let mut text = CompactString::const_new(if code < 0x80 { "" } else { reason::failure(code) });
        packet::properties(rest.get(2..).unwrap_or_default(), &mut |property| {
            if let Property::ReasonText(given) = property {
                text = given.into();
            }
        });
        let outcome = if code < 0x80 {
            Outcome::Ok
        } else {
            Outcome::Error(text)
        };
        let pairing = id(PUBLISH, side.peer(), u16::from_be_bytes(*packet_id).into());
        response(pairing, format_compact!("{code}"), outcome, consumed)
    }
}

fn request(operation: &'static str, target: &str, pairing: Pairing, consumed: usize) -> Step {
    let mut message = Message::new(Class::Request, pairing, Ends::Here);
    message.operation = CompactString::const_new(operation);
    message.target = target.into();
    Step::Message { consumed, message }
}

fn response(pairing: Pairing, status: CompactString, outcome: Outcome, consumed: usize) -> Step {
    let mut message = Message::new(Class::Response, pairing, Ends::Here);
    message.status = status;
    message.outcome = outcome;
    Step::Message { consumed, message }
}

fn one_way(operation: &'static str, consumed: usize) -> Step {
    let mut message = Message::new(Class::OneWay, Pairing::InOrder, Ends::Here);
    message.operation = CompactString::const_new(operation);
    Step::Message { consumed, message }
}

fn disconnect(body: &[u8], consumed: usize) -> Step {
    let mut step = one_way("DISCONNECT", consumed);
    if let (Step::Message { message, .. }, Some(code)) =
        (&mut step, body.first().filter(|code| **code >= 0x80))
    {
        message.status = format_compact!("{code}");
        message.outcome = Outcome::Error(reason::failure(*code).into());
    }
    step
}

impl Parser for Mqtt {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        match packet::head(side, bytes) {
            Head::NeedMore => Step::NeedMore,
            Head::Broken => Step::Lost(LostReason::Malformed),
            Head::Fixed(fixed) => {
                let body = &bytes[fixed.header_bytes..];
                match body.get(..fixed.rest_bytes) {
                    _ if fixed.kind == PUBLISH => {
                        self.publish(side, fixed, &body[..body.len().min(fixed.rest_bytes)])
                    }
                    Some(body) => self.packet(side, fixed, body),
                    None if fixed.rest_bytes > MAX_PACKET_BYTES => Step::Skip(fixed.total_bytes() as u64),
                    None => Step::NeedMore,
                }
            }
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        // Unread, but its end is known.
        match packet::head(side, bytes) {
            Head::Fixed(fixed) => Step::Skip(fixed.total_bytes() as u64),
            Head::NeedMore | Head::Broken => Step::Consumed(bytes.len()),
        }
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        self.pings_answered = self.pings_sent;
        // Aliases may have been set in what is missing.
        self.aliases[side as usize].clear();
        if at_write && matches!(detect::row(side, bytes), Row::Packets { weight: 30.., .. }) {
            return Resync::At(0);
        }
        let is_row = |at: &usize| {
            let row = detect::row(side, &bytes[*at..]);
            matches!(
                row,
                Row::Packets {
                    whole: 2..,
                    ends: true,
                    weight: 30..
                }
            )
        };
        let found = (1..bytes.len()).find(is_row);
        found.map_or(
            Resync::NotYet {
                keep: bytes.len().min(1024),
            },
            Resync::At,
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::scripted::{client, play, server};
    use crate::protocol::{Protocol, harness};

    #[test]
    fn recorded_conversations() {
        harness::check(Protocol::Mqtt);
    }

    #[test]
    fn a_packet_id_used_again_behind_a_lost_answer_is_the_later_publication() {
        let turns = [
            client(b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02cl"),
            server(b"\x20\x02\0\0"),
            client(b"\x32\x08\0\x03a/1\0\x01x"),
            server(b"\x40\x02\0\x01").captured(1),
            client(b"\x32\x08\0\x03a/2\0\x01x"),
            server(b"\x40\x02\0\x01"),
        ];
        let lines = ["CONNECT cl -> 0", "PUBLISH a/1 ->  (lost)", "PUBLISH a/2 -> 0"];
        assert_eq!(play(&turns, true, usize::MAX).lines, lines);
    }
}
