//! Batch: linked spans on their way out, with the health they were seen in.
//!
//! Enters: spans and the link room's decisions about them. Leaves: [`Batch`]es, and their form on the wire. Bounded: spans
//! waiting for a decision, and spans a batch. Deliberately absent: sending.

mod pending;
pub mod wire;

use crate::health::Snapshot;
use crate::link::Decision;
use crate::span::Span;

pub use pending::Pending;

/// A span with its place in a trace.
#[derive(Clone, Debug)]
pub struct Linked {
    pub span: Span,
    pub link: Decision,
}

/// What is sent at once.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub spans: Vec<Linked>,
    pub health: Option<Snapshot>,
    /// What to add to the monotonic clock's time to get Unix time, in nanoseconds.
    pub unix_offset_ns: u64,
}
