//! Takes the kernel programs in: `target/ebpf/spanhound-ebpf.o`, or what `SPANHOUND_EBPF_OBJECT` names. Where there are
//! none the agent is built without and says so when it starts, so that checking the code takes no kernel tools.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SPANHOUND_EBPF_OBJECT");
    let Some(out) = env::var_os("OUT_DIR") else {
        return Ok(());
    };
    let embedded = PathBuf::from(out).join("programs.o");
    let named = env::var_os("SPANHOUND_EBPF_OBJECT");
    let object = match &named {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default())
            .join("../target/ebpf/spanhound-ebpf.o"),
    };
    println!("cargo::rerun-if-changed={}", object.display());
    match fs::read(&object) {
        Ok(programs) => fs::write(embedded, programs),
        // A name that was asked for must be there; the usual place need not.
        Err(error) if named.is_some() => Err(io::Error::new(
            error.kind(),
            format!("SPANHOUND_EBPF_OBJECT={}: {error}", object.display()),
        )),
        Err(_) => fs::write(embedded, []),
    }
}
