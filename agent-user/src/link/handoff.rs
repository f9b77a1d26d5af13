//! Handoff: work that one thread reads and another one does.
//!
//! Enters: answers written, calls not placed when they were made. Leaves: parents and hints of such calls. A thread that
//! does one thing at a time, makes calls and then answers a request has made those calls for it: who answers tells in
//! hindsight who worked. Where even that does not tell, the [`Order`] in which work was read is a hint for inference.
//! Bounded: calls remembered for each thread. Deliberately absent: threads seen to work for two requests at once.

use smallvec::SmallVec;

use super::hint::Witness;
use super::ladder::Link;
use super::linker::Linker;
use super::order::{CONNECTS, Kind, Order};
use super::record::{Background, Parent, Step};
use super::segment::Read;
use super::thread::Worker;
use super::{ExchangeId, Method, Seen};
use crate::event::{Actor, TimeNs};

/// Calls of one request that a thread may have made before it answers.
const UNPLACED_MAX: usize = 256;
/// Names of background calls remembered for a process.
const BACKGROUND_MAX: usize = 32;
/// Steps of one request that are remembered.
const STEPS_MAX: usize = 32;

impl Linker {
    /// The actor writes the answer to this request.
    pub(super) fn answers(&mut self, request: ExchangeId, actor: Actor, time_ns: TimeNs) {
        self.answer_of_task(request, actor, time_ns);
        if actor.is_goroutine() {
            return;
        }
        let process = self.process(actor.pid);
        let mut turns = process.turns;
        let loops = process.order.is_some();
        let place = self.turn_to_answer(request, actor);
        let work = self.thread(actor, time_ns);
        let upon = work.segment.at(place).filter(|current| current.read.fresh);
        let upon = upon.and_then(|current| {
            let alone = current.alone;
            Some((current.read.answers?, Witness::Answer { alone }))
        });
        work.segment.answered(request, place, &mut turns);
        let calls = match (loops, work.interleaves) {
            (true, false) => std::mem::take(&mut work.unplaced),
            _ => Vec::new(),
        };
        let process = self.process(actor.pid);
        process.turns = turns;
        if let Some(order) = &mut process.order {
            order.answered(request);
        }
        if upon.is_none() && calls.is_empty() {
            return;
        }
        let Some(exchange) = self.exchanges.get(&request) else {
            return;
        };
        let since_ns = exchange.time_ns;
        // Of several requests on one connection it is not known which one is answered.
        let alone = self.on_connection.get(&exchange.connection).map(SmallVec::len) == Some(1);
        if let Some((call, by)) = upon.filter(|_| alone) {
            self.answered_upon(request, call, by, actor, time_ns);
        }
        for call in calls {
            let open = |linker: &Self| {
                linker
                    .exchanges
                    .get(&call)
                    .is_some_and(|call| call.parent == Parent::Undecided && call.time_ns >= since_ns)
            };
            if open(self) {
                self.set_parent(call, Link::inferred(request, Method::Handoff, 0.98));
                self.placed(call, request);
            }
        }
    }

    /// The call waits for somebody to say whose it is: the thread's own answer, if it does one thing at a time.
    pub(super) fn unplaced(&mut self, call: ExchangeId, actor: Actor, time_ns: TimeNs) {
        if actor.is_goroutine() {
            return;
        }
        let work = self.thread(actor, time_ns);
        if !work.interleaves && work.unplaced.len() < UNPLACED_MAX {
            work.unplaced.push(call);
        }
    }

    /// The place in the thread's segment of what a call made now is made upon.
    pub(super) fn turn_to_call(&self, actor: Actor) -> Option<usize> {
        let process = self.processes.get(&actor.pid)?;
        let work = self.threads.get(Worker::thread(actor))?;
        work.segment
            .turn_to_call(process.turns, |read| process.leads_to_call(read))
    }

    /// The same of what the request is answered upon now.
    fn turn_to_answer(&self, request: ExchangeId, actor: Actor) -> Option<usize> {
        let process = self.processes.get(&actor.pid)?;
        let work = self.threads.get(Worker::thread(actor))?;
        let leads = |read: &Read| process.leads_to_call(read);
        work.segment.turn_to_answer(request, process.turns, leads)
    }

    /// From now on the order of what the process reads is kept.
    pub(super) fn keep_order(&mut self, pid: u32) {
        self.process(pid).order.get_or_insert_default();
    }

    /// The request has been read, or a call of it answered: it may go on.
    pub(super) fn goes_on(
        &mut self,
        request: ExchangeId,
        answered: Option<ExchangeId>,
        actor: Actor,
        time_ns: TimeNs,
    ) {
        let Some(exchange) = self.exchanges.get(&request) else {
            return;
        };
        let pid = exchange.actor.pid;
        let kept = self
            .processes
            .get(&pid)
            .is_some_and(|process| process.order.is_some());
        if !kept || exchange.end_ns.is_some() || exchange.steps.len() >= STEPS_MAX {
            return;
        }
        let name = answered
            .and_then(|call| self.exchanges.get(&call))
            .map_or("", |call| &call.name);
        let kind = Kind::of(&exchange.name, name, exchange.steps.len());
        let reader = exchange.actor;
        let turn = self.turn_of(actor, time_ns);
        let lane = self.process(pid).lane(reader);
        if let Some(exchange) = self.exchanges.get_mut(&request) {
            exchange.steps.push(Step { time_ns, turn, kind });
        }
        if let Some(order) = self.order(pid) {
            order.waits(request, kind, turn, lane);
        }
    }

    /// The request that waits longest for a call of this name, and the one that waits longest then.
    pub(super) fn next_in_order(&self, call: &str, actor: Actor) -> Option<(ExchangeId, Option<ExchangeId>)> {
        let process = self.processes.get(&actor.pid)?;
        let lane = process.lane(actor);
        process.order.as_ref()?.turn(call, lane)
    }

    /// The request has made a call of this name, as far as that is known.
    pub(super) fn made(&mut self, request: ExchangeId, call: &str, pid: u32) {
        if let Some(order) = self.order(pid) {
            order.made(request, call);
        }
    }

    /// The request connects for a call, as far as that is known.
    pub(super) fn connects(&mut self, request: ExchangeId, pid: u32) {
        if let Some(order) = self.order(pid) {
            order.connects(request);
        }
    }

    /// It is known, or good enough known to learn from it, that the request made the call.
    pub(super) fn placed(&mut self, call: ExchangeId, request: ExchangeId) {
        let (Some(call), Some(request)) = (self.exchanges.get(&call), self.exchanges.get(&request)) else {
            return;
        };
        let (name, time_ns, turn) = match &call.begun {
            Some(begun) => (CONNECTS, begun.time_ns, begun.turn),
            None => (&call.name[..], call.time_ns, call.turn),
        };
        let Some(step) = request.steps.iter().rfind(|step| step.time_ns <= time_ns) else {
            return;
        };
        if let Some(process) = self.processes.get_mut(&call.actor.pid)
            && let Some(order) = &mut process.order
        {
            order.learn(step.kind, name, turn.saturating_sub(step.turn));
        }
    }

    /// The turn of the thread's loop; 0 where threads do not take turns.
    pub(super) fn turn_of(&mut self, actor: Actor, time_ns: TimeNs) -> u32 {
        if self.process(actor.pid).turns.queue() {
            self.thread(actor, time_ns).segment.turn()
        } else {
            0
        }
    }

    /// A call made while no request is open belongs to none; others of its name may not either.
    pub(super) fn note_background(&mut self, seen: &Seen<'_>) {
        let Some(call) = self.exchanges.get(&seen.id) else {
            return;
        };
        let process = self.processes.or_default(seen.actor.pid);
        let idle = process.open.is_empty();
        let room = process.background.len() < BACKGROUND_MAX;
        let known = process
            .background
            .iter_mut()
            .find(|known| known.name == call.name);
        match known {
            Some(known) if idle => known.without = known.without.saturating_add(1),
            Some(known) => known.within = known.within.saturating_add(1),
            None if idle && room => process.background.push(Background {
                name: call.name.clone(),
                without: 1,
                within: 0,
            }),
            None => {}
        }
    }

    fn order(&mut self, pid: u32) -> Option<&mut Order> {
        self.processes.get_mut(&pid)?.order.as_deref_mut()
    }
}
