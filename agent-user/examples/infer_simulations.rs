//! What `spanhound-agent infer` makes of made-up applications of every style, beside first-in-first-out containment.
//!
//! Enters: how many requests, how many open at once, which seeds. Leaves: a Markdown table with one row a style and, for each
//! number of open requests, percent of calls with the right parent, a wrong one, none (in brackets: right by the baseline),
//! wrong among the answers given, and requests with every call right (in brackets: by the baseline). A call that nobody's
//! request made is right where no parent is given. `infer` is told nothing of what is right.
//!
//! `cargo run --release -p spanhound-agent --example infer_simulations -- --requests 1500 --open 2 --seeds 2`

#[path = "../src/link/inference/simulation/mod.rs"]
mod simulation;

use std::collections::{HashMap, HashSet};
use std::io::Write;

use anyhow::{Context, Result};
use clap::Parser;
use serde::Deserialize;
use serde_json::json;
use simulation::{STYLE_COUNT, Span, Wanted, application};
use spanhound_agent::infer::{self, InferArgs};

#[derive(Parser)]
struct Args {
    /// Requests to each application.
    #[arg(long, default_value_t = 1500)]
    requests: usize,
    /// Requests open at once in each application, in the mean where nothing is scarce.
    #[arg(long, value_delimiter = ',', default_value = "0.5,2,6")]
    open: Vec<f64>,
    /// Applications of each style, each with a seed of its own.
    #[arg(long, default_value_t = 2)]
    seeds: u64,
    #[arg(long, default_value_t = 2_000_001)]
    first_seed: u64,
}

#[derive(Deserialize)]
struct Answer {
    id: String,
    parent: Option<String>,
}

/// Counts of calls and requests.
#[derive(Clone, Copy, Default)]
struct Score {
    calls: usize,
    right: usize,
    wrong: usize,
    given: usize,
    baseline: usize,
    requests: usize,
    whole: usize,
    baseline_whole: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let columns = args
        .open
        .iter()
        .map(|open| format!(" {open} open | wrong of answers | whole |"));
    println!("| style |{}", columns.collect::<String>());
    println!("|---|{}", "---|---|---|".repeat(args.open.len()));
    let mut all = vec![Score::default(); args.open.len()];
    for style in 0..STYLE_COUNT {
        let mut name = "";
        let mut scores = vec![Score::default(); args.open.len()];
        for (open, score) in args.open.iter().zip(&mut scores) {
            for seed in args.first_seed..args.first_seed + args.seeds {
                let (requests, open) = (args.requests, *open);
                let application = application(style, seed, Wanted { requests, open });
                name = application.style;
                let spans = application.run(seed);
                score.add(&scored(&spans)?);
            }
        }
        println!(
            "| {name} |{}",
            scores.iter().map(Score::cells).collect::<String>()
        );
        all.iter_mut()
            .zip(&scores)
            .for_each(|(all, score)| all.add(score));
    }
    println!("| **all** |{}", all.iter().map(Score::cells).collect::<String>());
    Ok(())
}

fn scored(spans: &[Span]) -> Result<Score> {
    let answers = answers(spans)?;
    let baseline = first_in_first_out(spans);
    let mut score = Score::default();
    let mut requests: HashMap<usize, (bool, bool)> = HashMap::new();
    for (at, span) in spans.iter().enumerate().filter(|(_, span)| !span.server) {
        let answer = answers.get(&at).copied().flatten();
        let (right, baseline_right) = (answer == span.parent, baseline.get(&at).copied() == span.parent);
        score.calls += 1;
        score.right += usize::from(right);
        score.wrong += usize::from(answer.is_some() && !right);
        score.given += usize::from(answer.is_some());
        score.baseline += usize::from(baseline_right);
        if let Some(request) = span.parent {
            let whole = requests.entry(request).or_insert((true, true));
            *whole = (whole.0 && right, whole.1 && baseline_right);
        }
    }
    score.requests = requests.len();
    score.whole = requests.values().filter(|whole| whole.0).count();
    score.baseline_whole = requests.values().filter(|whole| whole.1).count();
    Ok(score)
}

/// As `spanhound-agent infer` gives them for a file of these spans.
fn answers(spans: &[Span]) -> Result<HashMap<usize, Option<usize>>> {
    let mut rows = Vec::new();
    for (at, span) in spans.iter().enumerate() {
        let row = json!({
            "process": "simulated",
            "id": at.to_string(),
            "kind": if span.server { "server" } else { "client" },
            "name": span.name,
            "start_us": span.start_ns / 1000,
            "end_us": span.end_ns / 1000,
        });
        writeln!(rows, "{row}")?;
    }
    let file = std::env::temp_dir().join(format!("spanhound-simulated-{}.jsonl", std::process::id()));
    std::fs::write(&file, rows).with_context(|| file.display().to_string())?;
    let mut out = Vec::new();
    let answered = infer::run(&InferArgs { file: file.clone() }, &mut out, &mut std::io::sink());
    std::fs::remove_file(&file)?;
    answered?;
    let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let Answer { id, parent } = serde_json::from_slice(line)?;
            let parent = parent.map(|parent| parent.parse()).transpose()?;
            Ok((id.parse()?, parent))
        })
        .collect()
}

/// The oldest open request that contains the call and has made none of this name yet; where there is none, the oldest.
fn first_in_first_out(spans: &[Span]) -> HashMap<usize, usize> {
    let by_start = |server: bool| {
        let mut chosen: Vec<usize> = (0..spans.len())
            .filter(|at| spans[*at].server == server)
            .collect();
        chosen.sort_by_key(|at| spans[*at].start_ns);
        chosen
    };
    let mut requests = by_start(true).into_iter().peekable();
    let mut open: Vec<usize> = Vec::new();
    let mut made: HashSet<(usize, &str)> = HashSet::new();
    let mut owners = HashMap::new();
    for at in by_start(false) {
        let call = &spans[at];
        open.extend(std::iter::from_fn(|| {
            requests.next_if(|request| spans[*request].start_ns <= call.start_ns)
        }));
        open.retain(|request| spans[*request].end_ns >= call.start_ns);
        let mut containing = open
            .iter()
            .copied()
            .filter(|request| spans[*request].end_ns >= call.end_ns);
        let fresh = containing
            .clone()
            .find(|request| !made.contains(&(*request, call.name.as_str())));
        if let Some(owner) = fresh.or_else(|| containing.next()) {
            made.insert((owner, &call.name));
            owners.insert(at, owner);
        }
    }
    owners
}

impl Score {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.right += other.right;
        self.wrong += other.wrong;
        self.given += other.given;
        self.baseline += other.baseline;
        self.requests += other.requests;
        self.whole += other.whole;
        self.baseline_whole += other.baseline_whole;
    }

    fn cells(&self) -> String {
        let percent = |count: usize, of: usize| 100.0 * count as f64 / of.max(1) as f64;
        let none = self.calls - self.right - self.wrong;
        format!(
            " {:.1} / {:.1} / {:.1} ({:.1}) | {:.2} | {:.1} ({:.1}) |",
            percent(self.right, self.calls),
            percent(self.wrong, self.calls),
            percent(none, self.calls),
            percent(self.baseline, self.calls),
            percent(self.wrong, self.given),
            percent(self.whole, self.requests),
            percent(self.baseline_whole, self.requests),
        )
    }
}
