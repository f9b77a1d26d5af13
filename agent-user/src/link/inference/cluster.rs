//! Requests whose calls cannot be told apart for the time being, and the hypotheses of who made which.
//!
//! Enters: requests, and weighed ways to go on. Leaves: hypotheses, one row each, that say where each request stands; what led
//! to them goes into a lattice. What clusters do not share is independent: they are followed apart, become one where a call
//! may be either's, and a request about which all hypotheses agree leaves. So ten pairs of requests with two ways each are ten
//! times two hypotheses, and not two to the power of ten. Bounded: rows, as the caller says.

use fastrand::Rng;
use smallvec::SmallVec;

use super::hazard::Place;
use super::lattice::{Edge, Lattice};
use super::logarithm::{exp, ln};
use super::proposal::{Proposal, mixed};
use super::window::{NOBODY, Window};

pub(super) struct Slot {
    pub(super) request: u32,
    /// A number of its own, for telling rows apart.
    pub(super) salt: u64,
}

#[derive(Default)]
pub(super) struct Cluster {
    pub(super) slots: Vec<Slot>,
    /// Where each slot stands, row after row: one row a hypothesis.
    cells: Vec<u32>,
    pub(super) weights: Vec<f32>,
    pub(super) hashes: Vec<u64>,
    lattice: Lattice,
}

impl Cluster {
    pub(super) fn alone(slot: Slot, place: u32, key: u64) -> Self {
        let hash = mixed(slot.salt ^ key);
        Self {
            slots: vec![slot],
            cells: vec![place],
            weights: vec![0.0],
            hashes: vec![hash],
            lattice: Lattice::default(),
        }
    }

    pub(super) fn row(&self, row: usize) -> &[u32] {
        &self.cells[row * self.slots.len()..][..self.slots.len()]
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.weights.len()).map(|row| self.row(row))
    }

    /// Where its request stands, where there is one of each; otherwise nothing.
    pub(super) fn single(&self) -> &[u32] {
        match (self.slots.len(), self.weights.len()) {
            (1, 1) => &self.cells,
            _ => &[],
        }
    }

    /// There is one row, and its request goes on to the place after the call.
    pub(super) fn move_on(&mut self, slot: usize, hash: u64, places: &[Place]) {
        let cell = &mut self.cells[slot];
        *cell = places[*cell as usize].child;
        self.hashes[0] = hash;
    }

    pub(super) fn cells_mut(&mut self) -> &mut [u32] {
        &mut self.cells
    }

    /// The most probable row.
    pub(super) fn best(&self) -> &[u32] {
        let best = (0..self.weights.len()).max_by(|a, b| self.weights[*a].total_cmp(&self.weights[*b]));
        self.row(best.unwrap_or(0))
    }

    /// One cluster of several: every hypothesis with each of the others', the most probable `most` pairs.
    pub(super) fn merged(clusters: impl Iterator<Item = Self>, most: usize) -> Self {
        let mut all = Self {
            weights: vec![0.0],
            hashes: vec![0],
            ..Self::default()
        };
        let mut certain = Vec::new();
        for cluster in clusters {
            match cluster.weights.len() {
                1 => certain.push(cluster),
                _ if all.weights.len() == 1 => all = cluster,
                _ => all.pair(cluster, most),
            }
        }
        let cells: Vec<u32> = certain.iter().flat_map(|one| &one.cells).copied().collect();
        let hash = certain.iter().fold(0, |hash, one| hash ^ one.hashes[0]);
        let width = all.slots.len();
        let rows = (0..all.weights.len()).flat_map(|row| {
            let own = all.cells[row * width..][..width].iter();
            own.chain(&cells).copied()
        });
        all.cells = rows.collect();
        all.hashes.iter_mut().for_each(|own| *own ^= hash);
        all.slots.extend(certain.into_iter().flat_map(|one| one.slots));
        all
    }

    fn pair(&mut self, mut other: Self, most: usize) {
        let mut pairs: Vec<[u32; 2]> = Vec::with_capacity(self.weights.len() * other.weights.len());
        for first in 0..self.weights.len() as u32 {
            pairs.extend((0..other.weights.len() as u32).map(|second| [first, second]));
        }
        let weight = |pair: &[u32; 2]| self.weights[pair[0] as usize] + other.weights[pair[1] as usize];
        let mut dropped = Vec::new();
        if pairs.len() > most {
            pairs.select_nth_unstable_by(most, |a, b| weight(b).total_cmp(&weight(a)));
            dropped = pairs.split_off(most);
        }
        let mut cells = Vec::with_capacity(pairs.len() * (self.slots.len() + other.slots.len()));
        for [first, second] in &pairs {
            cells.extend_from_slice(self.row(*first as usize));
            cells.extend_from_slice(other.row(*second as usize));
        }
        let weights: Vec<f32> = pairs.iter().map(weight).collect();
        let hash = |pair: &[u32; 2]| self.hashes[pair[0] as usize] ^ other.hashes[pair[1] as usize];
        self.hashes = pairs.iter().map(hash).collect();
        self.cells = cells;
        let before = std::mem::replace(&mut self.weights, weights);
        let parts = [std::mem::take(&mut self.lattice), other.lattice];
        self.lattice = Lattice::joined(parts, [before, other.weights], pairs, dropped);
        self.slots.append(&mut other.slots);
    }

    /// Takes a slot out of every row.
    pub(super) fn remove(&mut self, slot: usize) -> Slot {
        let width = self.slots.len();
        let mut at = 0;
        self.cells.retain(|_| {
            at += 1;
            (at - 1) % width != slot
        });
        self.slots.remove(slot)
    }

    /// Takes out the requests that stand at the same place in all rows.
    pub(super) fn release(&mut self, places: &[Place]) -> Vec<Self> {
        let width = self.slots.len();
        let key = |cell: u32| places[cell as usize].key;
        let first = self.row(0).to_vec();
        let agreed = |slot: usize| self.rows().all(|row| key(row[slot]) == key(first[slot]));
        let leaves: SmallVec<[bool; 16]> = (0..width).map(agreed).collect();
        if !leaves.contains(&true) {
            return Vec::new();
        }
        let best = self.best().to_vec();
        let mut at = 0;
        self.cells.retain(|_| {
            at += 1;
            !leaves[(at - 1) % width]
        });
        let (mut alone, mut term) = (Vec::new(), 0);
        let slots = std::mem::take(&mut self.slots);
        for ((slot, cell), leaves) in slots.into_iter().zip(best).zip(leaves) {
            if leaves {
                let one = Self::alone(slot, cell, key(cell));
                term ^= one.hashes[0];
                alone.push(one);
            } else {
                self.slots.push(slot);
            }
        }
        self.hashes.iter_mut().for_each(|hash| *hash ^= term);
        alone
    }

    /// Makes rows of the proposals: equal ones become one, the most probable `most` stay. `beyond` are proposals that are not
    /// to be followed.
    pub(super) fn settle(
        &mut self,
        call: Option<u32>,
        proposals: &mut [Proposal],
        beyond: &[Proposal],
        places: &[Place],
        most: usize,
    ) {
        proposals.sort_unstable_by(|a, b| a.hash.cmp(&b.hash).then(b.weight.total_cmp(&a.weight)));
        // Groups of equal rows by the sum of their probabilities.
        let mut groups: SmallVec<[(f32, u32, u32); 64]> = SmallVec::new();
        let mut at = 0;
        while at < proposals.len() {
            let mut end = at + 1;
            while end < proposals.len() && proposals[end].hash == proposals[at].hash {
                end += 1;
            }
            let best = proposals[at].priority;
            let sum: f32 = proposals[at..end]
                .iter()
                .map(|proposal| exp((proposal.priority - best).min(0.0)))
                .sum();
            groups.push((best + ln(sum), at as u32, end as u32));
            at = end;
        }
        if groups.len() > most {
            groups.select_nth_unstable_by(most, |a, b| b.0.total_cmp(&a.0));
        }
        let (groups, others) = groups.split_at(groups.len().min(most));
        let edge = |member: &Proposal, to: usize| Edge {
            from: member.row,
            to: to as u32,
            request: match (call, member.slot) {
                (Some(_), slot) if slot != NOBODY => self.slots[slot as usize].request,
                _ => NOBODY,
            },
            gained: member.weight - self.weights[member.row as usize],
        };
        let mut cells = Vec::with_capacity(groups.len() * self.slots.len());
        let mut weights = Vec::with_capacity(groups.len());
        let mut hashes = Vec::with_capacity(groups.len());
        let mut edges: SmallVec<[Edge; 64]> = SmallVec::new();
        for (to, (_, from, end)) in groups.iter().enumerate() {
            let members = &proposals[*from as usize..*end as usize];
            let first = members[0];
            let row = cells.len();
            cells.extend_from_slice(self.row(first.row as usize));
            if call.is_some() && first.slot != NOBODY {
                let cell: &mut u32 = &mut cells[row + first.slot as usize];
                *cell = places[*cell as usize].child;
            }
            let sum: f32 = members.iter().map(|m| exp(m.weight - first.weight)).sum();
            weights.push(first.weight + ln(sum));
            hashes.push(first.hash);
            edges.extend(members.iter().map(|member| edge(member, to)));
        }
        let others = others
            .iter()
            .flat_map(|(_, from, end)| &proposals[*from as usize..*end as usize]);
        let dropped = others.chain(beyond).map(|member| edge(member, 0));
        self.lattice.add(call, &self.weights, &edges, dropped);
        let best = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        weights.iter_mut().for_each(|weight| *weight -= best);
        (self.cells, self.weights, self.hashes) = (cells, weights, hashes);
    }

    /// Tells what has been decided by now.
    pub(super) fn tell(&mut self, window: &mut Window<'_>, rng: &mut Rng) {
        match self.weights.len() {
            1 => self.lattice.finish(window, &[0.0], rng),
            _ => self.lattice.shorten(window, &self.weights, rng),
        }
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self, window: &mut Window<'_>, rng: &mut Rng) {
        self.lattice.finish(window, &self.weights, rng);
    }
}
