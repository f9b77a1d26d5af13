//! HTTP/2 (RFC 9113), with gRPC recognised in it; both sides of one connection.
//!
//! Enters: bytes of a connection, from its preface on, from an upgrade of HTTP/1.1 on, or from the middle. Leaves: a
//! message a stream and side, paired by stream. Bounded: [`MAX_STREAMS`] streams are followed, a header block is at most
//! [`MAX_BLOCK_BYTES`], a frame of data that is looked at [`MAX_WATCHED_BYTES`]; HPACK tables have their own bound. Deliberately absent: flow control, settings (the encoder
//! announces table sizes in the blocks themselves), priorities, pushed responses (nobody asked for them).
//!
//! Missing bytes between frames lose the HPACK state of their side: a block may have been among them. What later blocks
//! say in literals, static entries and newer dynamic ones is still used; what cannot be known reads `…` and is counted. gRPC
//! whose content type is not known is told by the framing of its data ([`stream`]).

mod detect;
mod fields;
mod frame;
mod hpack;
mod stream;

use compact_str::CompactString;
use rustc_hash::FxHashMap;

use self::fields::Fields;
use self::frame::{Frame, HEADER_BYTES, Kind, PREFACE};
use self::hpack::Decoder;
use self::stream::Stream;
use super::table::Family;
use super::{
    Class, Definition, End, Ends, LostReason, Message, Outcome, Pairing, Parser, Protocol, Recovery, Resync,
    Side, Step,
};

/// HTTP/2 as the table knows it.
pub(super) static DEFINITION: Definition = Definition {
    family: Family::Http,
    system: "",
    detect: detect::detect,
    open: |_| Box::new(Http2::default()),
    // Trailers often follow data in one write.
    capture_prefix_bytes: 16 << 10,
};

/// Peers commonly agree on 100 to 250 concurrent streams.
const MAX_STREAMS: usize = 1024;

/// The longest frame of a body that is waited for where a body tells more; the size peers begin with.
const MAX_WATCHED_BYTES: usize = HEADER_BYTES + (16 << 10);

/// The longest header block, over all its frames.
const MAX_BLOCK_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
struct Http2 {
    client: Half,
    server: Half,
    streams: FxHashMap<u32, Stream>,
    /// The client's preface has been read, or can no longer come.
    preface_over: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    headers: Decoder,
    /// A header block whose end has not come yet.
    block: Option<Block>,
    /// Data that ends its stream is passing; the stream ends behind it.
    ending: Option<u32>,
    /// A message was reported with fields unknown, which is still to be counted.
    incomplete: bool,
}

#[derive(Debug)]
struct Block {
    frame: Frame,
    bytes: Vec<u8>,
    /// Of the frames so far, on the wire.
    wire_bytes: u64,
}

impl Parser for Http2 {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        if std::mem::take(&mut self.half(side).incomplete) {
            return Step::Unread {
                consumed: 0,
                reason: LostReason::MissingState,
            };
        }
        if let Some(stream) = self.half(side).ending.take() {
            return self.end(side, stream, 0);
        }
        if side == Side::Client && !self.preface_over {
            return self.preface(bytes);
        }
        let mut passed = 0;
        loop {
            let rest = &bytes[passed..];
            let Some(header) = rest.first_chunk::<HEADER_BYTES>() else {
                return if passed > 0 {
                    Step::Consumed(passed)
                } else {
                    Step::NeedMore
                };
            };
            let Some(frame) = Frame::read(header) else {
                return if passed > 0 {
                    Step::Consumed(passed)
                } else {
                    self.lost(side, LostReason::Malformed)
                };
            };
            if frame.kind != Kind::Other {
                return if passed > 0 {
                    Step::Consumed(passed)
                } else {
                    self.frame(side, frame, bytes)
                };
            }
            if rest.len() < frame.whole_bytes() {
                return Step::Skip((passed + frame.whole_bytes()) as u64);
            }
            passed += frame.whole_bytes();
        }
    }

    fn gap(&mut self, side: Side, _missing: u64) -> Recovery {
        self.lose_place(side);
        Recovery::Resync
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        self.preface_over |= side == Side::Client && !bytes.starts_with(&PREFACE[..4]);
        self.lose_place(side);
        detect::find_frame(bytes, at_write)
    }
}

impl Http2 {
    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn preface(&mut self, bytes: &[u8]) -> Step {
        let shared = bytes.len().min(PREFACE.len());
        if bytes[..shared] != PREFACE[..shared] {
            self.preface_over = true;
            return self.lost(Side::Client, LostReason::Malformed);
        }
        if shared < PREFACE.len() {
            return Step::NeedMore;
        }
        self.preface_over = true;
        Step::Consumed(PREFACE.len())
    }

    fn frame(&mut self, side: Side, frame: Frame, bytes: &[u8]) -> Step {
        let open_block = self.half(side).block.is_some();
        if open_block != (frame.kind == Kind::Continuation) {
            return self.lost(side, LostReason::Malformed);
        }
        match frame.kind {
            Kind::Data => self.data(side, frame, bytes),
            Kind::Headers | Kind::PushPromise | Kind::Continuation => self.header_frame(side, frame, bytes),
            Kind::ResetStream | Kind::Other => match bytes[HEADER_BYTES..].first_chunk::<4>() {
                Some(code) => self.reset(frame, u32::from_be_bytes(*code)),
                None => Step::NeedMore,
            },
        }
    }

    fn data(&mut self, side: Side, frame: Frame, bytes: &[u8]) -> Step {
        let whole_bytes = frame.whole_bytes();
        let mut first_token = false;
        if let Some(stream) = self.streams.get_mut(&frame.stream) {
            stream.look_for_grpc(side, frame, bytes);
            if stream.watched[side as usize] {
                match bytes.get(HEADER_BYTES..whole_bytes) {
                    Some(payload) => {
                        first_token = stream.look_at(side, frame.content(payload).unwrap_or_default())
                    }
                    None if whole_bytes <= MAX_WATCHED_BYTES => return Step::NeedMore,
                    None => stream.watched[side as usize] = false,
                }
            }
            stream.bytes[side as usize] += whole_bytes as u64;
        }
        if frame.end_stream && bytes.len() >= whole_bytes {
            return self.end(side, frame.stream, whole_bytes);
        }
        if frame.end_stream {
            self.half(side).ending = Some(frame.stream);
        }
        if first_token {
            let pairing = Pairing::Id(u64::from(frame.stream));
            return Step::Message {
                consumed: whole_bytes,
                message: Message::new(Class::Interim, pairing, Ends::Here),
            };
        }
        Step::Skip(whole_bytes as u64)
    }

    fn header_frame(&mut self, side: Side, frame: Frame, bytes: &[u8]) -> Step {
        let before = self
            .half(side)
            .block
            .as_ref()
            .map_or(0, |block| block.bytes.len());
        if before + frame.payload_bytes > MAX_BLOCK_BYTES {
            return self.lost(side, LostReason::TooLarge);
        }
        let Some(payload) = bytes.get(HEADER_BYTES..frame.whole_bytes()) else {
            return Step::NeedMore;
        };
        let Some(content) = frame.content(payload) else {
            return self.lost(side, LostReason::Malformed);
        };
        let half = self.half(side);
        let consumed = frame.whole_bytes();
        let (first, whole, wire_bytes) = match half.block.take() {
            None if frame.end_headers => (frame, None, consumed as u64),
            None => {
                half.block = Some(Block {
                    frame,
                    bytes: content.to_vec(),
                    wire_bytes: consumed as u64,
                });
                return Step::Consumed(consumed);
            }
            Some(block) if block.frame.stream != frame.stream => {
                return self.lost(side, LostReason::Malformed);
            }
            Some(mut block) => {
                block.bytes.extend_from_slice(content);
                block.wire_bytes += consumed as u64;
                if !frame.end_headers {
                    half.block = Some(block);
                    return Step::Consumed(consumed);
                }
                (block.frame, Some(block.bytes), block.wire_bytes)
            }
        };
        let mut fields = Fields::default();
        let block = whole.as_deref().unwrap_or(content);
        if half.headers.decode(block, |field| fields.see(field)).is_err() {
            return self.lost(side, LostReason::Malformed);
        }
        half.incomplete = fields.incomplete;
        if first.kind == Kind::PushPromise {
            return Step::Consumed(consumed);
        }
        self.headers(side, first, fields, consumed, wire_bytes)
    }

    /// A whole header block: the head of a message, or its trailers.
    fn headers(
        &mut self,
        side: Side,
        frame: Frame,
        fields: Fields,
        consumed: usize,
        wire_bytes: u64,
    ) -> Step {
        let id = frame.stream;
        let began = self
            .streams
            .get(&id)
            .is_some_and(|stream| stream.began[side as usize]);
        let is_head = if side == Side::Client {
            fields.is_request()
        } else {
            fields.is_response()
        };
        // With unknown fields a first block is a head and a later one trailers; a response's first block that is also
        // its last may be either.
        let first = !began && (side == Side::Client || !frame.end_stream);
        let is_head = is_head || (fields.incomplete && first);
        if !is_head {
            return self.trailers(side, frame, fields, consumed, wire_bytes);
        }
        if began && side == Side::Client {
            return self.lost(side, LostReason::Malformed);
        }
        let interim = side == Side::Server && fields.is_interim();
        let stream = self.stream(id);
        stream.began[side as usize] |= !interim;
        stream.ended[side as usize] |= frame.end_stream;
        stream.bytes[side as usize] += wire_bytes;
        stream.grpc |= fields.is_grpc();
        if side == Side::Client && !stream.grpc && fields.may_be_grpc() {
            stream.unsure_path = Some(fields.path());
        }
        let (grpc, bytes) = (stream.grpc, stream.bytes[side as usize]);
        let over = stream.ended == [true, true];
        // An answer of a type that is not known any more is looked at as what would tell most.
        let unknown = fields.incomplete && side == Side::Server;
        let assumed = CompactString::const_new(if unknown { "application/json" } else { "" });
        let content_type = fields.content_type.clone().unwrap_or(assumed);
        let ends = if frame.end_stream || interim {
            Ends::Here
        } else {
            Ends::Later
        };
        let mut message = match side {
            Side::Client => fields.into_request(id, ends),
            Side::Server => fields.into_response(id, grpc, ends),
        };
        message.size_bytes = Some(bytes);
        if grpc
            && side == Side::Server
            && !interim
            && let Some(path) = self.stream(id).unsure_path.take()
        {
            message.operation = path;
        }
        if !grpc && !interim {
            self.stream(id).watch(side, &mut message, content_type.as_bytes());
        }
        if over {
            self.streams.remove(&id);
        }
        Step::Message { consumed, message }
    }

    fn trailers(
        &mut self,
        side: Side,
        frame: Frame,
        fields: Fields,
        consumed: usize,
        wire_bytes: u64,
    ) -> Step {
        if !frame.end_stream {
            return Step::Unread {
                consumed,
                reason: LostReason::MissingState,
            };
        }
        let mut grpc = false;
        if let Some(stream) = self.streams.get_mut(&frame.stream) {
            stream.bytes[side as usize] += wire_bytes;
            grpc = stream.grpc;
        }
        let mut end = fields.into_end(frame.stream, grpc && side == Side::Server);
        self.tell_grpc(side, frame.stream, &mut end);
        self.refine(side, frame.stream, &mut end);
        end.size_bytes = self.close(side, frame.stream);
        Step::End { consumed, end }
    }

    /// The side sends no more on a stream.
    fn end(&mut self, side: Side, stream: u32, consumed: usize) -> Step {
        let mut end = Box::new(End {
            id: Some(u64::from(stream)),
            ..End::default()
        });
        self.tell_grpc(side, stream, &mut end);
        self.refine(side, stream, &mut end);
        end.size_bytes = self.close(side, stream);
        Step::End { consumed, end }
    }

    /// That the stream is gRPC, where its data or trailers told and its head could not.
    fn tell_grpc(&mut self, side: Side, stream: u32, end: &mut End) {
        let Some(stream) = self.streams.get_mut(&stream) else {
            return;
        };
        stream.grpc |= end.refined == Some(Protocol::Grpc);
        if stream.grpc
            && let Some(path) = stream.unsure_path.take()
        {
            end.refined = Some(Protocol::Grpc);
            if side == Side::Server {
                // The head's status was HTTP's.
                end.status.get_or_insert_default();
            }
            (end.operation, end.target) = (Some(path.clone()), Some(path));
        }
    }

    /// What the body that ends here told.
    fn refine(&mut self, side: Side, stream: u32, end: &mut End) {
        let refiner = self
            .streams
            .get_mut(&stream)
            .and_then(|stream| stream.refiner.as_mut());
        match (refiner, side) {
            (Some(refiner), Side::Client) => refiner.request_end(end),
            (Some(refiner), Side::Server) => refiner.response_end(end),
            (None, _) => {}
        }
    }

    /// Either side gives a stream up: its request ends, and its response, as far as they have not yet.
    fn reset(&mut self, frame: Frame, code: u32) -> Step {
        let consumed = frame.whole_bytes();
        let [client, server] = [Side::Client as usize, Side::Server as usize];
        let Some(stream) = self.streams.get_mut(&frame.stream) else {
            return Step::Consumed(consumed);
        };
        if stream.began[client] && !stream.ended[client] {
            stream.ended[client] = true;
            let size_bytes = Some(stream.bytes[client]);
            let end = End {
                id: Some(u64::from(frame.stream)),
                size_bytes,
                ..End::default()
            };
            // Shown again for the rest.
            return Step::End {
                consumed: 0,
                end: Box::new(end),
            };
        }
        let Some(stream) = self.streams.remove(&frame.stream) else {
            return Step::Consumed(consumed);
        };
        if stream.ended[server] {
            return Step::Consumed(consumed);
        }
        let name = CompactString::const_new(frame::error_name(code));
        let outcome = Outcome::Error(name.clone());
        if stream.began[server] {
            let end = End {
                id: Some(u64::from(frame.stream)),
                status: stream.grpc.then_some(name),
                outcome: Some(outcome),
                size_bytes: Some(stream.bytes[server]),
                ..End::default()
            };
            return Step::End {
                consumed,
                end: Box::new(end),
            };
        }
        let mut message = Message::new(Class::Response, Pairing::Id(u64::from(frame.stream)), Ends::Here);
        message.status = name;
        message.outcome = outcome;
        Step::Message { consumed, message }
    }

    fn close(&mut self, side: Side, id: u32) -> Option<u64> {
        let stream = self.streams.get_mut(&id)?;
        stream.ended[side as usize] = true;
        let bytes = stream.bytes[side as usize];
        if stream.ended == [true, true] {
            self.streams.remove(&id);
        }
        Some(bytes)
    }

    /// The state of a stream; the oldest makes room where there are too many.
    fn stream(&mut self, id: u32) -> &mut Stream {
        if self.streams.len() >= MAX_STREAMS
            && !self.streams.contains_key(&id)
            && let Some(oldest) = self.streams.keys().min().copied()
        {
            self.streams.remove(&oldest);
        }
        self.streams.entry(id).or_default()
    }

    fn lost(&mut self, side: Side, reason: LostReason) -> Step {
        self.lose_place(side);
        Step::Lost(reason)
    }

    fn lose_place(&mut self, side: Side) {
        let half = self.half(side);
        half.headers.lose();
        half.block = None;
        half.ending = None;
    }
}

#[cfg(test)]
mod tests;
