//! A window of one process's requests and calls, and who made which call.
//!
//! Enters: requests and calls by start. Leaves: an owner for each call, and how probable each candidate is. Bounded: by the
//! caller the window, candidates kept per call. First guesses, where nothing is known, are made here; what is worth more
//! comes from `hypotheses`.

use smallvec::SmallVec;

use super::model::Example;

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
    /// Index of the request that something else than time points at, and how much more probable that makes it (a logarithm).
    pub(super) hint: Option<(u32, f32)>,
}

/// A candidate and how probable it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Index of the request, [`NOBODY`] for none.
    pub(super) request: u32,
    pub(super) share: f32,
}

pub(super) const NOBODY: u32 = u32::MAX;

pub(super) struct Window<'a> {
    /// By start.
    pub(super) requests: &'a [Request],
    /// By start.
    pub(super) calls: &'a [Call],
    /// One assignment, drawn from all as often as it is probable.
    pub(super) owner: Vec<u32>,
    pub(super) candidates: Vec<SmallVec<[Candidate; 2]>>,
    /// Of each call, how much of its candidates' probability was let go because there were too many ways to follow.
    pub(super) lost: Vec<f32>,
    /// Requests open when each call began.
    pub(super) open: Vec<u32>,
}

/// How the first guess is made where shapes are not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guess {
    /// The oldest request that waits for no call, and has not made a call of this name.
    Oldest,
    /// The one whose last event is the most recent.
    MostRecent,
    /// As the oldest, and only requests apart from others are learned from.
    Apart,
}

impl<'a> Window<'a> {
    pub(super) fn new(requests: &'a [Request], calls: &'a [Call]) -> Self {
        Self {
            requests,
            calls,
            owner: vec![NOBODY; calls.len()],
            candidates: vec![SmallVec::new(); calls.len()],
            lost: vec![0.0; calls.len()],
            open: vec![0; calls.len()],
        }
    }

    /// The requests with the calls they have at present.
    pub(super) fn examples(&self) -> Vec<Example<'a>> {
        let requests = self.requests.iter().map(|request| Example {
            request,
            calls: SmallVec::new(),
        });
        let mut examples: Vec<Example<'a>> = requests.collect();
        for (call, owner) in self.calls.iter().zip(&self.owner) {
            if *owner != NOBODY {
                examples[*owner as usize].calls.push(call);
            }
        }
        examples
    }

    /// Those that share their time with the fewest others.
    pub(super) fn examples_apart(&self) -> Vec<Example<'a>> {
        let mut ends: Vec<i64> = self.requests.iter().map(|request| request.end_ns).collect();
        ends.sort_unstable();
        let others = |request: &Request| {
            let begun = self
                .requests
                .partition_point(|other| other.start_ns <= request.end_ns);
            begun - ends.partition_point(|end_ns| *end_ns < request.start_ns)
        };
        let mut counts: Vec<usize> = self.requests.iter().map(others).collect();
        let at = counts.len() / APART_SHARE;
        let most = match counts.is_empty() {
            true => 0,
            false => *counts.select_nth_unstable(at).1,
        };
        let mut examples = self.examples();
        examples.retain(|example| others(example.request) <= most);
        examples
    }

    /// The most probable owner of a call, and how probable it is.
    pub(super) fn best(&self, call: usize) -> (u32, f32) {
        let candidates = self.candidates[call].iter();
        let best = candidates.max_by(|a, b| a.share.total_cmp(&b.share));
        best.map_or((NOBODY, 0.0), |best| (best.request, best.share.min(1.0)))
    }

    /// How probable it is that this request made the call.
    pub(super) fn share(&self, call: usize, request: u32) -> f32 {
        let mut candidates = self.candidates[call].iter();
        let candidate = candidates.find(|candidate| candidate.request == request);
        candidate.map_or(0.0, |candidate| candidate.share.min(1.0))
    }

    /// Takes another opinion into account, as much as what is held here already after `opinions`.
    pub(super) fn average(&mut self, other: &Self, opinions: usize) {
        let weight = 1.0 / (opinions + 1) as f32;
        for (ours, theirs) in self.candidates.iter_mut().zip(&other.candidates) {
            ours.iter_mut()
                .for_each(|candidate| candidate.share *= 1.0 - weight);
            for Candidate { request, share } in theirs.iter().copied() {
                let share = share * weight;
                match ours.iter_mut().find(|candidate| candidate.request == request) {
                    Some(candidate) => candidate.share += share,
                    None => ours.push(Candidate { request, share }),
                }
            }
        }
    }

    /// How much two opinions of a call differ: 0 where they are the same, 1 where they have nothing in common.
    pub(super) fn differs(&self, other: &Self, call: usize) -> f32 {
        let ours = |request| self.share(call, request);
        let theirs = other.candidates[call].iter();
        let common = theirs.map(|theirs| ours(theirs.request).min(theirs.share));
        (1.0 - common.sum::<f32>()).clamp(0.0, 1.0)
    }

    /// Gives every call to an open request, knowing nothing.
    pub(super) fn guess(&mut self, guess: Guess) {
        #[derive(Clone, Default)]
        struct Seen {
            names: SmallVec<[u32; 8]>,
            last_ns: i64,
            busy_until_ns: i64,
        }
        let mut seen = vec![Seen::default(); self.requests.len()];
        let mut open: Vec<u32> = Vec::new();
        let mut next = 0;
        for (at, call) in self.calls.iter().enumerate() {
            while let Some(request) = self.requests.get(next)
                && request.start_ns <= call.start_ns + super::SLACK_NS
            {
                seen[next].last_ns = request.start_ns;
                seen[next].busy_until_ns = request.start_ns;
                open.push(next as u32);
                next += 1;
            }
            open.retain(|request| self.requests[*request as usize].end_ns + super::SLACK_NS >= call.start_ns);
            // Beyond so many the latest are enough for a guess.
            let looked_at = &open[open.len().saturating_sub(GUESSED_AMONG)..];
            let key = |request: &u32| {
                let (seen, request) = (&seen[*request as usize], &self.requests[*request as usize]);
                let outlives = call.end_ns > request.end_ns;
                let busy = seen.busy_until_ns > call.start_ns;
                let again = guess != Guess::MostRecent && seen.names.contains(&call.name);
                let age = match guess {
                    Guess::Oldest | Guess::Apart => request.start_ns,
                    Guess::MostRecent => -seen.last_ns.max(seen.busy_until_ns.min(call.start_ns)),
                };
                (outlives, again, busy, age)
            };
            let chosen = match call.fixed {
                Some(fixed) => fixed,
                None => looked_at.iter().copied().min_by_key(key),
            };
            self.owner[at] = chosen.unwrap_or(NOBODY);
            if let Some(chosen) = chosen {
                let seen = &mut seen[chosen as usize];
                seen.names.push(call.name);
                seen.last_ns = call.start_ns;
                seen.busy_until_ns = seen.busy_until_ns.max(call.end_ns);
            }
        }
    }
}

const GUESSED_AMONG: usize = 64;
/// One in so many requests, at least, is apart from others.
const APART_SHARE: usize = 10;
