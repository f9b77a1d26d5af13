//! What requests of one name do: which calls follow which event, how soon, and how long they take.
//!
//! A request is read as a chain of its own events in time order: its start, starts and ends of its calls, its end. Each
//! step from an event to the next has a probability that depends on the event and on how many calls were made before,
//! and a gap with a density of its own; calls have a density of their duration. All of it is learned per latent class
//! ([`super::density::CLASSES`]), so that gaps and durations of one request inform each other. Nothing is said about
//! order or parallelism in advance: fan-out, loops, retries and optional calls are steps like any other.

use std::array::from_fn;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::density::{CLASSES, Density, PerClass, bin};
use super::window::{Call, Request};

/// Calls of one request that are told apart by their number; later ones share a number.
const DEPTH: u32 = 12;
/// Samples' worth of belief in what is known regardless of the number of calls before.
const PRIOR_STEPS: f32 = 2.0;
/// Steps' worth of belief that anything may follow.
const PRIOR_ANY: f32 = 0.5;

const START: u32 = 0;
/// Destination: an end of an open call comes next.
const CALL_ENDS: u32 = 1;
/// Destination: the request ends.
const END: u32 = 0;

/// Destination: the request ends while calls of it are open.
const END_EARLY: u32 = 2;

fn call_started(name: u32) -> u32 {
    1 + 2 * name
}

fn call_ended(name: u32) -> u32 {
    2 + 2 * name
}

fn call_of(name: u32) -> u32 {
    3 + name
}

/// Event, calls before (at most [`DEPTH`]) and destination in one number: it is hashed for every step of every proposal.
fn packed(from: u32, calls: u32, to: u32) -> u64 {
    u64::from(from) << 32 | u64::from(calls) << 24 | u64::from(to)
}

fn unpacked(key: u64) -> (u32, u32, u32) {
    (
        (key >> 32) as u32,
        (key >> 24 & 0xFF) as u32,
        (key & 0xFF_FFFF) as u32,
    )
}

#[derive(Clone, Copy, Default)]
struct Step {
    count: PerClass,
    log: PerClass,
}

/// What one name of requests does.
#[derive(Clone)]
pub(super) struct Shape {
    weights: PerClass,
    log_weights: PerClass,
    /// By event, calls before, and destination.
    steps: FxHashMap<u64, Step>,
    /// By event and calls before: all steps from there; the log is that of a step never seen there.
    totals: FxHashMap<(u32, u32), Step>,
    /// By event and destination, regardless of the calls before.
    coarse: FxHashMap<(u32, u32), (Step, Density)>,
    coarse_totals: FxHashMap<u32, Step>,
    durations: FxHashMap<u32, Density>,
}

/// A request part-way through: where it stands after some of its calls.
#[derive(Clone)]
pub(super) struct Progress {
    pub(super) log: PerClass,
    last: u32,
    last_ns: i64,
    calls: u32,
    /// Ends and names of calls not over yet.
    open: SmallVec<[(i64, u32); 6]>,
}

/// What [`Shape::walk`] reports of each step: event, calls before, destination, and the gap's bin where one counts.
type Visit<'a> = &'a mut dyn FnMut(u32, u32, u32, Option<usize>);

impl Shape {
    pub(super) fn new() -> Self {
        Self {
            weights: [0.0; CLASSES],
            log_weights: [-(CLASSES as f32).ln(); CLASSES],
            steps: FxHashMap::default(),
            totals: FxHashMap::default(),
            coarse: FxHashMap::default(),
            coarse_totals: FxHashMap::default(),
            durations: FxHashMap::default(),
        }
    }

    /// Log probability, by class, of a request that makes just these calls (in order of their start).
    pub(super) fn log_by_class<'a>(
        &self,
        request: &Request,
        calls: impl Iterator<Item = &'a Call>,
    ) -> PerClass {
        let mut log = self.log_weights;
        let mut progress = Progress {
            log: [0.0; CLASSES],
            last: START,
            last_ns: request.start_ns,
            calls: 0,
            open: SmallVec::new(),
        };
        for call in calls {
            self.advance(&mut progress, call.start_ns, &mut log);
            self.add_step(
                &mut log,
                progress.last,
                progress.calls,
                call_of(call.name),
                call.start_ns - progress.last_ns,
            );
            self.add_duration(&mut log, call);
            progress.begin(call);
        }
        self.advance(&mut progress, request.end_ns, &mut log);
        if !request.unfinished {
            let to = progress.destination_at_end();
            self.add_step(
                &mut log,
                progress.last,
                progress.calls,
                to,
                request.end_ns - progress.last_ns,
            );
        }
        log
    }

    fn advance(&self, progress: &mut Progress, until_ns: i64, log: &mut PerClass) {
        while let Some((end_ns, name)) = progress.pop_ended(until_ns) {
            let step = self.step(progress.last, progress.calls, CALL_ENDS);
            add(log, &step);
            (progress.last, progress.last_ns) = (call_ended(name), end_ns);
        }
    }

    fn add_step(&self, log: &mut PerClass, from: u32, calls: u32, to: u32, gap_ns: i64) {
        add(log, &self.step(from, calls, to));
        let density = self
            .coarse
            .get(&(from, to))
            .map_or_else(|| Density::unseen(), |(_, density)| density);
        add(log, density.log(bin(gap_ns)));
    }

    fn add_duration(&self, log: &mut PerClass, call: &Call) {
        let density = self
            .durations
            .get(&call.name)
            .unwrap_or_else(|| Density::unseen());
        add(log, density.log(bin(call.end_ns - call.start_ns)));
    }

    fn step(&self, from: u32, calls: u32, to: u32) -> PerClass {
        let calls = calls.min(DEPTH);
        if let Some(step) = self.steps.get(&packed(from, calls, to)) {
            return step.log;
        }
        // Never seen here: as much as is left for it, in what is known regardless of the calls before.
        let mut log = match (self.coarse.get(&(from, to)), self.coarse_totals.get(&from)) {
            (Some((step, _)), _) => step.log,
            (None, Some(total)) => total.log,
            (None, None) => [0.0; CLASSES],
        };
        if let Some(total) = self.totals.get(&(from, calls)) {
            add(&mut log, &total.log);
        }
        log
    }

    // ---- one call at a time, for a first guess ----

    pub(super) fn begin(&self, request: &Request) -> Progress {
        Progress {
            log: self.log_weights,
            last: START,
            last_ns: request.start_ns,
            calls: 0,
            open: SmallVec::new(),
        }
    }

    /// How much the next event of the request is due to be this call: log of its rate at that moment.
    pub(super) fn log_rate(&self, progress: &mut Progress, call: &Call) -> f32 {
        let mut log = progress.log;
        self.advance(progress, call.start_ns, &mut log);
        progress.log = log;
        let before = log_sum(&log);
        self.add_step(
            &mut log,
            progress.last,
            progress.calls,
            call_of(call.name),
            call.start_ns - progress.last_ns,
        );
        let density = self
            .coarse
            .get(&(progress.last, call_of(call.name)))
            .map_or_else(|| Density::unseen(), |(_, density)| density);
        let mut waited = progress.log;
        add(
            &mut waited,
            density.log_survival(bin(call.start_ns - progress.last_ns)),
        );
        log_sum(&log) - log_sum(&waited).min(before)
    }

    pub(super) fn take(&self, progress: &mut Progress, call: &Call) {
        let mut log = progress.log;
        self.advance(progress, call.start_ns, &mut log);
        self.add_step(
            &mut log,
            progress.last,
            progress.calls,
            call_of(call.name),
            call.start_ns - progress.last_ns,
        );
        self.add_duration(&mut log, call);
        progress.log = log;
        progress.begin(call);
    }

    // ---- learning ----

    /// Adds a request with its calls, weighted by class.
    pub(super) fn learn<'a>(
        &mut self,
        request: &Request,
        calls: impl Iterator<Item = &'a Call>,
        weights: &PerClass,
    ) {
        add(&mut self.weights, weights);
        let mut durations = Vec::new();
        let mut steps = Vec::new();
        walk(
            request,
            calls.inspect(|call| durations.push((call.name, bin(call.end_ns - call.start_ns)))),
            &mut |from, before, to, gap| {
                steps.push((from, before, to, gap));
            },
        );
        for (from, before, to, gap) in steps {
            add(
                &mut self
                    .steps
                    .entry(packed(from, before.min(DEPTH), to))
                    .or_default()
                    .count,
                weights,
            );
            add(
                &mut self.totals.entry((from, before.min(DEPTH))).or_default().count,
                weights,
            );
            add(&mut self.coarse_totals.entry(from).or_default().count, weights);
            let (step, density) = self
                .coarse
                .entry((from, to))
                .or_insert_with(|| (Step::default(), Density::new()));
            add(&mut step.count, weights);
            if let Some(gap) = gap {
                density.add(gap, weights);
            }
        }
        for (name, bin) in durations {
            self.durations
                .entry(name)
                .or_insert_with(Density::new)
                .add(bin, weights);
        }
    }

    /// Turns counts into probabilities.
    pub(super) fn refresh(&mut self) {
        let requests: f32 = self.weights.iter().sum();
        for class in 0..CLASSES {
            let share = (self.weights[class] + 0.5) / (requests + 0.5 * CLASSES as f32);
            self.log_weights[class] = share.ln();
        }
        for ((from, _), (step, density)) in &mut self.coarse {
            let total = self
                .coarse_totals
                .get(from)
                .map(|total| total.count)
                .unwrap_or_default();
            step.log = from_fn(|class| {
                let share = step.count[class] / (total[class] + PRIOR_ANY) + any(total[class]);
                share.min(1.0).ln()
            });
            density.refresh();
        }
        for (key, step) in &mut self.steps {
            let (from, calls, to) = unpacked(*key);
            let total = self
                .totals
                .get(&(from, calls))
                .map(|total| total.count)
                .unwrap_or_default();
            let coarse = self
                .coarse
                .get(&(from, to))
                .map_or([0.0; CLASSES], |(coarse, _)| coarse.log.map(f32::exp));
            step.log = from_fn(|class| {
                let share = (step.count[class] + PRIOR_STEPS * coarse[class]) / (total[class] + PRIOR_STEPS);
                share.max(1e-9).ln()
            });
        }
        for total in self.totals.values_mut() {
            total.log = total
                .count
                .map(|count| (PRIOR_STEPS / (count + PRIOR_STEPS)).ln());
        }
        for total in self.coarse_totals.values_mut() {
            total.log = total.count.map(|count| any(count).ln());
        }
        self.durations.values_mut().for_each(Density::refresh);
    }
}

/// Probability of a destination never seen from an event seen so often.
fn any(total: f32) -> f32 {
    PRIOR_ANY / (total + PRIOR_ANY) / 8.0
}

impl Progress {
    pub(super) fn last_ns(&self) -> i64 {
        self.last_ns
    }

    /// A call is open, as far as was looked.
    pub(super) fn busy(&self) -> bool {
        !self.open.is_empty()
    }

    fn begin(&mut self, call: &Call) {
        (self.last, self.last_ns) = (call_started(call.name), call.start_ns);
        self.calls += 1;
        self.open.push((call.end_ns, call.name));
    }

    fn destination_at_end(&self) -> u32 {
        if self.open.is_empty() { END } else { END_EARLY }
    }

    /// The open call that ends first, if it ends by then.
    fn pop_ended(&mut self, until_ns: i64) -> Option<(i64, u32)> {
        let (at, first) = self.open.iter().enumerate().min_by_key(|(_, open)| open.0)?;
        let first = *first;
        (first.0 <= until_ns).then(|| {
            self.open.swap_remove(at);
            first
        })
    }
}

fn walk<'a>(request: &Request, calls: impl Iterator<Item = &'a Call>, visit: Visit<'_>) {
    let mut at = Progress {
        log: [0.0; CLASSES],
        last: START,
        last_ns: request.start_ns,
        calls: 0,
        open: SmallVec::new(),
    };
    let advance = |at: &mut Progress, until_ns: i64, visit: Visit<'_>| {
        while let Some((end_ns, name)) = at.pop_ended(until_ns) {
            visit(at.last, at.calls, CALL_ENDS, None);
            (at.last, at.last_ns) = (call_ended(name), end_ns);
        }
    };
    for call in calls {
        advance(&mut at, call.start_ns, &mut *visit);
        visit(
            at.last,
            at.calls,
            call_of(call.name),
            Some(bin(call.start_ns - at.last_ns)),
        );
        at.begin(call);
    }
    advance(&mut at, request.end_ns, &mut *visit);
    if !request.unfinished {
        visit(
            at.last,
            at.calls,
            at.destination_at_end(),
            Some(bin(request.end_ns - at.last_ns)),
        );
    }
}

fn add(sum: &mut PerClass, term: &PerClass) {
    for class in 0..CLASSES {
        sum[class] += term[class];
    }
}

pub(super) fn log_sum(log: &PerClass) -> f32 {
    let most = log.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    most + log.iter().map(|log| (log - most).exp()).sum::<f32>().ln()
}

/// Shares of the classes.
pub(super) fn normalised(log: &PerClass) -> PerClass {
    let sum = log_sum(log);
    log.map(|log| (log - sum).exp())
}
