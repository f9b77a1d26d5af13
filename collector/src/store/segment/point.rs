//! One counted call as the scatter chart and the lists show it: a settled call with what is shown of its span.

use crate::span::{Span, SpanId, Text, TraceId};
use crate::store::call::Call;
use crate::store::node::{NodeId, USER};
use crate::store::rollup::Subject;
use crate::store::summary::Class;
use spanhound_proto::v1::Confidence;

/// A row of the side file.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub start_unix_ns: u64,
    pub duration_ns: u64,
    pub on_node: bool,
    pub on_edge: bool,
    pub class: Class,
    pub confidence: Confidence,
    pub target_node: NodeId,
    /// Empty when the call is on no edge.
    pub source_node: NodeId,
    pub service: Text,
    pub instance: Text,
    pub name: Text,
    pub target: Text,
    pub status_text: Text,
}

impl Point {
    pub fn new(span: &Span, call: &Call) -> Self {
        Self {
            trace_id: span.trace_id,
            span_id: span.span_id,
            start_unix_ns: span.start_unix_ns,
            duration_ns: span.duration_ns,
            on_node: call.on_node,
            on_edge: call.on_edge,
            class: call.class,
            confidence: span.link.confidence,
            target_node: call.target.clone(),
            source_node: call.source.clone(),
            service: span.instance.service.clone(),
            instance: span.instance.name.clone(),
            name: span.name.clone(),
            target: span.target.clone(),
            status_text: span.status_text.clone(),
        }
    }

    /// Whether the point counts on this node or edge. Outside users, who have no spans of their own, are the calls
    /// they make.
    pub fn counts_on(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Node(node) if **node == *USER => self.on_edge && self.source_node == *node,
            Subject::Node(node) => self.on_node && self.target_node == *node,
            Subject::Edge { source, target } => {
                self.on_edge && self.source_node == *source && self.target_node == *target
            }
        }
    }
}
