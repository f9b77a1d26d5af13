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
    #[error("{}, after line {line}: {source}", path.display())]
    Read {
        path: PathBuf,
        line: usize,
        source: io::Error,
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
    for spans in processes {
        let (answers, beyond) = answers(&spans);
        overflowed += beyond;
        for answer in answers {
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
                    engine.decide(time_ns, &mut answers);
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
    let mut reader = open(path).map_err(|source| InferError::Open {
        path: path.to_owned(),
        source,
    })?;
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        let failed = |source| InferError::Read {
            path: path.to_owned(),
            line: line - 1,
            source,
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
mod tests {
    use super::*;
    use crate::link::inference::simulation;
    use proptest::prelude::*;
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
            Ok(self.run_reported()?.0)
        }

        fn run_reported(&self) -> Result<(String, String), InferError> {
            let (mut out, mut report) = (Vec::new(), Vec::new());
            run(&InferArgs { file: self.0.clone() }, &mut out, &mut report)?;
            Ok((
                String::from_utf8(out).unwrap(),
                String::from_utf8(report).unwrap(),
            ))
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
        assert!(matches!(cut, Err(InferError::Read { .. })), "{cut:?}");
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
    fn lines_that_are_no_spans_are_counted_and_cost_nothing_else() {
        let bad: [&[u8]; 8] = [
            b"nonsense",
            b"{\"process\":\"p\",\"id\":\"s\",\"kind\":\"other\",\"name\":\"\",\"start_us\":1,\"end_us\":2}",
            b"{\"process\":\"p\",\"id\":\"s\",\"kind\":\"server\",\"name\":\"\",\"start_us\":3,\"end_us\":2}",
            b"{\"process\":\"p\",\"id\":\"s\",\"kind\":\"server\",\"name\":\"\",\"start_us\":9223372036854775807,\"end_us\":2}",
            b"{\"process\":\"p\",\"id\":\"s\",\"kind\":\"server\",\"name\":\"\",\"start_us\":NaN,\"end_us\":2}",
            b"{\"process\":\"p\",\"id\":\"s\",\"kind\":\"server\",\"start_us\":1,\"end_us\":1e300,\"name\":\"\"}",
            b"{\"process\":\"\xff\",\"id\":\"s\",\"kind\":\"server\",\"name\":\"\",\"start_us\":1,\"end_us\":2}",
            b"[1,2]",
        ];
        let mut text = bad.join(&b"\n"[..]);
        text.push(b'\n');
        text.resize(text.len() + LINE_BYTES + 10, b'x');
        text.push(b'\n');
        text.extend_from_slice(ROWS.as_bytes());
        let (out, report) = Scratch::with(&text).run_reported().unwrap();
        assert_eq!(answered(&out), [["c", "s", "inferred"], ["d", "null", "unknown"]]);
        for expected in [
            "5 unreadable (first at line 1",
            "2 with a time out of range",
            "1 that end before",
            "1 too long",
        ] {
            assert!(report.contains(expected), "{expected} in {report}");
        }
        let error = Scratch::with(b"nonsense\n\xff\n").run().unwrap_err().to_string();
        assert!(error.contains("not one of its lines"), "{error}");
        let missing = run(
            &InferArgs {
                file: "/nowhere".into(),
            },
            &mut Vec::new(),
            &mut Vec::new(),
        )
        .unwrap_err();
        assert!(missing.to_string().starts_with("/nowhere: "), "{missing}");
        assert_eq!(Scratch::with(b"").run().unwrap(), "");
    }

    /// Rows nobody would send on purpose.
    fn odd_rows() -> impl Strategy<Value = Vec<String>> {
        let time = prop_oneof![
            Just(0_i64),
            0..50_i64,
            Just(1_655_760_362_000_000),
            -100..100_i64,
            any::<i64>()
        ];
        let row = (0..2_u8, 0..4_u8, any::<bool>(), 0..3_u8, time.clone(), time);
        let text = row.prop_map(|(process, id, server, name, start, end)| {
            let kind = if server { "server" } else { "client" };
            format!(
                r#"{{"process":"{process}","id":"{id}","kind":"{kind}","name":"{name}","start_us":{start},"end_us":{end}}}"#
            )
        });
        proptest::collection::vec(text, 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_comes_each_call_is_answered_once(rows in odd_rows()) {
            let scratch = Scratch::with(rows.join("\n").as_bytes());
            let Ok((processes, _)) = read(&scratch.0) else {
                return Ok(());
            };
            let calls = processes.iter().flatten().filter(|span| span.kind == Kind::Client).count();
            prop_assert_eq!(answered(&scratch.run().unwrap()).len(), calls);
        }
    }

    #[test]
    fn hundreds_open_at_once_at_one_moment_are_answered_in_bounded_time() {
        let mut rows = String::new();
        for number in 0..400 {
            for kind in ["server", "client"] {
                rows += &format!(
                    "{{\"process\":\"p\",\"id\":\"{kind}{number}\",\"kind\":\"{kind}\",\"name\":\"n\",\"start_us\":5,\"end_us\":5}}\n"
                );
            }
        }
        let (out, report) = Scratch::with(rows.as_bytes()).run_reported().unwrap();
        assert_eq!(out.lines().count(), 400);
        assert!(report.contains("decided early"), "{report}");
    }

    #[test]
    fn a_file_of_made_up_applications_is_answered_as_it_was() {
        let mut rows = String::new();
        let mut truth = std::collections::HashMap::new();
        let wanted = simulation::Wanted {
            requests: 80,
            open: 0.4,
        };
        for style in 0..3 {
            let spans = simulation::application(style, 11, wanted).run(11);
            for (at, span) in spans.iter().enumerate() {
                let kind = if span.server { "server" } else { "client" };
                let row = serde_json::json!({
                    "process": style.to_string(), "id": format!("{style}-{at}"), "kind": kind, "name": span.name,
                    "start_us": span.start_ns / 1000, "end_us": span.end_ns / 1000,
                });
                rows += &format!("{row}\n");
                if let Some(parent) = span.parent {
                    truth.insert(format!("{style}-{at}"), format!("{style}-{parent}"));
                }
            }
        }
        let answers = answered(&Scratch::with(rows.as_bytes()).run().unwrap());
        assert_eq!(answers.len(), truth.len());
        let right = answers
            .iter()
            .filter(|[call, parent, _]| truth[call] == *parent)
            .count();
        assert!(
            right as f64 >= 0.97 * answers.len() as f64,
            "{right} of {}",
            answers.len()
        );
    }

    #[test]
    fn the_order_of_rows_makes_no_difference() {
        let mut rows = simulated(40);
        let mut straight = answered(&Scratch::with(rows.join("\n").as_bytes()).run().unwrap());
        fastrand::Rng::with_seed(4).shuffle(&mut rows);
        let mut shuffled = answered(&Scratch::with(rows.join("\n").as_bytes()).run().unwrap());
        straight.sort();
        shuffled.sort();
        assert_eq!(straight, shuffled);
    }

    /// Rows of requests that make one call each, now and then two at once.
    fn simulated(requests: u64) -> Vec<String> {
        let mut dice = fastrand::Rng::with_seed(2);
        let mut rows = Vec::new();
        for number in 0..requests {
            let start = number * 1_000 + dice.u64(0..500);
            for (id, kind, from, to) in [
                ("s", "server", 0, 900 + dice.u64(0..300)),
                ("c", "client", 100, 600),
            ] {
                rows.push(format!(
                    "{{\"process\":\"p\",\"id\":\"{id}{number}\",\"kind\":\"{kind}\",\"name\":\"n\",\"start_us\":{},\"end_us\":{}}}",
                    start + from,
                    start + to
                ));
            }
        }
        rows
    }
}
