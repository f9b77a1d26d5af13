//! Hosts: two network namespaces that reach each other only through a third, which translates addresses both ways.
//!
//! ```text
//! front 10.87.1.2 -> 10.87.1.1 router 10.87.2.1 -> 10.87.2.2 back
//! ```
//!
//! The front connects to the router's address (translated to the back's), and the back sees the router connect
//! (masquerade): neither end knows the other's address. Leaves nothing: dropping it deletes the namespaces, and with them
//! their interfaces and rules.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::service::program;

pub struct Hosts {
    front: String,
    router: String,
    back: String,
}

/// Where the front reaches the back.
pub const TRANSLATED: &str = "10.87.1.1";
const BACK: &str = "10.87.2.2";

impl Hosts {
    /// `port` of the router leads to that port of the back.
    pub fn start(port: u16) -> Result<Self> {
        let name = |what: &str| format!("spanhound-{what}-{}", std::process::id());
        let hosts = Self {
            front: name("front"),
            router: name("router"),
            back: name("back"),
        };
        let Self { front, router, back } = &hosts;
        for namespace in [front, router, back] {
            ip(&["netns", "add", namespace])?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        }
        hosts.connect(front, "10.87.1", "to-front")?;
        hosts.connect(back, "10.87.2", "to-back")?;
        hosts.inside(router, &["sysctl", "-qw", "net.ipv4.ip_forward=1"])?;
        let port = port.to_string();
        let translate = [
            "iptables",
            "-t",
            "nat",
            "-A",
            "PREROUTING",
            "-p",
            "tcp",
            "-d",
            TRANSLATED,
            "--dport",
            &port,
            "-j",
            "DNAT",
            "--to-destination",
            BACK,
        ];
        hosts.inside(router, &translate)?;
        let masquerade = [
            "iptables",
            "-t",
            "nat",
            "-A",
            "POSTROUTING",
            "-o",
            "to-back",
            "-j",
            "MASQUERADE",
        ];
        hosts.inside(router, &masquerade)?;
        Ok(hosts)
    }

    /// An interface of the host's, `NETWORK.2`, on a wire to the router's, `NETWORK.1`.
    fn connect(&self, host: &str, network: &str, at_router: &str) -> Result<()> {
        let router = &self.router;
        ip(&[
            "-n", router, "link", "add", at_router, "type", "veth", "peer", "name", "wire", "netns", host,
        ])?;
        let (near, far) = (format!("{network}.1/24"), format!("{network}.2/24"));
        ip(&["-n", router, "addr", "add", &near, "dev", at_router])?;
        ip(&["-n", router, "link", "set", at_router, "up"])?;
        ip(&["-n", host, "addr", "add", &far, "dev", "wire"])?;
        ip(&["-n", host, "link", "set", "wire", "up"])?;
        ip(&[
            "-n",
            host,
            "route",
            "add",
            "default",
            "via",
            &format!("{network}.1"),
        ])
    }

    fn inside(&self, namespace: &str, command: &[&str]) -> Result<()> {
        ip(&[&["netns", "exec", namespace], command].concat())
    }

    /// The command, to be run on the front's host.
    pub fn on_front(&self, command: &Command) -> Result<Command> {
        within(&self.front, command)
    }

    /// The command, to be run on the back's host.
    pub fn on_back(&self, command: &Command) -> Result<Command> {
        within(&self.back, command)
    }

    /// Runs it in a thread that is on the front's host.
    pub fn from_front<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let namespace = File::open(format!("/run/netns/{}", self.front))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: setns takes two integers; only this thread, which ends here, changes its network.
                if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                    bail!("cannot enter the network: {}", std::io::Error::last_os_error());
                }
                act()
            });
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("the thread on the front's host panicked")))
        })
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for namespace in [&self.front, &self.router, &self.back] {
            if let Err(error) = ip(&["netns", "del", namespace]) {
                eprintln!("{error:#}");
            }
        }
    }
}

fn within(namespace: &str, command: &Command) -> Result<Command> {
    let mut outer = Command::new(program("ip")?);
    outer
        .args(["netns", "exec", namespace])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    Ok(outer)
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new(program("ip")?)
        .args(arguments)
        .output()
        .context("cannot run ip")?;
    if !output.status.success() {
        bail!(
            "ip {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
