//! `traces/{trace_id}`: the spans of a trace as a call tree, with the times a reader of Pinpoint's call tree expects.
//! Spans whose parent is not stored are roots of their own; a circle of parents, which only a faulty sender makes, is
//! cut. Clocks of different hosts are set right for display: a server span that would lie outside the client span it
//! answers is moved, with everything below it, to the middle of that client span.

use super::answer::{ApiError, milliseconds, span_id_text, trace_id_text, unix_ms};
use crate::span::{Span, SpanId};
use crate::store::Shared;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;

/// Spans of a trace that are answered.
const MAX_SPANS: usize = 10_000;

#[derive(Debug, Serialize)]
pub struct Trace {
    trace_id: String,
    start_ms: f64,
    duration_ms: f64,
    span_count: usize,
    services: BTreeSet<String>,
    /// One root, and every other span's parent is there.
    complete: bool,
    /// The trace has more spans than are answered.
    truncated: bool,
    spans: Vec<SpanAnswer>,
}

#[derive(Debug, Serialize)]
struct SpanAnswer {
    span_id: String,
    parent_span_id: Option<String>,
    depth: usize,
    kind: &'static str,
    service: String,
    instance: String,
    host_name: String,
    protocol: String,
    family: String,
    name: String,
    operation: String,
    target: String,
    status: &'static str,
    status_text: String,
    error: bool,
    error_message: String,
    /// Why there was no response; empty for complete spans.
    unanswered: String,
    start_ms: f64,
    offset_ms: f64,
    gap_ms: f64,
    duration_ms: f64,
    self_ms: f64,
    percent: f64,
    /// How far the span was moved to make up for its host's clock.
    skew_ms: f64,
    request_bytes: u64,
    response_bytes: u64,
    peer: String,
    link: LinkAnswer,
    attributes: Map<String, Json>,
}

#[derive(Debug, Serialize)]
struct LinkAnswer {
    method: &'static str,
    confidence: &'static str,
    probability: f32,
}

/// # Errors
/// `bad_trace_id`, or `not_found`.
pub fn trace(store: &Shared, id: &str) -> Result<Trace, ApiError> {
    let (root, mut spans) = store.trace(super::parameters::trace_id(id)?, MAX_SPANS + 1);
    if spans.is_empty() {
        return Err(ApiError::not_found("no span of this trace is stored"));
    }
    let truncated = spans.len() > MAX_SPANS;
    spans.sort_by_key(|span| (span.start_unix_ns, span.span_id));
    spans.truncate(MAX_SPANS);
    let tree = Tree::new(&spans);
    let begin = tree.start_ns.iter().copied().min().unwrap_or(0);
    let ends = spans
        .iter()
        .zip(&tree.start_ns)
        .map(|(span, start)| start + i128::from(span.duration_ns));
    let duration_ns = (ends.max().unwrap_or(begin) - begin).max(0) as u64;
    Ok(Trace {
        trace_id: trace_id_text(root),
        start_ms: unix_ms(u64::try_from(begin).unwrap_or(0)),
        duration_ms: milliseconds(duration_ns),
        span_count: spans.len(),
        services: spans
            .iter()
            .map(|span| span.instance.service.to_string())
            .collect(),
        complete: tree.roots == 1 && spans[tree.order[0].span].parent_span_id == 0 && !truncated,
        truncated,
        spans: tree
            .order
            .iter()
            .map(|place| answer(&spans, &tree, place, begin, duration_ns))
            .collect(),
    })
}

/// A span's place in the order of the call tree.
#[derive(Clone, Copy, Debug)]
struct Place {
    span: usize,
    depth: usize,
    parent: Option<usize>,
    previous_sibling: Option<usize>,
}

struct Tree {
    order: Vec<Place>,
    /// Children of each span by start.
    children: Vec<Vec<usize>>,
    /// Start of each span with its host's clock set right.
    start_ns: Vec<i128>,
    roots: usize,
}

impl Tree {
    /// `spans` are sorted by start.
    fn new(spans: &[Span]) -> Self {
        let mut by_id: FxHashMap<SpanId, usize> = FxHashMap::default();
        for (index, span) in spans.iter().enumerate() {
            by_id.entry(span.span_id).or_insert(index);
        }
        let mut children = vec![Vec::new(); spans.len()];
        let mut top = Vec::new();
        for (index, span) in spans.iter().enumerate() {
            match by_id.get(&span.parent_span_id) {
                Some(parent) if *parent != index && span.parent_span_id != 0 => children[*parent].push(index),
                _ => top.push(index),
            }
        }
        let start_ns = spans.iter().map(|span| i128::from(span.start_unix_ns)).collect();
        let mut tree = Self {
            order: Vec::with_capacity(spans.len()),
            children,
            start_ns,
            roots: top.len(),
        };
        let mut placed = FxHashSet::default();
        tree.place(spans, &top, &mut placed);
        // What is left hangs in circles: each is entered at its first span.
        for index in 0..spans.len() {
            if !placed.contains(&index) {
                tree.roots += 1;
                tree.place(spans, &[index], &mut placed);
            }
        }
        tree
    }

    fn place(&mut self, spans: &[Span], roots: &[usize], placed: &mut FxHashSet<usize>) {
        let mut stack = Vec::new();
        push_siblings(&mut stack, roots, None, 0);
        while let Some(place) = stack.pop() {
            if !placed.insert(place.span) {
                continue;
            }
            self.set_clock(spans, place);
            self.order.push(place);
            let mut below = std::mem::take(&mut self.children[place.span]);
            below.retain(|child| !placed.contains(child));
            push_siblings(&mut stack, &below, Some(place.span), place.depth + 1);
            self.children[place.span] = below;
        }
    }

    /// Moves a span as its parent was moved, and one of another host into the client span it answers.
    fn set_clock(&mut self, spans: &[Span], place: Place) {
        let Some(parent_index) = place.parent else { return };
        let (span, parent) = (&spans[place.span], &spans[parent_index]);
        if span.instance.host_name == parent.instance.host_name {
            self.start_ns[place.span] += self.start_ns[parent_index] - i128::from(parent.start_unix_ns);
            return;
        }
        let outer = self.start_ns[parent_index]..self.start_ns[parent_index] + i128::from(parent.duration_ns);
        let start = self.start_ns[place.span];
        let inside = start >= outer.start && start + i128::from(span.duration_ns) <= outer.end;
        if parent.is_calling() && span.is_serving() && !inside {
            let spare = i128::from(parent.duration_ns) - i128::from(span.duration_ns);
            self.start_ns[place.span] = outer.start + spare.max(0) / 2;
        }
    }

    fn end_ns(&self, spans: &[Span], index: usize) -> i128 {
        self.start_ns[index] + i128::from(spans[index].duration_ns)
    }

    /// Time of the span that no child covers.
    fn self_ns(&self, spans: &[Span], index: usize) -> i128 {
        let (start, end) = (self.start_ns[index], self.end_ns(spans, index));
        let mut covered: Vec<(i128, i128)> = self.children[index]
            .iter()
            .map(|child| {
                (
                    self.start_ns[*child].max(start),
                    self.end_ns(spans, *child).min(end),
                )
            })
            .filter(|(from, to)| from < to)
            .collect();
        covered.sort_unstable();
        let (mut rest, mut reached) = (end - start, start);
        for (from, to) in covered {
            rest -= (to - from.max(reached)).max(0);
            reached = reached.max(to);
        }
        rest
    }
}

fn push_siblings(stack: &mut Vec<Place>, siblings: &[usize], parent: Option<usize>, depth: usize) {
    for (position, span) in siblings.iter().enumerate().rev() {
        let previous_sibling = position.checked_sub(1).map(|before| siblings[before]);
        stack.push(Place {
            span: *span,
            depth,
            parent,
            previous_sibling,
        });
    }
}

fn answer(spans: &[Span], tree: &Tree, place: &Place, begin: i128, whole_ns: u64) -> SpanAnswer {
    let span = &spans[place.span];
    let start = tree.start_ns[place.span];
    let after = match (place.previous_sibling, place.parent) {
        (Some(sibling), _) => tree.end_ns(spans, sibling),
        (None, Some(parent)) => tree.start_ns[parent],
        (None, None) => begin,
    };
    let ms = |nanoseconds: i128| nanoseconds as f64 / 1e6;
    SpanAnswer {
        span_id: span_id_text(span.span_id),
        parent_span_id: (span.parent_span_id != 0).then(|| span_id_text(span.parent_span_id)),
        depth: place.depth,
        kind: word(span.kind.as_str_name(), "SPAN_KIND_"),
        service: span.instance.service.to_string(),
        instance: span.instance.name.to_string(),
        host_name: span.instance.host_name.to_string(),
        protocol: span.protocol.to_string(),
        family: span.family.to_string(),
        name: span.name.to_string(),
        operation: span.operation.to_string(),
        target: span.target.to_string(),
        status: word(span.status.as_str_name(), "STATUS_"),
        status_text: span.status_text.to_string(),
        error: span.is_error(),
        error_message: span.error_message.to_string(),
        unanswered: span.unanswered.to_string(),
        start_ms: unix_ms(u64::try_from(start).unwrap_or(0)),
        offset_ms: ms(start - begin),
        gap_ms: ms((start - after).max(0)),
        duration_ms: milliseconds(span.duration_ns),
        self_ms: ms(tree.self_ns(spans, place.span)),
        percent: if whole_ns == 0 {
            100.0
        } else {
            span.duration_ns as f64 * 100.0 / whole_ns as f64
        },
        skew_ms: ms(start - i128::from(span.start_unix_ns)),
        request_bytes: span.request_bytes,
        response_bytes: span.response_bytes,
        peer: span.peer.to_string(),
        link: LinkAnswer {
            method: word(span.link.method.as_str_name(), "LINK_METHOD_"),
            confidence: word(span.link.confidence.as_str_name(), "CONFIDENCE_"),
            probability: span.link.probability,
        },
        attributes: span.attributes_json(),
    }
}

/// The API's word for a value of a wire enumeration.
fn word(name: &'static str, prefix: &str) -> &'static str {
    match name.strip_prefix(prefix).unwrap_or(name) {
        "NONE" => "none",
        "UNSPECIFIED" | "INTERNAL" => "internal",
        "SERVER" => "server",
        "CLIENT" => "client",
        "PRODUCER" => "producer",
        "CONSUMER" => "consumer",
        "UNSET" => "unset",
        "OK" => "ok",
        "ERROR" => "error",
        "HEADER" => "header",
        "TCP" => "tcp",
        "THREAD" => "thread",
        "GOROUTINE" => "goroutine",
        "TASK" => "task",
        "HANDOFF" => "handoff",
        "INFERENCE" => "inference",
        "OTLP" => "otlp",
        "INFERRED" => "inferred",
        "EXACT" => "exact",
        other => other,
    }
}
