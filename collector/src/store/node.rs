//! The nodes of the map and their ids, `KIND:NAME` as in docs/API.md. Enters: spans. Leaves: the node a span works for,
//! and the node it calls as far as the span alone can tell. Bounded: the directory of learned addresses.

use super::recent::Recent;
use crate::losses::Losses;
use crate::span::{Span, Text};
use spanhound_proto::v1::SpanKind;
use std::net::{IpAddr, SocketAddr};

/// Callers from outside what is watched.
pub const USER: &str = "user:outside";

const MAX_ADDRESSES: usize = 50_000;

/// `KIND:NAME` of a node.
pub type NodeId = Text;

/// The part before the colon.
pub fn kind_of(id: &str) -> &str {
    id.split_once(':').map_or("external", |(kind, _)| kind)
}

/// The part after the colon.
pub fn name_of(id: &str) -> &str {
    id.split_once(':').map_or(id, |(_, name)| name)
}

pub fn is_service(id: &str) -> bool {
    id.starts_with("service:")
}

/// The software behind a database, cache or queue node; empty for others.
pub fn system_of(id: &str) -> &str {
    match kind_of(id) {
        "database" | "cache" | "queue" => name_of(id).split_once('@').map_or("", |(system, _)| system),
        _ => "",
    }
}

/// What has been learned about addresses: which node answers where.
#[derive(Debug)]
pub struct Directory {
    /// By host of the caller and the address it calls.
    targets: Recent<(Text, Text), NodeId>,
    /// By host, service and port of a watched database process: its one node.
    backends: Recent<(Text, Text, u16), NodeId>,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            targets: Recent::new(MAX_ADDRESSES),
            backends: Recent::new(MAX_ADDRESSES),
        }
    }
}

impl Directory {
    /// The node whose work the span is part of.
    pub fn own_node(&self, span: &Span) -> NodeId {
        match backend_key(span) {
            Some((kind, key)) => self
                .backends
                .get(&key)
                .cloned()
                .unwrap_or_else(|| backend_id(kind, span, &span.local)),
            None => Text::from(format!("service:{}", span.instance.service)),
        }
    }

    /// As [`Directory::own_node`], and remembers the answer for the spans that the same database serves at another of
    /// its addresses.
    pub fn register(&mut self, span: &Span, losses: &Losses) -> NodeId {
        let node = self.own_node(span);
        if let Some((_, key)) = backend_key(span)
            && self.backends.get(&key).is_none()
        {
            self.backends
                .insert(key, node.clone(), &losses.directory_evictions);
        }
        node
    }

    /// Remembers which node answered a call.
    pub fn learn(&mut self, caller_host: &Text, address: &Text, node: &NodeId, losses: &Losses) {
        if !address.is_empty() {
            let key = (caller_host.clone(), address.clone());
            self.targets
                .insert(key, node.clone(), &losses.directory_evictions);
        }
    }

    /// The node a calling span calls when the other end was not seen: what answered at that address before, else what
    /// the span says about its peer.
    pub fn called_node(&self, span: &Span) -> NodeId {
        let key = (span.instance.host_name.clone(), span.peer.clone());
        if let Some(known) = self.targets.get(&key) {
            return known.clone();
        }
        if let Some(kind) = backend_kind(span) {
            return backend_id(kind, span, &span.peer);
        }
        if !span.peer_service.is_empty() {
            return Text::from(format!("service:{}", span.peer_service));
        }
        // An address is written as seen from everywhere, a name as it is.
        let is_name =
            |name: &&str| !name.is_empty() && !name.contains('/') && name.parse::<IpAddr>().is_err();
        let named = span.attribute_text("server.address").filter(is_name);
        let name = match (named, span.peer.rsplit_once(':')) {
            (Some(name), Some((_, port))) if !name.ends_with(&format!(":{port}")) => format!("{name}:{port}"),
            (Some(name), _) => name.to_owned(),
            (None, _) => place(&span.instance.host_name, &span.peer),
        };
        Text::from(format!("external:{name}"))
    }
}

/// Which watched database, cache or queue a serving span belongs to: node kind, then host, service and port.
fn backend_key(span: &Span) -> Option<(&'static str, (Text, Text, u16))> {
    let kind = backend_kind(span).filter(|_| span.kind == SpanKind::Server)?;
    let port = span
        .local
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok())
        .unwrap_or(0);
    Some((
        kind,
        (
            span.instance.host_name.clone(),
            span.instance.service.clone(),
            port,
        ),
    ))
}

/// The node kind of databases, caches and queues.
fn backend_kind(span: &Span) -> Option<&'static str> {
    match &*span.family {
        "database" => Some("database"),
        "cache" => Some("cache"),
        "messaging" => Some("queue"),
        _ => None,
    }
}

fn backend_id(kind: &str, span: &Span, address: &str) -> NodeId {
    let place = if address.is_empty() {
        span.attribute_text("server.address")
            .unwrap_or("unknown")
            .to_owned()
    } else {
        place(&span.instance.host_name, address)
    };
    Text::from(format!("{kind}:{}@{place}", span.protocol))
}

/// The address as seen from everywhere: a loopback address or a path of this host's file system is named by the host.
fn place(host_name: &str, address: &str) -> String {
    if address.is_empty() {
        return "unknown".to_owned();
    }
    if host_name.is_empty() {
        return address.to_owned();
    }
    match address.parse::<SocketAddr>() {
        Ok(socket) if socket.ip().to_canonical().is_loopback() => format!("{host_name}:{}", socket.port()),
        Ok(_) => address.to_owned(),
        Err(_) if address.contains('/') => {
            format!("{host_name}:{}", address.strip_prefix("unix:").unwrap_or(address))
        }
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_host_are_named_by_it() {
        assert_eq!(place("web-1", "127.0.0.1:5432"), "web-1:5432");
        assert_eq!(place("web-1", "[::1]:5432"), "web-1:5432");
        assert_eq!(place("web-1", "[::ffff:127.0.0.1]:80"), "web-1:80");
        assert_eq!(place("web-1", "10.0.0.7:5432"), "10.0.0.7:5432");
        assert_eq!(
            place("web-1", "unix:/run/pg/.s.PGSQL.5432"),
            "web-1:/run/pg/.s.PGSQL.5432"
        );
        assert_eq!(place("", "127.0.0.1:5432"), "127.0.0.1:5432");
        assert_eq!(place("web-1", ""), "unknown");
    }

    #[test]
    fn ids_come_apart_again() {
        assert_eq!(
            (kind_of("database:postgresql@db:5432"), name_of("service:a:b")),
            ("database", "a:b")
        );
        assert_eq!(
            (system_of("cache:redis@db:6379"), system_of("service:redis@x")),
            ("redis", "")
        );
        assert!(is_service("service:a") && !is_service(USER));
    }
}
