//! What the shop and the end-to-end tests run beyond packages of the system: a Python environment and Node packages, at
//! the versions that `tests/services` pins.

use std::path::Path;

use anyhow::Result;

use super::{Group, Step, page, stamp};
use spanhound_tests::tree;

use crate::command;

pub(super) fn missing(groups: &[Group]) -> Result<Vec<Step>> {
    if !groups.contains(&Group::Services) {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    let pins = tree::root().join("tests/services");
    let requirements = pins.join("requirements.txt");
    let environment = tree::tools().join("python");
    let python = stamp::of(
        std::slice::from_ref(&requirements),
        environment.join("spanhound.stamp"),
    )?;
    if !python.fresh() {
        steps.push(Step::new(
            "make the Python environment of the test services",
            move || {
                std::fs::create_dir_all(tree::tools())?;
                // Debian's own where there is one: others on the path may lack the module.
                let system = Path::new("/usr/bin/python3");
                let interpreter = if system.exists() {
                    system
                } else {
                    Path::new("python3")
                };
                command::output(
                    std::process::Command::new(interpreter)
                        .args(["-m", "venv", "--clear"])
                        .arg(&environment),
                )?;
                command::output(
                    std::process::Command::new(environment.join("bin/pip"))
                        .args([
                            "install",
                            "--quiet",
                            "--no-deps",
                            "--only-binary=:all:",
                            "--requirement",
                        ])
                        .arg(&requirements),
                )?;
                python.write()
            },
        ));
    }
    let node_modules = tree::tools().join("node");
    let node = stamp::of(
        &[pins.join("package-lock.json")],
        node_modules.join("spanhound.stamp"),
    )?;
    if !node.fresh() {
        steps.push(Step::new(
            "install the Node packages of the test services",
            move || {
                std::fs::create_dir_all(&node_modules)?;
                for file in ["package.json", "package-lock.json"] {
                    std::fs::copy(pins.join(file), node_modules.join(file))?;
                }
                page::install(&node_modules)?;
                node.write()
            },
        ));
    }
    Ok(steps)
}
