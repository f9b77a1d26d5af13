//! Sessions that are compressed once the client is in: packets travel inside others, with a head of their own.
//!
//! Enters: bytes of a side. Leaves: the steps of the packets inside. Bounded: [`PIECE_BYTES`] are inflated at a time, and
//! what the packets' reader waits for is kept. Deliberately absent: those packets. Source: MySQL internals, "Compressed
//! Packet"; MariaDB knowledge base, "0-packet".
//!
//! Bytes that were inflated count as consumed once everything in them was reported.

use super::{HEAD_BYTES, MySql, packet};
use crate::protocol::compression::Inflater;
use crate::protocol::{End, Ends, LostReason, Pairing, Resync, Side, Step};

const COMPRESSED_HEAD_BYTES: usize = 7;
const PIECE_BYTES: usize = 16 << 10;
/// More than the reader of packets ever waits for.
const INSIDE_MAX_BYTES: usize = 64 << 10;

/// What a compressed session is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Zlib,
    Zstd,
}

/// One side of a compressed session.
#[derive(Default)]
pub(super) struct Lane {
    /// Inflated, and not dealt with.
    inside: Vec<u8>,
    /// Bytes of `inside`, or of what is still to be inflated, that nobody needs to see, and what ends with them.
    skip: u64,
    ends: Option<Pairing>,
    /// Bytes at the front of those shown that were inflated.
    inflated: usize,
    /// Bytes left of the compressed packet under way, and what inflates them; `None` where they are not compressed.
    left: usize,
    inflater: Option<Inflater>,
    /// The inflater holds more than it was asked for.
    holds_more: bool,
}

/// Head of a compressed packet: its bytes, and those it holds; 0 where it is sent as it is.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.first_chunk::<COMPRESSED_HEAD_BYTES>()?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], 0]) as usize;
    Some((number(0), number(4)))
}

/// Whether bytes in the middle of a session are a compressed packet that begins with a packet `fits` knows.
pub(super) fn begins(bytes: &[u8], fits: impl Fn(packet::Head, &[u8]) -> bool) -> bool {
    let Some((length, inflated)) = head(bytes) else {
        return false;
    };
    let body = &bytes[COMPRESSED_HEAD_BYTES..bytes.len().min(COMPRESSED_HEAD_BYTES + length)];
    if inflated == 0 {
        return packet::head(body).is_some_and(|head| {
            head.bytes() <= length && fits(head, &body[HEAD_BYTES..body.len().min(head.bytes())])
        });
    }
    let mut inflater = match body {
        [0x78, ..] => Some(Inflater::zlib()),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Inflater::zstd(),
        _ => None,
    };
    let mut inside = Vec::new();
    let read = inflater
        .as_mut()
        .and_then(|inflater| inflater.inflate(body, 512, &mut inside));
    read.is_some()
        && packet::head(&inside).is_some_and(|head| {
            head.bytes() <= inflated && fits(head, &inside[HEAD_BYTES..inside.len().min(head.bytes())])
        })
}

impl MySql {
    pub(super) fn parse_compressed(&mut self, compression: Compression, side: Side, bytes: &[u8]) -> Step {
        loop {
            if let Some(step) = self.step_inside(side) {
                return step;
            }
            let lane = &mut self.compressed_lanes[side as usize];
            if lane.inside.len() <= INSIDE_MAX_BYTES && std::mem::take(&mut lane.holds_more) {
                lane.inflate(&[]);
                continue;
            }
            if lane.inflated > 0 {
                return Step::Consumed(std::mem::take(&mut lane.inflated));
            }
            if lane.inside.len() > INSIDE_MAX_BYTES {
                return self.lost(LostReason::TooLarge);
            }
            if lane.left > 0 {
                if bytes.is_empty() {
                    return Step::NeedMore;
                }
                let piece = &bytes[..lane.left.min(bytes.len()).min(PIECE_BYTES)];
                if !lane.inflate(piece) {
                    return self.lost(LostReason::Malformed);
                }
                continue;
            }
            let Some((length, inflated)) = head(bytes) else {
                return Step::NeedMore;
            };
            lane.left = length;
            lane.inflated = COMPRESSED_HEAD_BYTES;
            lane.inflater = match (inflated, compression) {
                (0, _) => None,
                (_, Compression::Zlib) => Some(Inflater::zlib()),
                (_, Compression::Zstd) => match Inflater::zstd() {
                    Some(inflater) => Some(inflater),
                    None => return self.lost(LostReason::Unsupported),
                },
            };
        }
    }

    /// What the inflated bytes have to say; `None` where more of them are needed.
    fn step_inside(&mut self, side: Side) -> Option<Step> {
        loop {
            if let Some(end) = self.compressed_lanes[side as usize].pass_skipped() {
                return Some(Step::End { consumed: 0, end });
            }
            if self.compressed_lanes[side as usize].skip > 0 {
                return None;
            }
            let inside = std::mem::take(&mut self.compressed_lanes[side as usize].inside);
            let step = self.parse_plain(side, &inside);
            let lane = &mut self.compressed_lanes[side as usize];
            lane.inside = inside;
            match step {
                Step::NeedMore => return None,
                Step::Consumed(count) => lane.drop_front(count),
                Step::Skip(count) => lane.skip = count,
                Step::Message {
                    consumed,
                    mut message,
                } => {
                    lane.drop_front(consumed);
                    if let Ends::After(rest) = message.ends {
                        (lane.skip, lane.ends) = (rest, Some(message.pairing));
                        message.ends = Ends::Later;
                    }
                    return Some(Step::Message { consumed: 0, message });
                }
                Step::End { consumed, end } => {
                    lane.drop_front(consumed);
                    return Some(Step::End { consumed: 0, end });
                }
                Step::Unread { consumed, reason } => {
                    lane.drop_front(consumed);
                    return Some(Step::Unread { consumed: 0, reason });
                }
                Step::HandOver { to, .. } => {
                    let consumed = std::mem::take(&mut lane.inflated);
                    return Some(Step::HandOver { consumed, to });
                }
                Step::Lost(_) | Step::Unseen { .. } | Step::AwaitPeer => return Some(step),
            }
        }
    }

    /// Looks for the place of a compressed session again.
    pub(super) fn resync_compressed(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        self.compressed_lanes[side as usize] = Lane::default();
        let fits = |head: packet::Head, payload: &[u8]| Self::may_begin(side, head, payload);
        if at_write && begins(bytes, fits) {
            Resync::At(0)
        } else {
            Resync::NotYet { keep: 0 }
        }
    }
}

impl Lane {
    fn drop_front(&mut self, count: usize) {
        self.inside.drain(..count.min(self.inside.len()));
    }

    /// Uses what was inflated for a skip under way; answers what ends with it.
    fn pass_skipped(&mut self) -> Option<Box<End>> {
        if self.skip == 0 {
            return None;
        }
        let passed = self.skip.min(self.inside.len() as u64);
        self.drop_front(passed as usize);
        self.skip -= passed;
        if self.skip > 0 {
            return None;
        }
        let id = match self.ends.take()? {
            Pairing::Id(id) => Some(id),
            Pairing::InOrder => None,
        };
        Some(Box::new(End { id, ..End::default() }))
    }

    /// Inflates what it can of `piece`; false where it is damaged.
    fn inflate(&mut self, piece: &[u8]) -> bool {
        let before = self.inside.len();
        let used = match &mut self.inflater {
            None => {
                self.inside.extend_from_slice(piece);
                Some(piece.len())
            }
            Some(inflater) => inflater.inflate(piece, PIECE_BYTES, &mut self.inside),
        };
        let grown = self.inside.len() - before;
        self.holds_more = self.inflater.is_some() && grown == PIECE_BYTES;
        // A stream that ended before its packet did has nothing more to say.
        let used = used.map(|used| if used + grown == 0 { piece.len() } else { used });
        self.inflated += used.unwrap_or(0);
        self.left -= used.unwrap_or(0);
        used.is_some()
    }
}

impl MySql {
    /// With what a session that was joined in the middle is compressed, if it is.
    pub(super) fn joined_compressed(&self, side: Side, bytes: &[u8]) -> Option<Compression> {
        let fits = |head: packet::Head, payload: &[u8]| Self::may_begin(side, head, payload);
        let is_zstd = bytes
            .get(COMPRESSED_HEAD_BYTES..)
            .is_some_and(|body| body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
        begins(bytes, fits).then_some(if is_zstd {
            Compression::Zstd
        } else {
            Compression::Zlib
        })
    }
}
