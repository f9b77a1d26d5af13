//! What a request costs the agent between the ring buffer and the socket, in instructions: figures that repeat to the last
//! digit, whatever else the machine does.
//!
//! An example of the agent's own plays made-up kernel records through every room; callgrind counts.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use spanhound_tests::tree;

use super::callgrind;
use crate::command;
use crate::setup::{Group, ensure};

const PROFILE: &str = "instructions";

#[derive(Args)]
pub(crate) struct Options {
    /// What to play: nginx (a file), go, redis, chain (nginx asks go, go asks redis, both ends watched); services that
    /// make one call a request, eight of them at once: go-calls, threads, helpers (threads that call for others), node, asyncio
    #[arg(default_values = ["nginx", "go", "redis", "chain"])]
    traffics: Vec<String>,
    /// Requests before counting starts; the tables hold some seconds of the past
    #[arg(long, default_value_t = 90_000)]
    warm_up: u64,
    #[arg(long, default_value_t = 9_000)]
    requests: u64,
    /// Encode for a collector of ours instead of OTLP
    #[arg(long)]
    collector: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure(&[Group::Bench])?;
    command::run(
        command::cargo()
            .args(["build", "--quiet", "--profile", PROFILE])
            .args(["--package", "spanhound-agent", "--example", "pipeline_cost"]),
    )?;
    let directory = tree::target().join(PROFILE).join("callgrind");
    std::fs::create_dir_all(&directory)?;
    for traffic in &options.traffics {
        measure(traffic, &directory, options)?;
    }
    println!(
        "\nEvery function: callgrind_annotate {}/TRAFFIC",
        directory.display()
    );
    Ok(())
}

fn measure(traffic: &str, directory: &Path, options: &Options) -> Result<()> {
    let out = directory.join(traffic);
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .args([
            "--toggle-collect=*pipeline_cost*counted*",
            "--compress-strings=no",
            "--compress-pos=no",
        ])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(tree::target().join(PROFILE).join("examples/pipeline_cost"))
        .args([
            traffic,
            &options.warm_up.to_string(),
            &options.requests.to_string(),
        ]);
    if options.collector {
        valgrind.arg("collector");
    }
    let said = command::output(&mut valgrind)?;
    let figure = |name: &str| -> Result<f64> {
        let mut words = said.split_whitespace().skip_while(|word| *word != name);
        words
            .nth(1)
            .and_then(|word| word.parse().ok())
            .with_context(|| format!("no {name} in {said:?}"))
    };
    let (requests, spans) = (figure("requests")?, figure("spans")?);
    let costs = callgrind::by_room(&std::fs::read_to_string(&out)?)?;
    let total: f64 = costs.iter().map(|(_, cost)| cost).sum();
    println!(
        "{traffic}: {:.0} instructions a request ({:.0} a span; {:.2} spans, {:.2} of them with a parent), {:.1} allocations \
         and {:.0} encoded bytes a request, {:.1} MiB held; lost {}",
        total / requests,
        total / spans,
        spans / requests,
        figure("linked")? / requests,
        figure("allocations")? / requests,
        figure("bytes")? / requests,
        figure("held")? / 1_048_576.0,
        said.split_once("lost ").map_or("?", |(_, lost)| lost.trim())
    );
    for (room, cost) in costs {
        println!(
            "  {:<12} {:>8.0}  {:>4.1}%",
            room,
            cost / requests,
            100.0 * cost / total
        );
    }
    Ok(())
}
