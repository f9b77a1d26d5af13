//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112), both sides of one connection.
//!
//! Enters: bytes of a connection. Leaves: a message a head, with its end where its body ends. Bounded: no payload is
//! kept; at most [`MAX_OPEN`] unanswered requests are remembered, one byte each, and a head is at most
//! [`MAX_HEAD_BYTES`]. Deliberately absent: HTTP/0.9, decoding of content, and repair of framing errors: where RFC 9112
//! calls the framing faulty nothing is guessed, the place is given up and found again at the next head.

mod body;
mod cut;
mod detect;
mod fields;
mod head;
mod line;
mod plain;

use std::collections::VecDeque;

use self::body::{Body, BodyStep};
use self::head::{Framing, Parsed};
use super::refine::Refiner;
use super::table::Family;
use super::{
    Class, Definition, End, Ends, LostReason, Message, Next, Pairing, Parser, Protocol, Recovery, Resync,
    Side, Step,
};

pub(super) use self::head::{set_authority, set_path, set_text};
pub use self::line::is_known_method;

/// HTTP/1 as the table knows it.
pub(super) static DEFINITION: Definition = Definition {
    family: Family::Http,
    system: "",
    detect: detect::detect,
    open: |_| Box::new(Http1::default()),
    capture_prefix_bytes: 4096,
};

/// The longest head that is waited for; servers in use today refuse anything longer than 8 to 32 KiB.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// How many requests may be unanswered (pipelining) before the client's bytes wait for the server's.
const MAX_OPEN: usize = 1024;

/// What must be known of a request to read its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Plain,
    /// Its response has no body whatever its headers say.
    Head,
    /// A 2xx answer turns the connection into a tunnel.
    Connect,
    /// A 101 answer changes the protocol.
    Upgrade,
    /// As [`Asked::Upgrade`], to HTTP/2, where the answer comes on stream 1.
    UpgradeHttp2,
}

impl Asked {
    /// The client's next bytes mean one thing or another depending on the answer.
    fn decides_what_follows(self) -> bool {
        matches!(self, Self::Connect | Self::Upgrade | Self::UpgradeHttp2)
    }
}

#[derive(Debug, Default)]
struct Http1 {
    client: Half,
    server: Half,
    /// Requests without final response, oldest first.
    open: VecDeque<Open>,
    /// Numbers requests; 0 and 1 are not used.
    requests: u64,
    /// More than one request was under way at once.
    pipelined: bool,
    /// Messages were missed while pipelining: which response answers a request that comes now cannot be told.
    unsure: bool,
    hand_over: Option<Next>,
}

/// A request without final response. Pairing by number instead of in order keeps what was seen before a loss valid.
#[derive(Debug)]
struct Open {
    asked: Asked,
    number: u64,
    /// Its response can be told from those of requests that were not seen.
    sure: bool,
    refiner: Option<Box<Refiner>>,
}

/// Pairs a request to upgrade with its answer, also beyond the hand-over. The answer to an upgrade to HTTP/2 is a
/// message of stream 1 (RFC 7540 section 3.2).
pub(super) const UPGRADE: u64 = 1;

/// Pairs with no request.
const UNPAIRED: Pairing = Pairing::Id(u64::MAX);

#[derive(Debug, Default)]
struct Half {
    /// Of the message whose head was the last one; a head comes next where there is none.
    body: Option<Body>,
    pairing: Option<Pairing>,
    /// What looks at that body.
    refiner: Option<Box<Refiner>>,
    /// The place was lost at least once: messages of this side may have gone unseen.
    incomplete: bool,
}

impl Parser for Http1 {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        if let Some(to) = self.hand_over {
            return Step::HandOver { consumed: 0, to };
        }
        let answered = side == Side::Client && self.is_last_answered();
        let half = self.half(side);
        if half
            .body
            .as_ref()
            .is_some_and(|body| body.is_over(side, bytes, answered))
        {
            let owes_end = half.body.take().is_some_and(|body| body.owes_end());
            if owes_end {
                let end = self.end(side);
                return Step::End { consumed: 0, end };
            }
        }
        let may_be_over = |body: &Body| body.may_be_over(bytes, answered);
        if self.half(side).body.as_ref().is_some_and(may_be_over) {
            return Step::NeedMore;
        }
        if let Some(step) = self.body_step(side, bytes) {
            return step;
        }
        if bytes.is_empty() {
            return Step::NeedMore;
        }
        match side {
            Side::Client => self.request(bytes, false),
            Side::Server => self.response(bytes, false),
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        if self.half(side).body.is_some() {
            return Step::Consumed(bytes.len());
        }
        let step = match side {
            Side::Client => self.request(bytes, true),
            Side::Server => self.response(bytes, true),
        };
        if matches!(step, Step::Message { .. }) {
            self.unsure |= self.pipelined;
            // How long the rest of the head and the body are was not seen: the next head is taken where a write begins
            // with one.
            self.half(side).body = Some(Body::of_cut_head());
        }
        step
    }

    fn gap(&mut self, side: Side, missing: u64) -> Recovery {
        if let Some(body) = &mut self.half(side).body
            && body.lose(missing)
        {
            return Recovery::Continue;
        }
        self.lose_place(side);
        Recovery::Resync
    }

    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync {
        // Any loss was noted when it happened; what remains is a connection joined in the middle. Its requests seen so
        // far stay open: the answer to the first of them may be what is shown here.
        self.half(side).incomplete = true;
        match side {
            Side::Client => detect::find_request(bytes, at_write),
            Side::Server => detect::find_response(bytes, at_write),
        }
    }

    fn closed(&mut self, side: Side) -> Option<End> {
        if side == Side::Server && self.ends_with_websocket() {
            return Some(*self.end(side));
        }
        let body = self.half(side).body.take();
        let until_close = body.is_some_and(|body| body.ends_with_connection());
        until_close.then(|| *self.end(side))
    }
}

impl Http1 {
    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Whether nothing waits for an answer, the latest request included.
    fn is_last_answered(&self) -> bool {
        self.open.is_empty()
    }

    fn body_step(&mut self, side: Side, bytes: &[u8]) -> Option<Step> {
        let (body, mut refiner) = match side {
            Side::Client => {
                let open = self.open.back_mut();
                (
                    &mut self.client.body,
                    open.and_then(|open| open.refiner.as_deref_mut()),
                )
            }
            Side::Server => (&mut self.server.body, self.server.refiner.as_deref_mut()),
        };
        let body = body.as_mut()?;
        let (mut enough, mut first_token) = (refiner.is_none(), false);
        let step = body.step(bytes, &mut |data| match (&mut refiner, side) {
            (Some(refiner), Side::Client) => enough |= !refiner.request_body(data),
            (Some(refiner), Side::Server) => first_token |= refiner.response_body(data),
            (None, _) => {}
        });
        if enough {
            body.look_away();
        }
        Some(match step {
            BodyStep::NeedMore => Step::NeedMore,
            BodyStep::Consumed(consumed) if first_token => self.first_token(consumed),
            BodyStep::Consumed(consumed) => Step::Consumed(consumed),
            BodyStep::Skip(bytes) => Step::Skip(bytes),
            BodyStep::End(consumed) => {
                self.half(side).body = None;
                Step::End {
                    consumed,
                    end: self.end(side),
                }
            }
            BodyStep::Malformed => self.lost(side, LostReason::Malformed),
        })
    }

    /// Tells the time of a streamed answer's first token.
    fn first_token(&self, consumed: usize) -> Step {
        let pairing = self.server.pairing.unwrap_or(UNPAIRED);
        Step::Message {
            consumed,
            message: Message::new(Class::Interim, pairing, Ends::Here),
        }
    }

    /// The end of the message under way on a side.
    fn end(&mut self, side: Side) -> Box<End> {
        let mut end = self.half(side).end();
        match side {
            Side::Client => {
                if let Some(refiner) = self.open.back_mut().and_then(|open| open.refiner.as_mut()) {
                    refiner.request_end(&mut end);
                }
            }
            Side::Server => {
                if let Some(mut refiner) = self.server.refiner.take() {
                    refiner.response_end(&mut end);
                }
            }
        }
        Box::new(end)
    }

    fn request(&mut self, bytes: &[u8], cut: bool) -> Step {
        let answer_decides = self
            .open
            .back()
            .is_some_and(|open| open.asked.decides_what_follows());
        if answer_decides || self.open.len() >= MAX_OPEN {
            return Step::AwaitPeer;
        }
        let (mut head, consumed) = match head::request(bytes, cut) {
            Parsed::Head(head, consumed) => (head, consumed),
            Parsed::Partial if cut => return Step::Consumed(bytes.len()),
            Parsed::Partial if bytes.len() < MAX_HEAD_BYTES => return Step::NeedMore,
            Parsed::Partial => return self.lost(Side::Client, LostReason::TooLarge),
            Parsed::Malformed => return self.lost(Side::Client, LostReason::Malformed),
        };
        self.pipelined |= !self.open.is_empty();
        self.requests += 1;
        let upgrade = matches!(head.asked, Asked::Upgrade | Asked::UpgradeHttp2);
        let number = if upgrade { UPGRADE } else { self.requests + UPGRADE };
        let watched = head.refiner.is_some();
        self.open.push_back(Open {
            asked: head.asked,
            number,
            sure: !self.unsure,
            refiner: head.refiner,
        });
        let pairing = Pairing::Id(number);
        head.message.pairing = pairing;
        self.client
            .begin(&mut head.message, head.framing, pairing, watched);
        if head.expects && !matches!(head.framing, Framing::None | Framing::Length(0) | Framing::Faulty) {
            self.client.body = Some(Body::expected(head.framing, watched));
            head.message.ends = Ends::Later;
        }
        Step::Message {
            consumed,
            message: head.message,
        }
    }

    fn response(&mut self, bytes: &[u8], cut: bool) -> Step {
        let open = self.open.front();
        if open.is_none() && !self.client.incomplete && !self.server.incomplete {
            return Step::AwaitPeer;
        }
        let (mut head, consumed) =
            match head::response(bytes, open.map_or(Asked::Plain, |open| open.asked), cut) {
                Parsed::Head(head, consumed) => (head, consumed),
                Parsed::Partial if cut => return Step::Consumed(bytes.len()),
                Parsed::Partial if bytes.len() < MAX_HEAD_BYTES => return Step::NeedMore,
                Parsed::Partial => return self.lost(Side::Server, LostReason::TooLarge),
                Parsed::Malformed => return self.lost(Side::Server, LostReason::Malformed),
            };
        let sure = open.filter(|open| open.sure);
        let pairing = sure.map_or(UNPAIRED, |open| Pairing::Id(open.number));
        head.message.pairing = pairing;
        if head.message.class == Class::Response {
            let answered = self.open.pop_front();
            self.server.refiner = answered.and_then(|open| open.refiner);
        }
        let refiner = self.server.refiner.as_mut();
        let watched = refiner.is_some_and(|refiner| refiner.response_head(head.content_type.as_bytes()));
        self.hand_over = head.hand_over;
        self.server
            .begin(&mut head.message, head.framing, pairing, watched);
        if self.ends_with_websocket() {
            head.message.ends = Ends::Later;
        }
        Step::Message {
            consumed,
            message: head.message,
        }
    }

    /// The last response is over when the WebSocket connection that it began is.
    fn ends_with_websocket(&self) -> bool {
        self.hand_over == Some(Next::Protocol(Protocol::WebSocket))
    }

    fn lost(&mut self, side: Side, reason: LostReason) -> Step {
        self.lose_place(side);
        Step::Lost(reason)
    }

    fn lose_place(&mut self, side: Side) {
        let half = self.half(side);
        half.body = None;
        half.refiner = None;
        half.incomplete = true;
        self.unsure |= self.pipelined;
        if side == Side::Server {
            // Some of their responses may have passed unseen.
            self.open.clear();
        }
    }
}

impl Half {
    fn begin(&mut self, message: &mut Message, framing: Framing, pairing: Pairing, watched: bool) {
        self.pairing = Some(pairing);
        self.body = None;
        message.ends = match framing {
            Framing::None | Framing::Length(0) => Ends::Here,
            Framing::Length(bytes) if !watched => Ends::After(bytes),
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose | Framing::Faulty => {
                self.body = Some(Body::new(framing, watched));
                Ends::Later
            }
        };
    }

    fn end(&self) -> End {
        let id = match self.pairing {
            Some(Pairing::Id(id)) => Some(id),
            _ => None,
        };
        End { id, ..End::default() }
    }
}

#[cfg(test)]
mod tests;
