//! Writes `proto/src/v1.rs` from `proto/spanhound/v1/wire.proto`. Run through `cargo xtask proto`; needs `protoc` on
//! the path. The result is committed, so that no ordinary build needs protoc.

use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = root.join("../target/proto-generated");
    fs::create_dir_all(&scratch)?;
    // The generated code is formatted by `cargo fmt` like all other.
    tonic_prost_build::configure()
        .build_transport(true)
        .client_mod_attribute(".", r#"#[cfg(feature = "client")]"#)
        .server_mod_attribute(".", r#"#[cfg(feature = "server")]"#)
        .out_dir(&scratch)
        .compile_protos(&[root.join("spanhound/v1/wire.proto")], &[root.to_path_buf()])?;
    fs::copy(scratch.join("spanhound.v1.rs"), root.join("src/v1.rs"))?;
    Ok(())
}
