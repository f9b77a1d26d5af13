//! The gRPC services: `spanhound.v1.Ingest` for agents, OpenTelemetry's `TraceService` for instrumented applications, on
//! one port.

use super::decode::MAX_BATCH_BYTES;
use super::{Keep, Refusal, otlp};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use spanhound_proto::v1;
use spanhound_proto::v1::ingest_server::{Ingest, IngestServer};
use std::sync::Arc;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

struct Service<K>(Arc<K>);

impl<K: Keep> Service<K> {
    async fn keep(&self, batch: v1::Batch) -> Result<super::Kept, Status> {
        self.0.keep(batch).await.map_err(|refusal| {
            let text = refusal.to_string();
            match refusal {
                Refusal::TooLarge(_) => Status::invalid_argument(text),
                Refusal::Disk(_) | Refusal::Memory => Status::resource_exhausted(text),
                Refusal::Stopping => Status::unavailable(text),
            }
        })
    }
}

#[tonic::async_trait]
impl<K: Keep> Ingest for Service<K> {
    async fn send(&self, request: Request<v1::Batch>) -> Result<Response<v1::Acknowledgement>, Status> {
        let batch = request.into_inner();
        let sequence = batch.sequence;
        let kept = self.keep(batch).await?;
        let refused = kept
            .refused
            .into_iter()
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect();
        Ok(Response::new(v1::Acknowledgement { sequence, refused }))
    }
}

#[tonic::async_trait]
impl<K: Keep> TraceService for Service<K> {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let kept = self.keep(otlp::to_batch(request.into_inner())).await?;
        Ok(Response::new(otlp::answer(&kept)))
    }
}

/// Serves both until `stop` resolves; requests under way are answered first.
///
/// # Errors
/// When the listener fails.
pub async fn serve<K: Keep>(
    listener: TcpListener,
    keep: Arc<K>,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    // An answer is three small frames; waiting to send them together would cost the sender tens of milliseconds.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let ingest = IngestServer::new(Service(keep.clone()))
        .max_decoding_message_size(MAX_BATCH_BYTES)
        .accept_compressed(Gzip);
    let traces = TraceServiceServer::new(Service(keep))
        .max_decoding_message_size(MAX_BATCH_BYTES)
        .accept_compressed(Gzip);
    tonic::transport::Server::builder()
        .add_service(ingest)
        .add_service(traces)
        .serve_with_incoming_shutdown(incoming, stop)
        .await
}
