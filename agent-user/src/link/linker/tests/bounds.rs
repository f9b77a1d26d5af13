//! Whatever happens, tables stay bounded and every exchange gets one decision.

use proptest::prelude::*;

use super::*;

#[test]
fn every_table_is_bounded_and_says_what_it_turned_away() {
    let limits = Limits {
        exchanges: 64,
        threads: 16,
        connections: 8,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits);
    for n in 0..1000u32 {
        bench.linker.opened(ConnectionId(u64::from(n)), true);
        let request = bench.request(actor(n, n), u64::from(n) + 5000);
        if n % 2 == 0 {
            bench.end(request, actor(n, n), u64::from(n) + 5000, Side::Server);
        }
        let linker = &bench.linker;
        assert!(linker.exchanges.len() <= 64 && linker.threads.len() <= 16);
        assert!(linker.connecting.len() <= 8);
    }
    bench.decide();
    assert_eq!(
        bench.decisions.len(),
        500,
        "one decision for every exchange that ended"
    );
    let counters = bench.linker.counters();
    assert!(
        counters.exchanges_evicted > 0 && counters.threads_evicted > 0 && counters.connections_evicted > 0
    );
    assert!(open_on_connections(&bench.linker) <= 64 && bench.linker.settling.len() <= 128);
    assert!(bench.linker.on_connection.len() <= CONNECTIONS_KEPT);
    (0..1000).for_each(|n| bench.linker.connection_closed(ConnectionId(n + 5000)));
    assert_eq!(bench.linker.on_connection.len(), 0);
}

#[test]
fn what_is_decided_is_forgotten_once_nobody_asks_for_it() {
    let mut bench = Bench::new();
    let worker = actor(10, 11);
    for connection in 0..100 {
        bench.serve(worker, connection);
    }
    let request = bench.request(worker, 50);
    let call = bench.call(worker, 60);
    bench.end(request, worker, 50, Side::Server);
    let decided = bench.decide_at(bench.now + 300 * MS);
    assert_eq!(decided, 201, "one thread's calls wait for nobody");
    assert_eq!(bench.linker.exchanges.len(), 2, "the open call and its parent");
    bench.end(call, worker, 60, Side::Client);
    assert_eq!(bench.decide_at(bench.now + 300 * MS), 1);
    assert_eq!(bench.parent(call).0, bench.span(request));
    let linker = &bench.linker;
    let held = [
        linker.exchanges.len(),
        linker.waiting.len(),
        linker.settling.len(),
        open_on_connections(linker),
    ];
    assert_eq!(held, [0; 4]);
}

fn open_on_connections(linker: &Linker) -> usize {
    linker.on_connection.iter().map(|(_, open)| open.len()).sum()
}

#[test]
fn connections_without_open_exchanges_are_kept_up_to_a_number() {
    let mut bench = Bench::new();
    for connection in 0..2 * CONNECTIONS_KEPT as u64 {
        bench.serve(actor(10, 11), connection);
    }
    assert_eq!(bench.linker.on_connection.len(), CONNECTIONS_KEPT);
}

proptest! {
    /// Any order of events: no panic, and exactly one decision for each finished exchange.
    #[test]
    fn every_finished_exchange_is_decided_once(steps in proptest::collection::vec((0u8..6, 0u32..4, 0u64..6), 1..200)) {
        let mut bench = Bench::with(Limits { exchanges: 12, threads: 3, connections: 2, ..Limits::default() });
        let mut open: Vec<(ExchangeId, Actor, u64, Side)> = Vec::new();
        let mut ended = 0;
        for (kind, who, connection) in steps {
            let actor = actor(who / 2, who);
            match kind {
                0 => open.push((bench.request(actor, connection), actor, connection, Side::Server)),
                1 => open.push((bench.call(actor, connection), actor, connection, Side::Client)),
                2 => bench.linker.opened(ConnectionId(connection), true),
                3 => bench.linker.process_ended(actor.pid),
                4 => {
                    let mut out = Vec::new();
                    bench.linker.decide(bench.now + connection * 100 * MS, &mut out);
                    for decision in out {
                        prop_assert!(bench.decisions.insert(decision.id, decision).is_none());
                    }
                }
                _ => {
                    if let Some((id, actor, connection, side)) = open.pop() {
                        bench.end(id, actor, connection, side);
                        ended += 1;
                    }
                }
            }
        }
        bench.decide();
        prop_assert_eq!(bench.decisions.len(), ended);
    }
}
