//! Spanhound's kernel programs.
//!
//! ```text
//! hook (socket/, process) -> connection (whose, where in the stream) -> payload (which bytes) -> emit (ring buffer)
//! ```
//!
//! A hook is one function here and one row in the agent's probe table. Hooks of different tiers end in the same
//! [`stream::moved`], so the tier changes the cost and nothing else. Deliberately absent: writing to anything but our own
//! maps.
#![no_std]
#![no_main]

mod actor;
mod config;
mod connection;
mod emit;
mod maps;
mod payload;
mod process;
mod read;
mod runtime;
mod socket;
mod standing;
mod stream;
mod waking;
mod word;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// The kernel lets only programs that say so call its GPL helpers (`include/linux/license.h`).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Checked when the programs are loaded.
#[unsafe(link_section = "spanhound.tree")]
#[unsafe(no_mangle)]
static TREE: u64 = spanhound_common::tree::TREE;
