//! A conversation in the protocol that the variable `SPANHOUND_PROTOCOL` names, or, without it, before all detectors.
//!
//! Where `SPANHOUND_CORPUS` names a folder, it only writes the first corpus there: a program of its own for that would have
//! everything built twice, with and without coverage.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use spanhound_agent::protocol::Protocol;

static PROTOCOL: LazyLock<Option<Protocol>> = LazyLock::new(|| {
    std::env::var("SPANHOUND_PROTOCOL")
        .ok()
        .and_then(|name| Protocol::from_name(&name))
});

fn begin() {
    let Some(folder) = std::env::var_os("SPANHOUND_CORPUS") else {
        return;
    };
    match spanhound_fuzz::write_corpus(folder.as_ref()) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("{error:#}");
            std::process::exit(1)
        }
    }
}

fuzz_target!(init: begin(), |input: &[u8]| spanhound_fuzz::show(*PROTOCOL, input));
