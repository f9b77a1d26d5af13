//! A Redis server without persistence.

use std::process::Command;

use anyhow::Result;

use crate::stage::{Signal, Stage};

pub struct Redis {
    pub port: u16,
    pub pid: u32,
}

impl Redis {
    pub fn start(stage: &mut Stage, port: u16) -> Result<Self> {
        let mut command = Command::new(super::program("redis-server")?);
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
        ]);
        command.args(["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
        command
            .arg("--port")
            .arg(port.to_string())
            .arg("--dir")
            .arg(stage.directory());
        let pid = stage.start_server("redis", command, Signal::Terminate, port)?;
        Ok(Self { port, pid })
    }
}
