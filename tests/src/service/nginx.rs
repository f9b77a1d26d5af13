//! nginx in front of other services.

use std::process::Command;

use anyhow::{Context, Result};

use crate::stage::{Signal, Stage};

pub struct Nginx {
    pub port: u16,
    pub pid: u32,
}

/// Everything it writes goes below the stage's directory; `HTTP` is replaced by what the caller wants inside `http`.
const CONFIGURATION: &str = "
daemon off;
worker_processes WORKERS;
USER
pid DIRECTORY/nginx.pid;
error_log DIRECTORY/nginx-error.log warn;
events { worker_connections 1024; }
http {
    access_log off;
    server_tokens off;
    keepalive_requests 100000;
    keepalive_timeout 60s;
    client_body_temp_path DIRECTORY/nginx-body;
    proxy_temp_path DIRECTORY/nginx-proxy;
    fastcgi_temp_path DIRECTORY/nginx-fastcgi;
    uwsgi_temp_path DIRECTORY/nginx-uwsgi;
    scgi_temp_path DIRECTORY/nginx-scgi;
    default_type text/html;
HTTP
}
";

impl Nginx {
    /// `http` is what stands inside the configuration's http block; in it, `PORT` and `DIRECTORY` are replaced.
    pub fn start(stage: &mut Stage, port: u16, workers: u32, http: &str) -> Result<Self> {
        let directory = stage
            .directory()
            .to_str()
            .context("the temporary directory's name is not UTF-8")?;
        let user = if super::unprivileged().is_some() {
            "user nobody nogroup;"
        } else {
            ""
        };
        let configuration = CONFIGURATION
            .replace("HTTP", http)
            .replace("WORKERS", &workers.to_string())
            .replace("USER", user)
            .replace("DIRECTORY", directory)
            .replace("PORT", &port.to_string());
        let path = stage.directory().join("nginx.conf");
        std::fs::write(&path, configuration)?;
        let mut command = Command::new(super::program("nginx")?);
        // The error log of before the configuration is read, which would otherwise be the system's.
        command
            .arg("-c")
            .arg(&path)
            .args(["-e", "stderr"])
            .arg("-p")
            .arg(stage.directory());
        let pid = stage.start_server("nginx", command, Signal::Terminate, port)?;
        Ok(Self { port, pid })
    }
}
