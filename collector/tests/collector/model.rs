//! Random traffic in, and every query equals a naive model: plain lists, walked for every question.

use crate::batch::Builder;
use crate::rig::{BEGIN_NS, Rig, SECOND_NS};
use proptest::prelude::*;
use serde_json::Value as Json;
use spanhound_proto::v1;
use std::collections::BTreeMap;

const MS: u64 = 1_000_000;

/// One exchange between two of a few services, or with a database, seen from one side or both.
#[derive(Clone, Debug)]
struct Exchange {
    caller: u8,
    callee: u8,
    /// The callee is a database.
    database: bool,
    client_seen: bool,
    server_seen: bool,
    error: bool,
    /// Start, milliseconds after the beginning.
    start_ms: u64,
    duration_ms: u64,
    /// The agent knew the link itself (both ends on one host); else the exchange key joins.
    linked: bool,
    server_first: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<Exchange>),
    /// Longer than the join window.
    Settle,
    Flush,
    Reopen,
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let sides = prop_oneof![4 => Just((true, true)), 1 => Just((true, false)), 1 => Just((false, true))];
    (
        0u8..3,
        0u8..3,
        any::<bool>(),
        sides,
        any::<bool>(),
        0u64..200_000,
        0u64..8_000,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(caller, callee, database, seen, error, start_ms, duration_ms, linked, server_first)| Exchange {
                caller,
                // A watched address stays watched: only the last one is called without ever being seen.
                callee: if seen.1 { callee } else { 9 },
                database,
                client_seen: seen.0,
                server_seen: seen.1,
                error,
                start_ms,
                duration_ms,
                linked,
                server_first,
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop::collection::vec(exchange(), 1..12).prop_map(Step::Send),
        2 => Just(Step::Settle),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

/// What the model remembers of one counted call.
#[derive(Clone, Debug)]
struct Counted {
    on: Vec<String>,
    start_ns: u64,
    duration_ns: u64,
    error: bool,
    span_id: u64,
    trace: u128,
    from_user: bool,
}

#[derive(Default)]
struct Model {
    calls: Vec<Counted>,
    /// Spans by trace.
    spans: BTreeMap<u128, u64>,
    exchanges: u64,
}

impl Model {
    /// Adds an exchange and writes what the agents see of it.
    fn send(&mut self, exchange: &Exchange, builder: &mut Builder) {
        self.exchanges += 1;
        let number = self.exchanges;
        let start_ns = BEGIN_NS + exchange.start_ms * MS;
        let trace = u128::from(number);
        let (client_id, server_id) = (number * 10, number * 10 + 1);
        let port = 5_000 + u16::from(exchange.callee);
        let address = if exchange.database {
            format!("10.1.0.1:{port}")
        } else {
            format!("10.2.0.1:{port}")
        };
        let base = |builder: &mut Builder| v1::Span {
            trace_id: trace.to_be_bytes().to_vec(),
            start_unix_ns: start_ns,
            duration_ns: exchange.duration_ms * MS,
            status: if exchange.error {
                v1::Status::Error
            } else {
                v1::Status::Unset
            } as i32,
            family: builder.text(if exchange.database { "database" } else { "http" }),
            protocol: builder.text(if exchange.database { "postgresql" } else { "http" }),
            name: builder.text(&format!("call {}", number % 3)),
            exchange_key: if exchange.linked { 0 } else { number + 1_000_000 },
            ..v1::Span::default()
        };
        let caller = format!("s{}", exchange.caller);
        let callee = if exchange.database {
            format!("db{}", exchange.callee)
        } else {
            format!("s{}", exchange.callee)
        };
        let mut both = Vec::new();
        if exchange.client_seen {
            let instance = builder.instance("a", &caller, "go", 100 + u32::from(exchange.caller));
            let peer = builder.text(&address);
            both.push(v1::Span {
                span_id: client_id,
                kind: v1::SpanKind::Client as i32,
                instance,
                peer,
                ..base(builder)
            });
        }
        if exchange.server_seen {
            let instance = builder.instance("b", &callee, "go", 200 + u32::from(exchange.callee));
            let local = builder.text(&address);
            let linked = exchange.linked && exchange.client_seen;
            both.push(v1::Span {
                span_id: server_id,
                parent_span_id: if linked { client_id } else { 0 },
                trace_id: if linked || !exchange.client_seen {
                    trace
                } else {
                    trace + (1 << 64)
                }
                .to_be_bytes()
                .to_vec(),
                kind: v1::SpanKind::Server as i32,
                instance,
                local,
                ..base(builder)
            });
        }
        if exchange.server_first {
            both.reverse();
        }
        self.count(
            exchange,
            trace,
            &caller,
            &callee,
            &address,
            (client_id, server_id),
        );
        *self.spans.entry(trace).or_default() += both.len() as u64;
        builder.batch.spans.extend(both);
    }

    fn count(
        &mut self,
        exchange: &Exchange,
        trace: u128,
        caller: &str,
        callee: &str,
        address: &str,
        (client_id, server_id): (u64, u64),
    ) {
        let target = match (exchange.database, exchange.server_seen) {
            (true, _) => format!("database:postgresql@{address}"),
            (false, true) => format!("service:{callee}"),
            (false, false) => format!("external:{address}"),
        };
        let service = target.starts_with("service:");
        let mut add = |on: Vec<String>, span_id| {
            self.calls.push(Counted {
                from_user: on.iter().any(|id| id.starts_with("user:")),
                on,
                start_ns: BEGIN_NS + exchange.start_ms * MS,
                duration_ns: exchange.duration_ms * MS,
                error: exchange.error,
                span_id,
                trace,
            });
        };
        if exchange.client_seen {
            let mut on = vec![format!("service:{caller}->{target}")];
            on.extend((!service).then(|| target.clone()));
            add(on, client_id);
        }
        if exchange.server_seen && !exchange.client_seen {
            add(
                vec![
                    format!("user:outside->{target}"),
                    target,
                    "user:outside".to_owned(),
                ],
                server_id,
            );
        } else if exchange.server_seen && service {
            add(vec![target], server_id);
        }
    }

    fn on<'a>(&'a self, id: &'a str, range: &std::ops::Range<u64>) -> Vec<&'a Counted> {
        let inside = |call: &&Counted| range.contains(&call.start_ns) && call.on.iter().any(|on| on == id);
        self.calls.iter().filter(inside).collect()
    }
}

fn check(rig: &Rig, model: &Model, range: &std::ops::Range<u64>) {
    let ms = |ns: u64| format!("{}.{:06}", ns / MS, ns % MS);
    let (from, to) = (ms(range.start), ms(range.end));
    let within = [("from_ms", from.as_str()), ("to_ms", to.as_str())];
    let map = rig.ask("map", &within);
    let mut expected: Vec<&str> = model
        .calls
        .iter()
        .filter(|call| range.contains(&call.start_ns))
        .flat_map(|call| call.on.iter().map(String::as_str))
        .collect();
    expected.sort_unstable();
    expected.dedup();
    let items: Vec<&Json> = map["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .chain(map["edges"].as_array().unwrap())
        .collect();
    for id in &expected {
        assert!(items.iter().any(|item| item["id"] == *id), "{id} is missing");
    }
    for item in items {
        let id = item["id"].as_str().unwrap();
        let calls = model.on(id, range);
        let summary = &item["summary"];
        assert_eq!(summary["count"], calls.len() as u64, "{id} in {within:?}");
        let errors = calls.iter().filter(|call| call.error).count() as u64;
        assert_eq!(summary["error_count"], errors, "{id}");
        let fast = calls
            .iter()
            .filter(|call| !call.error && call.duration_ns <= 1_000 * MS)
            .count() as u64;
        assert_eq!(summary["fast"], fast, "{id}");
        let longest = calls.iter().map(|call| call.duration_ns).max().unwrap_or(0);
        assert_eq!(summary["max_ms"], longest as f64 / 1e6, "{id}");
        check_lists(rig, id, &calls, &within);
    }
    let started = model
        .calls
        .iter()
        .filter(|call| call.from_user && range.contains(&call.start_ns))
        .count();
    assert_eq!(rig.ask("transactions", &within)["total"], started as u64);
}

fn check_lists(rig: &Rig, id: &str, calls: &[&Counted], within: &[(&str, &str)]) {
    let subject = if id.contains("->") { "edge" } else { "node" };
    fn joined<'a>(parts: [&[(&'a str, &'a str)]; 3]) -> Vec<(&'a str, &'a str)> {
        parts.concat()
    }
    let scatter = rig.ask("scatter", &joined([within, &[(subject, id)], &[]]));
    assert_eq!(scatter["total"], calls.len() as u64, "{id}");
    assert_eq!(scatter["points"].as_array().unwrap().len(), calls.len());
    let series = rig.ask("timeseries", &joined([within, &[(subject, id)], &[]]));
    let counted: u64 = series["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["summary"]["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, calls.len() as u64, "{id}");
    for sort in ["time", "duration"] {
        let mut expected: Vec<&&Counted> = calls.iter().filter(|call| !call.error).collect();
        expected.sort_by_key(|call| {
            (
                if sort == "time" {
                    call.start_ns
                } else {
                    call.duration_ns
                },
                call.span_id,
            )
        });
        let ids: Vec<String> = expected
            .iter()
            .map(|call| format!("{:016x}", call.span_id))
            .collect();
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        loop {
            let filter = [
                ("limit", "3"),
                ("sort", sort),
                ("order", "asc"),
                ("status", "ok"),
                ("cursor", cursor.as_str()),
            ];
            let page = rig.ask("transactions", &joined([within, &[(subject, id)], &filter]));
            assert_eq!(page["total"], ids.len() as u64);
            for item in page["transactions"].as_array().unwrap() {
                listed.push(item["span_id"].as_str().unwrap().to_owned());
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(listed, ids, "{id} by {sort}");
    }
}

fn check_traces(rig: &Rig, model: &Model) {
    for (trace, spans) in &model.spans {
        let answer = rig.ask(&format!("{trace:032x}"), &[]);
        assert_eq!(answer["span_count"], *spans);
        assert_eq!(answer["complete"], true);
        let call = model.calls.iter().find(|call| call.trace == *trace).unwrap();
        assert_eq!(answer["spans"][0]["error"], call.error);
    }
    assert_eq!(rig.spans_stored(), model.spans.values().sum::<u64>());
}

async fn walk(steps: Vec<Step>, from_ms: u64, length_ms: u64) {
    let mut rig = Rig::new();
    let mut model = Model::default();
    for (sequence, step) in (1..).zip(steps) {
        match step {
            Step::Send(exchanges) => {
                let mut builder = Builder::new(1, sequence);
                for exchange in &exchanges {
                    model.send(exchange, &mut builder);
                }
                assert!(rig.send(builder).await.unwrap().refused.is_empty());
            }
            Step::Settle => rig.pass(6 * SECOND_NS).await,
            Step::Flush => rig.flush().await,
            Step::Reopen => rig.reopen().await,
        }
    }
    let from = BEGIN_NS + from_ms * MS;
    check(&rig, &model, &(from..from + length_ms * MS));
    check(&rig, &model, &(BEGIN_NS..BEGIN_NS + 1_000 * SECOND_NS));
    check_traces(&rig, &model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_query_equals_the_naive_model(
        steps in prop::collection::vec(step(), 1..10), from_ms in 0u64..200_000, length_ms in 1u64..200_000,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(walk(steps, from_ms, length_ms));
    }
}
