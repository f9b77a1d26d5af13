//! Threads that call for others, and who waits for them.

use super::*;
use crate::event::{Wake, Woken};

const PID: u32 = 70;
const FUTURE: u32 = 1 << 31;
const LOCK: u32 = FUTURE + 1;

fn serving(thread: u32) -> Actor {
    actor(PID, thread)
}

fn pooled(thread: u32) -> Actor {
    actor(PID, 100 + thread)
}

impl Bench {
    /// A process whose threads serve whole requests.
    fn with_pool() -> Self {
        let mut bench = Self::new();
        for thread in 1..4 {
            bench.serve(serving(thread), u64::from(thread));
        }
        bench
    }

    fn wakes(&mut self, waker: Actor, woken: Actor, place: u32) {
        self.now += 1000;
        let mut wakes = [Wake::default(); _];
        wakes[3] = Wake {
            time_ns: self.now,
            waker: waker.tid,
            before: 0,
            place,
        };
        self.linker.woken(&Woken {
            pid: woken.pid,
            tid: woken.tid,
            wakes,
        });
    }

    /// A call of a pool's thread from start to end.
    fn call_in_pool(&mut self, thread: u32) -> ExchangeId {
        let connection = 1_000 + u64::from(thread);
        let call = self.call(pooled(thread), connection);
        self.end(call, pooled(thread), connection, Side::Client);
        call
    }
}

#[test]
fn the_request_whose_thread_waits_for_the_answer_made_the_call() {
    let mut bench = Bench::with_pool();
    let first = bench.request(serving(1), 1);
    let second = bench.request(serving(2), 2);
    let connections = [(1, 1_001), (2, 1_002)];
    let calls = connections.map(|(thread, connection)| bench.call(pooled(thread), connection));
    assert_eq!(bench.linker.take_wakes_wanted(), [PID]);
    // The second request's is answered first.
    bench.end(calls[1], pooled(2), 1_002, Side::Client);
    bench.wakes(pooled(2), serving(2), FUTURE);
    bench.end(second, serving(2), 2, Side::Server);
    bench.end(calls[0], pooled(1), 1_001, Side::Client);
    bench.wakes(pooled(1), serving(1), FUTURE);
    bench.end(first, serving(1), 1, Side::Server);
    bench.decide();
    for (call, request) in calls.into_iter().zip([first, second]) {
        let found = (bench.span(request), Method::Handoff, Confidence::Inferred);
        assert_eq!(bench.parent(call), found);
    }
    assert!(bench.linker.take_wakes_wanted().is_empty(), "asked for once");
}

#[test]
fn a_lock_that_others_pass_on_says_nothing() {
    let mut bench = Bench::with_pool();
    let first = bench.request(serving(1), 1);
    let second = bench.request(serving(2), 2);
    let call = bench.call_in_pool(1);
    bench.wakes(pooled(1), serving(1), LOCK);
    // Who serves a request of its own has not worked for this one.
    bench.wakes(serving(2), serving(1), LOCK);
    bench.end(first, serving(1), 1, Side::Server);
    bench.end(second, serving(2), 2, Side::Server);
    bench.decide();
    assert_ne!(bench.parent(call).1, Method::Handoff);
}

#[test]
fn a_lock_that_seldom_shows_itself_says_nothing_either() {
    let mut bench = Bench::with_pool();
    let waited_for = |bench: &mut Bench, rounds: u64| {
        let ended = (0..rounds).map(|_| {
            let others = bench.request(serving(2), 2);
            let request = bench.request(serving(1), 1);
            let call = bench.call_in_pool(1);
            bench.wakes(pooled(1), serving(1), LOCK);
            bench.end(request, serving(1), 1, Side::Server);
            bench.end(others, serving(2), 2, Side::Server);
            (call, request)
        });
        ended.last()
    };
    let believed = waited_for(&mut bench, 60);
    // A thread that waits for an answer itself wakes there.
    let request = bench.request(serving(1), 1);
    let call = bench.call(pooled(1), 1_001);
    bench.wakes(pooled(1), serving(1), LOCK);
    bench.end(call, pooled(1), 1_001, Side::Client);
    bench.end(request, serving(1), 1, Side::Server);
    let doubted = waited_for(&mut bench, 1);
    bench.decide();
    let (call, request) = believed.unwrap();
    assert_eq!(bench.parent(call).0, bench.span(request));
    let (call, _) = doubted.unwrap();
    assert_ne!(bench.parent(call).1, Method::Handoff);
}

#[test]
fn an_answer_that_two_wait_for_is_given_to_neither() {
    let mut bench = Bench::with_pool();
    let requests = [1, 2].map(|thread| bench.request(serving(thread), u64::from(thread)));
    let call = bench.call_in_pool(1);
    bench.wakes(pooled(1), serving(1), FUTURE);
    bench.wakes(pooled(1), serving(2), FUTURE);
    for (thread, request) in (1..).zip(requests) {
        bench.end(request, serving(thread), u64::from(thread), Side::Server);
    }
    bench.decide();
    assert_ne!(bench.parent(call).1, Method::Handoff);
}

#[test]
fn a_call_is_settled_though_a_request_stays_open() {
    let mut bench = Bench::with_pool();
    let endless = bench.request(serving(3), 3);
    let request = bench.request(serving(1), 1);
    let call = bench.call_in_pool(1);
    bench.wakes(pooled(1), serving(1), FUTURE);
    bench.end(request, serving(1), 1, Side::Server);
    bench.decide_at(bench.now + 300 * MS);
    assert!(!bench.decisions.contains_key(&call), "the other may claim it yet");
    bench.decide_at(bench.now + 4_000 * MS);
    assert_eq!(bench.parent(call).0, bench.span(request));
    bench.end(endless, serving(3), 3, Side::Server);
    bench.decide();
}

#[test]
fn what_is_kept_of_wake_ups_is_bounded() {
    let mut bench = Bench::with_pool();
    let request = bench.request(serving(1), 1);
    let other = bench.request(serving(2), 2);
    for number in 0..20_000 {
        bench.call_in_pool(number % 7);
        bench.wakes(pooled(number % 7), serving(1), FUTURE + number);
    }
    let (held, calls) = bench.linker.wakes_held(PID);
    assert!(held <= 3 * 4_096 && calls <= 8, "{held} {calls}");
    bench.end(request, serving(1), 1, Side::Server);
    bench.end(other, serving(2), 2, Side::Server);
    bench.decide();
    assert_eq!(bench.linker.wakes_held(PID).0, 0);
}
