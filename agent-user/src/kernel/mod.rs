//! Kernel: what the kernel programs saw becomes [`crate::event::Event`]s.
//!
//! Enters: [`Settings`], the running kernel. Leaves: events, in the order the kernel wrote them; per connection and
//! thread that is the order in which things happened, between processors it is so to within microseconds
//! (`Data::time_ns` decides). Bounded: every kernel map by [`Settings`]; an event never owns payload. Deliberately
//! absent: streams, protocols, and who a process is.

mod attach;
mod btf;
mod capture;
mod decode;
mod doctor;
mod functions;
mod inodes;
mod java;
mod layout;
mod load;
mod memory;
mod privileges;
mod probes;
mod python;
mod ring;

pub use attach::HookStatus;
pub use btf::BtfError;
pub use capture::{Capture, CaptureError, LossCount, Settings, TierChoice};
pub use decode::decode;
pub use doctor::{Report, examine};
pub use memory::give_memory_back;
pub use spanhound_common::{Loss, PortRule, ProcessRule};
