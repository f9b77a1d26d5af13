//! Conversations as the fuzzer writes them: turns behind one another, each with a byte that says what it is (bit 0: the
//! server's; bit 1: not captured; bit 2: the connection was joined in the middle, where the first turn has it), its
//! length in two bytes, and its bytes.

use std::path::Path;

use anyhow::{Context, Result};
use spanhound_agent::connection::stream::Chunk;
use spanhound_agent::event::{Actor, Direction, Role};
use spanhound_agent::exchange::{Exchange, Flow, FlowStart, Sink};
use spanhound_agent::protocol::recording::{self, Conversation};
use spanhound_agent::protocol::{Protocol, Settings, Side};

const SERVER: u8 = 1;
const MISSING: u8 = 2;
const JOINED: u8 = 4;

struct Nobody;

impl Sink for Nobody {
    fn began(&mut self, _: &Exchange) {}
    fn finished(&mut self, _: Box<Exchange>) {}
}

/// Writes the recordings in `tests/wire` as the first corpus of each protocol's target: `FOLDER/PROTOCOL/recording-N`.
///
/// # Errors
/// Recordings that cannot be read, files that cannot be written.
pub fn write_corpus(folder: &Path) -> Result<()> {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/wire");
    for protocol in Protocol::ALL {
        let folder = folder.join(protocol.name());
        for (number, conversation) in recorded(&recordings, *protocol)?.iter().enumerate() {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            std::fs::write(folder.join(format!("recording-{number}")), encoded(conversation))?;
        }
    }
    Ok(())
}

/// The recordings of a protocol. Those of WebSocket are what follows the two turns that upgrade HTTP.
fn recorded(recordings: &Path, protocol: Protocol) -> Result<Vec<Conversation>> {
    if protocol != Protocol::WebSocket {
        return Ok(recording::load(recordings, protocol)?);
    }
    let mut conversations = recording::load(recordings, Protocol::Http)?;
    conversations.retain(|conversation| {
        let mut known = conversation.known.iter();
        known.any(|known| known.line.starts_with(protocol.name()))
    });
    for conversation in &mut conversations {
        conversation.turns.drain(..conversation.turns.len().min(2));
    }
    Ok(conversations)
}

/// A recorded conversation as input.
fn encoded(conversation: &Conversation) -> Vec<u8> {
    let mut input = Vec::new();
    for turn in &conversation.turns {
        for part in turn.bytes.chunks(usize::from(u16::MAX)) {
            input.push(if turn.side == Side::Server { SERVER } else { 0 });
            input.extend_from_slice(&(part.len() as u16).to_le_bytes());
            input.extend_from_slice(part);
        }
    }
    input
}

/// Shows an input to a flow, in one protocol or to all detectors.
pub fn show(forced: Option<Protocol>, input: &[u8]) {
    let start = FlowStart {
        role: Role::Server,
        local_port: 1,
        remote_port: 2,
        from_start: input.first().is_none_or(|first| first & JOINED == 0),
        datagram: forced == Some(Protocol::Dns) && input.len() % 2 == 0,
        forced,
    };
    let mut flow = Flow::new(&start, &Settings::default());
    let (mut rest, mut at, mut time_ns) = (input, [0u64; 2], 0);
    while let [kind, low, high, behind @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (bytes, next) = behind.split_at(length);
        rest = next;
        time_ns += 1_000;
        let (place, direction) = if kind & SERVER == 0 {
            (0, Direction::In)
        } else {
            (1, Direction::Out)
        };
        let seen = if kind & MISSING == 0 { bytes } else { b"" };
        let chunk = Chunk {
            time_ns,
            actor: Actor::default(),
            position: at[place],
            moved: length as u64,
            bytes: seen,
            continues: false,
        };
        flow.data(direction, &chunk, &mut Nobody);
        at[place] += length as u64;
    }
    flow.closed(time_ns, &mut Nobody);
}
