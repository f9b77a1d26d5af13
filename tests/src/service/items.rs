//! nginx -> Python -> PostgreSQL + Redis: the smallest system with every kind of link, which counts what it sends.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Gunicorn, Nginx, Postgresql, Redis};
use crate::load::agent;
use crate::stage::{Stage, free};
use crate::tree;

const HTTP: &str = "
    upstream items { server 127.0.0.1:ITEMS; keepalive 16; }
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    server { listen 127.0.0.1:PORT; location / { proxy_pass http://items; } }
";

const SCHEMA: &str =
    "CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL, seen int NOT NULL DEFAULT 0);
    INSERT INTO items SELECT n, 'item ' || n, 0 FROM generate_series(0, 99) AS n";

pub struct Items {
    /// Where nginx listens.
    pub port: u16,
    pub python_port: u16,
    pub postgresql_port: u16,
    pub redis_port: u16,
}

/// What the service says it sent for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub requests: u64,
    pub statements: u64,
    pub commands: u64,
}

impl Items {
    pub fn start(stage: &mut Stage) -> Result<Self> {
        let (postgresql_port, redis_port, python_port) = (free(0)?, free(0)?, free(0)?);
        let postgresql = Postgresql::start(stage, postgresql_port)?;
        postgresql.execute(stage, SCHEMA)?;
        Redis::start(stage, redis_port)?;
        let python = Gunicorn {
            directory: &tree::root().join("tests/services"),
            application: "items:application",
            workers: 1,
            threads: 16,
            environment: &[
                (
                    "DATABASE",
                    format!("postgresql://shop@127.0.0.1:{postgresql_port}/postgres"),
                ),
                ("REDIS_PORT", redis_port.to_string()),
            ],
        };
        python.start(stage, "items", python_port)?;
        let port = free(0)?;
        Nginx::start(stage, port, 1, &HTTP.replace("ITEMS", &python_port.to_string()))?;
        Ok(Self {
            port,
            python_port,
            postgresql_port,
            redis_port,
        })
    }

    /// Requests `numbers` from so many clients at once, each on one connection; returns what the service says it sent.
    pub fn request(&self, numbers: std::ops::Range<u64>, clients: u64) -> Result<Sent> {
        let mut sent = Sent::default();
        let answers: Vec<Result<Sent>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..clients)
                .map(|client| {
                    let mine = numbers.clone().filter(move |number| number % clients == client);
                    scope.spawn(move || self.request_each(mine))
                })
                .collect();
            let ended = workers.into_iter().map(|worker| worker.join());
            ended
                .map(|answer| answer.unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked"))))
                .collect()
        });
        for answer in answers {
            let answer = answer?;
            sent.requests += answer.requests;
            sent.statements += answer.statements;
            sent.commands += answer.commands;
        }
        Ok(sent)
    }

    fn request_each(&self, numbers: impl Iterator<Item = u64>) -> Result<Sent> {
        let client = agent();
        let mut sent = Sent::default();
        for number in numbers {
            let mut answer = client
                .get(format!("http://127.0.0.1:{}/item/{number}", self.port))
                .call()?;
            let text = answer.body_mut().read_to_string()?;
            let value: Value =
                serde_json::from_str(&text).with_context(|| format!("the service answers {text}"))?;
            sent.requests += 1;
            sent.statements += value["statements"].as_u64().context("no count of statements")?;
            sent.commands += value["commands"].as_u64().context("no count of commands")?;
        }
        Ok(sent)
    }
}
