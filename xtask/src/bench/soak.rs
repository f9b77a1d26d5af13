//! Soak: whether the agent stays as it is under what goes on for long.
//!
//! In this order, with the agent's memory noted all the while: many idle connections (each asked once), a service at full
//! rate with processes starting beside it, and a storm of connections of one request each. What was lost is printed by
//! reason at the end of each part; the idle connections stay open through all of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use spanhound_tests::service::program;
use spanhound_tests::stage::Stage;
use spanhound_tests::watch::{AGENT, Watch};

use super::usage::{executable, peak_mib, processor_seconds, resident_mib};
use super::victim::{Kind, Victim};
use crate::command;
use crate::setup::{Group, ensure, is_root};

#[derive(Args)]
pub(crate) struct Options {
    /// Idle connections; both ends are watched
    #[arg(long, default_value_t = 50_000)]
    connections: u32,
    /// Seconds at full rate
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Seconds of short connections
    #[arg(long, default_value_t = 60)]
    storm_seconds: u32,
    /// Processes started a second while at full rate
    #[arg(long, default_value_t = 500)]
    forks: u32,
    /// Open so many connections and hold them until the input ends: what the bench starts itself as
    #[arg(long, hide = true)]
    hold: Option<u32>,
}

const EXCHANGE_BYTES: usize = 64;
const REQUEST: &[u8] = b"GET /idle HTTP/1.1\r\nHost: soak\r\nUser-Agent: soak/1.0 (waits)  \r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nthen nothing happens";
/// Connections of one process at most: fewer than there are ports.
const CONNECTIONS_A_PROCESS: u32 = 20_000;
/// What a holding process says when its connections are open.
const READY: &str = "ready";
const SAMPLE: Duration = Duration::from_secs(1);

pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(count) = options.hold {
        return hold(count);
    }
    if !is_root() {
        bail!("the agent loads kernel programs, which takes root");
    }
    ensure(&[Group::Services, Group::Bench])?;
    let binaries = crate::build::all(true)?;
    let mut stage = Stage::open("soak")?;
    let victim = Victim::start(Kind::Nginx, &mut stage)?;
    let mut watch = Watch::new(binaries, 24_380, 24_381)?;
    let collector = watch.start_collector(&mut stage)?;
    watch.exclude_pids.push(collector);
    let (own, nginx) = (executable(std::process::id())?, executable(victim.pid)?);
    let watched = [&own, &nginx].map(|path| path.to_string_lossy().into_owned());
    watch.only(&watched.each_ref().map(String::as_str));
    // Both ends, and what the other parts open.
    watch.agent_configuration.push_str(&format!(
        "[capture]\nconnections = {}\n",
        (2 * options.connections + 8_192).next_power_of_two()
    ));
    let agent = watch.start_agent(&mut stage)?;
    watch.wait_attached(&mut stage)?;
    let soak = Soak { agent, watch };
    println!("at rest: {:.1} MiB", resident_mib(agent)?);
    let idle = soak.part("idle connections", || idle_connections(options.connections))?;
    soak.part("full rate", || full_rate(&stage, &victim, options))?;
    soak.part("short connections", || storm(&victim, options.storm_seconds))?;
    drop(idle);
    println!("{:.1} MiB at most, in all of it", peak_mib(agent)?);
    stage.stop(AGENT)?;
    Ok(())
}

struct Soak {
    agent: u32,
    watch: Watch,
}

impl Soak {
    /// Does a part and says what the agent used and lost meanwhile.
    fn part<T: Send>(&self, name: &str, work: impl FnOnce() -> Result<(f64, T)> + Send) -> Result<T> {
        let (begun, seconds_before) = (Instant::now(), processor_seconds(self.agent)?);
        let over = AtomicBool::new(false);
        let (outcome, memory) = std::thread::scope(|scope| {
            let sampler = scope.spawn(|| self.memory_until(&over));
            let outcome = work();
            over.store(true, Ordering::Relaxed);
            (outcome, sampler.join())
        });
        let (requests, result) = outcome?;
        let memory = memory.map_err(|_| anyhow::anyhow!("the sampler panicked"))?;
        // What it still has to say.
        std::thread::sleep(Duration::from_secs(6));
        let at = |share: usize| {
            let sample = memory.get((memory.len().max(1) - 1) * share / 4);
            sample.copied().unwrap_or(f64::NAN)
        };
        println!(
            "{name}: {requests:.0} requests in {:.0} s, {:.1} ms of the agent a thousand; {:.1}, {:.1}, {:.1}, {:.1}, {:.1} MiB \
             from begin to end",
            begun.elapsed().as_secs_f64(),
            1e6 * (processor_seconds(self.agent)? - seconds_before) / requests.max(1.0),
            at(0),
            at(1),
            at(2),
            at(3),
            at(4)
        );
        for (reason, count) in self.watch.losses()? {
            println!("  lost since the start: {count} {reason}");
        }
        Ok(result)
    }

    fn memory_until(&self, over: &AtomicBool) -> Vec<f64> {
        let mut samples = Vec::new();
        while !over.load(Ordering::Relaxed) {
            samples.extend(resident_mib(self.agent));
            std::thread::sleep(SAMPLE);
        }
        samples
    }
}

/// Processes with open connections; they end with their input.
struct Idle(Vec<Child>);

impl Drop for Idle {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.stdin.take());
            // It has nothing else to wait for.
            let _ = child.wait();
        }
    }
}

/// Open files are limited by process, so several hold the connections.
fn idle_connections(count: u32) -> Result<(f64, Idle)> {
    let each = ((open_files()?.saturating_sub(64)) / 2).min(CONNECTIONS_A_PROCESS);
    let (mut idle, mut left) = (Idle(Vec::new()), count);
    while left > 0 {
        let part = left.min(each);
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "soak", "--hold", &part.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().context("no output to read")?;
        idle.0.push(child);
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        if line.trim() != READY {
            bail!("{part} connections could not be opened");
        }
        left -= part;
    }
    Ok((f64::from(count), idle))
}

/// Files this process may have open.
fn open_files() -> Result<u32> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let limit = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    limit.context("no limit of open files")
}

/// Opens connections to ourselves, each of which asks one thing and is answered.
fn hold(count: u32) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut ends = Vec::new();
    let mut buffer = [0; 2 * EXCHANGE_BYTES];
    for number in 0..count {
        let mut near = TcpStream::connect(address).with_context(|| format!("after {number} connections"))?;
        let (mut far, _) = listener.accept()?;
        near.write_all(REQUEST)?;
        let asked = far.read(&mut buffer)?;
        far.write_all(RESPONSE)?;
        let answered = near.read(&mut buffer)?;
        if asked == 0 || answered == 0 {
            bail!("a connection to ourselves was closed");
        }
        ends.push((near, far));
    }
    println!("{READY}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(ends);
    Ok(())
}

/// The service as fast as it can, while processes start and end.
fn full_rate(stage: &Stage, victim: &Victim, options: &Options) -> Result<(f64, ())> {
    let (over, forks) = (AtomicBool::new(false), AtomicU64::new(0));
    let measured = std::thread::scope(|scope| {
        scope.spawn(|| start_processes(options.forks, &over, &forks));
        let measured = victim.load(stage, 16, options.seconds);
        over.store(true, Ordering::Relaxed);
        measured
    })?;
    println!(
        "  {} processes were started, {:.0} a second",
        forks.load(Ordering::Relaxed),
        forks.load(Ordering::Relaxed) as f64 / f64::from(options.seconds)
    );
    Ok((measured.requests, ()))
}

fn start_processes(per_second: u32, over: &AtomicBool, started: &AtomicU64) {
    let begun = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
        if started.load(Ordering::Relaxed) >= due {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        // One that cannot start counts too: the kernel forked.
        let _ = Command::new("/bin/true").stdin(Stdio::null()).status();
        started.fetch_add(1, Ordering::Relaxed);
    }
}

/// Connections of one request each.
fn storm(victim: &Victim, seconds: u32) -> Result<(f64, ())> {
    let said = command::output(
        Command::new(program("wrk")?)
            .args(["--threads=1", "--connections=16", "--header=Connection: close"])
            .arg(format!("--duration={seconds}s"))
            .arg(victim.address().context("not an HTTP service")?),
    )?;
    let requests = said
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    Ok((
        requests.with_context(|| format!("wrk said something else:\n{said}"))?,
        (),
    ))
}
