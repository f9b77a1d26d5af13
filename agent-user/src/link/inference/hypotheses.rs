//! Which open request made which call: follows all assignments worth following, event by event.
//!
//! Enters: a window, and what is known of its requests' shapes. Leaves: in the window, how probable each candidate of each
//! call is, how much of that was let go, and one assignment drawn with the probability it has. A hypothesis says where each open request stands; at
//! each call it branches, one branch a candidate, and hypotheses that agree on where everything stands become one. What
//! led to them is kept as a lattice, and once all is known a pass backwards tells how probable each branch was in the
//! light of what came later. Bounded: hypotheses, requests looked at, and the lattice's length.

use fastrand::Rng;
use smallvec::SmallVec;

use super::SLACK_NS;
use super::lattice::{Edge, Lattice};
use super::logarithm::{exp, ln};
use super::model::Model;
use super::proposal::{Proposal, mixed, shares};
use super::shape::Progress;
use super::window::{NOBODY, Request, Window};

/// How much to follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breadth {
    /// Hypotheses at most.
    pub(super) hypotheses: usize,
    /// Less probable than the best by this factor (a logarithm) is not followed.
    pub(super) within: f32,
    /// What evidence counts for: the model takes gaps and durations of one class for independent, which they are not quite.
    pub(super) temper: f32,
}

/// Requests open at once that are looked at; beyond, the one that was quiet for longest is given up.
const OPEN: usize = 256;
/// Hypotheses times open requests at most.
const CELLS: usize = 2048;
struct Place {
    progress: Progress,
    /// In terms of the moment below: the place after the call at hand, and the log of its density.
    stamp: u32,
    child: u32,
    gained: f32,
    quiet: f32,
    /// The last event and when it was, where there may be a queue.
    waits: Option<(u32, i64)>,
    key: u64,
}

struct Slot {
    request: u32,
    /// A number of its own, for telling rows apart.
    salt: u64,
}

pub(super) struct Hypotheses<'w, 'a, 'm> {
    window: &'w mut Window<'a>,
    model: &'m Model,
    breadth: Breadth,
    slots: Vec<Slot>,
    places: Vec<Place>,
    /// Where each slot stands, row by row: one row a hypothesis.
    rows: Vec<Vec<u32>>,
    weights: Vec<f32>,
    hashes: Vec<u64>,
    spare: Vec<Vec<u32>>,
    lattice: Lattice,
    proposals: Vec<Proposal>,
    /// How probable each slot, and last nobody, was when there were too many proposals to follow; empty otherwise.
    before: Vec<f32>,
    stamp: u32,
    given_up: u64,
    /// Proposals weighed.
    effort: u64,
}

impl<'w, 'a, 'm> Hypotheses<'w, 'a, 'm> {
    pub(super) fn new(window: &'w mut Window<'a>, model: &'m Model, breadth: Breadth) -> Self {
        let seed = window.requests.len() as u64 ^ 0x5eed;
        Self {
            window,
            model,
            breadth,
            slots: Vec::new(),
            places: Vec::new(),
            rows: vec![Vec::new()],
            weights: vec![0.0],
            hashes: vec![0],
            spare: Vec::new(),
            lattice: Lattice::new(Rng::with_seed(seed)),
            proposals: Vec::new(),
            before: Vec::new(),
            stamp: 0,
            given_up: 0,
            effort: 0,
        }
    }

    /// Requests given up because too many were open.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Proposals weighed, a measure of time.
    pub(super) fn effort(&self) -> u64 {
        self.effort
    }

    /// Follows the whole window.
    pub(super) fn follow(&mut self) {
        for candidates in &mut self.window.candidates {
            candidates.clear();
        }
        let requests = self.window.requests;
        let mut ends: Vec<u32> = (0..requests.len() as u32)
            .filter(|at| !requests[*at as usize].unfinished)
            .collect();
        ends.sort_by_key(|at| requests[*at as usize].end_ns);
        let (mut started, mut ended) = (0, 0);
        for call in 0..self.window.calls.len() {
            let start_ns = self.window.calls[call].start_ns;
            loop {
                let next_start = requests
                    .get(started)
                    .map(|request| request.start_ns.saturating_sub(SLACK_NS));
                let next_end = ends
                    .get(ended)
                    .map(|at| requests[*at as usize].end_ns.saturating_add(SLACK_NS));
                match (next_start, next_end) {
                    (Some(start), end) if start <= start_ns && end.is_none_or(|end| start <= end) => {
                        self.start(started as u32);
                        started += 1;
                    }
                    (_, Some(end)) if end < start_ns => {
                        self.end(ends[ended]);
                        ended += 1;
                    }
                    _ => break,
                }
            }
            self.call(call);
        }
        while started < requests.len() {
            self.start(started as u32);
            started += 1;
        }
        for end in &ends[ended..] {
            self.end(*end);
        }
        self.lattice.finish(self.window, &self.weights);
    }

    fn place(&mut self, progress: Progress, key: u64) -> u32 {
        self.places.push(Place {
            progress,
            stamp: 0,
            child: 0,
            gained: 0.0,
            quiet: 0.0,
            waits: None,
            key,
        });
        self.places.len() as u32 - 1
    }

    fn start(&mut self, request: u32) {
        if self.slots.len() >= OPEN {
            self.give_up();
        }
        let of = &self.window.requests[request as usize];
        let progress = self.model.shape(of.name).begin(of);
        let salt = mixed(u64::from(request) + 1);
        let place = self.place(progress, 1);
        self.slots.push(Slot { request, salt });
        for (row, hash) in self.rows.iter_mut().zip(&mut self.hashes) {
            row.push(place);
            *hash ^= mixed(salt ^ 1);
        }
    }

    /// Lets go of the request that was quiet for longest, whatever becomes of it.
    fn give_up(&mut self) {
        let quietest = (0..self.slots.len())
            .min_by_key(|slot| self.places[self.rows[0][*slot] as usize].progress.busy_until_ns());
        if let Some(slot) = quietest {
            self.given_up += 1;
            self.leave(slot, |_, _| 0.0);
        }
    }

    fn end(&mut self, request: u32) {
        let Some(slot) = self.slots.iter().position(|slot| slot.request == request) else {
            return;
        };
        let of = &self.window.requests[request as usize];
        let shape = self.model.shape(of.name);
        let temper = self.breadth.temper;
        self.leave(slot, |progress, _| temper * shape.ended(progress, of));
    }

    /// A slot goes; what its end says of each hypothesis counts.
    fn leave(&mut self, slot: usize, gained: impl Fn(&Progress, &Request) -> f32) {
        self.stamp += 1;
        let Slot { request, salt } = self.slots.swap_remove(slot);
        let of = &self.window.requests[request as usize];
        self.proposals.clear();
        for at in 0..self.rows.len() {
            let place = self.rows[at].swap_remove(slot) as usize;
            let place = &mut self.places[place];
            if place.stamp != self.stamp {
                place.stamp = self.stamp;
                place.gained = gained(&place.progress, of);
            }
            self.hashes[at] ^= mixed(salt ^ place.key);
            let weight = self.weights[at] + place.gained;
            self.proposals.push(Proposal {
                weight,
                priority: weight,
                row: at as u32,
                slot: NOBODY,
                hash: self.hashes[at],
            });
        }
        if self.rows.len() > 1 {
            self.cull();
            self.settle(None);
        }
        if self.slots.is_empty() {
            self.places.clear();
        }
        self.compact();
    }

    /// Proposals far less probable than the best go.
    fn cull(&mut self) {
        let best = self.proposals.iter().map(|proposal| proposal.priority);
        let least = best.fold(f32::NEG_INFINITY, f32::max) - self.breadth.within;
        self.proposals.retain(|proposal| proposal.priority > least);
    }

    fn call(&mut self, at: usize) {
        self.window.open[at] = self.slots.len() as u32;
        let call = &self.window.calls[at];
        self.stamp += 1;
        let background = self.breadth.temper * self.model.background.log(call);
        // A call is nobody's where its request is known and not here.
        let fixed = call.fixed.map(|fixed| fixed.unwrap_or(NOBODY));
        let fixed = fixed.map(
            |fixed| match self.slots.iter().any(|slot| slot.request == fixed) {
                true => fixed,
                false => NOBODY,
            },
        );
        self.proposals.clear();
        // Where there is one request and one hypothesis, waiting says nothing of which it was.
        let alone = self.rows.len() == 1 && self.slots.len() == 1;
        let temper = self.breadth.temper;
        let order = &self.model.order;
        let queues = self.slots.len() > 1 && order.says_something(call.name);
        let mut first: SmallVec<[(u32, i64); 8]> = SmallVec::new();
        let mut least = f32::NEG_INFINITY;
        for (row, cells) in self.rows.iter().enumerate() {
            let mut quiet_all = 0.0;
            first.clear();
            for (Slot { request, .. }, cell) in self.slots.iter().zip(cells) {
                let place = &mut self.places[*cell as usize];
                if place.stamp != self.stamp {
                    place.stamp = self.stamp;
                    place.child = NOBODY;
                    let shape = self.model.shape(self.window.requests[*request as usize].name);
                    place.gained = temper * shape.due(&place.progress, call);
                    if let Some((hinted, log_odds)) = call.hint
                        && hinted == *request
                    {
                        place.gained += log_odds;
                    }
                    place.waits = match queues {
                        true => place.progress.waits(call.start_ns),
                        false => None,
                    };
                    place.quiet = match alone {
                        true => 0.0,
                        false => temper * shape.quiet(&place.progress, call.start_ns),
                    };
                }
                quiet_all += place.quiet;
                if let Some((event, since_ns)) = place.waits {
                    match first.iter_mut().find(|(of, _)| *of == event) {
                        Some((_, first_ns)) => *first_ns = since_ns.min(*first_ns),
                        None => first.push((event, since_ns)),
                    }
                }
            }
            let mut propose = |weight: f32, priority: f32, slot: u32| {
                if priority > least {
                    least = least.max(priority - self.breadth.within);
                    self.proposals.push(Proposal {
                        weight,
                        priority,
                        row: row as u32,
                        slot,
                        hash: 0,
                    });
                }
            };
            let weight = self.weights[row];
            for (slot, (Slot { request, .. }, cell)) in self.slots.iter().zip(cells).enumerate() {
                if fixed.is_none_or(|fixed| fixed == *request) {
                    let place = &self.places[*cell as usize];
                    let late = place.waits.is_some_and(|waits| {
                        let earlier =
                            |(event, first_ns): &(u32, i64)| *event == waits.0 && *first_ns < waits.1;
                        first.iter().any(earlier)
                    });
                    let penalty = match place.waits {
                        Some((event, _)) if late => temper * order.penalty(call.name, event),
                        _ => 0.0,
                    };
                    let weight = weight + place.gained - penalty;
                    propose(weight, weight + quiet_all - place.quiet, slot as u32);
                }
            }
            if fixed.is_none_or(|fixed| fixed == NOBODY) {
                let weight = weight + if fixed.is_some() { 0.0 } else { background };
                propose(weight, weight + quiet_all, NOBODY);
            }
        }
        self.effort += (self.rows.len() * (self.slots.len() + 1)) as u64;
        self.cull();
        let most = self.most();
        self.before.clear();
        if self.proposals.len() > most {
            let all = self.proposals.iter();
            self.before = shares(self.slots.len(), all.map(|one| (one.slot, one.priority)));
        }
        if self.proposals.len() > 2 * most {
            self.proposals
                .select_nth_unstable_by(2 * most, |a, b| b.priority.total_cmp(&a.priority));
            self.proposals.truncate(2 * most);
        }
        for index in 0..self.proposals.len() {
            let Proposal { row, slot, .. } = self.proposals[index];
            let hash = self.hashes[row as usize];
            self.proposals[index].hash = match slot {
                NOBODY => hash,
                slot => {
                    let salt = self.slots[slot as usize].salt;
                    let place = self.rows[row as usize][slot as usize];
                    let child = self.child(place, slot, at);
                    let (old, new) = (&self.places[place as usize], &self.places[child as usize]);
                    hash ^ mixed(salt ^ old.key) ^ mixed(salt ^ new.key)
                }
            };
        }
        self.settle(Some(at as u32));
        self.compact();
    }

    /// Hypotheses to follow at most.
    fn most(&self) -> usize {
        self.breadth
            .hypotheses
            .min(CELLS / self.slots.len().max(1))
            .max(2)
    }

    /// The place after this call.
    fn child(&mut self, place: u32, slot: u32, call: usize) -> u32 {
        let known = self.places[place as usize].child;
        if known != NOBODY {
            return known;
        }
        let of = &self.window.requests[self.slots[slot as usize].request as usize];
        let progress = self
            .model
            .shape(of.name)
            .after(&self.places[place as usize].progress, &self.window.calls[call]);
        let key = progress.key();
        let child = self.place(progress, key);
        self.places[place as usize].child = child;
        child
    }

    /// Makes rows of the proposals: equal ones become one, the most probable stay.
    fn settle(&mut self, call: Option<u32>) {
        if let ([only], [row], Some(call)) = (&self.proposals[..], &mut self.rows[..], call) {
            let request = match only.slot {
                NOBODY => NOBODY,
                slot => {
                    let cell = &mut row[slot as usize];
                    *cell = self.places[*cell as usize].child;
                    self.slots[slot as usize].request
                }
            };
            self.hashes[0] = only.hash;
            return self.lattice.certain(self.window, call, request);
        }
        self.proposals
            .sort_unstable_by(|a, b| a.hash.cmp(&b.hash).then(b.weight.total_cmp(&a.weight)));
        // Groups of equal rows by the sum of their probabilities.
        let mut groups: SmallVec<[(f32, u32, u32); 64]> = SmallVec::new();
        let mut at = 0;
        while at < self.proposals.len() {
            let mut end = at + 1;
            while end < self.proposals.len() && self.proposals[end].hash == self.proposals[at].hash {
                end += 1;
            }
            let most = self.proposals[at].priority;
            let sum: f32 = self.proposals[at..end]
                .iter()
                .map(|proposal| exp((proposal.priority - most).min(0.0)))
                .sum();
            groups.push((most + ln(sum), at as u32, end as u32));
            at = end;
        }
        let most = self.most();
        if groups.len() > most {
            groups.select_nth_unstable_by(most, |a, b| b.0.total_cmp(&a.0));
            groups.truncate(most);
        }
        if let (Some(call), false) = (call, self.before.is_empty()) {
            let members = groups
                .iter()
                .flat_map(|(_, from, end)| &self.proposals[*from as usize..*end as usize]);
            let kept = shares(self.slots.len(), members.map(|one| (one.slot, one.priority)));
            let less = self.before.iter().zip(&kept);
            self.window.lost[call as usize] = less.map(|(before, kept)| (before - kept).max(0.0)).sum();
        }
        let mut rows = Vec::with_capacity(groups.len());
        let mut weights = Vec::with_capacity(groups.len());
        let mut hashes = Vec::with_capacity(groups.len());
        let mut edges: SmallVec<[Edge; 64]> = SmallVec::new();
        for (to, (_, from, end)) in groups.iter().enumerate() {
            let members = &self.proposals[*from as usize..*end as usize];
            let first = members[0];
            let mut row = self.spare.pop().unwrap_or_default();
            row.clear();
            row.extend_from_slice(&self.rows[first.row as usize]);
            if call.is_some() && first.slot != NOBODY {
                let cell = &mut row[first.slot as usize];
                *cell = self.places[*cell as usize].child;
            }
            rows.push(row);
            let sum: f32 = members.iter().map(|m| exp(m.weight - first.weight)).sum();
            weights.push(first.weight + ln(sum));
            hashes.push(first.hash);
            edges.extend(members.iter().map(|member| Edge {
                from: member.row,
                to: to as u32,
                request: match (call, member.slot) {
                    (Some(_), slot) if slot != NOBODY => self.slots[slot as usize].request,
                    _ => NOBODY,
                },
                gained: member.weight - self.weights[member.row as usize],
            }));
        }
        self.lattice.add(call, &self.weights, &edges);
        let best = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        weights.iter_mut().for_each(|weight| *weight -= best);
        self.spare.append(&mut self.rows);
        (self.rows, self.weights, self.hashes) = (rows, weights, hashes);
        if self.rows.len() == 1 {
            self.lattice.cut(self.window);
        } else {
            self.lattice.shorten(self.window, &self.weights);
        }
    }

    /// Forgets places no hypothesis stands at.
    fn compact(&mut self) {
        let live = self.rows.len() * self.slots.len();
        if self.places.len() < 4 * live + 4096 {
            return;
        }
        let mut moved = vec![NOBODY; self.places.len()];
        let mut kept = Vec::with_capacity(live.min(self.places.len()));
        let mut places: Vec<Option<Place>> = std::mem::take(&mut self.places).into_iter().map(Some).collect();
        for cell in self.rows.iter_mut().flatten() {
            let old = *cell as usize;
            if let Some(place) = places[old].take() {
                moved[old] = kept.len() as u32;
                kept.push(place);
            }
            *cell = moved[old];
        }
        self.places = kept;
    }
}
