//! Export: batches leave the host.
//!
//! Enters: [`Batch`]es, through one bounded channel an exporter. Leaves: gRPC calls to a collector, OTLP to anything that
//! speaks it. Bounded: batches queued and bytes buffered while the other end is away; what does not fit is counted
//! ([`Counters`]) and given up, oldest first. Deliberately absent: any change to what a span says.

pub mod collector;
mod grpc;
pub mod otlp;
mod outbox;
mod retry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::batch::Batch;

pub use grpc::BadUrl;

/// Batches that may wait for an exporter to take them up; it does so at once, whatever the other end does.
pub const QUEUE_BATCHES: usize = 8;

/// What exporters did and could not do, since start. Shared between the exporter's task and whoever reports.
#[derive(Debug, Default)]
pub struct Counters {
    /// Spans acknowledged by the other end.
    pub spans_sent: AtomicU64,
    /// Spans given up because the exporter did not keep up or the other end was away for too long.
    pub spans_given_up: AtomicU64,
    /// Spans the other end refused for good.
    pub spans_refused: AtomicU64,
    /// Calls that failed and were tried again.
    pub retries: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// One exporter's entrance.
#[derive(Clone, Debug)]
pub struct Door {
    /// Stands in the names of its counters: `collector` or `otlp`.
    pub name: &'static str,
    sender: mpsc::Sender<Arc<Batch>>,
    pub counters: Arc<Counters>,
}

impl Door {
    pub fn new(name: &'static str) -> (Self, mpsc::Receiver<Arc<Batch>>) {
        let (sender, receiver) = mpsc::channel(QUEUE_BATCHES);
        (
            Self {
                name,
                sender,
                counters: Arc::default(),
            },
            receiver,
        )
    }

    /// Hands a batch over, or counts its spans as given up. Never waits.
    pub fn push(&self, batch: Arc<Batch>) {
        let spans = batch.spans.len();
        if self.sender.try_send(batch).is_err() {
            Counters::add(&self.counters.spans_given_up, spans);
        }
    }
}
