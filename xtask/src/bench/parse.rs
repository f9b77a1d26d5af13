//! How fast protocols are parsed: megabytes and messages a second on one core, allocations a message, over the recordings
//! in `tests/wire` and two made-up HTTP streams.

use std::process::Command;

use anyhow::Result;

use crate::command;

pub(super) fn run() -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "spanhound-agent",
        "--example",
        "parse_speed",
    ]);
    command::run(&mut cargo)
}
