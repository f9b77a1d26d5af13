//! The flow on a toy protocol: pairing, gaps, skips, overtaking.

use super::*;
use crate::event::Actor;
use crate::exchange::Exchange;
use crate::protocol::{Class, End, Message, Pairing};
use crate::protocol::{Ends, LostReason, Parser, Resync, Step};

/// Lines ending in `;`. Client: `name;`. Server: `=name;`, or `#N;` and N bytes of payload. `!` is garbage.
#[derive(Default)]
struct Lines {
    body: Option<u64>,
    waits: bool,
    requests: u32,
}

impl Parser for Lines {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        if side == Side::Server
            && let Some(size) = self.body.take()
        {
            if size == 0 {
                return Step::End {
                    consumed: 0,
                    end: Box::default(),
                };
            }
            self.body = Some(0);
            return Step::Skip(size);
        }
        let Some(at) = bytes.iter().position(|byte| *byte == b';') else {
            return Step::NeedMore;
        };
        let (line, consumed) = (&bytes[..at], at + 1);
        if line.contains(&b'!') {
            return Step::Lost(LostReason::Malformed);
        }
        if side == Side::Client {
            self.requests += 1;
            let mut message = Message::new(Class::Request, Pairing::InOrder, Ends::Here);
            message.operation = String::from_utf8_lossy(line).as_ref().into();
            return Step::Message { consumed, message };
        }
        if self.waits && self.requests == 0 {
            return Step::AwaitPeer;
        }
        let ends = if line[0] == b'#' { Ends::Later } else { Ends::Here };
        let mut message = Message::new(Class::Response, Pairing::InOrder, ends);
        message.status = String::from_utf8_lossy(&line[1..]).as_ref().into();
        if ends == Ends::Later {
            self.body = message.status.parse().ok();
        }
        Step::Message { consumed, message }
    }

    fn resync(&mut self, _: Side, _: &[u8], at_write: bool) -> Resync {
        if at_write {
            Resync::At(0)
        } else {
            Resync::NotYet { keep: 0 }
        }
    }

    fn closed(&mut self, _: Side) -> Option<End> {
        None
    }
}

#[derive(Default)]
struct Seen {
    began: usize,
    finished: Vec<Exchange>,
}

impl Sink for Seen {
    fn began(&mut self, _: &Exchange) {
        self.began += 1;
    }
    fn finished(&mut self, exchange: Box<Exchange>) {
        self.finished.push(*exchange);
    }
}

impl Seen {
    fn pairs(&self) -> Vec<(String, String)> {
        let status = |exchange: &Exchange| {
            exchange
                .response
                .as_ref()
                .map_or("-".into(), |r| r.status.to_string())
        };
        self.finished
            .iter()
            .map(|e| (e.request.operation.to_string(), status(e)))
            .collect()
    }
}

fn flow(waits: bool) -> Flow {
    let start = FlowStart {
        role: Role::Server,
        local_port: 1,
        remote_port: 2,
        from_start: true,
        datagram: false,
        forced: None,
    };
    let mut flow = Flow::new(&start, &Settings::default());
    let parser = Box::new(Lines {
        waits,
        ..Lines::default()
    });
    let settings = Settings::default();
    let conversation = Conversation::new(Protocol::Grpc, parser, 64, &settings, Joined::AtStart, false);
    flow.state = State::Speaking(Box::new(conversation));
    flow
}

struct Wire {
    flow: Flow,
    seen: Seen,
    positions: [u64; 2],
}

impl Wire {
    fn new(waits: bool) -> Self {
        Self {
            flow: flow(waits),
            seen: Seen::default(),
            positions: [0, 0],
        }
    }

    fn moved(&mut self, direction: Direction, time_ns: TimeNs, bytes: &[u8], moved: u64) {
        let position = &mut self.positions[direction as usize];
        let chunk = Chunk {
            time_ns,
            actor: Actor::default(),
            position: *position,
            moved,
            bytes,
            continues: false,
        };
        *position += moved;
        self.flow.data(direction, &chunk, &mut self.seen);
    }

    fn request(&mut self, time_ns: TimeNs, bytes: &[u8]) {
        self.moved(Direction::In, time_ns, bytes, bytes.len() as u64);
    }

    fn response(&mut self, time_ns: TimeNs, bytes: &[u8]) {
        self.moved(Direction::Out, time_ns, bytes, bytes.len() as u64);
    }
}

fn pair(operation: &str, status: &str) -> (String, String) {
    (operation.into(), status.into())
}

#[test]
fn pipelined_requests_pair_in_order_with_their_own_times() {
    let mut wire = Wire::new(false);
    wire.request(10, b"a;b;c");
    wire.request(20, b";");
    wire.response(30, b"=1;=2;");
    wire.response(40, b"=3;");
    assert_eq!(
        wire.seen.pairs(),
        [pair("a", "1"), pair("b", "2"), pair("c", "3")]
    );
    let last = &wire.seen.finished[2];
    assert_eq!(
        (last.request_start_ns, last.request_end_ns, last.response_end_ns),
        (10, 20, Some(40))
    );
    assert_eq!(
        (last.request_position, last.request_bytes, last.response_bytes),
        (4, 2, 3)
    );
}

#[test]
fn a_skipped_body_ends_its_exchange_whether_captured_or_not() {
    let mut wire = Wire::new(false);
    wire.request(1, b"a;");
    wire.moved(Direction::Out, 2, b"#9;xx", 5);
    let passing =
        |wire: &Wire| [Direction::In, Direction::Out].map(|direction| wire.flow.is_passing(direction));
    assert_eq!(passing(&wire), [false, true]);
    wire.moved(Direction::Out, 3, b"", 7);
    assert_eq!(passing(&wire), [false, false]);
    assert_eq!(wire.seen.pairs(), [pair("a", "9")]);
    assert_eq!(
        (
            wire.seen.finished[0].response_bytes,
            wire.seen.finished[0].response_end_ns
        ),
        (12, Some(3))
    );
    wire.request(4, b"b;");
    wire.moved(Direction::Out, 5, b"#4;", 7);
    assert_eq!(wire.seen.pairs()[1], pair("b", "4"));
    assert!(wire.flow.take_losses().is_zero());
}

#[test]
fn a_response_that_overtook_its_request_finds_it() {
    for waits in [false, true] {
        let mut wire = Wire::new(waits);
        wire.response(20, b"=1;");
        wire.request(10, b"a;");
        assert_eq!(wire.seen.pairs(), [pair("a", "1")], "waits: {waits}");
    }
}

#[test]
fn a_response_older_than_the_request_is_not_its_own() {
    for waits in [false, true] {
        let mut wire = Wire::new(waits);
        wire.response(5, b"=0;");
        wire.request(10, b"a;");
        wire.response(20, b"=1;");
        assert_eq!(wire.seen.pairs(), [pair("a", "1")], "waits: {waits}");
    }
}

#[test]
fn a_gap_gives_up_what_is_open_and_never_pairs_wrongly() {
    let mut wire = Wire::new(false);
    wire.request(1, b"a;b;");
    wire.moved(Direction::Out, 2, b"", 3);
    wire.response(3, b"=2;");
    wire.request(4, b"c;");
    wire.response(5, b"=3;");
    assert_eq!(
        wire.seen.pairs(),
        [pair("a", "-"), pair("b", "-"), pair("c", "3")]
    );
    let losses = wire.flow.take_losses();
    assert_eq!(
        (losses.missing_bytes, losses.resyncs, losses.responses_lost),
        (3, 1, 2)
    );
}

#[test]
fn garbage_is_counted_and_followed_by_a_resync_at_the_next_write() {
    let mut wire = Wire::new(false);
    wire.request(1, b"!!;");
    wire.request(2, b"a;");
    wire.response(3, b"=1;");
    assert_eq!(wire.seen.pairs(), [pair("a", "1")]);
    assert_eq!(wire.flow.take_losses().malformed, 1);
}

#[test]
fn closing_ends_what_is_open() {
    let mut wire = Wire::new(false);
    wire.request(1, b"a;");
    wire.flow.closed(9, &mut wire.seen);
    assert_eq!(
        (wire.seen.began, wire.seen.finished[0].ending),
        (1, Ending::Closed)
    );
}

#[test]
fn a_connection_joined_in_the_middle_tells_which_end_asked() {
    // MongoDB: only the answer names what it answers.
    let ask =
        b"\x28\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x13\0\0\0\x10ping\0\x01\0\0\0\x08a\0\x01\0"
            .as_slice();
    let answer =
        b"\x28\0\0\0\x09\0\0\0\x01\0\0\0\xdd\x07\0\0\0\0\0\0\0\x13\0\0\0\x10ok\0\x01\0\0\0\x10a\0\x01\0\0\0"
            .as_slice();
    // MQTT: CONNACK comes from the server, what follows may come from either.
    let connack = b"\x20\x02\0\0".as_slice();
    let publish = b"\x30\x0e\0\x08sensor/ahell\x30\x0e\0\x08sensor/ahell".as_slice();
    let delivery = b"\x30\x0e\0\x08sensor/bhell\x30\x0e\0\x08sensor/bhell".as_slice();
    for (first, second, third, first_is_of_server) in [
        (ask, answer, ask, false),
        (answer, ask, answer, true),
        (connack, publish, delivery, true),
    ] {
        for first_direction in [Direction::In, Direction::Out] {
            let start = FlowStart {
                role: Role::Unknown,
                local_port: 40_000,
                remote_port: 40_001,
                from_start: false,
                datagram: false,
                forced: None,
            };
            let mut wire = Wire {
                flow: Flow::new(&start, &Settings::default()),
                seen: Seen::default(),
                positions: [0, 0],
            };
            let second_direction = match first_direction {
                Direction::In => Direction::Out,
                Direction::Out => Direction::In,
            };
            wire.moved(first_direction, 1, first, first.len() as u64);
            wire.moved(second_direction, 2, second, second.len() as u64);
            wire.moved(first_direction, 3, third, third.len() as u64);
            wire.flow.closed(4, &mut wire.seen);
            let is_client = (first_direction == Direction::In) == first_is_of_server;
            let role = if is_client { Role::Client } else { Role::Server };
            assert_eq!(wire.flow.role(), role, "{first:02x?} {first_direction:?}");
            assert!(!wire.seen.finished.is_empty());
        }
    }
}
