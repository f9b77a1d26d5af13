//! How probable it is that each open request makes the call at hand, given that it has not made one until now.
//!
//! Enters: where the requests of each cluster may stand. Leaves: of each place what the call would mean there, and of each
//! request its hazard. Bounded: as `hypotheses` is. Deliberately absent: any choice.

use std::ops::Range;

use smallvec::SmallVec;

use super::cluster::Slot;
use super::hypotheses::Hypotheses;
use super::logarithm::Sum;
use super::shape::{Progress, Shape};
use super::window::{Call, NOBODY};

/// Where a request stands, and in terms of the moment below what the call at hand would mean.
pub(super) struct Place {
    pub(super) progress: Progress,
    pub(super) stamp: u32,
    /// The place after the call.
    pub(super) child: u32,
    /// Log of the call's density.
    pub(super) gained: f32,
    /// Log of the probability of nothing until now.
    pub(super) quiet: f32,
    /// The last event and when it was, where there may be a queue.
    pub(super) waits: Option<(u32, i64)>,
    pub(super) key: u64,
}

/// An event, and since when a request has waited after it and in which cluster: of the cluster where one has waited longest,
/// and of another one.
pub(super) type Waiting = (u32, [(i64, usize); 2]);

impl Hypotheses<'_, '_, '_> {
    /// What the call would mean for each request, wherever it may stand.
    pub(super) fn weigh(&mut self, at: usize, clusters: Range<usize>) {
        let call = &self.window.calls[at];
        // Where there is one request, waiting says nothing of which it was.
        let alone = self.open == 1;
        let queues = !alone && self.model.order.says_something(call.name);
        for cluster in &self.clusters[clusters] {
            for row in cluster.rows() {
                for (Slot { request, .. }, cell) in cluster.slots.iter().zip(row) {
                    let place = &mut self.places[*cell as usize];
                    if place.stamp != self.stamp {
                        let shape = self.model.shape(self.window.requests[*request as usize].name);
                        place.weigh(self.stamp, call, *request, shape, self.breadth.temper);
                        place.waits = match queues {
                            true => place.progress.waits(call.start_ns),
                            false => None,
                        };
                        place.quiet = match alone {
                            true => 0.0,
                            false => self.breadth.temper * shape.quiet(&place.progress, call.start_ns),
                        };
                    }
                }
            }
            self.effort += (cluster.weights.len() * cluster.slots.len()) as u64;
        }
    }

    /// Who has waited longest, after each event.
    pub(super) fn waiting(&self) -> SmallVec<[Waiting; 8]> {
        let mut waiting: SmallVec<[Waiting; 8]> = SmallVec::new();
        for (at, cluster) in self.clusters.iter().enumerate() {
            for cell in cluster.best() {
                let Some((event, since_ns)) = self.places[*cell as usize].waits else {
                    continue;
                };
                let known = waiting.iter().position(|one| one.0 == event);
                let known = known.unwrap_or_else(|| {
                    waiting.push((event, [(i64::MAX, usize::MAX); 2]));
                    waiting.len() - 1
                });
                let [first, second] = &mut waiting[known].1;
                if first.1 == at {
                    first.0 = since_ns.min(first.0);
                } else if since_ns < first.0 {
                    *second = std::mem::replace(first, (since_ns, at));
                } else if since_ns < second.0 {
                    *second = (since_ns, at);
                }
            }
        }
        waiting
    }

    /// What is taken off where another request has waited longer.
    pub(super) fn penalty(
        &self,
        call: &Call,
        cell: u32,
        row: &[u32],
        cluster: usize,
        waiting: &[Waiting],
    ) -> f32 {
        let Some((event, since_ns)) = self.places[cell as usize].waits else {
            return 0.0;
        };
        let of_event = waiting.iter().find(|one| one.0 == event);
        let elsewhere = of_event.is_some_and(|(_, [first, second])| {
            let first = if first.1 == cluster { second } else { first };
            first.0 < since_ns
        });
        let earlier = |other: &u32| {
            let waits = self.places[*other as usize].waits;
            waits.is_some_and(|(of, since)| of == event && since < since_ns)
        };
        match elsewhere || row.iter().any(earlier) {
            true => self.breadth.temper * self.model.order.penalty(call.name, event),
            false => 0.0,
        }
    }

    /// How probable it is that each request makes the call now, as a logarithm: cluster and request after request.
    pub(super) fn hazards(&self, at: usize, waiting: &[Waiting]) -> SmallVec<[(usize, f32); 16]> {
        let call = &self.window.calls[at];
        let mut hazards = SmallVec::new();
        for (at, cluster) in self.clusters.iter().enumerate() {
            if let [cell] = cluster.single() {
                let place = &self.places[*cell as usize];
                let penalty = self.penalty(call, *cell, &[], at, waiting);
                hazards.push((at, place.gained - place.quiet - penalty));
                continue;
            }
            let quiet = |row: &[u32]| {
                row.iter()
                    .map(|cell| self.places[*cell as usize].quiet)
                    .sum::<f32>()
            };
            let mut all = Sum::default();
            let priorities = cluster.rows().zip(&cluster.weights).map(|(row, weight)| {
                let priority = weight + quiet(row);
                all.add(priority);
                priority
            });
            let priorities: SmallVec<[f32; 16]> = priorities.collect();
            for slot in 0..cluster.slots.len() {
                let mut sum = Sum::default();
                for (row, priority) in cluster.rows().zip(&priorities) {
                    let place = &self.places[row[slot] as usize];
                    let penalty = self.penalty(call, row[slot], row, at, waiting);
                    sum.add(priority + place.gained - place.quiet - penalty);
                }
                hazards.push((at, sum.log() - all.log()));
            }
        }
        hazards
    }
}

impl Place {
    fn weigh(&mut self, stamp: u32, call: &Call, request: u32, shape: &Shape, temper: f32) {
        (self.stamp, self.child) = (stamp, NOBODY);
        self.gained = temper * shape.due(&self.progress, call);
        if let Some((hinted, log_odds)) = call.hint
            && hinted == request
        {
            self.gained += log_odds;
        }
    }
}
