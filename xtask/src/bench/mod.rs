//! Bench: figures, printed and never judged. Quote them with the command that printed them.

mod callgrind;
mod infer;
mod links;
mod overhead;
mod paced;
mod parse;
mod pipeline;
mod soak;
mod store;
mod usage;
mod victim;
mod vm;

use std::process::Command;

use anyhow::Result;
use clap::Subcommand;

use crate::command;

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// How often inference is right, and how fast it is, on files of spans with known parents
    Infer(infer::Options),
    /// How many calls of services of many runtimes get the right parent, at several concurrencies
    Links(links::Options),
    /// What the agent costs the services it watches: throughput and p99 without and with it, its processor time and memory
    Overhead(overhead::Options),
    /// How fast protocols are parsed, and how much they allocate
    Parse,
    /// What a request costs the agent in instructions and allocations, by room
    Pipeline(pipeline::Options),
    /// Whether the agent stays as it is: many idle connections, full rate, short connections, forks; losses and memory
    Soak(soak::Options),
    /// How fast the collector's store takes spans in and answers queries
    Store(store::Options),
    /// The overhead on a machine of one processor whose time is counted in instructions
    Vm(vm::Options),
}

pub(crate) fn act(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Infer(options) => infer::run(options),
        Bench::Links(options) => links::run(options),
        Bench::Overhead(options) => overhead::run(options),
        Bench::Parse => parse::run(),
        Bench::Pipeline(options) => pipeline::run(options),
        Bench::Soak(options) => soak::run(options),
        Bench::Store(options) => store::run(options),
        Bench::Vm(options) => vm::run(options),
    }
}

/// Runs an example of this package, optimised, at the root of the tree; its arguments come behind.
fn example(package: &str, name: &str) -> Command {
    let mut cargo = command::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", package]);
    cargo.args(["--example", name, "--"]);
    cargo
}
