//! A conversation in the protocol that the variable `SPANHOUND_PROTOCOL` names, or, without it, before all detectors.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use spanhound_agent::protocol::Protocol;

static PROTOCOL: LazyLock<Option<Protocol>> = LazyLock::new(|| {
    std::env::var("SPANHOUND_PROTOCOL")
        .ok()
        .and_then(|name| Protocol::from_name(&name))
});

fuzz_target!(|input: &[u8]| spanhound_fuzz::show(*PROTOCOL, input));
