//! Fuzz: random conversations and capture files at parsers and reassembly, guided by coverage.
//!
//! libFuzzer (crate `libfuzzer-sys`) on the stable compiler: the coverage it needs is a pass of LLVM, switched on by flags
//! that are stable too, so that neither a nightly nor another tool is asked for. There is no sanitizer: what is looked for in
//! safe code are panics, hangs and memory without bound. A panic, a hang of ten seconds or more than half a gigabyte stops a
//! target, and the input that did it is left in `fuzz/artifacts`. `cargo xtask test` runs every target for
//! [`BOUNDED_SECONDS`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use spanhound_tests::tree;

use crate::command;
use crate::setup::{Group, ensure};

/// Seconds a target in the bounded run.
const BOUNDED_SECONDS: u32 = 5;
/// What libFuzzer reads, as flags of rustc. `--target` keeps them off build scripts and macros.
const COVERAGE_FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

#[derive(Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only this: a protocol's name, `detect` (all detectors) or `capture` (capture files)
    #[arg(long)]
    only: Option<String>,
    /// Targets that are soon built and slow to run, as in `cargo xtask test`
    #[arg(long)]
    quick: bool,
}

/// How the targets are built.
#[derive(Clone, Copy)]
enum Build {
    Release,
    /// Soon built, slow to run.
    Quick,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let build = if options.quick {
        Build::Quick
    } else {
        Build::Release
    };
    fuzz(options.only.as_deref(), options.seconds, build)
}

/// Every target for some seconds.
pub(crate) fn bounded() -> Result<()> {
    fuzz(None, BOUNDED_SECONDS, Build::Quick)
}

fn fuzz(only: Option<&str>, seconds: u32, build: Build) -> Result<()> {
    ensure(&[Group::Fuzz])?;
    let targets = targets(only)?;
    let binaries = build_targets(build)?;
    let mut corpus = Command::new(binaries.join("conversation"));
    command::run(
        corpus
            .env("SPANHOUND_CORPUS", tree::root().join("fuzz/corpus"))
            .stderr(Stdio::inherit()),
    )?;
    for target in &targets {
        run_target(&binaries, target, seconds)?;
    }
    println!("fuzz: {} targets without a finding", targets.len());
    Ok(())
}

/// Every protocol with recordings, and what belongs to none.
fn targets(only: Option<&str>) -> Result<Vec<String>> {
    // A WebSocket begins in a recording of HTTP.
    let mut targets = ["capture", "detect", "websocket"].map(str::to_owned).to_vec();
    for entry in std::fs::read_dir("tests/wire")? {
        let entry = entry?;
        // Whole captures are no protocol.
        if entry.path().is_dir() && entry.file_name() != "capture" {
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

/// Answers where the binaries are.
fn build_targets(build: Build) -> Result<PathBuf> {
    let compiler = command::output(Command::new("rustc").arg("-vV"))?;
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say what it compiles for")?;
    let mut cargo = command::cargo();
    cargo
        .current_dir("fuzz")
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE_FLAGS.join("\x1f"))
        .args(["build", "--quiet", "--bins", "--target", host]);
    if matches!(build, Build::Release) {
        cargo.arg("--release");
    }
    command::run(&mut cargo)?;
    let profile = match build {
        Build::Release => "release",
        Build::Quick => "debug",
    };
    let binaries = Path::new("fuzz/target").join(host).join(profile);
    binaries.canonicalize().context("the fuzz targets were not built")
}

fn run_target(binaries: &Path, target: &str, seconds: u32) -> Result<()> {
    let corpus = Path::new("fuzz/corpus").join(target);
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all("fuzz/artifacts")?;
    if target == "capture" {
        copy_captures(&corpus)?;
    }
    let said = Path::new("fuzz/artifacts").join(format!("{target}.log"));
    let mut fuzzer = Command::new(binaries.join(if target == "capture" {
        "capture"
    } else {
        "conversation"
    }));
    fuzzer.env_remove("SPANHOUND_PROTOCOL");
    if !matches!(target, "capture" | "detect") {
        fuzzer.env("SPANHOUND_PROTOCOL", target);
    }
    fuzzer
        .arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix=fuzz/artifacts/{target}-"))
        .args([
            "-timeout=10",
            "-rss_limit_mb=512",
            "-max_len=65536",
            "-print_final_stats=1",
        ])
        .stderr(File::create(&said)?);
    let status = fuzzer.status().context("cannot start the fuzz target")?;
    let log = std::fs::read_to_string(&said)?;
    if !status.success() {
        let end: Vec<&str> = log.lines().rev().take(40).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        bail!("fuzz {target}: {status}\n{}", end.join("\n"));
    }
    let last = |name: &str| {
        let at = log.rfind(name)? + name.len();
        log[at..].split_whitespace().next()
    };
    println!(
        "fuzz {target}: {} executions, coverage {}, in {seconds} s",
        last("number_of_executed_units:").unwrap_or("?"),
        last(" cov: ").unwrap_or("?"),
    );
    Ok(())
}

fn copy_captures(corpus: &Path) -> Result<()> {
    for entry in std::fs::read_dir("tests/wire/capture")? {
        let entry = entry?;
        std::fs::copy(entry.path(), corpus.join(entry.file_name()))?;
    }
    Ok(())
}
