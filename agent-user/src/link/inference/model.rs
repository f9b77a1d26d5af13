//! What is known of one process: the shape of each of its requests, and its background.
//!
//! Enters: windows without answers, and requests whose calls are known. Leaves: the model they are judged by. From a
//! window it learns by alternating between assigning calls and learning from the assignment (stochastic expectation
//! maximisation): first with one class of requests, from several first guesses of which the two most probable results stay,
//! then with several classes. Two, because where they disagree neither is to be trusted. Classes are first split along the
//! direction in which gaps and durations of the most common call sequences vary together.

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::Parameters;
use super::background::Background;
use super::density::{CLASSES, PerClass};
use super::hypotheses::{Breadth, Hypotheses};
use super::order::Order;
use super::shape::{Shape, log_sum, normalised};
use super::window::{Call, Guess, NOBODY, Request, Window};

#[derive(Clone)]
pub(super) struct Model {
    /// By number of the request's name.
    shapes: Vec<Shape>,
    unknown: Shape,
    pub(super) background: Background,
    pub(super) order: Order,
}

/// A request with its calls by start, as far as they are known or assumed.
pub(super) struct Example<'a> {
    pub(super) request: &'a Request,
    pub(super) calls: SmallVec<[&'a Call; 8]>,
}

/// Requests of one sequence of calls needed before classes are told apart: fewer would make classes of noise.
const SPLIT_AFTER: usize = 50;
/// Rounds of class learning where the assignment is given.
const CLASS_ROUNDS: usize = 4;
/// Requests open in the mean from which on queues are looked for: with fewer nobody stands in line for long.
const QUEUES_FROM: f64 = 2.5;

/// Requests to learn from at first, and of each name.
const PART: usize = 600;
const PART_OF_NAME: usize = 50;
/// Rounds of learning from the whole at last.
const ROUNDS_WHOLE: usize = 3;
/// So much more probable, of each call, is worth another round (a logarithm); and rounds that may bring less.
const LITTLE: f64 = 0.003;
const IDLE: usize = 4;
/// No further round once so many proposals were weighed.
const EFFORT: u64 = 3_000_000;
/// So much less probable, of each call, is no other explanation of the same but a worse one (a logarithm).
const MUCH: f64 = 0.02;

/// What is taken for granted while the first guess is made better.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Assumption {
    Nothing,
    /// Queues are in order.
    InOrder,
    /// Some calls of each name are nobody's.
    SomeNobodys,
}

const GUESSES: [(Guess, Assumption); 5] = [
    (Guess::Oldest, Assumption::Nothing),
    (Guess::MostRecent, Assumption::Nothing),
    (Guess::Apart, Assumption::Nothing),
    (Guess::Oldest, Assumption::InOrder),
    (Guess::Oldest, Assumption::SomeNobodys),
];
const EVEN: PerClass = [1.0 / CLASSES as f32; CLASSES];

impl Model {
    pub(super) fn new() -> Self {
        let mut unknown = Shape::new();
        unknown.refresh();
        Self {
            shapes: Vec::new(),
            unknown,
            background: Background::default(),
            order: Order::default(),
        }
    }

    /// Shape of requests of this name; of none in particular where the name is new.
    pub(super) fn shape(&self, name: u32) -> &Shape {
        self.shapes.get(name as usize).unwrap_or(&self.unknown)
    }

    /// Learns from nothing but one window, from several first guesses; the two results that explain it best, best first.
    pub(super) fn from_window(requests: &[Request], calls: &[Call], parameters: &Parameters) -> [Self; 2] {
        let mut unlearned = Self::new();
        let starts = requests.iter().map(|request| request.start_ns);
        let ends = requests.iter().map(|request| request.end_ns);
        let from_ns = starts.chain(calls.iter().map(|call| call.start_ns)).min();
        let until_ns = ends.chain(calls.iter().map(|call| call.end_ns)).max();
        if let (Some(from_ns), Some(until_ns)) = (from_ns, until_ns) {
            unlearned.background.watch(requests, calls, from_ns, until_ns);
        }
        let learning = Learning {
            breadth: parameters.learning(),
            rounds: parameters.rounds,
            queues: parameters.knows_queues && open_in_the_mean(requests) >= QUEUES_FROM,
        };
        // Most is learned from a part, often; what is left to learn from the whole is not much.
        let part = part(requests, calls);
        let mut learned: Vec<(f64, Self, Window<'_>)> = Vec::new();
        let guesses = GUESSES.iter().filter(|(_, assumption)| match assumption {
            Assumption::Nothing => true,
            Assumption::InOrder => learning.queues,
            Assumption::SomeNobodys => !unlearned.background.is_seen_alone(),
        });
        for (guess, assumption) in guesses.copied() {
            let mut window = Window::new(&part.0, &part.1);
            window.guess(guess);
            let mut model = match guess {
                Guess::Apart => unlearned.relearned(&window.examples_apart(), |_, _| EVEN),
                _ => unlearned.relearned_from_window(&window, |_, _| EVEN),
            };
            match assumption {
                Assumption::Nothing => {}
                Assumption::InOrder => model.order = Order::strict(),
                Assumption::SomeNobodys => model.background.suspect(&part.1),
            }
            let log = learning.settle(&mut model, &mut window, |_| EVEN, |_, _| ());
            learned.push((log, model, window));
        }
        learned.sort_by(|a, b| b.0.total_cmp(&a.0));
        learned.truncate(2);
        // One that explains much less is no second opinion; the best one is, when it is not told classes apart.
        let much = MUCH * part.1.len() as f64;
        let alike = matches!(&learned[..], [first, second] if second.0 >= first.0 - much);
        if let (false, [first, ..]) = (alike, &learned[..]) {
            let mut again = Window::new(&part.0, &part.1);
            again.owner.clone_from(&first.2.owner);
            let second = (first.0, first.1.clone(), again);
            learned.truncate(1);
            learned.push(second);
        }
        // Who goes first is observed where nobody has to, and a matter of the process: what is found with the best guess
        // holds for the other one.
        let mut found = Order::default();
        for (nth, (log, model, window)) in learned.iter_mut().enumerate() {
            if nth == 0 || alike {
                let classes = split(&window.examples());
                *model = model.relearned_from_window(window, |request, _| classes[request]);
            }
            model.order = found.clone();
            let measure = |model: &mut Self, window: &Window<'_>| {
                if learning.queues {
                    model.order = Order::measured(window, model);
                }
            };
            *log = learning.settle(model, window, normalised, measure);
            if part.0.len() < requests.len() {
                let mut whole = Window::new(requests, calls);
                let at_last = Learning {
                    rounds: ROUNDS_WHOLE,
                    ..learning
                };
                *log = at_last.settle(model, &mut whole, normalised, measure);
            }
            found = model.order.clone();
        }
        learned.sort_by(|a, b| a.0.total_cmp(&b.0));
        [(); 2].map(|()| learned.pop().map_or_else(Self::new, |(_, model, _)| model))
    }

    /// Log probability of the window's assignment.
    fn log_probability(&self, window: &Window<'_>) -> f64 {
        let requests = window.examples().into_iter().map(|Example { request, calls }| {
            let log = self.shape(request.name).log_by_class(request, calls.into_iter());
            f64::from(log_sum(&log))
        });
        let nobodys = window
            .calls
            .iter()
            .zip(&window.owner)
            .filter(|(_, owner)| **owner == NOBODY);
        requests.sum::<f64>()
            + nobodys
                .map(|(call, _)| f64::from(self.background.log(call)))
                .sum::<f64>()
    }

    /// Learns from requests whose calls are known; keeps the background's rates, and the classes unless `anew`.
    pub(super) fn updated(&self, examples: &[Example<'_>], anew: bool) -> Self {
        let mut model = self.clone();
        if anew {
            let classes = split(examples);
            model = model.relearned(examples, |request, _| classes[request]);
        }
        for _ in 0..if anew { CLASS_ROUNDS } else { 1 } {
            model = model.relearned(examples, |_, log| normalised(log));
        }
        model
    }

    fn relearned_from_window(
        &self,
        window: &Window<'_>,
        class: impl Fn(usize, &PerClass) -> PerClass,
    ) -> Self {
        let mut next = self.relearned(&window.examples(), class);
        next.background.found_in(window);
        next.background.refresh();
        next
    }

    /// What the examples show, when `class` says how much of each belongs to which class.
    fn relearned(&self, examples: &[Example<'_>], class: impl Fn(usize, &PerClass) -> PerClass) -> Self {
        let mut next = Self::new();
        next.background = self.background.rates_only();
        next.order = self.order.clone();
        let mut classes = Vec::with_capacity(examples.len());
        for (at, example) in examples.iter().enumerate() {
            let request = example.request;
            let log = self
                .shape(request.name)
                .log_by_class(request, example.calls.iter().copied());
            let name = request.name as usize;
            if next.shapes.len() <= name {
                next.shapes.resize_with(name + 1, Shape::new);
            }
            let class = class(at, &log);
            next.shapes[name].learn(request, example.calls.iter().copied(), &class);
            classes.push(class);
            example
                .calls
                .iter()
                .for_each(|call| next.background.add_duration(call));
        }
        next.shapes.iter_mut().for_each(Shape::refresh);
        for (example, class) in examples.iter().zip(&classes) {
            let shape = &mut next.shapes[example.request.name as usize];
            shape.count_repeats(example.request, example.calls.iter().copied(), class);
        }
        next.shapes.iter_mut().for_each(Shape::refresh_repeats);
        next.background.refresh();
        next
    }
}

/// How a model is learned from a window without answers.
#[derive(Clone, Copy)]
struct Learning {
    breadth: Breadth,
    /// At most.
    rounds: usize,
    queues: bool,
}

impl Learning {
    /// Assigns calls and learns from the assignment, until that makes it hardly more probable; how probable it is then.
    fn settle(
        &self,
        model: &mut Model,
        window: &mut Window<'_>,
        class: impl Fn(&PerClass) -> PerClass,
        measure: impl Fn(&mut Model, &Window<'_>),
    ) -> f64 {
        let little = LITTLE * window.calls.len() as f64;
        let (mut most, mut idle, mut effort) = (f64::NEG_INFINITY, 0, 0);
        for _ in 0..self.rounds {
            let mut hypotheses = Hypotheses::new(window, model, self.breadth);
            hypotheses.follow();
            effort += hypotheses.effort();
            *model = model.relearned_from_window(window, |_, log| class(log));
            measure(model, window);
            let log = model.log_probability(window);
            idle = if log < most + little { idle + 1 } else { 0 };
            most = most.max(log);
            if idle >= IDLE || effort > EFFORT {
                break;
            }
        }
        most
    }
}

/// The first requests, and the calls made meanwhile: as many as it takes to know each name.
fn part(requests: &[Request], calls: &[Call]) -> (Vec<Request>, Vec<Call>) {
    let names = requests
        .iter()
        .map(|request| request.name)
        .collect::<FxHashSet<_>>();
    let size = PART.max(PART_OF_NAME * names.len());
    let until_ns = requests.get(size).map_or(i64::MAX, |next| next.start_ns);
    let first = requests
        .iter()
        .take(size)
        .map(|request| match request.end_ns < until_ns {
            true => request.clone(),
            false => Request {
                end_ns: until_ns,
                unfinished: true,
                ..request.clone()
            },
        });
    let meanwhile = calls.iter().take_while(|call| call.start_ns < until_ns);
    (first.collect(), meanwhile.cloned().collect())
}

/// Requests open at once, from the first start to the last end.
fn open_in_the_mean(requests: &[Request]) -> f64 {
    let from_ns = requests.iter().map(|request| request.start_ns).min();
    let until_ns = requests.iter().map(|request| request.end_ns).max();
    let time_ns: f64 = requests
        .iter()
        .map(|request| (request.end_ns - request.start_ns) as f64)
        .sum();
    let all_ns = until_ns.zip(from_ns).map_or(0, |(until, from)| until - from);
    time_ns / (all_ns as f64).max(1.0)
}

/// Number of an example, and the logarithms of its gaps and durations.
type Member = (usize, Vec<f32>);

/// A first division of requests into classes: quantiles along the first principal component of the logarithms of gaps
/// and durations, among requests of one name with one sequence of calls.
fn split(examples: &[Example<'_>]) -> Vec<PerClass> {
    let mut groups: FxHashMap<(u32, Vec<u32>), Vec<Member>> = FxHashMap::default();
    let log = |ns: i64| (ns.max(1) as f32).log2();
    for (at, Example { request, calls }) in examples.iter().enumerate() {
        let mut features = Vec::with_capacity(2 * calls.len() + 1);
        let mut last_ns = request.start_ns;
        for call in calls {
            features.push(log(call.start_ns - last_ns));
            features.push(log(call.end_ns - call.start_ns));
            last_ns = call.end_ns;
        }
        features.push(log(request.end_ns - last_ns));
        let sequence = calls.iter().map(|call| call.name).collect();
        groups
            .entry((request.name, sequence))
            .or_default()
            .push((at, features));
    }
    let mut classes = vec![EVEN; examples.len()];
    for mut members in groups
        .into_values()
        .filter(|members| members.len() >= SPLIT_AFTER)
    {
        standardise(&mut members);
        let mut order = project(&members);
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let count = order.len();
        for (rank, (_, request)) in order.into_iter().enumerate() {
            let mut class = [0.1 / CLASSES as f32; CLASSES];
            class[rank * CLASSES / count] += 0.9;
            classes[request] = class;
        }
    }
    classes
}

fn standardise(members: &mut [Member]) {
    let count = members.len() as f32;
    for feature in 0..members[0].1.len() {
        let mean = members.iter().map(|(_, f)| f[feature]).sum::<f32>() / count;
        let variance = members
            .iter()
            .map(|(_, f)| (f[feature] - mean).powi(2))
            .sum::<f32>()
            / count;
        let scale = 1.0 / variance.sqrt().max(1e-3);
        members
            .iter_mut()
            .for_each(|(_, f)| f[feature] = (f[feature] - mean) * scale);
    }
}

/// Position of each member along the direction of greatest variance (power iteration).
fn project(members: &[Member]) -> Vec<(f32, usize)> {
    let width = members[0].1.len();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let mut direction = vec![1.0; width];
    for _ in 0..16 {
        let mut next = vec![0.0; width];
        for (_, features) in members {
            let along = dot(features, &direction);
            next.iter_mut()
                .zip(features)
                .for_each(|(next, feature)| *next += along * feature);
        }
        let norm = dot(&next, &next).sqrt().max(1e-6);
        direction = next.into_iter().map(|value| value / norm).collect();
    }
    members
        .iter()
        .map(|(request, features)| (dot(features, &direction), *request))
        .collect()
}
