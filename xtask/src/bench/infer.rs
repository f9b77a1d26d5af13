//! How often `spanhound-agent infer` is right, and how many spans it takes a second, on files that hold the truth.

use std::path::{self, PathBuf};

use anyhow::Result;
use clap::Args;

use super::example;
use crate::command;

#[derive(Args)]
pub(crate) struct Options {
    /// JSON lines with process, id, kind, name, start_us, end_us, parent and trace; gzipped or not. The example
    /// `simulate_spans` of the agent makes such files. None: a table of made-up applications.
    files: Vec<PathBuf>,
    /// Requests to each made-up application.
    #[arg(long, default_value_t = 1500)]
    requests: usize,
    /// Made-up applications of each style.
    #[arg(long, default_value_t = 2)]
    seeds: u64,
}

pub(super) fn run(options: &Options) -> Result<()> {
    if options.files.is_empty() {
        let mut table = example("spanhound-agent", "infer_simulations");
        table.args(["--requests", &options.requests.to_string()]);
        table.args(["--seeds", &options.seeds.to_string()]);
        return command::run(&mut table);
    }
    let mut score = example("spanhound-agent", "infer_score");
    for file in &options.files {
        score.arg(path::absolute(file)?);
    }
    command::run(&mut score)
}
