//! Victims: services under full load, and what the load generator says of them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;
use spanhound_tests::service::{Nginx, Postgresql, Redis, program, python_program};
use spanhound_tests::stage::{Signal, Stage, free};
use spanhound_tests::tree;

use crate::command;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// nginx, a file of 1 KiB
    Nginx,
    /// Redis GET without pipelining
    Redis,
    /// PostgreSQL `select 1`, simple protocol
    Postgresql,
    /// Go's net/http, 1 KiB
    Go,
}

/// A service that runs, and how to load it.
pub(crate) struct Victim {
    kind: Kind,
    port: u16,
    pub(crate) pid: u32,
}

/// What a load generator measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) requests: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) p99_ms: f64,
}

impl Victim {
    pub(crate) fn start(kind: Kind, stage: &mut Stage) -> Result<Self> {
        let port = free(0)?;
        let pid = match kind {
            Kind::Nginx => {
                std::fs::write(stage.directory().join("index.html"), "x".repeat(1024))?;
                let http = "    server { listen 127.0.0.1:PORT; root DIRECTORY; }";
                Nginx::start(stage, port, 1, http)?.pid
            }
            Kind::Redis => Redis::start(stage, port)?.pid,
            Kind::Postgresql => {
                std::fs::write(stage.directory().join("select.sql"), "select 1;\n")?;
                Postgresql::start(stage, port)?.pid
            }
            Kind::Go => {
                let server = stage.directory().join("hello");
                let mut build =
                    command::in_directory(python_program("go")?, &tree::root().join("tests/services/hello"));
                build.args(["build", "-o"]).arg(&server).arg(".");
                build
                    .env("GOTOOLCHAIN", "local")
                    .env("GOPROXY", "off")
                    .env("GOCACHE", tree::target().join("go-cache"));
                command::output(build.env("CGO_ENABLED", "0"))?;
                let mut start = Command::new(server);
                start.env("PORT", port.to_string()).env("GOMAXPROCS", "1");
                stage.start_server("hello", start, Signal::Terminate, port)?
            }
        };
        Ok(Self { kind, port, pid })
    }

    /// The address of an HTTP victim.
    pub(crate) fn address(&self) -> Option<String> {
        matches!(self.kind, Kind::Nginx | Kind::Go).then(|| format!("http://127.0.0.1:{}/", self.port))
    }

    /// As fast as it can, from so many connections.
    pub(crate) fn load(&self, stage: &Stage, connections: u32, seconds: u32) -> Result<Measured> {
        match self.kind {
            Kind::Nginx | Kind::Go => wrk(self.port, connections, seconds),
            Kind::Redis => redis_benchmark(self.port, connections, seconds),
            Kind::Postgresql => pgbench(stage.directory(), self.port, connections, seconds),
        }
    }
}

fn wrk(port: u16, connections: u32, seconds: u32) -> Result<Measured> {
    let said = command::output(
        Command::new(program("wrk")?)
            .args(["--threads=1", "--latency"])
            .arg(format!("--connections={connections}"))
            .arg(format!("--duration={seconds}s"))
            .arg(format!("http://127.0.0.1:{port}/")),
    )?;
    read_wrk(&said).with_context(|| format!("wrk said something else:\n{said}"))
}

fn read_wrk(said: &str) -> Option<Measured> {
    let after = |start: &str| {
        said.lines()
            .find_map(|line| Some(line.trim().strip_prefix(start)?.trim()))
    };
    let requests_per_second = after("Requests/sec:")?.parse().ok()?;
    let requests = said
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())?;
    Some(Measured {
        requests,
        requests_per_second,
        p99_ms: milliseconds(after("99%")?)?,
    })
}

/// `1.20ms`, `870.00us`, `1.02s`
fn milliseconds(text: &str) -> Option<f64> {
    let (number, factor) = if let Some(number) = text.strip_suffix("us") {
        (number, 1e-3)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1.0)
    } else {
        (text.strip_suffix('s')?, 1e3)
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// It knows a number of requests, no time: a short run tells how many fit.
fn redis_benchmark(port: u16, connections: u32, seconds: u32) -> Result<Measured> {
    let run = |requests: f64| -> Result<Measured> {
        let said = command::output(
            Command::new(program("redis-benchmark")?)
                .args([
                    "-h",
                    "127.0.0.1",
                    "-t",
                    "get",
                    "--csv",
                    "--precision",
                    "3",
                    "-p",
                    &port.to_string(),
                ])
                .args(["-c", &connections.to_string(), "-n", &format!("{requests:.0}")]),
        )?;
        // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
        let fields = said.lines().find(|line| line.starts_with("\"GET\"")).map(|line| {
            line.split(',')
                .map(|field| field.trim_matches('"').parse().unwrap_or(f64::NAN))
                .collect::<Vec<f64>>()
        });
        let fields = fields.filter(|fields| fields.len() >= 7);
        let fields = fields.with_context(|| format!("redis-benchmark said something else:\n{said}"))?;
        Ok(Measured {
            requests,
            requests_per_second: fields[1],
            p99_ms: fields[6],
        })
    };
    let probe = run(20_000.0)?;
    let measured = run((probe.requests_per_second * f64::from(seconds)).max(1_000.0))?;
    Ok(Measured {
        requests: measured.requests + probe.requests,
        ..measured
    })
}

fn pgbench(directory: &Path, port: u16, connections: u32, seconds: u32) -> Result<Measured> {
    let logs = directory.join("pgbench");
    if logs.exists() {
        std::fs::remove_dir_all(&logs)?;
    }
    std::fs::create_dir_all(&logs)?;
    command::output(
        command::in_directory(program("pgbench")?, &logs)
            .args([
                "--no-vacuum",
                "--log",
                "--host=127.0.0.1",
                "--username=shop",
                "--jobs=1",
            ])
            .arg(format!("--port={port}"))
            .arg(format!("--client={connections}"))
            .arg(format!("--time={seconds}"))
            .arg("--file")
            .arg(directory.join("select.sql"))
            .arg("postgres"),
    )?;
    // One line a transaction: client, transaction, microseconds, ...
    let mut micros: Vec<f64> = Vec::new();
    for log in std::fs::read_dir(&logs)? {
        let text = std::fs::read_to_string(log?.path())?;
        micros.extend(
            text.lines()
                .filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()),
        );
    }
    micros.sort_by(f64::total_cmp);
    let requests = micros.len() as f64;
    let p99 = micros
        .get(micros.len() * 99 / 100)
        .context("pgbench logged no transaction")?;
    Ok(Measured {
        requests,
        requests_per_second: requests / f64::from(seconds),
        p99_ms: p99 / 1e3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let said = "Running 5s test @ http://127.0.0.1:1/\n  1 threads and 16 connections\n  Latency Distribution\n     \
            50%  310.00us\n     75%  340.00us\n     90%  400.00us\n     99%    1.25ms\n  251234 requests in 5.00s, \
            301.00MB read\nRequests/sec:  50246.11\nTransfer/sec:     60.20MB\n";
        let measured = read_wrk(said).unwrap();
        assert_eq!(measured.requests, 251_234.0);
        assert_eq!(measured.requests_per_second, 50_246.11);
        assert_eq!(measured.p99_ms, 1.25);
        assert_eq!(milliseconds("870.00us"), Some(0.87));
        assert_eq!(milliseconds("1.50s"), Some(1500.0));
        assert!(read_wrk("unable to connect").is_none());
    }
}
