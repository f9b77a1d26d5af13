//! How often `spanhound-agent infer` is right, and how many spans it takes a second, on files that hold the truth.

use std::path::{self, PathBuf};

use anyhow::Result;
use clap::Args;

use super::example;
use crate::command;

#[derive(Args)]
pub(crate) struct Options {
    /// JSON lines with process, id, kind, name, start_us, end_us, parent and trace; gzipped or not. The example
    /// `simulate_spans` of the agent makes such files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub(super) fn run(options: &Options) -> Result<()> {
    let mut score = example("spanhound-agent", "infer_score");
    for file in &options.files {
        score.arg(path::absolute(file)?);
    }
    command::run(&mut score)
}
