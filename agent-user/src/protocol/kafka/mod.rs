//! Kafka's protocol, every API key up to version 4.1 of the broker.
//!
//! Enters: requests and responses behind four bytes of size. Leaves: requests with topic, group and client, and
//! responses with their first error, paired by correlation id. Only the first [`HEAD_BYTES`] of a message are read; the
//! rest passes unseen. Bounded: [`MAX_OPEN`] requests remembered. Deliberately absent: record keys and values,
//! compressed batches, and the responses to requests that were not seen.

mod codes;
mod detect;
mod header;
mod records;
mod schema;
mod walk;

use compact_str::{CompactString, format_compact};
use rustc_hash::FxHashMap;

use self::header::{Read, RequestHeader};
use self::schema::{API_VERSIONS, Api, FETCH, METADATA, OFFSET_COMMIT, PRODUCE, SASL_HANDSHAKE, SHARE_FETCH};
use self::walk::{End, Found};
use super::reader::Reader;
use super::table::{Definition, Family};
use super::{
    Class, Ends, Intent, LostReason, Message, Outcome, Pairing, Parser, Resync, SharedNames, Side, Step,
    Value, Verdict,
};

pub(super) static DEFINITION: Definition = Definition {
    family: Family::Messaging,
    system: "kafka",
    detect: detect::detect,
    open: |settings| {
        Box::new(Kafka {
            topics: settings.names.clone(),
            ..Kafka::default()
        })
    },
    capture_prefix_bytes: HEAD_BYTES as u32,
};

/// So much of a message is waited for and read.
const HEAD_BYTES: usize = 1024;
/// Requests whose response is still to come; clients have at most a few.
const MAX_OPEN: usize = 1024;
/// An error that only asks the client to come again with the id it was just given (KIP-394).
const MEMBER_ID_REQUIRED: i16 = 79;

#[derive(Default)]
struct Kafka {
    open: FxHashMap<i32, Open>,
    /// The client authenticates with bare tokens (version 0 of SaslHandshake).
    bare_tokens: bool,
    /// Names of topics by id, from the metadata that passed on any connection: clients ask one broker for all of them.
    topics: SharedNames,
}

#[derive(Clone, Copy)]
struct Open {
    api: &'static Api,
    key: i16,
    version: i16,
}

impl Kafka {
    fn request(&mut self, bytes: &[u8], is_cut: bool) -> Step {
        let header = match header::read(bytes) {
            Read::NeedMore => return Step::NeedMore,
            Read::Broken if self.bare_tokens && header::is_size_plausible(bytes) => {
                return Step::Skip(header::total_bytes(bytes) as u64);
            }
            Read::Broken => return Step::Lost(LostReason::Malformed),
            Read::Header(header) => header,
        };
        let head_bytes = header.total_bytes.min(HEAD_BYTES.max(header.body_at));
        if bytes.len() < head_bytes && !is_cut {
            return Step::NeedMore;
        }
        let head_bytes = head_bytes.min(bytes.len());
        self.bare_tokens &= header.key == SASL_HANDSHAKE;
        let body = bytes.get(header.body_at..head_bytes).unwrap_or_default();
        let items = if header.api.describes(header.version) {
            header.api.request
        } else {
            &[]
        };
        let (found, _) = walk::walk(
            body,
            items,
            header.version,
            header.api.is_flexible(header.version),
        );
        let mut message = self.open_request(&header, &found);
        message.ends = ends(head_bytes, header.total_bytes);
        Step::Message {
            consumed: head_bytes,
            message,
        }
    }

    fn open_request(&mut self, header: &RequestHeader<'_>, found: &Found<'_>) -> Box<Message> {
        let is_answered = !(header.key == PRODUCE && found.acks == Some(0));
        let pairing = Pairing::Id(u64::from(header.correlation_id as u32));
        let class = if is_answered {
            Class::Request
        } else {
            Class::OneWay
        };
        let mut message = Message::new(class, pairing, Ends::Here);
        if is_answered {
            if self.open.len() >= MAX_OPEN {
                self.open.clear();
            }
            let open = Open {
                api: header.api,
                key: header.key,
                version: header.version,
            };
            self.open.insert(header.correlation_id, open);
        }
        if header.key == SASL_HANDSHAKE && header.version == 0 {
            self.bare_tokens = true;
        }
        message.operation = CompactString::const_new(header.api.name);
        message.intent = match header.key {
            PRODUCE => Intent::Publish,
            FETCH | SHARE_FETCH => Intent::Receive,
            _ => Intent::Call,
        };
        let topic = self.topic(found);
        let names = [&topic, &found.group, &found.name];
        message.target = names
            .into_iter()
            .find(|name| !name.is_empty())
            .cloned()
            .unwrap_or_default();
        describe(header, found, topic, &mut message);
        message.context = found.records.and_then(records::context);
        message
    }

    /// The first topic, by its id where the request gives no more.
    fn topic(&self, found: &Found<'_>) -> CompactString {
        match found.topic_id {
            0 => found.topic.clone(),
            _ if !found.topic.is_empty() => found.topic.clone(),
            id => self
                .topics
                .get(id)
                .unwrap_or_else(|| format_compact!("{id:032x}")),
        }
    }

    fn response(&mut self, bytes: &[u8], is_cut: bool) -> Step {
        if bytes.len() >= 4 && !header::is_size_plausible(bytes) {
            return Step::Lost(LostReason::Malformed);
        }
        let total_bytes = header::total_bytes(bytes);
        let mut reader = Reader::new(bytes);
        let (Some(_size), Some(correlation_id)) = (reader.i32(), reader.i32()) else {
            return Step::NeedMore;
        };
        let Some(open) = self.open.get(&correlation_id).copied() else {
            return Step::Skip(total_bytes as u64);
        };
        let head_bytes = total_bytes.min(HEAD_BYTES);
        if bytes.len() < head_bytes && !is_cut {
            return Step::NeedMore;
        }
        self.open.remove(&correlation_id);
        let head_bytes = head_bytes.min(bytes.len());
        let mut message = Message::new(
            Class::Response,
            Pairing::Id(u64::from(correlation_id as u32)),
            Ends::Here,
        );
        message.ends = ends(head_bytes, total_bytes);
        self.judge(open, bytes.get(8..head_bytes).unwrap_or_default(), &mut message);
        Step::Message {
            consumed: head_bytes,
            message,
        }
    }

    /// Reads the outcome from a response's body, which begins behind the correlation id.
    fn judge(&mut self, open: Open, body: &[u8], message: &mut Message) {
        if !open.api.describes(open.version) || open.api.response.is_empty() {
            return;
        }
        let flexible = open.api.is_flexible(open.version);
        let mut reader = Reader::new(body);
        // So that a client can read it before it knows the broker, this one alone never has tags in its header.
        if flexible && open.key != API_VERSIONS && header::skip_tags(&mut reader).is_none() {
            return;
        }
        let (found, end) = walk::walk(reader.rest(), open.api.response, open.version, flexible);
        let error = match found.error {
            Some(error) => error,
            None if end == End::Exact => 0,
            None => return,
        };
        message.status = format_compact!("{error}");
        message.outcome = match error {
            0 | MEMBER_ID_REQUIRED => Outcome::Ok,
            code => Outcome::Error(CompactString::const_new(codes::error_name(code))),
        };
        if matches!(open.key, FETCH | SHARE_FETCH) && end == End::Exact && found.filled_partitions == 1 {
            message.context = found.records.and_then(records::context_of_only);
        }
        if open.key == METADATA {
            self.topics.learn(found.named_ids);
        }
    }

    fn read(&mut self, side: Side, bytes: &[u8], is_cut: bool) -> Step {
        match side {
            _ if bytes.is_empty() => Step::NeedMore,
            Side::Client => self.request(bytes, is_cut),
            Side::Server => self.response(bytes, is_cut),
        }
    }
}

fn ends(consumed: usize, total_bytes: usize) -> Ends {
    match total_bytes.saturating_sub(consumed) {
        0 => Ends::Here,
        rest => Ends::After(rest as u64),
    }
}

fn describe(header: &RequestHeader<'_>, found: &Found<'_>, topic: CompactString, message: &mut Message) {
    let mut add = |name, value| message.attributes.push((name, value));
    if !header.client_id.is_empty() {
        add("messaging.client.id", Value::Text(header.client_id.into()));
    }
    let kind = match header.key {
        PRODUCE => "send",
        FETCH | SHARE_FETCH => "receive",
        OFFSET_COMMIT => "settle",
        _ => "",
    };
    if !kind.is_empty() {
        add(
            "messaging.operation.name",
            Value::Text(header.api.name.to_ascii_lowercase().into()),
        );
        add(
            "messaging.operation.type",
            Value::Text(CompactString::const_new(kind)),
        );
    }
    if !topic.is_empty() {
        add("messaging.destination.name", Value::Text(topic));
    }
    if found.topics > 1 {
        add("messaging.kafka.topic_count", Value::Int(found.topics.into()));
    }
    if let Some(partition) = found.partition.filter(|_| found.partitions == 1) {
        add(
            "messaging.destination.partition.id",
            Value::Text(format_compact!("{partition}")),
        );
    }
    if !found.group.is_empty() {
        add("messaging.consumer.group.name", Value::Text(found.group.clone()));
    }
    add("messaging.kafka.api_version", Value::Int(header.version.into()));
}

impl Parser for Kafka {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        self.read(side, bytes, false)
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        match self.read(side, bytes, true) {
            // Unread, but its end is known.
            Step::NeedMore if header::is_size_plausible(bytes) => {
                Step::Skip(header::total_bytes(bytes) as u64)
            }
            Step::NeedMore => Step::Consumed(bytes.len()),
            step => step,
        }
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        match side {
            Side::Client => {
                let is_request = |at: &usize| matches!(detect::request(&bytes[*at..]), Verdict::Score(75..));
                let may_begin = |at: &usize| (*at > 0 || at_write) && bytes[*at] < 0x20;
                let found = (0..bytes.len()).filter(may_begin).find(is_request);
                found.map_or(
                    Resync::NotYet {
                        keep: bytes.len().min(256),
                    },
                    Resync::At,
                )
            }
            Side::Server => {
                let correlation_id = Reader::new(bytes.get(4..).unwrap_or_default()).i32();
                let is_known = correlation_id.is_some_and(|id| self.open.contains_key(&id));
                let is_response = at_write && is_known && header::is_size_plausible(bytes);
                if is_response {
                    Resync::At(0)
                } else {
                    Resync::NotYet { keep: 0 }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::{Protocol, harness};

    #[test]
    fn recorded_conversations() {
        harness::check(Protocol::Kafka);
    }
}
