//! Hints: what order, or the turn of a loop, says of a call that nothing surer places; and inference, which is told.
//!
//! Enters: calls nothing surer places, with the request of the loop's turn; calls that are over. Leaves: the hinted request,
//! and whether the hint came true, as far as that shows: a request made a call as long as it is open when the call is over.
//! Deliberately absent: how far to believe a hint; inference counts that.

use super::connecting::Cause;
use super::handoff::CONNECTS;
use super::inference::{FinishedCall, Hint};
use super::ladder::Link;
use super::linker::Linker;
use super::record::{Exchange, Parent};
use super::segment::Read;
use super::thread::Worker;
use super::{ExchangeId, Method, Seen};
use crate::event::{Actor, TimeNs};

/// Two ways to tell whose turn it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pointed {
    /// By the turn of the thread's loop.
    pub(super) turn: Option<ExchangeId>,
    /// How soon after the read, and whether nothing else was done upon it.
    pub(super) pace: Pace,
    /// The call whose answer that read was.
    pub(super) follows: Option<ExchangeId>,
    /// By the order in which work was read.
    pub(super) order: Option<ExchangeId>,
}

/// How soon a thread acted upon what it read. Between a read and an act much later the thread has mostly waited, and does
/// what something else has set off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace(u8);

/// Up to these times between read and act they count apart.
const PACES_NS: [u64; 2] = [100_000, 1_000_000];

impl Pace {
    fn of(read: &Read, now_ns: TimeNs) -> Self {
        let waited_ns = now_ns.saturating_sub(read.time_ns);
        let class = PACES_NS.iter().filter(|least| waited_ns > **least).count();
        Self(class as u8 * 2 + u8::from(!read.fresh))
    }
}

/// What points at a request; how often each is right is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    Order,
    /// It is answered right after the call was, by the same thread.
    Answer,
    /// A call of it was made right after the call was answered.
    Chain,
    Turn(Pace),
}

impl Witness {
    fn kind(self) -> usize {
        match self {
            Self::Order => 0,
            Self::Answer => 1,
            Self::Chain => 2,
            Self::Turn(Pace(pace)) => 3 + usize::from(pace),
        }
    }

    pub(super) fn method(self) -> Method {
        match self {
            Self::Turn(_) => Method::Task,
            _ => Method::Handoff,
        }
    }
}

impl Pointed {
    /// By what the thread read, without the order of work.
    pub(super) fn by_turn(read: Option<&Read>, now_ns: TimeNs) -> Self {
        read.map_or(Self::default(), |read| Self {
            turn: read.owner,
            pace: Pace::of(read, now_ns),
            follows: read.answers.filter(|_| read.fresh),
            order: None,
        })
    }

    fn witnesses(&self) -> impl Iterator<Item = (ExchangeId, Witness)> {
        let turn = self.turn.map(|request| (request, Witness::Turn(self.pace)));
        let order = self.order.map(|request| (request, Witness::Order));
        turn.into_iter().chain(order)
    }
}

impl Linker {
    /// The call waits for inference, with a hint if there is any. `turn`: what the thread read, and whom that points at, where
    /// that is a request that is open.
    pub(super) fn hint(&mut self, seen: &Seen<'_>, turn: Pointed, cause: Option<Cause>) {
        let Some(call) = self.exchanges.get(&seen.id) else {
            return;
        };
        let name = call.name.clone();
        let (pointed, connected) = match cause {
            // What was said when it connected; the thread may work for somebody else by now.
            Some(Cause::Seen(begun)) => (begun.pointed, true),
            _ => {
                let order = self.next_in_order(&name, seen.actor);
                (Pointed { order, ..turn }, false)
            }
        };
        let better = self.better(pointed, seen.actor);
        let others = self.candidates(seen.actor).len().saturating_sub(1);
        if let Some((request, _)) = better {
            self.made(request, &name, seen.actor.pid);
            if !connected {
                self.made(request, CONNECTS, seen.actor.pid);
            }
        }
        if let Some(exchange) = self.exchanges.get_mut(&seen.id) {
            exchange.pointed = pointed;
            exchange.hint_others = others as u32;
            exchange.hint = better;
        }
        self.infer(seen);
    }

    /// The one of two that has come true more often; where nothing is known, a loop that acts at once tells by its turn.
    pub(super) fn better(&mut self, pointed: Pointed, actor: Actor) -> Option<(ExchangeId, Witness)> {
        let queue = self.process(actor.pid).turns.queue();
        let others = self.candidates(actor).len().saturating_sub(1);
        let believed = pointed.witnesses().map(|(request, by)| {
            let odds = self
                .inferring
                .hint_log_odds(actor.pid, &hint(request, by, others));
            let preferred = queue == (by == Witness::Order);
            (odds, preferred, request, by)
        });
        let most = believed.max_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
        most.map(|(_, _, request, by)| (request, by))
    }

    /// Requests that what the thread does may be done for, about in the order in which they began.
    pub(super) fn candidates(&self, actor: Actor) -> &[ExchangeId] {
        let Some(process) = self.processes.get(&actor.pid) else {
            return &[];
        };
        match process.keeps_threads() {
            true => self
                .threads
                .get(Worker::thread(actor))
                .map_or(&[], |work| &work.open),
            false => &process.open,
        }
    }

    /// How many of them began before that moment.
    pub(super) fn candidates_since(&self, actor: Actor, before_ns: TimeNs) -> usize {
        let old = |id: &&ExchangeId| {
            self.exchanges
                .get(id)
                .is_some_and(|request| request.time_ns <= before_ns)
        };
        self.candidates(actor).iter().take_while(old).count()
    }

    /// Leaves the call's parent to inference.
    pub(super) fn infer(&mut self, seen: &Seen<'_>) {
        let pid = seen.actor.pid;
        if self.inferring.need(pid, seen.time_ns) {
            let open = self.processes.get(&pid).map_or(&[][..], |process| &process.open);
            for id in open {
                if let Some(request) = self.exchanges.get(id) {
                    self.inferring
                        .request_seen(pid, *id, &request.name, request.time_ns);
                }
            }
        }
    }

    /// The call is over: a request that was answered before has hardly made it. One that was not has, where such hints have
    /// proven right.
    pub(super) fn test_hint(&mut self, id: ExchangeId) {
        let Some(call) = self.exchanges.get(&id) else {
            return;
        };
        let chosen = call.hint.filter(|_| call.parent == Parent::Undecided);
        let (actor, others, pointed) = (call.actor, call.hint_others, call.pointed);
        if others == 0 {
            return;
        }
        let left = self.candidates_since(actor, call.time_ns);
        for (request, by) in pointed.witnesses() {
            let one = self.exchanges.get(&request);
            let came_true = one.is_some_and(|request| request.end_ns.is_none());
            let others_left = left.saturating_sub(usize::from(came_true)) as f32;
            let strength = (1.0 - others_left / others as f32).max(0.0);
            let hint = hint(request, by, others as usize);
            self.inferring.hint_tested(actor.pid, &hint, came_true, strength);
        }
        if let Some((request, by)) = chosen
            && self.is_open(request)
            && let Some(probability) = self
                .inferring
                .hint_proven(actor.pid, &hint(request, by, others as usize))
        {
            self.set_parent(id, Link::inferred(request, by.method(), probability));
            self.placed(id, request);
        }
    }

    /// A call that is over, with its request where that is known; one that is nobody's for certain is left out.
    pub(super) fn tell_inference(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(&id) else {
            return;
        };
        let known = match exchange.parent {
            Parent::Exchange(parent) => Some(parent.0),
            Parent::Undecided => None,
            Parent::None | Parent::Remote { .. } => return,
        };
        let call = FinishedCall {
            id: id.0,
            name: &exchange.name,
            start_ns: exchange.time_ns as i64,
            end_ns: exchange.end_ns.unwrap_or(exchange.time_ns) as i64,
            known,
            hint: hint_of(exchange),
        };
        self.inferring.call_finished(exchange.actor.pid, &call);
    }
}

fn hint_of(call: &Exchange) -> Option<Hint> {
    let others = call.hint_others as usize;
    call.hint.map(|(request, by)| hint(request, by, others))
}

pub(super) fn hint(request: ExchangeId, by: Witness, others: usize) -> Hint {
    Hint {
        request: request.0,
        kind: by.kind(),
        others,
    }
}
