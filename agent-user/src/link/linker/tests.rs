mod answering;
mod bounds;
mod headers;
mod loops;
mod multiplexing;
mod tasks;
mod turns;
mod waking;

use rustc_hash::FxHashMap;

use spanhound_common::record::ROUTINE_VIRTUAL_THREAD;

use super::*;
use crate::event::SequencePair;
use crate::protocol::PropagatedContext;

const MS: u64 = 1_000_000;

/// Drives a linker with events in time order.
struct Bench {
    linker: Linker,
    now: u64,
    next: u64,
    decisions: FxHashMap<ExchangeId, Decision>,
}

fn actor(pid: u32, tid: u32) -> Actor {
    Actor {
        pid,
        tid,
        ..Actor::default()
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self {
            linker: Linker::new(limits, 7),
            now: 1,
            next: 1,
            decisions: FxHashMap::default(),
        }
    }

    fn see<'a>(
        &mut self,
        side: Side,
        actor: Actor,
        connection: u64,
        change: impl FnOnce(&mut Seen<'a>),
    ) -> ExchangeId {
        self.now += 1000;
        let id = ExchangeId(self.next);
        self.next += 1;
        let connection = ConnectionId(connection);
        let mut seen = Seen {
            id,
            side,
            actor,
            connection,
            time_ns: self.now,
            sequence: None,
            position: None,
            client_address: None,
            server_address: None,
            network_namespace: 0,
            stream_id: 0,
            context: None,
            operation: "",
            target: "",
        };
        change(&mut seen);
        self.linker
            .touched(connection, actor, side == Side::Server, self.now);
        self.linker.seen(&seen);
        id
    }

    fn request(&mut self, actor: Actor, connection: u64) -> ExchangeId {
        self.see(Side::Server, actor, connection, |_| {})
    }

    fn call(&mut self, actor: Actor, connection: u64) -> ExchangeId {
        self.see(Side::Client, actor, connection, |_| {})
    }

    fn end(&mut self, id: ExchangeId, actor: Actor, connection: u64, side: Side) {
        self.now += 1000;
        self.linker
            .touched(ConnectionId(connection), actor, side == Side::Client, self.now);
        self.linker.finished(id, self.now, actor);
    }

    /// A request with one call, start to end, on one thread.
    fn serve(&mut self, actor: Actor, connection: u64) {
        let request = self.request(actor, connection);
        let call = self.call(actor, connection + 10_000);
        self.end(call, actor, connection + 10_000, Side::Client);
        self.end(request, actor, connection, Side::Server);
    }

    fn decide(&mut self) {
        let mut out = Vec::new();
        self.linker.flush(&mut out);
        self.note(out);
    }

    /// Answers how many decisions fell.
    fn decide_at(&mut self, now_ns: u64) -> usize {
        let mut out = Vec::new();
        self.linker.decide(now_ns, &mut out);
        let count = out.len();
        self.note(out);
        count
    }

    fn note(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            assert!(
                self.decisions.insert(decision.id, decision).is_none(),
                "decided twice"
            );
        }
    }

    fn parent(&self, id: ExchangeId) -> (u64, Method, Confidence) {
        let decision = self.decisions[&id];
        (decision.parent_span_id, decision.method, decision.confidence)
    }

    fn span(&self, id: ExchangeId) -> u64 {
        self.decisions[&id].span_id
    }
}

#[test]
fn a_thread_that_serves_one_request_at_a_time_is_exact_once_it_is_trusted() {
    let mut bench = Bench::new();
    let worker = actor(10, 11);
    for connection in 0..3 {
        bench.serve(worker, connection);
    }
    let request = bench.request(worker, 50);
    let other = bench.request(actor(10, 12), 51);
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let call = bench.call(worker, 60);
            bench.end(call, worker, 60, Side::Client);
            call
        })
        .collect();
    bench.end(request, worker, 50, Side::Server);
    bench.end(other, actor(10, 12), 51, Side::Server);
    bench.decide();
    for call in calls {
        assert_eq!(
            bench.parent(call),
            (bench.span(request), Method::Thread, Confidence::Exact)
        );
        assert_eq!(
            bench.decisions[&call].trace_id,
            bench.decisions[&request].trace_id
        );
    }
    assert_eq!(bench.parent(other).1, Method::None);
}

#[test]
fn a_thread_that_does_two_things_at_once_is_never_exact() {
    let mut bench = Bench::new();
    let worker = actor(10, 11);
    for connection in 0..5 {
        bench.serve(worker, connection);
    }
    let first = bench.request(worker, 50);
    let second = bench.request(worker, 51);
    let call = bench.call(worker, 60);
    bench.end(call, worker, 60, Side::Client);
    bench.end(first, worker, 50, Side::Server);
    bench.end(second, worker, 51, Side::Server);
    let alone = bench.request(worker, 52);
    let later = bench.call(worker, 60);
    bench.end(later, worker, 60, Side::Client);
    bench.end(alone, worker, 52, Side::Server);
    bench.decide();
    assert_ne!(bench.parent(call).2, Confidence::Exact);
    assert_eq!(bench.parent(later).0, bench.span(alone));
    assert_eq!(bench.parent(later).2, Confidence::Inferred);
}

#[test]
fn a_request_answered_by_another_thread_costs_the_process_its_trust() {
    let mut bench = Bench::new();
    for connection in 0..5 {
        bench.serve(actor(10, 11), connection);
    }
    let handed = bench.request(actor(10, 11), 50);
    bench.end(handed, actor(10, 12), 50, Side::Server);
    let request = bench.request(actor(10, 11), 51);
    let call = bench.call(actor(10, 11), 60);
    bench.end(call, actor(10, 11), 60, Side::Client);
    bench.end(request, actor(10, 11), 51, Side::Server);
    bench.decide();
    assert_ne!(bench.parent(call).2, Confidence::Exact);
}

#[test]
fn both_ends_of_an_exchange_meet_in_either_order() {
    for server_first in [false, true] {
        let mut bench = Bench::new();
        let sequence = Some(SequencePair { client: 5, server: 6 });
        let ends = [(Side::Client, actor(1, 1), 1), (Side::Server, actor(2, 2), 2)];
        let mut ids = [ExchangeId(0); 2];
        for at in if server_first { [1, 0] } else { [0, 1] } {
            let (side, actor, connection) = ends[at];
            ids[at] = bench.see(side, actor, connection, |seen| {
                (seen.sequence, seen.position) = (sequence, Some(100));
            });
        }
        bench.end(ids[1], actor(2, 2), 2, Side::Server);
        bench.end(ids[0], actor(1, 1), 1, Side::Client);
        bench.decide();
        assert_eq!(
            bench.parent(ids[1]),
            (bench.span(ids[0]), Method::Tcp, Confidence::Exact)
        );
        assert_eq!(
            bench.decisions[&ids[0]].trace_id,
            bench.decisions[&ids[1]].trace_id
        );
        assert_eq!(
            bench.decisions[&ids[0]].exchange_key,
            bench.decisions[&ids[1]].exchange_key
        );
        assert_ne!(bench.decisions[&ids[0]].exchange_key, 0);
        assert_eq!(bench.linker.ends.len(), 0);
    }
}

#[test]
fn mirrored_addresses_join_one_at_a_time_and_never_guess() {
    let mut bench = Bench::new();
    let addresses = |seen: &mut Seen<'_>| {
        seen.client_address = "[::ffff:127.0.0.1]:4000".parse().ok();
        seen.server_address = "127.0.0.1:80".parse().ok();
    };
    let client = bench.see(Side::Client, actor(1, 1), 1, addresses);
    let server = bench.see(Side::Server, actor(2, 2), 2, addresses);
    bench.end(server, actor(2, 2), 2, Side::Server);
    bench.end(client, actor(1, 1), 1, Side::Client);
    // Two requests on the way before either arrives: which is which is not known.
    let first = bench.see(Side::Client, actor(1, 1), 1, addresses);
    let second = bench.see(Side::Client, actor(1, 1), 1, addresses);
    let arrived = bench.see(Side::Server, actor(2, 2), 2, addresses);
    for id in [first, second] {
        bench.end(id, actor(1, 1), 1, Side::Client);
    }
    bench.end(arrived, actor(2, 2), 2, Side::Server);
    bench.decide();
    assert_eq!(
        bench.parent(server),
        (bench.span(client), Method::Tcp, Confidence::Exact)
    );
    assert_eq!(bench.parent(arrived).1, Method::None);
    assert_eq!(bench.linker.ends.len(), 0);
}

#[test]
fn headers_name_the_open_request_and_the_far_caller() {
    let mut bench = Bench::new();
    let context = |trace: u128, span: u64| PropagatedContext {
        trace_id: trace,
        span_id: span,
        ..Default::default()
    };
    let (one, two) = (context(1, 11), context(2, 22));
    let first = bench.see(Side::Server, actor(1, 1), 1, |seen| seen.context = Some(&one));
    let second = bench.see(Side::Server, actor(1, 1), 2, |seen| seen.context = Some(&two));
    let passed_on = context(2, 99);
    let call = bench.see(Side::Client, actor(1, 3), 3, |seen| {
        seen.context = Some(&passed_on)
    });
    let stranger = context(3, 33);
    let own = bench.see(Side::Client, actor(1, 4), 4, |seen| {
        seen.context = Some(&stranger)
    });
    bench.end(call, actor(1, 3), 3, Side::Client);
    bench.end(own, actor(1, 4), 4, Side::Client);
    bench.end(first, actor(1, 1), 1, Side::Server);
    bench.end(second, actor(1, 1), 2, Side::Server);
    bench.decide();
    assert_eq!(bench.parent(first), (11, Method::Header, Confidence::Exact));
    assert_eq!(
        bench.parent(call),
        (bench.span(second), Method::Header, Confidence::Exact)
    );
    assert_eq!(bench.decisions[&call].trace_id, 2);
    assert_eq!(bench.parent(own), (33, Method::Header, Confidence::Exact));
    assert_eq!(bench.decisions[&own].trace_id, 3);
}

#[test]
fn a_request_id_shared_by_two_open_requests_names_neither() {
    let mut bench = Bench::new();
    let shared = PropagatedContext {
        request_id: "r".into(),
        ..Default::default()
    };
    let ids: Vec<_> = [(1, 1), (2, 2)]
        .map(|(tid, connection)| {
            bench.see(Side::Server, actor(1, tid), connection, |seen| {
                seen.context = Some(&shared)
            })
        })
        .to_vec();
    let call = bench.see(Side::Client, actor(1, 9), 9, |seen| seen.context = Some(&shared));
    bench.end(call, actor(1, 9), 9, Side::Client);
    for (id, connection) in ids.into_iter().zip([1, 2]) {
        bench.end(id, actor(1, connection), u64::from(connection), Side::Server);
    }
    bench.decide();
    assert_eq!(bench.parent(call).1, Method::None);
}

#[test]
fn a_goroutine_is_exact_and_its_child_is_inferred() {
    let mut bench = Bench::new();
    let go = |goroutine: u64, parent_goroutine: u64, tid: u32| Actor {
        pid: 5,
        tid,
        goroutine,
        parent_goroutine,
        ..Actor::default()
    };
    let first = bench.request(go(30, 1, 7), 1);
    let second = bench.request(go(31, 1, 7), 2);
    let direct = bench.call(go(30, 1, 8), 3);
    let child = bench.call(go(40, 31, 8), 4);
    let stranger = bench.call(go(50, 2, 8), 5);
    for (id, connection) in [(direct, 3), (child, 4), (stranger, 5)] {
        bench.end(id, go(60, 1, 9), connection, Side::Client);
    }
    bench.end(first, go(30, 1, 7), 1, Side::Server);
    bench.end(second, go(31, 1, 7), 2, Side::Server);
    bench.decide();
    assert_eq!(
        bench.parent(direct),
        (bench.span(first), Method::Goroutine, Confidence::Exact)
    );
    assert_eq!(
        bench.parent(child),
        (bench.span(second), Method::Goroutine, Confidence::Inferred)
    );
    assert_eq!(bench.parent(stranger).1, Method::None);
}

/// Two threads carry them in turn, so that each of those reads and writes for both requests.
#[test]
fn a_virtual_thread_is_a_thread_whichever_one_carries_it() {
    let mut bench = Bench::new();
    let on = |number: u64, tid: u32| Actor {
        pid: 5,
        tid,
        goroutine: ROUTINE_VIRTUAL_THREAD | number,
        ..Actor::default()
    };
    let first = bench.request(on(30, 7), 1);
    let second = bench.request(on(31, 8), 2);
    let call = bench.call(on(30, 8), 3);
    let other = bench.call(on(31, 7), 4);
    // Of a virtual thread that one of them has started: nothing tells which.
    let child = bench.call(on(32, 7), 5);
    bench.end(call, on(30, 7), 3, Side::Client);
    bench.end(other, on(31, 7), 4, Side::Client);
    bench.end(child, on(32, 7), 5, Side::Client);
    bench.end(second, on(31, 7), 2, Side::Server);
    bench.end(first, on(30, 7), 1, Side::Server);
    bench.decide();
    let exact = |request| (request, Method::Thread, Confidence::Exact);
    assert_eq!(bench.parent(call), exact(bench.span(first)));
    assert_eq!(bench.parent(other), exact(bench.span(second)));
    assert_eq!(bench.parent(child).1, Method::None);
}

/// 600 requests, two or so of them open at once, each with a call made by somebody else (`who`: by number, the reader and the
/// caller). Answers how many calls got the right parent, and how many a wrong one.
fn handed_over(who: impl Fn(u64) -> [Actor; 2]) -> [usize; 2] {
    let (mut bench, mut rng) = (Bench::new(), fastrand::Rng::with_seed(1));
    let mut events: Vec<(u64, u64, u8)> = Vec::new();
    for n in 0..600u64 {
        let start = 1_000_000 + n * 700_000 + rng.u64(..500_000);
        let call = start + 30_000 + rng.u64(..20_000);
        let answered = call + 900_000 + rng.u64(..600_000);
        events.extend([
            (start, n, 0),
            (call, n, 1),
            (answered, n, 2),
            (answered + 20_000 + rng.u64(..9000), n, 3),
        ]);
    }
    events.sort_unstable();
    let mut ids: FxHashMap<(u64, bool), ExchangeId> = FxHashMap::default();
    for (time_ns, n, kind) in events {
        bench.now = time_ns;
        let ([reader, worker], upstream) = (who(n), 10_000 + n);
        match kind {
            0 => {
                ids.insert((n, true), bench.request(reader, n));
            }
            1 => {
                ids.insert((n, false), bench.call(worker, upstream));
            }
            2 => bench.end(ids[&(n, false)], worker, upstream, Side::Client),
            _ => bench.end(ids[&(n, true)], reader, n, Side::Server),
        }
    }
    bench.decide();
    let mut right_and_wrong = [0; 2];
    for n in 0..600 {
        let (parent, method, confidence) = bench.parent(ids[&(n, false)]);
        assert_ne!(confidence, Confidence::Exact);
        let expected = [Method::Inference, Method::Handoff, Method::None];
        assert!(expected.contains(&method), "{method:?}");
        let request = bench.span(ids[&(n, true)]);
        right_and_wrong[0] += usize::from(parent == request);
        right_and_wrong[1] += usize::from(parent != 0 && parent != request);
    }
    right_and_wrong
}

/// A pool hands requests to threads that never read one: nothing but time tells which request a call belongs to.
#[test]
fn calls_of_a_thread_pool_are_inferred_from_times() {
    let [right, wrong] = handed_over(|n| [actor(30, 30), actor(30, 40 + (n % 8) as u32)]);
    assert!(right >= 570 && wrong <= 12, "{right} right, {wrong} wrong");
}

/// Where each request has a thread of its own, times say too little of who makes calls for it; of virtual threads nothing else
/// is seen.
#[test]
fn calls_of_other_virtual_threads_have_no_parent_while_several_requests_are_open() {
    let on = |number: u64| Actor {
        goroutine: ROUTINE_VIRTUAL_THREAD | number,
        ..actor(30, 40 + (number % 8) as u32)
    };
    // Whom a carrier carries that has just begun is not known, so it seems to serve several requests at once.
    let unknown = |n: u64| if n < 40 { actor(30, 40) } else { on(100 + n) };
    let known = |n: u64| on(100 + n);
    for reader in [&known as &dyn Fn(u64) -> Actor, &unknown] {
        let [right, wrong] = handed_over(|n| [reader(n), on(10_000 + n)]);
        assert_eq!(wrong, 0);
        assert!(right < 100, "{right}: more than those that were alone");
    }
}

#[test]
fn a_call_waits_for_the_trace_of_a_request_whose_caller_is_seen_late() {
    let mut bench = Bench::new();
    let key = |seen: &mut Seen<'_>| {
        (seen.sequence, seen.position) = (Some(SequencePair { client: 1, server: 2 }), Some(0));
    };
    let request = bench.see(Side::Server, actor(2, 2), 2, key);
    let call = bench.call(actor(2, 2), 3);
    bench.end(call, actor(2, 2), 3, Side::Client);
    let mut out = Vec::new();
    bench.linker.decide(bench.now, &mut out);
    assert!(out.is_empty());
    let caller = bench.see(Side::Client, actor(1, 1), 1, key);
    bench.end(request, actor(2, 2), 2, Side::Server);
    bench.end(caller, actor(1, 1), 1, Side::Client);
    bench.decide();
    let traces: Vec<u128> = [caller, request, call]
        .iter()
        .map(|id| bench.decisions[id].trace_id)
        .collect();
    assert_eq!(traces, [traces[0]; 3]);
}
