//! The page's packages, as its lock file names them.

use std::path::PathBuf;

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
                format!("npm ci in {}", directory.display()),
                move || {
                    command::output(command::in_directory("npm", &directory).args([
                        "ci",
                        "--no-audit",
                        "--no-fund",
                    ]))?;
                    stamp.write()
                },
            ));
        }
    }
    Ok(steps)
}
