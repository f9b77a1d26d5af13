//! The harness every protocol runs its recorded conversations through: `harness::check(Protocol::Http)`.
//!
//! Enters: the recordings in `tests/wire/PROTOCOL/*.txt` (format: [`recording`]) with the exchanges they are known to
//! hold. Checked, through the same [`Flow`] as in the agent:
//!
//! - shown whole, byte by byte, and split at every place: exactly the known exchanges;
//! - with the roles of the two ends unknown: the same;
//! - joined at each turn, with each turn missing wholly or but for its beginning, and cut off at every byte: no
//!   answered exchange that is not known (never wrong; fewer is right);
//! - with each turn missing: no answered exchange whose answer is another one's, even where both read the same;
//! - changed at random (with a fixed seed): no panic, no endless loop;
//! - memory: never more than a constant beyond a small multiple of what was shown.
//!
//! [`detection`] shows every protocol's recordings to all detectors at once.

mod allocation;
mod compare;
mod detection;
mod mutation;

use std::path::Path;

use crate::connection::stream::Chunk;
use crate::event::{Actor, Direction, Role};
use crate::exchange::{Ending, Exchange, Flow, FlowStart, Sink};
use crate::protocol::recording::{self, Conversation};
use crate::protocol::{Outcome, Protocol, Settings, Side};

use compare::{Answer, assert_no_other, assert_same_answers};

/// Splits, cuts and joins are tried at each of so many places of a conversation, evenly spread; at every one where it
/// is shorter.
const PLACES: usize = 1500;

/// Runs all recordings of a protocol through all checks.
pub(crate) fn check(protocol: Protocol) {
    let conversations = load(protocol);
    assert!(
        !conversations.is_empty(),
        "no recordings in tests/wire/{}",
        protocol.name()
    );
    for conversation in &conversations {
        check_conversation(conversation);
    }
}

/// For protocols whose messages explain themselves: a connection joined at any turn of the client's shows every exchange
/// whose request comes from there on.
pub(crate) fn check_nothing_missed_when_joined(protocol: Protocol) {
    for conversation in load(protocol) {
        let whole = Run::of(&conversation).seen();
        for (number, turn) in conversation.turns.iter().enumerate() {
            if turn.side != Side::Client {
                continue;
            }
            let before = conversation.turns[..number]
                .iter()
                .filter(|turn| turn.side == Side::Client);
            let position: usize = before.map(|turn| turn.bytes.len()).sum();
            let due = whole
                .finished
                .iter()
                .filter(|seen| seen.carrier == protocol && seen.position >= position as u64);
            let due: Vec<&String> = due.map(|seen| &seen.line).collect();
            let joined = Run {
                first_turn: number,
                forced: Some(protocol),
                ..Run::of(&conversation)
            }
            .play();
            let missed: Vec<_> = due.iter().filter(|line| !joined.contains(line)).collect();
            assert!(
                missed.is_empty(),
                "{}: joined at turn {number}: missed {missed:#?}",
                conversation.name
            );
        }
    }
}

/// All recordings of a protocol; none where it has no folder.
fn load(protocol: Protocol) -> Vec<Conversation> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/wire");
    recording::load(&root, protocol).unwrap()
}

/// Runs one conversation through all checks.
pub(crate) fn check_conversation(conversation: &Conversation) {
    let name = &conversation.name;
    let seen_whole = Run::of(conversation).seen();
    let answers = seen_whole.answers();
    let whole = seen_whole.lines();
    assert_eq!(whole, conversation.known_lines(), "{name}: shown whole");
    if !conversation.datagram {
        splits(conversation);
        // Recognising looks at a bounded number of chunks only.
        let forced = Some(conversation.protocol);
        let bytes = Run {
            bytewise: true,
            forced,
            ..Run::of(conversation)
        }
        .play();
        assert_eq!(bytes, whole, "{name}: shown byte by byte");
    }
    let unknown = Run {
        forced: None,
        role: Role::Unknown,
        ..Run::of(conversation)
    }
    .play();
    assert!(
        !conversation.detectable || unknown == whole,
        "{name}: roles unknown: {unknown:#?}"
    );
    for turn in 0..conversation.turns.len() {
        for forced in [Some(conversation.protocol), None] {
            let joined = Run {
                first_turn: turn,
                forced,
                ..Run::of(conversation)
            };
            assert_no_other(conversation, &joined.play(), &format!("joined at turn {turn}"));
        }
        for keep in [0, 1, 16, conversation.turns[turn].bytes.len() / 2] {
            let gap = Run {
                lossy_turn: Some((turn, keep)),
                ..Run::of(conversation)
            };
            let (how, seen) = (format!("all but {keep} bytes of turn {turn} missing"), gap.seen());
            assert_same_answers(name, &answers, &seen.answers(), &how);
            assert_no_other(conversation, &seen.lines(), &how);
        }
    }
    for end in places(conversation.total_bytes()) {
        let cut = Run {
            end: Some(end),
            ..Run::of(conversation)
        };
        assert_no_other(conversation, &cut.play(), &format!("cut off at byte {end}"));
    }
    mutation::check(conversation);
}

fn splits(conversation: &Conversation) {
    let known = conversation.known_lines();
    for split in places(conversation.total_bytes()) {
        let lines = Run {
            split: Some(split),
            ..Run::of(conversation)
        }
        .play();
        assert_eq!(lines, known, "{}: split at byte {split}", conversation.name);
    }
}

fn places(total: usize) -> impl Iterator<Item = usize> {
    (0..total).step_by(total.div_ceil(PLACES).max(1))
}

/// One way to show a conversation to a flow.
struct Run<'a> {
    conversation: &'a Conversation,
    forced: Option<Protocol>,
    role: Role,
    first_turn: usize,
    bytewise: bool,
    /// Split the turn that holds this byte of the whole conversation there.
    split: Option<usize>,
    /// Of this turn only so many bytes are captured.
    lossy_turn: Option<(usize, usize)>,
    /// Stop at this byte of the whole conversation.
    end: Option<usize>,
}

impl<'a> Run<'a> {
    fn of(conversation: &'a Conversation) -> Self {
        Self {
            conversation,
            forced: (!conversation.detectable).then_some(conversation.protocol),
            role: Role::Server,
            first_turn: 0,
            bytewise: false,
            split: None,
            lossy_turn: None,
            end: None,
        }
    }

    /// Shows it and answers what came of it, one line an exchange.
    fn play(&self) -> Vec<String> {
        self.seen().lines()
    }

    fn seen(&self) -> Seen {
        let (mut flow, mut seen) = self.open();
        let mut clock = Clock::default();
        for (number, turn) in self.conversation.turns.iter().enumerate() {
            let (mut bytes, mut moved) = (&turn.bytes[..], turn.bytes.len());
            let before = self.conversation.bytes_before(number);
            if let Some(end) = self.end {
                moved = end.saturating_sub(before).min(moved);
                bytes = &bytes[..moved];
            }
            if let Some((_, keep)) = self.lossy_turn.filter(|(lossy, _)| *lossy == number) {
                bytes = &bytes[..keep.min(bytes.len())];
            }
            if number < self.first_turn || moved == 0 {
                clock.positions[turn.side as usize] += moved as u64;
                continue;
            }
            let split = self
                .split
                .map(|split| split.saturating_sub(before))
                .filter(|split| *split < moved);
            if self.bytewise {
                bytes
                    .chunks(1)
                    .for_each(|byte| clock.show(&mut flow, turn.side, byte, 1, &mut seen));
            } else if let Some(split) = split.filter(|split| *split > 0) {
                clock.show(&mut flow, turn.side, &bytes[..split], split, &mut seen);
                clock.show(&mut flow, turn.side, &bytes[split..], moved - split, &mut seen);
            } else {
                clock.show(&mut flow, turn.side, bytes, moved, &mut seen);
            }
        }
        flow.closed(clock.time_ns + 1, &mut seen);
        seen
    }

    fn open(&self) -> (Flow, Seen) {
        let start = FlowStart {
            role: self.role,
            local_port: self.conversation.server_port,
            remote_port: 40_000,
            from_start: self.conversation.from_start && self.first_turn == 0,
            datagram: self.conversation.datagram,
            forced: self.forced,
        };
        (Flow::new(&start, &Settings::default()), Seen::default())
    }
}

/// Gives each chunk its time and byte position.
#[derive(Default)]
struct Clock {
    time_ns: u64,
    positions: [u64; 2],
}

impl Clock {
    fn show(&mut self, flow: &mut Flow, side: Side, bytes: &[u8], moved: usize, seen: &mut Seen) {
        self.time_ns += 1_000;
        let position = self.positions[side as usize];
        let (time_ns, moved) = (self.time_ns, moved as u64);
        let chunk = Chunk {
            time_ns,
            actor: Actor::default(),
            position,
            moved,
            bytes,
            continues: false,
        };
        let direction = if side == Side::Client {
            Direction::In
        } else {
            Direction::Out
        };
        flow.data(direction, &chunk, seen);
        self.positions[side as usize] += moved;
    }
}

struct Finished {
    number: u64,
    carrier: Protocol,
    /// Of the request, in its direction.
    position: u64,
    sender: Side,
    /// When the response began and ended, where it is whole.
    answered_ns: Option<(u64, u64)>,
    line: String,
}

/// The exchanges a run ended with, by the order of their requests.
#[derive(Default)]
struct Seen {
    finished: Vec<Finished>,
}

impl Sink for Seen {
    fn began(&mut self, _: &Exchange) {}

    fn finished(&mut self, exchange: Box<Exchange>) {
        let (number, carrier, position) = (exchange.number, exchange.carrier, exchange.request_position);
        let answered_ns = exchange.response_start_ns.zip(exchange.response_end_ns);
        self.finished.push(Finished {
            number,
            carrier,
            position,
            sender: exchange.sender,
            answered_ns: answered_ns.filter(|_| exchange.ending == Ending::Answered),
            line: line(&exchange),
        });
    }
}

impl Seen {
    fn answers(&self) -> Vec<Answer> {
        let answer = |seen: &Finished| {
            seen.answered_ns.map(|at_ns| Answer {
                sender: seen.sender,
                position: seen.position,
                at_ns,
                line: seen.line.clone(),
            })
        };
        self.finished.iter().filter_map(answer).collect()
    }

    fn lines(mut self) -> Vec<String> {
        self.finished.sort_by_key(|seen| seen.number);
        self.finished.into_iter().map(|seen| seen.line).collect()
    }
}

/// An exchange as recordings write it. What has no whole response has `-` for a status.
fn line(exchange: &Exchange) -> String {
    let (request, protocol) = (&exchange.request, exchange.protocol.name());
    let (status, failed) = match (&exchange.response, exchange.ending) {
        (Some(response), Ending::Answered) => (
            response.status.as_str(),
            matches!(response.outcome, Outcome::Error(_)),
        ),
        (_, Ending::OneWay) => ("", matches!(request.outcome, Outcome::Error(_))),
        _ => ("-", false),
    };
    let error = if failed { "error" } else { "ok" };
    format!(
        "{protocol} | {} | {} | {status} | {error}",
        request.operation, request.target
    )
}
