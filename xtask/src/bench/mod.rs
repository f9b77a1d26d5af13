//! Bench: figures, printed and never judged. Quote them with the command that printed them.

mod overhead;
mod paced;
mod victim;

use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// What the agent costs the services it watches: throughput and p99 without and with it, its processor time and memory
    Overhead(overhead::Options),
}

pub(crate) fn act(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Overhead(options) => overhead::run(options),
    }
}
