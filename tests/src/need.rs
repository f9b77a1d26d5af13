//! Need: what a test cannot do without, and a note where it is missing.
//!
//! A test that cannot run here says why on its own output and in a file that `cargo xtask test` reads, so that a skipped
//! test is counted and never taken for a passed one.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

/// What a test may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To load kernel programs.
    Root,
    /// Kernel symbols with types, to find the offsets of fields.
    KernelTypes,
}

impl Need {
    fn missing(self) -> Option<&'static str> {
        match self {
            // SAFETY: geteuid has no arguments, cannot fail and touches no memory.
            Self::Root => (unsafe { libc::geteuid() } != 0).then_some("needs root"),
            Self::KernelTypes => {
                let types = std::path::Path::new("/sys/kernel/btf/vmlinux");
                (!types.exists()).then_some("the kernel has no BTF")
            }
        }
    }
}

/// Whether the test can run; where it cannot, says so.
pub fn can_run(test: &str, needs: &[Need]) -> bool {
    let Some(reason) = needs.iter().find_map(|need| need.missing()) else {
        return true;
    };
    let line = format!("{test}: {reason}");
    eprintln!("not run: {line}");
    let noted = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path())
        .and_then(|mut file| writeln!(file, "{line}"));
    if let Err(error) = noted {
        eprintln!("and it could not be noted: {error}");
    }
    false
}

fn path() -> PathBuf {
    crate::tree::target().join("tests-not-run.txt")
}

/// Tests that said they cannot run, since the last [`forget_skipped`].
pub fn skipped() -> Vec<String> {
    std::fs::read_to_string(path())
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

pub fn forget_skipped() -> Result<()> {
    match std::fs::remove_file(path()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
