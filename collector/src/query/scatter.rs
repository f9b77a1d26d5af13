//! `scatter`: one dot a call. When there are more than asked for, errors and very slow calls are kept first and the
//! others sampled evenly by their span id, so that the picture is the same each time it is drawn.

use super::answer::{ApiError, milliseconds, span_id_text, trace_id_text, unix_ms};
use super::parameters::Parameters;
use crate::span::{SpanId, TraceId};
use crate::store::Shared;
use crate::store::summary::Class;
use serde::Serialize;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

const DEFAULT_POINTS: usize = 20_000;
const MAX_POINTS: usize = 100_000;

#[derive(Debug, Serialize)]
pub struct Scatter {
    from_ms: f64,
    to_ms: f64,
    total: u64,
    sampled: bool,
    /// Start, duration, whether an error, trace, span.
    points: Vec<(f64, f64, u8, String, String)>,
}

/// # Errors
/// Bad parameters.
pub fn scatter(store: &Shared, parameters: &Parameters) -> Result<Scatter, ApiError> {
    let range_ns = parameters.range_ns((store.clock)())?;
    let subject = parameters.required_subject()?;
    let limit = parameters.number("limit", DEFAULT_POINTS, 1..MAX_POINTS + 1)?;
    let mut total = 0;
    let mut kept: BinaryHeap<Dot> = BinaryHeap::with_capacity(limit + 1);
    store.points(&range_ns, Some(&subject), |point| {
        total += 1;
        let notable = matches!(point.class, Class::Error | Class::VerySlow);
        kept.push(Dot {
            rank: (!notable, mixed(point.span_id)),
            start_unix_ns: point.start_unix_ns,
            duration_ns: point.duration_ns,
            error: point.class == Class::Error,
            trace_id: point.trace_id,
            span_id: point.span_id,
        });
        if kept.len() > limit {
            kept.pop();
        }
        ControlFlow::Continue(())
    });
    let mut dots = kept.into_vec();
    dots.sort_unstable_by_key(|dot| (dot.start_unix_ns, dot.span_id));
    let mut traces: Vec<TraceId> = dots.iter().map(|dot| dot.trace_id).collect();
    store.trace_ids_of(&mut traces);
    let points = dots.iter().zip(traces).map(|(dot, trace)| {
        let (start, duration) = (unix_ms(dot.start_unix_ns), milliseconds(dot.duration_ns));
        (
            start,
            duration,
            u8::from(dot.error),
            trace_id_text(trace),
            span_id_text(dot.span_id),
        )
    });
    Ok(Scatter {
        from_ms: unix_ms(range_ns.start),
        to_ms: unix_ms(range_ns.end),
        total,
        sampled: total > dots.len() as u64,
        points: points.collect(),
    })
}

/// Ordered by rank first: the greatest goes when there are too many.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Dot {
    rank: (bool, u64),
    start_unix_ns: u64,
    duration_ns: u64,
    error: bool,
    trace_id: TraceId,
    span_id: SpanId,
}

/// Spreads ids that are counted up (SplitMix64's finalizer).
fn mixed(id: SpanId) -> u64 {
    let id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    id ^ (id >> 31)
}
