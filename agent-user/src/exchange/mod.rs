//! Exchange: a request paired with its response.
//!
//! Enters: chunks of both directions of one connection. Leaves: through a [`Sink`], each exchange twice: when its
//! request is first seen, and when it is over. Bounded: open exchanges per connection ([`stitch::OPEN_MAX`]), chunks
//! kept while the protocol is not known. Deliberately absent: spans, services, links.

mod conversation;
mod detect;
pub mod flow;
mod lane;
mod queue;
mod stitch;

use crate::event::{Actor, TimeNs};
use crate::protocol::{LostReason, Message, Protocol, Side};

pub use flow::{Flow, FlowStart};

/// Numbers an exchange; unique within the [`Flow`] that reports it.
pub type ExchangeNumber = u64;

/// How an exchange came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Not over.
    Open,
    /// With a whole response.
    Answered,
    /// It is a one-way message; there is nothing to wait for.
    OneWay,
    /// The connection closed before the response was complete.
    Closed,
    /// Bytes needed to find or follow the response are missing.
    Lost,
    /// Too much was open, or the agent stopped: it was given up.
    Evicted,
}

impl Ending {
    /// Why there is no whole response; empty where there is one or none is due.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Answered | Self::OneWay => "",
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Lost => "lost",
            Self::Evicted => "evicted",
        }
    }
}

/// A request with what is known of its response.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub number: ExchangeNumber,
    /// The finer of the two where the message was refined.
    pub protocol: Protocol,
    /// The protocol of the connection.
    pub carrier: Protocol,
    /// When the first token of a streamed answer moved (LLM APIs).
    pub first_token_ns: Option<TimeNs>,
    /// Which end the watched process is.
    pub local: Side,
    /// Who sent the request (or one-way message).
    pub sender: Side,
    pub request: Box<Message>,
    pub response: Option<Box<Message>>,
    /// Byte position of the request's first byte in its direction.
    pub request_position: u64,
    /// When the request's first and last byte moved.
    pub request_start_ns: TimeNs,
    pub request_end_ns: TimeNs,
    /// When the response's first and last byte moved.
    pub response_start_ns: Option<TimeNs>,
    pub response_end_ns: Option<TimeNs>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Who moved the request's first byte.
    pub request_actor: Actor,
    /// Who moved the response's first byte.
    pub response_actor: Option<Actor>,
    pub ending: Ending,
}

/// Who is told of exchanges.
pub trait Sink {
    /// The request's head was understood.
    fn began(&mut self, exchange: &Exchange);
    /// It is over; nothing more comes of it.
    fn finished(&mut self, exchange: Box<Exchange>);
}

/// What a connection's rooms turned away, since it was last asked. One counter a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowLosses {
    /// Bytes the parser needed and never saw.
    pub missing_bytes: u64,
    /// How often a parser lost its place and had to look for it again.
    pub resyncs: u64,
    pub malformed: u64,
    pub too_large: u64,
    pub missing_state: u64,
    pub unsupported: u64,
    /// Responses whose request was not seen.
    pub responses_without_request: u64,
    /// Requests given up because too many were open.
    pub exchanges_evicted: u64,
    /// Requests whose response was lost with missing bytes.
    pub responses_lost: u64,
    /// The connection's protocol could not be told.
    pub protocol_unknown: u64,
    /// Chunks that arrived while too many were waiting for the protocol or the other side to become clear.
    pub chunks_turned_away: u64,
}

impl FlowLosses {
    /// Name and count of every loss, zero or not. The names are documented in docs/LOSSES.md. What nobody could have
    /// read (an unknown protocol, a response to a request from before we looked) is no loss.
    pub fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("stream_missing_bytes", self.missing_bytes),
            ("parser_resyncs", self.resyncs),
            ("parser_malformed", self.malformed),
            ("parser_too_large", self.too_large),
            ("parser_missing_state", self.missing_state),
            ("parser_unsupported", self.unsupported),
            ("exchanges_evicted", self.exchanges_evicted),
            ("responses_lost", self.responses_lost),
            ("chunks_turned_away", self.chunks_turned_away),
        ]
    }

    /// Counts what a parser gave up.
    fn count(&mut self, reason: LostReason) {
        *match reason {
            LostReason::Malformed => &mut self.malformed,
            LostReason::TooLarge => &mut self.too_large,
            LostReason::MissingState => &mut self.missing_state,
            LostReason::Unsupported => &mut self.unsupported,
        } += 1;
    }

    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}
