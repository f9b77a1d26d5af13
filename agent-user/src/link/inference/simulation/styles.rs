//! Kinds of applications, each made up anew from a seed.

use super::distort::Distortion;
use super::program::{Act, Application, Arrivals, Backend, Endpoint, Timer};
use super::time::{Dice, Time};

/// How much of an application is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) requests: usize,
    /// Requests open at once, in the mean; less where the application cannot bear as many.
    pub(crate) open: f64,
}

/// What makes the acts of an application's endpoints.
type Style = (&'static str, fn(&mut Maker));

const STYLES: &[Style] = &[
    ("sequence", |m| m.endpoint(1.0, |m| m.sequence(2, 6))),
    ("fan-out", |m| m.endpoint(1.0, |m| m.fan_out(3, 8))),
    ("mixed", |m| m.endpoint(1.0, |m| m.mixed(2))),
    ("cache", |m| m.endpoint(1.0, Maker::cached)),
    ("loop", |m| m.endpoint(1.0, Maker::looping)),
    ("retry", |m| m.endpoint(1.0, Maker::retrying)),
    ("after response", |m| m.endpoint(1.0, Maker::outliving)),
    ("pool", Maker::pooled),
    ("event loop", Maker::event_loop),
    ("endpoints", Maker::many_endpoints),
    ("one name", Maker::one_name),
    ("background", Maker::background),
    ("proxy", |m| m.endpoint(1.0, |m| m.sequence(1, 1))),
    ("heavy tail", Maker::heavy_tail),
    ("lossy", Maker::lossy),
    ("saturated", Maker::saturated),
    ("few connections", Maker::few_connections),
    ("compose", |m| m.endpoint(1.0, Maker::composed)),
    ("unawaited", |m| m.endpoint(1.0, Maker::unawaited)),
    ("rising load", Maker::rising),
    ("milliseconds", Maker::coarse),
];

/// How many styles there are.
pub(crate) const STYLE_COUNT: usize = STYLES.len();

/// The application of this style and seed.
pub(crate) fn application(style: usize, seed: u64, wanted: Wanted) -> Application {
    let (name, make) = STYLES[style % STYLE_COUNT];
    let mut maker = Maker::new(
        name,
        seed.wrapping_mul(0x9e37_79b9).wrapping_add(style as u64),
        wanted,
    );
    make(&mut maker);
    maker.finished(wanted)
}

/// Plenty of anything.
const PLENTY: usize = 1 << 20;

struct Maker {
    dice: Dice,
    application: Application,
    heavy: bool,
    rising: bool,
    closed: bool,
    scarce_processors: bool,
    scarce_connections: bool,
    backends_at_most: usize,
    timer_share: f64,
}

impl Maker {
    fn new(style: &'static str, seed: u64, wanted: Wanted) -> Self {
        let mut dice = Dice::new(seed);
        let size_sigma = dice.between(0.02, 0.5);
        let distortion = Distortion {
            grain_ns: 1000,
            ..Distortion::default()
        };
        let backends_at_most = dice.0.usize(2..=6);
        Self {
            dice,
            application: Application {
                style,
                endpoints: Vec::new(),
                backends: Vec::new(),
                pools: Vec::new(),
                processors: PLENTY,
                event_loop: false,
                arrivals: Arrivals::Poisson(1e6),
                timers: Vec::new(),
                size_sigma,
                requests: wanted.requests.min(200),
                distortion,
            },
            heavy: false,
            rising: false,
            closed: false,
            scarce_processors: false,
            scarce_connections: false,
            backends_at_most,
            timer_share: 0.0,
        }
    }

    /// Makes things as scarce as the load wanted allows.
    fn finished(mut self, wanted: Wanted) -> Application {
        let (dice, application) = (&mut self.dice, &mut self.application);
        let demand = application.demand(dice.0.u64(..));
        let mut interval_us = demand.request / wanted.open;
        let mut scarce = |demand_us: f64, interval_us: f64| {
            let busy = dice.0.f64() * 0.55 + 0.35;
            ((demand_us / interval_us / busy).ceil() as usize).max(1)
        };
        if application.event_loop {
            interval_us = interval_us.max(demand.processors / 0.85);
            application.processors = 1;
        } else if self.scarce_processors {
            application.processors = scarce(demand.processors, interval_us);
        }
        for (pool, demand_us) in application.pools.iter_mut().zip(&demand.pools) {
            *pool = scarce(*demand_us, interval_us);
        }
        for (at, backend) in application.backends.iter_mut().enumerate() {
            if at % 2 == 0 {
                backend.servers = scarce(demand.servers[at], interval_us).max(2);
            }
            if self.scarce_connections {
                backend.connections = scarce(demand.connections[at], interval_us).max(2);
            }
        }
        for timer in &mut application.timers {
            timer.interval_us = interval_us / self.timer_share;
        }
        application.arrivals = match dice.0.u8(..8) {
            _ if self.closed => Arrivals::Closed(
                wanted.open.ceil() as usize + 1,
                Time::Exponential(demand.request / 5.0),
            ),
            _ if self.rising => Arrivals::Rising(interval_us),
            0..4 => Arrivals::Poisson(interval_us),
            4..6 => Arrivals::Even(interval_us),
            _ => Arrivals::Bursts(interval_us),
        };
        application.requests = wanted.requests;
        self.application
    }

    // ---- parts ----

    fn endpoint(&mut self, share: f64, acts: impl FnOnce(&mut Self) -> Vec<Act>) {
        let acts = acts(self);
        let name = format!("GET /{}", self.application.endpoints.len());
        self.application.endpoints.push(Endpoint { name, share, acts });
    }

    fn think_time(&mut self) -> Time {
        let median = self.dice.between(20.0, 600.0);
        match self.dice.0.u8(..4) {
            0 => Time::Exponential(median),
            1 => Time::TwoModes(0.8, median, 4.0 * median, 0.3),
            _ => Time::LogNormal(median, self.dice.between(0.15, 0.8)),
        }
    }

    fn think(&mut self) -> Act {
        let time = self.think_time();
        match self.dice.0.u8(..5) {
            0 => Act::Wait(time),
            _ => Act::Work(time),
        }
    }

    fn service_time(&mut self) -> Time {
        let median = self.dice.between(200.0, 8000.0);
        match (self.heavy, self.dice.0.u8(..5)) {
            (true, 0..3) => Time::Pareto(median / 3.0, self.dice.between(1.1, 2.0)),
            (true, _) => Time::TwoModes(0.85, median, median * self.dice.between(5.0, 40.0), 0.5),
            (_, 0) => Time::Exponential(median),
            (_, 1) => Time::TwoModes(0.7, median, 5.0 * median, 0.3),
            _ => Time::LogNormal(median, self.dice.between(0.2, 1.0)),
        }
    }

    /// A new backend, or one that there is.
    fn backend(&mut self) -> usize {
        let count = self.application.backends.len();
        if count >= self.backends_at_most || (count > 0 && self.dice.chance(0.25)) {
            return self.dice.0.usize(..count);
        }
        let service = self.service_time();
        let network = Time::LogNormal(self.dice.between(60.0, 400.0), 0.3);
        self.application.backends.push(Backend {
            name: format!("/svc.S{count}/Call"),
            network,
            service,
            servers: PLENTY,
            connections: PLENTY,
        });
        count
    }

    fn call(&mut self) -> Act {
        Act::Call(self.backend())
    }

    // ---- what requests do ----

    fn sequence(&mut self, least: usize, most: usize) -> Vec<Act> {
        let mut acts = vec![self.think()];
        for _ in 0..self.dice.0.usize(least..=most) {
            acts.push(self.call());
            acts.push(self.think());
        }
        acts
    }

    fn fan_out(&mut self, least: usize, most: usize) -> Vec<Act> {
        let mut branches = Vec::new();
        for _ in 0..self.dice.0.usize(least..=most) {
            let dispatch = Act::Work(Time::LogNormal(self.dice.between(3.0, 80.0), 0.5));
            branches.push(vec![dispatch, self.call()]);
        }
        let mut acts = vec![self.think(), Act::Together(branches), self.think()];
        if self.dice.chance(0.5) {
            acts.extend([self.call(), self.think()]);
        }
        acts
    }

    fn mixed(&mut self, depth: usize) -> Vec<Act> {
        let mut acts = vec![self.think()];
        for _ in 0..self.dice.0.usize(1..=3) {
            match self.dice.0.u8(..8) {
                0 | 1 if depth > 0 => {
                    let branches = (0..self.dice.0.usize(2..=3))
                        .map(|_| self.mixed(depth - 1))
                        .collect();
                    acts.push(Act::Together(branches));
                }
                2 if depth > 0 => {
                    let (first, second) = (self.mixed(depth - 1), self.mixed(0));
                    acts.push(Act::Either(self.dice.between(0.1, 0.9), first, second));
                }
                3 => acts.push(Act::Repeat(0, 3, vec![self.call(), self.think()])),
                _ => acts.push(self.call()),
            }
            acts.push(self.think());
        }
        acts
    }

    fn cached(&mut self) -> Vec<Act> {
        let hits = self.dice.between(0.3, 0.95);
        let mut acts = vec![self.think(), self.call(), self.think()];
        let mut miss = self.sequence(1, 2);
        miss.push(self.call());
        let hit = if self.dice.chance(0.3) {
            vec![Act::Respond]
        } else {
            Vec::new()
        };
        acts.extend([Act::Either(hits, hit, miss), self.think()]);
        acts
    }

    fn looping(&mut self) -> Vec<Act> {
        let most = self.dice.0.usize(3..=10);
        let body = vec![self.think(), self.call()];
        vec![
            self.think(),
            self.call(),
            Act::Repeat(1, most, body),
            self.think(),
        ]
    }

    fn retrying(&mut self) -> Vec<Act> {
        let mut acts = self.sequence(1, 3);
        let retry = Act::Retry(
            self.backend(),
            self.dice.between(0.05, 0.4),
            3,
            Time::Uniform(500.0, 3000.0),
        );
        acts.extend([retry, self.think()]);
        acts
    }

    fn outliving(&mut self) -> Vec<Act> {
        let mut acts = self.sequence(1, 3);
        let after = self.sequence(1, 2);
        if self.dice.chance(0.5) {
            acts.push(Act::Respond);
            acts.extend(after);
        } else {
            acts.insert(1, Act::Detached(after));
        }
        acts
    }

    /// A call that is begun and not waited for: it ends before or after the response.
    fn unawaited(&mut self) -> Vec<Act> {
        let mut acts = self.sequence(1, 3);
        let call = self.call();
        let at = self.dice.0.usize(1..acts.len());
        acts.insert(at, Act::Detached(vec![call]));
        acts
    }

    fn composed(&mut self) -> Vec<Act> {
        self.backends_at_most = 10;
        let branches = (0..self.dice.0.usize(4..=6))
            .map(|_| self.sequence(1, 3))
            .collect();
        let mut acts = vec![self.think(), Act::Together(branches)];
        acts.extend(self.fan_out(2, 3));
        acts
    }

    // ---- whole applications ----

    fn pooled(&mut self) {
        self.application.pools.push(PLENTY);
        self.endpoint(1.0, |m| {
            let inner = m.sequence(1, 4);
            vec![m.think(), Act::Hold(0, inner), m.think()]
        });
    }

    fn event_loop(&mut self) {
        self.application.event_loop = true;
        let both = self.dice.chance(0.5);
        self.endpoint(0.6, |m| m.mixed(1));
        if both {
            self.endpoint(0.4, |m| m.sequence(1, 4));
        }
    }

    fn many_endpoints(&mut self) {
        let count = self.dice.0.usize(5..=20);
        for _ in 0..count {
            let share = 1.0 / count as f64;
            match self.dice.0.u8(..4) {
                0 => self.endpoint(share, |m| m.mixed(1)),
                1 => self.endpoint(share, Maker::cached),
                2 => self.endpoint(share, |m| m.fan_out(2, 4)),
                _ => self.endpoint(share, |m| m.sequence(1, 4)),
            }
        }
    }

    fn one_name(&mut self) {
        self.backends_at_most = 3;
        self.endpoint(0.7, |m| m.mixed(1));
        self.endpoint(0.3, |m| m.sequence(2, 4));
        self.application
            .backends
            .iter_mut()
            .for_each(|backend| backend.name = "POST".to_owned());
    }

    fn background(&mut self) {
        self.endpoint(0.5, |m| m.sequence(1, 4));
        self.endpoint(0.5, Maker::cached);
        self.timer_share = self.dice.between(0.05, 0.6);
        for regular in [true, false] {
            let backend = self.backend();
            self.application.timers.push(Timer {
                backend,
                interval_us: 1e6,
                regular,
            });
        }
    }

    fn heavy_tail(&mut self) {
        self.heavy = true;
        self.endpoint(0.6, |m| m.sequence(1, 4));
        self.endpoint(0.4, |m| m.mixed(1));
    }

    fn lossy(&mut self) {
        self.endpoint(1.0, |m| m.mixed(1));
        let distortion = &mut self.application.distortion;
        distortion.grain_ns = [1_000, 10_000, 100_000, 1_000_000][self.dice.0.usize(..4)];
        distortion.late_ns = [0.0, 5_000.0, 30_000.0][self.dice.0.usize(..3)];
        distortion.lost_calls = [0.0, 0.01, 0.05][self.dice.0.usize(..3)];
        distortion.lost_requests = [0.0, 0.01, 0.03][self.dice.0.usize(..3)];
    }

    fn saturated(&mut self) {
        (self.closed, self.scarce_processors) = (true, true);
        self.endpoint(0.5, |m| m.sequence(1, 4));
        self.endpoint(0.5, |m| m.mixed(1));
    }

    fn few_connections(&mut self) {
        self.scarce_connections = true;
        self.endpoint(1.0, |m| m.mixed(1));
    }

    fn rising(&mut self) {
        self.rising = true;
        self.endpoint(0.6, |m| m.sequence(1, 4));
        self.endpoint(0.4, |m| m.mixed(1));
    }

    fn coarse(&mut self) {
        self.endpoint(1.0, |m| m.sequence(2, 4));
        self.application.distortion.grain_ns = 1_000_000;
    }
}
