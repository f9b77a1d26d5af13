//! Infer: the inference rung fed from a file of spans.
//!
//! Enters: one JSON object a line, plain or gzipped: `process`, `id`, `kind` (`server` or `client`), `name`, `start_us`,
//! `end_us`; other fields are not looked at. Leaves: one line a client span: `id`, `parent` (the id of a server span of
//! the same process, or null), `confidence` (`inferred` or `unknown`), `probability`. Bounded: the file is held in memory;
//! the work is the engine's. Ids are opaque and only copied; truth that a file may hold is not read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use flate2::bufread::MultiGzDecoder;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::link::inference::{Answer, Engine, FinishedCall, Parameters};

/// Says which server span of a process caused each of its client spans, for a file of spans. Needs no privileges.
#[derive(Args, Clone, Debug)]
pub struct InferArgs {
    /// JSON lines with process, id, kind, name, start_us, end_us; gzipped or not; "-" reads standard input.
    pub file: PathBuf,
}

#[derive(Debug, Error)]
pub enum InferError {
    #[error("{}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{}, line {line}: {source}", path.display())]
    Read {
        path: PathBuf,
        line: usize,
        source: io::Error,
    },
    #[error("{}, line {line}: {problem}", path.display())]
    Row {
        path: PathBuf,
        line: usize,
        problem: String,
    },
    #[error("cannot write the answers: {0}")]
    Write(#[from] io::Error),
}

#[derive(Deserialize)]
struct Row {
    process: String,
    id: String,
    kind: Kind,
    name: String,
    start_us: i64,
    end_us: i64,
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

pub fn run(args: &InferArgs, out: &mut impl Write) -> Result<(), InferError> {
    let mut out = BufWriter::new(out);
    for spans in read(&args.file)? {
        for answer in answers(&spans) {
            let span = |at: u64| spans[at as usize].id.as_str();
            let line = Line {
                id: span(answer.call),
                parent: answer.parent.map(span),
                confidence: if answer.parent.is_some() {
                    "inferred"
                } else {
                    "unknown"
                },
                probability: answer.probability,
            };
            serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(out.flush()?)
}

/// Feeds one process's spans to an engine in the order in which they were over.
fn answers(spans: &[Span]) -> Vec<Answer> {
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
                    engine.decide(time_ns, &mut answers);
                }
            }
        }
    }
    engine.flush(&mut answers);
    answers
}

/// Spans by process, in the order in which processes first appear.
fn read(path: &Path) -> Result<Vec<Vec<Span>>, InferError> {
    let mut processes: Vec<Vec<Span>> = Vec::new();
    let mut numbers: FxHashMap<String, usize> = FxHashMap::default();
    let mut reader = open(path).map_err(|source| InferError::Open {
        path: path.to_owned(),
        source,
    })?;
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        let read = reader.read_line(&mut text).map_err(|source| InferError::Read {
            path: path.to_owned(),
            line,
            source,
        })?;
        if read == 0 {
            break;
        }
        if text.trim().is_empty() {
            continue;
        }
        let bad = |problem: String| InferError::Row {
            path: path.to_owned(),
            line,
            problem,
        };
        let row: Row = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let in_ns = |us: i64| {
            us.checked_mul(1000)
                .ok_or_else(|| bad(format!("time {us} is out of range")))
        };
        let (start_ns, end_ns) = (in_ns(row.start_us)?, in_ns(row.end_us)?);
        if end_ns < start_ns {
            return Err(bad("the span ends before it starts".to_owned()));
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
    Ok(processes)
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
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Scratch(PathBuf);

    impl Scratch {
        fn with(bytes: &[u8]) -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("spanhound-infer-{}-{number}", std::process::id()));
            std::fs::write(&path, bytes).unwrap();
            Self(path)
        }

        fn run(&self) -> Result<String, InferError> {
            let mut out = Vec::new();
            run(&InferArgs { file: self.0.clone() }, &mut out)?;
            Ok(String::from_utf8(out).unwrap())
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    const ROWS: &str = concat!(
        r#"{"process":"p","id":"s","kind":"server","name":"GET /","start_us":100,"end_us":900,"trace":"t"}"#,
        "\n\n",
        r#"{"process":"p","id":"c","kind":"client","name":"GET","start_us":200,"end_us":300,"parent":"x"}"#,
        "\n",
        r#"{"process":"q","id":"d","kind":"client","name":"GET","start_us":200,"end_us":300}"#,
    );
    /// Client span, parent and confidence of each line.
    fn answered(text: &str) -> Vec<[String; 3]> {
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines
            .map(|line| {
                assert!((0.0..=1.0).contains(&line["probability"].as_f64().unwrap()));
                ["id", "parent", "confidence"].map(|field| line[field].as_str().unwrap_or("null").to_owned())
            })
            .collect()
    }

    #[test]
    fn plain_and_gzipped_files_give_the_same_answers() {
        let answers = answered(&Scratch::with(ROWS.as_bytes()).run().unwrap());
        assert_eq!(answers, [["c", "s", "inferred"], ["d", "null", "unknown"]]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(ROWS.as_bytes()).unwrap();
        let bytes = gzip.finish().unwrap();
        assert_eq!(answered(&Scratch::with(&bytes).run().unwrap()), answers);
        let cut = Scratch::with(&bytes[..bytes.len() - 20]).run();
        assert!(
            matches!(cut, Err(InferError::Read { .. } | InferError::Row { .. })),
            "{cut:?}"
        );
    }

    #[test]
    fn rows_with_the_times_of_today_are_answered() {
        let mut rows = String::new();
        for number in 0..3_000_u64 {
            let start = 1_655_760_362_000_000 + number * 100_000;
            let mut row = |id: &str, kind: &str, from: u64, to: u64| {
                let (start, end) = (start + from, start + to);
                rows += &format!(
                    "{{\"process\":\"p\",\"id\":\"{id}{number}\",\"kind\":\"{kind}\",\"name\":\"n\",\"start_us\":{start},\"end_us\":{end}}}\n"
                );
            };
            row("s", "server", 0, 900);
            row("c", "client", 100, 500);
        }
        let answers = answered(&Scratch::with(rows.as_bytes()).run().unwrap());
        assert_eq!(answers.len(), 3_000);
        for [call, parent, _] in &answers {
            assert_eq!(call.replace('c', "s"), *parent);
        }
    }

    #[test]
    fn bad_rows_are_named_by_line() {
        for (text, expected) in [
            ("nonsense", "line 1"),
            (
                r#"{"process":"p","id":"s","kind":"other","name":"","start_us":1,"end_us":2}"#,
                "line 1",
            ),
            (
                r#"{"process":"p","id":"s","kind":"server","name":"","start_us":3,"end_us":2}"#,
                "ends before",
            ),
            (
                r#"{"process":"p","id":"s","kind":"server","name":"","start_us":9223372036854775807,"end_us":2}"#,
                "range",
            ),
        ] {
            let error = Scratch::with(text.as_bytes()).run().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let missing = run(
            &InferArgs {
                file: "/nowhere".into(),
            },
            &mut Vec::new(),
        )
        .unwrap_err();
        assert!(missing.to_string().starts_with("/nowhere: "), "{missing}");
        assert_eq!(Scratch::with(b"").run().unwrap(), "");
    }
}
