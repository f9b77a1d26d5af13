//! Watch: a collector and an agent of our own on a stage, and the collector's answers.
//!
//! Enters: a stage, and what the agent's configuration says beyond the addresses. Leaves: a running pair, and JSON.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::load::agent as client;
use crate::stage::{Signal, Stage, free};
use crate::tree;

/// The binaries to use.
#[derive(Clone, Debug)]
pub struct Binaries {
    pub agent: PathBuf,
    pub collector: PathBuf,
}

impl Binaries {
    /// As cargo builds them in the given profile's directory (`debug`, `release`).
    pub fn built(profile: &str) -> Self {
        let directory = tree::target().join(profile);
        Self {
            agent: directory.join("spanhound-agent"),
            collector: directory.join("spanhound-collector"),
        }
    }
}

/// The name of the collector's process on the stage.
pub const COLLECTOR: &str = "collector";
/// The name of the agent's.
pub const AGENT: &str = "agent";

pub struct Watch {
    binaries: Binaries,
    pub http_port: u16,
    pub grpc_port: u16,
    /// Processes the agent shall not watch.
    pub exclude_pids: Vec<u32>,
    /// More tables of the agent's configuration.
    pub agent_configuration: String,
    client: ureq::Agent,
}

impl Watch {
    /// Only processes of these executables are watched: for tests that count, on machines where others work too.
    pub fn only(&mut self, executables: &[&str]) {
        for executable in executables {
            self.agent_configuration
                .push_str(&format!("[[select.include]]\nexecutable = {executable:?}\n"));
        }
    }

    /// Nothing runs yet. The wished ports are taken where they are free.
    pub fn new(binaries: Binaries, http_port: u16, grpc_port: u16) -> Result<Self> {
        for binary in [&binaries.agent, &binaries.collector] {
            if !binary.exists() {
                bail!("{} is not built: `cargo xtask build` does it", binary.display());
            }
        }
        Ok(Self {
            binaries,
            http_port: free(http_port)?,
            grpc_port: free(grpc_port)?,
            exclude_pids: Vec::new(),
            agent_configuration: String::new(),
            client: client(),
        })
    }

    pub fn page(&self) -> String {
        format!("http://127.0.0.1:{}/", self.http_port)
    }

    /// Starts the collector; its store is kept on the stage when it is stopped and started again.
    pub fn start_collector(&self, stage: &mut Stage) -> Result<u32> {
        let store = stage.subdirectory("store", None)?;
        let configuration = stage.directory().join("collector.toml");
        std::fs::write(
            &configuration,
            format!(
                "http_listen = \"127.0.0.1:{}\"\ngrpc_listen = \"127.0.0.1:{}\"\n[store]\ndirectory = {:?}\n",
                self.http_port, self.grpc_port, store
            ),
        )?;
        let mut command = Command::new(&self.binaries.collector);
        command.arg("--config").arg(&configuration);
        let pid = stage.start_server(COLLECTOR, command, Signal::Terminate, self.http_port)?;
        if !crate::stage::wait_listening(self.grpc_port, Duration::from_secs(10)) {
            bail!(
                "the collector does not listen for agents\n{}",
                stage.last_words(COLLECTOR)
            );
        }
        Ok(pid)
    }

    /// Starts the agent and returns at once.
    pub fn start_agent(&self, stage: &mut Stage) -> Result<u32> {
        let configuration = stage.directory().join("agent.toml");
        std::fs::write(
            &configuration,
            format!(
                "[collector]\nurl = \"http://127.0.0.1:{}\"\n[buffer]\ndirectory = {:?}\n[select]\nexclude_pids = {:?}\n{}",
                self.grpc_port,
                stage.subdirectory("buffer", None)?,
                self.exclude_pids,
                self.agent_configuration
            ),
        )?;
        let mut command = Command::new(&self.binaries.agent);
        command.args(["run", "--config"]).arg(&configuration);
        stage.start(AGENT, command, Signal::Terminate)
    }

    /// Waits until the collector has heard of an agent whose hooks are in place.
    pub fn wait_attached(&self, stage: &mut Stage) -> Result<()> {
        self.wait_started_after(stage, 0.0)
    }

    /// When the agent that the collector knows was started, in Unix milliseconds.
    pub fn agent_started_ms(&self) -> Result<f64> {
        self.get("agents")?["agents"][0]["started_ms"]
            .as_f64()
            .context("the collector knows no agent")
    }

    /// The same, when one was there before that started at `before_ms`.
    pub fn wait_started_after(&self, stage: &mut Stage, before_ms: f64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = stage.ended(AGENT)? {
                bail!(
                    "the agent ended while starting: {status}\n{}",
                    stage.last_words(AGENT)
                );
            }
            let agents = self.get("agents").unwrap_or_default();
            let attached = |agent: &Value| {
                agent["alive"] == Value::Bool(true)
                    && agent["started_ms"].as_f64() > Some(before_ms)
                    && agent["hooks"].as_array().is_some_and(|hooks| !hooks.is_empty())
            };
            if agents["agents"]
                .as_array()
                .is_some_and(|agents| agents.iter().any(attached))
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "the collector hears of no agent: {agents}\n{}",
                    stage.last_words(AGENT)
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Both, ready to see; the collector is not watched.
    pub fn start(&mut self, stage: &mut Stage) -> Result<()> {
        let collector = self.start_collector(stage)?;
        self.exclude_pids.push(collector);
        self.start_agent(stage)?;
        self.wait_attached(stage)
    }

    /// An answer of the collector's API; `path` is what follows `/api/v1/`.
    pub fn get(&self, path: &str) -> Result<Value> {
        let address = format!("http://127.0.0.1:{}/api/v1/{path}", self.http_port);
        let mut answer = self
            .client
            .get(&address)
            .call()
            .with_context(|| format!("no answer from {address}"))?;
        let text = answer
            .body_mut()
            .with_config()
            .limit(256 << 20)
            .read_to_string()?;
        if answer.status() != 200 {
            bail!("{address} answers {}: {text}", answer.status());
        }
        serde_json::from_str(&text).with_context(|| format!("{address} does not answer JSON"))
    }

    /// Waits until the collector stores no more spans than it has; returns how many.
    pub fn wait_quiet(&self) -> Result<u64> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut before = None;
        loop {
            let agents = self.get("agents")?;
            let stored = agents["collector"]["spans_stored"]
                .as_u64()
                .context("no count of spans")?;
            if before == Some(stored) || Instant::now() > deadline {
                return Ok(stored);
            }
            before = Some(stored);
            // Longer than an agent keeps a batch, or a span waits for the other end of its exchange.
            std::thread::sleep(Duration::from_secs(7));
        }
    }

    /// Losses of all agents and of the collector, by reason, without those that are zero.
    pub fn losses(&self) -> Result<Vec<(String, u64)>> {
        let agents = self.get("agents")?;
        let places = agents["agents"]
            .as_array()
            .into_iter()
            .flatten()
            .chain([&agents["collector"]]);
        Ok(places
            .filter_map(|place| place["losses"].as_object())
            .flatten()
            .map(|(reason, count)| (reason.clone(), count.as_u64().unwrap_or(u64::MAX)))
            .filter(|(_, count)| *count != 0)
            .collect())
    }
}
