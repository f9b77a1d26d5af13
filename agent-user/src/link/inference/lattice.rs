//! How each hypothesis came to be, and what that says of each call once more is known.
//!
//! Enters: layer by layer, which hypotheses led to which, by what choice and with what gain. Leaves: in the window, the
//! share of each choice among all ways through, and one way through, drawn with the probability it has. Bounded: layers;
//! when there are too many, the older half is decided by what is known by then.

use fastrand::Rng;

use super::logarithm::{exp, ln};
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

struct Layer {
    call: Option<u32>,
    /// Where its edges begin, and where the weights of the hypotheses before it begin.
    edges: usize,
    weights: usize,
}

pub(super) struct Lattice {
    layers: Vec<Layer>,
    edges: Vec<Edge>,
    weights: Vec<f32>,
    rng: Rng,
}

const LAYERS: usize = 1024;
/// Less of a share than this is not noted.
const LEAST_SHARE: f32 = 1e-6;

impl Lattice {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            layers: Vec::new(),
            edges: Vec::new(),
            weights: Vec::new(),
            rng,
        }
    }

    /// One more layer: `before` are the weights of the hypotheses it starts from.
    pub(super) fn add(&mut self, call: Option<u32>, before: &[f32], edges: &[Edge]) {
        self.layers.push(Layer {
            call,
            edges: self.edges.len(),
            weights: self.weights.len(),
        });
        self.weights.extend_from_slice(before);
        self.edges.extend_from_slice(edges);
    }

    /// There is one hypothesis, and there was one before: nothing to weigh.
    pub(super) fn certain(&mut self, window: &mut Window<'_>, call: u32, request: u32) {
        window.owner[call as usize] = request;
        window.candidates[call as usize].push(Candidate { request, share: 1.0 });
    }

    /// One hypothesis is left: what comes later says no more of what was before.
    pub(super) fn cut(&mut self, window: &mut Window<'_>) {
        self.decide(window, &[0.0], 0);
    }

    pub(super) fn finish(&mut self, window: &mut Window<'_>, weights: &[f32]) {
        self.decide(window, weights, 0);
    }

    pub(super) fn shorten(&mut self, window: &mut Window<'_>, weights: &[f32]) {
        if self.layers.len() >= LAYERS {
            self.decide(window, weights, LAYERS / 2);
        }
    }

    /// Goes backwards through all layers, and lets go of all but the last `keep`. `last` are the hypotheses' weights.
    fn decide(&mut self, window: &mut Window<'_>, last: &[f32], keep: usize) {
        let count = self.layers.len();
        if count == 0 {
            return;
        }
        // How much better each hypothesis does from here on; and the one that was drawn.
        let mut onwards = vec![0.0f32; last.len()];
        let mut before = Vec::new();
        let mut drawn = draw(&mut self.rng, last.iter().copied().enumerate());
        for at in (0..count).rev() {
            let layer = &self.layers[at];
            let end = self
                .layers
                .get(at + 1)
                .map_or(self.edges.len(), |next| next.edges);
            let edges = &self.edges[layer.edges..end];
            let weights_end = self
                .layers
                .get(at + 1)
                .map_or(self.weights.len(), |next| next.weights);
            let weights = &self.weights[layer.weights..weights_end];
            let total = |edge: &Edge| weights[edge.from as usize] + edge.gained + onwards[edge.to as usize];
            let decided = at + keep < count;
            if let (Some(call), true) = (layer.call, decided) {
                let most = edges.iter().map(total).fold(f32::NEG_INFINITY, f32::max);
                let sum: f32 = edges.iter().map(|edge| exp(total(edge) - most)).sum();
                let candidates = &mut window.candidates[call as usize];
                for edge in edges {
                    let share = exp(total(edge) - most) / sum;
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
                &mut self.rng,
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
            before.resize(weights.len(), (f32::NEG_INFINITY, 0.0f32));
            for edge in edges {
                let value = edge.gained + onwards[edge.to as usize];
                let (most, sum) = &mut before[edge.from as usize];
                if value == f32::NEG_INFINITY {
                    continue;
                }
                if value > *most {
                    *sum = *sum * exp(*most - value) + 1.0;
                    *most = value;
                } else {
                    *sum += exp(value - *most);
                }
            }
            onwards.clear();
            onwards.extend(
                before
                    .iter()
                    .map(|(most, sum)| if *sum > 0.0 { most + ln(*sum) } else { *most }),
            );
            let best = onwards.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            onwards.iter_mut().for_each(|value| *value -= best);
        }
        if keep == 0 {
            self.layers.clear();
            self.edges.clear();
            self.weights.clear();
            return;
        }
        let (edges, weights) = (self.layers[count - keep].edges, self.layers[count - keep].weights);
        self.layers.drain(..count - keep);
        self.edges.drain(..edges);
        self.weights.drain(..weights);
        for layer in &mut self.layers {
            layer.edges -= edges;
            layer.weights -= weights;
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
        let mut lattice = Lattice::new(Rng::with_seed(1));
        // As probable one way as the other, until an end that is nine times as probable after the second.
        lattice.add(Some(0), &[0.0], &[edge(0, 0, 0, 0.5), edge(0, 1, 1, 0.5)]);
        let even = [0.5f32.ln(); 2];
        lattice.add(None, &even, &[edge(0, 0, NOBODY, 0.1), edge(1, 0, NOBODY, 0.9)]);
        lattice.cut(&mut window);
        let (best, share) = window.best(0);
        assert_eq!(best, 1);
        assert!((share - 0.9).abs() < 1e-4, "{share}");
        assert!(lattice.layers.is_empty() && lattice.edges.is_empty() && lattice.weights.is_empty());
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
