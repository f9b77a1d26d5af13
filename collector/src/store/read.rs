//! The store's typed queries: rollups of minutes, points of a range, spans of a trace, agents. Memory and the list of
//! segments are taken at one moment, so nothing counts twice or is missing while segments are written. Blocking; to be
//! called from threads that may. A segment that cannot be read is left out, counted and logged. Bounded: by the
//! caller's limits and the buffer.

use super::Shared;
use super::rollup::MINUTE_NS;
use super::rollup::{Minute, Rollups, Subject};
use super::segment::point::Point;
use super::segment::{Segment, SegmentError, read, rollup_file};
use crate::ingest::agent::AgentRecord;
use crate::span::{Span, TraceId};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Figures of the store itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub spans: u64,
    pub segments: usize,
    pub segment_bytes: u64,
    pub buffered_spans: usize,
    pub buffered_bytes: usize,
}

impl Shared {
    /// The sums of whole minutes.
    pub fn rollups(&self, minutes: &Range<Minute>) -> Rollups {
        let (mut rollups, segments) = {
            let state = self.read();
            (
                state.rollups(minutes, &self.config, &self.losses),
                state.segments.clone(),
            )
        };
        let range_ns = minutes.start.saturating_mul(MINUTE_NS)..minutes.end.saturating_mul(MINUTE_NS);
        let directory = self.segments_directory();
        for segment in overlapping(&segments, &range_ns) {
            match rollup_file::read(&segment.rollup_path(&directory)) {
                Ok(stored) => rollups.merge(&stored, minutes),
                Err(error) => self.left_out(&error),
            }
        }
        rollups
    }

    /// The calls that start in the range, of one subject or of all, in no particular order, until `each` breaks.
    pub fn points(
        &self,
        range_ns: &Range<u64>,
        subject: Option<&Subject>,
        mut each: impl FnMut(Point) -> ControlFlow<()>,
    ) {
        let mut buffered = Vec::new();
        let segments = {
            let state = self.read();
            state.points(range_ns, &self.config, |mut point| {
                if subject.is_none_or(|subject| point.counts_on(subject)) {
                    point.trace_id = state.joins.repairs.trace_of(point.trace_id);
                    buffered.push(point);
                }
            });
            state.segments.clone()
        };
        if buffered.into_iter().try_for_each(&mut each).is_break() {
            return;
        }
        let directory = self.segments_directory();
        for segment in overlapping(&segments, range_ns) {
            let mut stopped = false;
            let read = read::points(&directory, segment, range_ns, subject, |point| {
                let flow = each(point);
                stopped = flow.is_break();
                flow
            });
            if let Err(error) = read {
                self.left_out(&error);
            }
            if stopped {
                return;
            }
        }
    }

    /// The spans of a trace under any of its ids, repaired, in no particular order, up to `limit`; and the id by which
    /// the trace is known.
    pub fn trace(&self, id: TraceId, limit: usize) -> (TraceId, Vec<Span>) {
        let (root, ids, mut spans, segments) = {
            let state = self.read();
            let root = state.joins.repairs.trace_of(id);
            let ids: FxHashSet<TraceId> = state.joins.repairs.all_ids(id).into_iter().collect();
            let buffered = state.generations().flat_map(|generation| &generation.spans);
            let spans: Vec<Span> = buffered
                .filter(|span| ids.contains(&span.trace_id))
                .take(limit)
                .cloned()
                .collect();
            (root, ids, spans, state.segments.clone())
        };
        let directory = self.segments_directory();
        for segment in &segments {
            if spans.len() >= limit {
                break;
            }
            match read::spans_of_traces(&directory, segment, &ids, limit - spans.len()) {
                Ok(found) => spans.extend(found),
                Err(error) => self.left_out(&error),
            }
        }
        let state = self.read();
        spans.iter_mut().for_each(|span| state.joins.repairs.apply(span));
        (root, spans)
    }

    /// How many spans each of the traces has, looking at segments with spans in `near_ns`.
    pub fn count_spans(&self, traces: &[TraceId], near_ns: &Range<u64>) -> FxHashMap<TraceId, u64> {
        let mut counts = FxHashMap::default();
        let (root_of, segments) = {
            let state = self.read();
            let repairs = &state.joins.repairs;
            let mut root_of: FxHashMap<TraceId, TraceId> = FxHashMap::default();
            for trace in traces {
                let root = repairs.trace_of(*trace);
                root_of.extend(repairs.all_ids(*trace).into_iter().map(|id| (id, root)));
            }
            for span in state.generations().flat_map(|generation| &generation.spans) {
                if let Some(root) = root_of.get(&span.trace_id) {
                    *counts.entry(*root).or_default() += 1;
                }
            }
            (root_of, state.segments.clone())
        };
        let ids: FxHashSet<TraceId> = root_of.keys().copied().collect();
        let directory = self.segments_directory();
        for segment in overlapping(&segments, near_ns) {
            match read::count_spans(&directory, segment, &ids) {
                Ok(found) => {
                    for (id, count) in found {
                        *counts.entry(root_of[&id]).or_default() += count;
                    }
                }
                Err(error) => self.left_out(&error),
            }
        }
        counts
    }

    /// The id by which each of the traces is known now.
    pub fn trace_ids_of(&self, traces: &mut [TraceId]) {
        let state = self.read();
        for trace in traces {
            *trace = state.joins.repairs.trace_of(*trace);
        }
    }

    /// Every agent heard of, with all spans stored from it.
    pub fn agents(&self) -> BTreeMap<String, (AgentRecord, u64)> {
        let state = self.read();
        let total = |id: &str, record: &AgentRecord| {
            let buffered = state
                .generations()
                .filter_map(|generation| generation.spans_by_agent.get(id));
            record.spans_written + buffered.sum::<u64>()
        };
        state
            .agents
            .iter()
            .map(|(id, record)| (id.clone(), (record.clone(), total(id, record))))
            .collect()
    }

    pub fn figures(&self) -> Figures {
        let state = self.read();
        let buffered_spans = state.generations().map(|generation| generation.spans.len()).sum();
        Figures {
            spans: state.spans_written + buffered_spans as u64,
            segments: state.segments.len(),
            segment_bytes: state.segments.iter().map(|segment| segment.bytes).sum(),
            buffered_spans,
            buffered_bytes: state.buffered_bytes(),
        }
    }

    fn left_out(&self, error: &SegmentError) {
        if !error.is_gone() {
            self.losses.segment_read_errors.add(1);
            tracing::error!(%error, "a segment could not be read and is missing from an answer");
        }
    }
}

fn overlapping<'a>(
    segments: &'a [Arc<Segment>],
    range_ns: &'a Range<u64>,
) -> impl Iterator<Item = &'a Arc<Segment>> {
    segments
        .iter()
        .filter(|segment| segment.overlaps(range_ns.start, range_ns.end))
}
