//! Damaged files, too much data and too little memory: counted, survived, nothing else lost.

use crate::batch::Builder;
use crate::rig::{BEGIN_NS, Rig, SECOND_NS};
use crate::shop::{self, Host};
use spanhound_collector::ingest::Refusal;
use spanhound_proto::v1;
use std::fs;
use std::path::PathBuf;

fn batch(sequence: u64, first: u64, requests: u64, start_ns: u64) -> Builder {
    let mut builder = Builder::new(5, sequence);
    for number in first..first + requests {
        shop::request(&mut builder, Host::Edge, number, start_ns);
    }
    builder
}

fn files(directory: PathBuf, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(path, extension));
        } else if path.to_string_lossy().ends_with(extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_torn_log_loses_the_torn_batch_and_says_so() {
    let mut rig = Rig::new();
    for sequence in 1..=3 {
        rig.send(batch(sequence, sequence * 10, 10, BEGIN_NS))
            .await
            .unwrap();
    }
    rig.close().await;
    let log = files(rig.path().join("wal"), ".wal").pop().unwrap();
    let content = fs::read(&log).unwrap();
    fs::write(&log, &content[..content.len() - 7]).unwrap();
    rig.open();
    assert_eq!(rig.spans_stored(), 40);
    assert!(rig.loss("wal_damaged_bytes") > 0);
    // The sender repeats what was lost; it is not taken for stored.
    rig.send(batch(3, 30, 10, BEGIN_NS)).await.unwrap();
    assert_eq!(rig.spans_stored(), 60);
}

#[tokio::test]
async fn a_damaged_segment_is_put_aside_and_the_others_are_read() {
    for (extension, damage) in [(".spans.parquet", 40), (".points.parquet", 40), (".rollup", 3)] {
        let mut rig = Rig::new();
        for sequence in 1..=2 {
            rig.send(batch(sequence, sequence * 10, 10, BEGIN_NS))
                .await
                .unwrap();
            rig.flush().await;
        }
        rig.close().await;
        let file = files(rig.path().join("segments"), extension).remove(0);
        let content = fs::read(&file).unwrap();
        fs::write(&file, &content[..content.len() - damage]).unwrap();
        rig.open();
        assert_eq!(
            (
                rig.loss("segments_damaged"),
                rig.loss("spans_in_damaged_segments")
            ),
            (1, 20)
        );
        assert_eq!(rig.ask("transactions", &rig.all_time())["total"], 10);
        assert_eq!(files(rig.path().join("damaged"), "").len(), 3);
        rig.reopen().await;
        assert_eq!(rig.loss("segments_damaged"), 0);
    }
}

#[tokio::test]
async fn a_segment_damaged_while_running_is_left_out_and_counted() {
    let rig = Rig::new();
    rig.send(batch(1, 0, 10, BEGIN_NS)).await.unwrap();
    rig.flush().await;
    rig.send(batch(2, 10, 10, BEGIN_NS)).await.unwrap();
    for extension in [".points.parquet", ".rollup"] {
        let file = files(rig.path().join("segments"), extension).remove(0);
        fs::write(&file, b"PAR1").unwrap();
    }
    assert_eq!(rig.ask("transactions", &rig.all_time())["total"], 10);
    assert!(rig.counts().contains(&("service:nginx".to_owned(), 10)));
    assert!(rig.loss("segment_read_errors") >= 2);
}

#[tokio::test]
async fn files_no_manifest_names_are_removed_and_a_lost_manifest_is_rebuilt() {
    let mut rig = Rig::new();
    rig.send(batch(1, 0, 10, BEGIN_NS)).await.unwrap();
    rig.flush().await;
    let counts = rig.counts();
    rig.close().await;
    let orphan = rig.path().join("segments/2027-01-01T00");
    fs::create_dir(&orphan).unwrap();
    fs::write(orphan.join("000000000009.spans.parquet"), b"half").unwrap();
    rig.open();
    assert!(!orphan.exists());
    rig.close().await;
    fs::write(rig.path().join("manifest.json"), b"{\"version\":").unwrap();
    rig.open();
    assert_eq!((rig.spans_stored(), rig.loss("manifests_rebuilt")), (20, 1));
    assert_eq!(rig.counts(), counts);
}

#[tokio::test]
async fn what_is_past_retention_goes() {
    let rig = Rig::with(|config| {
        config.store.retention_hours = 2;
        config.store.segment_seconds = 60;
    });
    rig.send(batch(1, 0, 10, BEGIN_NS)).await.unwrap();
    rig.flush().await;
    rig.pass(3_600 * SECOND_NS).await;
    rig.send(batch(2, 10, 10, rig.now_ns())).await.unwrap();
    rig.flush().await;
    rig.pass(3_660 * SECOND_NS).await;
    rig.flush().await;
    assert_eq!(rig.ask("transactions", &rig.all_time())["total"], 10);
    assert_eq!(files(rig.path().join("segments"), ".spans.parquet").len(), 1);
    // Older than what is kept: refused, counted, told to the sender.
    let kept = rig.send(batch(3, 20, 1, BEGIN_NS)).await.unwrap();
    assert_eq!((kept.refused.get("too_old"), rig.loss("too_old")), (Some(&2), 2));
}

#[tokio::test]
async fn small_segments_are_merged_and_answers_stay_the_same() {
    let mut rig = Rig::new();
    for sequence in 1..=10 {
        rig.send(batch(
            sequence,
            sequence * 10,
            10,
            BEGIN_NS + sequence * SECOND_NS,
        ))
        .await
        .unwrap();
        rig.flush().await;
    }
    let ask = |rig: &Rig| {
        let trace = rig.ask(&format!("{:032x}", 1u128 << 64 | 55), &[]);
        (rig.counts(), rig.ask("transactions", &rig.all_time()), trace)
    };
    let before = ask(&rig);
    rig.pass(20 * SECOND_NS).await;
    rig.flush().await;
    let segments = |rig: &Rig| files(rig.path().join("segments"), ".spans.parquet").len();
    assert_eq!(rig.ask("agents", &[])["collector"]["segments"], 1);
    assert_eq!(ask(&rig), before);
    // What was replaced goes a round later; a manifest lost before that counts nothing twice.
    assert_eq!(segments(&rig), 11);
    rig.close().await;
    fs::write(rig.path().join("manifest.json"), b"").unwrap();
    rig.open();
    assert_eq!(
        (ask(&rig), rig.loss("manifests_rebuilt"), segments(&rig)),
        (before, 1, 1)
    );
}

#[tokio::test]
async fn the_disk_bound_holds_by_removing_the_oldest() {
    let rig = Rig::with(|config| config.store.retention_bytes = 60_000);
    for sequence in 1..=6 {
        rig.send(batch(
            sequence,
            sequence * 100,
            100,
            BEGIN_NS + sequence * SECOND_NS,
        ))
        .await
        .unwrap();
        rig.flush().await;
    }
    rig.pass(20 * SECOND_NS).await;
    rig.flush().await;
    let agents = rig.ask("agents", &[]);
    assert!(
        agents["collector"]["store_bytes"].as_u64().unwrap() <= 60_000,
        "{agents}"
    );
    let left = rig.ask(
        "transactions",
        &[&rig.all_time()[..], &[("order", "desc"), ("limit", "1")]].concat(),
    );
    assert!((100..600).contains(&left["total"].as_u64().unwrap()));
    assert_eq!(
        left["transactions"][0]["time_ms"],
        (BEGIN_NS / 1_000_000 + 6_000) as f64
    );
}

#[tokio::test]
async fn memory_is_bounded_by_refusing_and_recovers() {
    let mut rig = Rig::with(|config| {
        config.store.segment_bytes = 100_000;
        config.store.memory_bytes = 200_000;
    });
    // Segments cannot be written: a file is where their directory should be.
    fs::remove_dir(rig.path().join("segments")).unwrap();
    fs::write(rig.path().join("segments"), b"").unwrap();
    let mut taken = 0;
    let refused = loop {
        match rig.send(batch(taken + 1, taken * 100, 100, BEGIN_NS)).await {
            Ok(_) => taken += 1,
            Err(refusal) => break refusal,
        }
        assert!(taken < 100);
        rig.pass(6 * SECOND_NS).await;
    };
    assert!(matches!(refused, Refusal::Memory) && rig.loss("batches_refused_memory") > 0);
    assert!(
        rig.ask("agents", &[])["collector"]["buffered_bytes"]
            .as_u64()
            .unwrap()
            < 400_000
    );
    assert_eq!(rig.ask("transactions", &rig.all_time())["total"], taken * 100);
    fs::remove_file(rig.path().join("segments")).unwrap();
    rig.flush().await;
    rig.send(batch(taken + 1, taken * 100, 100, BEGIN_NS))
        .await
        .unwrap();
    assert_eq!(
        rig.ask("transactions", &rig.all_time())["total"],
        (taken + 1) * 100
    );
    rig.reopen().await;
    assert_eq!(rig.spans_stored(), (taken + 1) * 200);
}

#[tokio::test]
async fn malformed_spans_are_refused_one_by_one() {
    let rig = Rig::new();
    let mut builder = batch(1, 0, 1, BEGIN_NS);
    let good = builder.batch.spans[0].clone();
    let spans = &mut builder.batch.spans;
    let mut add = |change: fn(&mut v1::Span)| {
        let mut span = good.clone();
        change(&mut span);
        spans.push(span);
    };
    add(|span| span.trace_id = vec![1; 15]);
    add(|span| span.trace_id = vec![0; 16]);
    add(|span| span.span_id = 0);
    add(|span| span.name = 9_999);
    add(|span| span.instance = 9_999);
    add(|span| span.kind = 99);
    add(|span| span.start_unix_ns = u64::MAX);
    add(|span| span.start_unix_ns = 0);
    let kept = rig.send(builder).await.unwrap();
    let expected = [
        ("bad_enum_value", 1),
        ("bad_instance_index", 1),
        ("bad_string_index", 1),
        ("in_future", 1),
        ("malformed_span_id", 1),
        ("malformed_trace_id", 2),
        ("too_old", 1),
    ];
    assert_eq!(kept.refused, expected.into());
    assert_eq!((rig.spans_stored(), rig.loss("malformed_trace_id")), (2, 2));
    let mut builder = Builder::new(1, 2);
    builder.batch.spans = vec![v1::Span::default(); 100_001];
    assert!(matches!(rig.send(builder).await, Err(Refusal::TooLarge(_))));
    assert_eq!(rig.loss("batches_too_large"), 1);
}

#[tokio::test]
async fn every_field_comes_back_from_a_segment() {
    use v1::attribute::Value;
    let rig = Rig::new();
    let mut builder = batch(1, 0, 1, BEGIN_NS);
    let texts = v1::TextList {
        texts: vec![builder.text("a"), builder.text("b")],
    };
    let values = [
        ("http.route", Value::Text(builder.text("/r"))),
        ("http.response.status_code", Value::Integer(503)),
        ("url.path", Value::Integer(7)),
        ("own.number", Value::Number(0.5)),
        ("own.flag", Value::Boolean(true)),
        ("own.list", Value::Texts(texts)),
    ];
    let attributes = values
        .map(|(key, value)| v1::Attribute {
            key: builder.text(key),
            value: Some(value),
        })
        .to_vec();
    builder.batch.spans[1].attributes = attributes;
    builder.batch.spans[1].unanswered = builder.text("closed");
    rig.send(builder).await.unwrap();
    let trace = format!("{:032x}", 1u128 << 64 | 1);
    let before = rig.ask(&trace, &[]);
    rig.flush().await;
    assert_eq!(rig.ask("agents", &[])["collector"]["segments"], 1);
    assert_eq!(rig.ask(&trace, &[]), before);
    assert_eq!(before["spans"][1]["attributes"].as_object().unwrap().len(), 6);
}
