//! Which open request made which call: follows all assignments worth following, event by event.
//!
//! Enters: a window, and what is known of its requests' shapes. Leaves: in the window, how probable each candidate of each
//! call is, how much of that was let go, and one assignment drawn with the probability it has. A hypothesis says where each open
//! request of a cluster stands; at each call it branches, one branch a candidate, and hypotheses that agree on where everything
//! stands become one. What led to them is kept as a lattice, and once all is known a pass backwards tells how probable each
//! branch was in the light of what came later. Bounded: hypotheses, requests looked at, and the lattice's length.

use fastrand::Rng;
use smallvec::SmallVec;

use super::SLACK_NS;
use super::cluster::{Cluster, Slot};
use super::hazard::{Place, Waiting};
use super::logarithm::exp;
use super::model::Model;
use super::proposal::{Proposal, mixed};
use super::shape::Progress;
use super::window::{Candidate, NOBODY, Request, Window};

/// How much to follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breadth {
    /// Hypotheses at most, of each cluster.
    pub(super) hypotheses: usize,
    /// Less probable than the best by this factor (a logarithm) is not followed.
    pub(super) within: f32,
    /// What evidence counts for: the model takes gaps and durations of one class for independent, which they are not quite.
    pub(super) temper: f32,
}

/// Requests open at once that are looked at; beyond, the one that was quiet for longest is given up.
const OPEN: usize = 256;
/// Hypotheses times open requests of a cluster at most.
const CELLS: usize = 2048;
/// Proposals that are remembered, by hypotheses that are followed: earlier calls are judged by what was let go of, too.
const REMEMBERED: usize = 8;

pub(super) struct Hypotheses<'w, 'a, 'm> {
    pub(super) window: &'w mut Window<'a>,
    pub(super) model: &'m Model,
    pub(super) breadth: Breadth,
    pub(super) clusters: Vec<Cluster>,
    pub(super) places: Vec<Place>,
    proposals: Vec<Proposal>,
    pub(super) stamp: u32,
    pub(super) open: usize,
    rng: Rng,
    given_up: u64,
    /// Proposals weighed.
    pub(super) effort: u64,
}

impl<'w, 'a, 'm> Hypotheses<'w, 'a, 'm> {
    pub(super) fn new(window: &'w mut Window<'a>, model: &'m Model, breadth: Breadth) -> Self {
        let seed = window.requests.len() as u64 ^ 0x5eed;
        Self {
            window,
            model,
            breadth,
            clusters: Vec::new(),
            places: Vec::new(),
            proposals: Vec::new(),
            stamp: 0,
            open: 0,
            rng: Rng::with_seed(seed),
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
        for mut cluster in std::mem::take(&mut self.clusters) {
            cluster.finish(self.window, &mut self.rng);
        }
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
        if self.open >= OPEN {
            self.give_up();
        }
        let of = &self.window.requests[request as usize];
        let progress = self.model.shape(of.name).begin(of);
        let salt = mixed(u64::from(request) + 1);
        let place = self.place(progress, 1);
        self.clusters
            .push(Cluster::alone(Slot { request, salt }, place, 1));
        self.open += 1;
    }

    /// Lets go of the request that was quiet for longest, whatever becomes of it.
    fn give_up(&mut self) {
        let slots = self.clusters.iter().enumerate().flat_map(|(at, cluster)| {
            let cells = cluster.best().iter().enumerate();
            cells.map(move |(slot, cell)| (at, slot, *cell))
        });
        let busy_until_ns = |cell: u32| self.places[cell as usize].progress.busy_until_ns();
        let quietest = slots.min_by_key(|(.., cell)| busy_until_ns(*cell));
        if let Some((at, slot, _)) = quietest {
            self.given_up += 1;
            self.leave(at, slot, |_, _| 0.0);
        }
    }

    fn find(&self, request: u32) -> Option<(usize, usize)> {
        self.clusters.iter().enumerate().find_map(|(at, cluster)| {
            let slot = cluster.slots.iter().position(|slot| slot.request == request)?;
            Some((at, slot))
        })
    }

    fn end(&mut self, request: u32) {
        let Some((at, slot)) = self.find(request) else {
            return;
        };
        let shape = self.model.shape(self.window.requests[request as usize].name);
        let temper = self.breadth.temper;
        self.leave(at, slot, |progress, of| temper * shape.ended(progress, of));
    }

    /// A request goes; what its end says of each hypothesis counts.
    fn leave(&mut self, at: usize, slot: usize, gained: impl Fn(&Progress, &Request) -> f32) {
        self.open -= 1;
        let cluster = &mut self.clusters[at];
        if cluster.weights.len() == 1 {
            self.clusters.swap_remove(at);
        } else {
            self.stamp += 1;
            let Slot { request, salt } = cluster.slots[slot];
            let of = &self.window.requests[request as usize];
            self.proposals.clear();
            for row in 0..cluster.weights.len() {
                let place = &mut self.places[cluster.row(row)[slot] as usize];
                if place.stamp != self.stamp {
                    place.stamp = self.stamp;
                    place.gained = gained(&place.progress, of);
                }
                let weight = cluster.weights[row] + place.gained;
                self.proposals.push(Proposal {
                    weight,
                    priority: weight,
                    row: row as u32,
                    slot: NOBODY,
                    hash: cluster.hashes[row] ^ mixed(salt ^ place.key),
                });
            }
            cluster.remove(slot);
            self.cull();
            self.settle(at, None, self.breadth.hypotheses);
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
        self.window.open[at] = self.open as u32;
        self.stamp += 1;
        let background = self.breadth.temper * self.model.background.log(&self.window.calls[at]);
        if let Some(fixed) = self.window.calls[at].fixed {
            // A call is nobody's where its request is known and not here.
            match fixed.and_then(|fixed| self.find(fixed)) {
                Some((cluster, slot)) => {
                    self.weigh(at, cluster..cluster + 1);
                    self.branch(at, cluster, Some(slot as u32), None, &[]);
                }
                None => self.certain(at, NOBODY),
            }
            return self.compact();
        }
        self.weigh(at, 0..self.clusters.len());
        let queues = self.open > 1 && self.model.order.says_something(self.window.calls[at].name);
        let waiting = if queues { self.waiting() } else { SmallVec::new() };
        let hazards = self.hazards(at, &waiting);
        let most = hazards.iter().map(|one| one.1).fold(background, f32::max);
        let worth = |hazard: f32| hazard > most - self.breadth.within;
        let (mut all, mut left_out) = (exp(background - most), 0.0);
        let mut chosen: SmallVec<[usize; 8]> = SmallVec::new();
        for (cluster, hazard) in hazards {
            let share = exp(hazard - most);
            all += share;
            if !worth(hazard) {
                left_out += share;
            } else if chosen.last() != Some(&cluster) {
                chosen.push(cluster);
            }
        }
        self.window.lost[at] = left_out / all;
        let background = worth(background).then_some(background);
        match &chosen[..] {
            [] => self.certain(at, NOBODY),
            [first, others @ ..] => {
                let limit = 2 * self.most(chosen.iter().map(|at| self.clusters[*at].slots.len()).sum());
                if !others.is_empty() {
                    let all = chosen.iter().map(|at| std::mem::take(&mut self.clusters[*at]));
                    let merged = Cluster::merged(all, limit);
                    self.clusters[*first] = merged;
                }
                for other in others.iter().rev() {
                    self.clusters.swap_remove(*other);
                }
                let waiting = if queues { self.waiting() } else { SmallVec::new() };
                self.branch(at, *first, None, background, &waiting);
            }
        }
        self.compact();
    }

    /// Each hypothesis of a cluster goes on, once for each of its requests that may have made the call, or for the one that did,
    /// and once where nobody may have.
    fn branch(
        &mut self,
        at: usize,
        cluster: usize,
        only: Option<u32>,
        background: Option<f32>,
        waiting: &[Waiting],
    ) {
        let of = &self.clusters[cluster];
        let call = &self.window.calls[at];
        let mut proposals = std::mem::take(&mut self.proposals);
        proposals.clear();
        let mut least = f32::NEG_INFINITY;
        for (number, row) in of.rows().enumerate() {
            let mut propose = |weight: f32, priority: f32, slot: u32| {
                if priority > least {
                    least = least.max(priority - self.breadth.within);
                    proposals.push(Proposal {
                        weight,
                        priority,
                        row: number as u32,
                        slot,
                        hash: of.hashes[number],
                    });
                }
            };
            let weight = of.weights[number];
            let quiet: f32 = row.iter().map(|cell| self.places[*cell as usize].quiet).sum();
            for (slot, cell) in (0..)
                .zip(row)
                .filter(|(slot, _)| only.is_none_or(|only| only == *slot))
            {
                let place = &self.places[*cell as usize];
                let weight = weight + place.gained - self.penalty(call, *cell, row, cluster, waiting);
                propose(weight, weight + quiet - place.quiet, slot);
            }
            if let Some(background) = background {
                propose(weight + background, weight + background + quiet, NOBODY);
            }
        }
        self.effort += (of.weights.len() * (of.slots.len() + 1)) as u64;
        self.proposals = proposals;
        self.cull();
        let most = self.most(self.clusters[cluster].slots.len());
        for first in [REMEMBERED * most, 2 * most] {
            if self.proposals.len() > first {
                self.proposals
                    .select_nth_unstable_by(first, |a, b| b.priority.total_cmp(&a.priority));
            }
            self.proposals.truncate(REMEMBERED * most);
        }
        for index in 0..self.proposals.len().min(2 * most) {
            let Proposal { row, slot, .. } = self.proposals[index];
            if slot != NOBODY {
                let of = &self.clusters[cluster];
                let place = of.row(row as usize)[slot as usize];
                let Slot { salt, request } = of.slots[slot as usize];
                let child = self.child(place, request, at);
                let (old, new) = (&self.places[place as usize], &self.places[child as usize]);
                self.proposals[index].hash ^= mixed(salt ^ old.key) ^ mixed(salt ^ new.key);
            }
        }
        self.settle(cluster, Some(at as u32), most);
    }

    /// Hypotheses to follow at most.
    fn most(&self, slots: usize) -> usize {
        self.breadth.hypotheses.min(CELLS / slots.max(1)).max(2)
    }

    /// The place after this call.
    fn child(&mut self, place: u32, request: u32, call: usize) -> u32 {
        let known = &self.places[place as usize];
        if known.child != NOBODY && known.stamp == self.stamp {
            return known.child;
        }
        let of = &self.window.requests[request as usize];
        let shape = self.model.shape(of.name);
        let progress = shape.after(&known.progress, &self.window.calls[call]);
        let key = progress.key();
        let child = self.place(progress, key);
        let place = &mut self.places[place as usize];
        (place.child, place.stamp) = (child, self.stamp);
        child
    }

    /// This call is this request's, or nobody's, and nothing is to be weighed.
    fn certain(&mut self, call: usize, request: u32) {
        self.window.owner[call] = request;
        self.window.candidates[call].push(Candidate { request, share: 1.0 });
    }

    /// The cluster's hypotheses become what is proposed; requests about which they agree leave it.
    fn settle(&mut self, at: usize, call: Option<u32>, most: usize) {
        let cluster = &mut self.clusters[at];
        match (&self.proposals[..], &cluster.weights[..], call) {
            ([Proposal { slot, hash, .. }], [_], Some(call)) if *slot != NOBODY => {
                let (slot, hash) = (*slot as usize, *hash);
                cluster.move_on(slot, hash, &self.places);
                let request = cluster.slots[slot].request;
                self.certain(call as usize, request);
            }
            _ => {
                let followed = self.proposals.len().min(2 * most);
                let (followed, beyond) = self.proposals.split_at_mut(followed);
                cluster.settle(call, followed, beyond, &self.places, most);
                cluster.tell(self.window, &mut self.rng);
            }
        }
        let cluster = &mut self.clusters[at];
        let mut alone = match cluster.single() {
            [] => cluster.release(&self.places),
            _ => Vec::new(),
        };
        if cluster.slots.is_empty() {
            self.clusters.swap_remove(at);
        }
        self.clusters.append(&mut alone);
    }

    /// Forgets places no hypothesis stands at.
    fn compact(&mut self) {
        if self.clusters.is_empty() {
            self.places.clear();
        }
        let live: usize = self
            .clusters
            .iter()
            .map(|cluster| cluster.weights.len() * cluster.slots.len())
            .sum();
        if self.places.len() < 4 * live + 4096 {
            return;
        }
        let mut moved = vec![NOBODY; self.places.len()];
        let mut kept = Vec::with_capacity(live.min(self.places.len()));
        let mut places: Vec<Option<Place>> = std::mem::take(&mut self.places).into_iter().map(Some).collect();
        for cell in self.clusters.iter_mut().flat_map(Cluster::cells_mut) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::inference::window::Call;

    const MS: i64 = 1_000_000;

    fn request(start_ns: i64, end_ns: i64) -> Request {
        Request {
            start_ns,
            end_ns,
            unfinished: false,
            name: 0,
        }
    }

    fn call(start_ns: i64, end_ns: i64) -> Call {
        Call {
            start_ns,
            end_ns,
            name: 0,
            fixed: None,
            hint: None,
        }
    }

    #[test]
    fn pairs_that_have_nothing_to_do_with_each_other_do_not_multiply() {
        // Fifty requests alone teach that the call comes after 1 ms and the end 1 ms after that; then twelve pairs, whose calls
        // may be either's, and which end when everything has begun.
        let mut requests: Vec<Request> = (0..50)
            .map(|n| n * 20 * MS)
            .map(|t| request(t, t + 3 * MS))
            .collect();
        let mut calls: Vec<Call> = requests
            .iter()
            .map(|r| call(r.start_ns + MS, r.start_ns + 2 * MS))
            .collect();
        let mut window = Window::new(&requests, &calls);
        window.owner = (0..50).collect();
        let model = Model::new().updated(&window.examples(), true);
        for pair in 0..12 {
            let t = (2_000 + 20 * pair) * MS;
            let end = 3_000 * MS + 20 * pair * MS;
            for n in 0..2 {
                requests.push(request(t + n * MS / 8, end + n * MS / 8));
                calls.push(call(t + n * MS / 8 + MS, end + n * MS / 8 - MS));
            }
        }
        let mut window = Window::new(&requests, &calls);
        let breadth = Breadth {
            hypotheses: 8,
            within: 8.0,
            temper: 1.0,
        };
        Hypotheses::new(&mut window, &model, breadth).follow();
        for at in 50..74 {
            let (owner, share) = window.best(at);
            assert_eq!(owner, at as u32);
            assert!((0.5..0.999).contains(&share), "{share}");
            let all: f32 = window.candidates[at]
                .iter()
                .map(|candidate| candidate.share)
                .sum();
            assert!((all - 1.0).abs() < 1e-3, "{all}");
        }
    }
}
