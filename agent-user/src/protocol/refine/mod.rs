//! Refinements of HTTP: what a request asks for in the terms of the API behind it.
//!
//! Enters: heads of requests that the HTTP parser read, and the beginnings of those bodies that can matter (JSON, for
//! some paths). Leaves: attributes, and a finer protocol for the message. Bounded: at most [`PEEK_BYTES`] of a request
//! body are kept until it ends, nothing of a response body but a window of [`json::OVERLAP_BYTES`]. Deliberately absent:
//! content. Operation names, models and counts are taken; documents, parameters, prompts and answers never.

mod elasticsearch;
mod graphql;
mod json;
mod llm;

use compact_str::CompactString;

use super::{End, Message, Outcome, Protocol, Value};
use json::Scanner;

/// How much of a request body is looked at.
const PEEK_BYTES: usize = 4 << 10;

/// Which API a request is for, as far as its head tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    GraphQl,
    /// JSON posted anywhere: JSON-RPC if it says so.
    Json,
    /// With the name of the operation its path stands for.
    Llm(&'static str),
}

/// Follows one request and its response.
#[derive(Debug)]
pub(super) struct Refiner {
    api: Api,
    /// What the request turned out to be.
    recognised: Option<Protocol>,
    request: Vec<u8>,
    response: Scanner,
    streaming: bool,
    first_token_seen: bool,
}

impl Refiner {
    /// Refines the request by its head; answers what is to look at its body, if that can tell more.
    pub(super) fn of_request(message: &mut Message, content_type: &[u8]) -> Option<Box<Self>> {
        let path = message.target.as_str();
        if let Some(call) = elasticsearch::recognise(&message.operation, path) {
            call.describe(message);
            return None;
        }
        if message.operation != "POST" || !is_json(content_type) {
            return None;
        }
        let api = match llm::operation(path) {
            Some(operation) => Api::Llm(operation),
            None if graphql::is_path(path) => Api::GraphQl,
            None => Api::Json,
        };
        Some(Box::new(Self {
            api,
            recognised: None,
            request: Vec::new(),
            response: Scanner::default(),
            streaming: false,
            first_token_seen: false,
        }))
    }

    /// Takes in a part of the request's body; answers whether more of it is of interest.
    pub(super) fn request_body(&mut self, bytes: &[u8]) -> bool {
        let room = PEEK_BYTES - self.request.len();
        self.request.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.request.len() < PEEK_BYTES
    }

    /// The request is over: what its body told.
    pub(super) fn request_end(&mut self, end: &mut End) {
        let body = std::mem::take(&mut self.request);
        match self.api {
            Api::GraphQl => graphql::describe(&body, end),
            Api::Json => describe_json_rpc(&body, end),
            Api::Llm(operation) => llm::describe_request(operation, &body, end),
        }
        self.recognised = end.refined;
    }

    /// Whether the response's body is of interest.
    pub(super) fn response_head(&mut self, content_type: &[u8]) -> bool {
        self.streaming = media_type(content_type).eq_ignore_ascii_case(b"text/event-stream");
        match self.recognised {
            Some(Protocol::Llm) => self.streaming || is_json(content_type),
            Some(_) => is_json(content_type),
            None => false,
        }
    }

    /// Takes in a part of the response's body; answers whether the first token of a streamed answer is in it.
    pub(super) fn response_body(&mut self, bytes: &[u8]) -> bool {
        self.response.see(bytes);
        let streamed = self.recognised == Some(Protocol::Llm) && self.streaming;
        let first = streamed && !self.first_token_seen && self.response.data_events > 0;
        self.first_token_seen |= first;
        first
    }

    pub(super) fn response_end(&mut self, end: &mut End) {
        match self.recognised {
            Some(Protocol::Llm) => llm::describe_response(&self.response, end),
            // Both answer errors with 200; JSON-RPC writes "error", GraphQL "errors".
            Some(_) if self.response.error => end.outcome = Some(Outcome::Error(CompactString::default())),
            _ => {}
        }
    }
}

/// JSON-RPC 2.0: one call, or the first of a batch.
fn describe_json_rpc(body: &[u8], end: &mut End) {
    let Some(version) = json::text_of(body, "jsonrpc", 8) else {
        return;
    };
    end.refined = Some(Protocol::JsonRpc);
    end.attributes
        .push(("jsonrpc.protocol.version", Value::Text(version)));
    if let Some(method) = json::text_of(body, "method", 128) {
        end.attributes.push(("rpc.method", Value::Text(method)));
    }
}

fn media_type(content_type: &[u8]) -> &[u8] {
    content_type
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

fn is_json(content_type: &[u8]) -> bool {
    let media_type = media_type(content_type).to_ascii_lowercase();
    media_type == b"application/json"
        || media_type.ends_with(b"+json")
        || media_type == b"application/json-rpc"
}

#[cfg(test)]
mod tests;
