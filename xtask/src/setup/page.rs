//! The page's packages, as its lock file names them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Group, Step, stamp};
use spanhound_tests::tree;

use crate::command;

fn directories() -> Vec<PathBuf> {
    [tree::root().join("web"), tree::root().join("tests/web")]
        .into_iter()
        .filter(|directory| directory.join("package-lock.json").exists())
        .collect()
}

pub(super) fn missing(groups: &[Group]) -> Result<Vec<Step>> {
    if !groups.contains(&Group::Page) {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    for directory in directories() {
        let stamp = stamp::of(
            &[directory.join("package-lock.json")],
            directory.join("node_modules/.spanhound"),
        )?;
        if !stamp.fresh() {
            steps.push(Step::new(
                format!("install the packages of {}", directory.display()),
                move || {
                    install(&directory)?;
                    stamp.write()
                },
            ));
        }
    }
    Ok(steps)
}

/// What the lock file names, and no newer. Not `npm ci`: that refuses a lock file which lacks optional packages of other
/// platforms, as it does where it was written against a registry that has none of those.
pub(super) fn install(directory: &Path) -> Result<()> {
    let mut npm = command::in_directory("npm", directory);
    npm.args([
        "install",
        "--no-save",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]);
    command::output(&mut npm).map(|_| ())
}
