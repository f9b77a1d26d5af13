//! To a Spanhound collector, by gRPC: in order, each batch until it is acknowledged.
//!
//! Enters: batches. Leaves: `Ingest.Send` calls. Bounded: [`Settings::buffer_bytes`] of unacknowledged batches. A batch
//! keeps its number over retries, so the collector stores it once. Deliberately absent: anything about the store.

use std::sync::Arc;

use hyper::body::Bytes;
use prost::Message;
use spanhound_proto::v1;
use tokio::sync::mpsc;
use tonic::Code;

use super::Counters;
use super::grpc::{BadUrl, Method};
use super::outbox::{Courier, Delivered, Failure, Outbox};
use crate::batch::{Batch, wire};

const SEND: &str = "/spanhound.v1.Ingest/Send";

#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://host:port`.
    pub url: String,
    pub buffer_bytes: usize,
}

pub struct Exporter(Outbox<Collector>);

struct Collector {
    sender: wire::Sender,
    send: Method<v1::Acknowledgement>,
    sequence: u64,
}

impl Exporter {
    /// # Errors
    ///
    /// When the URL cannot be read. A collector that is away is no error.
    pub fn new(settings: &Settings, sender: wire::Sender, counters: Arc<Counters>) -> Result<Self, BadUrl> {
        let courier = Collector {
            sender,
            send: Method::new(&settings.url, SEND)?,
            sequence: 0,
        };
        Ok(Self(Outbox::new(
            courier,
            &settings.url,
            settings.buffer_bytes,
            counters,
        )))
    }

    pub async fn run(self, batches: mpsc::Receiver<Arc<Batch>>) {
        self.0.run(batches).await;
    }
}

impl Courier for Collector {
    fn encode(&mut self, batch: &Batch) -> Option<Bytes> {
        let message = wire::encode(batch, self.sequence, &self.sender);
        self.sequence += 1;
        Some(Bytes::from(message.encode_to_vec()))
    }

    fn deliver(&self, request: Bytes) -> impl Future<Output = Delivered> + Send + 'static {
        let mut send = self.send.clone();
        async move {
            let acknowledgement = send.call(request).await.map_err(|status| {
                if is_final(status.code()) {
                    Failure::Final(status.to_string())
                } else {
                    Failure::Passing(status.to_string())
                }
            })?;
            let refused: u64 = acknowledgement.refused.values().sum();
            Ok(usize::try_from(refused).unwrap_or(usize::MAX))
        }
    }
}

/// Errors no retry can mend.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented | Code::PermissionDenied
    )
}
