//! Minute rollups: what the map, the percentiles and the list of services are made of, so that they never scan spans.
//! Enters: settled calls. Leaves: sums a minute by node and edge. Bounded: by the buffer they are made from; instances a
//! node and minute by [`MAX_INSTANCES`].

use super::call::{Call, Settled};
use super::node::NodeId;
use super::summary::Summary;
use crate::losses::Losses;
use crate::span::{Span, Text};
use rustc_hash::FxHashMap;
use spanhound_proto::v1::Confidence;
use std::collections::BTreeSet;

pub const MINUTE_NS: u64 = 60_000_000_000;

const MAX_INSTANCES: usize = 256;

/// A minute since the Unix epoch.
pub type Minute = u64;

/// What a summary is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    Node(NodeId),
    Edge { source: NodeId, target: NodeId },
}

/// Who worked for a node in a minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    pub instances: BTreeSet<Text>,
    /// Family of the spans it served, empty when it only called.
    pub family: Text,
    /// Runtime of its instances where known.
    pub runtime: Text,
}

/// Sums by minute and subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollups {
    pub summaries: FxHashMap<(Minute, Subject), Summary>,
    pub presences: FxHashMap<(Minute, NodeId), Presence>,
}

impl Rollups {
    /// Adds a settled span.
    pub fn record(&mut self, span: &Span, settled: &Settled, losses: &Losses) {
        let minute = span.start_unix_ns / MINUTE_NS;
        let presence = self.presences.entry((minute, settled.own.clone())).or_default();
        presence.add(&span.instance.name, losses);
        if !span.instance.runtime.is_empty() {
            presence.runtime = span.instance.runtime.clone();
        }
        if span.is_serving() {
            presence.family = span.family.clone();
        }
        if let Some(call) = &settled.call {
            self.count(minute, span, call);
        }
    }

    /// Adds one call to its node and its edge.
    fn count(&mut self, minute: Minute, span: &Span, call: &Call) {
        if call.on_node {
            let subject = Subject::Node(call.target.clone());
            self.summaries
                .entry((minute, subject))
                .or_default()
                .record(span.duration_ns, call.class);
        }
        if call.on_edge {
            let subject = Subject::Edge {
                source: call.source.clone(),
                target: call.target.clone(),
            };
            let summary = self.summaries.entry((minute, subject)).or_default();
            summary.record(span.duration_ns, call.class);
            summary.count_link(span.link.confidence);
        }
    }

    /// Adds everything of `other` whose minute is within `minutes`.
    pub fn merge(&mut self, other: &Self, minutes: &std::ops::Range<Minute>) {
        for ((minute, subject), summary) in &other.summaries {
            if minutes.contains(minute) {
                self.summaries
                    .entry((*minute, subject.clone()))
                    .or_default()
                    .merge(summary);
            }
        }
        for ((minute, node), presence) in &other.presences {
            if minutes.contains(minute) {
                self.presences
                    .entry((*minute, node.clone()))
                    .or_default()
                    .merge(presence);
            }
        }
    }
}

impl Presence {
    fn add(&mut self, instance: &Text, losses: &Losses) {
        if self.instances.contains(instance) {
            return;
        }
        if self.instances.len() >= MAX_INSTANCES {
            losses.instances_trimmed.add(1);
            return;
        }
        self.instances.insert(instance.clone());
    }

    pub fn merge(&mut self, other: &Self) {
        self.instances.extend(other.instances.iter().cloned());
        for (mine, theirs) in [
            (&mut self.family, &other.family),
            (&mut self.runtime, &other.runtime),
        ] {
            if mine.is_empty() {
                mine.clone_from(theirs);
            }
        }
    }
}

impl Summary {
    pub fn count_link(&mut self, confidence: Confidence) {
        match confidence {
            Confidence::Exact => self.exact_links += 1,
            Confidence::Inferred => self.inferred_links += 1,
            Confidence::None => {}
        }
    }
}
