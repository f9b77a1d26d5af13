//! A PostgreSQL cluster of its own, reachable over TCP from this machine without a password.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::unprivileged;
use crate::stage::{Signal, Stage};

pub struct Postgresql {
    pub port: u16,
    pub pid: u32,
}

impl Postgresql {
    pub fn start(stage: &mut Stage, port: u16) -> Result<Self> {
        let programs = programs()?;
        let data = stage.subdirectory("postgresql", unprivileged())?;
        let mut initdb = Command::new(programs.join("initdb"));
        initdb
            .args([
                "--auth=trust",
                "--username=shop",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(&data);
        step_down(&mut initdb);
        stage.run("initdb", initdb)?;
        let mut server = Command::new(programs.join("postgres"));
        server
            .arg("-D")
            .arg(&data)
            .arg("-p")
            .arg(port.to_string())
            .current_dir(&data);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "shared_buffers=32MB",
            "max_connections=100",
            // One server, no helpers of its own that talk or work beside what is tested.
            "max_parallel_workers_per_gather=0",
            "autovacuum=off",
        ] {
            server.args(["-c", setting]);
        }
        step_down(&mut server);
        let pid = stage.start_server("postgresql", server, Signal::Interrupt, port)?;
        let postgresql = Self { port, pid };
        postgresql.wait_ready(stage)?;
        Ok(postgresql)
    }

    /// Runs statements from a text, stopping at the first that fails.
    pub fn execute(&self, stage: &Stage, statements: &str) -> Result<()> {
        let mut psql = Command::new(programs()?.join("psql"));
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--host=127.0.0.1",
            "--username=shop",
        ]);
        psql.arg(format!("--port={}", self.port))
            .args(["--dbname=postgres", "--command"])
            .arg(statements);
        stage.run("psql", psql)
    }

    /// It listens before it lets anybody in.
    fn wait_ready(&self, stage: &Stage) -> Result<()> {
        let mut tries = 0;
        loop {
            match self.execute(stage, "select 1") {
                Err(error) if tries >= 100 => return Err(error),
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(100)),
                Ok(()) => return Ok(()),
            }
            tries += 1;
        }
    }
}

/// Debian keeps one directory a version and only wrappers on the path; the newest wins.
fn programs() -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, programs)| programs.join("initdb").exists())
        .collect();
    versions.sort();
    match versions.pop() {
        Some((_, programs)) => Ok(programs),
        None => {
            let initdb = super::program("initdb")?;
            initdb
                .parent()
                .map(PathBuf::from)
                .context("initdb is in no directory")
        }
    }
}

/// PostgreSQL refuses to run as root.
fn step_down(command: &mut Command) {
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group);
    }
}
