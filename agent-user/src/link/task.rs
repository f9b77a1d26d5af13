//! Tasks of an event loop: which request each one works for.
//!
//! Enters: calls and answers with the task that wrote them and the one that waits for that. Leaves: parents, in hindsight:
//! the task that answers a request has made for it the calls it made since the request was read, and so have those it
//! waited for. Bounded: tasks remembered, calls of each. Deliberately absent: calls of tasks nobody waits for and that answer
//! nothing; inference has them. What a task does behind its answer gets no parent.
//!
//! `exact` assumes that a task made for one request works for no other: it was first seen after the request was read, and
//! has answered none before. A task whose name has no number cannot be told from a later one at its place.

use smallvec::SmallVec;

use super::ladder::{Found, Link};
use super::linker::Linker;
use super::record::Parent;
use super::table::Table;
use super::{ExchangeId, Method, Seen};
use crate::event::{Actor, Awaited, ConnectionId, Task, TimeNs};

/// Calls remembered of one task.
const CALLS_MAX: usize = 256;
/// How many tasks up, from one that is waited for to the one that waits.
const DEPTH: usize = 4;
/// Of a task that has answered others before; of one that is waited for.
const OWN: f32 = 0.99;
const WAITED_FOR: f32 = 0.97;

/// A task on its thread: a thread that writes beside the loop's may be told with the task the loop runs at that moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    pid: u32,
    tid: u32,
    task: Task,
}

/// A call whose request is not known yet.
#[derive(Clone, Copy)]
struct Made {
    call: ExchangeId,
    /// By the task itself, not by one that it waits for.
    own: bool,
}

struct Work {
    first_ns: TimeNs,
    last_ns: TimeNs,
    /// The task that waits for it.
    waits: Option<Task>,
    made: SmallVec<[Made; 4]>,
    /// What it answers, or has answered last, and where; and how many before.
    answers: Option<(ExchangeId, ConnectionId)>,
    answered_before: u32,
}

#[derive(Default)]
pub(super) struct Tasks {
    table: Table<Key, Work>,
}

impl Tasks {
    /// Makes room first if there is none: the longest idle eighth goes. Answers how many went.
    fn entry(&mut self, key: Key, now_ns: TimeNs, limit: usize) -> (&mut Work, u64) {
        let mut evicted = 0;
        if self.table.len() >= limit && !self.table.contains_key(&key) {
            evicted = self.table.make_room(limit, |work| work.last_ns);
        }
        let work = self.table.or_insert_with(key, || Work {
            first_ns: now_ns,
            last_ns: now_ns,
            waits: None,
            made: SmallVec::new(),
            answers: None,
            answered_before: 0,
        });
        work.last_ns = now_ns;
        (work, evicted)
    }

    pub(super) fn end_process(&mut self, pid: u32) {
        self.table.retain(|key, _| key.pid != pid);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Linker {
    /// A task made this call: its request, where it is answering one; otherwise the call waits for an answer.
    pub(super) fn call_of_task(&mut self, call: ExchangeId, actor: Actor, time_ns: TimeNs) -> Option<Link> {
        let mut next = actor.task;
        let mut found = None;
        for depth in 0..DEPTH {
            let Some(task) = next else { break };
            let key = key(actor, task);
            let limit = self.limits.threads;
            let (work, evicted) = self.tasks.entry(key, time_ns, limit);
            self.counters.threads_evicted += evicted;
            let own = depth == 0;
            if own {
                work.waits = actor.parent_task;
            }
            if work.made.len() < CALLS_MAX {
                work.made.push(Made { call, own });
            }
            next = work.waits;
            let alone = work.answered_before == 0;
            let (answers, first_ns) = (work.answers, work.first_ns);
            if found.is_none()
                && let Some((request, _)) = answers.filter(|(request, _)| self.is_open(*request))
            {
                found = Some(self.link_by_task(request, own && alone && task.is_numbered(), own, first_ns));
            }
        }
        found
    }

    /// A task waits for another one that waits.
    pub fn awaited(&mut self, awaited: &Awaited) {
        let key = Key {
            pid: awaited.pid,
            tid: awaited.tid,
            task: awaited.task,
        };
        let (work, evicted) = self.tasks.entry(key, awaited.time_ns, self.limits.threads);
        work.waits = Some(awaited.waiting);
        self.counters.threads_evicted += evicted;
    }

    /// What the ladder says of a call that a task made: the task tells more than the thread, though later.
    pub(super) fn found_by_task(&mut self, seen: &Seen<'_>, found: Found) -> Found {
        let guess = match found {
            Found::Link(link) if !link.by_thread() => return found,
            Found::Link(link) => match link.parent {
                Parent::Exchange(one) => Some(one),
                _ => return found,
            },
            Found::Undecided { hint } => hint,
            Found::Bystander => None,
        };
        match self.call_of_task(seen.id, seen.actor, seen.time_ns) {
            Some(link) => Found::Link(link),
            None if self.is_done(seen.actor) => Found::Link(Link::NONE),
            None => Found::Undecided { hint: guess },
        }
    }

    /// The task has answered, and there is nothing more to answer on that connection: what it does now belongs to none of
    /// the requests that are open.
    fn is_done(&self, actor: Actor) -> bool {
        let work = actor
            .task
            .filter(|task| task.is_numbered())
            .and_then(|task| self.tasks.table.get(&key(actor, task)));
        work.and_then(|work| work.answers).is_some_and(|(_, connection)| {
            let open = self.on_connection.get(&connection);
            open.is_none_or(|open| open.is_empty())
        })
    }

    /// A task writes the answer to this request.
    pub(super) fn answer_of_task(&mut self, request: ExchangeId, actor: Actor, time_ns: TimeNs) {
        let Some(task) = actor.task else { return };
        let Some(exchange) = self.exchanges.get(&request) else {
            return;
        };
        // Of several requests on one connection it is not known which one is answered.
        let (since_ns, connection) = (exchange.time_ns, exchange.connection);
        if self.on_connection.get(&connection).map(SmallVec::len) != Some(1) {
            return;
        }
        let (work, evicted) = self.tasks.entry(key(actor, task), time_ns, self.limits.threads);
        if work.answers.is_some_and(|(before, _)| before != request) {
            work.answered_before = work.answered_before.saturating_add(1);
        }
        work.answers = Some((request, connection));
        let made = std::mem::take(&mut work.made);
        let (alone, first_ns) = (work.answered_before == 0, work.first_ns);
        self.counters.threads_evicted += evicted;
        for Made { call, own } in made {
            let undecided = self
                .exchanges
                .get(&call)
                .is_some_and(|call| call.parent == Parent::Undecided && call.time_ns >= since_ns);
            if undecided {
                let link = self.link_by_task(request, own && alone && task.is_numbered(), own, first_ns);
                self.set_parent(call, link);
                self.placed(call, request);
                self.inferring.call_known(actor.pid, call, request);
            }
        }
    }

    fn link_by_task(&self, request: ExchangeId, sure: bool, own: bool, first_ns: TimeNs) -> Link {
        let read_ns = self.exchanges.get(&request).map(|request| request.time_ns);
        if sure && read_ns.is_some_and(|read_ns| read_ns <= first_ns) {
            return Link::exact(request, Method::Task);
        }
        Link::inferred(request, Method::Task, if own { OWN } else { WAITED_FOR })
    }

    pub(super) fn is_open(&self, request: ExchangeId) -> bool {
        self.exchanges
            .get(&request)
            .is_some_and(|request| request.end_ns.is_none())
    }
}

fn key(actor: Actor, task: Task) -> Key {
    Key {
        pid: actor.pid,
        tid: actor.tid,
        task,
    }
}
