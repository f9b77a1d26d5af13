//! Building in the order the parts need each other: kernel programs, page, binaries.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::setup::kernel_toolchain::{Toolchain, bpf_linker};
use crate::setup::{Group, ensure};
use spanhound_tests::tree;
use spanhound_tests::watch::Binaries;

use crate::command;

/// The object file with the kernel programs, which the agent's build takes in.
pub(crate) fn ebpf_object() -> PathBuf {
    tree::target().join("ebpf/spanhound-ebpf.o")
}

pub(crate) fn ebpf() -> Result<()> {
    ensure(&[Group::Ebpf])?;
    let linker = bpf_linker().context("bpf-linker is not installed")?;
    let directory = tree::root().join("agent-ebpf");
    let target = tree::target().join("ebpf");
    // The linker is found by name; cargo's bin directory may not be on the path.
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(parent) = linker.parent() {
        path.push(":");
        path.push(parent);
    }
    command::run(
        Toolchain::find()?
            .cargo()
            .current_dir(&directory)
            .env("PATH", path)
            .env("CARGO_TARGET_DIR", &target)
            .args([
                "build",
                "--quiet",
                "--release",
                "--target",
                "bpfel-unknown-none",
                "-Z",
                "build-std=core",
            ]),
    )?;
    let built = target.join("bpfel-unknown-none/release/spanhound-ebpf");
    let object = ebpf_object();
    // Only when it changed: the agent is rebuilt when this file is newer.
    let new = std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let new =
        without_debug_information(&new).with_context(|| format!("cannot take {} apart", built.display()))?;
    if std::fs::read(&object).is_ok_and(|old| old == new) {
        return Ok(());
    }
    std::fs::write(&object, new).with_context(|| format!("cannot write {}", object.display()))
}

/// The object without what only debuggers read: four fifths of it. The types (`.BTF`) stay, the kernel wants them.
fn without_debug_information(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = object::build::elf::Builder::read(object)?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        if name.starts_with(".debug_") || name.starts_with(".rel.debug_") {
            section.delete = true;
        }
    }
    builder.delete_orphans();
    // The compiler keeps the names of sections and symbols in one table; written anew they are two.
    let names = builder.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = object::build::elf::SectionData::SectionString;
    let mut smaller = Vec::new();
    builder.write(&mut smaller)?;
    Ok(smaller)
}

/// Only when a source is newer than what was built: it takes seconds.
pub(crate) fn page() -> Result<()> {
    ensure(&[Group::Page])?;
    let web = tree::root().join("web");
    let built = web
        .join("dist/index.html")
        .metadata()
        .and_then(|metadata| metadata.modified())
        .ok();
    if built.is_some() && newest(&web)? <= built {
        return Ok(());
    }
    command::run(command::in_directory("npm", &web).args(["run", "--silent", "build"]))
}

/// When any file below was last written, what is installed or built there aside.
fn newest(directory: &Path) -> Result<Option<SystemTime>> {
    let mut newest = None;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if ["node_modules", "dist"]
            .iter()
            .any(|made| entry.file_name() == *made)
        {
            continue;
        }
        let written = match entry.file_type()?.is_dir() {
            true => self::newest(&entry.path())?,
            false => Some(entry.metadata()?.modified()?),
        };
        newest = newest.max(written);
    }
    Ok(newest)
}

pub(crate) fn all(release: bool) -> Result<Binaries> {
    ebpf()?;
    page()?;
    let mut cargo = command::cargo();
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "spanhound-agent",
        "--package",
        "spanhound-collector",
    ]);
    if release {
        cargo.arg("--release");
    }
    command::run(&mut cargo)?;
    Ok(Binaries::built(if release { "release" } else { "debug" }))
}
