//! Fuzz: random conversations and capture files at parsers and reassembly, guided by coverage.
//!
//! `cargo fuzz` is a nightly tool; without sanitizers all it needs of the compiler is allowed to the stable one here. A
//! panic, a hang of ten seconds or more than half a gigabyte of memory stops a target. What CI runs on every change is
//! smaller and needs no instrumentation: the mutations in the parsers' shared harness.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::command;

#[derive(Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only this: a protocol's name, `detect` (all detectors) or `capture` (capture files)
    #[arg(long)]
    only: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if command::find("cargo-fuzz").is_none() {
        command::run(Command::new("cargo").args(["install", "--locked", "cargo-fuzz"]))?;
    }
    command::run(
        Command::new("cargo")
            .current_dir("fuzz")
            .args(["run", "--quiet", "--bin", "corpus"]),
    )?;
    let targets = targets(options.only.as_deref())?;
    for target in &targets {
        println!("fuzz {target}: {} s", options.seconds);
        fuzz(target, options.seconds)?;
    }
    println!("{} targets without a finding", targets.len());
    Ok(())
}

/// Every protocol with recordings, and what belongs to none.
fn targets(only: Option<&str>) -> Result<Vec<String>> {
    let mut targets = vec!["capture".to_owned(), "detect".to_owned()];
    for entry in std::fs::read_dir("tests/wire")? {
        let entry = entry?;
        if entry.path().is_dir() {
            targets.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    targets.sort();
    if let Some(only) = only {
        targets.retain(|target| target == only);
        if targets.is_empty() {
            bail!("nothing to fuzz is called {only}");
        }
    }
    Ok(targets)
}

fn fuzz(target: &str, seconds: u32) -> Result<()> {
    let corpus = Path::new("corpus").join(target);
    std::fs::create_dir_all(Path::new("fuzz").join(&corpus))?;
    let binary = if target == "capture" {
        "capture"
    } else {
        "conversation"
    };
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir("fuzz")
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("SPANHOUND_PROTOCOL");
    if !matches!(target, "capture" | "detect") {
        cargo.env("SPANHOUND_PROTOCOL", target);
    }
    cargo.args(["fuzz", "run", "--fuzz-dir", ".", "--sanitizer", "none", binary]);
    cargo.arg(&corpus).arg("--");
    cargo.arg(format!("-max_total_time={seconds}"));
    cargo.args([
        "-timeout=10",
        "-rss_limit_mb=512",
        "-max_len=65536",
        "-print_final_stats=1",
    ]);
    command::run(&mut cargo)
}
