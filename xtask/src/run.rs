//! Run and demo: collector and agent on this machine, with or without a shop to look at.
//!
//! Enters: nothing but what is on the machine. Leaves: an address, and at the end nothing: no kernel program, process or
//! file. Bounded: the demo's load has a rate and an end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use spanhound_tests::load::{Load, Plan};
use spanhound_tests::shop::Shop;
use spanhound_tests::stage::Stage;
use spanhound_tests::watch::{Binaries, Watch};

use crate::build;
use crate::interrupt::Interrupt;
use crate::setup::{Group, ensure, is_root};

/// Where the page is wished; another port is taken where these are in use.
const PAGE_PORT: u16 = 8070;
const INGEST_PORT: u16 = 4316;

#[derive(Args)]
pub(crate) struct Options {
    /// Use optimised binaries
    #[arg(long)]
    release: bool,
}

#[derive(Args)]
pub(crate) struct DemoOptions {
    #[command(flatten)]
    options: Options,
    /// Requests a second
    #[arg(long, default_value_t = 25.0)]
    rate: f64,
    /// The load ends after so many minutes; the page stays
    #[arg(long, default_value_t = 60)]
    minutes: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let binaries = prepare(options, &[])?;
    let interrupt = Interrupt::watch()?;
    let mut stage = Stage::open("run")?;
    let watch = watch(&mut stage, binaries)?;
    println!("\nThe page: {}    (Ctrl-C ends it)", watch.page());
    wait(&interrupt, &mut stage, || {})
}

pub(crate) fn demo(demo: &DemoOptions) -> Result<()> {
    let binaries = prepare(&demo.options, &[Group::Services])?;
    let interrupt = Interrupt::watch()?;
    let mut stage = Stage::open("demo")?;
    let shop = Shop::start(&mut stage, &mut |line| println!("shop: {line}"))?;
    if interrupt.came() {
        return Ok(());
    }
    let watch = watch(&mut stage, binaries)?;
    let plan = Plan {
        requests_per_second: demo.rate.clamp(0.1, 200.0),
        at_most: Duration::from_secs(60 * demo.minutes.min(24 * 60)),
        customers: 16,
    };
    let load = Load::start(shop.port, plan)?;
    println!("\nThe shop: http://127.0.0.1:{}/", shop.port);
    println!("The page: {}    (Ctrl-C ends it)", watch.page());
    let count = load.count.clone();
    let mut load = Some(load);
    let ended = wait(&interrupt, &mut stage, || {
        if load.as_ref().is_some_and(Load::finished) {
            load = None;
            println!(
                "The load has ended after {} minutes; the page stays.",
                demo.minutes
            );
        }
    });
    // Customers first: they would see the services go.
    drop(load);
    println!(
        "\n{} requests: {} fine, {} refused or failed by the shop, {} without an answer",
        count.total(),
        count.ok.load(Ordering::Relaxed),
        count.refused.load(Ordering::Relaxed),
        count.failed.load(Ordering::Relaxed)
    );
    ended
}

fn prepare(options: &Options, groups: &[Group]) -> Result<Binaries> {
    if !is_root() {
        bail!("the agent loads kernel programs, which takes root: run this as root or through sudo");
    }
    ensure(groups)?;
    build::all(options.release)
}

fn watch(stage: &mut Stage, binaries: Binaries) -> Result<Watch> {
    let mut watch = Watch::new(binaries, PAGE_PORT, INGEST_PORT)?;
    // The demo's customers are us, and no service.
    watch.exclude_pids.push(std::process::id());
    watch.start(stage)?;
    Ok(watch)
}

/// Until Ctrl-C, or until something that should run has ended.
fn wait(interrupt: &Interrupt, stage: &mut Stage, mut each_time: impl FnMut()) -> Result<()> {
    while !interrupt.within(Duration::from_millis(500)) {
        if let Some((name, status)) = stage.any_ended() {
            bail!("{name} has ended: {status}\n{}", stage.last_words(&name));
        }
        each_time();
    }
    println!("\nstopping ...");
    Ok(())
}
