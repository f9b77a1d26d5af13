//! How often `spanhound-agent infer` is right, and how many spans it takes a second, on files that hold the truth.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::command;

#[derive(Args)]
pub(crate) struct Options {
    /// JSON lines with process, id, kind, name, start_us, end_us, parent and trace; gzipped or not. The example
    /// `simulate_spans` of the agent makes such files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub(super) fn run(options: &Options) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "spanhound-agent",
        "--example",
        "infer_score",
        "--",
    ]);
    command::run(cargo.args(&options.files))
}
