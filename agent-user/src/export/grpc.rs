//! One unary gRPC method, called with bytes that are encoded already.
//!
//! Enters: a URL, a method path, encoded requests. Leaves: decoded answers. Bounded: each call and connect in time.
//! Deliberately absent: retries, TLS.

use std::marker::PhantomData;
use std::time::Duration;

use prost::Message;
use prost::bytes::BufMut;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::Bytes;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
#[error("{url:?} is not a URL like http://127.0.0.1:4316")]
pub struct BadUrl {
    pub(super) url: String,
}

/// Copies share one connection.
pub(super) struct Method<Answer> {
    grpc: tonic::client::Grpc<Channel>,
    path: &'static str,
    answer: PhantomData<Answer>,
}

impl<Answer> Clone for Method<Answer> {
    fn clone(&self) -> Self {
        Self {
            grpc: self.grpc.clone(),
            path: self.path,
            answer: PhantomData,
        }
    }
}

impl<Answer: Message + Default + 'static> Method<Answer> {
    /// A collector that is away is no error.
    pub(super) fn new(url: &str, path: &'static str) -> Result<Self, BadUrl> {
        let bad = || BadUrl { url: url.to_owned() };
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| bad())?;
        if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none() {
            return Err(bad());
        }
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .connect_lazy();
        Ok(Self {
            grpc: tonic::client::Grpc::new(channel),
            path,
            answer: PhantomData,
        })
    }

    pub(super) async fn call(&mut self, request: Bytes) -> Result<Answer, Status> {
        self.grpc
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static(self.path);
        let answer = self
            .grpc
            .unary(Request::new(request), path, Encoded(PhantomData))
            .await?;
        Ok(answer.into_inner())
    }
}

/// Requests pass as they are; answers are decoded.
struct Encoded<Answer>(PhantomData<Answer>);

impl<Answer: Message + Default + 'static> Codec for Encoded<Answer> {
    type Encode = Bytes;
    type Decode = Answer;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(PhantomData)
    }

    fn decoder(&mut self) -> Self {
        Self(PhantomData)
    }
}

impl<Answer> Encoder for Encoded<Answer> {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl<Answer: Message + Default> Decoder for Encoded<Answer> {
    type Item = Answer;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Answer>, Status> {
        Answer::decode(buffer)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
