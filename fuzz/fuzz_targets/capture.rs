//! A capture file: its formats, link layers, IP and TCP reassembly, and whatever protocol is in it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use spanhound_agent::replay::{self, Format, ReplayArgs};

/// The file is in memory, so that a run costs no disk.
static ARGUMENTS: LazyLock<ReplayArgs> = LazyLock::new(|| ReplayArgs {
    file: format!("/dev/shm/spanhound-fuzz-{}.pcap", std::process::id()).into(),
    format: Format::Json,
    server_port: Vec::new(),
});

fuzz_target!(|input: &[u8]| {
    if std::fs::write(&ARGUMENTS.file, input).is_ok() {
        let _ = replay::run(&ARGUMENTS, &mut Vec::new(), &mut Vec::new());
    }
});
