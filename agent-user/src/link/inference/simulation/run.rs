//! Runs an application, event by event.
//!
//! Enters: an application and a seed. Leaves: its spans. Every request is a task, and every branch of it; tasks wait for
//! times, for processors, for places in pools, for connections and for the backends behind them, all first in, first out.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::Span;
use super::program::{Act, Application, Arrivals};
use super::time::{Dice, Time};

/// What happens to a task when its time has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    /// Goes on with its program.
    Resume,
    WorkDone,
    /// The call has reached its backend.
    AtBackend,
    Served,
    CallDone,
    Timer(usize),
}

#[derive(Default)]
struct Queue {
    free: usize,
    taken: usize,
    waiting: VecDeque<usize>,
    /// Time all places together were taken.
    busy_ns: u64,
    changed_ns: u64,
}

impl Queue {
    fn new(free: usize, now_ns: u64) -> Self {
        Self {
            free: free.max(1),
            changed_ns: now_ns,
            ..Self::default()
        }
    }

    fn note(&mut self, now_ns: u64) {
        self.busy_ns += (now_ns - self.changed_ns) * self.taken as u64;
        self.changed_ns = now_ns;
    }

    /// Takes a place, or waits for one.
    fn enter(&mut self, task: usize, now_ns: u64) -> bool {
        self.note(now_ns);
        if self.taken < self.free {
            self.taken += 1;
            return true;
        }
        self.waiting.push_back(task);
        false
    }

    /// Gives a place back: to the next one waiting, if there is one.
    fn leave(&mut self, now_ns: u64) -> Option<usize> {
        self.note(now_ns);
        let next = self.waiting.pop_front();
        self.taken -= usize::from(next.is_none());
        next
    }
}

/// How long a request occupies each thing, in the mean, in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    pub(super) processors: f64,
    pub(super) pools: Vec<f64>,
    pub(super) connections: Vec<f64>,
    pub(super) servers: Vec<f64>,
    /// From start to response.
    pub(super) request: f64,
}

enum After {
    Nothing,
    Again(usize),
    Release(usize),
}

struct Frame<'a> {
    acts: &'a [Act],
    at: usize,
    after: After,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Reads {
    #[default]
    Nothing,
    Request,
    Response,
}

/// Reading takes an event loop so long.
const READ_US: f64 = 15.0;

#[derive(Default)]
struct Task<'a> {
    /// Index of the request's span, and how large the request is.
    request: Option<usize>,
    size: f64,
    root: bool,
    stack: Vec<Frame<'a>>,
    joins: Option<usize>,
    branches: usize,
    work_us: f64,
    backend: usize,
    /// An event loop takes its work in turn, reading included.
    reads: Reads,
    /// Span of the call under way, and attempts left if it fails.
    call: usize,
    retry: Option<(f64, usize, Time)>,
}

struct Running<'a> {
    application: &'a Application,
    dice: Dice,
    spans: Vec<Span>,
    events: BinaryHeap<Reverse<(u64, u64, usize, Event)>>,
    serial: u64,
    tasks: Vec<Task<'a>>,
    processors: Queue,
    pools: Vec<Queue>,
    connections: Vec<Queue>,
    servers: Vec<Queue>,
    arrived: usize,
    now_ns: u64,
}

impl Application {
    /// Spans in the order in which they began, as far as clocks tell.
    pub(crate) fn run(&self, seed: u64) -> Vec<Span> {
        let Running { spans, mut dice, .. } = self.ran(seed);
        self.distortion.apply(spans, &mut dice)
    }

    /// What requests ask of each thing; to be told of one whose things are plenty.
    pub(super) fn demand(&self, seed: u64) -> Demand {
        let running = self.ran(seed);
        let requests = running.arrived.max(1) as f64;
        let us = |queue: &Queue| queue.busy_ns as f64 / 1000.0 / requests;
        let took = running.spans.iter().filter(|span| span.server);
        Demand {
            processors: us(&running.processors),
            pools: running.pools.iter().map(us).collect(),
            connections: running.connections.iter().map(us).collect(),
            servers: running.servers.iter().map(us).collect(),
            request: took.map(|span| (span.end_ns - span.start_ns) as f64).sum::<f64>() / 1000.0 / requests,
        }
    }

    fn ran(&self, seed: u64) -> Running<'_> {
        let now_ns = 1_000_000_000;
        let queue = |free: usize| Queue::new(free, now_ns);
        let mut running = Running {
            application: self,
            dice: Dice::new(seed),
            spans: Vec::new(),
            events: BinaryHeap::new(),
            serial: 0,
            tasks: Vec::new(),
            processors: queue(self.processors),
            pools: self.pools.iter().map(|size| queue(*size)).collect(),
            connections: self.backends.iter().map(|b| queue(b.connections)).collect(),
            servers: self.backends.iter().map(|b| queue(b.servers)).collect(),
            arrived: 0,
            now_ns,
        };
        running.run();
        running
    }
}

impl<'a> Running<'a> {
    fn run(&mut self) {
        match &self.application.arrivals {
            Arrivals::Closed(users, _) => {
                (0..*users).for_each(|n| self.after(10.0 * n as f64, 0, Event::Arrival))
            }
            _ => self.after(0.0, 0, Event::Arrival),
        }
        for timer in 0..self.application.timers.len() {
            let first = self.application.timers[timer].interval_us * self.dice.0.f64();
            self.after(first, 0, Event::Timer(timer));
        }
        while let Some(Reverse((time_ns, _, task, event))) = self.events.pop() {
            self.now_ns = time_ns;
            match event {
                Event::Arrival => self.arrive(),
                Event::Resume => self.step(task),
                Event::WorkDone => {
                    if let Some(next) = self.processors.leave(self.now_ns) {
                        self.work(next);
                    }
                    match std::mem::take(&mut self.tasks[task].reads) {
                        Reads::Response => self.call_over(task),
                        Reads::Request | Reads::Nothing => self.step(task),
                    }
                }
                Event::AtBackend => {
                    if self.servers[self.tasks[task].backend].enter(task, self.now_ns) {
                        self.serve(task);
                    }
                }
                Event::Served => {
                    let backend = self.tasks[task].backend;
                    if let Some(next) = self.servers[backend].leave(self.now_ns) {
                        self.serve(next);
                    }
                    let back = self.application.backends[backend].network.sample(&mut self.dice) / 2.0;
                    self.after(back, task, Event::CallDone);
                }
                Event::CallDone => match self.application.event_loop {
                    true => self.read(task, Reads::Response),
                    false => self.call_over(task),
                },
                Event::Timer(timer) => self.timer(timer),
            }
        }
    }

    fn after(&mut self, us: f64, task: usize, event: Event) {
        self.serial += 1;
        let time_ns = self.now_ns + (us.max(0.0) * 1000.0) as u64;
        self.events.push(Reverse((time_ns, self.serial, task, event)));
    }

    fn arrive(&mut self) {
        if self.arrived >= self.application.requests {
            return;
        }
        self.arrived += 1;
        let next_us = match &self.application.arrivals {
            Arrivals::Poisson(mean) => Some(self.dice.exponential(*mean)),
            Arrivals::Even(mean) => Some(mean * (0.95 + 0.1 * self.dice.0.f64())),
            Arrivals::Bursts(mean) => {
                let burst = (self.now_ns as f64 / 1000.0 / (50.0 * mean)).fract() < 0.2;
                Some(self.dice.exponential(mean / if burst { 5.0 } else { 0.5 }))
            }
            Arrivals::Rising(mean) => {
                let late = 2 * self.arrived > self.application.requests;
                Some(self.dice.exponential(mean / if late { 1.6 } else { 0.4 }))
            }
            Arrivals::Closed(..) => None,
        };
        if let Some(us) = next_us {
            self.after(us, 0, Event::Arrival);
        }
        let mut pick = self.dice.0.f64();
        let endpoints = &self.application.endpoints;
        let chosen = endpoints.iter().find(|endpoint| {
            pick -= endpoint.share;
            pick < 0.0
        });
        let endpoint = chosen.unwrap_or(&endpoints[0]);
        let request = self.span(true, &endpoint.name, None);
        let size = self.dice.lognormal(1.0, self.application.size_sigma);
        let task = self.task(Some(request), size, &endpoint.acts, None);
        self.tasks[task].root = true;
        match self.application.event_loop {
            true => self.read(task, Reads::Request),
            false => self.step(task),
        }
    }

    fn read(&mut self, task: usize, what: Reads) {
        self.tasks[task].reads = what;
        self.tasks[task].work_us = READ_US;
        if self.processors.enter(task, self.now_ns) {
            self.work(task);
        }
    }

    fn span(&mut self, server: bool, name: &str, parent: Option<usize>) -> usize {
        let (start_ns, end_ns) = (self.now_ns as i64, i64::MIN);
        self.spans.push(Span {
            server,
            name: name.to_owned(),
            start_ns,
            end_ns,
            parent,
        });
        self.spans.len() - 1
    }

    fn task(&mut self, request: Option<usize>, size: f64, acts: &'a [Act], joins: Option<usize>) -> usize {
        let frame = Frame {
            acts,
            at: 0,
            after: After::Nothing,
        };
        self.tasks.push(Task {
            request,
            size,
            stack: vec![frame],
            joins,
            ..Task::default()
        });
        self.tasks.len() - 1
    }

    fn timer(&mut self, timer: usize) {
        if self.arrived >= self.application.requests {
            return;
        }
        let timer_of = &self.application.timers[timer];
        let next = match timer_of.regular {
            true => timer_of.interval_us,
            false => self.dice.exponential(timer_of.interval_us),
        };
        self.after(next, 0, Event::Timer(timer));
        let task = self.task(None, 1.0, &[], None);
        self.call(task, timer_of.backend);
    }

    /// Goes on until the task has to wait for something.
    fn step(&mut self, task: usize) {
        loop {
            let Some(frame) = self.tasks[task].stack.last_mut() else {
                return self.over(task);
            };
            let Some(act) = frame.acts.get(frame.at) else {
                match &mut frame.after {
                    After::Again(left) if *left > 0 => {
                        *left -= 1;
                        frame.at = 0;
                        continue;
                    }
                    After::Release(pool) => {
                        let pool = *pool;
                        if let Some(next) = self.pools[pool].leave(self.now_ns) {
                            self.after(0.0, next, Event::Resume);
                        }
                    }
                    _ => {}
                }
                self.tasks[task].stack.pop();
                continue;
            };
            frame.at += 1;
            let size = self.tasks[task].size;
            let push = |running: &mut Self, acts: &'a [Act], after: After| {
                running.tasks[task].stack.push(Frame { acts, at: 0, after });
            };
            match act {
                Act::Work(time) => {
                    self.tasks[task].work_us = time.sample(&mut self.dice) * size;
                    if self.processors.enter(task, self.now_ns) {
                        self.work(task);
                    }
                    return;
                }
                Act::Wait(time) => {
                    let us = time.sample(&mut self.dice) * size;
                    return self.after(us, task, Event::Resume);
                }
                Act::Call(backend) => return self.call(task, *backend),
                Act::Retry(backend, failing, attempts, wait) => {
                    let retry = &mut self.tasks[task].retry;
                    retry.get_or_insert_with(|| (*failing, *attempts, wait.clone()));
                    return self.call(task, *backend);
                }
                Act::Together(branches) => {
                    let request = self.tasks[task].request;
                    self.tasks[task].branches = branches.len();
                    for branch in branches {
                        let branch = self.task(request, size, branch, Some(task));
                        self.step(branch);
                    }
                    return;
                }
                Act::Detached(branch) => {
                    let request = self.tasks[task].request;
                    let branch = self.task(request, size, branch, None);
                    self.after(0.0, branch, Event::Resume);
                }
                Act::Either(probability, first, second) => {
                    let first_one = self.dice.chance(*probability);
                    push(self, if first_one { first } else { second }, After::Nothing);
                }
                Act::Repeat(least, most, acts) => {
                    let times = self.dice.0.usize(*least..=*most);
                    if times > 0 {
                        push(self, acts, After::Again(times - 1));
                    }
                }
                Act::Hold(pool, acts) => {
                    push(self, acts, After::Release(*pool));
                    if !self.pools[*pool].enter(task, self.now_ns) {
                        return;
                    }
                }
                Act::Respond => self.respond(task),
            }
        }
    }

    fn work(&mut self, task: usize) {
        let us = self.tasks[task].work_us;
        // A request is seen when it is read.
        if let (Reads::Request, Some(request)) = (self.tasks[task].reads, self.tasks[task].request) {
            self.spans[request].start_ns = self.now_ns as i64;
        }
        self.after(us, task, Event::WorkDone);
    }

    fn call(&mut self, task: usize, backend: usize) {
        self.tasks[task].backend = backend;
        if self.connections[backend].enter(task, self.now_ns) {
            self.send(task);
        }
    }

    fn send(&mut self, task: usize) {
        let backend = &self.application.backends[self.tasks[task].backend];
        let parent = self.tasks[task].request;
        self.tasks[task].call = self.span(false, &backend.name, parent);
        let there = backend.network.sample(&mut self.dice) / 2.0;
        self.after(there, task, Event::AtBackend);
    }

    fn serve(&mut self, task: usize) {
        let backend = &self.application.backends[self.tasks[task].backend];
        let us = backend.service.sample(&mut self.dice) * self.tasks[task].size;
        self.after(us, task, Event::Served);
    }

    fn call_over(&mut self, task: usize) {
        let call = self.tasks[task].call;
        self.spans[call].end_ns = self.now_ns as i64;
        let backend = self.tasks[task].backend;
        if let Some(next) = self.connections[backend].leave(self.now_ns) {
            self.send(next);
        }
        if let Some((failing, attempts, wait)) = self.tasks[task].retry.take()
            && attempts > 1
            && self.dice.chance(failing)
        {
            let us = wait.sample(&mut self.dice);
            self.tasks[task].retry = Some((failing, attempts - 1, wait));
            // The call is made once more: its act is the one before the next.
            if let Some(frame) = self.tasks[task].stack.last_mut() {
                frame.at -= 1;
            }
            return self.after(us, task, Event::Resume);
        }
        self.step(task);
    }

    fn respond(&mut self, task: usize) {
        if let Some(request) = self.tasks[task].request
            && self.spans[request].end_ns == i64::MIN
        {
            self.spans[request].end_ns = self.now_ns as i64;
            if let Arrivals::Closed(_, think) = &self.application.arrivals {
                let us = think.sample(&mut self.dice);
                self.after(us, 0, Event::Arrival);
            }
        }
    }

    fn over(&mut self, task: usize) {
        if self.tasks[task].root {
            self.respond(task);
        }
        if let Some(joined) = self.tasks[task].joins.take() {
            self.tasks[joined].branches -= 1;
            if self.tasks[joined].branches == 0 {
                self.after(0.0, joined, Event::Resume);
            }
        }
    }
}
