//! Check: everything that can be said of the sources without running them.
//!
//! Enters: the repository as it lies there. Leaves: an error that names every check that failed; all of them are tried.

mod licences;
mod rooms;
pub(crate) mod stack;
mod tidy;

use anyhow::{Result, bail};
use spanhound_tests::tree;

use crate::setup::kernel_toolchain::Toolchain;
use crate::setup::{Group, ensure};
use crate::{build, command};

type Check = (&'static str, fn() -> Result<()>);

const CHECKS: &[Check] = &[
    ("tidy", tidy::check),
    ("licences", licences::check),
    ("format", format),
    ("kernel programs", kernel_programs),
    ("kernel programs' stack", stack::check),
    ("page", page),
    ("clippy", clippy),
];

pub(crate) fn all() -> Result<()> {
    // The agent takes the kernel programs in, the collector the page: neither compiles without.
    build::ebpf()?;
    build::page()?;
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        match check() {
            Ok(()) => println!("check: {name}: ok"),
            Err(error) => {
                println!("check: {name}: {error:#}");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("failed: {}", failed.join(", "))
    }
}

/// Only our own rules, which take no compiler.
pub(crate) fn tidy() -> Result<()> {
    tidy::check()?;
    licences::check()
}

fn format() -> Result<()> {
    command::run(command::cargo().args(["fmt", "--all", "--check"]))?;
    let kernel = tree::root().join("agent-ebpf/Cargo.toml");
    command::run(
        command::cargo()
            .args(["fmt", "--check", "--manifest-path"])
            .arg(kernel),
    )
}

fn clippy() -> Result<()> {
    command::run(command::cargo().args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))
}

/// Clippy of the toolchain that builds them, where it has one; otherwise the build has shown the compiler's warnings.
fn kernel_programs() -> Result<()> {
    ensure(&[Group::Ebpf])?;
    let toolchain = Toolchain::find()?;
    if !toolchain.has_clippy() {
        return Ok(());
    }
    command::run(
        toolchain
            .cargo()
            .current_dir(tree::root().join("agent-ebpf"))
            .env("CARGO_TARGET_DIR", tree::target().join("ebpf"))
            .args([
                "clippy",
                "--quiet",
                "--release",
                "--target",
                "bpfel-unknown-none",
                "-Z",
                "build-std=core",
            ])
            .args(["--", "--deny", "warnings"]),
    )
}

/// Types and lint rules of the page, as its own package.json names them.
fn page() -> Result<()> {
    ensure(&[Group::Page])?;
    command::run(command::in_directory("npm", &tree::root().join("web")).args(["run", "--silent", "check"]))
}
