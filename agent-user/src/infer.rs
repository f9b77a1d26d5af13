//! Infer: the inference rung fed from a file of spans.
//!
//! Enters: one JSON object a line, plain or gzipped: `process`, `id`, `kind` (`server` or `client`), `name`, `start_us`,
//! `end_us`; other fields are not looked at. Leaves: one line a client span: `id`, `parent` (the id of a server span of
//! the same process, or null), `confidence` (`inferred` or `unknown`), `probability`; and what was left out, by reason, on
//! standard error. Bounded: the file is held in memory, a line's length is; the work is the engine's. Rows may come in any
//! order. Ids are opaque and only copied; truth that a file may hold is not read.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use flate2::bufread::MultiGzDecoder;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::link::inference::{Answer, Engine, FinishedCall, Parameters, Threshold};

/// Says which server span of a process caused each of its client spans, for a file of spans. Needs no privileges.
#[derive(Args, Clone, Debug)]
pub struct InferArgs {
    /// JSON lines with process, id, kind, name, start_us, end_us; gzipped or not; "-" reads standard input.
    pub file: PathBuf,
}

#[derive(Debug, Error)]
pub enum InferError {
    #[error("{}: {cause}", path.display())]
    Open { path: PathBuf, cause: io::Error },
    #[error("{}, after line {line}: {cause}", path.display())]
    Read {
        path: PathBuf,
        line: usize,
        cause: io::Error,
    },
    #[error("{}: not one of its lines is a span: {skipped}", path.display())]
    NoSpan { path: PathBuf, skipped: Skipped },
    #[error("cannot write the answers: {0}")]
    Write(#[from] io::Error),
}

#[derive(Deserialize)]
struct Row {
    process: String,
    id: String,
    kind: Kind,
    name: String,
    start_us: Time,
    end_us: Time,
}

/// Microseconds, whole or not.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Time {
    Whole(i64),
    Fraction(f64),
}

impl Time {
    /// `None` beyond what nanoseconds since 1970 can say, either way.
    fn ns(self) -> Option<i64> {
        let ns = match self {
            Time::Whole(us) => us.checked_mul(1000)?,
            Time::Fraction(us) => (us * 1000.0) as i64,
        };
        (ns.unsigned_abs() < MOST_NS).then_some(ns)
    }
}

/// Half of what 64 bits hold: differences of two times fit as well.
const MOST_NS: u64 = 1 << 62;

/// Lines left out, by reason, each with the first one's number and what was wrong with it.
#[derive(Debug, Default)]
pub struct Skipped {
    reasons: BTreeMap<&'static str, (usize, usize, String)>,
}

impl Skipped {
    fn note(&mut self, reason: &'static str, line: usize, problem: impl FnOnce() -> String) {
        let noted = self.reasons.entry(reason);
        noted.or_insert_with(|| (0, line, problem())).0 += 1;
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (reason, (count, line, problem))) in self.reasons.iter().enumerate() {
            let comma = if at > 0 { "; " } else { "" };
            write!(f, "{comma}{count} {reason} (first at line {line}: {problem})")?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Server,
    Client,
}

struct Span {
    id: String,
    kind: Kind,
    name: String,
    start_ns: i64,
    end_ns: i64,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    parent: Option<&'a str>,
    confidence: &'static str,
    probability: f32,
}

/// Calls between two rounds of answers.
const BATCH: usize = 1024;

/// A longer line is left out.
const LINE_BYTES: usize = 1 << 20;

pub fn run(args: &InferArgs, out: &mut impl Write, report: &mut impl Write) -> Result<(), InferError> {
    let mut out = BufWriter::new(out);
    let (processes, skipped) = read(&args.file)?;
    if !skipped.reasons.is_empty() {
        writeln!(report, "left out: {skipped}")?;
    }
    let mut overflowed = 0;
    // What is sure in one process makes up for what is less so in another.
    let mut threshold = Threshold::new(Parameters::FILE_ERROR_BUDGET);
    let mut answered = Vec::with_capacity(processes.len());
    for spans in processes {
        let (answers, beyond) = answers(&spans);
        overflowed += beyond;
        let given = answers.iter().filter(|answer| answer.parent.is_some());
        given.for_each(|answer| threshold.note(answer.probability));
        answered.push((spans, answers));
    }
    threshold.settle();
    for (spans, answers) in answered {
        for answer in answers {
            let parent = answer.parent.filter(|_| answer.probability >= threshold.least());
            let span = |at: u64| spans[at as usize].id.as_str();
            let line = Line {
                id: span(answer.call),
                parent: parent.map(span),
                confidence: if parent.is_some() { "inferred" } else { "unknown" },
                probability: answer.probability,
            };
            serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
    }
    if overflowed > 0 {
        writeln!(report, "decided early, too many open at once: {overflowed} spans")?;
    }
    Ok(out.flush()?)
}

/// Feeds one process's spans to an engine in the order in which they were over.
fn answers(spans: &[Span]) -> (Vec<Answer>, u64) {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Moment {
        Start,
        End,
    }
    let mut moments: Vec<(i64, Moment, usize)> = Vec::with_capacity(2 * spans.len());
    for (at, span) in spans.iter().enumerate() {
        moments.push((span.end_ns, Moment::End, at));
        if span.kind == Kind::Server {
            moments.push((span.start_ns, Moment::Start, at));
        }
    }
    moments.sort_unstable();
    let mut engine = Engine::new(Parameters::offline());
    let mut answers = Vec::new();
    let mut calls = 0;
    for (time_ns, moment, at) in moments {
        let (span, id) = (&spans[at], at as u64);
        match (span.kind, moment) {
            (Kind::Server, Moment::Start) => engine.request_started(id, &span.name, span.start_ns),
            (Kind::Server, Moment::End) => engine.request_finished(id, span.end_ns),
            (Kind::Client, _) => {
                engine.call_finished(&FinishedCall {
                    id,
                    name: &span.name,
                    start_ns: span.start_ns,
                    end_ns: span.end_ns,
                    known: None,
                    hint: None,
                });
                calls += 1;
                if calls % BATCH == 0 {
                    engine.decide(time_ns, i64::MAX, &mut answers);
                }
            }
        }
    }
    engine.flush(&mut answers);
    (answers, engine.overflowed())
}

/// Spans by process, in the order in which processes first appear.
fn read(path: &Path) -> Result<(Vec<Vec<Span>>, Skipped), InferError> {
    let mut processes: Vec<Vec<Span>> = Vec::new();
    let mut numbers: FxHashMap<String, usize> = FxHashMap::default();
    let mut skipped = Skipped::default();
    let mut reader = open(path).map_err(|cause| InferError::Open {
        path: path.to_owned(),
        cause,
    })?;
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        let failed = |cause| InferError::Read {
            path: path.to_owned(),
            line: line - 1,
            cause,
        };
        let mut limited = reader.by_ref().take(LINE_BYTES as u64);
        if limited.read_until(b'\n', &mut text).map_err(failed)? == 0 {
            break;
        }
        if text.len() == LINE_BYTES && !text.ends_with(b"\n") {
            reader.skip_until(b'\n').map_err(failed)?;
            skipped.note("too long", line, || format!("over {LINE_BYTES} bytes"));
            continue;
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        let row: Row = match serde_json::from_slice(&text) {
            Ok(row) => row,
            Err(error) => {
                skipped.note("unreadable", line, || error.to_string());
                continue;
            }
        };
        let (Some(start_ns), Some(end_ns)) = (row.start_us.ns(), row.end_us.ns()) else {
            skipped.note("with a time out of range", line, || {
                "beyond 146 years of 1970".to_owned()
            });
            continue;
        };
        if end_ns < start_ns {
            skipped.note("that end before they start", line, || {
                format!("{} ns", end_ns - start_ns)
            });
            continue;
        }
        let number = *numbers.entry(row.process).or_insert(processes.len());
        if number == processes.len() {
            processes.push(Vec::new());
        }
        processes[number].push(Span {
            id: row.id,
            kind: row.kind,
            name: row.name,
            start_ns,
            end_ns,
        });
    }
    if processes.is_empty() && !skipped.reasons.is_empty() {
        let path = path.to_owned();
        return Err(InferError::NoSpan { path, skipped });
    }
    Ok((processes, skipped))
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let raw: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(path)?),
    };
    let mut raw = BufReader::new(raw);
    Ok(match raw.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(BufReader::new(MultiGzDecoder::new(raw))),
        false => Box::new(raw),
    })
}

#[cfg(test)]
mod tests;
