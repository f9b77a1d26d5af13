//! Links of services of six kinds, one client and eight: threads (Python), virtual threads (Java), goroutines (Go), tasks
//! (Python's asyncio), an event loop that queues nothing (nginx), one that does (Node). `cargo xtask bench links` has more.

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

#[test]
fn calls_get_the_request_that_made_them() {
    if !can_run("links", &[Need::Root, Need::KernelTypes]) {
        return;
    }
    for (name, least_percent) in [
        ("python-threads", 100),
        ("java-virtual", 100),
        ("go", 100),
        ("asyncio", 98),
        ("nginx", 100),
        ("node-callbacks", 98),
    ] {
        let Outcome { cells, losses, .. } = outcome(name).unwrap();
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
