//! To any OpenTelemetry backend, by OTLP: HTTP/protobuf (`/v1/traces`) or gRPC (OTLP specification 1.9).
//!
//! Enters: requests. Leaves: the same, taken or refused. Bounded: its [`Buffer`] of requests the backend did not take yet.
//! Retries as the specification asks: on 429, 502, 503, 504 and on gRPC's retryable codes. Deliberately absent: health; OTLP
//! has no place for it.

mod encode;
mod field;
mod http;

use std::sync::Arc;

use hyper::body::Bytes;
use tokio::sync::mpsc;
use tonic::Code;

use super::grpc::{BadUrl, Method};
use super::outbox::{Courier, Delivered, Failure, Outbox};
use super::{Buffer, Counters, Request};

pub use encode::Encoder;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
pub enum Transport {
    #[default]
    #[serde(rename = "http/protobuf")]
    #[value(name = "http/protobuf")]
    Http,
    #[serde(rename = "grpc")]
    #[value(name = "grpc")]
    Grpc,
}

pub struct Exporter(Outbox<Backend>);

struct Backend {
    client: Client,
}

#[derive(Clone)]
enum Client {
    Http(Box<http::Poster>),
    Grpc(Box<Method<()>>),
}

impl Exporter {
    /// `url` without a path means `/v1/traces` for HTTP.
    ///
    /// # Errors
    ///
    /// When the URL cannot be read. A backend that is away is no error.
    pub fn new(
        url: &str,
        transport: Transport,
        buffer: Buffer,
        counters: Arc<Counters>,
    ) -> Result<Self, BadUrl> {
        let client = match transport {
            Transport::Http => Client::Http(Box::new(http::Poster::new(url)?)),
            Transport::Grpc => Client::Grpc(Box::new(Method::new(url, EXPORT)?)),
        };
        Ok(Self(Outbox::new(Backend { client }, url, buffer, counters)))
    }

    pub async fn run(self, requests: mpsc::Receiver<Request>) {
        self.0.run(requests).await;
    }
}

impl Courier for Backend {
    fn deliver(&self, request: Bytes) -> impl Future<Output = Delivered> + Send + 'static {
        let client = self.client.clone();
        async move {
            match client {
                Client::Http(poster) => poster.post(request).await?,
                Client::Grpc(mut method) => method.call(request).await.map_err(|status| {
                    if is_passing(status.code()) {
                        Failure::Passing(status.to_string())
                    } else {
                        Failure::Final(status.to_string())
                    }
                })?,
            }
            Ok(0)
        }
    }
}

/// gRPC codes after which the specification asks for a retry.
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            | Code::ResourceExhausted
    )
}
