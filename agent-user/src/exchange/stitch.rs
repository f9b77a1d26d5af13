//! Pairs responses with requests, in order or by id, for every protocol alike.
//!
//! Enters: messages with the time and place of their first and last byte. Leaves: exchanges. Bounded: [`OPEN_MAX`] open
//! ones and [`EARLY_MAX`] early responses a connection. Deliberately absent: bytes.
//!
//! Events of one connection can overtake each other when several threads use it. Times are causal all the same (bytes
//! leave at or after the time noted, and have arrived by the time noted), so a response is only ever paired with a request that began before it,
//! and one that overtook its request is kept until the request shows up.

use std::collections::VecDeque;

use super::{Ending, Exchange, ExchangeNumber, FlowLosses, Sink};
use crate::event::{Actor, TimeNs};
use crate::protocol::{Class, End, Ends, Message, Pairing, Protocol, Side};

pub(super) const OPEN_MAX: usize = 1_024;
const EARLY_MAX: usize = 16;

/// Where and when a step's bytes lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) start_ns: TimeNs,
    pub(super) end_ns: TimeNs,
    pub(super) actor: Actor,
}

impl Span {
    /// Without bytes, and by nobody that is known.
    pub(super) fn at(position: u64, time_ns: TimeNs) -> Self {
        Self {
            start: position,
            end: position,
            start_ns: time_ns,
            end_ns: time_ns,
            actor: Actor::default(),
        }
    }
}

struct Open {
    exchange: Box<Exchange>,
    request_done: bool,
    /// Byte position where the response began, once it has.
    response_start: Option<u64>,
    response_done: bool,
}

impl Open {
    /// The request, or the response, ends there and then. `size_bytes` where its end tells it.
    fn ends(&mut self, class: Class, size_bytes: Option<u64>, position: u64, time_ns: TimeNs) {
        let exchange = &mut self.exchange;
        if class == Class::Response {
            let start = self.response_start.unwrap_or(position);
            let known = exchange.response.as_ref().and_then(|message| message.size_bytes);
            exchange.response_bytes = size_bytes.or(known).unwrap_or(position.saturating_sub(start));
            exchange.response_end_ns = Some(time_ns);
            self.response_done = true;
        } else {
            exchange.request_bytes = size_bytes
                .or(exchange.request.size_bytes)
                .unwrap_or(position.saturating_sub(exchange.request_position));
            exchange.request_end_ns = time_ns;
        }
        self.request_done = true;
    }
}

struct Early {
    message: Box<Message>,
    at: Span,
    end: Option<(Box<End>, Span)>,
}

pub(super) struct Stitcher {
    /// Which end the watched process is.
    pub(super) local: Side,
    /// Oldest first.
    open: VecDeque<Open>,
    early: VecDeque<Early>,
    next_number: ExchangeNumber,
}

impl Stitcher {
    pub(super) fn new(local: Side) -> Self {
        Self {
            local,
            open: VecDeque::new(),
            early: VecDeque::new(),
            next_number: 0,
        }
    }

    pub(super) fn message(
        &mut self,
        protocol: Protocol,
        side: Side,
        message: Box<Message>,
        at: Span,
        losses: &mut FlowLosses,
        sink: &mut dyn Sink,
    ) {
        match message.class {
            Class::Request | Class::OneWay => self.request(protocol, side, message, at, losses, sink),
            Class::Response => self.response(message, at, losses, sink),
            Class::Interim => self.interim(message.pairing, &at),
        }
    }

    fn request(
        &mut self,
        protocol: Protocol,
        sender: Side,
        message: Box<Message>,
        at: Span,
        losses: &mut FlowLosses,
        sink: &mut dyn Sink,
    ) {
        if self.open.len() >= OPEN_MAX
            && let Some(mut oldest) = self.open.pop_front()
        {
            losses.exchanges_evicted += 1;
            oldest.exchange.ending = Ending::Evicted;
            sink.finished(oldest.exchange);
        }
        let request_done = message.ends == Ends::Here;
        let exchange = Box::write(
            Box::new_uninit(),
            Exchange {
                number: self.next_number,
                protocol: message.refined.unwrap_or(protocol),
                carrier: protocol,
                first_token_ns: None,
                local: self.local,
                sender,
                request_position: at.start,
                request_start_ns: at.start_ns,
                request_end_ns: at.end_ns,
                response: None,
                response_start_ns: None,
                response_end_ns: None,
                request_bytes: message.size_bytes.unwrap_or(at.end - at.start),
                response_bytes: 0,
                request_actor: at.actor,
                response_actor: None,
                ending: Ending::Open,
                request: message,
            },
        );
        self.next_number += 1;
        sink.began(&exchange);
        let pairing = exchange.request.pairing;
        self.open.push_back(Open {
            exchange,
            request_done,
            response_start: None,
            response_done: false,
        });
        self.settle(self.open.len() - 1, sink);
        self.take_early(pairing, at.start_ns, losses, sink);
    }

    /// A response that overtook the request which just came.
    fn take_early(
        &mut self,
        pairing: Pairing,
        request_ns: TimeNs,
        losses: &mut FlowLosses,
        sink: &mut dyn Sink,
    ) {
        while let Some(place) = self
            .early
            .iter()
            .position(|early| early.message.pairing == pairing)
        {
            let Some(early) = self.early.remove(place) else {
                return;
            };
            if early.at.start_ns < request_ns {
                losses.responses_without_request += 1;
                continue;
            }
            self.response(early.message, early.at, losses, sink);
            if let Some((end, at)) = early.end {
                self.end(Class::Response, *end, at, sink);
            }
            return;
        }
    }

    fn response(&mut self, message: Box<Message>, at: Span, losses: &mut FlowLosses, sink: &mut dyn Sink) {
        let Some(place) = self.place_answered(message.pairing, at.start_ns, losses, sink) else {
            if self.early.len() >= EARLY_MAX {
                self.early.pop_front();
                losses.responses_without_request += 1;
            }
            self.early.push_back(Early {
                message,
                at,
                end: None,
            });
            return;
        };
        let open = &mut self.open[place];
        let exchange = &mut open.exchange;
        open.response_start = Some(at.start);
        open.response_done = message.ends == Ends::Here;
        exchange.response_start_ns = Some(at.start_ns);
        exchange.response_end_ns = Some(at.end_ns);
        exchange.response_bytes = message.size_bytes.unwrap_or(at.end - at.start);
        exchange.response_actor = Some(at.actor);
        exchange.protocol = message.refined.unwrap_or(exchange.protocol);
        if !message.operation.is_empty() {
            exchange.request.operation = message.operation.clone();
        }
        // A response ends its request: what of it is still to come (an unread body) is of no interest.
        open.request_done |= open.response_done;
        exchange.response = Some(message);
        self.settle(place, sink);
    }

    /// The request that a response which began then answers. An id is used again only once it was answered: of several
    /// requests with the same one all but the last were, in bytes that are missing.
    fn place_answered(
        &mut self,
        pairing: Pairing,
        start_ns: TimeNs,
        losses: &mut FlowLosses,
        sink: &mut dyn Sink,
    ) -> Option<usize> {
        let waits = |open: &Open| {
            open.exchange.request.pairing == pairing
                && open.response_start.is_none()
                && open.exchange.request.class == Class::Request
                && open.exchange.request_start_ns <= start_ns
        };
        if pairing == Pairing::InOrder {
            return self.open.iter().position(waits);
        }
        let mut last = self.open.iter().rposition(waits)?;
        while let Some(earlier) = self.open.range(..last).position(waits) {
            last -= 1;
            if let Some(mut open) = self.open.remove(earlier) {
                losses.responses_lost += 1;
                open.exchange.ending = Ending::Lost;
                sink.finished(open.exchange);
            }
        }
        Some(last)
    }

    /// Once its response has begun, of an exchange only the first interim message is of interest.
    fn interim(&mut self, pairing: Pairing, at: &Span) {
        let answered = self.open.iter_mut().find(|open| {
            open.exchange.request.pairing == pairing && open.response_start.is_some() && !open.response_done
        });
        if let Some(open) = answered {
            open.exchange.first_token_ns.get_or_insert(at.end_ns);
        }
    }

    /// A message reported with [`Ends::Later`] by `side` is over.
    pub(super) fn ended(&mut self, side: Side, end: End, at: Span, sink: &mut dyn Sink) {
        let class = self.class_under_way(side, end.id.map_or(Pairing::InOrder, Pairing::Id));
        self.end(class, end, at, sink);
    }

    /// A message reported with [`Ends::After`] by `side` has passed.
    pub(super) fn passed(
        &mut self,
        side: Side,
        pairing: Pairing,
        position: u64,
        time_ns: TimeNs,
        sink: &mut dyn Sink,
    ) {
        let class = self.class_under_way(side, pairing);
        if let Some(place) = self.place_under_way(class, pairing) {
            self.open[place].ends(class, None, position, time_ns);
            return self.settle(place, sink);
        }
        let id = match pairing {
            Pairing::Id(id) => Some(id),
            Pairing::InOrder => None,
        };
        let end = End { id, ..End::default() };
        self.end(class, end, Span::at(position, time_ns), sink);
    }

    fn class_under_way(&self, side: Side, pairing: Pairing) -> Class {
        let is_request = self.open.iter().any(|open| {
            open.exchange.sender == side && open.exchange.request.pairing == pairing && !open.request_done
        });
        if is_request {
            Class::Request
        } else {
            Class::Response
        }
    }

    fn place_under_way(&self, class: Class, pairing: Pairing) -> Option<usize> {
        self.open.iter().position(|open| {
            open.exchange.request.pairing == pairing
                && match class {
                    Class::Response => open.response_start.is_some() && !open.response_done,
                    _ => !open.request_done,
                }
        })
    }

    fn end(&mut self, class: Class, mut end: End, at: Span, sink: &mut dyn Sink) {
        let pairing = end.id.map_or(Pairing::InOrder, Pairing::Id);
        let Some(place) = self.place_under_way(class, pairing) else {
            let early = self
                .early
                .iter_mut()
                .find(|early| early.message.pairing == pairing && early.end.is_none());
            if let Some(early) = early {
                early.end = Some((Box::new(end), at));
            }
            return;
        };
        let open = &mut self.open[place];
        open.ends(class, end.size_bytes, at.end, at.end_ns);
        let exchange = &mut open.exchange;
        exchange.protocol = end.refined.unwrap_or(exchange.protocol);
        let message = if class == Class::Response {
            if let Some(operation) = end.operation.take() {
                exchange.request.operation = operation;
            }
            exchange.response.as_mut()
        } else {
            Some(&mut exchange.request)
        };
        if let Some(message) = message {
            amend(message, end);
        }
        self.settle(place, sink);
    }

    /// Lets an exchange go that has all it waits for.
    fn settle(&mut self, place: usize, sink: &mut dyn Sink) {
        let open = &self.open[place];
        let one_way = open.exchange.request.class == Class::OneWay;
        if !(open.request_done && (open.response_done || one_way)) {
            return;
        }
        if let Some(mut open) = self.open.remove(place) {
            open.exchange.ending = if one_way { Ending::OneWay } else { Ending::Answered };
            sink.finished(open.exchange);
        }
    }

    /// Bytes are missing, so that responses paired in order can no longer be told apart: gives up what is open.
    pub(super) fn lost_place(&mut self, losses: &mut FlowLosses, sink: &mut dyn Sink) {
        self.early.clear();
        let mut kept = VecDeque::new();
        for mut open in self.open.drain(..) {
            if matches!(open.exchange.request.pairing, Pairing::Id(_)) {
                kept.push_back(open);
                continue;
            }
            losses.responses_lost += 1;
            open.exchange.ending = Ending::Lost;
            sink.finished(open.exchange);
        }
        self.open = kept;
    }

    /// The oldest exchange of a pairing was answered in bytes that are missing, at `last_ns` at the latest.
    pub(super) fn unseen(
        &mut self,
        pairing: Pairing,
        last_ns: TimeNs,
        losses: &mut FlowLosses,
        sink: &mut dyn Sink,
    ) {
        let place = self.open.iter().position(|open| {
            open.exchange.request.pairing == pairing
                && open.exchange.request.class == Class::Request
                && !open.response_done
        });
        let Some(mut open) = place.and_then(|place| self.open.remove(place)) else {
            return;
        };
        let exchange = &mut open.exchange;
        if last_ns >= exchange.request_end_ns {
            exchange.response_start_ns.get_or_insert(last_ns);
            exchange.response_end_ns = Some(last_ns);
        }
        exchange.ending = Ending::Lost;
        losses.responses_lost += 1;
        sink.finished(open.exchange);
    }

    /// Nothing more will come.
    pub(super) fn over(&mut self, ending: Ending, losses: &mut FlowLosses, sink: &mut dyn Sink) {
        losses.responses_without_request += self.early.len() as u64;
        self.early.clear();
        for mut open in self.open.drain(..) {
            open.exchange.ending = ending;
            sink.finished(open.exchange);
        }
    }

    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }
}

fn amend(message: &mut Message, end: End) {
    message.operation = end
        .operation
        .unwrap_or_else(|| std::mem::take(&mut message.operation));
    message.target = end.target.unwrap_or_else(|| std::mem::take(&mut message.target));
    message.status = end.status.unwrap_or_else(|| std::mem::take(&mut message.status));
    message.outcome = end
        .outcome
        .unwrap_or_else(|| std::mem::take(&mut message.outcome));
    message.attributes.extend(end.attributes);
}
