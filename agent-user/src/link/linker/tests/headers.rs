//! Request ids that proxies pass on; headers of what a broker delivers.

use super::*;

fn with_id(request_id: &str) -> PropagatedContext {
    PropagatedContext {
        request_id: request_id.into(),
        ..PropagatedContext::default()
    }
}

#[test]
fn a_request_id_passed_to_several_upstreams_names_one_request() {
    let mut bench = Bench::new();
    let proxy = actor(40, 40);
    let (first, second) = (with_id("0123456789abcdef"), with_id("fedcba9876543210"));
    let a = bench.see(Side::Server, proxy, 1, |seen| seen.context = Some(&first));
    let b = bench.see(Side::Server, proxy, 2, |seen| seen.context = Some(&second));
    // To three upstreams in turn, with the other request's call between.
    let calls = [(100, &first), (101, &second), (102, &first), (103, &first)]
        .map(|(connection, id)| bench.see(Side::Client, proxy, connection, |seen| seen.context = Some(id)));
    for (call, connection) in calls.into_iter().zip(100..) {
        bench.end(call, proxy, connection, Side::Client);
    }
    bench.end(a, proxy, 1, Side::Server);
    bench.end(b, proxy, 2, Side::Server);
    bench.decide();
    for (call, request) in calls.into_iter().zip([a, b, a, a]) {
        let expected = (bench.span(request), Method::Header, Confidence::Exact);
        assert_eq!(bench.parent(call), expected);
    }
}

#[test]
fn a_request_id_that_two_open_requests_carry_names_neither() {
    let mut bench = Bench::new();
    let proxy = actor(40, 40);
    let id = with_id("0123456789abcdef");
    // A client that repeats itself, or one that sends somebody else's id.
    let requests =
        [1, 2].map(|connection| bench.see(Side::Server, proxy, connection, |seen| seen.context = Some(&id)));
    let call = bench.see(Side::Client, proxy, 100, |seen| seen.context = Some(&id));
    bench.end(call, proxy, 100, Side::Client);
    for (request, connection) in requests.into_iter().zip([1, 2]) {
        bench.end(request, proxy, connection, Side::Server);
    }
    bench.decide();
    assert_ne!(bench.parent(call).2, Confidence::Exact);
}

#[test]
fn a_fetched_message_names_the_parent_of_a_call_that_has_none() {
    let mut bench = Bench::new();
    let sent = PropagatedContext {
        trace_id: 5,
        span_id: 6,
        ..PropagatedContext::default()
    };
    // A consumer's loop, and a request that fetches while it is served.
    let (consumer, server) = (actor(40, 40), actor(50, 50));
    let fetch = bench.call(consumer, 1);
    bench.linker.delivered(fetch, &sent);
    bench.end(fetch, consumer, 1, Side::Client);
    for connection in 10..20 {
        bench.serve(server, connection);
    }
    let request = bench.request(server, 2);
    let served = bench.call(server, 3);
    bench.linker.delivered(served, &sent);
    bench.end(served, server, 3, Side::Client);
    bench.end(request, server, 2, Side::Server);
    bench.decide();
    assert_eq!(bench.parent(fetch), (6, Method::Header, Confidence::Exact));
    assert_eq!(bench.decisions[&fetch].trace_id, 5);
    assert_eq!(bench.parent(served).0, bench.span(request));
    // Too late, or unknown: nothing happens.
    bench.linker.delivered(fetch, &sent);
}
