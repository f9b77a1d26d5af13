//! The real process: killed, stopped, started wrongly, on a full disk; spoken to by gRPC and HTTP only.

use crate::batch::Builder;
use crate::shop::{self, Host};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;
use spanhound_proto::v1::ingest_client::IngestClient;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tonic::Code;
use tonic::transport::Channel;

/// A running collector on ports of the kernel's choice; killed when dropped.
struct Collector {
    process: Child,
    http: String,
    grpc: String,
}

impl Collector {
    fn command(store: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spanhound-collector"));
        command
            .args([
                "--http-listen",
                "127.0.0.1:0",
                "--grpc-listen",
                "127.0.0.1:0",
                "--store",
            ])
            .arg(store);
        command
            .env_remove("SPANHOUND_LOG")
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped());
        command
    }

    fn start(store: &Path) -> Self {
        let mut process = Self::command(store).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready page=http://") {
            line.clear();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "the collector ended before it was ready"
            );
        }
        // Read on, so that the process never waits for us.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let word = |prefix: &str| {
            let rest = line.split(prefix).nth(1).unwrap();
            rest.split(['/', ' ', '\n']).next().unwrap().to_owned()
        };
        Self {
            process,
            http: word("page=http://"),
            grpc: word("grpc="),
        }
    }

    async fn client(&self) -> IngestClient<Channel> {
        IngestClient::connect(format!("http://{}", self.grpc))
            .await
            .unwrap()
    }

    /// Status and body of a request.
    fn http(&self, head: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        let length = body.len();
        write!(
            stream,
            "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n"
        )
        .unwrap();
        write!(stream, "Content-Type: application/x-protobuf\r\n\r\n").unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap();
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }

    fn json(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.http(&format!("GET {path}"), b"");
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    fn spans_stored(&self) -> u64 {
        self.json("/api/v1/agents")["collector"]["spans_stored"]
            .as_u64()
            .unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn batch(run_id: u64, sequence: u64, requests: u64) -> Builder {
    let mut builder = Builder::new(run_id, sequence);
    for number in 0..requests {
        shop::request(
            &mut builder,
            Host::Edge,
            run_id * 1_000_000 + sequence * 1_000 + number,
            now_ns(),
        );
    }
    let (agent, health) = shop::agent(Host::Edge, now_ns());
    (builder.batch.agent, builder.batch.health) = (Some(agent), Some(health));
    builder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_acknowledged_and_repeats_are_stored_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = vec![0u64; 4];
    for round in 1..=3 {
        let mut collector = Collector::start(directory.path());
        // Four agents send as fast as they are answered until the collector is killed under them.
        let mut senders = Vec::new();
        for (run_id, done) in (1..).zip(&acknowledged) {
            let (mut client, mut sequence) = (collector.client().await, *done);
            senders.push(tokio::spawn(async move {
                while client.send(batch(run_id, sequence + 1, 20).batch).await.is_ok() {
                    sequence += 1;
                }
                sequence
            }));
        }
        let before: u64 = acknowledged.iter().sum();
        while collector.spans_stored() < (before + round * 20) * 40 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        collector.signal("-KILL");
        collector.process.wait().unwrap();
        for (done, sender) in acknowledged.iter_mut().zip(senders) {
            *done = sender.await.unwrap();
        }
    }
    let collector = Collector::start(directory.path());
    let batches: u64 = acknowledged.iter().sum();
    // What was on its way when the collector was killed may be stored without having been acknowledged, once an agent.
    let extra = collector.spans_stored() - batches * 40;
    assert!(
        extra <= 3 * 4 * 40 && extra.is_multiple_of(40),
        "{extra} spans more than acknowledged"
    );
    // The agents repeat it and go on: then everything is there once.
    for (run_id, done) in (1..).zip(&acknowledged) {
        collector
            .client()
            .await
            .send(batch(run_id, done + 1, 20).batch)
            .await
            .unwrap();
    }
    assert_eq!(collector.spans_stored(), (batches + 4) * 40);
    let map = collector.json("/api/v1/map");
    let nginx = map["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|node| node["id"] == "service:nginx")
        .unwrap();
    assert_eq!(nginx["summary"]["count"], (batches + 4) * 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stops_cleanly_and_keeps_everything() {
    for signal in ["-TERM", "-INT"] {
        let directory = tempfile::tempdir().unwrap();
        let mut collector = Collector::start(directory.path());
        collector
            .client()
            .await
            .send(batch(1, 1, 50).batch)
            .await
            .unwrap();
        collector.signal(signal);
        assert!(collector.process.wait().unwrap().success());
        let collector = Collector::start(directory.path());
        assert_eq!(collector.spans_stored(), 100);
        assert_eq!(
            collector.json("/api/v1/agents")["agents"][0]["id"],
            "agent-edge-1"
        );
    }
}

/// Exit status and what it said.
fn refused(command: &mut Command) -> (ExitStatus, String) {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    (output.status, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn wrong_starts_say_what_is_wrong_and_differ_by_status() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let binary = env!("CARGO_BIN_EXE_spanhound-collector");
    let (status, text) = refused(Command::new(binary).arg("--config").arg(path("missing.toml")));
    assert!(
        status.code() == Some(3) && text.contains("missing.toml"),
        "{status} {text}"
    );
    std::fs::write(path("bad.toml"), "[store]\nretention = 5\n").unwrap();
    let (status, text) = refused(Command::new(binary).arg("--config").arg(path("bad.toml")));
    assert!(
        status.code() == Some(3) && text.contains("bad.toml") && text.contains("line 2"),
        "{status} {text}"
    );
    let (status, text) = refused(Command::new(binary).arg("--colour"));
    assert!(
        status.code() == Some(2) && text.contains("--colour"),
        "{status} {text}"
    );

    let running = Collector::start(&path("store"));
    for (option, purpose) in [("--http-listen", "page"), ("--grpc-listen", "agents")] {
        let other = Collector::command(&path("other"))
            .args([option, &running.http])
            .output()
            .unwrap();
        // The option is given twice; clap takes no second one, so a file says it.
        assert_eq!(other.status.code(), Some(2));
        let name = option.trim_start_matches("--").replace('-', "_");
        let free = if name == "http_listen" {
            "grpc_listen"
        } else {
            "http_listen"
        };
        let text = format!(
            "{name} = '{}'\n{free} = '127.0.0.1:0'\n[store]\ndirectory = {:?}",
            running.http,
            path("other")
        );
        std::fs::write(path("taken.toml"), text).unwrap();
        let (status, text) = refused(Command::new(binary).arg("--config").arg(path("taken.toml")));
        assert!(
            status.code() == Some(4) && text.contains(&running.http) && text.contains(purpose),
            "{status} {text}"
        );
    }
    let (status, text) = refused(&mut Collector::command(&path("store")));
    assert!(
        status.code() == Some(5) && text.contains("in use"),
        "{status} {text}"
    );
    // Not even root can write there.
    let (status, text) = refused(&mut Collector::command(Path::new("/proc/spanhound")));
    assert!(
        status.code() == Some(5) && text.contains("/proc/spanhound"),
        "{status} {text}"
    );
    std::fs::write(path("file"), "").unwrap();
    let (status, text) = refused(&mut Collector::command(&path("file")));
    assert!(
        status.code() == Some(5) && text.contains("file"),
        "{status} {text}"
    );
}

/// A small file system, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` without the right to mount.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(directory.path());
        command
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
            .then(|| Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status().unwrap();
        assert!(unmounted.success() || std::thread::panicking());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_batches_answers_queries_and_recovers() {
    let Some(disk) = SmallDisk::mount() else {
        assert_ne!(std::env::var("USER").as_deref(), Ok("root"), "root may mount");
        eprintln!("not tested: a full disk, which needs the right to mount one");
        return;
    };
    let collector = Collector::start(&disk.0.path().join("store"));
    let mut client = collector.client().await;
    client.send(batch(1, 1, 50).batch).await.unwrap();
    let ballast = disk.0.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 4_096]).is_ok() {}
    let mut sequence = 2;
    let refused = loop {
        match client.send(batch(1, sequence, 50).batch).await {
            Ok(_) => sequence += 1,
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(
        refused.message().contains("repeat later"),
        "{}",
        refused.message()
    );
    assert_eq!(collector.spans_stored(), (sequence - 1) * 100);
    assert_eq!(
        collector.json("/api/v1/transactions")["total"],
        (sequence - 1) * 50
    );
    assert_eq!(
        collector.json("/api/v1/agents")["collector"]["losses"]["batches_refused_disk"],
        1
    );
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    client.send(batch(1, sequence, 50).batch).await.unwrap();
    assert_eq!(collector.spans_stored(), sequence * 100);
    let store = disk.0.path().join("store");
    drop(collector);
    let collector = Collector::start(&store);
    assert_eq!(collector.spans_stored(), sequence * 100);
}

fn export(trace: u128, spans: &[(u64, u64, otlp::span::SpanKind)]) -> ExportTraceServiceRequest {
    let text = |text: &str| {
        Some(AnyValue {
            value: Some(any_value::Value::StringValue(text.to_owned())),
        })
    };
    let attribute = |key: &str, value| KeyValue {
        key: key.to_owned(),
        value,
        ..KeyValue::default()
    };
    let spans = spans.iter().map(|(id, parent, kind)| otlp::Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if *parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().to_vec()
        },
        name: format!("span {id}"),
        kind: *kind as i32,
        start_time_unix_nano: now_ns(),
        end_time_unix_nano: now_ns() + 5_000_000,
        attributes: vec![
            attribute("http.request.method", text("GET")),
            attribute("url.path", text("/x")),
        ],
        ..otlp::Span::default()
    });
    let resource = Resource {
        attributes: vec![attribute("service.name", text("legacy"))],
        ..Resource::default()
    };
    let scope_spans = vec![otlp::ScopeSpans {
        spans: spans.collect(),
        ..otlp::ScopeSpans::default()
    }];
    let resource_spans = otlp::ResourceSpans {
        resource: Some(resource),
        scope_spans,
        ..otlp::ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn otlp_by_grpc_and_http_becomes_one_trace_with_agents_spans() {
    use otlp::span::SpanKind::{Client, Internal, Server};
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start(directory.path());
    let trace = 0xabcd;
    let mut client = TraceServiceClient::connect(format!("http://{}", collector.grpc))
        .await
        .unwrap();
    client
        .export(export(trace, &[(1, 0, Server), (2, 1, Internal)]))
        .await
        .unwrap();
    let body = export(trace, &[(3, 2, Client), (0, 2, Client)]).encode_to_vec();
    let (status, answer) = collector.http("POST /v1/traces", &body);
    assert_eq!(status, 200);
    let answer = ExportTraceServiceResponse::decode(answer.as_slice()).unwrap();
    assert_eq!(answer.partial_success.unwrap().rejected_spans, 1);
    let tree = collector.json(&format!("/api/v1/traces/{trace:032x}"));
    assert_eq!(
        (tree["span_count"].as_u64(), tree["complete"].as_bool()),
        (Some(3), Some(true))
    );
    let last = &tree["spans"][2];
    assert_eq!(
        (last["service"].as_str(), last["link"]["method"].as_str()),
        (Some("legacy"), Some("otlp"))
    );
    assert_eq!(
        (last["operation"].as_str(), last["target"].as_str()),
        (Some("GET"), Some("/x"))
    );
    assert_eq!(collector.http("POST /v1/traces", b"no protobuf").0, 400);
}

#[test]
fn the_api_answers_errors_as_json_and_the_page_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start(directory.path());
    for (path, status, code) in [
        ("/api/v1/map?from_ms=2&to_ms=1", 400, "bad_range"),
        ("/api/v1/scatter", 400, "bad_parameter"),
        ("/api/v1/map?depth=9", 400, "bad_parameter"),
        ("/api/v1/transactions?sort=name", 400, "bad_parameter"),
        ("/api/v1/transactions?cursor=x", 400, "bad_cursor"),
        ("/api/v1/traces/xyz", 400, "bad_trace_id"),
        (
            "/api/v1/traces/00000000000000000000000000000001",
            404,
            "not_found",
        ),
        ("/api/v1/nothing", 404, "not_found"),
    ] {
        let (got, body) = collector.http(&format!("GET {path}"), b"");
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (got, body["error"]["code"].as_str()),
            (status, Some(code)),
            "{path}"
        );
        assert!(!body["error"]["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(collector.json("/healthz")["status"], "ok");
    let (status, page) = collector.http("GET /", b"");
    assert!(status == 200 && String::from_utf8_lossy(&page).contains("<!doctype html>"));
}
