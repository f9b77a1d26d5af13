//! Links: small services of many runtimes whose requests make calls, and how right the agent is about which request made
//! which call.
//!
//! ```text
//! load -> subject (watched) -> leaf
//! ```
//!
//! Enters: a subject of the [`SUBJECTS`] table and a plan. Leaves: for each concurrency, with connections kept and not, how
//! many calls got the right parent, a wrong one, none. The truth is the number in the path, which nothing in the product
//! looks at. Bounded: so many requests as the plan says. Deliberately absent: opinions on what is good enough.

mod judge;
mod load;
mod program;
mod subject;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::spans::stored;
use crate::stage::{Stage, free};
use crate::watch::{Binaries, Watch};

pub use judge::Cell;
pub use program::{BINARIES, go};
pub use subject::{Needs, SUBJECTS, Subject};

/// How much is asked of a subject.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Clients at once; one cell each, with connections closed and kept.
    pub concurrency: Vec<u32>,
    /// Requests a cell.
    pub requests: u64,
    /// Whether the service makes calls of its own beside, which belong to no request.
    pub background: bool,
    pub http_port: u16,
    pub grpc_port: u16,
}

/// What came out for one subject.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub cells: Vec<Cell>,
    /// Calls that belong to no request: how many there were, and how many got a parent.
    pub background: u64,
    pub background_linked: u64,
    pub losses: Vec<(String, u64)>,
}

/// Ports of one run.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub subject: u16,
    /// Of what stands behind the subject's first process (a gateway's application).
    pub inner: u16,
    pub leaf: u16,
    /// Of a leaf that the subject has for itself.
    pub own_leaf: u16,
}

/// Numbers in paths that one run may use; as many runs at once as there are such shares have numbers of their own.
const NUMBERS: u64 = 20_000;

/// The first number in a path: these occur in nobody else's requests on the machine.
fn first_number() -> u64 {
    700_000_000 + u64::from(std::process::id()) % 10_000 * NUMBERS
}

/// Starts the subject and an agent that watches only it, sends the plan's requests and judges what was stored.
///
/// # Errors
///
/// When something does not start or a request is not answered.
pub fn measure(subject: &Subject, binaries: &Binaries, plan: &Plan) -> Result<Outcome> {
    let first = first_number();
    let mut stage = Stage::open("links")?;
    let ports = Ports {
        subject: free(24_500)?,
        inner: free(24_501)?,
        leaf: free(24_502)?,
        own_leaf: free(24_503)?,
    };
    program::start_leaf(&mut stage, ports.leaf)?;
    subject.start(&mut stage, ports, plan.background)?;
    let mut watch = Watch::new(binaries.clone(), plan.http_port, plan.grpc_port)?;
    watch.exclude_pids.push(std::process::id());
    watch
        .agent_configuration
        .push_str("[capture]\nring_bytes = 67108864\n");
    for rule in subject.select {
        let rule = rule.replace(subject::SERVICE_NAME, &subject::service_name());
        watch
            .agent_configuration
            .push_str(&format!("[[select.include]]\n{rule}\n"));
    }
    watch.start(&mut stage)?;
    // That the hooks are in place does not mean that every process is known yet.
    load::send(subject, ports.subject, first..first + WARM_UP, 4, false)?;
    let from_ms = unix_ms();
    let mut asked = Vec::new();
    let mut next = first + WARM_UP;
    let cells = 2 * plan.concurrency.len() as u64;
    ensure!(
        WARM_UP + cells * plan.requests <= NUMBERS,
        "so many requests have no numbers of their own: at most {NUMBERS} in all"
    );
    for concurrency in &plan.concurrency {
        for keep in [false, true] {
            let numbers = next..next + plan.requests;
            next += plan.requests;
            load::send(subject, ports.subject, numbers.clone(), *concurrency, keep)?;
            asked.push((*concurrency, keep, numbers));
        }
    }
    wait_decided(&watch)?;
    let spans = stored(&watch, from_ms, unix_ms() + 1_000)?;
    let cells = asked
        .into_iter()
        .map(|(concurrency, keep, numbers)| judge::judge(subject, &spans, concurrency, keep, numbers))
        .collect();
    let (background, background_linked) = judge::background(&spans);
    Ok(Outcome {
        cells,
        background,
        background_linked,
        losses: watch.losses()?,
    })
}

/// Requests sent before those that count.
const WARM_UP: u64 = 32;
/// As long as the agent may wait with a decision (`link::Limits`), and time to send and store what it decided.
const DECIDED_WITHIN: Duration = Duration::from_secs(15);

/// Waits until every span the agent made is stored, as some wait for the decision of the link room; where others go on making
/// spans, until every one that is asked for must have been decided.
fn wait_decided(watch: &Watch) -> Result<()> {
    let deadline = Instant::now() + DECIDED_WITHIN;
    // What tells one report from the next: the time of the last batch would not, as most batches carry none.
    let mut report = None;
    // As the reports that came since say, the last two of them.
    let mut seen = [None; 2];
    while Instant::now() < deadline {
        let agents = watch.get("agents")?;
        let agent = &agents["agents"][0];
        let counted = |name: &str| agent["counters"][name].as_u64();
        let cpu_ms = agent["cpu_ms"].as_f64();
        if report.is_some() && report != cpu_ms {
            // Not the events: those of processes that start and end come from the whole machine.
            seen = [seen[1], counted("spans")];
        }
        report = cpu_ms;
        let stored = agents["collector"]["spans_stored"].as_u64();
        if seen[0].is_some() && seen[0] == seen[1] && counted("spans_pending") == Some(0) && stored >= seen[1]
        {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn unix_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
