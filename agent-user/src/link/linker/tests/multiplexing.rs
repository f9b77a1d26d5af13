//! Streams of gRPC in Go: one goroutine writes, or reads, those of many.

use super::*;
use crate::event::{Multiplexed, Multiplexing};

const WRITER: u64 = 900;
const READER: u64 = 901;
const CALLS: u64 = 50;

fn go(goroutine: u64, parent_goroutine: u64) -> Actor {
    Actor {
        pid: 1,
        tid: 7,
        goroutine,
        parent_goroutine,
        ..Actor::default()
    }
}

impl Bench {
    fn multiplexed(&mut self, actor: Actor, carrier: u64, what: Multiplexing) {
        self.now += 1000;
        let time_ns = self.now;
        self.linker.multiplexed(&Multiplexed {
            time_ns,
            actor,
            carrier,
            what,
        });
    }

    fn asks(&mut self, actor: Actor, stream_id: u64) {
        self.multiplexed(actor, WRITER, Multiplexing::Asks { stream_id });
    }

    /// The writer writes the first frame of a stream.
    fn written(&mut self, stream_id: u64) -> ExchangeId {
        self.see(Side::Client, go(WRITER, 0), CALLS, |seen| {
            seen.stream_id = stream_id
        })
    }

    fn stream_read(&mut self, reader: Actor, connection: u64, stream_id: u64) -> ExchangeId {
        self.see(Side::Server, reader, connection, |seen| {
            seen.stream_id = stream_id;
        })
    }

    /// All are answered, and all decided.
    fn all_over(&mut self, calls: &[ExchangeId], requests: &[ExchangeId]) {
        for call in calls {
            self.end(*call, go(902, 0), CALLS, Side::Client);
        }
        for request in requests {
            self.end(*request, go(WRITER, 0), 1, Side::Server);
        }
        self.decide();
    }

    fn exact(&self, call: ExchangeId) -> Option<u64> {
        let (parent, method, confidence) = self.parent(call);
        (method == Method::Goroutine && confidence == Confidence::Exact).then_some(parent)
    }
}

#[test]
fn a_stream_is_of_the_goroutine_that_asked_for_it() {
    let mut bench = Bench::new();
    let requests = [11, 12, 13].map(|goroutine| bench.request(go(goroutine, 0), goroutine));
    // The second one asks first; its stream is given up before it is written.
    bench.asks(go(12, 0), 1);
    bench.asks(go(13, 0), 3);
    bench.asks(go(11, 0), 5);
    let of_third = bench.written(3);
    let of_first = bench.written(5);
    let of_nobody = bench.written(7);
    bench.all_over(&[of_third, of_first, of_nobody], &requests);
    assert_eq!(bench.exact(of_third), Some(bench.span(requests[2])));
    assert_eq!(bench.exact(of_first), Some(bench.span(requests[0])));
    assert_eq!(bench.exact(of_nobody), None);
}

#[test]
fn a_request_read_after_a_stream_was_asked_for_has_not_asked_for_it() {
    let mut bench = Bench::new();
    let other = bench.request(go(12, 0), 2);
    let first = bench.request(go(11, 0), 1);
    bench.asks(go(11, 0), 1);
    bench.end(first, go(11, 0), 1, Side::Server);
    let second = bench.request(go(11, 0), 1);
    let call = bench.written(1);
    bench.all_over(&[call], &[other, second]);
    assert_eq!(bench.exact(call), None);
}

#[test]
fn a_stream_is_served_by_the_goroutine_that_was_started_for_it() {
    let mut bench = Bench::new();
    let reader = go(READER, 0);
    let requests = [1, 3, 5].map(|stream_id| bench.stream_read(reader, 1, stream_id));
    for (goroutine, stream_id) in [(23, 5), (21, 1), (22, 3)] {
        bench.multiplexed(go(goroutine, READER), READER, Multiplexing::Serves { stream_id });
    }
    // The reader reads on; none of them is its own again.
    let later = bench.stream_read(reader, 1, 7);
    let calls = [21, 22, 23].map(|goroutine| bench.call(go(goroutine, READER), 100 + goroutine));
    let child = bench.call(go(30, 22), 200);
    let of_later = bench.call(reader, 201);
    let all_calls = [&calls[..], &[child, of_later]].concat();
    bench.all_over(&all_calls, &[&requests[..], &[later]].concat());
    for (call, request) in calls.into_iter().zip(requests) {
        assert_eq!(bench.exact(call), Some(bench.span(request)));
    }
    assert_eq!(
        bench.parent(child),
        (bench.span(requests[1]), Method::Goroutine, Confidence::Inferred)
    );
    assert_eq!(bench.exact(of_later), Some(bench.span(later)));
}

#[test]
fn what_was_read_before_the_reader_began_is_the_readers() {
    let mut bench = Bench::new();
    let request = bench.stream_read(go(800, 0), 1, 1);
    let other = bench.stream_read(go(801, 0), 2, 1);
    let reader = go(READER, 800);
    bench.multiplexed(reader, 800, Multiplexing::Reads);
    bench.multiplexed(go(21, READER), READER, Multiplexing::Serves { stream_id: 1 });
    let call = bench.call(go(21, READER), 100);
    bench.all_over(&[call], &[request, other]);
    assert_eq!(bench.exact(call), Some(bench.span(request)));
}

#[test]
fn streams_that_are_never_seen_do_not_pile_up() {
    let mut bench = Bench::new();
    let request = bench.request(go(11, 0), 1);
    for stream in 0..100_000 {
        bench.asks(go(11, 0), 2 * stream + 1);
    }
    let call = bench.written(199_999);
    bench.all_over(&[call], &[request]);
    assert_eq!(bench.exact(call), Some(bench.span(request)));
    let not_met = bench.linker.counters().streams_not_met;
    assert!(100_000 - not_met <= 16_384, "{not_met}");
}
