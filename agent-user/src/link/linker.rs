//! The linker: keeps the open exchanges, asks the ladder for a parent, and says what it decided.
//!
//! Call order for one event: [`Linker::touched`] first, then [`Linker::seen`] and [`Linker::finished`] for what the
//! event's bytes brought. [`Linker::decide`] is called regularly; nothing is said before.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::ends::{Addresses, Ends, Handle};
use super::identity::{affinity, exchange_key, span_id_of_key, span_id_of_number, trace_id_of_root};
use super::ladder::{self, Link};
use super::thread::{Worker, Workers, remove};
use super::{Confidence, Counters, Decision, ExchangeId, Limits, Method, Seen, Style};
use crate::event::{Actor, ConnectionId, TimeNs};
use crate::protocol::{PropagatedContext, Side};

/// Who caused an exchange, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    Undecided,
    None,
    Exchange(ExchangeId),
    /// A span of somebody else, known from a trace header.
    Remote {
        trace_id: u128,
        span_id: u64,
    },
}

pub(super) struct Exchange {
    pub(super) side: Side,
    pub(super) actor: Actor,
    pub(super) connection: ConnectionId,
    pub(super) time_ns: TimeNs,
    pub(super) context: Option<Box<PropagatedContext>>,
    /// Fingerprint of the request line, 0 for none.
    pub(super) affinity: u64,
    handle: Handle,
    span_id: u64,
    /// 0 until known.
    trace_id: u128,
    pub(super) parent: Parent,
    method: Method,
    confidence: Confidence,
    probability: f32,
    end_ns: Option<TimeNs>,
    decided: bool,
}

/// What is known of a process as a whole.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) style: Style,
    /// Server exchanges not yet answered, oldest first.
    pub(super) open: Vec<ExchangeId>,
    /// Server exchanges read and answered by one thread that did nothing else meanwhile.
    pub(super) faithful: u32,
    /// Something was seen that a thread serving one request at a time does not do.
    pub(super) interleaves: bool,
}

/// Who opened a connection, and for which request.
#[derive(Clone, Copy, Debug)]
struct Birth {
    owner: Option<ExchangeId>,
}

pub struct Linker {
    limits: Limits,
    counters: Counters,
    seed: u64,
    pub(super) exchanges: FxHashMap<ExchangeId, Exchange>,
    pub(super) threads: Workers,
    pub(super) goroutines: Workers,
    pub(super) processes: FxHashMap<u32, Process>,
    ends: Ends,
    births: FxHashMap<ConnectionId, Birth>,
    birth_order: VecDeque<ConnectionId>,
    /// Exchanges open on a connection, oldest first.
    on_connection: FxHashMap<ConnectionId, Vec<ExchangeId>>,
    arrivals: VecDeque<ExchangeId>,
    /// Server exchanges whose other end may still turn up on this host.
    settling: VecDeque<(TimeNs, ExchangeId)>,
    /// Over, and waiting for what their decision needs.
    over: VecDeque<ExchangeId>,
    remembered: VecDeque<(TimeNs, ExchangeId)>,
    ready: Vec<Decision>,
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
            processes: FxHashMap::default(),
            ends: Ends::default(),
            births: FxHashMap::default(),
            birth_order: VecDeque::new(),
            on_connection: FxHashMap::default(),
            arrivals: VecDeque::new(),
            settling: VecDeque::new(),
            over: VecDeque::new(),
            remembered: VecDeque::new(),
            ready: Vec::new(),
        }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What the process's executable says about it; may come before or after its first exchange.
    pub fn set_style(&mut self, pid: u32, style: Style) {
        self.process(pid).style = style;
    }

    /// The process connected (`as_client`) or accepted this connection.
    pub fn opened(&mut self, connection: ConnectionId, actor: Actor, as_client: bool, time_ns: TimeNs) {
        let work = self.thread(actor, time_ns);
        if !as_client {
            work.owner = None;
            return;
        }
        let owner = work.owner;
        while self.births.len() >= self.limits.connections {
            let Some(oldest) = self.birth_order.pop_front() else {
                break;
            };
            self.counters.connections_evicted += u64::from(self.births.remove(&oldest).is_some());
        }
        if self.births.insert(connection, Birth { owner }).is_none() {
            self.birth_order.push_back(connection);
        }
        if self.birth_order.len() > 2 * self.limits.connections {
            self.birth_order.retain(|id| self.births.contains_key(id));
        }
    }

    /// The actor moved bytes on this connection; `inward` for a read.
    pub fn touched(&mut self, connection: ConnectionId, actor: Actor, inward: bool, time_ns: TimeNs) {
        let owner = self.on_connection.get(&connection).and_then(|open| {
            let exchange = open.last()?;
            match self.exchanges.get(exchange)? {
                Exchange {
                    side: Side::Server, ..
                } => Some(*exchange),
                Exchange {
                    parent: Parent::Exchange(parent),
                    ..
                } => Some(*parent),
                _ => None,
            }
        });
        // A first write on an idle connection begins a call of whatever the thread works on; a first read begins
        // something new.
        if owner.is_some() || inward {
            self.thread(actor, time_ns).owner = owner;
        }
    }

    /// The first bytes of a request were read (server side) or written (client side).
    pub fn seen(&mut self, seen: &Seen<'_>) {
        if self.exchanges.contains_key(&seen.id) {
            self.counters.repeated_exchanges += 1;
            return;
        }
        self.make_room();
        let key = match (seen.sequence, seen.position) {
            (Some(sequence), Some(position)) => exchange_key(sequence, position, seen.stream_id),
            _ => 0,
        };
        let handle = Handle {
            key,
            addresses: Addresses::of(seen),
        };
        let exchange = Exchange {
            side: seen.side,
            actor: seen.actor,
            connection: seen.connection,
            time_ns: seen.time_ns,
            context: seen.context.map(|context| Box::new(context.clone())),
            affinity: affinity(seen.operation, seen.target),
            handle,
            span_id: match key {
                0 => span_id_of_number(self.seed, seen.id.0, seen.side),
                key => span_id_of_key(key, seen.side),
            },
            trace_id: 0,
            parent: Parent::Undecided,
            method: Method::None,
            confidence: Confidence::None,
            probability: 0.0,
            end_ns: None,
            decided: false,
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
        self.over.push_back(id);
        if side == Side::Server {
            let alone = actor.tid == opener.tid;
            let process = self.process(opener.pid);
            if alone {
                process.faithful = process.faithful.saturating_add(1);
            } else if actor.tid != 0 && opener.goroutine == 0 {
                process.interleaves = true;
            }
        }
        self.close(id);
    }

    /// The process is gone: whatever it had open will not be answered by it.
    pub fn process_ended(&mut self, pid: u32) {
        self.processes.remove(&pid);
        self.threads.end_process(pid);
        self.goroutines.end_process(pid);
    }

    pub fn connection_closed(&mut self, connection: ConnectionId) {
        self.births.remove(&connection);
    }

    /// Hands out every decision that is due.
    pub fn decide(&mut self, now_ns: TimeNs, out: &mut Vec<Decision>) {
        while let Some((due, id)) = self.settling.front().copied()
            && due <= now_ns
        {
            self.settling.pop_front();
            self.settle(id);
        }
        for _ in 0..self.over.len() {
            let Some(id) = self.over.pop_front() else { break };
            if !self.try_decide(id, now_ns) {
                self.over.push_back(id);
            }
        }
        while let Some((decided_ns, id)) = self.remembered.front().copied()
            && decided_ns.saturating_add(self.limits.remember_ns) <= now_ns
        {
            self.remembered.pop_front();
            self.forget(id);
        }
        out.append(&mut self.ready);
    }

    /// Decides everything that is over, as when the agent stops or a file ends.
    pub fn flush(&mut self, out: &mut Vec<Decision>) {
        self.decide(u64::MAX, out);
    }

    fn server_seen(&mut self, seen: &Seen<'_>) {
        self.settling
            .push_back((seen.time_ns.saturating_add(self.limits.settle_ns), seen.id));
        let connection = seen.connection;
        let waiting = self.thread(seen.actor, seen.time_ns).open.clone();
        // Pipelined requests of one connection are one queue; two connections at once are not one thread's work.
        let interleaved = seen.actor.goroutine == 0
            && waiting.iter().any(|id| {
                self.exchanges
                    .get(id)
                    .is_some_and(|other| other.connection != connection)
            });
        let work = self.thread(seen.actor, seen.time_ns);
        work.open.push(seen.id);
        work.owner = Some(seen.id);
        work.served = true;
        let strayed = work.strayed;
        if seen.actor.goroutine != 0 {
            self.goroutine(seen.actor, seen.time_ns).open.push(seen.id);
        }
        let process = self.process(seen.actor.pid);
        process.open.push(seen.id);
        process.interleaves |= interleaved || strayed;
    }

    fn client_seen(&mut self, seen: &Seen<'_>) {
        let birth = self.births.remove(&seen.connection);
        let link = ladder::parent_of_call(self, seen.id, birth.map(|birth| birth.owner));
        let calls = self.thread(seen.actor, seen.time_ns).calls.clone();
        let connection = seen.connection;
        let overlapping = seen.actor.goroutine == 0
            && calls.iter().any(|id| {
                self.exchanges
                    .get(id)
                    .is_some_and(|other| other.connection != connection)
            });
        // Calls made while a process starts tell nothing about how it serves.
        let serving = self.process(seen.actor.pid).faithful > 0;
        let work = self.thread(seen.actor, seen.time_ns);
        work.calls.push(seen.id);
        work.strayed |= serving && work.open.is_empty();
        let strayed = work.strayed && work.served;
        self.process(seen.actor.pid).interleaves |= overlapping || strayed;
        self.set_parent(seen.id, link);
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

    /// The client end is not on this host, or not watched: what the headers say, or nothing.
    fn settle(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(&id) else {
            return;
        };
        if exchange.parent == Parent::Undecided {
            let link = ladder::parent_from_header(exchange.context.as_deref());
            self.set_parent(id, link);
        }
    }

    fn set_parent(&mut self, id: ExchangeId, link: Link) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        exchange.parent = link.parent;
        (exchange.method, exchange.confidence, exchange.probability) = match link.parent {
            Parent::None | Parent::Undecided => (Method::None, Confidence::None, 0.0),
            _ if link.exact => (link.method, Confidence::Exact, 1.0),
            _ => (link.method, Confidence::Inferred, link.probability),
        };
    }

    fn try_decide(&mut self, id: ExchangeId, now_ns: TimeNs) -> bool {
        let Some(exchange) = self.exchanges.get(&id) else {
            return true;
        };
        let waited = exchange
            .end_ns
            .unwrap_or(now_ns)
            .saturating_add(self.limits.wait_ns)
            <= now_ns;
        let trace_id = match self.trace_of(id, TRACE_DEPTH) {
            Some(trace_id) => trace_id,
            None if waited => {
                self.counters.waits_given_up += 1;
                self.set_parent(id, Link::NONE);
                match self.trace_of(id, TRACE_DEPTH) {
                    Some(trace_id) => trace_id,
                    None => return true,
                }
            }
            None => return false,
        };
        let parent_span_id = match self.exchanges.get(&id).map(|exchange| exchange.parent) {
            Some(Parent::Remote { span_id, .. }) => span_id,
            Some(Parent::Exchange(parent)) => self.exchanges.get(&parent).map_or(0, |parent| parent.span_id),
            _ => 0,
        };
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return true;
        };
        exchange.decided = true;
        self.ready.push(Decision {
            id,
            trace_id,
            span_id: exchange.span_id,
            parent_span_id,
            method: exchange.method,
            confidence: exchange.confidence,
            probability: exchange.probability,
            exchange_key: exchange.handle.key,
        });
        self.remembered.push_back((now_ns, id));
        true
    }

    /// The trace an exchange belongs to, once its way to the root is known.
    fn trace_of(&mut self, id: ExchangeId, depth: usize) -> Option<u128> {
        let exchange = self.exchanges.get(&id)?;
        if exchange.trace_id != 0 {
            return Some(exchange.trace_id);
        }
        let own = exchange.context.as_ref().map_or(0, |context| context.trace_id);
        let root = match own {
            0 => trace_id_of_root(self.seed, exchange.span_id, exchange.time_ns),
            own => own,
        };
        let trace_id = match exchange.parent {
            Parent::Undecided => return None,
            Parent::None => root,
            Parent::Remote { trace_id, .. } => trace_id,
            Parent::Exchange(parent) if depth > 0 && self.exchanges.contains_key(&parent) => {
                self.trace_of(parent, depth - 1)?
            }
            Parent::Exchange(_) => {
                self.counters.waits_given_up += 1;
                self.set_parent(id, Link::NONE);
                root
            }
        };
        self.exchanges.get_mut(&id)?.trace_id = trace_id;
        Some(trace_id)
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
            remove(open, id);
            if open.is_empty() {
                self.on_connection.remove(&connection);
            }
        }
        for work in [
            self.threads.get_mut(Worker {
                pid: actor.pid,
                id: u64::from(actor.tid),
            }),
            self.goroutines.get_mut(Worker {
                pid: actor.pid,
                id: actor.goroutine,
            }),
        ]
        .into_iter()
        .flatten()
        {
            remove(&mut work.open, id);
            remove(&mut work.calls, id);
        }
        if let Some(process) = self.processes.get_mut(&actor.pid) {
            remove(&mut process.open, id);
        }
    }

    /// Evicts the oldest exchange while the table is full. One that is over is decided now.
    fn make_room(&mut self) {
        while self.exchanges.len() >= self.limits.exchanges {
            let Some(oldest) = self.arrivals.pop_front() else {
                return;
            };
            let Some(exchange) = self.exchanges.get(&oldest) else {
                continue;
            };
            let (over, decided) = (exchange.end_ns.is_some(), exchange.decided);
            if over && !decided {
                self.settle(oldest);
                self.try_decide(oldest, u64::MAX);
            }
            self.counters.exchanges_evicted += u64::from(!decided);
            self.forget(oldest);
        }
        let (exchanges, most) = (&self.exchanges, 2 * self.limits.exchanges);
        for queue in [&mut self.arrivals, &mut self.over] {
            if queue.len() > most {
                queue.retain(|id| exchanges.contains_key(id));
            }
        }
        for queue in [&mut self.settling, &mut self.remembered] {
            if queue.len() > most {
                queue.retain(|(_, id)| exchanges.contains_key(id));
            }
        }
    }

    fn forget(&mut self, id: ExchangeId) {
        self.close(id);
        self.exchanges.remove(&id);
    }

    fn process(&mut self, pid: u32) -> &mut Process {
        if self.processes.len() >= self.limits.threads && !self.processes.contains_key(&pid) {
            self.processes.retain(|_, process| !process.open.is_empty());
        }
        self.processes.entry(pid).or_default()
    }

    fn thread(&mut self, actor: Actor, time_ns: TimeNs) -> &mut super::thread::Work {
        let worker = Worker {
            pid: actor.pid,
            id: u64::from(actor.tid),
        };
        let (work, evicted) = self.threads.entry(worker, time_ns, self.limits.threads);
        self.counters.threads_evicted += evicted;
        work
    }

    fn goroutine(&mut self, actor: Actor, time_ns: TimeNs) -> &mut super::thread::Work {
        let worker = Worker {
            pid: actor.pid,
            id: actor.goroutine,
        };
        let (work, evicted) = self.goroutines.entry(worker, time_ns, self.limits.threads);
        self.counters.threads_evicted += evicted;
        work
    }
}

/// How long a chain of calls inside one host may get before its end is taken for a root.
const TRACE_DEPTH: usize = 64;

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
