//! Made-up applications whose truth is known: inference is measured on them, as it is on recorded ones.

use std::collections::HashMap;

use fastrand::Rng;

use super::{Engine, FinishedCall, Parameters};

/// What a request does next.
#[derive(Clone)]
enum Act {
    /// Compute for a log-normal time: median in microseconds, and sigma.
    Think(f64, f64),
    Call(&'static str, f64, f64),
    /// All at once, dispatched so many microseconds apart; goes on when all are over.
    Together(&'static [(&'static str, f64, f64)], f64),
    /// With a probability, the first; else the second.
    Either(f64, Vec<Act>, Vec<Act>),
    /// Wait for one of so many workers.
    Queue(usize),
    Repeat(usize, Vec<Act>),
}

struct Kind {
    name: &'static str,
    share: f64,
    acts: Vec<Act>,
}

struct Application {
    kinds: Vec<Kind>,
    requests: usize,
    /// Mean time between requests, in microseconds.
    interval_us: f64,
    /// Calls by nobody: name, mean time between them, and how long they take.
    background: Option<(&'static str, f64, f64)>,
}

struct Span {
    server: bool,
    name: &'static str,
    start_ns: i64,
    end_ns: i64,
    parent: Option<usize>,
}

#[derive(Debug)]
struct Score {
    calls: usize,
    correct: f64,
    wrong: f64,
    of_answers_wrong: f64,
    whole: f64,
}

struct Simulator {
    rng: Rng,
    spans: Vec<Span>,
    workers: Vec<f64>,
}

impl Simulator {
    fn normal(&mut self) -> f64 {
        (-2.0 * self.rng.f64().max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * self.rng.f64()).cos()
    }

    fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.rng.f64().max(1e-12).ln()
    }

    fn call(&mut self, name: &'static str, start_us: f64, took_us: f64, parent: Option<usize>) -> f64 {
        let ns = |us: f64| (us * 1000.0) as i64;
        self.spans.push(Span {
            server: false,
            name,
            start_ns: ns(start_us),
            end_ns: ns(start_us + took_us),
            parent,
        });
        start_us + took_us
    }

    fn act(&mut self, acts: &[Act], mut now_us: f64, parent: usize) -> f64 {
        for act in acts {
            match act {
                Act::Think(median, sigma) => now_us += self.lognormal(*median, *sigma),
                Act::Call(name, median, sigma) => {
                    let took = self.lognormal(*median, *sigma);
                    now_us = self.call(name, now_us, took, Some(parent));
                }
                Act::Together(calls, apart) => {
                    let mut last = now_us;
                    for (name, median, sigma) in *calls {
                        let took = self.lognormal(*median, *sigma);
                        last = self.call(name, now_us, took, Some(parent)).max(last);
                        now_us += self.lognormal(*apart, 0.5);
                    }
                    now_us = last.max(now_us);
                }
                Act::Either(probability, first, second) => {
                    let chosen = if self.rng.f64() < *probability {
                        first
                    } else {
                        second
                    };
                    now_us = self.act(chosen, now_us, parent);
                }
                Act::Queue(size) => {
                    self.workers.resize(*size, 0.0);
                    let free = (0..*size)
                        .min_by(|a, b| self.workers[*a].total_cmp(&self.workers[*b]))
                        .unwrap();
                    now_us = now_us.max(self.workers[free]);
                    // Holds the worker for what is about its time of service.
                    self.workers[free] = now_us + self.exponential(1500.0);
                }
                Act::Repeat(most, acts) => {
                    for _ in 0..self.rng.usize(1..=*most) {
                        now_us = self.act(acts, now_us, parent);
                    }
                }
            }
        }
        now_us
    }
}

impl Application {
    fn run(&self, seed: u64) -> Vec<Span> {
        let mut simulator = Simulator {
            rng: Rng::with_seed(seed),
            spans: Vec::new(),
            workers: Vec::new(),
        };
        let mut now_us = 1e6;
        for _ in 0..self.requests {
            now_us += simulator.exponential(self.interval_us);
            let mut pick = simulator.rng.f64();
            let chosen = self.kinds.iter().find(|kind| {
                pick -= kind.share;
                pick < 0.0
            });
            let kind = chosen.unwrap_or(&self.kinds[0]);
            let at = simulator.spans.len();
            simulator.spans.push(Span {
                server: true,
                name: kind.name,
                start_ns: (now_us * 1000.0) as i64,
                end_ns: 0,
                parent: None,
            });
            let end_us = simulator.act(&kind.acts, now_us, at);
            simulator.spans[at].end_ns = (end_us * 1000.0) as i64;
        }
        if let Some((name, interval_us, took_us)) = self.background {
            let mut at_us = 1e6;
            while at_us < now_us {
                at_us += simulator.exponential(interval_us);
                let took = simulator.lognormal(took_us, 0.4);
                simulator.call(name, at_us, took, None);
            }
        }
        simulator.spans
    }

    fn score(&self, parameters: Parameters, seed: u64) -> Score {
        let spans = self.run(seed);
        let mut moments: Vec<(i64, bool, usize)> = Vec::new();
        for (at, span) in spans.iter().enumerate() {
            moments.push((span.end_ns, true, at));
            if span.server {
                moments.push((span.start_ns, false, at));
            }
        }
        moments.sort_unstable();
        let mut engine = Engine::new(parameters);
        let mut answers = Vec::new();
        for (step, (time_ns, over, at)) in moments.into_iter().enumerate() {
            let (span, id) = (&spans[at], at as u64);
            match (span.server, over) {
                (true, false) => engine.request_started(id, span.name, span.start_ns),
                (true, true) => engine.request_finished(id, span.end_ns),
                (false, _) => engine.call_finished(&FinishedCall {
                    id,
                    name: span.name,
                    start_ns: span.start_ns,
                    end_ns: span.end_ns,
                    known: None,
                    hint: None,
                }),
            }
            if step % 512 == 0 {
                engine.decide(time_ns, &mut answers);
            }
        }
        engine.flush(&mut answers);
        let calls = spans.iter().filter(|span| !span.server).count();
        let said: HashMap<u64, Option<u64>> = answers.iter().map(|a| (a.call, a.parent)).collect();
        assert_eq!(
            (said.len(), answers.len()),
            (calls, calls),
            "every call is answered once"
        );
        let (mut correct, mut wrong, mut answered) = (0, 0, 0);
        let mut whole: HashMap<usize, bool> = HashMap::new();
        for (at, span) in spans.iter().enumerate().filter(|(_, span)| !span.server) {
            let parent = said[&(at as u64)].map(|parent| parent as usize);
            answered += usize::from(parent.is_some());
            correct += usize::from(parent == span.parent);
            wrong += usize::from(parent.is_some() && parent != span.parent);
            if let Some(truth) = span.parent {
                *whole.entry(truth).or_insert(true) &= parent == span.parent;
            }
        }
        let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
        Score {
            calls,
            correct: share(correct, calls),
            wrong: share(wrong, calls),
            of_answers_wrong: share(wrong, answered),
            whole: share(whole.values().filter(|whole| **whole).count(), whole.len()),
        }
    }
}

fn one(acts: Vec<Act>, interval_us: f64) -> Application {
    let kinds = vec![Kind {
        name: "GET /",
        share: 1.0,
        acts,
    }];
    Application {
        kinds,
        requests: 500,
        interval_us,
        background: None,
    }
}

fn sequence() -> Vec<Act> {
    use Act::{Call, Think};
    vec![
        Think(200.0, 0.6),
        Call("auth", 1500.0, 0.6),
        Think(150.0, 0.6),
        Call("db", 4000.0, 0.9),
        Think(250.0, 0.6),
        Call("db", 2500.0, 0.9),
        Think(100.0, 0.5),
    ]
}

fn fan_out() -> Vec<Act> {
    use Act::{Call, Think, Together};
    vec![
        Think(150.0, 0.5),
        Together(
            &[
                ("user", 2000.0, 0.7),
                ("cart", 3000.0, 0.8),
                ("stock", 1500.0, 0.8),
            ],
            20.0,
        ),
        Think(200.0, 0.6),
        Call("render", 1000.0, 0.4),
        Think(80.0, 0.4),
    ]
}

fn cached() -> Vec<Act> {
    use Act::{Call, Either, Think};
    let miss = vec![
        Think(60.0, 0.4),
        Call("SELECT", 5000.0, 0.8),
        Think(120.0, 0.5),
        Call("SET", 300.0, 0.4),
    ];
    vec![
        Think(120.0, 0.5),
        Call("GET", 300.0, 0.4),
        Either(0.6, vec![], miss),
        Think(90.0, 0.5),
    ]
}

fn queued() -> Vec<Act> {
    use Act::{Call, Queue, Think};
    vec![
        Think(50.0, 0.4),
        Queue(4),
        Think(100.0, 0.5),
        Call("db", 1000.0, 0.7),
        Think(150.0, 0.5),
        Call("db", 800.0, 0.7),
        Think(60.0, 0.4),
    ]
}

fn looping() -> Vec<Act> {
    use Act::{Call, Repeat, Think};
    vec![
        Think(200.0, 0.5),
        Call("list", 2000.0, 0.5),
        Repeat(6, vec![Think(40.0, 0.4), Call("item", 600.0, 0.5)]),
        Think(150.0, 0.5),
    ]
}

/// What each application is expected to reach: correct at least, wrong at most among the answers given. The figures are
/// a little below what was measured when they were written.
fn check(name: &str, application: &Application, correct: f64, of_answers_wrong: f64) {
    let score = application.score(Parameters::default(), 1);
    println!(
        "{name}: of {} calls {:.4} right, {:.4} wrong; {:.4} of requests whole",
        score.calls, score.correct, score.wrong, score.whole
    );
    assert!(score.correct >= correct, "{name}: {score:?}");
    assert!(score.of_answers_wrong <= of_answers_wrong, "{name}: {score:?}");
}

#[test]
fn sequences() {
    check("sequence at 1", &one(sequence(), 10_000.0), 0.985, 0.01);
    check("sequence at 5", &one(sequence(), 2_000.0), 0.85, 0.08);
}

#[test]
fn parallel_calls() {
    check("fan-out at 1", &one(fan_out(), 6_000.0), 0.98, 0.015);
    check("fan-out at 4", &one(fan_out(), 1_500.0), 0.92, 0.06);
}

#[test]
fn optional_calls() {
    check("cache at 1", &one(cached(), 4_000.0), 0.98, 0.015);
    check("cache at 4", &one(cached(), 1_000.0), 0.94, 0.05);
}

#[test]
fn queues() {
    check("queue at 4", &one(queued(), 800.0), 0.75, 0.12);
}

#[test]
fn loops() {
    check("loop at 2", &one(looping(), 3_000.0), 0.9, 0.09);
}

#[test]
fn several_kinds_and_background() {
    let kinds = || {
        vec![
            Kind {
                name: "GET /a",
                share: 0.5,
                acts: sequence(),
            },
            Kind {
                name: "GET /b",
                share: 0.3,
                acts: fan_out(),
            },
            Kind {
                name: "GET /c",
                share: 0.2,
                acts: cached(),
            },
        ]
    };
    for (name, interval_us, correct, wrong) in [
        ("mixed at 1", 8_000.0, 0.97, 0.02),
        ("mixed at 4", 2_000.0, 0.93, 0.05),
    ] {
        let background = Some(("db", 20_000.0, 1_000.0));
        check(
            name,
            &Application {
                kinds: kinds(),
                requests: 500,
                interval_us,
                background,
            },
            correct,
            wrong,
        );
    }
}

#[test]
fn hundreds_at_once() {
    use Act::{Call, Think};
    let acts = vec![
        Think(30.0, 0.4),
        Call("slow", 200_000.0, 0.5),
        Think(30.0, 0.4),
        Call("db", 1000.0, 0.5),
        Think(20.0, 0.3),
    ];
    check("200 at once", &one(acts, 1_000.0), 0.97, 0.02);
}
