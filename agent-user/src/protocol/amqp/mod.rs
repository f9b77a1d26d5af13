//! AMQP 0-9-1, as RabbitMQ speaks it.
//!
//! Enters: frames. Leaves: synchronous methods with their answers; publications (answered where the channel is in
//! confirm mode); deliveries (answered by the consumer's acknowledgment, if it gives any); refusals as the server's
//! close method names their cause. Bounded: [`MAX_CHANNELS`] channels, [`MAX_OUTSTANDING`] unacknowledged messages each.
//! Deliberately absent: AMQP 1.0, 0-10 and 0-8, and message bodies.

mod channel;
mod detect;
mod frame;
mod method;
mod report;

use compact_str::{CompactString, format_compact};
use rustc_hash::FxHashMap;

use self::channel::{Acknowledging, Channel, Content};
use self::frame::{BODY, ContentHeader, FRAME_HEADER_BYTES, FrameHead, HEADER, Head, METHOD};
use self::method::{
    ACK, CHANNEL_CLOSE, CONFIRM_SELECT_OK, CONNECTION_CLOSE, CONNECTION_START_OK, CONSUME, CONSUME_OK,
    DELIVER, GET, GET_OK, Method, NACK, PUBLISH, Part, REJECT,
};
use super::reader::Reader;
use super::table::{Definition, Family};
use super::{
    Class, End, Ends, Intent, LostReason, Message, Outcome, Pairing, Parser, Resync, Side, Step, Value,
};

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Messaging,
    system: "rabbitmq",
    detect: detect::detect,
    open: |_| Box::<Amqp>::default(),
    capture_prefix_bytes: 1024,
};

/// Channels of a connection whose state is kept; servers offer 2,047.
const MAX_CHANNELS: usize = 4096;
/// Messages of a channel that wait for an acknowledgment.
const MAX_OUTSTANDING: usize = 1024;
/// Methods and content headers longer than this are skipped unread.
const MAX_FRAME_BYTES: usize = 192 * 1024;
/// `AMQP` and the version, the first bytes of a connection.
const PROTOCOL_HEADER_BYTES: usize = 8;

#[derive(Default)]
struct Amqp {
    channels: FxHashMap<u16, Channel>,
    /// A message whose body has just passed, by side.
    over: [Option<Pairing>; 2],
    /// Acknowledgments of several messages at once, under way, by side.
    acknowledging: [Option<Acknowledging>; 2],
}

/// What an id stands for.
#[derive(Clone, Copy)]
enum Kind {
    Method,
    Publish,
    Deliver,
    /// A one-way message with a body: nothing answers it, but its end must find it.
    Content,
}

fn id(kind: Kind, channel: u16, number: u64) -> Pairing {
    Pairing::Id(number << 18 | u64::from(channel) << 2 | kind as u64)
}

impl Amqp {
    fn channel(&mut self, number: u16) -> &mut Channel {
        if self.channels.len() >= MAX_CHANNELS && !self.channels.contains_key(&number) {
            self.channels.clear();
        }
        self.channels.entry(number).or_default()
    }

    fn method(&mut self, side: Side, head: FrameHead, payload: &[u8], bytes: &[u8], is_cut: bool) -> Step {
        let consumed = head.total_bytes();
        let Some((method, mut arguments)) = Method::read(payload) else {
            return Step::Lost(LostReason::Malformed);
        };
        let Some((name, _, part)) = method.describe().filter(|_| method.is_from(side, head.channel)) else {
            return Step::Lost(LostReason::Malformed);
        };
        if method.has_content() {
            return self.with_content(side, head, method, &mut arguments, bytes, is_cut);
        }
        match method {
            ACK | NACK | REJECT => self.acknowledge(side, head.channel, method, &mut arguments, consumed),
            CHANNEL_CLOSE | CONNECTION_CLOSE => {
                self.close(side, head.channel, method, &mut arguments, consumed)
            }
            _ => match part {
                Part::Asks => self.ask(head.channel, method, name, &mut arguments, consumed),
                Part::Answers(asked) => {
                    self.answer(head.channel, asked, method, name, &mut arguments, consumed)
                }
                Part::Neither => Step::Consumed(consumed),
            },
        }
    }

    fn ask(
        &mut self,
        number: u16,
        method: Method,
        name: &'static str,
        arguments: &mut Reader<'_>,
        consumed: usize,
    ) -> Step {
        let subject = method::subject(method, arguments);
        let channel = self.channel(number);
        if method == CONSUME {
            channel.consume(&subject.consumer_tag, subject.no_ack);
        }
        let mut message = if subject.no_wait {
            Message::new(Class::OneWay, Pairing::InOrder, Ends::Here)
        } else {
            let asked = channel.ask(method);
            Message::new(Class::Request, id(Kind::Method, number, asked), Ends::Here)
        };
        message.operation = CompactString::const_new(name);
        if method == CONSUME || method == GET {
            message.intent = Intent::Receive;
        }
        if !subject.target.is_empty() && method.0 != 10 {
            message
                .attributes
                .push(("messaging.destination.name", Value::Text(subject.target.clone())));
        }
        message.target = subject.target;
        Step::Message { consumed, message }
    }

    fn answer(
        &mut self,
        number: u16,
        asked: Method,
        method: Method,
        name: &'static str,
        arguments: &mut Reader<'_>,
        consumed: usize,
    ) -> Step {
        let channel = self.channel(number);
        // A close for a failure was reported by itself; other requests may be missing.
        let Some(open) = channel.answered(asked) else {
            return Step::Consumed(consumed);
        };
        match method {
            CONSUME_OK => channel.consuming(frame::short_text(arguments).unwrap_or_default()),
            CONFIRM_SELECT_OK => channel.confirm(),
            _ => {}
        }
        let mut message = Message::new(Class::Response, id(Kind::Method, number, open), Ends::Here);
        // Without the class, which the request has.
        message.status = name.split_once('.').map_or(name, |(_, method)| method).into();
        message.outcome = Outcome::Ok;
        if asked == CHANNEL_CLOSE {
            self.channels.remove(&number);
        }
        Step::Message { consumed, message }
    }

    /// A close: the answer to what caused it, where that is known to be open; a failure by itself, or a polite request,
    /// otherwise.
    fn close(
        &mut self,
        side: Side,
        number: u16,
        method: Method,
        arguments: &mut Reader<'_>,
        consumed: usize,
    ) -> Step {
        let Some(close) = method::close(arguments) else {
            return Step::Lost(LostReason::Malformed);
        };
        let is_failure = close.code >= 300;
        let outcome = if is_failure {
            Outcome::Error(close.text.into())
        } else {
            Outcome::Ok
        };
        let cause = if side == Side::Server {
            self.cause(number, close.cause)
        } else {
            None
        };
        let mut message = match cause {
            Some(pairing) => {
                let mut message = Message::new(Class::Response, pairing, Ends::Here);
                message.status = format_compact!("{}", close.code);
                message
            }
            None => {
                let mut message = if is_failure {
                    Message::new(Class::OneWay, Pairing::InOrder, Ends::Here)
                } else {
                    let asked = self.channel(number).ask(method);
                    Message::new(Class::Request, id(Kind::Method, number, asked), Ends::Here)
                };
                message.operation = method.describe().map_or("", |(name, ..)| name).into();
                message
            }
        };
        if is_failure {
            message
                .attributes
                .push(("error.type", Value::Text(format_compact!("{}", close.code))));
        }
        message.outcome = outcome;
        Step::Message { consumed, message }
    }

    /// The open request that a close of the server answers.
    fn cause(&mut self, number: u16, cause: Method) -> Option<Pairing> {
        // A close of the whole connection names no channel.
        let channels = self
            .channels
            .iter_mut()
            .filter(|(channel, _)| number == 0 || **channel == number);
        for (channel, state) in channels {
            if cause == PUBLISH
                && let Some(tag) = state.unconfirmed.pop_front()
            {
                return Some(id(Kind::Publish, *channel, tag));
            }
            if let Some(open) = state.answered(cause) {
                return Some(id(Kind::Method, *channel, open));
            }
        }
        // A refused login names no cause.
        let connection = self.channels.get_mut(&0).filter(|_| number == 0)?;
        connection
            .answered(CONNECTION_START_OK)
            .map(|open| id(Kind::Method, 0, open))
    }

    /// Publish, return, deliver or get-ok: with the content header behind it, and bodies to follow.
    fn with_content(
        &mut self,
        side: Side,
        head: FrameHead,
        method: Method,
        arguments: &mut Reader<'_>,
        bytes: &[u8],
        is_cut: bool,
    ) -> Step {
        let mut consumed = head.total_bytes();
        let next = &bytes[consumed..];
        let mut header = None;
        match frame::head(next) {
            Head::NeedMore if !is_cut => return Step::NeedMore,
            Head::Frame(next_head) if next_head.kind == HEADER && next_head.channel == head.channel => {
                match next_head.payload(next) {
                    Some(payload) => {
                        header = frame::content_header(payload);
                        consumed += next_head.total_bytes();
                    }
                    None if !is_cut && next_head.size <= MAX_FRAME_BYTES => return Step::NeedMore,
                    None => {}
                }
            }
            _ => {}
        }
        let body_bytes = header.as_ref().map_or(0, |header| header.body_bytes);
        let Some(mut message) = self.content_message(head.channel, method, arguments, header) else {
            return Step::Lost(LostReason::Malformed);
        };
        if body_bytes > 0 {
            message.ends = Ends::Later;
            let pairing = message.pairing;
            self.channel(head.channel).contents[side as usize] = Some(Content {
                pairing,
                rest_bytes: body_bytes,
            });
        }
        Step::Message { consumed, message }
    }

    fn content_message(
        &mut self,
        number: u16,
        method: Method,
        arguments: &mut Reader<'_>,
        header: Option<ContentHeader<'_>>,
    ) -> Option<Box<Message>> {
        let channel = self.channel(number);
        let mut message = match method {
            PUBLISH => {
                let _reserved = arguments.u16()?;
                match channel.publish() {
                    Some(tag) => Message::new(Class::Request, id(Kind::Publish, number, tag), Ends::Here),
                    None => Message::new(Class::OneWay, id(Kind::Content, number, 0), Ends::Here),
                }
            }
            DELIVER => {
                let consumer_tag = frame::short_text(arguments)?;
                let (tag, _redelivered) = (arguments.u64()?, arguments.u8()?);
                let mut message = if channel.deliver(consumer_tag, tag) {
                    Message::new(Class::Request, id(Kind::Deliver, number, tag), Ends::Here)
                } else {
                    Message::new(Class::OneWay, id(Kind::Content, number, 1), Ends::Here)
                };
                message
                    .attributes
                    .push(("messaging.rabbitmq.message.delivery_tag", Value::Int(tag as i64)));
                message
            }
            GET_OK => {
                let (tag, _redelivered) = (arguments.u64()?, arguments.u8()?);
                let mut message = match channel.answered(GET) {
                    Some(open) => Message::new(Class::Response, id(Kind::Method, number, open), Ends::Here),
                    // Nobody asked, as far as was seen; its body must be followed all the same.
                    None => Message::new(Class::Response, id(Kind::Content, number, 3), Ends::Here),
                };
                message.status = "get-ok".into();
                message.outcome = Outcome::Ok;
                message
                    .attributes
                    .push(("messaging.rabbitmq.message.delivery_tag", Value::Int(tag as i64)));
                message
            }
            _ => {
                let (code, text) = (arguments.u16()?, frame::short_text(arguments)?);
                let mut message = Message::new(Class::OneWay, id(Kind::Content, number, 2), Ends::Here);
                message.outcome = Outcome::Error(format_compact!("{code} {text}"));
                message
            }
        };
        let (exchange, routing_key) = (frame::short_text(arguments)?, frame::short_text(arguments)?);
        report::describe_content(method, exchange, routing_key, header, &mut message);
        Some(message)
    }

    fn body(&mut self, side: Side, head: FrameHead) -> Step {
        let content = &mut self.channel(head.channel).contents[side as usize];
        let mut over = None;
        if let Some(current) = content {
            current.rest_bytes = current.rest_bytes.saturating_sub(head.size as u64);
            if current.rest_bytes == 0 {
                over = Some(current.pairing);
                *content = None;
            }
        }
        self.over[side as usize] = over;
        Step::Skip(head.total_bytes() as u64)
    }

    fn acknowledge(
        &mut self,
        side: Side,
        number: u16,
        method: Method,
        arguments: &mut Reader<'_>,
        consumed: usize,
    ) -> Step {
        let (Some(tag), Some(flags)) = (arguments.u64(), arguments.u8()) else {
            return Step::Lost(LostReason::Malformed);
        };
        let is_multiple = method != REJECT && flags & 1 != 0;
        let channel = self.channel(number);
        let (kind, outstanding) = match side {
            Side::Server => (Kind::Publish, &mut channel.unconfirmed),
            Side::Client => (Kind::Deliver, &mut channel.unacknowledged),
        };
        let tags = channel::take_acknowledged(outstanding, tag, is_multiple);
        let Some(last) = tags.back().copied() else {
            return Step::Consumed(consumed);
        };
        let status = match method {
            ACK => "ack",
            NACK => "nack",
            _ => "reject",
        };
        if tags.len() == 1 {
            return Step::Message {
                consumed,
                message: report::acknowledged(id(kind, number, last), status),
            };
        }
        let ids = tags.into_iter().map(|tag| id(kind, number, tag)).collect();
        self.acknowledging[side as usize] = Some(Acknowledging { ids, status });
        // The frame's end stays, so that there is something to show while the messages are reported one by one.
        Step::Consumed(consumed - 1)
    }

    fn go_on_acknowledging(&mut self, side: Side) -> Option<Step> {
        let slot = &mut self.acknowledging[side as usize];
        let Acknowledging { ids, status } = slot.as_mut()?;
        let status = *status;
        let next = ids.pop_front();
        let is_last = ids.is_empty();
        if is_last {
            *slot = None;
        }
        let consumed = usize::from(is_last);
        Some(match next {
            Some(pairing) => Step::Message {
                consumed,
                message: report::acknowledged(pairing, status),
            },
            None => Step::Consumed(1),
        })
    }

    fn read(&mut self, side: Side, bytes: &[u8], is_cut: bool) -> Step {
        if let Some(pairing) = self.over[side as usize].take() {
            let id = if let Pairing::Id(id) = pairing {
                Some(id)
            } else {
                None
            };
            return Step::End {
                consumed: 0,
                end: Box::new(End { id, ..End::default() }),
            };
        }
        if bytes.is_empty() {
            return Step::NeedMore;
        }
        if let Some(step) = self.go_on_acknowledging(side) {
            return step;
        }
        if bytes[0] == b'A' {
            return report::protocol_header(bytes);
        }
        let head = match frame::head(bytes) {
            Head::NeedMore => return Step::NeedMore,
            Head::Broken => return Step::Lost(LostReason::Malformed),
            Head::Frame(head) => head,
        };
        match head.kind {
            METHOD if head.size <= MAX_FRAME_BYTES => match head.payload(bytes) {
                Some(payload) => self.method(side, head, payload, bytes, is_cut),
                None => Step::NeedMore,
            },
            BODY => self.body(side, head),
            // A content header by itself: its method was missed.
            _ => Step::Skip(head.total_bytes() as u64),
        }
    }
}

impl Parser for Amqp {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        self.read(side, bytes, false)
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        match self.read(side, bytes, true) {
            // Unread, but its end is known.
            Step::NeedMore => match frame::head(bytes) {
                Head::Frame(head) => {
                    self.channel(head.channel).lose_place(side);
                    Step::Skip(head.total_bytes() as u64)
                }
                _ => Step::Consumed(bytes.len()),
            },
            step => step,
        }
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        self.over[side as usize] = None;
        self.acknowledging[side as usize] = None;
        for channel in self.channels.values_mut() {
            channel.lose_place(side);
        }
        let ends = memchr::memchr_iter(0xce, bytes).map(|end| end + 1);
        let mut starts = at_write.then_some(0).into_iter().chain(ends);
        match starts.find(|at| detect::is_frame(side, &bytes[*at..])) {
            Some(at) => Resync::At(at),
            None => Resync::NotYet {
                keep: bytes.len().min(FRAME_HEADER_BYTES + 64),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::{Protocol, harness};

    #[test]
    fn recorded_conversations() {
        harness::check(Protocol::Amqp);
    }
}
