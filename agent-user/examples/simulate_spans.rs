//! Writes the spans of made-up applications, truth included, as `spanhound-agent infer` reads them.
//!
//! `cargo run --release -p spanhound-agent --example simulate_spans -- --requests 20000 --open 1 --seed 1 > SPANS.jsonl`

#[path = "../src/link/inference/simulation/mod.rs"]
mod simulation;

use std::io::{BufWriter, Write};

use clap::Parser;
use serde_json::json;

/// Spans of one application of every style, by start.
#[derive(Parser)]
struct Args {
    /// Requests to each application.
    #[arg(long, default_value_t = 1000)]
    requests: usize,
    /// Requests open at once in each application, in the mean.
    #[arg(long, default_value_t = 1.0)]
    open: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the style of this number.
    #[arg(long)]
    style: Option<usize>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let styles = match args.style {
        Some(style) => style..style + 1,
        None => 0..simulation::STYLE_COUNT,
    };
    let mut rows = Vec::new();
    for style in styles {
        let wanted = simulation::Wanted {
            requests: args.requests,
            open: args.open,
        };
        let application = simulation::application(style, args.seed, wanted);
        let spans = application.run(args.seed);
        for (at, span) in spans.iter().enumerate() {
            let id = |at: usize| format!("{style}-{at}");
            let row = json!({
                "process": application.style,
                "id": id(at),
                "kind": if span.server { "server" } else { "client" },
                "name": span.name,
                "start_us": span.start_ns / 1000,
                "end_us": span.end_ns / 1000,
                "parent": span.parent.map(id),
                "trace": id(span.parent.unwrap_or(at)),
            });
            rows.push((span.start_ns, row));
        }
    }
    rows.sort_by_key(|(start_ns, _)| *start_ns);
    let mut out = BufWriter::new(std::io::stdout().lock());
    for (_, row) in rows {
        writeln!(out, "{row}")?;
    }
    Ok(out.flush()?)
}
