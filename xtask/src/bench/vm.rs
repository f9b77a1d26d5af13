//! Overhead on a machine with one processor whose time is counted in instructions: figures that repeat to a percent.
//!
//! The harness (guest, load generators, sink) is not part of this repository; a path names it. It is copied to the target
//! directory, where it builds and writes in place.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use spanhound_tests::tree;

use crate::setup::{Group, ensure};
use crate::{build, command};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const KERNEL_PACKAGE: &str = "linux-image-6.12-cloud-amd64";

#[derive(Args)]
pub(crate) struct Options {
    /// Directory of the harness
    #[arg(long)]
    harness: PathBuf,
    /// Services to load, as the harness names them
    #[arg(long, default_value = "nginx go redis")]
    victims: String,
    #[arg(long, default_value = "16")]
    connections: String,
    #[arg(long, default_value_t = 1)]
    repetitions: u32,
    /// Guest seconds a measurement
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Requests a second of the paced measurement, by service, as JSON
    #[arg(long, default_value = r#"{"nginx":1200,"go":1000,"redis":1500}"#)]
    paced: String,
    /// Runs and time of each kernel program
    #[arg(long)]
    program_statistics: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure(&[Group::Ebpf, Group::Services, Group::Bench, Group::Vm])?;
    let agent = static_agent()?;
    let bench = prepare(&options.harness)?;
    let (kernel, version) = kernel(&bench)?;
    // The harness looks for kernels where they are installed; ours is not.
    let script = std::fs::read_to_string(bench.join("run.sh"))?
        .replace("/boot/vmlinuz-", &format!("{}/vmlinuz-", kernel.display()));
    std::fs::write(bench.join("run-here.sh"), script)?;
    command::run(
        command::in_directory("bash", &bench)
            .arg("run-here.sh")
            .env("MODE", "icount")
            .env("NAME", "spanhound")
            .env("VARIANTS", "none spanhound")
            .env("PEER_BIN", agent)
            .env("KVER", version)
            .env("VICTIMS", &options.victims)
            .env("CONNS", &options.connections)
            .env("REPS", options.repetitions.to_string())
            .env("DUR", options.seconds.to_string())
            .env("PACED", &options.paced)
            .env("BPFSTATS", options.program_statistics.to_string()),
    )?;
    command::run(command::in_directory("python3", &bench).args(["analyze.py", "out/spanhound"]))
}

/// The agent without shared libraries: the guest has none of its own.
fn static_agent() -> Result<PathBuf> {
    build::ebpf()?;
    let directory = tree::target().join("static");
    command::run(
        command::cargo()
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env("CARGO_TARGET_DIR", &directory)
            // The object lies below the usual target directory.
            .env("SPANHOUND_EBPF_OBJECT", build::ebpf_object())
            .args([
                "build",
                "--quiet",
                "--release",
                "--package",
                "spanhound-agent",
                "--target",
                TARGET,
            ]),
    )?;
    Ok(directory.join(TARGET).join("release/spanhound-agent"))
}

/// A copy of the harness with what it builds once, and with our agent's scripts.
fn prepare(harness: &Path) -> Result<PathBuf> {
    if !harness.join("run.sh").exists() {
        bail!("{} holds no harness (no run.sh)", harness.display());
    }
    let bench = tree::target().join("vmbench");
    if !bench.join("base.cpio").exists() {
        if bench.exists() {
            std::fs::remove_dir_all(&bench)?;
        }
        command::run(Command::new("cp").arg("-r").arg(harness).arg(&bench))?;
        command::run(Command::new("chmod").args(["-R", "u+w"]).arg(&bench))?;
        // It looks for a Go toolchain in an environment of this name.
        let environment = tree::tools().join("venv");
        if !environment.exists() {
            // A link that leads nowhere is of a directory that was moved.
            if environment.is_symlink() {
                std::fs::remove_file(&environment)?;
            }
            symlink("python", &environment)?;
        }
        command::run(
            command::in_directory("bash", &bench)
                .arg("build-tools.sh")
                .env("BUILD", tree::tools()),
        )?;
        command::run(command::in_directory("bash", &bench).arg("build-rootfs.sh"))?;
    }
    let agent = bench.join("agents/spanhound");
    std::fs::create_dir_all(&agent)?;
    for script in ["start.sh", "ready.sh"] {
        std::fs::copy(
            tree::root().join("xtask/vmbench").join(script),
            agent.join(script),
        )?;
    }
    Ok(bench)
}

/// Debian's kernel, unpacked and not installed: its directory and version.
fn kernel(bench: &Path) -> Result<(PathBuf, String)> {
    let directory = bench.join("kernel");
    if !directory.join("boot").exists() {
        std::fs::create_dir_all(&directory)?;
        let depends = command::output(Command::new("apt-cache").args(["depends", KERNEL_PACKAGE]))?;
        let package = depends
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
        let package = format!(
            "linux-image-{}",
            package.with_context(|| format!("{KERNEL_PACKAGE} depends on no image"))?
        );
        command::output(command::in_directory("apt-get", &directory).args(["download", &package]))?;
        let archive = std::fs::read_dir(&directory)?.flatten().map(|entry| entry.path());
        let archive = archive
            .into_iter()
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        let archive = archive.context("apt-get downloaded no package")?;
        command::output(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&directory))?;
        std::fs::remove_file(archive)?;
    }
    let boot = directory.join("boot");
    let version = std::fs::read_dir(&boot)?
        .flatten()
        .find_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned()));
    Ok((boot, version.context("the kernel's package has no vmlinuz")?))
}
