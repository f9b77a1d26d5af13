//! Loops that answer a request right after the answer to its call, and loops that only seem to.

use super::*;

/// A loop with eight requests open or so; another thread makes their calls, and both are over in no order. A request is
/// answered right after its own call was (`own`), or after any. Answers each request with its call.
fn loop_in_no_order(bench: &mut Bench, rounds: u64, own: bool) -> Vec<(ExchangeId, ExchangeId)> {
    let (serving, calling) = (actor(90, 91), actor(90, 92));
    bench.linker.set_style(90, Style::of("/usr/bin/node"));
    let mut number = 1_u64;
    let mut pick = |count: usize| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (number >> 33) as usize % count
    };
    let (mut read, mut called, mut over, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        read.push((bench.request(serving, round), round));
        if read.len() > 3 {
            let (request, connection) = read.swap_remove(pick(read.len()));
            bench.now += pick(3_000_000) as u64;
            let call = bench.call(calling, 100_000 + connection);
            called.push((request, call, connection));
        }
        if called.len() > 3 {
            let (request, call, connection) = called.swap_remove(pick(called.len()));
            bench.now += pick(3_000_000) as u64;
            bench.end(call, serving, 100_000 + connection, Side::Client);
            over.push((request, call, connection));
        }
        if over.len() > if own { 0 } else { 2 } {
            let (request, call, connection) = over.swap_remove(pick(over.len()));
            bench.end(request, serving, connection, Side::Server);
            all.push((request, call));
        }
    }
    all
}

#[test]
fn a_request_answered_upon_the_answer_to_a_call_has_made_it() {
    let mut bench = Bench::new();
    let all = loop_in_no_order(&mut bench, 1_000, true);
    bench.decide();
    let told = |(_, call): &&(ExchangeId, ExchangeId)| bench.parent(*call).1 == Method::Handoff;
    let late = &all[500..];
    let count = late.iter().filter(told).count();
    assert!(count > 450, "{count}");
    for (request, call) in all.iter().filter(told) {
        assert_eq!(bench.parent(*call).0, bench.span(*request));
        assert_eq!(bench.parent(*call).2, Confidence::Inferred);
    }
}

#[test]
fn a_loop_that_answers_after_others_calls_is_found_out() {
    let mut bench = Bench::new();
    let all = loop_in_no_order(&mut bench, 1_000, false);
    bench.decide();
    let told = all
        .iter()
        .filter(|(_, call)| bench.parent(*call).1 == Method::Handoff);
    let wrong = told.filter(|(request, call)| bench.parent(*call).0 != bench.span(*request));
    assert_eq!(wrong.count(), 0);
}
