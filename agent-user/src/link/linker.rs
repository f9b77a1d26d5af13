//! The linker: keeps the open exchanges, asks the ladder for a parent, and says what it decided.
//!
//! Call order for one event: [`Linker::touched`] first, then [`Linker::seen`] and [`Linker::finished`] for what the
//! event's bytes brought. [`Linker::decide`] is called regularly; nothing is said before.

use std::collections::VecDeque;
use std::hash::Hasher;

use compact_str::CompactString;
use rustc_hash::FxHasher;
use smallvec::SmallVec;

use super::connecting::{Cause, Connecting};
use super::ends::{Addresses, Ends, Handle};
use super::hint::Pointed;
use super::identity::{exchange_key, span_id_of_key, span_id_of_number, trace_id_of_root};
use super::inferring::Inferring;
use super::ladder::{self, Found, Link};
use super::multiplexing::AskedStreams;
use super::name;
use super::record::{Exchange, Parent, Process};
use super::table::Table;
use super::task::Tasks;
use super::thread::{Work, Worker, Workers, remove};
use super::waiting::Waiting;
use super::{Confidence, Counters, Decision, ExchangeId, Limits, Method, Seen, Style};
use crate::event::{Actor, ConnectionId, TimeNs};
use crate::protocol::Side;

/// Connections that stay in their table while nothing is open on them: most are asked for again soon, and making and dropping an
/// entry for each request costs several times what finding it does.
const CONNECTIONS_KEPT: usize = 4_096;

pub struct Linker {
    pub(super) limits: Limits,
    pub(super) counters: Counters,
    pub(super) seed: u64,
    pub(super) exchanges: Table<ExchangeId, Exchange>,
    pub(super) threads: Workers,
    pub(super) goroutines: Workers,
    pub(super) tasks: Tasks,
    pub(super) asked_streams: AskedStreams,
    pub(super) processes: Table<u32, Process>,
    ends: Ends,
    pub(super) inferring: Inferring,
    pub(super) connecting: Connecting,
    /// Who reads right now, and where.
    pub(super) reading: Option<(ConnectionId, Actor)>,
    /// Exchanges open on a connection, oldest first; of some connections also that there are none, see [`CONNECTIONS_KEPT`].
    pub(super) on_connection: Table<ConnectionId, SmallVec<[ExchangeId; 2]>>,
    /// Open server exchanges that somebody's decision waits for: their other end may still turn up on this host.
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
            exchanges: Table::default(),
            threads: Workers::default(),
            goroutines: Workers::default(),
            tasks: Tasks::default(),
            asked_streams: AskedStreams::default(),
            processes: Table::default(),
            ends: Ends::default(),
            inferring: Inferring::default(),
            connecting: Connecting::default(),
            reading: None,
            on_connection: Table::default(),
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
            streams_not_met: self.asked_streams.evicted(),
            ..self.counters
        }
    }

    /// What the process's executable says about it; may come before or after its first exchange.
    pub fn set_style(&mut self, pid: u32, style: Style) {
        self.process(pid).style = style;
    }

    /// The first bytes of a request were read (server side) or written (client side).
    pub fn seen(&mut self, seen: &Seen<'_>) {
        self.make_room();
        let actor = match seen.side {
            Side::Server => self.reader(seen),
            Side::Client => self.caller(seen),
        };
        let process = self.process(actor.pid);
        process.calls |= seen.side == Side::Client;
        let calls = process.calls;
        let key = match (seen.sequence, seen.position) {
            (Some(sequence), Some(position)) => exchange_key(sequence, position, seen.stream_id),
            _ => 0,
        };
        let addresses = if key == 0 { Addresses::of(seen) } else { None };
        let seed = self.seed;
        let is_new = self.exchanges.insert_with(seen.id, || Exchange {
            side: seen.side,
            actor,
            connection: seen.connection,
            stream_id: seen.stream_id,
            time_ns: seen.time_ns,
            context: seen.context.map(|context| Box::new(context.clone())),
            line: line_of(seen),
            name: if calls {
                name::of(seen)
            } else {
                CompactString::default()
            },
            handle: Handle {
                key,
                addresses: addresses.map(Box::new),
            },
            span_id: match key {
                0 => span_id_of_number(seed, seen.id.0, seen.side),
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
        });
        if !is_new {
            self.counters.repeated_exchanges += 1;
            return;
        }
        match seen.side {
            Side::Server => self.server_seen(seen, actor),
            Side::Client => self.client_seen(&Seen { actor, ..*seen }),
        }
        self.on_connection.or_default(seen.connection).push(seen.id);
        let handle = self.exchanges.get(&seen.id).map(|exchange| &exchange.handle);
        let other = handle.and_then(|handle| self.ends.meet(seen.id, seen.side, handle));
        if let Some(other) = other {
            let (client, server) = match seen.side {
                Side::Client => (seen.id, other),
                Side::Server => (other, seen.id),
            };
            self.join(client, server);
        }
    }

    /// The exchange is over: answered, or given up by the room before. Exactly one decision follows, in bounded time; of a
    /// request mostly at once, see [`Self::take_decided`].
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
        let (side, opener) = (exchange.side, exchange.actor);
        let undecided = exchange.parent == Parent::Undecided;
        if undecided && side == Side::Server {
            // No other end can turn up any more.
            self.settle(id);
        }
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        exchange.end_ns = Some(end_ns);
        let of = match exchange.parent {
            Parent::Exchange(parent) => Some(parent),
            _ => exchange.hint.map(|(request, _)| request),
        };
        let bystands = exchange.bystands && undecided;
        match side {
            Side::Client => {
                if undecided {
                    self.waiting.until(id, end_ns.saturating_add(self.limits.wait_ns));
                } else {
                    self.waiting.due(id);
                }
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
                let alone = actor.thread() == opener.thread();
                let process = self.process(opener.pid);
                process.note_stay(alone);
                if process.open.len() > 1 {
                    process.note_answerer(alone);
                }
                if alone {
                    process.faithful = process.faithful.saturating_add(1);
                } else if actor.tid != 0 && opener.goroutine == 0 {
                    process.interleaves = true;
                }
                self.settle_claims(id, opener.pid);
            }
        }
        self.close(id);
        if side == Side::Server {
            self.try_decide(id, end_ns);
        }
    }

    /// The decision about the exchange that was finished last, where nothing else had to be known first. The others come with
    /// [`Self::decide`].
    pub fn take_decided(&mut self, id: ExchangeId) -> Option<Decision> {
        self.ready.pop_if(|decision| decision.id == id)
    }

    /// The process is gone: whatever it had open will not be answered by it.
    pub fn process_ended(&mut self, pid: u32) {
        self.processes.remove(&pid);
        self.threads.end_process(pid);
        self.goroutines.end_process(pid);
        self.tasks.end_process(pid);
        self.asked_streams.end_process(pid);
        self.inferring.end(pid);
    }

    /// Nothing more comes of it: its exchanges are finished.
    pub fn connection_closed(&mut self, connection: ConnectionId) {
        self.on_connection.remove(&connection);
        if let Some(call) = self.connecting.closed(connection) {
            self.closed_after(call);
        }
    }

    /// `actor` has the request, whoever read its first byte.
    fn server_seen(&mut self, seen: &Seen<'_>, actor: Actor) {
        let interleaved = self.works_elsewhere(seen.connection, actor, |work| &work.open);
        let work = self.thread(actor, seen.time_ns);
        work.open.push(seen.id);
        work.segment.identified(seen.id, seen.time_ns);
        work.served = true;
        work.interleaves |= interleaved;
        work.shared |= interleaved;
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
        self.goes_on(seen.id, None, actor, seen.time_ns);
    }

    fn client_seen(&mut self, seen: &Seen<'_>) {
        let cause = self.connecting.take(seen.connection, seen.id);
        let mut found = ladder::parent_of_call(self, seen.id, cause);
        if seen.actor.task.is_some() {
            found = self.found_by_task(seen, found);
        }
        let overlapping = self.works_elsewhere(seen.connection, seen.actor, |work| &work.calls);
        self.note_background(seen);
        let process = self.process(seen.actor.pid);
        // Calls made while a process starts tell nothing about how it serves.
        let serving = process.faithful > 0;
        let (direct, turns) = (process.style == Style::DirectLoop, process.turns);
        let place = self.turn_to_call(seen.actor);
        let work = self.thread(seen.actor, seen.time_ns);
        work.calls.push(seen.id);
        work.interleaves |= overlapping;
        let read = Pointed::by_turn(work.segment.at(place), false, seen.time_ns);
        if direct {
            // One call a segment: what follows without another read was set off by something not seen, such as a timer.
            work.segment.end();
        } else if cause.is_none() {
            work.segment.called(place, turns);
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
                Some(Cause::Seen(begun)) => Some(Box::new(begun)),
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
    fn works_elsewhere(
        &self,
        connection: ConnectionId,
        actor: Actor,
        list: impl Fn(&Work) -> &Vec<ExchangeId>,
    ) -> bool {
        let elsewhere = |id: &ExchangeId| {
            let other = self.exchanges.get(id);
            other.is_some_and(|other| other.connection != connection)
        };
        let work = self.threads.get(Worker::thread(actor));
        actor.goroutine == 0 && work.is_some_and(|work| list(work).iter().any(elsewhere))
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
        let (actor, connection) = (exchange.actor, exchange.connection);
        self.ends.forget(id, exchange.side, &exchange.handle);
        if let Some(open) = self.on_connection.get_mut(&connection) {
            if let Some(at) = open.iter().rposition(|other| *other == id) {
                open.remove(at);
            }
            if open.is_empty() && self.on_connection.len() > CONNECTIONS_KEPT {
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

    /// Asked for several times an event.
    #[inline(always)]
    pub(super) fn process(&mut self, pid: u32) -> &mut Process {
        if self.processes.len() >= self.limits.threads {
            self.make_room_for_process(pid);
        }
        self.processes.or_default(pid)
    }

    #[cold]
    fn make_room_for_process(&mut self, pid: u32) {
        if !self.processes.contains_key(&pid) {
            self.processes.retain(|_, process| !process.open.is_empty());
        }
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

/// Equal for equal request lines; 0 where nothing is asked for.
fn line_of(seen: &Seen<'_>) -> u64 {
    if seen.operation.is_empty() && seen.target.is_empty() {
        return 0;
    }
    let mut hasher = FxHasher::default();
    hasher.write(seen.operation.as_bytes());
    hasher.write(seen.target.as_bytes());
    hasher.finish()
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
