//! Span: an exchange seen from one side, with names and attributes in OpenTelemetry semantics.
//!
//! Enters: a finished exchange, who served or made it, and over which connection. Leaves: a [`Span`], without ids: those
//! and the parent are the link room's. Bounded: by the exchange it wraps. Deliberately absent: encoding.

mod attributes;
mod naming;

use std::net::SocketAddr;
use std::sync::Arc;

use compact_str::{CompactString, ToCompactString};

use crate::event::TimeNs;
use crate::exchange::{Ending, Exchange};
use crate::process::Instance;
use crate::protocol::table::Family;
use crate::protocol::{Class, Intent, Outcome, Side};

pub use attributes::AttributeRef;

/// The two ends of the connection a span was seen on, from the watched process's view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    pub local: Option<SocketAddr>,
    pub remote: Option<SocketAddr>,
    /// Path of a Unix socket, empty otherwise.
    pub unix_path: String,
    /// The same, as text: what users read.
    pub local_text: CompactString,
    pub remote_text: CompactString,
}

impl Endpoints {
    pub fn new(local: Option<SocketAddr>, remote: Option<SocketAddr>, unix_path: &str) -> Self {
        let text = |address: Option<SocketAddr>| match address {
            Some(address) => unmapped(address).to_compact_string(),
            None => CompactString::new(unix_path),
        };
        Self {
            local: local.map(unmapped),
            remote: remote.map(unmapped),
            unix_path: unix_path.to_owned(),
            local_text: text(local),
            remote_text: text(remote),
        }
    }
}

impl Endpoints {
    /// What every span of the connection has, unless the exchange says it itself.
    pub fn attributes(&self, side: Side, visit: &mut dyn FnMut(&'static str, AttributeRef<'_>)) {
        attributes::network(self, side, visit);
    }
}

/// An IPv4 address that a dual-stack socket shows as IPv6 (`::ffff:127.0.0.1`), as IPv4 again.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// OpenTelemetry's span kinds, without `Internal`: everything here crossed a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Server,
    Client,
    Producer,
    Consumer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Unset,
    Error,
}

/// An exchange seen from one side.
#[derive(Clone, Debug)]
pub struct Span {
    pub exchange: Box<Exchange>,
    pub instance: Arc<Instance>,
    pub endpoints: Arc<Endpoints>,
}

impl Span {
    /// Which side the watched process was on.
    pub fn side(&self) -> Side {
        self.exchange.local
    }

    pub fn kind(&self) -> Kind {
        let request = &self.exchange.request;
        if self.side() == Side::Server {
            return Kind::Server;
        }
        let messaging = self.exchange.protocol.family() == Family::Messaging;
        match request.intent {
            Intent::Publish if messaging && self.exchange.sender == Side::Client => Kind::Producer,
            Intent::Publish | Intent::Receive if messaging => Kind::Consumer,
            _ => Kind::Client,
        }
    }

    pub fn name(&self) -> CompactString {
        naming::name(&self.exchange)
    }

    /// The name in two parts, with a space between them where none is empty; `None` where it has to be cut.
    pub fn short_name(&self) -> Option<(&str, &str)> {
        let parts = naming::parts(&self.exchange);
        (parts.0.len() + 1 + parts.1.len() <= naming::NAME_MAX_CHARS).then_some(parts)
    }

    pub fn start_ns(&self) -> TimeNs {
        self.exchange.request_start_ns
    }

    pub fn end_ns(&self) -> TimeNs {
        self.exchange
            .response_end_ns
            .unwrap_or(self.exchange.request_end_ns)
            .max(self.exchange.request_start_ns)
    }

    pub fn duration_ns(&self) -> u64 {
        self.end_ns() - self.start_ns()
    }

    /// As the protocol writes it; empty without a response.
    pub fn status_text(&self) -> &str {
        self.exchange
            .response
            .as_ref()
            .map_or("", |response| &response.status)
    }

    pub fn status(&self) -> Status {
        let failed = self
            .outcomes()
            .any(|outcome| matches!(outcome, Outcome::Error(_)));
        if failed || self.is_cut_off() || naming::status_means_error(&self.exchange, self.side()) {
            Status::Error
        } else {
            Status::Unset
        }
    }

    /// The error in the protocol's own words, or why there is no response; empty for a success.
    pub fn error_message(&self) -> &str {
        let said = self.outcomes().find_map(|outcome| match outcome {
            Outcome::Error(text) => Some(text.as_str()),
            _ => None,
        });
        said.unwrap_or(if self.is_cut_off() {
            "connection closed before the response was complete"
        } else {
            ""
        })
    }

    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        let response = self.exchange.response.iter().map(|response| &response.outcome);
        response.chain(std::iter::once(&self.exchange.request.outcome))
    }

    /// The peer hung up on a request that was due an answer.
    fn is_cut_off(&self) -> bool {
        self.exchange.ending == Ending::Closed && self.exchange.request.class == Class::Request
    }

    /// Every attribute but the resource's, in a stable order, each key once.
    pub fn attributes(&self, visit: &mut dyn FnMut(&'static str, AttributeRef<'_>)) {
        attributes::visit(self, true, visit);
    }

    /// The same without those of [`Endpoints::attributes`].
    pub fn attributes_of_exchange(&self, visit: &mut dyn FnMut(&'static str, AttributeRef<'_>)) {
        attributes::visit(self, false, visit);
    }

    /// Whether the exchange says this itself, so that the connection's attribute of this key does not count.
    pub fn says(&self, key: &str) -> bool {
        attributes::is_said(self, key)
    }
}
