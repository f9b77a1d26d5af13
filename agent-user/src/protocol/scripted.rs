//! Test support: plays a scripted conversation through a flow, as the agent would, and writes down the exchanges.

use super::{Opening, Outcome, Protocol, Settings, Side, Value};
use crate::connection::stream::Chunk;
use crate::event::{Actor, Direction, Role};
use crate::exchange::{Exchange, Flow, FlowLosses, FlowStart, Sink};

/// What a detector is shown of a byte stream on no particular port.
pub(crate) fn opening<'a>(client: &'a [u8], server: &'a [u8], from_start: bool) -> Opening<'a> {
    Opening {
        client,
        server,
        from_start,
        server_port: 0,
        datagram: false,
    }
}

/// One write of one side.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) side: Side,
    pub(crate) bytes: Vec<u8>,
    /// Bytes of the write behind those, which were not captured.
    pub(crate) hidden: u64,
}

pub(crate) fn client(bytes: impl AsRef<[u8]>) -> Turn {
    Turn {
        side: Side::Client,
        bytes: bytes.as_ref().to_vec(),
        hidden: 0,
    }
}

pub(crate) fn server(bytes: impl AsRef<[u8]>) -> Turn {
    Turn {
        side: Side::Server,
        bytes: bytes.as_ref().to_vec(),
        hidden: 0,
    }
}

impl Turn {
    /// The same write with only so many bytes captured.
    pub(crate) fn captured(mut self, count: usize) -> Self {
        self.hidden = (self.bytes.len() - count) as u64;
        self.bytes.truncate(count);
        self
    }
}

#[derive(Default)]
struct Notes {
    lines: Vec<String>,
    exchanges: Vec<Exchange>,
}

impl Sink for Notes {
    fn began(&mut self, _: &Exchange) {}

    fn finished(&mut self, exchange: Box<Exchange>) {
        self.lines.push(line(&exchange));
        self.exchanges.push(*exchange);
    }
}

/// `OPERATION target -> status [!error text] [(why unanswered)]`.
fn line(exchange: &Exchange) -> String {
    let mut line = exchange.request.operation.to_string();
    if !exchange.request.target.is_empty() {
        line += &format!(" {}", exchange.request.target);
    }
    let answer = exchange.response.as_ref().unwrap_or(&exchange.request);
    line += &format!(" -> {}", answer.status);
    if let Outcome::Error(text) = &answer.outcome {
        line += &format!(" !{text}");
    }
    if !exchange.ending.reason().is_empty() {
        line += &format!(" ({})", exchange.ending.reason());
    }
    line
}

/// What came of a script.
pub(crate) struct Played {
    pub(crate) lines: Vec<String>,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) losses: FlowLosses,
    pub(crate) protocol: Option<Protocol>,
}

impl Played {
    /// An attribute of request or response of an exchange.
    pub(crate) fn attribute(&self, exchange: usize, key: &str) -> Option<Value> {
        let exchange = &self.exchanges[exchange];
        let response = exchange.response.iter().flat_map(|message| &message.attributes);
        let found = exchange
            .request
            .attributes
            .iter()
            .chain(response)
            .find(|(name, _)| *name == key)?;
        Some(found.1.clone())
    }
}

/// Plays `turns` from the connection's start, or joined in the middle, each write in pieces of at most `piece` bytes.
pub(crate) fn play(turns: &[Turn], from_start: bool, piece: usize) -> Played {
    play_as(turns, from_start, piece, None)
}

pub(crate) fn play_as(turns: &[Turn], from_start: bool, piece: usize, forced: Option<Protocol>) -> Played {
    play_in(Role::Server, turns, from_start, piece, forced)
}

/// The same with the watched end's role as far as it is known from the outside.
pub(crate) fn play_in(
    role: Role,
    turns: &[Turn],
    from_start: bool,
    piece: usize,
    forced: Option<Protocol>,
) -> Played {
    let start = FlowStart {
        role,
        local_port: 0,
        remote_port: 0,
        from_start,
        datagram: false,
        forced,
    };
    let mut flow = Flow::new(&start, &Settings::default());
    let mut notes = Notes::default();
    let mut positions = if from_start {
        [0, 0]
    } else {
        [1_000_000, 2_000_000]
    };
    let mut time_ns = 0;
    for turn in turns {
        let direction = if turn.side == Side::Client {
            Direction::In
        } else {
            Direction::Out
        };
        let pieces = turn.bytes.chunks(piece).count();
        for (number, bytes) in turn.bytes.chunks(piece).enumerate() {
            time_ns += 1;
            let hidden = if number + 1 == pieces { turn.hidden } else { 0 };
            let position = &mut positions[turn.side as usize];
            let moved = bytes.len() as u64 + hidden;
            flow.data(
                direction,
                &Chunk {
                    time_ns,
                    actor: Actor::default(),
                    position: *position,
                    moved,
                    bytes,
                    continues: false,
                },
                &mut notes,
            );
            *position += moved;
        }
    }
    let protocol = flow.protocol();
    flow.closed(time_ns + 1, &mut notes);
    Played {
        lines: notes.lines,
        exchanges: notes.exchanges,
        losses: flow.take_losses(),
        protocol,
    }
}

/// Plays a script whole, in pieces of several sizes and from the middle, and expects the same every time, and no loss.
#[track_caller]
pub(crate) fn expect(protocol: Protocol, turns: &[Turn], lines: &[&str]) -> Played {
    for piece in [1, 2, 3, 7, 64, 1_000] {
        let played = play(turns, true, piece);
        assert_eq!(played.lines, lines, "in pieces of {piece}");
        assert!(
            played.losses.is_zero(),
            "{:?} in pieces of {piece}",
            played.losses
        );
    }
    let played = play(turns, true, usize::MAX);
    assert_eq!(played.lines, lines);
    assert!(played.losses.is_zero(), "{:?}", played.losses);
    assert!(played.protocol == Some(protocol) || played.protocol.is_none());
    played
}
