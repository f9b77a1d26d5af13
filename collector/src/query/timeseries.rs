//! `timeseries`: a node's or edge's summaries over time, empty steps included.

use super::answer::{ApiError, SummaryAnswer};
use super::parameters::Parameters;
use super::sums::{by_minute, touched};
use crate::store::Shared;
use crate::store::node::USER;
use crate::store::rollup::{Minute, Subject};
use crate::store::summary::Summary;
use serde::Serialize;
use std::collections::BTreeMap;

/// Points answered at most; longer ranges have longer steps.
const MAX_POINTS: u64 = 2_880;

#[derive(Debug, Serialize)]
pub struct Timeseries {
    step_ms: u64,
    points: Vec<TimePoint>,
}

#[derive(Debug, Serialize)]
struct TimePoint {
    time_ms: u64,
    summary: SummaryAnswer,
}

/// # Errors
/// Bad parameters.
pub fn timeseries(store: &Shared, parameters: &Parameters) -> Result<Timeseries, ApiError> {
    let range_ns = parameters.range_ns((store.clock)())?;
    let subject = parameters.required_subject()?;
    let minutes = touched(&range_ns);
    let step_minutes = (minutes.end - minutes.start).div_ceil(MAX_POINTS).max(1);
    let mut steps: BTreeMap<Minute, Summary> = BTreeMap::new();
    let mut add = |minute: Minute, summary: &Summary| {
        steps
            .entry(minute - minute % step_minutes)
            .or_default()
            .merge(summary);
    };
    // Outside users have no spans of their own: the calls they make stand for them.
    let of_users = matches!(&subject, Subject::Node(node) if **node == *USER);
    let only = (!of_users).then_some(&subject);
    by_minute(store, &range_ns, only, |minute, found, summary| {
        let wanted = !of_users || matches!(&found, Subject::Edge { source, .. } if **source == *USER);
        if wanted {
            add(minute, summary);
        }
    });
    let first = minutes.start - minutes.start % step_minutes;
    let points = (first..minutes.end)
        .step_by(usize::try_from(step_minutes).unwrap_or(1))
        .map(|minute| TimePoint {
            time_ms: minute * 60_000,
            summary: SummaryAnswer::new(steps.get(&minute).unwrap_or(&Summary::default())),
        });
    Ok(Timeseries {
        step_ms: step_minutes * 60_000,
        points: points.collect(),
    })
}
