//! Rust for `bpfel-unknown-none`, and bpf-linker.
//!
//! No toolchain ships `core` for that target: it is built from the library's sources, which takes a compiler that accepts
//! unstable flags. Either a nightly of rustup with `rust-src`, or Debian's packages, whose compiler is told to accept them.
//! Its LLVM must not be newer than the linker's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Group, Step};
use crate::command;

const LLVM_MAJOR: u32 = 22;
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const BPF_LINKER_VERSION: &str = "0.13.0";
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const LIBRARY_SOURCES: &str = "lib/rustlib/src/rust/library/core/Cargo.toml";

/// A way to compile for the kernel.
pub(crate) enum Toolchain {
    Rustup { name: &'static str },
    Debian,
}

impl Toolchain {
    /// The one to use, or what is missing.
    pub(crate) fn find() -> Result<Self> {
        if nightly_fits() {
            Ok(Self::Rustup { name: "nightly" })
        } else if debian_fits() {
            Ok(Self::Debian)
        } else {
            bail!("no Rust that can build for the kernel's target: `cargo xtask setup ebpf` installs one");
        }
    }

    pub(crate) fn has_clippy(&self) -> bool {
        self.cargo()
            .args(["clippy", "--version"])
            .output()
            .is_ok_and(|output| output.status.success())
    }

    /// A cargo of this toolchain, to which the verb is still to be given.
    pub(crate) fn cargo(&self) -> Command {
        match self {
            Self::Rustup { name } => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "cargo"]);
                // Set by the cargo that runs us, for its own toolchain.
                command
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env_remove("RUSTC")
                    .env_remove("CARGO");
                command
            }
            Self::Debian => {
                let mut command = Command::new("/usr/bin/cargo");
                command
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env_remove("CARGO");
                command
            }
        }
    }
}

/// Packages of the system the kernel's toolchain needs and has not.
pub(super) fn packages() -> Vec<&'static str> {
    let mut packages = Vec::new();
    if bpf_linker().is_none() && !Path::new(LLVM_PREFIX).join("bin/llvm-config").exists() {
        packages.extend(["llvm-22-dev", "libzstd-dev", "zlib1g-dev"]);
    }
    if Toolchain::find().is_err() && !rustup_can_fetch() {
        packages.extend(DEBIAN_PACKAGES);
    }
    packages
}

pub(super) fn missing(groups: &[Group]) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    if !groups.contains(&Group::Ebpf) {
        return Ok(steps);
    }
    if Toolchain::find().is_err() {
        steps.push(Step::new(
            "find a Rust that builds for the kernel's target",
            || Toolchain::find().map(|_| ()),
        ));
    }
    if bpf_linker().is_none() {
        steps.push(Step::new(
            format!("compile bpf-linker {BPF_LINKER_VERSION} (about a minute)"),
            install_bpf_linker,
        ));
    }
    Ok(steps)
}

fn install_bpf_linker() -> Result<()> {
    let linked = format!("llvm-{LLVM_MAJOR}");
    command::output(command::cargo().env("LLVM_PREFIX", LLVM_PREFIX).args([
        "install",
        "bpf-linker",
        "--version",
        BPF_LINKER_VERSION,
        "--locked",
        "--force",
        "--no-default-features",
        "--features",
        &linked,
    ]))?;
    bpf_linker()
        .map(|_| ())
        .context("bpf-linker was installed and is not found in cargo's bin directory")
}

/// Where a bpf-linker that runs is.
pub(crate) fn bpf_linker() -> Option<PathBuf> {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let installed = cargo_home
        .map(|home| home.join("bin/bpf-linker"))
        .filter(|path| path.is_file());
    let path = command::find("bpf-linker").or(installed)?;
    // It fails to start where the LLVM it was linked with is gone.
    Command::new(&path)
        .arg("--version")
        .output()
        .ok()?
        .status
        .success()
        .then_some(path)
}

/// Tries to fetch a nightly, where there is a rustup and its servers can be reached.
fn rustup_can_fetch() -> bool {
    if command::find("rustup").is_none() {
        return false;
    }
    println!("setup: fetch a nightly Rust with rust-src through rustup ...");
    let fetched = command::output(Command::new("timeout").args([
        "300",
        "rustup",
        "toolchain",
        "install",
        "nightly",
        "--profile",
        "minimal",
        "--component",
        "rust-src",
    ]));
    match fetched {
        Ok(_) => nightly_fits(),
        Err(error) => {
            println!("setup: rustup could not ({error:#}); Debian's packages will do");
            false
        }
    }
}

fn nightly_fits() -> bool {
    let rustup = |arguments: &[&str]| {
        let output = Command::new("rustup")
            .args(["run", "nightly"])
            .args(arguments)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(sysroot) = rustup(&["rustc", "--print", "sysroot"]) else {
        return false;
    };
    let Some(version) = rustup(&["rustc", "-vV"]) else {
        return false;
    };
    Path::new(sysroot.trim()).join(LIBRARY_SOURCES).exists() && llvm_fits(&version)
}

fn debian_fits() -> bool {
    let sources = Path::new("/usr/lib/rustlib/src/rust/library/core/Cargo.toml");
    let Ok(output) = Command::new("/usr/bin/rustc").arg("-vV").output() else {
        return false;
    };
    sources.exists()
        && Path::new("/usr/bin/cargo").exists()
        && llvm_fits(&String::from_utf8_lossy(&output.stdout))
}

/// `rustc -vV` names its LLVM; the linker reads bitcode of its own version and older.
fn llvm_fits(version: &str) -> bool {
    version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))
        .and_then(|llvm| llvm.split('.').next()?.trim().parse::<u32>().ok())
        .is_some_and(|major| major <= LLVM_MAJOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_with_a_newer_llvm_than_the_linkers_is_refused() {
        assert!(llvm_fits("rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.2\n"));
        assert!(llvm_fits("rustc 1.60.0\nLLVM version: 14.0.0\n"));
        assert!(!llvm_fits("rustc 1.99.0-nightly\nLLVM version: 23.0.0\n"));
        assert!(!llvm_fits("rustc 1.99.0-nightly\n"));
    }
}
