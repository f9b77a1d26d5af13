//! OTLP/HTTP: one POST a request.
//!
//! Enters: a URL and encoded requests. Leaves: an answer, sorted into done, try again, and never. Bounded in time.
//! Deliberately absent: TLS, compression.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::export::grpc::BadUrl;
use crate::export::outbox::Failure;

const TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of an answer that are read; the rest says nothing new.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

#[derive(Clone)]
pub(super) struct Poster {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
}

impl Poster {
    pub(super) fn new(url: &str) -> Result<Self, BadUrl> {
        let bad = || BadUrl { url: url.to_owned() };
        let given: Uri = url.parse().map_err(|_| bad())?;
        if given.scheme_str() != Some("http") || given.host().is_none() {
            return Err(bad());
        }
        let uri = match given.path() {
            "" | "/" => format!("{}/v1/traces", url.trim_end_matches('/'))
                .parse()
                .map_err(|_| bad())?,
            _ => given,
        };
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()),
            uri,
        })
    }

    pub(super) async fn post(&self, body: Bytes) -> Result<(), Failure> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header("content-type", "application/x-protobuf")
            .body(Full::new(body))
            .map_err(|error| Failure::Final(error.to_string()))?;
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| Failure::Passing(error.to_string()))?;
            let status = response.status();
            // Read to the end, so that the connection can be used again.
            let _ = Limited::new(response.into_body(), ANSWER_MAX_BYTES)
                .collect()
                .await;
            match status {
                status if status.is_success() => Ok(()),
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => Err(Failure::Passing(status.to_string())),
                status => Err(Failure::Final(status.to_string())),
            }
        };
        tokio::time::timeout(TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err(Failure::Passing("no answer in time".to_owned())))
    }
}
