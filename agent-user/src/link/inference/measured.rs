//! Inference measured on made-up applications of every style.

use std::collections::HashMap;

use super::simulation::program::Application;
use super::simulation::{STYLE_COUNT, Span, Wanted, application};
use super::{Answer, Engine, FinishedCall, Parameters, Threshold};

/// What to believe of the answers of an engine that is told of the spans as they are over.
fn answers(parameters: Parameters, spans: &[Span]) -> Vec<Answer> {
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
            (true, false) => engine.request_started(id, &span.name, span.start_ns),
            (true, true) => engine.request_finished(id, span.end_ns),
            (false, _) => engine.call_finished(&FinishedCall {
                id,
                name: &span.name,
                start_ns: span.start_ns,
                end_ns: span.end_ns,
                known: None,
                hint: None,
            }),
        }
        if step % 512 == 0 {
            engine.decide(time_ns, i64::MAX, &mut answers);
        }
    }
    engine.flush(&mut answers);
    let mut threshold = Threshold::new(Parameters::FILE_ERROR_BUDGET);
    let given = answers.iter().filter(|answer| answer.parent.is_some());
    given.for_each(|answer| threshold.note(answer.probability));
    threshold.settle();
    for answer in &mut answers {
        answer.parent = answer.parent.filter(|_| answer.probability >= threshold.least());
    }
    answers
}

/// Shares of calls, and of requests all of whose calls are right.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    calls: f64,
    correct: f64,
    wrong: f64,
    answered: f64,
    requests: f64,
    whole: f64,
}

impl Score {
    fn of(spans: &[Span], answers: &[Answer]) -> Self {
        let said: HashMap<u64, Option<u64>> = answers.iter().map(|a| (a.call, a.parent)).collect();
        let mut score = Self::default();
        let mut whole: HashMap<usize, bool> = HashMap::new();
        for (at, span) in spans.iter().enumerate().filter(|(_, span)| !span.server) {
            let parent = said[&(at as u64)].map(|parent| parent as usize);
            let right = parent == span.parent;
            score.calls += 1.0;
            score.correct += f64::from(right);
            score.answered += f64::from(parent.is_some());
            score.wrong += f64::from(parent.is_some() && !right);
            if let Some(truth) = span.parent {
                *whole.entry(truth).or_insert(true) &= right;
            }
        }
        assert_eq!(
            (said.len(), answers.len()),
            (score.calls as usize, score.calls as usize),
            "every call is answered once"
        );
        score.requests = whole.len() as f64;
        score.whole = whole.values().filter(|whole| **whole).count() as f64;
        score
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.correct += other.correct;
        self.wrong += other.wrong;
        self.answered += other.answered;
        self.requests += other.requests;
        self.whole += other.whole;
    }

    fn print(&self, what: &str) {
        println!(
            "{what}: {:.4} of {} calls right, {:.4} of {} answers wrong, {:.4} of {} requests whole",
            self.correct / self.calls,
            self.calls,
            self.wrong / self.answered.max(1.0),
            self.answered,
            self.whole / self.requests.max(1.0),
            self.requests
        );
    }
}

fn measured(application: &Application, seed: u64) -> Score {
    let spans = application.run(seed);
    Score::of(&spans, &answers(Parameters::offline(), &spans))
}

/// Seeds from here on were not looked at while inference was made.
const HELD_OUT: u64 = 1_000_001;

#[test]
fn every_style_of_application_under_light_load() {
    let mut all = Score::default();
    let wanted = Wanted {
        requests: 120,
        open: 0.5,
    };
    for style in 0..STYLE_COUNT {
        let application = application(style, HELD_OUT, wanted);
        let score = measured(&application, HELD_OUT);
        score.print(application.style);
        all.add(&score);
    }
    all.print("all");
    assert!(all.correct >= 0.93 * all.calls, "{all:?}");
    assert!(all.wrong <= 0.02 * all.answered, "{all:?}");
}

#[test]
fn where_there_are_more_ways_than_can_be_followed_little_is_said_and_less_of_it_wrong() {
    let mut all = Score::default();
    let wanted = Wanted {
        requests: 200,
        open: 24.0,
    };
    for style in 0..STYLE_COUNT {
        let application = application(style, HELD_OUT, wanted);
        if ["fan-out", "mixed", "cache", "pool", "proxy"].contains(&application.style) {
            let score = measured(&application, HELD_OUT);
            score.print(application.style);
            all.add(&score);
        }
    }
    assert!(
        all.answered >= 150.0 && all.wrong <= 0.02 * all.answered,
        "{all:?}"
    );
}

#[test]
fn an_application_nobody_can_tell_apart_is_not_answered_for() {
    // Many requests at once, each of which makes one call at any time while it is open.
    let mut spans = Vec::new();
    let mut dice = fastrand::Rng::with_seed(7);
    for request in 0..300_i64 {
        let start_ns = request * 1_000_000;
        let end_ns = start_ns + 30_000_000;
        let call_ns = start_ns + dice.i64(0..29_000_000);
        let server = spans.len();
        let span = |server: bool, name: &str, start_ns, end_ns, parent| Span {
            server,
            name: name.to_owned(),
            start_ns,
            end_ns,
            parent,
        };
        spans.push(span(true, "GET /", start_ns, end_ns, None));
        spans.push(span(false, "db", call_ns, call_ns + 500_000, Some(server)));
    }
    let score = Score::of(&spans, &answers(Parameters::offline(), &spans));
    score.print("one call at any time of thirty");
    assert!(score.answered <= 0.1 * score.calls, "{score:?}");
}
