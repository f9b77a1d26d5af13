//! Sums over a range, exact at both ends: whole minutes from rollups, the cut minutes from points.

use crate::store::Shared;
use crate::store::node::NodeId;
use crate::store::rollup::{MINUTE_NS, Minute, Presence, Rollups, Subject};
use crate::store::segment::point::Point;
use crate::store::summary::Summary;
use rustc_hash::FxHashMap;
use std::ops::{ControlFlow, Range};

/// What a range adds up to.
#[derive(Debug, Default)]
pub struct Sums {
    pub summaries: FxHashMap<Subject, Summary>,
    /// Who worked in the minutes the range touches.
    pub presences: FxHashMap<NodeId, Presence>,
}

/// The sums of all nodes and edges.
pub fn sums(store: &Shared, range_ns: &Range<u64>) -> Sums {
    let mut sums = Sums::default();
    let rollups = by_minute(store, range_ns, None, |_, subject, summary| {
        sums.summaries.entry(subject).or_default().merge(summary);
    });
    for ((_, node), presence) in rollups.presences {
        sums.presences.entry(node).or_default().merge(&presence);
    }
    sums
}

/// Calls `each` with partial sums of every minute in the range, of one subject or of all; returns the rollups of the
/// minutes the range touches.
pub fn by_minute(
    store: &Shared,
    range_ns: &Range<u64>,
    only: Option<&Subject>,
    mut each: impl FnMut(Minute, Subject, &Summary),
) -> Rollups {
    let whole = range_ns.start.div_ceil(MINUTE_NS)..range_ns.end / MINUTE_NS;
    let rollups = store.rollups(&touched(range_ns));
    for ((minute, subject), summary) in &rollups.summaries {
        if whole.contains(minute) && only.is_none_or(|only| only == subject) {
            each(*minute, subject.clone(), summary);
        }
    }
    let cut = if whole.start < whole.end {
        [
            range_ns.start..whole.start * MINUTE_NS,
            whole.end * MINUTE_NS..range_ns.end,
        ]
    } else {
        [range_ns.clone(), 0..0]
    };
    for range_ns in cut.iter().filter(|range| !range.is_empty()) {
        store.points(range_ns, only, |point| {
            let minute = point.start_unix_ns / MINUTE_NS;
            for subject in subjects_of(&point) {
                if only.is_none_or(|only| *only == subject) {
                    each(minute, subject.clone(), &summary_of(&point, &subject));
                }
            }
            ControlFlow::Continue(())
        });
    }
    rollups
}

/// The minutes a range touches.
pub fn touched(range_ns: &Range<u64>) -> Range<Minute> {
    range_ns.start / MINUTE_NS..range_ns.end.div_ceil(MINUTE_NS)
}

fn subjects_of(point: &Point) -> impl Iterator<Item = Subject> {
    let node = point.on_node.then(|| Subject::Node(point.target_node.clone()));
    let edge = point.on_edge.then(|| Subject::Edge {
        source: point.source_node.clone(),
        target: point.target_node.clone(),
    });
    node.into_iter().chain(edge)
}

fn summary_of(point: &Point, subject: &Subject) -> Summary {
    let mut summary = Summary::default();
    summary.record(point.duration_ns, point.class);
    if matches!(subject, Subject::Edge { .. }) {
        summary.count_link(point.confidence);
    }
    summary
}
