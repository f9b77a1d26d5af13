//! Which open request made which call: samples assignments of a window's calls to its requests.
//!
//! Enters: requests and calls of one process, and what is known of their shapes. Leaves: for each call how probable each
//! candidate is. An assignment is changed by small moves (a call goes over; two requests exchange a call, or all calls
//! from some moment on), each taken with its probability given the rest (heat bath), so that after some rounds states
//! appear as often as they are probable. Bounded: candidates per call, rounds, and by the caller the window.

mod repair;

use fastrand::Rng;

use super::Parameters;
use super::model::{Example, Model};
use super::shape::{Progress, log_sum};

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) start_ns: i64,
    /// The last moment looked at where it is unfinished.
    pub(super) end_ns: i64,
    pub(super) unfinished: bool,
    /// Number of its name among the process's request names.
    pub(super) name: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
    /// Number of its name among the process's call names.
    pub(super) name: u32,
    /// Known from elsewhere: `Some(None)` for no parent.
    pub(super) fixed: Option<Option<u32>>,
    /// Index of the request that something else than time points at.
    pub(super) hint: Option<u32>,
}

/// A candidate with its score and its share of the samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Index of the request, [`NOBODY`] for none.
    pub(super) request: u32,
    pub(super) share: f32,
}

pub(super) const NOBODY: u32 = u32::MAX;

/// Candidates kept per call: those the greedy guess found most due.
const CANDIDATES: usize = 8;

pub(super) struct Window<'a> {
    /// By start.
    pub(super) requests: &'a [Request],
    /// By start.
    pub(super) calls: &'a [Call],
    owner: Vec<u32>,
    /// Calls of each request, by start.
    children: Vec<Vec<u32>>,
    score: Vec<f32>,
    candidates: Vec<Vec<Candidate>>,
    visits: Vec<f32>,
    rng: Rng,
}

/// How the first guess is made where shapes are not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guess {
    /// The request most due, by the shapes.
    MostDue,
    /// The oldest one that has not made a call of this name.
    Oldest,
    /// The one whose last event is the most recent.
    MostRecent,
}

impl<'a> Window<'a> {
    pub(super) fn new(requests: &'a [Request], calls: &'a [Call], model: &Model, guess: Guess) -> Self {
        let mut window = Self {
            requests,
            calls,
            owner: vec![NOBODY; calls.len()],
            children: vec![Vec::new(); requests.len()],
            score: vec![0.0; requests.len()],
            candidates: vec![Vec::new(); calls.len()],
            visits: vec![0.0; calls.len()],
            rng: Rng::with_seed(requests.len() as u64 ^ 0x5eed),
        };
        window.guess(model, guess);
        window.rescore(model);
        window
    }

    pub(super) fn owner(&self, call: usize) -> u32 {
        self.owner[call]
    }

    /// The requests with the calls they have at present.
    pub(super) fn examples(&self) -> Vec<Example<'a>> {
        let calls = |children: &[u32]| children.iter().map(|call| &self.calls[*call as usize]).collect();
        let requests = self.requests.iter().zip(&self.children);
        requests
            .map(|(request, children)| Example {
                request,
                calls: calls(children),
            })
            .collect()
    }

    /// The most probable owner of a call, and how probable it is among all samples.
    pub(super) fn best(&self, call: usize) -> (u32, f32) {
        let candidates = &self.candidates[call];
        if self.visits[call] == 0.0 {
            return (self.owner[call], 1.0);
        }
        let best = candidates.iter().max_by(|a, b| a.share.total_cmp(&b.share));
        best.map_or((NOBODY, 0.0), |best| {
            (best.request, (best.share / self.visits[call]).min(1.0))
        })
    }

    /// Log probability of the present assignment.
    pub(super) fn log_probability(&self, model: &Model) -> f64 {
        let calls = (0..self.calls.len()).filter(|call| self.owner[*call] == NOBODY);
        self.score.iter().map(|score| f64::from(*score)).sum::<f64>()
            + calls
                .map(|call| f64::from(model.background.log(&self.calls[call])))
                .sum::<f64>()
    }

    /// Gives every call to the request that looks best when it starts, and notes the runners-up.
    fn guess(&mut self, model: &Model, guess: Guess) {
        let mut progress: Vec<Option<Progress>> = vec![None; self.requests.len()];
        let mut open: Vec<u32> = Vec::new();
        let mut next = 0;
        let mut rates: Vec<(f32, u32)> = Vec::new();
        for (at, call) in self.calls.iter().enumerate() {
            while next < self.requests.len()
                && self.requests[next].start_ns <= call.start_ns + super::SLACK_NS
            {
                let request = &self.requests[next];
                progress[next] = Some(model.shape(request.name).begin(request));
                open.push(next as u32);
                next += 1;
            }
            open.retain(|request| {
                let over = self.requests[*request as usize].end_ns + super::SLACK_NS < call.start_ns;
                if over {
                    progress[*request as usize] = None;
                }
                !over
            });
            rates.clear();
            let background = model.background.log_rate(call);
            for request in &open {
                let index = *request as usize;
                let Some(state) = &mut progress[index] else {
                    continue;
                };
                let mut rate = model.shape(self.requests[index].name).log_rate(state, call);
                if call.end_ns > self.requests[index].end_ns + super::SLACK_NS {
                    rate += OUTLIVES_LOG;
                }
                match guess {
                    Guess::MostDue => {}
                    Guess::Oldest | Guess::MostRecent => {
                        let again = self.children[index]
                            .iter()
                            .any(|c| self.calls[*c as usize].name == call.name);
                        let age = match guess {
                            Guess::Oldest => {
                                -self.requests[index].start_ns as f32 + self.requests[0].start_ns as f32
                            }
                            _ => state.last_ns() as f32 - self.requests[0].start_ns as f32,
                        };
                        let busy = state.busy();
                        rate = age * 1e-9 - if again { 1e6 } else { 0.0 } - if busy { 1e5 } else { 0.0 }
                            + if call.end_ns > self.requests[index].end_ns {
                                -1e7
                            } else {
                                0.0
                            };
                    }
                }
                if call.hint == Some(*request) {
                    rate += model.log_hint_odds;
                }
                rates.push((rate, *request));
            }
            if guess == Guess::MostDue {
                rates.push((background, NOBODY));
            } else {
                rates.push((f32::MIN, NOBODY));
            }
            rates.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
            let nobody = rates.iter().position(|rate| rate.1 == NOBODY).unwrap_or(0);
            if nobody >= CANDIDATES {
                rates.swap(nobody, CANDIDATES - 1);
            }
            rates.truncate(CANDIDATES);
            let chosen = match call.fixed {
                Some(fixed) => {
                    rates.clear();
                    rates.push((0.0, fixed.unwrap_or(NOBODY)));
                    fixed.unwrap_or(NOBODY)
                }
                None => rates[0].1,
            };
            self.candidates[at] = rates
                .iter()
                .map(|(_, request)| Candidate {
                    request: *request,
                    share: 0.0,
                })
                .collect();
            self.owner[at] = chosen;
            if chosen != NOBODY {
                self.children[chosen as usize].push(at as u32);
                if let Some(state) = &mut progress[chosen as usize] {
                    model.shape(self.requests[chosen as usize].name).take(state, call);
                }
            }
        }
    }

    /// Takes the shapes as they are now.
    pub(super) fn rescore(&mut self, model: &Model) {
        for request in 0..self.requests.len() {
            self.score[request] = self.score_of(model, request, &self.children[request]);
        }
    }

    fn score_of(&self, model: &Model, request: usize, children: &[u32]) -> f32 {
        let shape = model.shape(self.requests[request].name);
        let calls = || children.iter().map(|call| &self.calls[*call as usize]);
        let hinted = calls().filter(|call| call.hint == Some(request as u32)).count();
        log_sum(&shape.log_by_class(&self.requests[request], calls())) + hinted as f32 * model.log_hint_odds
    }

    /// One round with the model as it is now, to learn from.
    pub(super) fn improve(&mut self, model: &Model, parameters: &Parameters) {
        self.rescore(model);
        self.repair(model);
        self.sweep(model, parameters, false);
    }

    /// One visit to every call that has a choice.
    pub(super) fn sweep(&mut self, model: &Model, parameters: &Parameters, count: bool) {
        let mut scratch = Scratch::default();
        for call in 0..self.calls.len() {
            if self.candidates[call].len() < 2 {
                continue;
            }
            // What has been certain for a while is looked at less often.
            if self.visits[call] >= parameters.certain_after && self.rng.u8(..) >= 16 {
                let sure = self.candidates[call]
                    .iter()
                    .any(|c| c.share >= parameters.certain * self.visits[call]);
                if sure {
                    continue;
                }
            }
            let taken = self.visit(model, call, &mut scratch);
            if count {
                self.visits[call] += 1.0;
                let (owner, other, probability) = taken;
                for candidate in &mut self.candidates[call] {
                    if candidate.request == owner {
                        candidate.share += 1.0 - probability;
                    } else if candidate.request == other {
                        candidate.share += probability;
                    }
                }
            }
        }
    }

    /// Proposes another owner for a call. Answers the owner it had, the other one, and how probable the other one is.
    fn visit(&mut self, model: &Model, call: usize, scratch: &mut Scratch) -> (u32, u32, f32) {
        let owner = self.owner[call];
        let candidates = &self.candidates[call];
        let mut pick = self.rng.usize(..candidates.len());
        if candidates[pick].request == owner {
            pick = (pick + 1 + self.rng.usize(..candidates.len() - 1)) % candidates.len();
        }
        let other = candidates[pick].request;
        let kind = self.rng.u8(..8);
        if owner == NOBODY || other == NOBODY || kind == 0 {
            return self.give(model, call, owner, other, scratch);
        }
        let found = match kind {
            ..3 => self.plan_exchange(call, owner as usize, other as usize, scratch),
            _ => {
                let last = (kind > 4).then(|| self.rng.u32(..));
                self.plan_crossover(call, owner as usize, other as usize, last, scratch)
            }
        };
        if !found {
            return self.give(model, call, owner, other, scratch);
        }
        let before = self.score[owner as usize] + self.score[other as usize];
        let first = self.score_of(model, owner as usize, &scratch.first);
        let second = self.score_of(model, other as usize, &scratch.second);
        let probability = share(first + second - before);
        if self.rng.f32() < probability {
            for (request, list, score) in [
                (owner, &mut scratch.first, first),
                (other, &mut scratch.second, second),
            ] {
                for child in list.iter() {
                    self.owner[*child as usize] = request;
                }
                std::mem::swap(&mut self.children[request as usize], list);
                self.score[request as usize] = score;
            }
        }
        (owner, other, probability)
    }

    /// The call alone changes hands; either hand may be nobody's.
    fn give(
        &mut self,
        model: &Model,
        call: usize,
        owner: u32,
        other: u32,
        scratch: &mut Scratch,
    ) -> (u32, u32, f32) {
        let background = model.background.log(&self.calls[call]);
        let (mut before, mut after) = (0.0, 0.0);
        let (mut first, mut second) = (0.0, 0.0);
        if owner == NOBODY {
            before += background;
        } else {
            scratch.first.clear();
            scratch.first.extend(
                self.children[owner as usize]
                    .iter()
                    .filter(|child| **child as usize != call),
            );
            first = self.score_of(model, owner as usize, &scratch.first);
            before += self.score[owner as usize];
            after += first;
        }
        if other == NOBODY {
            after += background;
        } else {
            let list = &self.children[other as usize];
            let at = list.partition_point(|child| (*child as usize) < call);
            scratch.second.clear();
            scratch.second.extend_from_slice(&list[..at]);
            scratch.second.push(call as u32);
            scratch.second.extend_from_slice(&list[at..]);
            second = self.score_of(model, other as usize, &scratch.second);
            before += self.score[other as usize];
            after += second;
        }
        let probability = share(after - before);
        if self.rng.f32() < probability {
            self.owner[call] = other;
            if owner != NOBODY {
                std::mem::swap(&mut self.children[owner as usize], &mut scratch.first);
                self.score[owner as usize] = first;
            }
            if other != NOBODY {
                std::mem::swap(&mut self.children[other as usize], &mut scratch.second);
                self.score[other as usize] = second;
            }
        }
        (owner, other, probability)
    }

    /// The call against the other's nearest call of the same name.
    fn plan_exchange(&self, call: usize, owner: usize, other: usize, scratch: &mut Scratch) -> bool {
        let wanted = &self.calls[call];
        let nearest = self.children[other]
            .iter()
            .filter(|child| {
                let candidate = &self.calls[**child as usize];
                candidate.name == wanted.name && candidate.fixed.is_none() && self.fits(**child, owner)
            })
            .min_by_key(|child| (self.calls[**child as usize].start_ns - wanted.start_ns).abs());
        let Some(nearest) = nearest.copied() else {
            return false;
        };
        replaced(&self.children[owner], call as u32, nearest, &mut scratch.first);
        replaced(&self.children[other], nearest, call as u32, &mut scratch.second);
        true
    }

    fn fits(&self, call: u32, request: usize) -> bool {
        let (call, request) = (&self.calls[call as usize], &self.requests[request]);
        request.start_ns <= call.start_ns + super::SLACK_NS
            && call.start_ns <= request.end_ns + super::SLACK_NS
    }

    /// All calls of both from this one on; with `last`, up to one of the later calls of either.
    fn plan_crossover(
        &self,
        call: usize,
        owner: usize,
        other: usize,
        last: Option<u32>,
        scratch: &mut Scratch,
    ) -> bool {
        let (ours, theirs) = (&self.children[owner], &self.children[other]);
        let at = ours.partition_point(|child| (*child as usize) < call);
        let cut = theirs.partition_point(|child| (*child as usize) < call);
        let (mut at_end, mut cut_end) = (ours.len(), theirs.len());
        if let Some(last) = last {
            let later = ours.len() - at - 1 + theirs.len() - cut;
            if later == 0 {
                return false;
            }
            // The chosen call and what follows it stays.
            let chosen = last as usize % later;
            let end = match chosen.checked_sub(ours.len() - at - 1) {
                None => ours[at + 1 + chosen],
                Some(chosen) => theirs[cut + chosen],
            };
            at_end = ours.partition_point(|child| *child < end);
            cut_end = theirs.partition_point(|child| *child < end);
        }
        let movable = |list: &[u32], to: usize| {
            list.iter()
                .all(|child| self.calls[*child as usize].fixed.is_none() && self.fits(*child, to))
        };
        if !movable(&ours[at..at_end], other) || !movable(&theirs[cut..cut_end], owner) {
            return false;
        }
        let joined = |out: &mut Vec<u32>, parts: [&[u32]; 3]| {
            out.clear();
            parts.iter().for_each(|part| out.extend_from_slice(part));
        };
        joined(
            &mut scratch.first,
            [&ours[..at], &theirs[cut..cut_end], &ours[at_end..]],
        );
        joined(
            &mut scratch.second,
            [&theirs[..cut], &ours[at..at_end], &theirs[cut_end..]],
        );
        true
    }
}

/// A call that ends after its request did is an exception; how much of one is learned, this is for the first guess.
const OUTLIVES_LOG: f32 = -5.0;

#[derive(Default)]
struct Scratch {
    first: Vec<u32>,
    second: Vec<u32>,
}

/// The list with one call replaced by another, in order.
fn replaced(list: &[u32], old: u32, new: u32, out: &mut Vec<u32>) {
    out.clear();
    let mut placed = false;
    for child in list.iter().copied().filter(|child| *child != old) {
        if !placed && child > new {
            out.push(new);
            placed = true;
        }
        out.push(child);
    }
    if !placed {
        out.push(new);
    }
}

/// The model takes gaps and durations of one class for independent, which they are not quite: evidence counts half.
const TEMPER: f32 = 0.5;

/// Probability of a state that is better by this log ratio.
fn share(log_ratio: f32) -> f32 {
    1.0 / (1.0 + (-log_ratio * TEMPER).exp())
}
