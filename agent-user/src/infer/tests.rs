use super::*;
use crate::link::inference::simulation;
use proptest::prelude::*;
use std::collections::HashMap;
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
    let bad: [&[u8]; 9] = [
        b"{\"process\":\"p\",\"id\":\"s\",\"kind\":\"client\",\"start_us\":1,\"end_us\":2}",
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
        "6 unreadable (first at line 1: missing field `name`",
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

/// Spans of one process, as rows, and which request made which call.
fn made_up(style: usize, wanted: simulation::Wanted, rows: &mut String, truth: &mut HashMap<String, String>) {
    let spans = simulation::application(style, 11, wanted).run(11);
    for (at, span) in spans.iter().enumerate() {
        let kind = if span.server { "server" } else { "client" };
        let row = serde_json::json!({
            "process": style.to_string(), "id": format!("{style}-{at}"), "kind": kind, "name": span.name,
            "start_us": span.start_ns / 1000, "end_us": span.end_ns / 1000,
        });
        *rows += &format!("{row}\n");
        if let Some(parent) = span.parent {
            truth.insert(format!("{style}-{at}"), format!("{style}-{parent}"));
        }
    }
}

#[test]
fn a_file_of_made_up_applications_is_answered_as_it_was() {
    let (mut rows, mut truth) = (String::new(), HashMap::new());
    let wanted = simulation::Wanted {
        requests: 80,
        open: 0.4,
    };
    for style in 0..3 {
        made_up(style, wanted, &mut rows, &mut truth);
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

#[test]
fn what_is_sure_in_one_process_makes_up_for_what_is_less_so_in_another() {
    let style = |named: &str| {
        let wanted = simulation::Wanted {
            requests: 1,
            open: 1.0,
        };
        (0..simulation::STYLE_COUNT)
            .find(|style| simulation::application(*style, 1, wanted).style == named)
            .unwrap()
    };
    let (hard, easy) = (style("loop"), style("sequence"));
    let (mut rows, mut truth) = (String::new(), HashMap::new());
    let crowded = simulation::Wanted {
        requests: 150,
        open: 3.0,
    };
    made_up(hard, crowded, &mut rows, &mut truth);
    let said_of_hard = |rows: &str| {
        let answers = answered(&Scratch::with(rows.as_bytes()).run().unwrap());
        let said = |answer: &&[String; 3]| answer[0].starts_with(&format!("{hard}-")) && answer[1] != "null";
        answers.iter().filter(said).count()
    };
    let alone = said_of_hard(&rows);
    let calm = simulation::Wanted {
        requests: 400,
        open: 0.2,
    };
    made_up(easy, calm, &mut rows, &mut truth);
    let beside = said_of_hard(&rows);
    assert!(beside > alone, "{alone} alone, {beside} beside");
}
