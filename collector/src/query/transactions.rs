//! `transactions`: the calls of a node or an edge, or all requests from outside, filtered, sorted and paged.

use super::answer::{ApiError, milliseconds, span_id_text, trace_id_text, unix_ms};
use super::parameters::Parameters;
use crate::span::{SpanId, TraceId};
use crate::store::Shared;
use crate::store::node::{USER, kind_of};
use crate::store::segment::point::Point;
use crate::store::summary::Class;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

const MAX_TRANSACTIONS: usize = 1_000;
/// How far from the listed calls spans of their traces are looked for.
const TRACE_REACH_NS: u64 = 600_000_000_000;

#[derive(Debug, Serialize)]
pub struct Transactions {
    total: u64,
    transactions: Vec<Transaction>,
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct Transaction {
    trace_id: String,
    span_id: String,
    time_ms: f64,
    duration_ms: f64,
    service: String,
    instance: String,
    name: String,
    target: String,
    status: String,
    error: bool,
    /// Spans of the trace.
    spans: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Time,
    Duration,
}

/// The place of a call in the list: what is sorted by (turned round for descending order), then its span id.
type Place = (u64, SpanId);

/// # Errors
/// Bad parameters.
pub fn transactions(store: &Shared, parameters: &Parameters) -> Result<Transactions, ApiError> {
    let range_ns = parameters.range_ns((store.clock)())?;
    let subject = parameters.subject()?;
    let limit = parameters.number("limit", 100, 1..MAX_TRANSACTIONS + 1)?;
    let sort = parameters.word(
        "sort",
        Sort::Time,
        &[("time", Sort::Time), ("duration", Sort::Duration)],
    )?;
    let descending = parameters.word("order", true, &[("asc", false), ("desc", true)])?;
    let after = parameters.get("cursor")?.map(read_cursor).transpose()?;
    let filter = Filter::new(parameters)?;
    let mut total = 0;
    let mut kept: BTreeMap<Place, Point> = BTreeMap::new();
    store.points(&range_ns, subject.as_ref(), |point| {
        let wanted = subject.is_some() || starts_a_transaction(&point);
        if wanted && filter.passes(&point) {
            total += 1;
            let key = if sort == Sort::Time {
                point.start_unix_ns
            } else {
                point.duration_ns
            };
            let place = (if descending { u64::MAX - key } else { key }, point.span_id);
            if after.is_none_or(|after| place > after) {
                kept.insert(place, point);
                // One more than asked for tells that there is a next page.
                if kept.len() > limit + 1 {
                    kept.pop_last();
                }
            }
        }
        ControlFlow::Continue(())
    });
    let more = kept.len() > limit;
    let page: Vec<(Place, Point)> = kept.into_iter().take(limit).collect();
    let next_cursor = page
        .last()
        .filter(|_| more)
        .map(|((key, span), _)| format!("{key:016x}{span:016x}"));
    Ok(Transactions {
        total,
        transactions: answer(store, page),
        next_cursor,
    })
}

fn answer(store: &Shared, page: Vec<(Place, Point)>) -> Vec<Transaction> {
    let mut traces: Vec<TraceId> = page.iter().map(|(_, point)| point.trace_id).collect();
    store.trace_ids_of(&mut traces);
    let starts = || page.iter().map(|(_, point)| point.start_unix_ns);
    let first = starts().min().unwrap_or(0).saturating_sub(TRACE_REACH_NS);
    let last = starts().max().unwrap_or(0).saturating_add(TRACE_REACH_NS);
    let counts = store.count_spans(&traces, &(first..last));
    page.into_iter()
        .zip(traces)
        .map(|((_, point), trace)| Transaction {
            trace_id: trace_id_text(trace),
            span_id: span_id_text(point.span_id),
            time_ms: unix_ms(point.start_unix_ns),
            duration_ms: milliseconds(point.duration_ns),
            service: point.service.to_string(),
            instance: point.instance.to_string(),
            name: point.name.to_string(),
            target: point.target.to_string(),
            status: point.status_text.to_string(),
            error: point.class == Class::Error,
            spans: counts.get(&trace).copied().unwrap_or(0),
        })
        .collect()
}

/// Whether the call came from outside what is watched, or out of a queue.
fn starts_a_transaction(point: &Point) -> bool {
    point.on_edge && (*point.source_node == *USER || kind_of(&point.source_node) == "queue")
}

struct Filter {
    min_duration_ns: u64,
    max_duration_ns: u64,
    error: Option<bool>,
    name: Option<String>,
}

impl Filter {
    fn new(parameters: &Parameters) -> Result<Self, ApiError> {
        Ok(Self {
            min_duration_ns: parameters.duration_ns("min_duration_ms")?.unwrap_or(0),
            max_duration_ns: parameters.duration_ns("max_duration_ms")?.unwrap_or(u64::MAX),
            error: parameters.word("status", None, &[("ok", Some(false)), ("error", Some(true))])?,
            name: parameters.get("name")?.map(str::to_lowercase),
        })
    }

    fn passes(&self, point: &Point) -> bool {
        let named = |name: &String| {
            point.name.to_lowercase().contains(name) || point.target.to_lowercase().contains(name)
        };
        (self.min_duration_ns..=self.max_duration_ns).contains(&point.duration_ns)
            && self
                .error
                .is_none_or(|error| error == (point.class == Class::Error))
            && self.name.as_ref().is_none_or(named)
    }
}

fn read_cursor(text: &str) -> Result<Place, ApiError> {
    let halves = text
        .is_char_boundary(16)
        .then(|| text.split_at_checked(16))
        .flatten();
    halves
        .and_then(|(key, span)| {
            Some((
                u64::from_str_radix(key, 16).ok()?,
                u64::from_str_radix(span, 16).ok()?,
            ))
        })
        .ok_or_else(|| ApiError::bad("bad_cursor", "the cursor is not one of this API's"))
}
