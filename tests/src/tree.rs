//! Where things are in the repository and in its target directory.

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's target directory: everything xtask makes is below it, so that `cargo clean` removes it.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// What `setup` installs without a package manager of the system: Python environment, Node packages, Go.
pub fn tools() -> PathBuf {
    target().join("tools")
}
