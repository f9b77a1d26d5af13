//! A capture file: its formats, link layers, IP and TCP reassembly, and whatever protocol is in it.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::Parser;
use libfuzzer_sys::fuzz_target;
use spanhound_agent::replay::{self, ReplayArgs};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    replay: ReplayArgs,
}

/// In memory, so that a run costs no disk.
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| PathBuf::from(format!("/dev/shm/spanhound-fuzz-{}.pcap", std::process::id())));

fuzz_target!(|input: &[u8]| {
    let arguments = Arguments::try_parse_from(["fuzz".as_ref(), FILE.as_os_str()]);
    if let (Ok(arguments), Ok(())) = (arguments, std::fs::write(&*FILE, input)) {
        let _ = replay::run(&arguments.replay, &mut Vec::new(), &mut Vec::new());
    }
});
