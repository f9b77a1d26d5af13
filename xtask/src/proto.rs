//! The wire's Rust code, written anew from `proto/spanhound/v1/wire.proto`. Needs `protoc`; nothing else in the project does.

use anyhow::{Context, Result};

use crate::command;

/// Runs the generator of the `proto` package and formats what it wrote.
pub(crate) fn run() -> Result<()> {
    command::find("protoc")
        .context("protoc is not on the path (Debian: apt-get install protobuf-compiler)")?;
    let generate = [
        "run",
        "--quiet",
        "--package",
        "spanhound-proto",
        "--features",
        "generate",
    ];
    command::run(command::cargo().args(generate))?;
    command::run(command::cargo().args(["fmt", "--package", "spanhound-proto"]))
}
