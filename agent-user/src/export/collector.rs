//! To a Spanhound collector, by gRPC: in order, each batch until it is acknowledged.
//!
//! Enters: requests. Leaves: `Ingest.Send` calls. Bounded: its [`Buffer`]. A batch keeps its number over retries, so the
//! collector stores it once. Deliberately absent: anything about the store.

use std::sync::Arc;

use hyper::body::Bytes;
use prost::Message;
use spanhound_proto::v1;
use tokio::sync::mpsc;
use tonic::Code;

use super::grpc::{BadUrl, Method};
use super::outbox::{Courier, Delivered, Failure, Outbox};
use super::{Buffer, Counters, Request};
use crate::batch::{Batch, wire};

const SEND: &str = "/spanhound.v1.Ingest/Send";

pub struct Exporter(Outbox<Collector>);

struct Collector {
    send: Method<v1::Acknowledgement>,
}

/// Numbers batches and writes them as the wire wants them.
pub struct Encoder {
    wire: wire::Encoder,
    sequence: u64,
}

impl Encoder {
    pub fn new(sender: wire::Sender) -> Self {
        Self {
            wire: wire::Encoder::new(sender),
            // 0 stands for a batch without a number, which is not recognised when it is sent again.
            sequence: 1,
        }
    }
}

impl super::Encoder for Encoder {
    fn add(&mut self, part: &Batch) {
        self.wire.add(part);
    }

    fn finish(&mut self) -> Option<Bytes> {
        let message = self.wire.finish(self.sequence);
        self.sequence += 1;
        Some(Bytes::from(message.encode_to_vec()))
    }
}

impl Exporter {
    /// # Errors
    ///
    /// When the URL (`http://host:port`) cannot be read. A collector that is away is no error.
    pub fn new(url: &str, buffer: Buffer, counters: Arc<Counters>) -> Result<Self, BadUrl> {
        let courier = Collector {
            send: Method::new(url, SEND)?,
        };
        Ok(Self(Outbox::new(courier, url, buffer, counters)))
    }

    pub async fn run(self, requests: mpsc::Receiver<Request>) {
        self.0.run(requests).await;
    }
}

impl Courier for Collector {
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
