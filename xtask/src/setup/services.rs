//! What the shop and the end-to-end tests run beyond packages of the system: a Python environment and Node packages, at
//! the versions that `tests/services` pins.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Group, Step, page, stamp};
use spanhound_tests::tree;

use crate::command;

pub(super) fn missing(groups: &[Group]) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    if groups.contains(&Group::Links) {
        let requirements = tree::root().join("tests/links/requirements.txt");
        let what = "make the Python environment of the link matrix";
        steps.extend(python(what, requirements, "python-links")?);
    }
    if !groups.contains(&Group::Services) {
        return Ok(steps);
    }
    let pins = tree::root().join("tests/services");
    let what = "make the Python environment of the test services";
    steps.extend(python(what, pins.join("requirements.txt"), "python")?);
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

/// The step that makes a Python environment below the tools, where it is missing or older than its pins.
fn python(what: &str, requirements: PathBuf, name: &str) -> Result<Option<Step>> {
    let environment = tree::tools().join(name);
    let stamp = stamp::of(
        std::slice::from_ref(&requirements),
        environment.join("spanhound.stamp"),
    )?;
    if stamp.fresh() {
        return Ok(None);
    }
    Ok(Some(Step::new(what, move || {
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
        stamp.write()
    })))
}
