//! The linker: keeps the open exchanges, asks the ladder for a parent, and says what it decided.
//!
//! Call order for one event: [`Linker::touched`] first, then [`Linker::seen`] and [`Linker::finished`] for what the
//! event's bytes brought. [`Linker::decide`] is called regularly; nothing is said before.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::connecting::{Cause, Connecting};
use super::ends::{Addresses, Ends, Handle};
use super::hint::Pointed;
use super::identity::{exchange_key, span_id_of_key, span_id_of_number, trace_id_of_root};
use super::inferring::Inferring;
use super::ladder::{self, Found, Link};
use super::name;
use super::record::{Exchange, Parent, Process};
use super::task::Tasks;
use super::thread::{Work, Worker, Workers, remove};
use super::waiting::Waiting;
use super::{Confidence, Counters, Decision, ExchangeId, Limits, Method, Seen, Style};
use crate::event::{Actor, ConnectionId, TimeNs};
use crate::protocol::Side;

pub struct Linker {
    pub(super) limits: Limits,
    pub(super) counters: Counters,
    pub(super) seed: u64,
    pub(super) exchanges: FxHashMap<ExchangeId, Exchange>,
    pub(super) threads: Workers,
    pub(super) goroutines: Workers,
    pub(super) tasks: Tasks,
    pub(super) processes: FxHashMap<u32, Process>,
    ends: Ends,
    pub(super) inferring: Inferring,
    pub(super) connecting: Connecting,
    /// Who reads right now, and where.
    pub(super) reading: Option<(ConnectionId, Actor)>,
    /// Exchanges open on a connection, oldest first.
    pub(super) on_connection: FxHashMap<ConnectionId, SmallVec<[ExchangeId; 2]>>,
    /// Oldest first; those gone since are sorted out now and then.
    pub(super) arrivals: VecDeque<ExchangeId>,
    /// Server exchanges whose other end may still turn up on this host.
    pub(super) settling: VecDeque<(TimeNs, ExchangeId)>,
    pub(super) waiting: Waiting,
    /// Decided ones that inference may name as a parent, with the time of their decision.
    pub(super) remembered: VecDeque<(TimeNs, ExchangeId)>,
    pub(super) ready: Vec<Decision>,
    /// Processes of which it should be told which thread wakes which.
    pub(super) wakes_wanted: Vec<u32>,
}

impl Linker {
    /// `seed` should differ between agents: it keeps made-up ids apart.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits,
            counters: Counters::default(),
            seed,
            exchanges: FxHashMap::default(),
            threads: Workers::default(),
            goroutines: Workers::default(),
            tasks: Tasks::default(),
            processes: FxHashMap::default(),
            ends: Ends::default(),
            inferring: Inferring::default(),
            connecting: Connecting::default(),
            reading: None,
            on_connection: FxHashMap::default(),
            arrivals: VecDeque::new(),
            settling: VecDeque::new(),
            waiting: Waiting::default(),
            remembered: VecDeque::new(),
            ready: Vec::new(),
            wakes_wanted: Vec::new(),
        }
    }

    pub fn counters(&self) -> Counters {
        Counters {
            inference_overflowed: self.inferring.overflowed(),
            ..self.counters
        }
    }

    /// What the process's executable says about it; may come before or after its first exchange.
    pub fn set_style(&mut self, pid: u32, style: Style) {
        self.process(pid).style = style;
    }

    /// The first bytes of a request were read (server side) or written (client side).
    pub fn seen(&mut self, seen: &Seen<'_>) {
        if self.exchanges.contains_key(&seen.id) {
            self.counters.repeated_exchanges += 1;
            return;
        }
        self.make_room();
        let seen = &match seen.side {
            Side::Server => Seen {
                actor: self.reader(seen),
                ..*seen
            },
            Side::Client => *seen,
        };
        let key = match (seen.sequence, seen.position) {
            (Some(sequence), Some(position)) => exchange_key(sequence, position, seen.stream_id),
            _ => 0,
        };
        let handle = Handle {
            key,
            addresses: if key == 0 { Addresses::of(seen) } else { None },
        };
        let exchange = Exchange {
            side: seen.side,
            actor: seen.actor,
            connection: seen.connection,
            time_ns: seen.time_ns,
            context: seen.context.map(|context| Box::new(context.clone())),
            name: name::of(seen),
            handle,
            span_id: match key {
                0 => span_id_of_number(self.seed, seen.id.0, seen.side),
                key => span_id_of_key(key, seen.side),
            },
            trace_id: 0,
            parent: Parent::Undecided,
            called: false,
            steps: Vec::new(),
            turn: 0,
            begun: None,
            hint: None,
            pointed: Pointed::default(),
            hint_others: 0,
            bystands: false,
            method: Method::None,
            confidence: Confidence::None,
            probability: 0.0,
            end_ns: None,
            decided: false,
            remembered: false,
            undecided_children: 0,
        };
        self.exchanges.insert(seen.id, exchange);
        self.arrivals.push_back(seen.id);
        match seen.side {
            Side::Server => self.server_seen(seen),
            Side::Client => self.client_seen(seen),
        }
        self.on_connection
            .entry(seen.connection)
            .or_default()
            .push(seen.id);
        if let Some(other) = self.ends.meet(seen.id, seen.side, handle) {
            let (client, server) = match seen.side {
                Side::Client => (seen.id, other),
                Side::Server => (other, seen.id),
            };
            self.join(client, server);
        }
    }

    /// The exchange is over: answered, or given up by the room before. Exactly one decision follows, in bounded time.
    pub fn finished(&mut self, id: ExchangeId, end_ns: TimeNs, actor: Actor) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            self.counters.unknown_exchanges += 1;
            let span_id = span_id_of_number(self.seed, id.0, Side::Client);
            self.ready.push(unlinked(
                id,
                span_id,
                trace_id_of_root(self.seed, span_id, end_ns),
            ));
            return;
        };
        if exchange.end_ns.is_some() {
            self.counters.repeated_exchanges += 1;
            return;
        }
        exchange.end_ns = Some(end_ns);
        let (side, opener) = (exchange.side, exchange.actor);
        let of = match exchange.parent {
            Parent::Exchange(parent) => Some(parent),
            _ => exchange.hint.map(|(request, _)| request),
        };
        let bystands = exchange.bystands && exchange.parent == Parent::Undecided;
        match (exchange.parent, side) {
            // It is settled in time.
            (Parent::Undecided, Side::Server) => {}
            (Parent::Undecided, Side::Client) => {
                self.waiting.until(id, end_ns.saturating_add(self.limits.wait_ns));
            }
            _ => self.waiting.due(id),
        }
        match side {
            Side::Client => {
                self.note_answer(id, opener, end_ns, bystands);
                if let Some(request) = of {
                    self.goes_on(request, Some(id), actor, end_ns);
                }
                if !bystands {
                    self.test_hint(id);
                    self.tell_inference(id);
                }
            }
            Side::Server => {
                self.inferring.request_finished(opener.pid, id, end_ns);
                let alone = actor.tid == opener.tid;
                let process = self.process(opener.pid);
                process.note_stay(alone);
                if alone {
                    process.faithful = process.faithful.saturating_add(1);
                } else if actor.tid != 0 && opener.goroutine == 0 {
                    process.interleaves = true;
                }
                self.settle_claims(id, opener.pid);
            }
        }
        self.close(id);
    }

    /// The process is gone: whatever it had open will not be answered by it.
    pub fn process_ended(&mut self, pid: u32) {
        self.processes.remove(&pid);
        self.threads.end_process(pid);
        self.goroutines.end_process(pid);
        self.tasks.end_process(pid);
        self.inferring.end(pid);
    }

    pub fn connection_closed(&mut self, connection: ConnectionId) {
        self.connecting.take(connection);
    }

    fn server_seen(&mut self, seen: &Seen<'_>) {
        self.settling
            .push_back((seen.time_ns.saturating_add(self.limits.settle_ns), seen.id));
        let actor = seen.actor;
        let interleaved = self.works_elsewhere(seen, |work| &work.open);
        let work = self.thread(actor, seen.time_ns);
        work.open.push(seen.id);
        work.segment.identified(seen.id, seen.time_ns);
        work.served = true;
        work.interleaves |= interleaved;
        let strayed = work.strayed;
        if actor.goroutine != 0 {
            self.goroutine(actor, seen.time_ns).open.push(seen.id);
        }
        let process = self.process(actor.pid);
        process.open.push(seen.id);
        process.interleaves |= interleaved || strayed;
        if self.inferring.works_for(actor.pid)
            && let Some(exchange) = self.exchanges.get(&seen.id)
        {
            self.inferring
                .request_seen(actor.pid, seen.id, &exchange.name, seen.time_ns);
        }
        self.goes_on(seen.id, None, seen.actor, seen.time_ns);
    }

    fn client_seen(&mut self, seen: &Seen<'_>) {
        let cause = self.connecting.take(seen.connection);
        let mut found = ladder::parent_of_call(self, seen.id, cause);
        if seen.actor.task.is_some() {
            found = self.found_by_task(seen, found);
        }
        let overlapping = self.works_elsewhere(seen, |work| &work.calls);
        // Makes room for the process first.
        self.process(seen.actor.pid);
        self.note_background(seen);
        let process = self.process(seen.actor.pid);
        // Calls made while a process starts tell nothing about how it serves.
        let serving = process.faithful > 0;
        let (direct, turns) = (process.style == Style::DirectLoop, process.turns);
        let work = self.thread(seen.actor, seen.time_ns);
        work.calls.push(seen.id);
        work.interleaves |= overlapping;
        let read = Pointed::by_turn(work.segment.current(turns), seen.time_ns);
        if direct {
            // One call a segment: what follows without another read was set off by something not seen, such as a timer.
            work.segment.end();
        } else if cause.is_none() {
            work.segment.called(turns);
        }
        let serves = !work.open.is_empty();
        work.strayed |= serving && !serves;
        let strayed = work.strayed && work.served;
        let process = self.process(seen.actor.pid);
        process.interleaves |= overlapping || strayed;
        if !process.open.is_empty() {
            process.note_stay(serves);
        }
        let kept = process.order.is_some();
        let turn = if kept {
            self.turn_of(seen.actor, seen.time_ns)
        } else {
            0
        };
        if let Some(call) = self.exchanges.get_mut(&seen.id) {
            call.turn = turn;
            call.begun = match cause {
                Some(Cause::Seen(begun)) => Some(begun),
                _ => None,
            };
        }
        match found {
            Found::Link(link) => {
                if let Parent::Exchange(parent) = link.parent
                    && let Some(request) = self.exchanges.get_mut(&parent)
                {
                    request.called = true;
                    self.placed(seen.id, parent);
                }
                self.set_parent(seen.id, link);
            }
            Found::Bystander => {
                if let Some(call) = self.exchanges.get_mut(&seen.id) {
                    call.bystands = true;
                }
                self.want_wakes(seen.actor.pid);
                self.infer(seen);
            }
            Found::Undecided { hint } => {
                self.keep_order(seen.actor.pid);
                if seen.actor.task.is_none() {
                    self.unplaced(seen.id, seen.actor, seen.time_ns);
                }
                self.hint(seen, Pointed { turn: hint, ..read }, cause);
            }
        }
        self.note_call(seen.id, seen.actor, seen.time_ns);
    }

    /// The thread has others of these open, on another connection. Pipelined requests of one connection are one queue; two
    /// connections at once are not one thread's work.
    fn works_elsewhere(&self, seen: &Seen<'_>, list: impl Fn(&Work) -> &Vec<ExchangeId>) -> bool {
        let worker = Worker::thread(seen.actor);
        let others = self.threads.get(worker).map_or(&[][..], |work| list(work));
        seen.actor.goroutine == 0
            && others.iter().any(|id| {
                self.exchanges
                    .get(id)
                    .is_some_and(|other| other.connection != seen.connection)
            })
    }

    /// Both ends of one exchange are known.
    fn join(&mut self, client: ExchangeId, server: ExchangeId) {
        let link = Link {
            parent: Parent::Exchange(client),
            method: Method::Tcp,
            probability: 1.0,
            exact: true,
        };
        if self
            .exchanges
            .get(&server)
            .is_some_and(|exchange| exchange.parent == Parent::Undecided)
        {
            self.set_parent(server, link);
        }
    }

    /// Takes the exchange off every list of open ones.
    fn close(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(&id) else {
            return;
        };
        let (actor, side, connection, handle) = (
            exchange.actor,
            exchange.side,
            exchange.connection,
            exchange.handle,
        );
        self.ends.forget(id, side, handle);
        if let Some(open) = self.on_connection.get_mut(&connection) {
            if let Some(at) = open.iter().rposition(|other| *other == id) {
                open.remove(at);
            }
            if open.is_empty() {
                self.on_connection.remove(&connection);
            }
        }
        if let Some(work) = self.threads.get_mut(Worker::thread(actor)) {
            remove(&mut work.open, id);
            remove(&mut work.calls, id);
        }
        if actor.goroutine != 0
            && let Some(work) = self.goroutines.get_mut(Worker::goroutine(actor))
        {
            remove(&mut work.open, id);
        }
        if let Some(process) = self.processes.get_mut(&actor.pid) {
            remove(&mut process.open, id);
        }
    }

    pub(super) fn forget(&mut self, id: ExchangeId) {
        if self
            .exchanges
            .get(&id)
            .is_some_and(|exchange| exchange.end_ns.is_none())
        {
            self.close(id);
        }
        self.exchanges.remove(&id);
    }

    pub(super) fn process(&mut self, pid: u32) -> &mut Process {
        if self.processes.len() >= self.limits.threads && !self.processes.contains_key(&pid) {
            self.processes.retain(|_, process| !process.open.is_empty());
        }
        self.processes.entry(pid).or_default()
    }

    pub(super) fn thread(&mut self, actor: Actor, time_ns: TimeNs) -> &mut Work {
        let (work, evicted) = self
            .threads
            .entry(Worker::thread(actor), time_ns, self.limits.threads);
        self.counters.threads_evicted += evicted;
        work
    }

    pub(super) fn goroutine(&mut self, actor: Actor, time_ns: TimeNs) -> &mut Work {
        let (work, evicted) = self
            .goroutines
            .entry(Worker::goroutine(actor), time_ns, self.limits.threads);
        self.counters.threads_evicted += evicted;
        work
    }
}

fn unlinked(id: ExchangeId, span_id: u64, trace_id: u128) -> Decision {
    Decision {
        id,
        trace_id,
        span_id,
        parent_span_id: 0,
        method: Method::None,
        confidence: Confidence::None,
        probability: 0.0,
        exchange_key: 0,
    }
}

#[cfg(test)]
mod tests;
