//! The verb `proto`: rewrites the committed Rust code of `proto/spanhound/v1/wire.proto`. Needs `protoc`; nothing else
//! in the project does.

use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Runs the generator of the `proto` package and formats what it wrote.
///
/// # Errors
/// When `protoc` is missing or the `.proto` file does not compile.
pub(crate) fn run() -> Result<()> {
    let protoc = Command::new("protoc")
        .arg("--version")
        .output()
        .context("protoc is not on the path (Debian: apt-get install protobuf-compiler)")?;
    ensure!(protoc.status.success(), "protoc --version failed");
    let generator = ["run", "--quiet", "--package", "spanhound-proto", "--features", "generate"];
    for arguments in [&generator[..], &["fmt", "--package", "spanhound-proto"]] {
        let status =
            Command::new(env!("CARGO")).args(arguments).status().context("cargo could not be started")?;
        ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    }
    Ok(())
}
