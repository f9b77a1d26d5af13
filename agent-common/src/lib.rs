//! Plain types that cross the border between the kernel programs and the agent: event records, load-time configuration,
//! limits. Everything here is `repr(C)`, has no padding, and states its size in an assertion.
#![no_std]

pub mod layout;
pub mod limits;
pub mod loss;
pub mod record;
pub mod rule;
pub mod tree;

pub use layout::{ABSENT, Layout};
pub use loss::Loss;
pub use record::{
    AddressedRecord, AwaitedRecord, ClosedRecord, ConnectingRecord, DataRecord, Kind, MultiplexedRecord,
    OpenedRecord, ProcessRecord, WakeRecord, WokenRecord,
};
pub use rule::{ConnectionSetting, JavaThread, PortRule, ProcessRule, PythonTasks, Switches};

/// The types' use as values of aya maps and globals.
#[cfg(feature = "user")]
mod user {
    // SAFETY: `repr(C)`, plain integers, no padding (sizes are asserted where they are defined).
    unsafe impl aya::Pod for crate::Layout {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::Switches {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::ProcessRule {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::PythonTasks {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::JavaThread {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::ConnectionSetting {}
}
