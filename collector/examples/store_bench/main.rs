//! How fast the store takes spans in and answers: `cargo run --release -p spanhound-collector --example store_bench --
//! [REQUESTS] [DIRECTORY]`. A made-up shop's traffic of six hours goes through decoding, log, joining and segments as it
//! would in the collector, four agents at a time; then each query runs over it. Figures only, nothing is judged.

#[path = "../../tests/support/batch.rs"]
mod batch;
#[path = "../../tests/support/shop.rs"]
mod shop;

use anyhow::{Context, Result, ensure};
use batch::Builder;
use shop::Host;
use spanhound_collector::config::Config;
use spanhound_collector::ingest::{Keep, Refusal};
use spanhound_collector::query::answer::{ApiError, trace_id_text};
use spanhound_collector::query::parameters::Parameters;
use spanhound_collector::query::{map, scatter, timeseries, trace, transactions};
use spanhound_collector::store::{Shared, Store};
use spanhound_proto::v1;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const HOURS: u64 = 6;
const REQUESTS_PER_BATCH: u64 = 100;
const AGENTS: u64 = 4;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let requests: u64 = arguments
        .next()
        .map_or(Ok(100_000), |text| text.parse())
        .context("REQUESTS")?;
    let scratch = tempfile::tempdir()?;
    let mut config = Config::default();
    config.store.directory = arguments
        .next()
        .map_or_else(|| scratch.path().join("store"), std::path::PathBuf::from);
    config.store.memory_bytes = 2 << 30;
    ensure!(
        requests >= REQUESTS_PER_BATCH * AGENTS,
        "at least {} requests",
        REQUESTS_PER_BATCH * AGENTS
    );
    let store = Arc::new(Store::open(config, Arc::new(now_ns))?);
    let begin_ns = now_ns() - HOURS * 3_600_000_000_000;

    let ticking = store.clone();
    let ticker = tokio::spawn(async move {
        loop {
            ticking.tick().await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
    let mut senders = Vec::new();
    for agent in 0..AGENTS {
        senders.push(tokio::spawn(send(store.clone(), agent, requests, begin_ns)));
    }
    let mut batches = Latencies::default();
    let (mut spans, mut busy) = (0, Duration::ZERO);
    let before = Instant::now();
    for sender in senders {
        let sent = sender.await??;
        spans += sent.spans;
        batches.0.extend(sent.latencies.0);
        busy += sent.building;
    }
    // Building the batches is the agents' work; it shares the processors here.
    let wall = before.elapsed();
    println!(
        "{:<44} {:>10.0} spans/s",
        "ingest, durable and joined",
        spans as f64 / wall.as_secs_f64()
    );
    println!(
        "{:<44} {:>10.1} s of {AGENTS} senders' time",
        "of that, building the batches",
        busy.as_secs_f64()
    );
    batches.print("acknowledgement of a batch");
    let before = Instant::now();
    store.flush().await;
    println!(
        "{:<44} {:>10.2} s",
        "writing what was left in memory",
        before.elapsed().as_secs_f64()
    );
    ticker.abort();
    let figures = store.shared().figures();
    println!(
        "{:<44} {:>10.1} bytes a span, {} spans in {} segments",
        "on disk",
        figures.segment_bytes as f64 / figures.spans as f64,
        figures.spans,
        figures.segments
    );
    let shared = store.shared().clone();
    tokio::task::spawn_blocking(move || ask(&shared, requests, begin_ns)).await??;
    Ok(())
}

struct Sent {
    spans: u64,
    latencies: Latencies,
    building: Duration,
}

async fn send(store: Arc<Store>, agent: u64, requests: u64, begin_ns: u64) -> Result<Sent> {
    let mut sent = Sent {
        spans: 0,
        latencies: Latencies::default(),
        building: Duration::ZERO,
    };
    let step_ns = HOURS * 3_600_000_000_000 / requests;
    // Agents 0 and 1 share the requests of the edge host, 2 and 3 those of the application host.
    let host = if agent < 2 { Host::Edge } else { Host::App };
    let mut first = (agent % 2) * REQUESTS_PER_BATCH;
    for sequence in 1.. {
        if first + REQUESTS_PER_BATCH > requests {
            break;
        }
        let before = Instant::now();
        let mut builder = Builder::new(agent + 1, sequence);
        let (reporting, health) = shop::agent(host, now_ns());
        (builder.batch.agent, builder.batch.health) = (Some(reporting), Some(health));
        for number in first..first + REQUESTS_PER_BATCH {
            shop::request(&mut builder, host, number, begin_ns + number * step_ns);
        }
        sent.building += before.elapsed();
        let spans = builder.batch.spans.len() as u64;
        keep(&store, builder.batch, &mut sent.latencies).await?;
        sent.spans += spans;
        first += 2 * REQUESTS_PER_BATCH;
    }
    Ok(sent)
}

async fn keep(store: &Store, batch: v1::Batch, latencies: &mut Latencies) -> Result<()> {
    loop {
        let before = Instant::now();
        match store.keep(batch.clone()).await {
            Ok(kept) => {
                ensure!(kept.refused.is_empty(), "refused: {:?}", kept.refused);
                latencies.0.push(before.elapsed());
                return Ok(());
            }
            Err(Refusal::Memory) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(refusal) => return Err(refusal.into()),
        }
    }
}

fn ask(store: &Shared, requests: u64, begin_ns: u64) -> Result<()> {
    let text = |ns: u64| (ns / 1_000_000).to_string();
    let all = [("from_ms", text(begin_ns)), ("to_ms", text(now_ns()))];
    let hour_ns = begin_ns + 2 * 3_600_000_000_000;
    let hour = [
        ("from_ms", text(hour_ns)),
        ("to_ms", text(hour_ns + 3_600_000_000_000)),
    ];
    let node = [("node", "service:shop".to_owned())];
    let slowest = [("sort", "duration".to_owned()), ("name", "checkout".to_owned())];
    let of = |parts: &[&[(&str, String)]]| {
        let pairs = parts.iter().copied().flatten();
        Parameters(
            pairs
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect::<HashMap<_, _>>(),
        )
    };
    let mut number = 0;
    time("trace by id", 50, || {
        number = (number + 7_919) % requests;
        trace::trace(store, &trace_id_text(1 << 64 | u128::from(number + 1))).map(drop)
    })?;
    time("map of six hours", 5, || map::map(store, &of(&[&all])).map(drop))?;
    time("map of one hour", 5, || map::map(store, &of(&[&hour])).map(drop))?;
    time("time series of six hours", 5, || {
        timeseries::timeseries(store, &of(&[&all, &node])).map(drop)
    })?;
    time("scatter of one hour", 5, || {
        scatter::scatter(store, &of(&[&hour, &node])).map(drop)
    })?;
    time("scatter of six hours", 3, || {
        scatter::scatter(store, &of(&[&all, &node])).map(drop)
    })?;
    time("100 transactions of one hour", 5, || {
        transactions::transactions(store, &of(&[&hour])).map(drop)
    })?;
    time("100 slowest of six hours by name", 3, || {
        transactions::transactions(store, &of(&[&all, &slowest])).map(drop)
    })
}

fn time(what: &str, times: u32, mut run: impl FnMut() -> Result<(), ApiError>) -> Result<()> {
    let mut latencies = Latencies::default();
    for _ in 0..times {
        let before = Instant::now();
        run().map_err(|error| anyhow::anyhow!("{what}: {}", error.message))?;
        latencies.0.push(before.elapsed());
    }
    latencies.print(what);
    Ok(())
}

#[derive(Default)]
struct Latencies(Vec<Duration>);

impl Latencies {
    fn print(&mut self, what: &str) {
        self.0.sort_unstable();
        let at = |share: f64| {
            let index = ((self.0.len() as f64 * share) as usize).min(self.0.len().saturating_sub(1));
            self.0.get(index).map_or(0.0, Duration::as_secs_f64) * 1e3
        };
        println!(
            "{what:<44} {:>10.2} ms median, {:.2} ms p99 of {}",
            at(0.5),
            at(0.99),
            self.0.len()
        );
    }
}

fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}
