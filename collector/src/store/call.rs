//! How a span counts on the map. Enters: a span and what is joined by now. Leaves: at most one [`Call`]: one request of
//! N requests counts once on its node and once on its edge, whichever of its two ends were seen.
//!
//! - A serving span counts on its service's node; on an edge only when no watched caller's span stands for the call
//!   (then the caller is `user:outside`).
//! - A calling span counts on the edge from its service to what served it; on that node only when it is no service,
//!   whose own serving span counts there.
//! - A consuming span counts on its service and on the edge from the queue it fetches from.
//! - An instrumented application's span of an exchange that an agent saw too does not count.

use super::join::Joins;
use super::node::{NodeId, USER, is_service};
use super::summary::Class;
use crate::config::Config;
use crate::span::{Span, Text};
use spanhound_proto::v1::SpanKind;

/// One span's part on the map.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Index of the span in its generation.
    pub span: usize,
    /// Caller's node; empty without an edge.
    pub source: NodeId,
    pub target: NodeId,
    pub on_node: bool,
    pub on_edge: bool,
    pub class: Class,
}

/// Which node a span's instance works for, and how its span counts there.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The node of the span's own instance.
    pub own: NodeId,
    pub call: Option<Call>,
}

/// Decides for one span. What is not joined by now counts as not watched.
pub fn settle(index: usize, span: &Span, joins: &Joins, config: &Config) -> Settled {
    let own = joins.directory.own_node(span);
    let sides = if span.is_calling() {
        calling(span, &own, joins)
    } else if span.is_serving() {
        serving(span, &own, joins)
    } else {
        None
    };
    let thresholds = config
        .service_thresholds
        .get(&*span.instance.service)
        .unwrap_or(&config.thresholds);
    let call = sides.map(|sides| Call {
        span: index,
        source: sides.source.unwrap_or_else(|| Text::from("")),
        target: sides.target,
        on_node: sides.on_node,
        on_edge: sides.on_edge,
        class: Class::of(span.duration_ns, span.is_error(), *thresholds),
    });
    Settled {
        own,
        call: call.filter(|call| call.on_node || call.on_edge),
    }
}

struct Sides {
    source: Option<NodeId>,
    target: NodeId,
    on_node: bool,
    on_edge: bool,
}

fn calling(span: &Span, own: &NodeId, joins: &Joins) -> Option<Sides> {
    if span.is_otlp() && joins.is_represented(span.span_id) {
        return None;
    }
    let target = other_end(span, joins);
    Some(Sides {
        source: Some(own.clone()),
        on_node: !is_service(&target),
        target,
        on_edge: true,
    })
}

/// The node at the server's end of the exchange.
fn other_end(span: &Span, joins: &Joins) -> NodeId {
    match joins.served(span.span_id) {
        Some(served) => served.node.clone(),
        None => joins.directory.called_node(span),
    }
}

fn serving(span: &Span, own: &NodeId, joins: &Joins) -> Option<Sides> {
    let sides = |source: Option<NodeId>, on_node| {
        let on_edge = source.is_some();
        Some(Sides {
            source,
            target: own.clone(),
            on_node,
            on_edge,
        })
    };
    if span.kind == SpanKind::Consumer {
        return sides(Some(other_end(span, joins)), true);
    }
    let parent = joins.parent_of(span);
    if span.is_otlp() && joins.served(parent).is_some_and(|served| !served.otlp) {
        return None;
    }
    match joins.span(parent).filter(|_| parent != 0) {
        Some(caller) if caller.client_end => sides(None, is_service(own)),
        Some(caller) if caller.node == *own => sides(None, !span.is_otlp()),
        Some(caller) => sides(Some(caller.node.clone()), true),
        None => sides(Some(Text::from(USER)), true),
    }
}
