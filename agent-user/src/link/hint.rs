//! Hints: what order, or the turn of a loop, says of a call that nothing surer places; and inference, which is told.
//!
//! Enters: calls nothing surer places, with the request of the loop's turn; calls that are over. Leaves: the hinted request,
//! and whether the hint came true, as far as that shows: a request made a call as long as it is open when the call is over.
//! Deliberately absent: how far to believe a hint; inference counts that.

use super::connecting::Cause;
use super::inference::{FinishedCall, Hint};
use super::linker::Linker;
use super::order::CONNECTS;
use super::record::{Exchange, Parent};
use super::segment::Current;
use super::thread::Worker;
use super::{ExchangeId, Method, Seen};
use crate::event::{Actor, TimeNs};

/// Two ways to tell whose turn it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pointed {
    /// By the turn of the thread's loop.
    pub(super) turn: Option<ExchangeId>,
    pub(super) pace: Pace,
    /// Whom a turn that is wrong may point at as well: the request that the thread worked for before.
    pub(super) before: Option<ExchangeId>,
    /// The call whose answer that read was.
    pub(super) follows: Option<ExchangeId>,
    /// By the order in which work was read, and the next one in it.
    pub(super) order: Option<ExchangeId>,
    pub(super) order_then: Option<ExchangeId>,
}

/// How a thread acted upon what it read: how soon, whether it had read anything else, and whether it had acted upon it before.
/// Between a read and an act much later the thread has mostly waited, and does what something else has set off. And whether the
/// act was to connect: pools of connections may let another request have what was made for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace(u8);

/// Up to these times between read and act they count apart.
const PACES_NS: [u64; 2] = [100_000, 1_000_000];

/// From these numbers on: to connect; and for one call only.
const CONNECTS_FROM: u8 = 9;
const CLOSED_FROM: u8 = 18;

impl Pace {
    fn of(current: &Current, connects: bool, now_ns: TimeNs) -> Self {
        let waited_ns = now_ns.saturating_sub(current.read.time_ns);
        let class = PACES_NS.iter().filter(|least| waited_ns > **least).count();
        let how = match (current.read.fresh, current.alone) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        };
        let how = class as u8 * 3 + how;
        Self(if connects { how + CONNECTS_FROM } else { how })
    }

    /// The act was to connect.
    pub(super) fn connects(self) -> bool {
        self.0 >= CONNECTS_FROM
    }

    /// The act was to connect, and whether a pool has the connection is not known.
    pub(super) fn may_be_pooled(self) -> bool {
        (CONNECTS_FROM..CLOSED_FROM).contains(&self.0)
    }

    /// The connection had one call and no other, so no pool had it.
    fn closed(self) -> Self {
        match self.0 {
            pace @ CONNECTS_FROM..CLOSED_FROM => Self(pace + CLOSED_FROM - CONNECTS_FROM),
            pace => Self(pace),
        }
    }
}

/// What points at a request; how often each is right is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    Order,
    /// It is answered right after the call was, by the same thread, which had read nothing else (`alone`) or had.
    Answer {
        alone: bool,
    },
    /// A call of it was made right after the call was answered, or a connection for one begun.
    Chain {
        connects: bool,
    },
    Turn(Pace),
}

impl Witness {
    fn kind(self) -> usize {
        match self {
            Self::Order => 0,
            Self::Chain { connects } => 1 + usize::from(connects),
            Self::Answer { alone } => 3 + usize::from(alone),
            Self::Turn(Pace(pace)) => 5 + usize::from(pace),
        }
    }

    /// Turns are expected to be alike, but where a pool may have given a connection away.
    fn family(self) -> usize {
        match self {
            Self::Turn(Pace(CONNECTS_FROM..CLOSED_FROM)) => 6,
            Self::Turn(_) => 5,
            _ => self.kind(),
        }
    }

    /// What to think before any was tested. A thread that reads one thing and then writes one leaves little room for chance.
    fn expected_wrong(self) -> f32 {
        match self {
            Self::Answer { alone: true } => 0.005,
            _ => 0.05,
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
    pub(super) fn by_turn(current: Option<Current>, connects: bool, now_ns: TimeNs) -> Self {
        current.map_or(Self::default(), |current| Self {
            turn: current.read.owner,
            pace: Pace::of(&current, connects, now_ns),
            before: current.before,
            follows: current.read.answers.filter(|_| current.read.fresh),
            order: None,
            order_then: None,
        })
    }

    /// And by the order of work: whose turn it is, and whose then.
    pub(super) fn in_order(self, next: Option<(ExchangeId, Option<ExchangeId>)>) -> Self {
        Self {
            order: next.map(|(first, _)| first),
            order_then: next.and_then(|(_, second)| second),
            ..self
        }
    }

    pub(super) fn witnesses(&self) -> impl Iterator<Item = (ExchangeId, Witness)> + use<> {
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
                (turn.in_order(order), false)
            }
        };
        let better = self.better(pointed, seen.actor);
        let others = self.others(seen.actor);
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
        let others = self.others(actor);
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
    fn candidates(&self, actor: Actor) -> &[ExchangeId] {
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

    /// How many requests might be pointed at besides the right one.
    pub(super) fn others(&self, actor: Actor) -> usize {
        self.candidates(actor).len().saturating_sub(1)
    }

    /// How many of the candidates began before that moment.
    fn candidates_since(&self, actor: Actor, before_ns: TimeNs) -> usize {
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

    /// The call is over: a request that was answered before has hardly made it.
    pub(super) fn test_hint(&mut self, id: ExchangeId) {
        let Some(call) = self.exchanges.get(&id) else {
            return;
        };
        let (actor, others, pointed) = (call.actor, call.hint_others, call.pointed);
        if others == 0 {
            return;
        }
        let left = self.candidates_since(actor, call.time_ns);
        for (request, by) in pointed.witnesses() {
            // Whether a pool had the connection is not known yet.
            if matches!(by, Witness::Turn(pace) if pace.connects()) {
                continue;
            }
            let one = self.exchanges.get(&request);
            let came_true = one.is_some_and(|request| request.end_ns.is_none());
            let others_left = left.saturating_sub(usize::from(came_true)) as f32;
            let near = match by {
                Witness::Order => pointed.order_then,
                _ => pointed.before,
            };
            let strength = match near {
                // A hint that is wrong points at one nearly due as well, which is open longer than others.
                Some(before) if self.is_open(before) => 0.0,
                Some(_) => 1.0,
                _ => (1.0 - others_left / others as f32).max(0.0),
            };
            let hint = hint(request, by, others as usize);
            self.inferring.hint_tested(actor.pid, &hint, came_true, strength);
        }
    }

    /// The connection that was made for this call is closed and had no other one.
    pub(super) fn closed_after(&mut self, call: ExchangeId) {
        let Some(exchange) = self.exchanges.get_mut(&call) else {
            return;
        };
        let before = exchange.pointed.pace;
        let pace = before.closed();
        exchange.pointed.pace = pace;
        if let Some((_, Witness::Turn(known))) = &mut exchange.hint {
            *known = pace;
        }
        if let Some(request) = exchange.pointed.turn.filter(|_| pace != before) {
            let pointed = hint(request, Witness::Turn(pace), exchange.hint_others as usize);
            let kind = Witness::Turn(before).kind();
            self.inferring
                .call_pointed(exchange.actor.pid, call, kind, pointed);
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
        let pid = exchange.actor.pid;
        self.inferring.call_finished(pid, &call);
        let others = exchange.hint_others as usize;
        let mut witnesses = exchange.pointed.witnesses();
        let rival = witnesses.find(|witness| exchange.hint.is_some_and(|better| better != *witness));
        if let Some((request, by)) = rival.filter(|_| known.is_none()) {
            self.inferring
                .call_pointed_elsewhere(pid, id, hint(request, by, others));
        }
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
        family: by.family(),
        others,
        expected_wrong: by.expected_wrong(),
    }
}
