//! The subjects: what is started, how its requests look, what is watched. Adding one is a function and a row.

use std::process::Command;

use anyhow::Result;

use super::Ports;
use super::program::{go, java, loops_python, sources};
use crate::service::{Gunicorn, Nginx, program};
use crate::stage::{Signal, Stage};

/// What must be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// What the end-to-end tests have anyway.
    Services,
    /// `cargo xtask setup links`.
    Links,
}

pub struct Subject {
    pub name: &'static str,
    pub needs: Needs,
    /// Ways in which a request makes its calls, in turn.
    patterns: &'static [&'static str],
    /// Servers a request passes that are watched.
    pub(super) hops: u64,
    /// Rules of the agent's `select.include`, one key each.
    pub(super) select: &'static [&'static str],
    start: fn(&mut Stage, Ports, &Options) -> Result<()>,
}

/// What a subject's processes are told.
struct Options {
    environment: Vec<(&'static str, String)>,
}

const SYNCHRONOUS: &[&str] = &["sequence", "sequence", "retry"];
const PARALLEL: &[&str] = &["parallel"];
const ALL: &[&str] = &["sequence", "sequence", "parallel", "retry"];
const PROXY: &[&str] = &["proxy"];
const SERVICE: &[&str] = &["service = \"links-subject\""];

const fn subject(
    name: &'static str,
    needs: Needs,
    patterns: &'static [&'static str],
    start: fn(&mut Stage, Ports, &Options) -> Result<()>,
) -> Subject {
    Subject {
        name,
        needs,
        patterns,
        hops: 1,
        select: SERVICE,
        start,
    }
}

pub const SUBJECTS: &[Subject] = &[
    subject(
        "python-threads",
        Needs::Services,
        SYNCHRONOUS,
        |stage, ports, options| python(stage, ports, options, "threads"),
    ),
    subject(
        "python-threads-parallel",
        Needs::Services,
        PARALLEL,
        |stage, ports, options| python(stage, ports, options, "threads"),
    ),
    subject(
        "gunicorn-sync",
        Needs::Services,
        SYNCHRONOUS,
        |stage, ports, options| gunicorn(stage, ports, options, 4, 1),
    ),
    subject(
        "gunicorn-threads",
        Needs::Services,
        SYNCHRONOUS,
        |stage, ports, options| gunicorn(stage, ports, options, 2, 16),
    ),
    subject("aiohttp", Needs::Links, ALL, |stage, ports, options| {
        let mut command = Command::new(loops_python("python")?);
        command.arg(sources().join("service.py")).arg("aiohttp");
        options.serve(stage, command, ports)
    }),
    subject("uvicorn", Needs::Links, ALL, uvicorn),
    subject("node-callbacks", Needs::Services, ALL, |stage, ports, options| {
        node(stage, ports, options, "callbacks")
    }),
    subject("node-promises", Needs::Services, ALL, |stage, ports, options| {
        node(stage, ports, options, "promises")
    }),
    subject("node-fetch", Needs::Services, ALL, |stage, ports, options| {
        node(stage, ports, options, "fetch")
    }),
    subject(
        "java-pool",
        Needs::Services,
        SYNCHRONOUS,
        |stage, ports, options| start_java(stage, ports, options, "pool"),
    ),
    subject(
        "java-pool-parallel",
        Needs::Services,
        PARALLEL,
        |stage, ports, options| start_java(stage, ports, options, "pool"),
    ),
    subject(
        "java-client",
        Needs::Services,
        SYNCHRONOUS,
        |stage, ports, options| start_java(stage, ports, options, "client"),
    ),
    subject("go", Needs::Services, ALL, |stage, ports, options| {
        options.serve(stage, Command::new(go("server")?), ports)
    }),
    Subject {
        select: &["executable = \"/usr/sbin/nginx\""],
        ..subject("nginx", Needs::Services, PROXY, nginx)
    },
];

impl Subject {
    pub(super) fn start(&self, stage: &mut Stage, ports: Ports, background: bool) -> Result<()> {
        let mut environment = vec![
            ("PORT", ports.subject.to_string()),
            ("INNER_PORT", ports.inner.to_string()),
            ("LEAF_PORT", ports.leaf.to_string()),
            ("OTEL_SERVICE_NAME", "links-subject".to_owned()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ];
        if background {
            environment.push(("BACKGROUND", "1".to_owned()));
        }
        (self.start)(stage, ports, &Options { environment })
    }

    fn pattern(&self, number: u64) -> &'static str {
        self.patterns[(number % self.patterns.len() as u64) as usize]
    }

    pub(super) fn path(&self, number: u64, keep: bool) -> String {
        let mode = if keep { "keep" } else { "close" };
        format!("/{mode}/{}/item/{number}", self.pattern(number))
    }

    /// Calls that one request makes, of all servers it passes.
    pub(super) fn calls(&self, number: u64) -> u64 {
        let own = match self.pattern(number) {
            "proxy" => 1,
            "parallel" => 3,
            _ => 2,
        };
        own + self.hops - 1
    }
}

impl Options {
    fn serve(&self, stage: &mut Stage, mut command: Command, ports: Ports) -> Result<()> {
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        stage.start_server("subject", command, Signal::Terminate, ports.subject)?;
        Ok(())
    }
}

fn python(stage: &mut Stage, ports: Ports, options: &Options, how: &str) -> Result<()> {
    let mut command = Command::new(crate::service::python_program("python")?);
    command.arg(sources().join("service.py")).arg(how);
    options.serve(stage, command, ports)
}

fn gunicorn(stage: &mut Stage, ports: Ports, options: &Options, workers: u32, threads: u32) -> Result<()> {
    let server = Gunicorn {
        directory: &sources(),
        application: "service:application",
        workers,
        threads,
        environment: &options.environment,
    };
    server.start(stage, "subject", ports.subject)?;
    Ok(())
}

fn uvicorn(stage: &mut Stage, ports: Ports, options: &Options) -> Result<()> {
    let mut command = Command::new(loops_python("python")?);
    command
        .args(["-m", "uvicorn", "--no-access-log", "--app-dir"])
        .arg(sources())
        .args(["--port", &ports.subject.to_string(), "service:asgi"]);
    options.serve(stage, command, ports)
}

fn node(stage: &mut Stage, ports: Ports, options: &Options, how: &str) -> Result<()> {
    let mut command = Command::new(program("node")?);
    command.arg(sources().join("service.js")).arg(how);
    options.serve(stage, command, ports)
}

fn start_java(stage: &mut Stage, ports: Ports, options: &Options, how: &str) -> Result<()> {
    let mut command = Command::new(program("java")?);
    command
        .args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-cp"])
        .arg(java()?)
        .args(["Service", how]);
    options.serve(stage, command, ports)
}

fn nginx(stage: &mut Stage, ports: Ports, _: &Options) -> Result<()> {
    let http = "
    upstream kept { server 127.0.0.1:LEAF; keepalive 64; }
    server {
        listen 127.0.0.1:PORT backlog=512;
        location /keep/ { proxy_pass http://kept; proxy_http_version 1.1; proxy_set_header Connection \"\"; }
        location /close/ { proxy_pass http://127.0.0.1:LEAF; }
    }";
    Nginx::start(
        stage,
        ports.subject,
        2,
        &http.replace("LEAF", &ports.leaf.to_string()),
    )?;
    Ok(())
}
