//! Bench: figures, printed and never judged. Quote them with the command that printed them.

mod overhead;
mod paced;
mod parse;
mod store;
mod victim;
mod vm;

use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// What the agent costs the services it watches: throughput and p99 without and with it, its processor time and memory
    Overhead(overhead::Options),
    /// How fast protocols are parsed, and how much they allocate
    Parse,
    /// How fast the collector's store takes spans in and answers queries
    Store(store::Options),
    /// The overhead on a machine of one processor whose time is counted in instructions
    Vm(vm::Options),
}

pub(crate) fn act(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Overhead(options) => overhead::run(options),
        Bench::Parse => parse::run(),
        Bench::Store(options) => store::run(options),
        Bench::Vm(options) => vm::run(options),
    }
}
