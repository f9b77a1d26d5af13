//! The capture suite: known bytes are moved through every kind of call, and what the kernel programs tell must be
//! exactly those bytes, at exactly those positions, at both ends.
//!
//! Needs root; says so and passes where it is not. The same binary, built static, runs in the virtual machines of
//! `cargo xtask vm`. A tier the kernel does not offer is skipped with the kernel's reason, unless `SPANHOUND_TIERS` (a list
//! like `fentry,kprobe`) says that it must be there.

#[cfg(test)]
mod adoption;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod calls_32;
#[cfg(test)]
mod go;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod observer;
#[cfg(test)]
mod python;
#[cfg(test)]
mod ring_calls;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod storm;
#[cfg(test)]
mod udp;
#[cfg(test)]
mod uring;
#[cfg(test)]
mod waking;
#[cfg(test)]
mod ways;
