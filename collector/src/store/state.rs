//! What the store holds in memory, behind one lock: the buffer, the join tables, the agents and the list of segments.
//! Changed by the writer (spans come in) and by maintenance (generations become segments); read by queries.

use super::buffer::Generation;
use super::call::settle;
use super::join::Joins;
use super::manifest::Manifest;
use super::rollup::{Minute, Rollups};
use super::seen::Seen;
use super::segment::Segment;
use super::segment::point::Point;
use crate::config::Config;
use crate::ingest::agent::{AgentRecord, Report};
use crate::losses::Losses;
use crate::span::Span;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

const MAX_AGENTS: usize = 10_000;

/// The store's memory.
#[derive(Debug)]
pub struct State {
    pub active: Generation,
    pub sealed: VecDeque<Generation>,
    pub frozen: Vec<Arc<Generation>>,
    pub joins: Joins,
    pub seen: Seen,
    pub agents: BTreeMap<String, AgentRecord>,
    pub segments: Vec<Arc<Segment>>,
    pub written_generation: u64,
    pub spans_written: u64,
}

impl State {
    pub fn new(manifest: Manifest, first_generation: u64, join_wait_ns: u64) -> Self {
        Self {
            active: Generation::new(first_generation),
            sealed: VecDeque::new(),
            frozen: Vec::new(),
            joins: Joins::new(join_wait_ns),
            seen: manifest.seen,
            agents: manifest.agents,
            segments: manifest.segments.into_iter().map(Arc::new).collect(),
            written_generation: manifest.written_generation,
            spans_written: manifest.spans_written,
        }
    }

    /// Every generation, oldest first.
    pub fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.frozen
            .iter()
            .map(|frozen| &**frozen)
            .chain(&self.sealed)
            .chain([&self.active])
    }

    pub fn buffered_bytes(&self) -> usize {
        self.generations().map(|generation| generation.bytes).sum()
    }

    /// Takes the spans and the agent's report of one durable batch.
    pub fn accept(
        &mut self,
        spans: Vec<Span>,
        report: Option<Report>,
        received_unix_ns: u64,
        losses: &Losses,
    ) {
        for span in &spans {
            self.joins.observe(span, self.active.id, received_unix_ns, losses);
        }
        if let Some(report) = report {
            *self.active.spans_by_agent.entry(report.id.clone()).or_default() += spans.len() as u64;
            self.note_agent(report, received_unix_ns, losses);
        }
        self.active.push(spans, received_unix_ns);
    }

    fn note_agent(&mut self, report: Report, received_unix_ns: u64, losses: &Losses) {
        if self.agents.len() >= MAX_AGENTS && !self.agents.contains_key(&report.id) {
            losses.agent_table_full.add(1);
            return;
        }
        let record = self.agents.entry(report.id).or_default();
        if received_unix_ns >= record.last_seen_unix_ns {
            report.record.update(record);
            record.last_seen_unix_ns = received_unix_ns;
        }
    }

    /// The rollups of what is in memory, for some minutes; spans that still wait for their other end as they stand.
    pub fn rollups(&self, minutes: &Range<Minute>, config: &Config, losses: &Losses) -> Rollups {
        let mut rollups = Rollups::default();
        for generation in self.generations() {
            rollups.merge(&generation.rollups, minutes);
            for (index, span) in generation.unsettled() {
                if minutes.contains(&(span.start_unix_ns / super::rollup::MINUTE_NS)) {
                    rollups.record(span, &settle(index, span, &self.joins, config), losses);
                }
            }
        }
        rollups
    }

    /// The points in memory that start in the range, as they stand.
    pub fn points(&self, range_ns: &Range<u64>, config: &Config, mut each: impl FnMut(Point)) {
        for generation in self.generations() {
            let settled = generation
                .calls
                .iter()
                .map(|call| (&generation.spans[call.span], call));
            for (span, call) in settled {
                if range_ns.contains(&span.start_unix_ns) {
                    each(Point::new(span, call));
                }
            }
            for (index, span) in generation.unsettled() {
                if range_ns.contains(&span.start_unix_ns)
                    && let Some(call) = settle(index, span, &self.joins, config).call
                {
                    each(Point::new(span, &call));
                }
            }
        }
    }

    /// What a manifest written now says.
    pub fn manifest(&self) -> Manifest {
        Manifest {
            version: 0,
            written_generation: self.written_generation,
            spans_written: self.spans_written,
            segments: self
                .segments
                .iter()
                .map(|segment| Segment::clone(segment))
                .collect(),
            seen: self.seen.clone(),
            agents: self.agents.clone(),
        }
    }
}
