//! What requests of one name do: which calls follow which event, how soon, and how long they take.
//!
//! A request is read as a chain of its own events in time order: its start, starts and ends of its calls, its end. Each
//! step from an event to the next has a probability that depends on the event and on how many calls were made before,
//! and a gap with a density of its own; calls have a density of their duration. All of it is learned per latent class
//! ([`super::density::CLASSES`]), so that gaps and durations of one request inform each other. Nothing is said about
//! order or parallelism in advance: fan-out, loops, retries and optional calls are steps like any other.

use std::array::from_fn;
use std::hash::Hasher;

use rustc_hash::FxHasher;
use smallvec::SmallVec;

use super::density::{CLASSES, Density, PerClass, bin};
use super::logarithm::{exp, ln};
use super::places::Places;
use super::repeats::{Made, Repeats};
use super::window::{Call, Request};

/// Calls of one request that are told apart by their number; later ones share a number.
const DEPTH: u32 = 12;
/// Samples' worth of belief in what is known regardless of the number of calls before.
const PRIOR_STEPS: f32 = 2.0;
/// Steps' worth of belief that anything may follow.
const PRIOR_ANY: f32 = 0.5;

pub(super) const START: u32 = 0;
/// Destination: an end of an open call comes next.
const CALL_ENDS: u32 = 1;
/// Destination: the request ends.
const END: u32 = 0;

/// Destination: the request ends while calls of it are open.
const END_EARLY: u32 = 2;

fn call_started(name: u32) -> u32 {
    1 + 3 * name
}

/// Whether others are under way makes two events of it: what waits for all of several parallel calls comes after the last.
fn call_ended(name: u32, others: bool) -> u32 {
    2 + 3 * name + u32::from(others)
}

fn call_of(name: u32) -> u32 {
    3 + name
}

/// Steps from one event to one destination, whatever the request's class.
#[derive(Clone)]
struct Steps {
    from: u32,
    count: [PerClass; DEPTH as usize + 1],
    /// By calls before.
    log: [PerClass; DEPTH as usize + 1],
    gaps: Density,
}

/// All steps from one event.
#[derive(Clone, Default)]
struct Departures {
    count: [PerClass; DEPTH as usize + 1],
    /// Of a step never seen after so many calls.
    log: [PerClass; DEPTH as usize + 1],
    coarse_count: PerClass,
    coarse_log: PerClass,
    /// Until whichever event of the request's own comes next.
    gaps: Option<Density>,
}

/// What one name of requests does.
#[derive(Clone)]
pub(super) struct Shape {
    weights: PerClass,
    log_weights: PerClass,
    steps: Vec<Steps>,
    /// Where in `steps`, by event and destination.
    places: Places,
    /// By event.
    departures: Vec<Departures>,
    /// By name of the call.
    durations: Vec<Option<Density>>,
    repeats: Repeats,
}

/// A request part-way through: where it stands after some of its calls.
#[derive(Clone)]
pub(super) struct Progress {
    /// Share of each class in what is known of it.
    log: PerClass,
    last: u32,
    last_ns: i64,
    calls: u32,
    made: Made,
    /// Ends and names of calls not over yet.
    open: SmallVec<[(i64, u32); 4]>,
}

/// What [`Shape::walk`] reports of each step: event, calls before, destination, and the gap's bin where one counts.
type Visit<'a> = &'a mut dyn FnMut(u32, u32, u32, Option<usize>);

impl Shape {
    pub(super) fn new() -> Self {
        Self {
            weights: [0.0; CLASSES],
            log_weights: [-(CLASSES as f32).ln(); CLASSES],
            steps: Vec::new(),
            places: Places::default(),
            departures: Vec::new(),
            durations: Vec::new(),
            repeats: Repeats::default(),
        }
    }

    /// Log probability, by class, of a request that makes just these calls (in order of their start).
    pub(super) fn log_by_class<'a>(
        &self,
        request: &Request,
        calls: impl Iterator<Item = &'a Call>,
    ) -> PerClass {
        let mut log = self.log_weights;
        let mut progress = self.begin(request);
        for call in calls {
            self.step_to(&mut progress, call, &mut log);
        }
        self.last_step(&mut progress, request, &mut log);
        log
    }

    fn step_to(&self, progress: &mut Progress, call: &Call, log: &mut PerClass) {
        self.advance(progress, call.start_ns, log);
        self.add_call(log, progress, call);
        progress.begin(call, &self.repeats);
    }

    fn add_call(&self, log: &mut PerClass, progress: &Progress, call: &Call) {
        self.add_step(log, progress, call_of(call.name), call.start_ns);
        add(log, &[self.repeats.log(progress.made, call.name); CLASSES]);
        self.add_duration(log, call);
    }

    fn add_duration(&self, log: &mut PerClass, call: &Call) {
        let density = self.durations.get(call.name as usize).and_then(Option::as_ref);
        let density = density.unwrap_or_else(|| Density::unseen());
        add(log, density.log(bin(call.end_ns - call.start_ns)));
    }

    fn last_step(&self, progress: &mut Progress, request: &Request, log: &mut PerClass) {
        self.advance(progress, request.end_ns, log);
        if !request.unfinished {
            self.add_step(log, progress, progress.destination_at_end(), request.end_ns);
        }
    }

    fn advance(&self, progress: &mut Progress, until_ns: i64, log: &mut PerClass) {
        while let Some((end_ns, name)) = progress.pop_ended(until_ns) {
            add(log, &self.step(progress.last, progress.calls, CALL_ENDS).0);
            (progress.last, progress.last_ns) = (call_ended(name, !progress.open.is_empty()), end_ns);
        }
    }

    fn add_step(&self, log: &mut PerClass, progress: &Progress, to: u32, at_ns: i64) {
        let (step, gaps) = self.step(progress.last, progress.calls, to);
        add(log, &step);
        add(log, gaps.log(bin(at_ns - progress.last_ns)));
    }

    fn step(&self, from: u32, calls: u32, to: u32) -> (PerClass, &Density) {
        let calls = calls.min(DEPTH) as usize;
        let departures = self.departures.get(from as usize);
        let Some(place) = self.places.find(from, to) else {
            // Never seen: as much as is left for it.
            let mut log = [0.0; CLASSES];
            if let Some(departures) = departures {
                log = departures.coarse_log;
                add(&mut log, &departures.log[calls]);
            }
            return (log, Density::unseen());
        };
        let steps = &self.steps[place];
        (steps.log[calls], &steps.gaps)
    }

    // ---- one call at a time ----

    pub(super) fn begin(&self, request: &Request) -> Progress {
        Progress {
            log: self.log_weights,
            ..Progress::at_start(request)
        }
    }

    /// The request after one more call.
    pub(super) fn after(&self, progress: &Progress, call: &Call) -> Progress {
        let mut next = progress.clone();
        let mut log = progress.log;
        self.step_to(&mut next, call, &mut log);
        let gained = log_sum(&log);
        next.log = log.map(|log| log - gained);
        next
    }

    /// How probable it is that the request makes this call next: log of its density.
    pub(super) fn due(&self, progress: &Progress, call: &Call) -> f32 {
        let mut log = progress.log;
        if progress.open.iter().any(|open| open.0 <= call.start_ns) {
            self.step_to(&mut progress.clone(), call, &mut log);
        } else {
            self.add_call(&mut log, progress, call);
        }
        log_sum(&log)
    }

    /// How probable it is that the request then ends as it did.
    pub(super) fn ended(&self, progress: &Progress, request: &Request) -> f32 {
        let (mut last, mut log) = (progress.clone(), progress.log);
        self.last_step(&mut last, request, &mut log);
        log_sum(&log)
    }

    /// How probable it is that nothing more has happened to the request until now.
    pub(super) fn quiet(&self, progress: &Progress, now_ns: i64) -> f32 {
        let Some((from, since_ns)) = progress.waits(now_ns) else {
            return 0.0;
        };
        let departures = self.departures.get(from as usize);
        match departures.and_then(|departures| departures.gaps.as_ref()) {
            Some(gaps) => {
                let mut log = progress.log;
                add(&mut log, gaps.log_survival(bin(now_ns - since_ns)));
                log_sum(&log)
            }
            None => 0.0,
        }
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
            let depth = before.min(DEPTH) as usize;
            if self.departures.len() <= from as usize {
                self.departures
                    .resize_with(from as usize + 1, Departures::default);
            }
            let departures = &mut self.departures[from as usize];
            add(&mut departures.count[depth], weights);
            add(&mut departures.coarse_count, weights);
            let place = self.places.find(from, to).unwrap_or_else(|| {
                let none = [[0.0; CLASSES]; DEPTH as usize + 1];
                self.steps.push(Steps {
                    from,
                    count: none,
                    log: none,

                    gaps: Density::new(),
                });
                self.places.insert(from, to, self.steps.len() - 1);
                self.steps.len() - 1
            });
            let steps = &mut self.steps[place];
            add(&mut steps.count[depth], weights);
            if let Some(gap) = gap {
                steps.gaps.add(gap, weights);
                departures.gaps.get_or_insert_with(Density::new).add(gap, weights);
            }
        }
        for (name, bin) in durations {
            self.repeats.know(name);
            let name = name as usize;
            if self.durations.len() <= name {
                self.durations.resize_with(name + 1, || None);
            }
            self.durations[name]
                .get_or_insert_with(Density::new)
                .add(bin, weights);
        }
    }

    /// Counts how often a request makes each call once more, and how often its steps would have led one to expect that.
    /// After [`Shape::refresh`].
    pub(super) fn count_repeats<'a>(
        &mut self,
        request: &Request,
        calls: impl Iterator<Item = &'a Call>,
        weights: &PerClass,
    ) {
        let mut repeats = std::mem::take(&mut self.repeats);
        let names: SmallVec<[u32; 16]> = repeats.names().collect();
        let mut made = Made::default();
        walk(request, calls, &mut |from, before, to, _| {
            for name in &names {
                if let Some(place) = self.places.find(from, call_of(*name)) {
                    let log = self.steps[place].log[before.min(DEPTH) as usize];
                    let probability: f32 = (0..CLASSES).map(|class| weights[class] * exp(log[class])).sum();
                    repeats.expect(made, *name, probability);
                }
            }
            if let Some(name) = to.checked_sub(call_of(0)) {
                repeats.see(made, name);
                made = repeats.and(made, name);
            }
        });
        self.repeats = repeats;
    }

    pub(super) fn refresh_repeats(&mut self) {
        self.repeats.refresh();
    }

    /// Turns counts into probabilities.
    pub(super) fn refresh(&mut self) {
        let requests: f32 = self.weights.iter().sum();
        for class in 0..CLASSES {
            let share = (self.weights[class] + 0.5) / (requests + 0.5 * CLASSES as f32);
            self.log_weights[class] = share.ln();
        }
        for steps in &mut self.steps {
            let departures = &self.departures[steps.from as usize];
            let total = departures.coarse_count;
            let mut count = [0.0; CLASSES];
            steps.count.iter().for_each(|by_depth| add(&mut count, by_depth));
            let coarse: PerClass =
                from_fn(|class| (count[class] / (total[class] + PRIOR_ANY) + any(total[class])).min(1.0));
            for depth in 0..=DEPTH as usize {
                steps.log[depth] = from_fn(|class| {
                    let share = (steps.count[depth][class] + PRIOR_STEPS * coarse[class])
                        / (departures.count[depth][class] + PRIOR_STEPS);
                    share.max(1e-9).ln()
                });
            }
            steps.gaps.refresh();
        }
        for departures in &mut self.departures {
            for depth in 0..=DEPTH as usize {
                departures.log[depth] =
                    departures.count[depth].map(|count| (PRIOR_STEPS / (count + PRIOR_STEPS)).ln());
            }
            departures.coarse_log = departures.coarse_count.map(|count| any(count).ln());
            if let Some(gaps) = &mut departures.gaps {
                gaps.refresh();
            }
        }
        self.durations.iter_mut().flatten().for_each(Density::refresh);
    }
}

/// Probability of a destination never seen from an event seen so often.
fn any(total: f32) -> f32 {
    PRIOR_ANY / (total + PRIOR_ANY) / 8.0
}

impl Progress {
    /// Equal where two ways to have come here make no difference for what follows.
    pub(super) fn key(&self) -> u64 {
        let mut hasher = FxHasher::default();
        hasher.write_u32(self.last);
        hasher.write_i64(self.last_ns);
        hasher.write_u32(self.calls.min(DEPTH));
        hasher.write_u64(self.made.bits());
        // In no order.
        let open = self.open.iter().map(|(end_ns, name)| {
            let mut hasher = FxHasher::default();
            hasher.write_i64(*end_ns);
            hasher.write_u32(*name);
            hasher.finish()
        });
        hasher.write_u64(open.fold(0, u64::wrapping_add));
        hasher.finish()
    }

    /// When the last of its calls is over.
    pub(super) fn busy_until_ns(&self) -> i64 {
        self.open.iter().map(|open| open.0).max().unwrap_or(self.last_ns)
    }

    fn at_start(request: &Request) -> Self {
        Self {
            log: [0.0; CLASSES],
            last: START,
            last_ns: request.start_ns,
            calls: 0,
            made: Made::default(),
            open: SmallVec::new(),
        }
    }

    fn begin(&mut self, call: &Call, repeats: &Repeats) {
        self.made = repeats.and(self.made, call.name);
        (self.last, self.last_ns) = (call_started(call.name), call.start_ns);
        self.calls += 1;
        self.open.push((call.end_ns, call.name));
    }

    /// The last event, and when it was, where no call is under way.
    pub(super) fn waits(&self, now_ns: i64) -> Option<(u32, i64)> {
        match self.open.iter().max_by_key(|open| open.0) {
            Some((end_ns, name)) => (*end_ns <= now_ns).then_some((call_ended(*name, false), *end_ns)),
            None => Some((self.last, self.last_ns)),
        }
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
    let mut at = Progress::at_start(request);
    let repeats = Repeats::default();
    let advance = |at: &mut Progress, until_ns: i64, visit: Visit<'_>| {
        while let Some((end_ns, name)) = at.pop_ended(until_ns) {
            visit(at.last, at.calls, CALL_ENDS, None);
            (at.last, at.last_ns) = (call_ended(name, !at.open.is_empty()), end_ns);
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
        at.begin(call, &repeats);
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
    most + ln(log.iter().map(|log| exp(log - most)).sum::<f32>())
}

/// Shares of the classes.
pub(super) fn normalised(log: &PerClass) -> PerClass {
    let sum = log_sum(log);
    log.map(|log| exp(log - sum))
}
