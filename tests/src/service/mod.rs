//! Services as their makers ship them, each with a configuration of its own below the stage's directory.
//!
//! Enters: a stage and a port. Leaves: a server that listens on 127.0.0.1. Deliberately absent: what runs in them.

mod gunicorn;
mod items;
mod nginx;
mod postgresql;
mod redis;

use std::path::PathBuf;

use anyhow::{Context, Result};

pub use gunicorn::Gunicorn;
pub use items::{Items, Sent};
pub use nginx::Nginx;
pub use postgresql::Postgresql;
pub use redis::Redis;

/// A program on the path or where servers are installed; the error says how to get it.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(servers)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("`{name}` is not installed: `cargo xtask setup services` installs it"))
}

/// A program of the Python environment that setup makes.
pub fn python_program(name: &str) -> Result<PathBuf> {
    let path = crate::tree::tools().join("python/bin").join(name);
    path.exists()
        .then_some(path)
        .with_context(|| format!("there is no {name} in target/tools: `cargo xtask setup services` makes it"))
}

/// Where `require` of a Node service finds its packages.
pub fn node_modules() -> PathBuf {
    crate::tree::tools().join("node/node_modules")
}

/// User and group for servers that refuse to run as root; none where we are not root.
pub fn unprivileged() -> Option<(u32, u32)> {
    // SAFETY: geteuid has no arguments, cannot fail and touches no memory.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let find = |name: &str| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then_some(())?;
            Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
        })
    };
    find("postgres").or_else(|| find("nobody"))
}
