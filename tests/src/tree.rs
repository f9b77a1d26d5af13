//! Where things are in the repository and in its target directory.

use std::path::{Path, PathBuf};

/// The repository's root: that of the package cargo runs, else that of the sources we were compiled from.
pub fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = Path::new(&package);
    // Both of ours, xtask and tests, lie directly below it.
    package.parent().unwrap_or(package).to_path_buf()
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
