//! The first room. Enters: batches by gRPC (agents), OTLP over gRPC and OTLP over HTTP (instrumented applications), which
//! are checked and handed to what keeps them. Leaves: an acknowledgement once the batch is durable, or a refusal that
//! tells the sender whether to repeat it. Bounded: bytes a message, spans, strings and attributes a batch. Absent on
//! purpose: storage; the store implements [`Keep`].

pub mod agent;
pub mod decode;
pub mod grpc;
pub mod http;
pub mod otlp;

use spanhound_proto::v1;
use std::collections::BTreeMap;

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    TooLarge(#[from] decode::BatchTooLarge),
    #[error("the store's disk takes no more ({0}); repeat later")]
    Disk(String),
    #[error("too much waits to be written; repeat later")]
    Memory,
    #[error("the collector is stopping")]
    Stopping,
}

/// A batch that is durable now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Spans refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// The batch was stored before.
    pub repeated: bool,
}

/// What makes batches durable.
pub trait Keep: Send + Sync + 'static {
    /// Returns once the batch is durable.
    fn keep(&self, batch: v1::Batch) -> impl Future<Output = Result<Kept, Refusal>> + Send;
}
