//! Event loops and goroutines: who works for which request when one thread works for many.

use super::*;

#[test]
fn an_event_loop_that_queues_nothing_is_exact_by_segment() {
    let mut bench = Bench::new();
    let nginx = actor(20, 20);
    bench.linker.set_style(20, Style::of("/usr/sbin/nginx"));
    // Read A, connect for A; read B, reuse an idle connection for B; then A's connection becomes writable.
    let a = bench.see(Side::Server, nginx, 1, |seen| {
        (seen.operation, seen.target) = ("GET", "/a")
    });
    bench.linker.connecting(ConnectionId(100), nginx, bench.now);
    let b = bench.see(Side::Server, nginx, 2, |seen| {
        (seen.operation, seen.target) = ("GET", "/b")
    });
    let call_b = bench.see(Side::Client, nginx, 101, |seen| {
        (seen.operation, seen.target) = ("GET", "/b")
    });
    bench.linker.opened(ConnectionId(100), true);
    let call_a = bench.see(Side::Client, nginx, 100, |seen| {
        (seen.operation, seen.target) = ("GET", "/a")
    });
    // The answer to B's call leads to another call of B (a subrequest).
    bench.end(call_b, nginx, 101, Side::Client);
    let again_b = bench.call(nginx, 101);
    // The owner's request line differs while another open request's fits: not exact.
    bench.linker.touched(ConnectionId(2), nginx, true, bench.now);
    let odd = bench.see(Side::Client, nginx, 103, |seen| {
        (seen.operation, seen.target) = ("GET", "/a")
    });
    for (id, connection) in [(call_a, 100), (again_b, 101), (odd, 103)] {
        bench.end(id, nginx, connection, Side::Client);
    }
    bench.end(a, nginx, 1, Side::Server);
    bench.end(b, nginx, 2, Side::Server);
    bench.decide();
    assert_eq!(
        bench.parent(call_a),
        (bench.span(a), Method::Task, Confidence::Exact)
    );
    assert_eq!(
        bench.parent(call_b),
        (bench.span(b), Method::Task, Confidence::Exact)
    );
    assert_eq!(
        bench.parent(again_b),
        (bench.span(b), Method::Task, Confidence::Exact)
    );
    assert_ne!(bench.parent(odd).2, Confidence::Exact);
}

#[test]
fn a_loop_that_holds_a_request_back_is_not_exact_about_the_others() {
    let mut bench = Bench::new();
    let nginx = actor(20, 20);
    bench.linker.set_style(20, Style::of("/usr/sbin/nginx"));
    // Both are held back; then a timer lets the first one go, and only then something is read again.
    let held = bench.request(nginx, 1);
    let other = bench.request(nginx, 2);
    let call = bench.call(nginx, 101);
    // Connected by nobody seen, with both open: nothing tells whose it is.
    bench.linker.opened(ConnectionId(102), true);
    let unseen = bench.call(nginx, 102);
    for (id, connection) in [(call, 101), (unseen, 102)] {
        bench.end(id, nginx, connection, Side::Client);
    }
    bench.end(held, nginx, 1, Side::Server);
    bench.end(other, nginx, 2, Side::Server);
    bench.decide();
    assert_ne!(bench.parent(call).2, Confidence::Exact);
    assert_ne!(bench.parent(unseen).2, Confidence::Exact);
}

#[test]
fn a_call_that_is_also_made_when_nothing_is_open_is_not_taken_for_the_only_request_s() {
    let mut bench = Bench::new();
    let (serving, timer) = (actor(50, 51), actor(50, 52));
    let tick = |bench: &mut Bench| {
        let call = bench.see(Side::Client, timer, 900, |seen| {
            (seen.operation, seen.target) = ("GET", "/tick")
        });
        bench.end(call, timer, 900, Side::Client);
        call
    };
    let idle = [0; 3].map(|_| tick(&mut bench))[0];
    let request = bench.request(serving, 1);
    let busy = tick(&mut bench);
    let own = bench.see(Side::Client, actor(50, 53), 901, |seen| {
        (seen.operation, seen.target) = ("GET", "/stock")
    });
    bench.end(own, actor(50, 53), 901, Side::Client);
    bench.end(request, serving, 1, Side::Server);
    bench.decide();
    assert_eq!(bench.parent(idle).2, Confidence::None);
    assert_eq!(bench.parent(busy).2, Confidence::None);
    assert_eq!(bench.parent(own).0, bench.span(request));
}

#[test]
fn a_pool_that_calls_for_threads_that_serve_is_not_guessed_about() {
    let mut bench = Bench::new();
    for n in 0..4 {
        bench.serve(actor(60, 61), 10 + n);
    }
    let requests = [61, 62].map(|tid| bench.request(actor(60, tid), u64::from(tid)));
    let call = bench.call(actor(60, 70), 900);
    bench.end(call, actor(60, 70), 900, Side::Client);
    for (request, tid) in requests.into_iter().zip([61, 62]) {
        bench.end(request, actor(60, tid), u64::from(tid), Side::Server);
    }
    bench.decide();
    assert_eq!(bench.parent(call).2, Confidence::None);
}

#[test]
fn a_goroutine_that_waits_for_the_next_request_hands_it_to_its_parent() {
    let mut bench = Bench::new();
    let on = |tid, goroutine, parent_goroutine| Actor {
        pid: 30,
        tid,
        goroutine,
        parent_goroutine,
        ..Actor::default()
    };
    let request = bench.request(on(31, 90, 9), 1);
    let other = bench.request(on(32, 8, 1), 2);
    // The rest of the request, then a call for it.
    bench
        .linker
        .touched(ConnectionId(1), on(33, 9, 1), true, bench.now);
    let call = bench.call(on(33, 9, 1), 100);
    bench.end(call, on(34, 50, 1), 100, Side::Client);
    bench.end(request, on(33, 9, 1), 1, Side::Server);
    bench.end(other, on(32, 8, 1), 2, Side::Server);
    bench.decide();
    assert_eq!(
        bench.parent(call),
        (bench.span(request), Method::Goroutine, Confidence::Exact)
    );
}

#[test]
fn a_thread_that_keeps_its_requests_calls_for_its_own_though_others_are_open() {
    let mut bench = Bench::new();
    let threads = [actor(60, 61), actor(60, 62)];
    bench.linker.set_style(60, Style::of("/usr/sbin/haproxy"));
    for number in 0..20 {
        bench.serve(threads[number % 2], number as u64);
    }
    let requests = [1, 2].map(|thread| bench.request(threads[thread - 1], 50 + thread as u64));
    let calls = [2, 1].map(|thread| {
        let call = bench.call(threads[thread - 1], 70 + thread as u64);
        bench.end(call, threads[thread - 1], 70 + thread as u64, Side::Client);
        call
    });
    for (thread, request) in [1, 2].into_iter().zip(requests) {
        bench.end(request, threads[thread - 1], 50 + thread as u64, Side::Server);
    }
    bench.decide();
    for (call, request) in calls.into_iter().zip([requests[1], requests[0]]) {
        let found = (bench.span(request), Method::Thread, Confidence::Inferred);
        assert_eq!(bench.parent(call), found);
    }
}

#[test]
fn a_loop_whose_turns_tell_is_believed_about_calls_made_in_a_way_it_hardly_did_before() {
    let mut bench = Bench::new();
    let node = actor(20, 20);
    bench.linker.set_style(20, Style::of("/usr/bin/node"));
    // Requests with so many calls at once, answered in the order in which they were read.
    let crowd = |bench: &mut Bench, calls: u64| {
        let begun = (1..=24).map(|connection| {
            let request = bench.request(node, connection);
            let calls = (1..=calls).map(|nth| 100 * nth + connection);
            let calls = calls.map(|on| (bench.call(node, on), on));
            (request, connection, calls.collect::<Vec<_>>())
        });
        let begun: Vec<_> = begun.collect();
        for (request, connection, calls) in &begun {
            for (call, on) in calls.iter().rev() {
                bench.end(*call, node, *on, Side::Client);
            }
            bench.end(*request, node, *connection, Side::Server);
        }
        begun
    };
    (0..20).for_each(|_| drop(crowd(&mut bench, 1)));
    // The second one is made though its request was acted upon before, and is over before the first one.
    let twice = crowd(&mut bench, 2);
    bench.decide();
    for (request, _, calls) in twice {
        for (call, _) in calls {
            assert_eq!(bench.parent(call).0, bench.span(request));
        }
    }
}
