//! The collector's store: how fast it takes spans in and answers, measured by an example of the collector's own.

use anyhow::Result;
use clap::Args;

use super::example;
use crate::command;

#[derive(Args)]
pub(crate) struct Options {
    /// Requests of the made-up shop; about ten spans each
    #[arg(long, default_value_t = 100_000)]
    requests: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut measure = example("spanhound-collector", "store_bench");
    command::run(measure.arg(options.requests.to_string()))
}
