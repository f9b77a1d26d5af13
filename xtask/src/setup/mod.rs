//! Setup: the tools that building, testing and the demo need.
//!
//! Enters: groups of tools. Leaves: those tools, installed. Idempotent: each step first looks whether there is anything to
//! do, so that a verb may always ask. Bounded: nothing outside the system's packages, cargo's own directory and
//! `target/tools` is written. Deliberately absent: starting services, changing the system's settings.

mod debian;
pub(crate) mod kernel_toolchain;
mod page;
mod services;
mod stamp;

use std::time::Instant;

use anyhow::{Result, anyhow};
use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Rust for the kernel's target, and the linker for it
    Ebpf,
    /// Node and the page's packages
    Page,
    /// What the demo's shop and the end-to-end tests run: nginx, PostgreSQL, Redis, Python, Node, Java
    Services,
    /// A browser without a screen, for the page's tests
    Browser,
    /// Load generators
    Bench,
    /// The runtimes of `bench links` beyond those of the services: haproxy, uWSGI, PHP, Ruby, Python's event loops
    Links,
    /// A compiler for libFuzzer, which is C++
    Fuzz,
    /// Virtual machines, for kernels other than this machine's
    Vm,
}

/// One thing that may have to be done.
struct Step {
    /// What it does, as told to the user.
    what: String,
    act: Box<dyn Fn() -> Result<()>>,
}

impl Step {
    fn new(what: impl Into<String>, act: impl Fn() -> Result<()> + 'static) -> Self {
        Self {
            what: what.into(),
            act: Box::new(act),
        }
    }
}

/// For verbs: silent when nothing is missing.
pub(crate) fn ensure(groups: &[Group]) -> Result<()> {
    act(groups).map(|_| ())
}

/// `cargo xtask setup`: says so when nothing is missing.
pub(crate) fn explicit(groups: &[Group]) -> Result<()> {
    let groups = if groups.is_empty() {
        Group::value_variants()
    } else {
        groups
    };
    if act(groups)? == 0 {
        println!("setup: nothing to do");
    }
    Ok(())
}

/// Runs what is missing, in this order: a later step may need what an earlier one installed. All steps are tried, so
/// that one look at the errors is enough.
fn act(groups: &[Group]) -> Result<usize> {
    type Look = fn(&[Group]) -> Result<Vec<Step>>;
    let stages: [Look; 4] = [
        debian::missing,
        kernel_toolchain::missing,
        page::missing,
        services::missing,
    ];
    let mut done = 0;
    let mut failed = Vec::new();
    for look in stages {
        for step in look(groups)? {
            println!("setup: {} ...", step.what);
            let started = Instant::now();
            match (step.act)() {
                Ok(()) => println!(
                    "setup: {}: done in {:.0} s",
                    step.what,
                    started.elapsed().as_secs_f64()
                ),
                Err(error) => failed.push(format!("{}: {error:#}", step.what)),
            }
            done += 1;
        }
    }
    if failed.is_empty() {
        Ok(done)
    } else {
        Err(anyhow!("setup failed\n  {}", failed.join("\n  ")))
    }
}

/// Whether we run as root, from the owner of our own entry in /proc.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
