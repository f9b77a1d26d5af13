//! The spans that are in the write-ahead log but in no segment yet, in generations: one takes what comes, the sealed
//! ones wait until their spans are settled, the frozen ones are being written. A generation has one log file. Plain
//! structs rather than Arrow: joins still change them; they become columns when they are written. Bounded: by
//! `store.memory_bytes`, checked before a batch is logged.

use super::call::{Call, settle};
use super::join::Joins;
use super::rollup::Rollups;
use crate::config::Config;
use crate::losses::Losses;
use crate::span::Span;
use std::collections::BTreeMap;

/// The spans of one log file.
#[derive(Debug, Default)]
pub struct Generation {
    pub id: u64,
    pub spans: Vec<Span>,
    /// Time of receipt of each span, rising.
    received_unix_ns: Vec<u64>,
    /// How the first spans count, in order; spans beyond `settled` still wait for their other end.
    pub calls: Vec<Call>,
    pub settled: usize,
    pub rollups: Rollups,
    /// Spans by agent id.
    pub spans_by_agent: BTreeMap<String, u64>,
    pub bytes: usize,
    /// When the first span came; 0 without spans.
    pub opened_unix_ns: u64,
    pub sealed_unix_ns: u64,
}

impl Generation {
    pub fn new(id: u64) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    pub fn push(&mut self, spans: Vec<Span>, received_unix_ns: u64) {
        // The clock may have been set back meanwhile.
        let received_unix_ns = received_unix_ns.max(self.last_received_unix_ns());
        if self.spans.is_empty() {
            self.opened_unix_ns = received_unix_ns;
        }
        self.bytes += spans.iter().map(Span::estimated_bytes).sum::<usize>();
        self.received_unix_ns
            .resize(self.spans.len() + spans.len(), received_unix_ns);
        self.spans.extend(spans);
    }

    /// Settles the spans received before `before_unix_ns`: they count on the map from now on.
    pub fn settle(&mut self, before_unix_ns: u64, joins: &Joins, config: &Config, losses: &Losses) {
        let end = self
            .received_unix_ns
            .partition_point(|received| *received < before_unix_ns);
        for index in self.settled..end {
            let span = &self.spans[index];
            let settled = settle(index, span, joins, config);
            self.rollups.record(span, &settled, losses);
            self.calls.extend(settled.call);
        }
        self.settled = self.settled.max(end);
    }

    /// Time of receipt of the last span; 0 without spans.
    pub fn last_received_unix_ns(&self) -> u64 {
        self.received_unix_ns.last().copied().unwrap_or(0)
    }

    pub fn is_settled(&self) -> bool {
        self.settled == self.spans.len()
    }

    /// The spans that still wait.
    pub fn unsettled(&self) -> impl Iterator<Item = (usize, &Span)> {
        self.spans.iter().enumerate().skip(self.settled)
    }
}
