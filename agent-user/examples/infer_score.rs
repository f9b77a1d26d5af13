//! Runs `spanhound-agent infer` over files that hold the truth, and says how often it was right, and how fast.
//!
//! Enters: files as `infer` reads them, whose client rows have `parent` and `trace`. Leaves: one JSON line a file, with
//! shares of all client spans: correct, wrong, unknown (a parent there is and none given), wrong among the answers given,
//! and of traces with every call right.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde_json::json;
use spanhound_agent::infer::{self, InferArgs};

#[derive(Parser)]
struct Args {
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Truth {
    id: String,
    kind: String,
    parent: Option<String>,
    trace: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    id: String,
    parent: Option<String>,
}

fn main() -> Result<()> {
    for file in Args::parse().files {
        println!("{}", scored(&file)?);
    }
    Ok(())
}

fn scored(file: &Path) -> Result<serde_json::Value> {
    let mut out = Vec::new();
    let args = InferArgs {
        file: file.to_owned(),
    };
    let started = Instant::now();
    infer::run(&args, &mut out, &mut std::io::stderr())?;
    let seconds = started.elapsed().as_secs_f64();
    let answers = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let answers = answers.map(serde_json::from_slice::<Answer>);
    let answers = answers
        .map(|answer| answer.map(|answer| (answer.id, answer.parent)))
        .collect::<Result<HashMap<_, _>, _>>()?;
    let (mut spans, mut edges, mut correct, mut wrong, mut unknown, mut given) = (0, 0, 0, 0, 0, 0);
    let mut traces: HashMap<String, bool> = HashMap::new();
    for line in open(file)?.lines() {
        let line = line?;
        let Ok(row) = serde_json::from_str::<Truth>(&line) else {
            continue;
        };
        spans += 1;
        if row.kind != "client" {
            continue;
        }
        edges += 1;
        let guess = answers.get(&row.id).cloned().flatten();
        let right = guess == row.parent;
        given += usize::from(guess.is_some());
        match (&guess, &row.parent) {
            (None, Some(_)) => unknown += 1,
            _ if right => correct += 1,
            _ => wrong += 1,
        }
        *traces.entry(row.trace.unwrap_or_default()).or_insert(true) &= right;
    }
    let share = |count: usize, of: usize| (count as f64 / of.max(1) as f64 * 10_000.0).round() / 10_000.0;
    let whole = traces.values().filter(|whole| **whole).count();
    Ok(json!({
        "file": file,
        "edges": edges,
        "correct": share(correct, edges),
        "wrong": share(wrong, edges),
        "unknown": share(unknown, edges),
        "wrong_of_given": share(wrong, given),
        "traces": traces.len(),
        "whole_traces": share(whole, traces.len()),
        "spans_per_second": (f64::from(spans) / seconds).round(),
    }))
}

fn open(file: &Path) -> Result<Box<dyn BufRead>> {
    let raw: Box<dyn Read> = Box::new(File::open(file).with_context(|| file.display().to_string())?);
    let mut raw = BufReader::new(raw);
    Ok(match raw.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(BufReader::new(MultiGzDecoder::new(raw))),
        false => Box::new(raw),
    })
}
