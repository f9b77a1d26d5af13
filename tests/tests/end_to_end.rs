//! End to end: nginx -> Python -> PostgreSQL + Redis, watched by an agent that is started after them.
//!
//! Every request is one span at nginx and one at Python, every statement and command that the service says it sent is one
//! span, nothing is lost, and no link that is called exact is wrong.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::Result;
use spanhound_tests::need::{Need, can_run};
use spanhound_tests::service::{Items, Sent};
use spanhound_tests::spans::{Span, Verdict, judge, stored};
use spanhound_tests::stage::Stage;
use spanhound_tests::watch::{Binaries, Watch};

const REQUESTS: u64 = 2_000;

/// What a span is to the test, by who is at which end.
struct Places;

impl Places {
    fn nginx(span: &Span) -> bool {
        span.service.contains("nginx")
    }

    fn python(span: &Span) -> bool {
        !Self::nginx(span) && (span.service.contains("items") || span.service.contains("gunicorn"))
    }

    fn nginx_server(span: &Span) -> bool {
        span.kind == "server" && span.protocol == "http" && Self::nginx(span)
    }

    fn nginx_client(span: &Span) -> bool {
        span.kind == "client" && span.protocol == "http" && Self::nginx(span)
    }

    fn python_server(span: &Span) -> bool {
        span.kind == "server" && span.protocol == "http" && Self::python(span)
    }

    fn statement(span: &Span) -> bool {
        span.kind == "client" && span.protocol == "postgresql" && Self::python(span)
    }

    fn command(span: &Span) -> bool {
        span.kind == "client" && span.protocol == "redis" && Self::python(span)
    }

    fn stored_side(span: &Span) -> bool {
        span.kind == "server" && (span.protocol == "postgresql" || span.protocol == "redis")
    }
}

#[test]
fn every_request_statement_and_command_is_seen_once_and_no_exact_link_is_wrong() {
    if !can_run("end_to_end", &[Need::Root, Need::KernelTypes]) {
        return;
    }
    let mut stage = Stage::open("end-to-end").unwrap();
    let items = Items::start(&mut stage).unwrap();
    // Connections older than the agent, between all of them.
    items.request(1_000_000..1_000_064, 16).unwrap();

    let mut watch = Watch::new(Binaries::built("debug"), 24170, 24171).unwrap();
    // The clients are ours, and no service.
    watch.exclude_pids.push(std::process::id());
    // Unoptimised, and beside whatever else compiles on the machine, the agent may wait its turn for a while.
    watch
        .agent_configuration
        .push_str("[capture]\nring_bytes = 67108864\n");
    watch.only(&[
        "/usr/sbin/nginx",
        "/usr/bin/python3*",
        "/usr/lib/postgresql/*",
        "/usr/bin/redis-*",
    ]);
    watch.start(&mut stage).unwrap();
    let from_ms = unix_ms().unwrap();
    let alone = items.request(0..REQUESTS, 1).unwrap();
    let together = items.request(REQUESTS..2 * REQUESTS, 16).unwrap();
    assert_eq!(alone.requests + together.requests, 2 * REQUESTS);

    watch.wait_quiet().unwrap();
    let spans = stored(&watch, from_ms, unix_ms().unwrap() + 1_000).unwrap();
    assert_eq!(watch.losses().unwrap(), [], "a loss counter is not zero");
    let alone_spans = in_range(&spans, 0..REQUESTS);
    let together_spans = in_range(&spans, REQUESTS..2 * REQUESTS);
    for (clients, sent, part) in [(1, alone, &alone_spans), (16, together, &together_spans)] {
        assert_eq!(
            counted(part),
            [sent.requests, sent.requests, sent.statements, sent.commands],
            "{clients} clients"
        );
        each_once(part, Places::nginx_server, sent);
        each_once(part, Places::python_server, sent);
    }

    for (clients, part) in [(1, &alone_spans), (16, &together_spans)] {
        for (name, verdict) in verdicts(&spans, part) {
            println!("{clients} clients: {name}: {verdict}");
            assert_eq!(verdict.exact_wrong, 0, "{}", verdict.examples.join("\n"));
            if clients == 1 {
                assert_eq!(
                    verdict.correct,
                    verdict.total(),
                    "{name}: {}",
                    verdict.examples.join("\n")
                );
            }
        }
    }
}

/// The parents that there should be.
fn verdicts(spans: &BTreeMap<String, Span>, part: &[&Span]) -> Vec<(&'static str, Verdict)> {
    type Is = fn(&Span) -> bool;
    let steps: [(&'static str, Is, Is); 4] = [
        ("nginx's calls", Places::nginx_client, Places::nginx_server),
        ("Python's requests", Places::python_server, Places::nginx_client),
        ("statements", Places::statement, Places::python_server),
        ("commands", Places::command, Places::python_server),
    ];
    let mut verdicts: Vec<_> = steps
        .into_iter()
        .map(|(name, child, parent)| {
            (
                name,
                judge(spans, part.iter().copied().filter(|span| child(span)), parent),
            )
        })
        .collect();
    let ends = part.iter().copied().filter(|span| Places::stored_side(span));
    let other_end = judge(spans, ends, |parent| {
        Places::statement(parent) || Places::command(parent)
    });
    verdicts.push(("the stores' own side", other_end));
    verdicts
}

fn counted(part: &[&Span]) -> [u64; 4] {
    [
        Places::nginx_server,
        Places::python_server,
        Places::statement,
        Places::command,
    ]
    .map(|is| part.iter().filter(|span| is(span)).count() as u64)
}

fn each_once(part: &[&Span], is: fn(&Span) -> bool, sent: Sent) {
    let mut numbers: Vec<_> = part
        .iter()
        .filter(|span| is(span))
        .filter_map(|span| span.number)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(
        numbers.len() as u64,
        sent.requests,
        "some requests were seen twice and others not at all"
    );
}

fn in_range(spans: &BTreeMap<String, Span>, numbers: std::ops::Range<u64>) -> Vec<&Span> {
    spans
        .values()
        .filter(|span| span.number.is_some_and(|number| numbers.contains(&number)))
        .collect()
}

fn unix_ms() -> Result<u64> {
    Ok(u64::try_from(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_millis(),
    )?)
}
