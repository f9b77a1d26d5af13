//! Loops that read all that is ready and then act upon it, and threads that wait for those who call for them.

use super::*;

/// A loop that has been seen to act upon its reads in their order.
fn queueing(bench: &mut Bench, proxy: Actor) {
    bench.linker.set_style(proxy.pid, Style::of("/usr/sbin/haproxy"));
    let mut before = None;
    for number in 0..12 {
        let connection = number % 2;
        let answered = before.take();
        if let Some((call, _)) = answered {
            bench.end(call, proxy, 100 + 1 - connection, Side::Client);
        }
        let request = bench.request(proxy, connection);
        if let Some((_, before)) = answered {
            bench.end(before, proxy, 1 - connection, Side::Server);
        }
        before = Some((bench.call(proxy, 100 + connection), request));
    }
    let (call, request) = before.unwrap();
    bench.end(call, proxy, 101, Side::Client);
    bench.end(request, proxy, 1, Side::Server);
}

#[test]
fn in_a_loop_that_reads_first_new_requests_and_answers_stand_in_lines_of_their_own() {
    let mut bench = Bench::new();
    let proxy = actor(20, 20);
    queueing(&mut bench, proxy);
    let round = |bench: &mut Bench| {
        let begun = (1..=8).map(|connection| (bench.request(proxy, connection), connection));
        let begun: Vec<_> = begun.collect();
        let calls = (1..=8).map(|connection| bench.call(proxy, 100 + connection));
        let calls: Vec<_> = calls.collect();
        for (call, (_, connection)) in calls.iter().zip(&begun) {
            bench.end(*call, proxy, 100 + connection, Side::Client);
        }
        // Read last, and acted upon first.
        let new = bench.request(proxy, 9);
        let call = bench.call(proxy, 109);
        for (request, connection) in &begun {
            bench.end(*request, proxy, *connection, Side::Server);
        }
        bench.end(call, proxy, 109, Side::Client);
        bench.end(new, proxy, 9, Side::Server);
        let requests = begun.into_iter().map(|(request, _)| request).chain([new]);
        calls.into_iter().chain([call]).zip(requests).collect::<Vec<_>>()
    };
    let last = (0..40).map(|_| round(&mut bench)).last();
    bench.decide();
    for (call, request) in last.unwrap() {
        assert_eq!(bench.parent(call).0, bench.span(request));
    }
}

#[test]
fn a_thread_that_answers_what_it_reads_calls_for_it_though_others_call_for_several() {
    let mut bench = Bench::new();
    let threads = [1, 2].map(|tid| actor(30, tid));
    let selector = actor(30, 9);
    let begin = |bench: &mut Bench| [0, 1].map(|at| bench.request(threads[at], at as u64));
    let end = |bench: &mut Bench, requests: [ExchangeId; 2]| {
        for (at, request) in requests.into_iter().enumerate() {
            bench.end(request, threads[at], at as u64, Side::Server);
        }
    };
    for _ in 0..20 {
        let requests = begin(&mut bench);
        let calls = [100, 101].map(|connection| bench.call(selector, connection));
        for (call, connection) in calls.into_iter().zip(100..) {
            bench.end(call, selector, connection, Side::Client);
        }
        end(&mut bench, requests);
    }
    let requests = begin(&mut bench);
    let calls = [1, 0].map(|at| {
        let call = bench.call(threads[at], 102);
        bench.end(call, threads[at], 102, Side::Client);
        call
    });
    end(&mut bench, requests);
    bench.decide();
    for (call, request) in calls.into_iter().zip([requests[1], requests[0]]) {
        let found = (bench.span(request), Method::Thread, Confidence::Inferred);
        assert_eq!(bench.parent(call), found);
    }
}

#[test]
fn a_thread_whose_requests_others_answer_does_not_call_for_what_it_reads() {
    let mut bench = Bench::new();
    let threads = [1, 2].map(|tid| actor(30, tid));
    for _ in 0..40 {
        // Each is answered by whoever is free.
        let requests = [0, 1].map(|at| bench.request(threads[at], at as u64));
        for (at, request) in requests.into_iter().enumerate() {
            bench.end(request, threads[1 - at], at as u64, Side::Server);
        }
    }
    let requests = [0, 1].map(|at| bench.request(threads[at], at as u64));
    let call = bench.call(threads[0], 102);
    bench.end(call, threads[0], 102, Side::Client);
    for (at, request) in requests.into_iter().enumerate() {
        bench.end(request, threads[1 - at], at as u64, Side::Server);
    }
    bench.decide();
    assert_ne!(bench.parent(call).1, Method::Thread);
}
