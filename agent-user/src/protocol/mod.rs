//! Protocol: bytes of a connection become messages.
//!
//! Enters: contiguous bytes of one side, in order, and the news that some are missing. Leaves: [`Step`]s. Bounded: a
//! parser holds no payload; what it keeps between calls is bounded by its own stated limits. Deliberately absent:
//! clocks, I/O, spans, and knowledge of who the peers are.
//!
//! A protocol is one file (or folder) with a `DEFINITION`, and one line in [`table`].

mod amqp;
mod answered;
mod cassandra;
mod clickhouse;
mod compression;
pub mod context;
mod dns;
mod dubbo;
mod fastcgi;
mod grpc;
#[cfg(test)]
pub(crate) mod harness;
mod http;
mod http2;
mod kafka;
mod memcached;
mod mongodb;
mod mqtt;
mod mysql;
mod names;
mod nats;
mod postgresql;
mod reader;
pub mod recording;
pub mod redaction;
mod redis;
mod refine;
pub mod route;
#[cfg(test)]
mod scripted;
pub mod statement;
pub mod table;
mod thrift;
mod websocket;

use compact_str::CompactString;

pub use http::is_known_method;
pub use names::SharedNames;
pub use table::{Definition, Protocol};

/// The end of the connection that sent some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Client,
    Server,
}

impl Side {
    pub fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What [`Definition::detect`] may look at: the first bytes seen of either side, either of which may be empty.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    pub client: &'a [u8],
    pub server: &'a [u8],
    /// The bytes are the first of the connection; otherwise they begin at the start of some write in the middle.
    pub from_start: bool,
    /// Port of the accepting end, 0 where there is none. A hint only: it may break a tie, never decide.
    pub server_port: u16,
    /// Datagrams (each call shows one), not a byte stream.
    pub datagram: bool,
}

/// How well an opening fits a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// These bytes are not this protocol.
    Reject,
    /// Too few bytes to tell.
    NeedMore,
    /// They may be: 1 (weak) to 100 (a signature nobody else has). The highest score wins.
    Score(u8),
}

/// What a parser answers to the bytes it was shown.
#[derive(Debug)]
pub enum Step {
    /// Nothing can be said before more bytes of this side arrive; those shown are kept and shown again.
    NeedMore,
    /// So many bytes are dealt with and say nothing by themselves. Never 0.
    Consumed(usize),
    /// So many bytes from here on are payload nobody wants to look at; they may never be captured.
    Skip(u64),
    /// A message, or the head of one. `consumed` may be 0 only after a step that was not.
    Message { consumed: usize, message: Box<Message> },
    /// A message reported earlier with [`Ends::Later`] is over.
    End { consumed: usize, end: Box<End> },
    /// So many bytes (possibly none) held something that cannot be read; the place is not lost. Counted, nothing more.
    Unread { consumed: usize, reason: LostReason },
    /// The oldest request without a whole response (or the one with that id) was answered, but in bytes that are missing. Its
    /// response ended with the last bytes of this side before these, at the latest.
    Unseen { id: Option<u64> },
    /// These bytes cannot be understood before the other side got further (a response ahead of its request).
    AwaitPeer,
    /// From here on another protocol, on both sides.
    HandOver { consumed: usize, to: Next },
    /// These bytes are not this protocol as far as this parser can tell; it is asked to resync.
    Lost(LostReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Protocol(Protocol),
    /// Look again at what comes, as if the connection began here (after CONNECT, STARTTLS).
    Detect,
    /// Nothing readable will follow (TLS, an unknown upgrade).
    Opaque,
}

/// Why a parser gave up on some bytes; one counter each in the loss ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LostReason {
    /// The bytes break the protocol's grammar.
    Malformed,
    /// A length or count is beyond the parser's stated bound.
    TooLarge,
    /// State that earlier bytes set up is missing (HPACK table, prepared statement framing).
    MissingState,
    /// Valid, but a version or feature this parser does not read.
    Unsupported,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Request,
    Response,
    /// Neither has an answer nor is one (a notification, a published message without acknowledgement).
    OneWay,
    /// A response that does not end its request (HTTP 1xx): only the time of it is of interest.
    Interim,
}

/// How a response finds its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// The oldest one still open on the connection. A loss on either side gives up all that are open.
    InOrder,
    /// The one with the same id. Losses do not concern it: a parser that can still tell what belongs together after one,
    /// or has to prevent a wrong pair, numbers its messages itself. An id used again must mean another request.
    Id(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// With the last byte consumed by the step that reports it.
    Here,
    /// With the last of so many bytes behind those consumed. They are skipped as [`Step::Skip`] would, and the message
    /// ends when they have passed, seen or not: the parser is not asked again. Never 0.
    After(u64),
    /// With a later [`Step::End`] of the same side and pairing (a body follows).
    Later,
}

/// What kind of work a request asks for; decides the span kind together with the side we watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intent {
    /// Ask and be answered: client and server spans.
    #[default]
    Call,
    /// Hand a message to a broker, or a broker's delivery of one: producer and consumer spans.
    Publish,
    /// Fetch messages from a broker, or be delivered one.
    Receive,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    #[default]
    Unset,
    Ok,
    /// The protocol says it failed; the text is its error message, already redacted, possibly empty.
    Error(CompactString),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(CompactString),
    Int(i64),
    Float(f64),
    Bool(bool),
    List(Vec<CompactString>),
}

/// OpenTelemetry attributes beyond those every span gets from operation, target and status.
pub type Attributes = Vec<(&'static str, Value)>;

/// One protocol unit: a request, a response, a one-way message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub class: Class,
    pub pairing: Pairing,
    pub ends: Ends,
    pub intent: Intent,
    /// A finer protocol than the connection's (gRPC on HTTP/2, GraphQL on HTTP); the connection's otherwise.
    pub refined: Option<Protocol>,
    /// HTTP method, SQL verb, command, opcode name. Requests and one-way messages; on a response, and its end, only where
    /// that tells what the request was (gRPC whose request could not be read): it replaces the request's.
    pub operation: CompactString,
    /// Path, statement, key, topic, name; redacted. Empty where the protocol has none. Ends in `…` where its end was
    /// not seen or is left out.
    pub target: CompactString,
    /// As the protocol writes it ("200", "42P01", "MOVED"); responses only.
    pub status: CompactString,
    pub outcome: Outcome,
    pub attributes: Attributes,
    /// Trace headers found in the message, for the `header` rung. On a response, those of the one message it delivers
    /// (Kafka's Fetch): who sent that is what made this happen.
    pub context: Option<Box<PropagatedContext>>,
    /// Size on the wire in bytes where the parser knows better than the byte positions do (multiplexed protocols).
    pub size_bytes: Option<u64>,
}

impl Message {
    pub fn new(class: Class, pairing: Pairing, ends: Ends) -> Box<Self> {
        // Made in its place: a copy of so many bytes costs as much as making it.
        Box::write(
            Box::new_uninit(),
            Self {
                class,
                pairing,
                ends,
                intent: Intent::Call,
                refined: None,
                operation: CompactString::default(),
                target: CompactString::default(),
                status: CompactString::default(),
                outcome: Outcome::Unset,
                attributes: Attributes::new(),
                context: None,
                size_bytes: None,
            },
        )
    }
}

/// The end of a message that was reported with [`Ends::Later`], and what its last part told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct End {
    /// `None` stands for [`Pairing::InOrder`].
    pub id: Option<u64>,
    /// Replaces the message's, where set.
    pub refined: Option<Protocol>,
    pub operation: Option<CompactString>,
    pub target: Option<CompactString>,
    pub status: Option<CompactString>,
    pub outcome: Option<Outcome>,
    /// Added to the message's.
    pub attributes: Attributes,
    pub size_bytes: Option<u64>,
}

/// What trace headers said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropagatedContext {
    /// W3C trace id (64-bit ids of older formats are zero-extended); 0 where none.
    pub trace_id: u128,
    /// Span id the sender put there; 0 where none.
    pub span_id: u64,
    pub sampled: Option<bool>,
    /// X-Request-ID and its family: an id that equal requests on both sides of a proxy share.
    pub request_id: CompactString,
}

/// What a parser makes of missing bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// They were payload, or it can account for them: go on right after them.
    Continue,
    /// It cannot tell what follows: show it bytes through [`Parser::resync`].
    Resync,
}

/// Where a parser that lost its place finds it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    /// A message plausibly starts at this offset.
    At(usize),
    /// Not in these bytes; drop all but so many of the last of them.
    NotYet { keep: usize },
}

/// A sans-I/O parser of one connection.
///
/// For every answer the stream holds: bytes are shown in order and again until consumed; after [`Step::Skip`] the next
/// byte shown is the one behind the skipped ones. A parser never panics on any bytes and never allocates more than it
/// was shown plus a constant.
pub trait Parser: Send {
    /// Looks at `bytes` of `side`, which begin where the last step of that side ended.
    ///
    /// They may be empty right after a [`Step::Skip`] passed, after a message that [`Ends::Later`], and after
    /// [`Recovery::Continue`]: so that a body can be skipped, or a message end, without waiting for bytes that are not
    /// its own. A parser with nothing to say then answers [`Step::NeedMore`].
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step;

    /// A last look at `bytes`, which [`Parser::parse`] answered with [`Step::NeedMore`]: what follows them is missing, or
    /// they fill the buffer. A request whose head was cut off may still be named. What the answer leaves unconsumed is
    /// dropped, and [`Parser::gap`] follows with the number of bytes missing behind `bytes`.
    fn cut(&mut self, side: Side, bytes: &[u8]) -> Step {
        let _ = side;
        Step::Consumed(bytes.len())
    }

    /// `missing` bytes of `side` are gone, at the place where the last step of that side ended. Not called for bytes
    /// that were to be skipped. 0 where [`Parser::cut`] was called for want of room and nothing is missing.
    fn gap(&mut self, side: Side, missing: u64) -> Recovery {
        let _ = (side, missing);
        Recovery::Resync
    }

    /// Looks for a message start in the middle of a stream. Called after a gap, a loss, or when joined mid-stream;
    /// state about open messages of that side is void. `bytes` begin at the start of a write where `at_write` says so.
    fn resync(&mut self, side: Side, bytes: &[u8], at_write: bool) -> Resync;

    /// The side sends no more. A message that ends with the connection ends here.
    fn closed(&mut self, side: Side) -> Option<End> {
        let _ = side;
        None
    }
}

/// What every parser is opened with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Keep literals in statements (off by default).
    pub keep_literals: bool,
    /// The connection carries datagrams: each [`Parser::parse`] is shown one from its first byte.
    pub datagram: bool,
    /// What other connections told.
    pub names: SharedNames,
}
