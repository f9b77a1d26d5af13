//! A Python application served by gunicorn.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::stage::{Signal, Stage};

pub struct Gunicorn<'a> {
    /// Where the application's module is.
    pub directory: &'a Path,
    /// `MODULE:OBJECT`
    pub application: &'a str,
    pub workers: u32,
    /// Threads a worker.
    pub threads: u32,
    pub environment: &'a [(&'a str, String)],
}

impl Gunicorn<'_> {
    /// Starts it under the name; returns the process id of the master.
    pub fn start(&self, stage: &mut Stage, name: &str, port: u16) -> Result<u32> {
        let mut command = Command::new(super::python_program("gunicorn")?);
        command
            .arg("--chdir")
            .arg(self.directory)
            .arg("--bind")
            .arg(format!("127.0.0.1:{port}"));
        command.args([
            "--workers",
            &self.workers.to_string(),
            "--threads",
            &self.threads.to_string(),
        ]);
        command.args([
            "--worker-class",
            "gthread",
            "--keep-alive",
            "60",
            "--timeout",
            "60",
            "--no-control-socket",
        ]);
        command
            .arg("--worker-tmp-dir")
            .arg(stage.directory())
            .arg(self.application);
        // No .pyc files beside the sources.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        for (name, value) in self.environment {
            command.env(name, value);
        }
        stage.start_server(name, command, Signal::Terminate, port)
    }
}
