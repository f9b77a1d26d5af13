//! Waking: for whom the threads work that serve no request themselves, from who wakes whom.
//!
//! Enters: which thread woke which (told right before the woken one writes), calls made and answered by such threads,
//! requests that are over. Leaves: parents of those calls. A thread that serves exactly one request, waits, and is woken by a
//! thread that has just had the answer to a call, has waited for that answer. Locks wake, too: where those who wake at a
//! place (a futex, mostly) are as often in the middle of something else, the place says nothing. How often they are is
//! counted, so a place is believed by what it has shown, and only once the request is over. Bounded: calls of a thread,
//! places, claims and calls without a claim of a process. Deliberately absent: who was woken to take work up (a queue that
//! is not empty wakes nobody, and passes the baton on: one in eight such wake-ups was wrong), and times beyond their order.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::ladder::Link;
use super::linker::Linker;
use super::record::{Exchange, Parent, Process};
use super::table::Table;
use super::thread::Worker;
use super::{ExchangeId, Method};
use crate::event::{Actor, TimeNs, Wake, Woken};

/// Calls of a thread whose times are remembered.
const MADE_MAX: usize = 8;
/// Places of a process.
const PLACES_MAX: usize = 1_024;
/// Claims of open requests of a process, and its calls that are over and claimed by none.
const CLAIMS_MAX: usize = 4_096;
/// A place is believed while whoever woke there was free to be the one at least so many times as often as not. A lock in a
/// process that does little else fits some fifty times as often as not, and is wrong about one call in twenty then.
const FIT: u32 = 200;

/// A call of a thread.
#[derive(Clone, Copy, Debug)]
struct Made {
    call: ExchangeId,
    start_ns: TimeNs,
    end_ns: Option<TimeNs>,
}

/// The latest calls of a thread, oldest first.
#[derive(Debug, Default)]
pub(super) struct Calls(VecDeque<Made>);

impl Calls {
    fn begun(&mut self, call: ExchangeId, start_ns: TimeNs) {
        if self.0.len() >= MADE_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Made {
            call,
            start_ns,
            end_ns: None,
        });
    }

    fn ended(&mut self, call: ExchangeId, end_ns: TimeNs) {
        if let Some(made) = self.0.iter_mut().rfind(|made| made.call == call) {
            made.end_ns = Some(end_ns);
        }
    }

    /// The last call begun before that moment.
    fn before(&self, time_ns: TimeNs) -> Option<&Made> {
        self.0.iter().rfind(|made| made.start_ns <= time_ns)
    }
}

/// How those who woke somebody at a place were seen.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// They had just had an answer that the woken one may have waited for.
    fit: u32,
    /// They served a request, waited for an answer, or had called before the request began.
    misfit: u32,
}

impl Place {
    fn is_believed(self) -> bool {
        self.fit >= FIT.saturating_mul(self.misfit)
    }

    /// That who woke was the one waited for. Whoever happens to wake misfits about every other time.
    fn probability(self) -> f32 {
        let (fit, misfit) = (self.fit as f32, self.misfit as f32);
        0.998 - 2.0 * misfit / (fit + misfit)
    }
}

/// A request whose thread waited for the answer to a call, as a place says.
#[derive(Clone, Copy, Debug)]
struct Claim {
    request: ExchangeId,
    place: u32,
}

/// What is known of a process's wake-ups.
#[derive(Default)]
pub(super) struct Wakes {
    places: FxHashMap<u32, Place>,
    claims: FxHashMap<ExchangeId, SmallVec<[Claim; 2]>>,
    /// Calls that are over and not settled, with their ends, oldest first.
    over: VecDeque<(ExchangeId, TimeNs)>,
}

impl Wakes {
    fn place(&mut self, place: u32) -> &mut Place {
        if self.places.len() >= PLACES_MAX && !self.places.contains_key(&place) {
            // Those of locks made for the moment go; what has misled stays known.
            self.places.retain(|_, known| !known.is_believed());
            if self.places.len() >= PLACES_MAX {
                self.places.clear();
            }
        }
        self.places.entry(place).or_default()
    }

    /// Calls that are over and not settled.
    pub(super) fn over(&self) -> impl Iterator<Item = ExchangeId> {
        self.over.iter().map(|(call, _)| *call)
    }

    /// Who has waited for the call's answer, and how probable that is, if it is one request.
    fn take(&mut self, call: ExchangeId) -> Option<(ExchangeId, f32)> {
        let claims = self.claims.remove(&call)?;
        let believed = claims.iter().filter_map(|claim| {
            let place = self.places.get(&claim.place)?;
            place.is_believed().then(|| (claim.request, place.probability()))
        });
        let mut found: Option<(ExchangeId, f32)> = None;
        for (request, probability) in believed {
            match &mut found {
                None => found = Some((request, probability)),
                Some((other, most)) if *other == request => *most = most.max(probability),
                Some(_) => return None,
            }
        }
        found
    }
}

impl Linker {
    /// Processes whose threads' wake-ups are wanted from now on.
    pub fn take_wakes_wanted(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.wakes_wanted)
    }

    /// Whether it should be told which of the process's threads wake which.
    pub fn wants_wakes(&self, pid: u32) -> bool {
        self.processes
            .get(&pid)
            .is_some_and(|process| process.wakes.is_some())
    }

    /// A thread that serves nothing has made a call: from now on wake-ups are wanted.
    pub(super) fn want_wakes(&mut self, pid: u32) {
        let wakes = &mut self.process(pid).wakes;
        if wakes.is_none() {
            *wakes = Some(Box::default());
            self.wakes_wanted.push(pid);
        }
    }

    /// A call begins.
    pub(super) fn note_call(&mut self, call: ExchangeId, actor: Actor, time_ns: TimeNs) {
        if self.process(actor.pid).wakes.is_some() {
            self.thread(actor, time_ns).made.begun(call, time_ns);
        }
    }

    /// Its answer was read. `unclaimed`: nobody has said for whom it was made.
    pub(super) fn note_answer(&mut self, call: ExchangeId, actor: Actor, time_ns: TimeNs, unclaimed: bool) {
        let Some(wakes) = wakes_of(&mut self.processes, actor.pid) else {
            return;
        };
        let mut surplus = None;
        if unclaimed {
            wakes.over.push_back((call, time_ns));
            if wakes.over.len() > CLAIMS_MAX {
                surplus = wakes.over.pop_front();
            }
        }
        self.thread(actor, time_ns).made.ended(call, time_ns);
        if let Some((call, _)) = surplus {
            self.settle_bystander(call, actor.pid);
        }
    }

    /// Who woke the thread since it last wrote; it is about to write again.
    pub fn woken(&mut self, woken: &Woken) {
        let worker = |tid: u32| Worker {
            pid: woken.pid,
            id: u64::from(tid),
        };
        let Some([request]) = self.threads.get(worker(woken.tid)).map(|work| &work.open[..]) else {
            return;
        };
        let request = *request;
        let Some(since_ns) = self.exchanges.get(&request).map(|request| request.time_ns) else {
            return;
        };
        let Some(wakes) = wakes_of(&mut self.processes, woken.pid) else {
            return;
        };
        let of_request = |wake: &&Wake| wake.waker != 0 && wake.time_ns >= since_ns;
        for wake in woken.wakes.iter().filter(of_request) {
            let Some(work) = self.threads.get(worker(wake.waker)) else {
                continue;
            };
            let answered = match work.made.before(wake.time_ns) {
                _ if !work.open.is_empty() => None,
                // It has made no call: nothing follows.
                None => continue,
                Some(made) if made.start_ns < since_ns => None,
                Some(made) => made
                    .end_ns
                    .filter(|end_ns| *end_ns <= wake.time_ns)
                    .map(|_| made.call),
            };
            let place = wakes.place(wake.place);
            let Some(call) = answered else {
                place.misfit = place.misfit.saturating_add(1);
                continue;
            };
            place.fit = place.fit.saturating_add(1);
            let waits = self
                .exchanges
                .get(&call)
                .is_some_and(|call| call.bystands && call.parent == Parent::Undecided);
            if waits && wakes.claims.len() < CLAIMS_MAX {
                let claims = wakes.claims.entry(call).or_default();
                let place = wake.place;
                if claims.len() < CLAIMS_OF_CALL {
                    claims.push(Claim { request, place });
                }
            }
        }
    }

    /// A request is over: calls that nobody else is left to claim are settled.
    pub(super) fn settle_claims(&mut self, request: ExchangeId, pid: u32) {
        let Some(process) = self.processes.get(&pid).filter(|process| process.wakes.is_some()) else {
            return;
        };
        let open = process.open.iter().filter(|open| **open != request);
        let oldest_ns = open
            .filter_map(|open| self.exchanges.get(open))
            .map(|open| open.time_ns)
            .min();
        self.settle_ended_before(pid, oldest_ns.unwrap_or(TimeNs::MAX));
    }

    /// Calls that have waited for a claim long enough: some request stays open very long.
    pub(super) fn settle_overdue_claims(&mut self, now_ns: TimeNs) {
        let before_ns = now_ns.saturating_sub(CLAIM_WAIT_NS);
        let due = |wakes: &Wakes| wakes.over.front().is_some_and(|(_, end_ns)| *end_ns < before_ns);
        let processes = self.processes.iter();
        let due = processes.filter(|(_, process)| process.wakes.as_deref().is_some_and(due));
        for pid in due.map(|(pid, _)| *pid).collect::<Vec<_>>() {
            self.settle_ended_before(pid, before_ns);
        }
    }

    fn settle_ended_before(&mut self, pid: u32, time_ns: TimeNs) {
        loop {
            let wakes = wakes_of(&mut self.processes, pid);
            let due = wakes.and_then(|wakes| wakes.over.pop_front_if(|(_, end_ns)| *end_ns < time_ns));
            let Some((call, _)) = due else { return };
            self.settle_bystander(call, pid);
        }
    }

    /// It belongs to the request that has waited for it; if that is not known, times may tell.
    fn settle_bystander(&mut self, call: ExchangeId, pid: u32) {
        let wakes = wakes_of(&mut self.processes, pid);
        let found = wakes.and_then(|wakes| wakes.take(call));
        let undecided = |call: &&Exchange| call.parent == Parent::Undecided && !call.decided;
        if self.exchanges.get(&call).filter(undecided).is_none() {
            return;
        }
        if let Some((request, probability)) = found {
            self.set_parent(call, Link::inferred(request, Method::Handoff, probability));
        }
        self.tell_inference(call);
    }
}

/// What is known of the process's wake-ups, where they were wanted.
fn wakes_of(processes: &mut Table<u32, Process>, pid: u32) -> Option<&mut Wakes> {
    processes.get_mut(&pid)?.wakes.as_deref_mut()
}

/// How long a call may wait for somebody to claim it.
const CLAIM_WAIT_NS: u64 = 2_000_000_000;
/// Claims of one call: with more than one it is nobody's for sure anyway.
const CLAIMS_OF_CALL: usize = 4;

#[cfg(test)]
impl Linker {
    /// Claims and calls that wait for one; calls remembered of a thread at most.
    pub(super) fn wakes_held(&self, pid: u32) -> (usize, usize) {
        let wakes = self
            .processes
            .get(&pid)
            .and_then(|process| process.wakes.as_deref());
        let held = wakes.map_or(0, |wakes| wakes.claims.len() + wakes.over.len());
        (held, self.threads.most(|work| work.made.0.len()))
    }
}
