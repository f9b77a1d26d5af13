//! How each hypothesis came to be, and what that says of each call once more is known.
//!
//! Enters: layer by layer, which hypotheses led to which, by what choice and with what gain, and where hypotheses of two
//! clusters were paired. Leaves: in the window, the
//! share of each choice among all ways through, and one way through, drawn with the probability it has. Bounded: layers;
//! when there are too many, the older half is decided by what is known by then.

use fastrand::Rng;

use super::logarithm::{Sum, exp};
use super::window::{Candidate, Window};

/// From one hypothesis to one of the next layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) from: u32,
    pub(super) to: u32,
    /// The request chosen for the layer's call.
    pub(super) request: u32,
    pub(super) gained: f32,
}

#[derive(Clone, Copy)]
struct Layer {
    call: Option<u32>,
    /// Where its edges begin, those that were not followed, and the weights of the hypotheses before it.
    edges: usize,
    dropped: usize,
    weights: usize,
}

/// What came before two sets of hypotheses became one: each hypothesis is one of the first with one of the second.
struct Join {
    parts: [Lattice; 2],
    /// Of both parts' hypotheses.
    weights: [Vec<f32>; 2],
    pairs: Vec<[u32; 2]>,
    /// Pairs that were not followed.
    dropped: Vec<[u32; 2]>,
}

#[derive(Default)]
pub(super) struct Lattice {
    join: Option<Box<Join>>,
    layers: Vec<Layer>,
    edges: Vec<Edge>,
    dropped: Vec<Edge>,
    weights: Vec<f32>,
}

const LAYERS: usize = 1024;
/// Less of a share than this is not noted.
const LEAST_SHARE: f32 = 1e-6;

impl Lattice {
    /// One more layer: `before` are the weights of the hypotheses it starts from. Edges that are not followed any further are
    /// taken to do as well later as the others do in the mean: otherwise what they said of earlier calls would be forgotten.
    pub(super) fn add(
        &mut self,
        call: Option<u32>,
        before: &[f32],
        edges: &[Edge],
        dropped: impl Iterator<Item = Edge>,
    ) {
        self.layers.push(Layer {
            call,
            edges: self.edges.len(),
            dropped: self.dropped.len(),
            weights: self.weights.len(),
        });
        self.weights.extend_from_slice(before);
        self.edges.extend_from_slice(edges);
        self.dropped.extend(dropped);
    }

    /// Of two sets of hypotheses with these weights, pairs are followed together from here on.
    pub(super) fn joined(
        parts: [Self; 2],
        weights: [Vec<f32>; 2],
        pairs: Vec<[u32; 2]>,
        dropped: Vec<[u32; 2]>,
    ) -> Self {
        Self {
            join: Some(Box::new(Join {
                parts,
                weights,
                pairs,
                dropped,
            })),
            ..Self::default()
        }
    }

    /// What comes later says no more of what was before: these are the weights now.
    pub(super) fn finish(&mut self, window: &mut Window<'_>, weights: &[f32], rng: &mut Rng) {
        let drawn = draw(rng, weights.iter().copied().enumerate());
        self.decide(window, vec![0.0; weights.len()], drawn, 0, rng);
    }

    pub(super) fn shorten(&mut self, window: &mut Window<'_>, weights: &[f32], rng: &mut Rng) {
        if self.layers.len() >= LAYERS {
            let drawn = draw(rng, weights.iter().copied().enumerate());
            self.decide(window, vec![0.0; weights.len()], drawn, LAYERS / 2, rng);
        }
    }

    /// Goes backwards through all layers, and lets go of all but the last `keep`. `onwards`: how much better each hypothesis
    /// does from here on; `drawn`: the one that was drawn.
    fn decide(
        &mut self,
        window: &mut Window<'_>,
        mut onwards: Vec<f32>,
        mut drawn: usize,
        keep: usize,
        rng: &mut Rng,
    ) {
        let count = self.layers.len();
        let mut before = Vec::new();
        for at in (0..count).rev() {
            let layer = self.layers[at];
            let end = self.layers.get(at + 1).copied().unwrap_or(Layer {
                call: None,
                edges: self.edges.len(),
                dropped: self.dropped.len(),
                weights: self.weights.len(),
            });
            let edges = &self.edges[layer.edges..end.edges];
            let dropped = &self.dropped[layer.dropped..end.dropped];
            let weights = &self.weights[layer.weights..end.weights];
            let until_here = |edge: &Edge| weights[edge.from as usize] + edge.gained;
            let total = |edge: &Edge| until_here(edge) + onwards[edge.to as usize];
            let in_the_mean = Sum::of(edges.iter().map(total)) - Sum::of(edges.iter().map(until_here));
            let decided = at + keep < count;
            if let (Some(call), true) = (layer.call, decided) {
                let totals = edges.iter().map(|edge| (edge, total(edge)));
                let totals = totals.chain(dropped.iter().map(|edge| (edge, until_here(edge) + in_the_mean)));
                let sum = Sum::of(totals.clone().map(|(_, total)| total));
                let candidates = &mut window.candidates[call as usize];
                for (edge, total) in totals {
                    let share = exp(total - sum);
                    if share < LEAST_SHARE {
                        continue;
                    }
                    match candidates.iter_mut().find(|c| c.request == edge.request) {
                        Some(candidate) => candidate.share += share,
                        None => candidates.push(Candidate {
                            request: edge.request,
                            share,
                        }),
                    }
                }
            }
            let ways = edges.iter().filter(|edge| edge.to as usize == drawn);
            let way = draw(
                rng,
                ways.clone()
                    .map(|edge| weights[edge.from as usize] + edge.gained)
                    .enumerate(),
            );
            if let Some(edge) = ways.clone().nth(way) {
                if let (Some(call), true) = (layer.call, decided) {
                    window.owner[call as usize] = edge.request;
                }
                drawn = edge.from as usize;
            }
            before.clear();
            before.resize(weights.len(), Sum::default());
            for edge in edges {
                before[edge.from as usize].add(edge.gained + onwards[edge.to as usize]);
            }
            for edge in dropped {
                before[edge.from as usize].add(edge.gained + in_the_mean);
            }
            onwards.clear();
            onwards.extend(before.iter().map(Sum::log));
            let best = onwards.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            onwards.iter_mut().for_each(|value| *value -= best);
        }
        if let Some(join) = self.join.take() {
            join.decide(window, &onwards, drawn, rng);
        }
        if keep == 0 {
            self.layers.clear();
            self.edges.clear();
            self.dropped.clear();
            self.weights.clear();
            return;
        }
        let first = self.layers[count - keep];
        self.layers.drain(..count - keep);
        self.edges.drain(..first.edges);
        self.dropped.drain(..first.dropped);
        self.weights.drain(..first.weights);
        for layer in &mut self.layers {
            layer.edges -= first.edges;
            layer.dropped -= first.dropped;
            layer.weights -= first.weights;
        }
    }
}

impl Join {
    /// What came later says of each part's hypotheses what it says of their pairs with all of the other part.
    fn decide(self, window: &mut Window<'_>, onwards: &[f32], drawn: usize, rng: &mut Rng) {
        let until_here =
            |[first, second]: [u32; 2]| self.weights[0][first as usize] + self.weights[1][second as usize];
        let pairs = self.pairs.iter().copied().zip(onwards);
        let total = Sum::of(pairs.map(|(pair, onwards)| until_here(pair) + onwards));
        let in_the_mean = total - Sum::of(self.pairs.iter().copied().map(until_here));
        let of_parts = [0, 1].map(|part| {
            let mut sums = vec![Sum::default(); self.weights[part].len()];
            let dropped = self.dropped.iter().map(|pair| (pair, &in_the_mean));
            for (pair, onwards) in self.pairs.iter().zip(onwards).chain(dropped) {
                let other = self.weights[1 - part][pair[1 - part] as usize];
                sums[pair[part] as usize].add(other + onwards);
            }
            sums.iter().map(Sum::log).collect::<Vec<f32>>()
        });
        let drawn = self.pairs[drawn];
        for (part, (mut lattice, onwards)) in self.parts.into_iter().zip(of_parts).enumerate() {
            lattice.decide(window, onwards, drawn[part] as usize, 0, rng);
        }
    }
}

/// One of several, as often as its weight (a logarithm) says.
fn draw(rng: &mut Rng, weights: impl Iterator<Item = (usize, f32)> + Clone) -> usize {
    let most = weights
        .clone()
        .map(|(_, weight)| weight)
        .fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = weights.clone().map(|(_, weight)| exp(weight - most)).sum();
    let mut left = rng.f32() * sum;
    let mut chosen = 0;
    for (at, weight) in weights {
        chosen = at;
        left -= exp(weight - most);
        if left < 0.0 {
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::inference::window::{Call, NOBODY, Request};

    fn edge(from: u32, to: u32, request: u32, probability: f32) -> Edge {
        Edge {
            from,
            to,
            request,
            gained: probability.ln(),
        }
    }

    #[test]
    fn what_comes_later_speaks_for_what_was_before() {
        let request = |start_ns| Request {
            start_ns,
            end_ns: 100,
            unfinished: false,
            name: 0,
        };
        let requests = [request(0), request(1)];
        let calls = [Call {
            start_ns: 2,
            end_ns: 3,
            name: 0,
            fixed: None,
            hint: None,
        }];
        let mut window = Window::new(&requests, &calls);
        let mut lattice = Lattice::default();
        // As probable one way as the other, until an end that is nine times as probable after the second.
        lattice.add(
            Some(0),
            &[0.0],
            &[edge(0, 0, 0, 0.5), edge(0, 1, 1, 0.5)],
            [].into_iter(),
        );
        let even = [0.5f32.ln(); 2];
        lattice.add(
            None,
            &even,
            &[edge(0, 0, NOBODY, 0.1), edge(1, 0, NOBODY, 0.9)],
            [].into_iter(),
        );
        lattice.finish(&mut window, &[0.0], &mut Rng::with_seed(1));
        let (best, share) = window.best(0);
        assert_eq!(best, 1);
        assert!((share - 0.9).abs() < 1e-4, "{share}");
        assert!(lattice.layers.is_empty() && lattice.edges.is_empty() && lattice.weights.is_empty());
    }

    #[test]
    fn what_was_let_go_of_still_says_what_it_said_of_earlier_calls() {
        let call = |start_ns| Call {
            start_ns,
            end_ns: start_ns + 1,
            name: 0,
            fixed: None,
            hint: None,
        };
        let calls = [call(2), call(4)];
        let mut window = Window::new(&[], &calls);
        let mut lattice = Lattice::default();
        lattice.add(
            Some(0),
            &[0.0],
            &[edge(0, 0, 0, 0.6), edge(0, 1, 1, 0.4)],
            [].into_iter(),
        );
        let weights = [0.6f32.ln(), 0.4f32.ln()];
        lattice.add(
            Some(1),
            &weights,
            &[edge(0, 0, 2, 1.0)],
            [edge(1, 0, 3, 1.0)].into_iter(),
        );
        lattice.add(None, &[0.0], &[edge(0, 0, NOBODY, 0.01)], [].into_iter());
        lattice.finish(&mut window, &[0.0], &mut Rng::with_seed(1));
        let close = |call, owner, share: f32| {
            let best = window.best(call);
            assert!(best.0 == owner && (best.1 - share).abs() < 1e-4, "{best:?}");
        };
        close(0, 0, 0.6);
        close(1, 2, 0.6);
    }

    #[test]
    fn what_comes_after_two_became_one_speaks_for_what_was_before_in_both() {
        let call = |start_ns| Call {
            start_ns,
            end_ns: start_ns + 1,
            name: 0,
            fixed: None,
            hint: None,
        };
        let calls = [call(2), call(4)];
        let mut window = Window::new(&[], &calls);
        let part = |at: u32| {
            let mut part = Lattice::default();
            let ways = [edge(0, 0, 2 * at, 0.5), edge(0, 1, 2 * at + 1, 0.5)];
            part.add(Some(at), &[0.0], &ways, [].into_iter());
            part
        };
        let even = || vec![0.5f32.ln(); 2];
        let pairs = vec![[0, 0], [0, 1], [1, 1]];
        let mut joined = Lattice::joined([part(0), part(1)], [even(), even()], pairs, vec![[1, 0]]);
        // Of the pairs followed the last one does eight times as well: 1, 1, 8, and (10 / 3) for the one let go of.
        let before = [0.25f32.ln(); 3];
        let ends = [0.1, 0.1, 0.8].map(f32::ln);
        let edges: Vec<Edge> = (0..3)
            .map(|from| Edge {
                from,
                to: 0,
                request: NOBODY,
                gained: ends[from as usize],
            })
            .collect();
        joined.add(None, &before, &edges, [].into_iter());
        joined.finish(&mut window, &[0.0], &mut Rng::with_seed(1));
        let all = 1.0 + 1.0 + 8.0 + 10.0 / 3.0;
        for (call, owner, share) in [(0, 1, (8.0 + 10.0 / 3.0) / all), (1, 3, 9.0 / all)] {
            let best = window.best(call);
            assert!(
                best.0 == owner && (best.1 - share).abs() < 1e-4,
                "{best:?} not {share}"
            );
        }
    }

    #[test]
    fn ways_are_drawn_as_often_as_they_are_probable() {
        let mut rng = Rng::with_seed(3);
        let weights = [0.1f32.ln(), 0.7f32.ln(), 0.2f32.ln()];
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            counts[draw(&mut rng, weights.iter().copied().enumerate())] += 1;
        }
        assert!(
            (900..1100).contains(&counts[0]) && (6800..7200).contains(&counts[1]),
            "{counts:?}"
        );
    }
}
