//! Run: the agent at work. Alone it sees every room, and (with `kernel`) alone it reads clocks.
//!
//! Enters: a checked configuration. Leaves: spans, to the exporters, until it is told to stop. Bounded: batches by
//! [`BATCH_SPANS_MAX`] and [`BATCH_AGE_NS`]; events a turn. One thread captures and reconstructs; exporters run beside it.

mod addressees;
mod connections;
mod host;
mod pace;
mod pipeline;
mod selection;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spanhound_common::rule::PortRule;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::batch::{Batch, wire};
use crate::config::Config;
use crate::export::{BadUrl, Buffers, Door, collector, otlp};
use crate::health::{HookReport, Snapshot};
use crate::kernel::{self, Capture, CaptureError, Settings};
use crate::process::{Directory, Procfs};

use pace::{CROWDED_TURN_EVENTS, Pace, TURN_EVENTS};
pub use pipeline::{Order, Pipeline};

/// Spans sent at once.
pub const BATCH_SPANS_MAX: usize = 1_024;
/// Spans that wait to be encoded together.
pub const PART_SPANS: usize = 64;
const BATCH_AGE_NS: u64 = 1_000_000_000;
const HEALTH_AGE_NS: u64 = 5_000_000_000;
const PROCESSES_MAX: usize = 8_192;

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error("collector.url: {0}")]
    CollectorUrl(#[source] BadUrl),
    #[error("otlp.url: {0}")]
    OtlpUrl(#[source] BadUrl),
    #[error("cannot start the export threads: {0}")]
    Runtime(#[source] std::io::Error),
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
///
/// When capture cannot start or an exporter cannot be set up; nothing is left loaded then.
pub fn run(config: &Config) -> Result<(), RunError> {
    host::decline_huge_pages();
    if !host::let_others_go_first() {
        warn!("the scheduler does not let this agent step back behind what it watches");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("export")
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    let procfs = Procfs::new("/proc");
    let seed = RandomState::new().hash_one(host::unix_ns());
    let sender = wire::Sender {
        run_id: seed,
        agent: host::agent(&procfs.boot_id()),
    };
    // Held until the last exporter is done: the directory is this agent's own.
    let buffers = Buffers::open(&config.buffer);
    let (doors, exporters) = {
        let _inside = runtime.enter();
        exporters(config, &sender, &buffers)?
    };
    let capture = Capture::start(&capture_settings(config))?;
    let stop = stop_on_signal(&runtime);
    let directory = Directory::new(procfs, host::ticks_per_second(), PROCESSES_MAX);
    info!(
        version = sender.agent.version,
        kernel = sender.agent.kernel_release,
        "watching"
    );
    let agent = Agent {
        pipeline: Pipeline::new(config, directory, seed),
        capture,
        doors,
        batch_started_ns: host::monotonic_ns(),
        batch_spans: 0,
        health_due_ns: 0,
    };
    agent.work(&stop);
    runtime.block_on(async {
        for exporter in exporters {
            if let Err(error) = exporter.await {
                warn!(%error, "an exporter failed");
            }
        }
    });
    Ok(())
}

type Exporters = (Vec<Door>, Vec<JoinHandle<()>>);

fn exporters(config: &Config, sender: &wire::Sender, buffers: &Buffers) -> Result<Exporters, RunError> {
    let (mut doors, mut tasks) = (Vec::new(), Vec::new());
    let url = &config.collector.url;
    if !url.is_empty() {
        let (door, requests) = Door::new("collector", Box::new(collector::Encoder::new(sender.clone())));
        let exporter = collector::Exporter::new(url, buffers.of(door.name), door.counters.clone())
            .map_err(RunError::CollectorUrl)?;
        tasks.push(tokio::spawn(exporter.run(requests)));
        doors.push(door);
    }
    let (url, transport) = (&config.otlp.url, config.otlp.transport);
    if !url.is_empty() {
        let (door, requests) = Door::new("otlp", Box::new(otlp::Encoder::new(sender.agent.clone())));
        let exporter = otlp::Exporter::new(url, transport, buffers.of(door.name), door.counters.clone())
            .map_err(RunError::OtlpUrl)?;
        tasks.push(tokio::spawn(exporter.run(requests)));
        doors.push(door);
    }
    Ok((doors, tasks))
}

fn capture_settings(config: &Config) -> Settings {
    Settings {
        tier: config.capture.tier,
        ring_bytes: config.capture.ring_bytes,
        connections: config.capture.connections,
        chosen_only: !config.select.include.is_empty(),
        unix: config.capture.unix,
        udp: config.capture.udp,
        ignored_pids: config.select.exclude_pids.clone(),
        ports: config
            .select
            .exclude_ports
            .iter()
            .map(|port| (*port, PortRule::Ignored))
            .collect(),
        ..Settings::default()
    }
}

fn stop_on_signal(runtime: &tokio::runtime::Runtime) -> Arc<AtomicBool> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop: Arc<AtomicBool> = Arc::default();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let stop = stop.clone();
        runtime.spawn(async move {
            match signal(kind) {
                Ok(mut signals) => {
                    signals.recv().await;
                    stop.store(true, Ordering::Relaxed);
                }
                Err(error) => warn!(%error, "cannot listen for a signal; only SIGKILL will stop the agent"),
            }
        });
    }
    stop
}

struct Agent {
    pipeline: Pipeline,
    capture: Capture,
    doors: Vec<Door>,
    batch_started_ns: u64,
    /// In the batch so far.
    batch_spans: usize,
    health_due_ns: u64,
}

impl Agent {
    fn work(mut self, stop: &AtomicBool) {
        self.pipeline.survey();
        self.obey();
        kernel::give_memory_back();
        let mut pace = Pace::default();
        while !stop.load(Ordering::Relaxed) {
            self.capture.wait(pace.wait_ms);
            pace.brought(self.take_in());
        }
        info!("stopping");
        self.take_in();
        self.pipeline.finish();
        self.health_due_ns = 0;
        self.send(host::monotonic_ns(), true);
    }

    /// Takes in what the ring buffer holds, in turns; answers how many events that were.
    fn take_in(&mut self) -> usize {
        let mut events = 0;
        loop {
            let crowded = self.capture.is_crowded();
            let limit = if crowded { CROWDED_TURN_EVENTS } else { TURN_EVENTS };
            let pipeline = &mut self.pipeline;
            let polled_ns = host::monotonic_ns();
            let taken = self.capture.poll(limit, |event| pipeline.event(event));
            self.obey();
            events += taken;
            let now_ns = host::monotonic_ns();
            // Where events wait their time has not come: what waits for them must not be taken for overdue.
            self.pipeline.tick(match taken < limit {
                true => polled_ns,
                false => polled_ns.min(self.pipeline.reached_ns()),
            });
            self.send(now_ns, false);
            if taken < limit {
                return events;
            }
            if !crowded {
                std::thread::yield_now();
            }
        }
    }

    fn obey(&mut self) {
        for order in self.pipeline.take_orders() {
            match order {
                Order::SetBudget { connection, bytes } => self.capture.set_budget(connection, bytes, bytes),
                Order::Ignore { connection } => self.capture.ignore(connection),
                Order::SetProcess { pid, rule } => self.capture.set_process(pid, rule),
                Order::WatchGo { pid, functions } => self.capture.watch_go(pid, &functions),
                Order::WatchPython { pid, program } => self.capture.watch_python(pid, &program),
                Order::WatchJava { pid, carriers } => self.capture.watch_java(pid, &carriers),
                Order::ForgetProcess { pid } => self.capture.forget_process(pid),
            }
        }
    }

    /// Adds new spans to the batch, and sends it when it is due, or if `all`.
    fn send(&mut self, now_ns: u64, all: bool) {
        let health_due = now_ns >= self.health_due_ns;
        let waiting = self.pipeline.linked_len();
        let old = now_ns.saturating_sub(self.batch_started_ns) >= BATCH_AGE_NS;
        let due = all || health_due || (old && self.batch_spans + waiting > 0);
        if !(due || waiting >= PART_SPANS) {
            return;
        }
        let unix_offset_ns = host::unix_ns().wrapping_sub(now_ns);
        let mut spans = self.pipeline.take_linked();
        let mut health = health_due.then(|| self.snapshot());
        if health_due {
            self.health_due_ns = now_ns + HEALTH_AGE_NS;
            kernel::give_memory_back();
        }
        while !spans.is_empty() || health.is_some() {
            let rest = spans.split_off(spans.len().min(BATCH_SPANS_MAX - self.batch_spans));
            self.batch_spans += spans.len();
            let part = Batch {
                spans,
                health: health.take(),
                unix_offset_ns,
            };
            for door in &mut self.doors {
                door.add(&part);
            }
            if self.batch_spans >= BATCH_SPANS_MAX {
                self.send_batch(now_ns);
            }
            spans = rest;
        }
        if due {
            self.send_batch(now_ns);
        }
    }

    fn send_batch(&mut self, now_ns: u64) {
        (self.batch_started_ns, self.batch_spans) = (now_ns, 0);
        for door in &mut self.doors {
            door.send();
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut counters = self.pipeline.report();
        let go = self.pipeline.gos_unknown() + self.capture.go_turned_away();
        counters.push(("go_programs_not_followed", go));
        let python = self.pipeline.pythons_unknown() + self.capture.python_turned_away();
        counters.push(("python_programs_not_followed", python));
        let java = self.pipeline.javas_unknown() + self.capture.java_turned_away();
        counters.push(("java_programs_not_followed", java));
        let ledger = &mut self.pipeline.ledger;
        for loss in self.capture.losses() {
            ledger.set(loss.loss.name(), loss.count);
        }
        for door in &self.doors {
            let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            let names = DoorNames::of(door.name);
            ledger.set(names.given_up, load(&door.counters.spans_given_up));
            ledger.set(names.refused, load(&door.counters.spans_refused));
            ledger.set(names.unreadable, load(&door.counters.spool_unreadable_bytes));
            counters.push((names.sent, load(&door.counters.spans_sent)));
            counters.push((names.retries, load(&door.counters.retries)));
        }
        let hooks = self.capture.hooks().iter().map(|hook| HookReport {
            event: hook.event.to_owned(),
            tier: hook.tier.unwrap_or_default().to_owned(),
            problem: hook.refused.join("; "),
        });
        Snapshot {
            time_unix_ns: host::unix_ns(),
            losses: ledger.totals(),
            counters,
            by_service: ledger.by_service(),
            by_connection: ledger.by_connection(),
            resident_bytes: host::resident_bytes(),
            cpu_ns: host::cpu_ns(),
            hooks: hooks.collect(),
        }
    }
}

/// Under which an exporter's counters stand in the ledger and among the counters.
struct DoorNames {
    given_up: &'static str,
    refused: &'static str,
    unreadable: &'static str,
    sent: &'static str,
    retries: &'static str,
}

impl DoorNames {
    fn of(door: &str) -> Self {
        match door {
            "otlp" => Self {
                given_up: "otlp_spans_given_up",
                refused: "otlp_spans_refused",
                unreadable: "otlp_spool_unreadable_bytes",
                sent: "otlp_spans_sent",
                retries: "otlp_retries",
            },
            _ => Self {
                given_up: "collector_spans_given_up",
                refused: "collector_spans_refused",
                unreadable: "collector_spool_unreadable_bytes",
                sent: "collector_spans_sent",
                retries: "collector_retries",
            },
        }
    }
}
