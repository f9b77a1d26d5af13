//! What is remembered of one channel.

use std::collections::VecDeque;
use std::hash::Hasher;

use rustc_hash::{FxHashSet, FxHasher};

use super::MAX_OUTSTANDING;
use super::method::Method;
use crate::protocol::{Pairing, Side};

/// Requests without an answer that are remembered.
const MAX_OPEN: usize = 64;
/// Consumers that do not acknowledge.
const MAX_CONSUMERS: usize = 1024;

#[derive(Default)]
pub(super) struct Channel {
    open: VecDeque<(Method, u64)>,
    asked: u64,
    /// Number of the next publication, in confirm mode and while none was missed.
    next_publish: Option<u64>,
    /// Publications without a confirmation, and deliveries without an acknowledgment.
    pub(super) unconfirmed: VecDeque<u64>,
    pub(super) unacknowledged: VecDeque<u64>,
    /// Hashes of the tags of consumers that do not acknowledge.
    silent_consumers: FxHashSet<u64>,
    /// Whether the consumers being started acknowledge; the server may choose their tags.
    starting: VecDeque<bool>,
    pub(super) contents: [Option<Content>; 2],
}

/// A message whose body is on its way.
pub(super) struct Content {
    pub(super) pairing: Pairing,
    pub(super) rest_bytes: u64,
}

/// Messages that one acknowledgment answers, still to be reported.
pub(super) struct Acknowledging {
    pub(super) ids: VecDeque<Pairing>,
    pub(super) status: &'static str,
}

impl Channel {
    /// Takes note of a request; answers its number.
    pub(super) fn ask(&mut self, method: Method) -> u64 {
        self.asked += 1;
        push_bounded(&mut self.open, (method, self.asked), MAX_OPEN);
        self.asked
    }

    /// The number of the oldest request of this kind, which is answered now.
    pub(super) fn answered(&mut self, method: Method) -> Option<u64> {
        let place = self.open.iter().position(|(open, _)| *open == method);
        place
            .and_then(|place| self.open.remove(place))
            .map(|(_, number)| number)
    }

    pub(super) fn confirm(&mut self) {
        self.next_publish.get_or_insert(1);
    }

    /// The number by which the publication will be confirmed, if it will.
    pub(super) fn publish(&mut self) -> Option<u64> {
        let number = self.next_publish?;
        self.next_publish = Some(number + 1);
        push_bounded(&mut self.unconfirmed, number, MAX_OUTSTANDING);
        Some(number)
    }

    pub(super) fn consume(&mut self, consumer_tag: &str, no_ack: bool) {
        if consumer_tag.is_empty() {
            push_bounded(&mut self.starting, no_ack, MAX_OPEN);
        } else if no_ack {
            self.add_silent(consumer_tag);
        }
    }

    /// The server started a consumer under this tag.
    pub(super) fn consuming(&mut self, consumer_tag: &str) {
        if self.starting.pop_front() == Some(true) {
            self.add_silent(consumer_tag);
        }
    }

    fn add_silent(&mut self, consumer_tag: &str) {
        if self.silent_consumers.len() < MAX_CONSUMERS {
            self.silent_consumers.insert(hash(consumer_tag));
        }
    }

    /// Whether the delivery will be acknowledged.
    pub(super) fn deliver(&mut self, consumer_tag: &str, tag: u64) -> bool {
        if self.silent_consumers.contains(&hash(consumer_tag)) {
            return false;
        }
        push_bounded(&mut self.unacknowledged, tag, MAX_OUTSTANDING);
        true
    }

    /// Bytes of `side` are missing: what counts them no longer counts.
    pub(super) fn lose_place(&mut self, side: Side) {
        self.contents[side as usize] = None;
        if side == Side::Client {
            self.next_publish = None;
            self.unconfirmed.clear();
        }
        // An answer to one of these may be what is missing.
        self.open.clear();
        self.starting.clear();
    }
}

/// Removes the tags that an acknowledgment is about. Tag 0 with `is_multiple` stands for all.
pub(super) fn take_acknowledged(
    outstanding: &mut VecDeque<u64>,
    tag: u64,
    is_multiple: bool,
) -> VecDeque<u64> {
    if is_multiple {
        let count = if tag == 0 {
            outstanding.len()
        } else {
            outstanding.partition_point(|open| *open <= tag)
        };
        return outstanding.drain(..count).collect();
    }
    let place = outstanding.iter().position(|open| *open == tag);
    place
        .and_then(|place| outstanding.remove(place))
        .into_iter()
        .collect()
}

fn push_bounded<T>(queue: &mut VecDeque<T>, value: T, max: usize) {
    if queue.len() >= max {
        queue.pop_front();
    }
    queue.push_back(value);
}

fn hash(text: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}
