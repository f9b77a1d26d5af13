//! Links of services of seven kinds, one client and eight: threads (Python), virtual threads (Java), goroutines (Go), streams of
//! gRPC in and out (Go), tasks (Python's asyncio), an event loop that queues nothing (nginx), one that does (Node). `cargo xtask bench links` has more.

use anyhow::{Context, Result};
use spanhound_tests::links::{Outcome, Plan, SUBJECTS, measure};
use spanhound_tests::need::{Need, can_run};
use spanhound_tests::watch::Binaries;

fn outcome(name: &str) -> Result<Outcome> {
    let subject = SUBJECTS.iter().find(|subject| subject.name == name);
    let subject = subject.context("no such subject")?;
    let plan = Plan {
        concurrency: vec![1, 8],
        requests: 120,
        background: false,
        http_port: 24_530,
        grpc_port: 24_531,
    };
    measure(subject, &Binaries::built("debug"), &plan)
}

/// What is counted where two threads move the first bytes of a connection at once.
const OF_OPENING: [&str; 4] = [
    "opening_race",
    "parser_resyncs",
    "stream_missing_bytes",
    "unseen_bytes",
];

#[test]
fn calls_get_the_request_that_made_them() {
    if !can_run("links", &[Need::Root, Need::KernelTypes]) {
        return;
    }
    for (name, least_percent) in [
        ("python-threads", 100),
        ("java-virtual", 100),
        ("go", 100),
        ("go-grpc-server", 100),
        ("asyncio", 98),
        ("nginx", 100),
        ("node-callbacks", 98),
    ] {
        let Outcome {
            cells, mut losses, ..
        } = outcome(name).unwrap();
        // grpc-go's client reads from a new connection while it writes the preface, of which nothing is needed.
        if losses.iter().any(|(reason, _)| reason == "opening_race") {
            losses.retain(|(reason, _)| !OF_OPENING.contains(&reason.as_str()));
        }
        assert_eq!(losses, [], "{name}");
        assert_eq!(cells.len(), 4, "{name}");
        for cell in cells {
            println!("{name}: {cell:?}");
            assert!(cell.calls > 0, "{name}: no call was seen");
            assert_eq!(cell.unseen, 0, "{name}: {cell:?}");
            assert_eq!(cell.exact_wrong, 0, "{name}: {cell:?}");
            assert!(
                100 * cell.correct >= least_percent * cell.calls,
                "{name}: {cell:?}"
            );
        }
    }
}
