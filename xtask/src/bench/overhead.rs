//! Overhead: a service under load, with the agent off and on in turn.
//!
//! Both share the machine's processors with the load generator and, while it is on, with the collector too; nothing is
//! subtracted. The agent watches the service alone, or an idle one beside it. Medians of all turns are printed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use spanhound_tests::service::Redis;
use spanhound_tests::stage::{Stage, free};
use spanhound_tests::watch::{AGENT, Binaries, Watch};

use super::paced::{self, Latency};
use super::usage::{ProgramStatistics, executable, peak_mib, processor_seconds};
use super::victim::{Kind, Measured, Victim};
use crate::build;
use crate::setup::{Group, ensure, is_root};

#[derive(Args)]
pub(crate) struct Options {
    /// Services to load; nginx only by default
    #[arg(value_enum)]
    victims: Vec<Kind>,
    /// Connections at once
    #[arg(long, default_value_t = 16)]
    connections: u32,
    /// Seconds a measurement
    #[arg(long, default_value_t = 8)]
    seconds: u32,
    /// Turns; each measures once without and once with the agent
    #[arg(long, default_value_t = 5)]
    turns: u32,
    /// The agent watches an idle Redis instead, to which the loaded service is a stranger
    #[arg(long)]
    unrelated: bool,
    /// Count runs and time of the kernel programs, which costs each run a little
    #[arg(long)]
    program_statistics: bool,
    /// Binaries without optimisation, which are built sooner: to try the bench, not to quote it
    #[arg(long)]
    unoptimised: bool,
    /// Requests a second of the paced measurement of HTTP services
    #[arg(long, default_value_t = 1200.0)]
    pace: f64,
}

/// Most looks at whether the agent has said everything.
const LOOKS_MAX: usize = 20;

/// One turn with the agent.
struct Watched {
    measured: Measured,
    paced: Option<Latency>,
    agent_seconds: f64,
    agent_peak_mib: f64,
    /// Spans the agent made, of which at least one a request is the service's.
    spans: f64,
    losses: Vec<(String, u64)>,
    /// Of the kernel programs during the measurement.
    program_runs: f64,
    program_seconds: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!("the agent loads kernel programs, which takes root");
    }
    ensure(&[Group::Services, Group::Bench])?;
    let binaries = build::all(!options.unoptimised)?;
    let victims = if options.victims.is_empty() {
        vec![Kind::Nginx]
    } else {
        options.victims.clone()
    };
    for kind in victims {
        bench(kind, &binaries, options)?;
    }
    Ok(())
}

fn bench(kind: Kind, binaries: &Binaries, options: &Options) -> Result<()> {
    let mut stage = Stage::open("bench")?;
    let victim = Victim::start(kind, &mut stage)?;
    let watched_pid = if options.unrelated {
        Redis::start(&mut stage, free(0)?)?.pid
    } else {
        victim.pid
    };
    let watched = executable(watched_pid)?;
    if options.unrelated && watched == executable(victim.pid)? {
        bail!("Redis is no stranger to Redis");
    }
    let statistics = options
        .program_statistics
        .then(ProgramStatistics::switch_on)
        .transpose()?;
    let paced = |victim: &Victim| {
        let address = victim.address()?;
        Some(paced::measure(
            &address,
            options.pace,
            options.connections,
            options.seconds,
        ))
    };
    victim.load(&stage, options.connections, 2)?;
    let (mut off, mut off_paced, mut on) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 1..=options.turns {
        let alone = victim.load(&stage, options.connections, options.seconds)?;
        off_paced.extend(paced(&victim).transpose()?);
        let watched = with_agent(
            &mut stage,
            &victim,
            &watched,
            statistics.as_ref(),
            binaries,
            options,
            &paced,
        )?;
        println!(
            "{kind:?} turn {turn}: {:.0} req/s alone, {:.0} watched",
            alone.requests_per_second, watched.measured.requests_per_second
        );
        off.push(alone);
        on.push(watched);
    }
    report(kind, options, &off, &off_paced, &on);
    Ok(())
}

fn with_agent(
    stage: &mut Stage,
    victim: &Victim,
    only: &Path,
    statistics: Option<&ProgramStatistics>,
    binaries: &Binaries,
    options: &Options,
    paced: &dyn Fn(&Victim) -> Option<Result<Latency>>,
) -> Result<Watched> {
    let mut private = Stage::open("bench-watch")?;
    let mut watch = Watch::new(binaries.clone(), 24370, 24371)?;
    let collector = watch.start_collector(&mut private)?;
    watch.exclude_pids.push(collector);
    watch.only(&[only.to_str().context("the service's path is not UTF-8")?]);
    let pid = watch.start_agent(&mut private)?;
    watch.wait_attached(&mut private)?;
    let before = processor_seconds(pid)?;
    let programs = |pid| statistics.map_or(Ok((0.0, 0.0)), |statistics| statistics.of(pid));
    let (runs_before, seconds_before) = programs(pid)?;
    let spans_before = spans(&watch)?;
    let measured = victim.load(stage, options.connections, options.seconds)?;
    let (runs, seconds) = programs(pid)?;
    let spans = settled_spans(&watch)? - spans_before;
    let agent_seconds = processor_seconds(pid)? - before;
    let agent_peak_mib = peak_mib(pid)?;
    let losses = watch.losses()?;
    let paced = paced(victim).transpose()?;
    private.stop(AGENT)?;
    Ok(Watched {
        measured,
        paced,
        agent_seconds,
        agent_peak_mib,
        spans,
        losses,
        program_runs: runs - runs_before,
        program_seconds: seconds - seconds_before,
    })
}

/// Spans once no more come: what the agent still has to say of the last requests, which takes the longer the more it lagged behind.
fn settled_spans(watch: &Watch) -> Result<f64> {
    let mut before = f64::NAN;
    for _ in 0..LOOKS_MAX {
        std::thread::sleep(Duration::from_secs(3));
        let now = spans(watch)?;
        if now == before {
            break;
        }
        before = now;
    }
    spans(watch)
}

fn spans(watch: &Watch) -> Result<f64> {
    let agents = watch.get("agents")?;
    agents["agents"][0]["spans"]
        .as_f64()
        .context("the collector does not say how many spans the agent made")
}

fn report(kind: Kind, options: &Options, off: &[Measured], off_paced: &[Latency], on: &[Watched]) {
    let rate_off = median(off.iter().map(|measured| measured.requests_per_second));
    let rate_on = median(on.iter().map(|watched| watched.measured.requests_per_second));
    let p99_off = median(off.iter().map(|measured| measured.p99_ms));
    let p99_on = median(on.iter().map(|watched| watched.measured.p99_ms));
    let per_request = |watched: &Watched, value: f64| value / watched.measured.requests.max(1.0);
    println!(
        "\n{kind:?}{}, {} connections, {} turns of {} s:",
        if options.unrelated {
            ", not watched itself"
        } else {
            ""
        },
        options.connections,
        options.turns,
        options.seconds
    );
    println!(
        "  throughput   {rate_off:.0} -> {rate_on:.0} req/s: {:.1}% kept",
        100.0 * rate_on / rate_off
    );
    println!(
        "  p99, full    {p99_off:.3} -> {p99_on:.3} ms: x{:.2}",
        p99_on / p99_off
    );
    let on_paced: Vec<Latency> = on.iter().filter_map(|watched| watched.paced).collect();
    if !off_paced.is_empty() && !on_paced.is_empty() {
        for (name, of) in [
            ("p50", (|latency| latency.p50_ms) as fn(&Latency) -> f64),
            ("p99", |latency| latency.p99_ms),
        ] {
            let (alone, watched) = (median(off_paced.iter().map(of)), median(on_paced.iter().map(of)));
            let pace = options.pace;
            println!(
                "  {name} at {pace:.0}/s {alone:.3} -> {watched:.3} ms: x{:.2}",
                watched / alone
            );
        }
    }
    println!(
        "  agent        {:.1} ms of processor time per 1,000 requests, {:.1} MiB peak memory, {:.3} spans a request",
        1e6 * median(
            on.iter()
                .map(|watched| per_request(watched, watched.agent_seconds))
        ),
        median(on.iter().map(|watched| watched.agent_peak_mib)),
        median(on.iter().map(|watched| per_request(watched, watched.spans)))
    );
    if options.program_statistics {
        let of = |value: fn(&Watched) -> f64| {
            median(on.iter().map(|watched| per_request(watched, value(watched))))
        };
        let (runs, seconds) = (
            of(|watched| watched.program_runs),
            of(|watched| watched.program_seconds),
        );
        println!(
            "  kernel       {runs:.1} program runs and {:.2} us a request: {:.0} ns a run",
            1e6 * seconds,
            1e9 * seconds / runs
        );
    }
    for (reason, count) in on.iter().flat_map(|watched| &watched.losses) {
        println!("  lost         {count} {reason}");
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
