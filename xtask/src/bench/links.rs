//! Links: services of many runtimes under load, and how many of their calls got the right parent.
//!
//! One line a subject, concurrency and way of keeping connections. Nothing is judged here.

use anyhow::{Result, bail};
use clap::Args;
use spanhound_tests::links::{Cell, Needs, Outcome, Plan, SUBJECTS, Subject, measure};
use spanhound_tests::watch::Binaries;

use crate::build;
use crate::setup::{Group, ensure, is_root};

#[derive(Args)]
pub(crate) struct Options {
    /// Subjects whose name begins so; all by default
    subjects: Vec<String>,
    /// Clients at once
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    concurrency: Vec<u32>,
    /// Requests a cell
    #[arg(long, default_value_t = 400)]
    requests: u64,
    /// The services make calls of their own beside, which belong to no request
    #[arg(long)]
    background: bool,
    /// Show the first few mistakes of each cell
    #[arg(long)]
    examples: bool,
    /// With the unoptimised binaries, which are faster built
    #[arg(long)]
    debug: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!("the agent loads kernel programs, which takes root");
    }
    let wanted = |subject: &&Subject| {
        options.subjects.is_empty()
            || options
                .subjects
                .iter()
                .any(|start| subject.name.starts_with(start.as_str()))
    };
    let subjects: Vec<_> = SUBJECTS.iter().filter(wanted).collect();
    if subjects.is_empty() {
        let names: Vec<_> = SUBJECTS.iter().map(|subject| subject.name).collect();
        bail!("no such subject; there are: {}", names.join(", "));
    }
    let mut groups = vec![Group::Services];
    if subjects.iter().any(|subject| subject.needs == Needs::Links) {
        groups.push(Group::Links);
    }
    ensure(&groups)?;
    let binaries: Binaries = build::all(!options.debug)?;
    let plan = Plan {
        concurrency: options.concurrency.clone(),
        requests: options.requests,
        background: options.background,
        http_port: 24_510,
        grpc_port: 24_511,
    };
    println!("{HEADER}");
    let mut failed = Vec::new();
    for subject in subjects {
        match measure(subject, &binaries, &plan) {
            Ok(outcome) => print(subject, &outcome, options),
            Err(error) => {
                println!("{:<24} did not run: {error:#}", subject.name);
                failed.push(subject.name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("did not run: {}", failed.join(", "));
    }
    Ok(())
}

const HEADER: &str = "subject                 clients connections   calls  unseen  correct%   wrong%    none%   exact%  exact-wrong  found by";

fn print(subject: &Subject, outcome: &Outcome, options: &Options) {
    for cell in &outcome.cells {
        println!("{}", line(subject.name, cell));
        if options.examples {
            for example in &cell.examples {
                println!("    {example}");
            }
        }
    }
    if outcome.background > 0 {
        println!(
            "{:<24}{} calls of no request, {} of them got a parent",
            subject.name, outcome.background, outcome.background_linked
        );
    }
    if !outcome.losses.is_empty() {
        println!("{:<24}losses: {:?}", subject.name, outcome.losses);
    }
}

fn line(name: &str, cell: &Cell) -> String {
    let share = |count: u64| 100.0 * count as f64 / cell.calls.max(1) as f64;
    let methods: Vec<_> = cell
        .methods
        .iter()
        .map(|(method, count)| format!("{method} {count}"))
        .collect();
    format!(
        "{name:<24}{:>7} {:<11} {:>7} {:>7}  {:>8.2} {:>8.2} {:>8.2} {:>8.2}  {:>11}  {}",
        cell.concurrency,
        if cell.keep { "kept" } else { "closed" },
        cell.calls,
        cell.unseen,
        share(cell.correct),
        share(cell.wrong),
        share(cell.none),
        share(cell.exact),
        cell.exact_wrong,
        methods.join(", ")
    )
}
