//! OTLP over HTTP: `POST /v1/traces` with a protobuf body, gzipped or not, as OpenTelemetry's exporters send it.

use super::decode::MAX_BATCH_BYTES;
use super::{Keep, Refusal, otlp};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use std::io::{self, Read};
use std::sync::Arc;

const PROTOBUF: &str = "application/x-protobuf";

/// The route `/v1/traces`.
pub fn routes<K: Keep>(keep: Arc<K>) -> Router {
    Router::new()
        .route("/v1/traces", post(export::<K>))
        .layer(DefaultBodyLimit::max(MAX_BATCH_BYTES))
        .with_state(keep)
}

async fn export<K: Keep>(State(keep): State<Arc<K>>, headers: HeaderMap, body: Bytes) -> Response {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if content_type
        .split(';')
        .next()
        .is_none_or(|kind| kind.trim() != PROTOBUF)
    {
        let text = "only application/x-protobuf is understood (OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf)\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    let encoding = headers
        .get(CONTENT_ENCODING)
        .map_or(&b"identity"[..], |value| value.as_bytes());
    let body = match encoding {
        b"identity" => body,
        b"gzip" => match unzipped(&body) {
            Ok(body) => body,
            Err(error) => return (StatusCode::BAD_REQUEST, format!("not gzip: {error}\n")).into_response(),
        },
        _ => return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "only gzip is understood\n").into_response(),
    };
    let request = match ExportTraceServiceRequest::decode(body) {
        Ok(request) => request,
        Err(error) => {
            return (StatusCode::BAD_REQUEST, format!("not an OTLP request: {error}\n")).into_response();
        }
    };
    match keep.keep(otlp::to_batch(request)).await {
        Ok(kept) => ([(CONTENT_TYPE, PROTOBUF)], otlp::answer(&kept).encode_to_vec()).into_response(),
        Err(refusal @ Refusal::TooLarge(_)) => {
            (StatusCode::PAYLOAD_TOO_LARGE, refusal.to_string()).into_response()
        }
        Err(refusal) => (
            StatusCode::SERVICE_UNAVAILABLE,
            [(RETRY_AFTER, "5")],
            refusal.to_string(),
        )
            .into_response(),
    }
}

/// The body unzipped; what would be larger than an unzipped body may be is an error.
fn unzipped(body: &[u8]) -> io::Result<Bytes> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body)
        .take(MAX_BATCH_BYTES as u64 + 1)
        .read_to_end(&mut plain)?;
    if plain.len() > MAX_BATCH_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "too large when unzipped",
        ));
    }
    Ok(Bytes::from(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn zipped(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn unzipping_is_bounded_and_refuses_what_is_not_gzip() {
        assert_eq!(unzipped(&zipped(b"spans")).unwrap(), &b"spans"[..]);
        assert_eq!(
            unzipped(&zipped(&vec![0; MAX_BATCH_BYTES])).unwrap().len(),
            MAX_BATCH_BYTES
        );
        assert!(unzipped(&zipped(&vec![0; MAX_BATCH_BYTES + 1])).is_err());
        assert!(unzipped(b"spans").is_err());
        assert!(unzipped(&zipped(b"spans")[..12]).is_err());
    }
}
