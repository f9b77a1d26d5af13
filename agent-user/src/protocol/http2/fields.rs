//! Header lists become messages: requests, responses, trailers (RFC 9113 section 8), of gRPC where they say so.

use compact_str::CompactString;

use super::hpack::Field;
use crate::protocol::context::ContextReader;
use crate::protocol::http::{set_authority, set_path, set_text};
use crate::protocol::reader::lossy_text;
use crate::protocol::{
    Attributes, Class, End, Ends, Message, Outcome, Pairing, Protocol, Value, grpc, is_known_method,
};

/// What a header block said, as far as it matters.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) method: Option<CompactString>,
    path: Option<CompactString>,
    authority: Option<CompactString>,
    scheme: Option<CompactString>,
    user_agent: Option<CompactString>,
    pub(super) status: Option<CompactString>,
    pub(super) content_type: Option<CompactString>,
    grpc_status: Option<CompactString>,
    grpc_message: Option<CompactString>,
    context: ContextReader,
    /// A field's name or value is unknown.
    pub(super) incomplete: bool,
    /// Some pseudo-header field of requests or of responses was there, even if its value is unknown.
    request: bool,
    response: bool,
}

/// Longer values are of no use here.
const MAX_VALUE_BYTES: usize = 4 << 10;

impl Fields {
    pub(super) fn see(&mut self, field: Field<'_>) {
        let (Some(name), value) = (field.name, field.value) else {
            self.incomplete = true;
            return;
        };
        self.incomplete |= value.is_none();
        self.request |= matches!(name, b":method" | b":path" | b":scheme" | b":authority");
        self.response |= name == b":status";
        let Some(value) = value else { return };
        let place = match name {
            b":method" => &mut self.method,
            b":path" => &mut self.path,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b"host" if self.authority.is_none() => &mut self.authority,
            b":status" => &mut self.status,
            b"content-type" => &mut self.content_type,
            b"user-agent" => &mut self.user_agent,
            b"grpc-status" => &mut self.grpc_status,
            b"grpc-message" => &mut self.grpc_message,
            _ => return self.context.see(name, value),
        };
        *place = Some(lossy_text(&value[..value.len().min(MAX_VALUE_BYTES)]));
    }

    pub(super) fn is_request(&self) -> bool {
        self.request
    }

    pub(super) fn is_response(&self) -> bool {
        self.response
    }

    pub(super) fn is_interim(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.starts_with('1'))
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.content_type.as_deref().is_some_and(|content_type| {
            content_type
                .strip_prefix("application/grpc")
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
        })
    }

    /// Its content type is among what could not be read, and nothing else speaks against gRPC.
    pub(super) fn may_be_grpc(&self) -> bool {
        self.incomplete
            && self.content_type.is_none()
            && self.method.as_deref().is_none_or(|method| method == "POST")
    }

    /// The path, where it could be read.
    pub(super) fn path(&self) -> CompactString {
        self.path.clone().unwrap_or(CompactString::const_new("…"))
    }

    pub(super) fn into_request(self, stream: u32, ends: Ends) -> Box<Message> {
        let grpc = self.is_grpc();
        let mut message = Message::new(Class::Request, Pairing::Id(u64::from(stream)), ends);
        let attributes = &mut message.attributes;
        attributes.reserve_exact(6);
        attributes.push((
            "network.protocol.version",
            Value::Text(CompactString::const_new("2")),
        ));
        if let Some(agent) = &self.user_agent {
            set_text(attributes, "user_agent.original", agent.as_bytes());
        }
        if let Some(scheme) = &self.scheme {
            set_text(attributes, "url.scheme", scheme.as_bytes());
        }
        set_authority(attributes, self.authority.as_deref().unwrap_or(""));
        let path = self.path.as_deref().unwrap_or("…");
        if grpc {
            message.refined = Some(Protocol::Grpc);
            message.operation = CompactString::new(path);
            message.target = CompactString::new(path);
            grpc::describe_method(attributes, path);
        } else {
            let method = self.method.unwrap_or_default();
            if !is_known_method(&method) && !method.is_empty() {
                attributes.push((
                    "http.request.method",
                    Value::Text(CompactString::const_new("_OTHER")),
                ));
                set_text(attributes, "http.request.method_original", method.as_bytes());
            }
            let connect = method == "CONNECT" && self.path.is_none();
            let path = if connect {
                self.authority.as_deref().unwrap_or("…")
            } else {
                path
            };
            message.operation = method;
            set_path(&mut message, path);
        }
        message.context = self.context.finish();
        message
    }

    pub(super) fn into_response(self, stream: u32, grpc: bool, ends: Ends) -> Box<Message> {
        let interim = self.is_interim();
        let class = if interim { Class::Interim } else { Class::Response };
        let mut message = Message::new(class, Pairing::Id(u64::from(stream)), ends);
        let status = self.status.clone().unwrap_or_default();
        if status.starts_with('5') {
            message.outcome = Outcome::Error(CompactString::default());
        }
        message.status = status;
        if (grpc || self.is_grpc()) && message.status == "200" {
            message.refined = Some(Protocol::Grpc);
            // What counts is the status in the trailers, which are this block where nothing follows.
            message.status = CompactString::default();
            let (status, outcome) = self.grpc_outcome(&mut message.attributes);
            message.status = status.unwrap_or_default();
            message.outcome = outcome.unwrap_or_default();
        }
        message
    }

    /// Trailers, which end the message of their side.
    pub(super) fn into_end(self, stream: u32, grpc: bool) -> Box<End> {
        let mut end = End {
            id: Some(u64::from(stream)),
            ..End::default()
        };
        if grpc || self.grpc_status.is_some() {
            end.refined = Some(Protocol::Grpc);
            (end.status, end.outcome) = self.grpc_outcome(&mut end.attributes);
        }
        Box::new(end)
    }

    fn grpc_outcome(&self, attributes: &mut Attributes) -> (Option<CompactString>, Option<Outcome>) {
        let Some(status) = &self.grpc_status else {
            return (None, None);
        };
        let outcome = grpc::outcome(attributes, status, self.grpc_message.as_deref().unwrap_or(""));
        (Some(status.clone()), Some(outcome))
    }
}
