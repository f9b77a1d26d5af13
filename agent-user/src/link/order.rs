//! Order: whose turn it is to make a call of some name, in processes that take up work in the order in which they read it
//! (queues before pools of threads, loops that read first and act later).
//!
//! Enters: what each request has waited for (itself, or the answer to a call of it), calls that were placed, calls to be
//! placed. Leaves: the request that waits longest for such a call, which is a hint and never more. Bounded: requests that
//! wait, kinds of waiting, names for each. Deliberately absent: times; turns of
//! a loop are counted instead: what waits for more of them is overtaken by what waits for fewer.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};
use smallvec::SmallVec;

use super::ExchangeId;

/// What making a connection is called in an order. No call has such a name.
pub(super) const CONNECTS: &str = "\0connects";

const WAITING_MAX: usize = 512;
const KINDS_MAX: usize = 1_024;
const NAMES_MAX: usize = 8;
/// Calls of a name that must have followed before more are expected, and how often of the request's most usual call.
const SEEN_MIN: u32 = 3;
const SHARE: u32 = 5;
/// What takes longer than this waits for others than the loop (a connection), and comes in the order in which it began.
const LAG_MAX: f32 = 1.5;
/// Weight of a new observation of a lag.
const LAG_WEIGHT: f32 = 0.05;

/// What a request waits for: the name of the request, of the call that was answered last, and how many were before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    request: u64,
    step: u64,
}

impl Kind {
    pub(super) fn of(request: &str, answered: &str, before: usize) -> Self {
        Self {
            request: hash(&request),
            step: hash(&(answered, before)),
        }
    }
}

struct Waiting {
    request: ExchangeId,
    kind: Kind,
    turn: u32,
    lane: u64,
    /// Names of the calls it has made since.
    made: Vec<u64>,
}

/// A call that follows upon a kind of waiting.
struct Follow {
    name: u64,
    seen: u32,
    /// How many turns of the loop later, on average.
    lag: f32,
}

#[derive(Default)]
pub(super) struct Order {
    /// Longest waiting first.
    waiting: VecDeque<Waiting>,
    follows: FxHashMap<Kind, Vec<Follow>>,
    /// How often the most usual call of a request of that name was seen.
    most: FxHashMap<u64, u32>,
}

impl Order {
    /// `turn` counts a loop's turns; 0 where the work goes to other threads. Requests of different lanes do not wait for each
    /// other: threads that do all they do for a request themselves.
    pub(super) fn waits(&mut self, request: ExchangeId, kind: Kind, turn: u32, lane: u64) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        let made = Vec::new();
        self.waiting.push_back(Waiting {
            request,
            kind,
            turn,
            lane,
            made,
        });
    }

    /// A call of this name followed upon that kind of waiting, so many turns later.
    pub(super) fn learn(&mut self, kind: Kind, call: &str, turns: u32) {
        if self.follows.len() >= KINDS_MAX && !self.follows.contains_key(&kind) {
            return;
        }
        let calls = self.follows.entry(kind).or_default();
        let name = hash(&call);
        let at = match calls.iter().position(|follow| follow.name == name) {
            Some(at) => at,
            None if calls.len() < NAMES_MAX => {
                let lag = turns as f32;
                calls.push(Follow { name, seen: 0, lag });
                calls.len() - 1
            }
            None => return,
        };
        let follow = &mut calls[at];
        follow.seen = follow.seen.saturating_add(1);
        follow.lag += (turns as f32 - follow.lag) * LAG_WEIGHT;
        let count = follow.seen;
        let most = self.most.entry(kind.request).or_default();
        *most = (*most).max(count);
    }

    /// Whether calls mostly follow upon what the request waits for now; `None` where no request like it was learned from.
    pub(super) fn expects_call(&self, request: ExchangeId) -> Option<bool> {
        let waiting = self.waiting.iter().rfind(|waiting| waiting.request == request)?;
        self.most.get(&waiting.kind.request)?;
        Some(self.expected_of(waiting).next().is_some())
    }

    /// What follows upon such waiting and was not done yet.
    fn expected_of(&self, waiting: &Waiting) -> impl Iterator<Item = &Follow> {
        let most = self.most.get(&waiting.kind.request).copied().unwrap_or(0);
        let follows = self.follows.get(&waiting.kind).map_or(&[][..], |follows| follows);
        follows.iter().filter(move |follow| {
            let expected = follow.seen >= SEEN_MIN && follow.seen.saturating_mul(SHARE) >= most;
            expected && !waiting.made.contains(&follow.name)
        })
    }

    /// The request whose turn it is to make such a call, and the one whose turn it is then.
    pub(super) fn turn(&self, call: &str, lane: u64) -> Option<(ExchangeId, Option<ExchangeId>)> {
        let name = hash(&call);
        let due = |waiting: &Waiting| {
            if waiting.lane != lane {
                return None;
            }
            let follow = self.expected_of(waiting).find(|follow| follow.name == name)?;
            Some(waiting.turn as f32 + follow.lag.min(LAG_MAX))
        };
        let mut first: Option<(f32, ExchangeId)> = None;
        let mut second: Option<(f32, ExchangeId)> = None;
        for waiting in &self.waiting {
            let Some(due) = due(waiting) else { continue };
            let (place, request) = ((due, waiting.request), waiting.request);
            match first {
                Some((least, one)) if due >= least => {
                    if one != request && second.is_none_or(|(next, _)| due < next) {
                        second = Some(place);
                    }
                }
                before => {
                    second = before.filter(|(_, one)| *one != request).or(second);
                    first = Some(place);
                }
            }
        }
        let (_, first) = first?;
        Some((first, second.map(|(_, second)| second)))
    }

    /// The request connects for a call, which is then made on that connection: where only one call can follow, it is not
    /// expected elsewhere any more.
    pub(super) fn connects(&mut self, request: ExchangeId) {
        self.made(request, CONNECTS);
        let connects = hash(&CONNECTS);
        let at = self.waiting.iter().position(|waiting| waiting.request == request);
        let Some(at) = at.filter(|at| self.waiting[*at].made.len() < NAMES_MAX) else {
            return;
        };
        let calls = self.expected_of(&self.waiting[at]).map(|follow| follow.name);
        let calls: SmallVec<[u64; NAMES_MAX]> = calls.filter(|name| *name != connects).collect();
        if let [only] = calls[..] {
            self.waiting[at].made.push(only);
        }
    }

    /// The request has made such a call.
    pub(super) fn made(&mut self, request: ExchangeId, call: &str) {
        let name = hash(&call);
        let mut waiting = self.waiting.iter_mut().filter(|one| one.request == request);
        if let Some(waiting) = waiting.find(|one| !one.made.contains(&name) && one.made.len() < NAMES_MAX) {
            waiting.made.push(name);
        }
    }

    /// The request is answered: it makes no more calls.
    pub(super) fn answered(&mut self, request: ExchangeId) {
        self.waiting.retain(|waiting| waiting.request != request);
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Order {
        /// Whose turn it is makes the call.
        fn take(&mut self, call: &str, lane: u64) -> Option<ExchangeId> {
            let (next, _) = self.turn(call, lane)?;
            self.made(next, call);
            Some(next)
        }
    }

    #[test]
    fn the_one_that_waits_longest_for_such_a_call_has_its_turn() {
        let mut order = Order::default();
        let page = Kind::of("GET /page/#", "", 0);
        let priced = Kind::of("GET /page/#", "GET /stock/#", 1);
        let other = Kind::of("GET /other", "", 0);
        for _ in 0..3 {
            order.learn(page, "GET /stock/#", 0);
            order.learn(priced, "GET /price/#", 0);
        }
        order.waits(ExchangeId(1), other, 0, 0);
        order.waits(ExchangeId(2), page, 0, 0);
        order.waits(ExchangeId(3), page, 0, 0);
        order.waits(ExchangeId(2), priced, 0, 0);
        assert_eq!(order.take("GET /stock/#", 0), Some(ExchangeId(2)));
        assert_eq!(order.take("GET /stock/#", 0), Some(ExchangeId(3)));
        assert_eq!(order.take("GET /stock/#", 0), None);
        assert_eq!(order.take("GET /price/#", 0), Some(ExchangeId(2)));
        order.waits(ExchangeId(4), page, 0, 0);
        order.answered(ExchangeId(4));
        assert_eq!(order.take("GET /stock/#", 0), None);
    }

    #[test]
    fn the_next_in_order_is_another_request() {
        let mut order = Order::default();
        let page = Kind::of("GET /page/#", "", 0);
        (0..3).for_each(|_| order.learn(page, "GET /stock/#", 0));
        assert_eq!(order.turn("GET /stock/#", 0), None);
        order.waits(ExchangeId(1), page, 2, 0);
        assert_eq!(order.turn("GET /stock/#", 0), Some((ExchangeId(1), None)));
        order.waits(ExchangeId(1), page, 3, 0);
        order.waits(ExchangeId(2), page, 4, 0);
        let both = Some((ExchangeId(1), Some(ExchangeId(2))));
        assert_eq!(order.turn("GET /stock/#", 0), both);
        order.waits(ExchangeId(3), page, 1, 0);
        let both = Some((ExchangeId(3), Some(ExchangeId(1))));
        assert_eq!(order.turn("GET /stock/#", 0), both);
    }

    #[test]
    fn a_call_seen_too_rarely_is_not_expected_and_tables_are_bounded() {
        let mut order = Order::default();
        let page = Kind::of("GET /page/#", "", 0);
        (0..100).for_each(|_| order.learn(page, "GET /stock/#", 0));
        (0..3).for_each(|_| order.learn(page, "GET /rare/#", 0));
        order.waits(ExchangeId(1), page, 0, 0);
        assert_eq!(order.take("GET /rare/#", 0), None);
        for number in 0..5_000 {
            order.waits(ExchangeId(number), page, 0, 0);
            order.learn(Kind::of("GET /page/#", "x", number as usize), "GET /stock/#", 0);
            order.learn(page, &number.to_string(), 0);
        }
        assert!(order.waiting.len() <= WAITING_MAX && order.follows.len() <= KINDS_MAX);
        assert!(order.follows.values().all(|calls| calls.len() <= NAMES_MAX));
    }

    #[test]
    fn what_takes_more_turns_of_the_loop_is_overtaken() {
        let mut order = Order::default();
        let (direct, by_task) = (Kind::of("GET /direct", "", 0), Kind::of("GET /by-task", "", 0));
        for _ in 0..3 {
            order.learn(direct, "GET /stock/#", 0);
            order.learn(by_task, "GET /stock/#", 1);
        }
        order.waits(ExchangeId(1), by_task, 7, 0);
        order.waits(ExchangeId(2), direct, 7, 0);
        order.waits(ExchangeId(3), direct, 8, 0);
        let turns: Vec<_> = (0..3).map(|_| order.take("GET /stock/#", 0)).collect();
        assert_eq!(turns, [2, 1, 3].map(|id| Some(ExchangeId(id))));
    }

    #[test]
    fn whoever_connects_for_its_only_call_makes_it_there() {
        let mut order = Order::default();
        let page = Kind::of("GET /page/#", "", 0);
        (0..3).for_each(|_| order.learn(page, "GET /stock/#", 0));
        (0..3).for_each(|_| order.learn(page, CONNECTS, 0));
        (1..=3).for_each(|id| order.waits(ExchangeId(id), page, 0, 0));
        assert_eq!(order.expects_call(ExchangeId(1)), Some(true));
        order.connects(ExchangeId(1));
        assert_eq!(order.expects_call(ExchangeId(1)), Some(false));
        assert_eq!(order.expects_call(ExchangeId(9)), None);
        assert_eq!(order.take("GET /stock/#", 0), Some(ExchangeId(2)));
        assert_eq!(order.take(CONNECTS, 0), Some(ExchangeId(2)));
        // Of two calls that may follow it is not known for which one it connects.
        (0..3).for_each(|_| order.learn(page, "GET /price/#", 0));
        order.connects(ExchangeId(3));
        assert_eq!(order.take("GET /stock/#", 0), Some(ExchangeId(3)));
    }

    #[test]
    fn threads_that_keep_their_requests_do_not_wait_for_each_other() {
        let mut order = Order::default();
        let page = Kind::of("GET /page/#", "", 0);
        (0..3).for_each(|_| order.learn(page, "GET /stock/#", 0));
        order.waits(ExchangeId(1), page, 0, 8);
        order.waits(ExchangeId(2), page, 0, 9);
        assert_eq!(order.take("GET /stock/#", 9), Some(ExchangeId(2)));
        assert_eq!(order.take("GET /stock/#", 9), None);
        assert_eq!(order.take("GET /stock/#", 8), Some(ExchangeId(1)));
    }
}
