//! Export: batches leave the host.
//!
//! Enters: [`Batch`]es, through one bounded channel an exporter. Leaves: gRPC calls to a collector, OTLP to anything that
//! speaks it. Bounded: batches queued, and bytes buffered in memory and on disk while the other end is away; what does not
//! fit is counted ([`Counters`]) and given up, oldest first. Deliberately absent: any change to what a span says.

pub mod collector;
mod grpc;
pub mod otlp;
mod outbox;
mod retry;
mod spool;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Bytes;
use tokio::sync::mpsc;

use crate::batch::Batch;

pub use grpc::BadUrl;
pub use spool::{Buffer, Buffers, Settings as BufferSettings};

/// Requests that may wait for an exporter to take them up; it does so at once, whatever the other end does.
pub const QUEUE_REQUESTS: usize = 8;

/// What exporters did and could not do, since start. Shared between the exporter's task and whoever reports.
#[derive(Debug, Default)]
pub struct Counters {
    /// Spans acknowledged by the other end.
    pub spans_sent: AtomicU64,
    /// Spans given up because the exporter did not keep up or the other end was away for too long.
    pub spans_given_up: AtomicU64,
    /// Spans the other end refused for good.
    pub spans_refused: AtomicU64,
    /// Bytes of requests that waited on disk and cannot be read any more.
    pub spool_unreadable_bytes: AtomicU64,
    /// Calls that failed and were tried again.
    pub retries: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// A batch in the form in which it is sent.
#[derive(Debug)]
pub struct Request {
    spans: usize,
    bytes: Bytes,
}

/// What a batch becomes for one exporter. It is told of in parts, as its spans are made, so that no long moment of work comes
/// with its end.
pub trait Encoder: Send {
    fn add(&mut self, part: &Batch);
    /// All parts since the last call; `None` where there is nothing to say.
    fn finish(&mut self) -> Option<Bytes>;
}

/// One exporter's entrance. Batches are encoded here, by whoever made them: what crosses to the exporter's thread is a
/// tenth of the memory, and spans are freed where they were allocated, which allocators are quick at.
pub struct Door {
    /// Stands in the names of its counters: `collector` or `otlp`.
    pub name: &'static str,
    encoder: Box<dyn Encoder>,
    /// Of the parts since the last request.
    spans: usize,
    sender: mpsc::Sender<Request>,
    pub counters: Arc<Counters>,
}

impl Door {
    pub fn new(name: &'static str, encoder: Box<dyn Encoder>) -> (Self, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(QUEUE_REQUESTS);
        let door = Self {
            name,
            encoder,
            spans: 0,
            sender,
            counters: Arc::default(),
        };
        (door, receiver)
    }

    pub fn add(&mut self, part: &Batch) {
        self.spans += part.spans.len();
        self.encoder.add(part);
    }

    /// Hands over what was added, or counts its spans as given up. Never waits.
    pub fn send(&mut self) {
        let spans = std::mem::take(&mut self.spans);
        if let Some(bytes) = self.encoder.finish()
            && self.sender.try_send(Request { spans, bytes }).is_err()
        {
            Counters::add(&self.counters.spans_given_up, spans);
        }
    }
}
