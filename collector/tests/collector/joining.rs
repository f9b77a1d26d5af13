//! Two ends of one exchange become one edge and one trace, whichever comes first and wherever the first one is by then.

use crate::batch::Builder;
use crate::rig::{BEGIN_NS, Rig, SECOND_NS};
use crate::shop::{self, Host};
use spanhound_proto::v1;

async fn send_shop(rig: &Rig, host: Host, sequence: u64, numbers: std::ops::Range<u64>) {
    let mut builder = Builder::new(if host == Host::Edge { 1 } else { 2 }, sequence);
    for number in numbers {
        shop::request(&mut builder, host, number, BEGIN_NS + number * SECOND_NS / 100);
    }
    rig.send(builder).await.unwrap();
}

fn shop_counts(requests: u64) -> Vec<(String, u64)> {
    let checkouts = requests / 5;
    let counts = [
        ("cache:redis@app-1:6379", requests),
        ("database:postgresql@app-1:5432", requests + checkouts),
        ("external:198.51.100.7:443", checkouts),
        ("service:catalogue", requests),
        ("service:nginx", requests),
        ("service:payments", checkouts),
        ("service:shop", requests),
        ("user:outside", requests),
        ("service:catalogue->database:postgresql@app-1:5432", requests),
        ("service:nginx->service:shop", requests),
        ("service:payments->database:postgresql@app-1:5432", checkouts),
        ("service:payments->external:198.51.100.7:443", checkouts),
        ("service:shop->cache:redis@app-1:6379", requests),
        ("service:shop->service:catalogue", requests),
        ("service:shop->service:payments", checkouts),
        ("user:outside->service:nginx", requests),
    ];
    counts.map(|(id, count)| (id.to_owned(), count)).to_vec()
}

fn trace_of(rig: &Rig, number: u64) -> serde_json::Value {
    rig.ask(&format!("{:032x}", 1u128 << 64 | u128::from(number + 1)), &[])
}

#[tokio::test]
async fn every_request_counts_once_whichever_host_reports_first() {
    for hosts in [[Host::Edge, Host::App], [Host::App, Host::Edge]] {
        let mut rig = Rig::new();
        for host in hosts {
            send_shop(&rig, host, 1, 0..50).await;
        }
        // Still waiting, settled, in segments, and opened again.
        assert_eq!(rig.counts(), shop_counts(50));
        rig.pass(6 * SECOND_NS).await;
        assert_eq!(rig.counts(), shop_counts(50));
        rig.flush().await;
        assert_eq!(rig.counts(), shop_counts(50));
        rig.reopen().await;
        assert_eq!(rig.counts(), shop_counts(50));
        let trace = trace_of(&rig, 9);
        assert_eq!(
            (trace["span_count"].as_u64(), trace["complete"].as_bool()),
            (Some(14), Some(true))
        );
        let joined = &trace["spans"][2];
        assert_eq!(
            (joined["service"].as_str(), joined["depth"].as_u64()),
            (Some("shop"), Some(2))
        );
        assert_eq!(joined["link"]["method"], "tcp");
        // The application host's clock is three seconds behind; the page shows it inside its caller.
        assert_eq!(
            (joined["skew_ms"].as_f64(), joined["offset_ms"].as_f64()),
            (Some(3_000.0), Some(1.0))
        );
    }
}

#[tokio::test]
async fn the_other_end_may_come_after_the_first_is_in_a_segment_and_after_a_restart() {
    for restart in [false, true] {
        let mut rig = Rig::new();
        send_shop(&rig, Host::App, 1, 0..10).await;
        rig.pass(6 * SECOND_NS).await;
        rig.flush().await;
        if restart {
            rig.reopen().await;
        }
        send_shop(&rig, Host::Edge, 1, 0..10).await;
        for _ in 0..3 {
            let trace = trace_of(&rig, 3);
            assert_eq!(
                (trace["span_count"].as_u64(), trace["complete"].as_bool()),
                (Some(9), Some(true))
            );
            // The list knows the trace by the same name, with all its spans.
            let list = rig.ask(
                "transactions",
                &[rig.all_time(), [("node", "service:shop"), ("limit", "1000")]].concat(),
            );
            let of_trace = list["transactions"]
                .as_array()
                .unwrap()
                .iter()
                .find(|t| t["trace_id"] == trace["trace_id"]);
            assert_eq!(of_trace.unwrap()["spans"], 9);
            // The former id still leads to it.
            let former = rig.ask(&format!("{:032x}", 2u128 << 64 | 4), &[]);
            assert_eq!(former["trace_id"], trace["trace_id"]);
            rig.pass(6 * SECOND_NS).await;
            rig.flush().await;
            rig.reopen().await;
        }
    }
}

#[tokio::test]
async fn a_late_end_is_no_second_caller() {
    let rig = Rig::new();
    send_shop(&rig, Host::Edge, 1, 0..10).await;
    rig.pass(6 * SECOND_NS).await;
    send_shop(&rig, Host::App, 1, 0..10).await;
    rig.pass(6 * SECOND_NS).await;
    let counts = rig.counts();
    let of = |id: &str| {
        counts
            .iter()
            .find(|(known, _)| known == id)
            .map_or(0, |(_, count)| *count)
    };
    assert_eq!((of("service:shop"), of("user:outside->service:shop")), (10, 0));
    // From now on the address is known, however late the other end comes.
    send_shop(&rig, Host::Edge, 2, 10..20).await;
    rig.pass(6 * SECOND_NS).await;
    let counts = rig.counts();
    assert!(
        counts.contains(&("service:nginx->service:shop".to_owned(), 10)),
        "{counts:?}"
    );
}

#[tokio::test]
async fn a_repeated_batch_is_stored_once_also_after_a_restart() {
    let mut rig = Rig::new();
    for _ in 0..2 {
        send_shop(&rig, Host::Edge, 7, 0..10).await;
        rig.reopen().await;
        send_shop(&rig, Host::Edge, 7, 0..10).await;
        rig.flush().await;
        rig.reopen().await;
    }
    assert_eq!(rig.spans_stored(), 20);
    send_shop(&rig, Host::Edge, 8, 10..20).await;
    assert_eq!(rig.spans_stored(), 40);
}

#[tokio::test]
async fn an_instrumented_application_joins_the_trace_and_counts_once() {
    let rig = Rig::new();
    let mut builder = Builder::new(1, 1);
    // nginx (seen by an agent) passes its trace on to an instrumented application that an agent sees too.
    let mut add = |instance, id, parent, kind: v1::SpanKind, method: v1::LinkMethod| {
        builder.batch.spans.push(v1::Span {
            trace_id: 77u128.to_be_bytes().to_vec(),
            span_id: id,
            parent_span_id: parent,
            link_method: method as i32,
            link_confidence: v1::Confidence::Exact as i32,
            link_probability: 1.0,
            kind: kind as i32,
            instance,
            start_unix_ns: BEGIN_NS + id,
            duration_ns: 1_000,
            ..v1::Span::default()
        });
    };
    add(0, 1, 0, v1::SpanKind::Server, v1::LinkMethod::None);
    add(0, 2, 1, v1::SpanKind::Client, v1::LinkMethod::Thread);
    add(1, 3, 2, v1::SpanKind::Server, v1::LinkMethod::Tcp);
    add(2, 4, 2, v1::SpanKind::Server, v1::LinkMethod::Otlp);
    add(2, 5, 4, v1::SpanKind::Client, v1::LinkMethod::Otlp);
    add(1, 6, 5, v1::SpanKind::Client, v1::LinkMethod::Header);
    builder.instance("h", "nginx", "nginx", 10);
    builder.instance("h", "app", "python", 20);
    builder.instance("h", "app", "python", 20);
    builder.batch.instances.push(v1::Instance {
        id: 0,
        ..builder.batch.instances[1]
    });
    rig.send(builder).await.unwrap();
    let expected = [
        ("external:unknown", 1),
        ("service:app", 1),
        ("service:nginx", 1),
        ("user:outside", 1),
        ("service:app->external:unknown", 1),
        ("service:nginx->service:app", 1),
        ("user:outside->service:nginx", 1),
    ];
    assert_eq!(rig.counts(), expected.map(|(id, count)| (id.to_owned(), count)));
    assert_eq!(rig.ask(&format!("{:032x}", 77), &[])["span_count"], 6);
}

#[tokio::test]
async fn messages_go_through_the_queue_and_count_once_on_each_side() {
    for (broker_seen, broker_first, linked) in [
        (true, true, true),
        (true, false, true),
        (true, true, false),
        (true, false, false),
        (false, false, false),
    ] {
        let rig = Rig::new();
        let mut builder = Builder::new(1, 1);
        let mut spans = Vec::new();
        let (family, protocol) = (builder.text("messaging"), builder.text("nats"));
        let (broker, ephemeral) = (builder.text("127.0.0.1:4222"), builder.text("127.0.0.1:50000"));
        for (id, service, kind) in [
            (1, "shop", v1::SpanKind::Producer),
            (2, "mailer", v1::SpanKind::Consumer),
        ] {
            let ends = [
                (id * 10, 0, service, kind),
                (id * 10 + 1, id * 10, "nats", v1::SpanKind::Server),
            ];
            for (span_id, parent, service, kind) in ends {
                let server = kind == v1::SpanKind::Server;
                spans.push(v1::Span {
                    trace_id: u128::from(if linked { id } else { span_id })
                        .to_be_bytes()
                        .to_vec(),
                    span_id,
                    parent_span_id: if linked { parent } else { 0 },
                    kind: kind as i32,
                    instance: builder.instance("h", service, "", 10 + span_id as u32),
                    family,
                    protocol,
                    local: if server { broker } else { ephemeral },
                    peer: if server { ephemeral } else { broker },
                    start_unix_ns: BEGIN_NS,
                    exchange_key: id,
                    ..v1::Span::default()
                });
            }
        }
        spans.retain(|span| broker_seen || span.kind != v1::SpanKind::Server as i32);
        if broker_first {
            spans.reverse();
        }
        builder.batch.spans = spans;
        rig.send(builder).await.unwrap();
        let expected = [
            ("queue:nats@h:4222", 1),
            ("service:mailer", 1),
            ("service:shop", 0),
            ("queue:nats@h:4222->service:mailer", 1),
            ("service:shop->queue:nats@h:4222", 1),
        ];
        assert_eq!(
            rig.counts(),
            expected.map(|(id, count)| (id.to_owned(), count)),
            "{broker_seen} {linked}"
        );
        // What a consumer does begins a transaction of its own.
        assert_eq!(rig.ask("transactions", &rig.all_time())["total"], 1);
    }
}

#[tokio::test]
async fn an_unwatched_peer_goes_by_its_name_or_by_an_address_that_means_the_same_everywhere() {
    let rig = Rig::new();
    let mut builder = Builder::new(1, 1);
    for (id, name, peer) in [
        (1u64, "api.example.com", "203.0.113.9:443"),
        (2, "127.0.0.1", "127.0.0.1:9000"),
        (3, "/run/php.sock", "/run/php.sock"),
        (4, "203.0.113.7", "203.0.113.7:80"),
    ] {
        let attributes = vec![builder.attribute("server.address", name)];
        let span = v1::Span {
            trace_id: u128::from(id).to_be_bytes().to_vec(),
            span_id: id,
            kind: v1::SpanKind::Client as i32,
            instance: builder.instance("h", "app", "", 1),
            peer: builder.text(peer),
            start_unix_ns: BEGIN_NS,
            attributes,
            ..v1::Span::default()
        };
        builder.batch.spans.push(span);
    }
    rig.send(builder).await.unwrap();
    let nodes: Vec<String> = rig
        .counts()
        .into_iter()
        .map(|(id, _)| id)
        .filter(|id| !id.contains("->"))
        .collect();
    let expected = [
        "203.0.113.7:80",
        "api.example.com:443",
        "h:/run/php.sock",
        "h:9000",
    ]
    .map(|name| format!("external:{name}"));
    assert_eq!(nodes, [&expected[..], &["service:app".to_owned()]].concat());
}
