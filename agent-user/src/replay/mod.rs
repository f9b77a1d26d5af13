//! Replay: a capture file walks through the rooms as if the kernel had reported it.
//!
//! Enters: a pcap or pcapng file. Leaves: the same [`Event`](crate::event::Event)s `kernel` makes. Bounded: by
//! [`packet`] and [`reassembly`]. Deliberately absent: live capture.

pub mod capture_file;
pub mod link_layer;
pub mod packet;
pub mod reassembly;
