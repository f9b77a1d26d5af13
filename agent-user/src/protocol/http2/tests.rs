//! Recorded connections, and hand-made ones for what clients seldom do.

use super::*;
use crate::protocol::{Protocol, harness};
use Side::{Client as C, Server as S};

#[test]
fn recordings() {
    harness::check(Protocol::Http2);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal field without indexing.
fn literal(name: &str, value: &str) -> Vec<u8> {
    [
        &[0, name.len() as u8],
        name.as_bytes(),
        &[value.len() as u8],
        value.as_bytes(),
    ]
    .concat()
}

/// GET and a literal path; 200 and 404.
fn get(path: &str) -> Vec<u8> {
    [vec![0x82], literal(":path", path)].concat()
}
const OK: u8 = 0x88;
const NOT_FOUND: u8 = 0x8d;

/// A parser whose client preface has been read.
fn begun() -> Http2 {
    let mut parser = Http2::default();
    assert!(matches!(parser.parse(C, PREFACE), Step::Consumed(24)));
    parser
}

/// Shows bytes whole and writes down messages, ends and losses.
fn walk(parser: &mut Http2, side: Side, bytes: &[u8]) -> Vec<String> {
    let (mut rest, mut said) = (bytes, Vec::new());
    let mut empty_shown = false;
    while !rest.is_empty() || !std::mem::replace(&mut empty_shown, true) {
        let used = match parser.parse(side, rest) {
            Step::Consumed(used) => used,
            Step::Skip(count) => count as usize,
            Step::Unread { consumed, reason } => {
                said.push(format!("unread {reason:?}"));
                consumed
            }
            Step::Message { consumed, message } => {
                let Pairing::Id(id) = message.pairing else {
                    panic!("paired in order")
                };
                said.push(format!(
                    "{id} {}{} {} {:?}",
                    message.operation, message.target, message.status, message.ends
                ));
                consumed
            }
            Step::End { consumed, end } => {
                said.push(format!(
                    "{} end {}",
                    end.id.unwrap(),
                    end.status.unwrap_or_default()
                ));
                consumed
            }
            Step::Lost(reason) => {
                said.push(format!("lost {reason:?}"));
                rest.len()
            }
            Step::NeedMore => rest.len(),
            other => panic!("{other:?}"),
        };
        rest = &rest[used.min(rest.len())..];
    }
    said
}

#[test]
fn a_header_block_in_pieces_padded_and_with_priority() {
    let block = get("/pieces");
    let padded = [&[3][..], &[0, 0, 0, 0, 16], &block[..4], &[0, 0, 0]].concat();
    let bytes = [
        frame(1, frame::END_STREAM | 0x8 | 0x20, 1, &padded),
        frame(9, 0, 1, &block[4..6]),
        frame(9, 0x4, 1, &block[6..]),
    ]
    .concat();
    assert_eq!(walk(&mut begun(), C, &bytes), ["1 GET/pieces  Here"]);
    let interrupted = [
        frame(1, 0, 1, &block[..4]),
        frame(6, 0, 0, &[0; 8]),
        frame(0, 0, 1, b"x"),
    ]
    .concat();
    assert_eq!(walk(&mut begun(), C, &interrupted), ["lost Malformed"]);
}

#[test]
fn streams_end_each_on_their_own() {
    let mut parser = begun();
    let requests = [
        frame(1, 0x5, 1, &get("/a")),
        frame(1, 0x4, 3, &get("/b")),
        frame(0, 0x1, 3, b"data"),
    ]
    .concat();
    assert_eq!(
        walk(&mut parser, C, &requests),
        ["1 GET/a  Here", "3 GET/b  Later", "3 end "]
    );
    let responses = [
        frame(1, 0x4, 3, &[NOT_FOUND]),
        frame(1, 0x4, 1, &[OK]),
        frame(0, 0, 3, &[0; 100]),
        frame(0, 0x9, 1, &[2, b'x', 0, 0]),
        frame(1, 0x5, 3, &literal("trailer", "x")),
    ]
    .concat();
    assert_eq!(
        walk(&mut parser, S, &responses),
        ["3  404 Later", "1  200 Later", "1 end ", "3 end "]
    );
    assert!(parser.streams.is_empty());
}

#[test]
fn interim_responses_and_pushes_are_no_responses() {
    let mut parser = begun();
    walk(&mut parser, C, &frame(1, 0x5, 1, &get("/a")));
    let push = [&[0, 0, 0, 2][..], &get("/pushed")].concat();
    let bytes = [
        frame(1, 0x4, 1, &literal(":status", "103")),
        frame(5, 0x4, 1, &push),
        frame(1, 0x5, 1, &[OK]),
    ]
    .concat();
    assert_eq!(walk(&mut parser, S, &bytes), ["1  103 Here", "1  200 Here"]);
}

#[test]
fn a_reset_ends_both_messages() {
    let mut parser = begun();
    walk(&mut parser, C, &frame(1, 0x4, 1, &get("/upload")));
    assert_eq!(
        walk(&mut parser, C, &frame(3, 0, 1, &[0, 0, 0, 8])),
        ["1 end ", "1  CANCEL Here"]
    );
    walk(&mut parser, C, &frame(1, 0x5, 3, &get("/a")));
    walk(&mut parser, S, &frame(1, 0x4, 3, &[OK]));
    assert_eq!(walk(&mut parser, S, &frame(3, 0, 3, &[0, 0, 0, 2])), ["3 end "]);
    assert!(parser.streams.is_empty());
}

#[test]
fn what_earlier_blocks_would_tell_is_missing_and_counted_never_guessed() {
    let mut parser = Http2::default();
    let request = frame(
        1,
        0x5,
        7,
        &[&[0xbe, 0xbf][..], &literal("user-agent", "x")].concat(),
    );
    assert_eq!(parser.resync(C, &request, true), Resync::At(0));
    // Neither method nor path are known; which side sent it says that it is a request.
    assert_eq!(
        walk(&mut parser, C, &request),
        ["7 …  Here", "unread MissingState"]
    );
    let named = frame(1, 0x4, 9, &[&[0xbe][..], &get("/known")].concat());
    assert_eq!(
        walk(&mut parser, C, &named),
        ["9 GET/known  Later", "unread MissingState"]
    );
}

#[test]
fn a_call_whose_head_cannot_be_read_is_known_by_its_framing() {
    use crate::protocol::scripted::{client, play, server};
    // POST, the path, and a content type from a table that was not seen.
    let head = |path: &str| [vec![0x83], literal(":path", path), vec![0xbe]].concat();
    let (call, trailers) = (b"\0\0\0\0\x02hi", literal("grpc-status", "5"));
    let turns = [
        client(
            [
                frame(1, 0x4, 7, &head("/demo.Greeter/Hello")),
                frame(0, 0x1, 7, call),
            ]
            .concat(),
        ),
        server(
            [
                frame(1, 0x4, 7, &[OK, 0xbe]),
                frame(0, 0, 7, call),
                frame(1, 0x5, 7, &trailers),
            ]
            .concat(),
        ),
        // No data of the client's is at hand: the answer tells.
        client(frame(1, 0x4, 9, &head("/demo.Greeter/Chat"))),
        server(
            [
                frame(
                    1,
                    0x4,
                    9,
                    &[&[OK][..], &literal("content-type", "application/grpc")].concat(),
                ),
                frame(1, 0x5, 9, &[0xbe]),
            ]
            .concat(),
        ),
        client(frame(0, 0x1, 9, b"")),
        // The same head, and no framing.
        client([frame(1, 0x4, 11, &head("/upload/file")), frame(0, 0x1, 11, b"{}")].concat()),
        server([frame(1, 0x4, 11, &[OK, 0xbe]), frame(0, 0x1, 11, b"{}")].concat()),
        // Trailers that name the status are gRPC's.
        client(frame(1, 0x4, 13, &head("/demo.Greeter/Late"))),
        server(
            [
                frame(1, 0x4, 13, &[OK, 0xbe]),
                frame(1, 0x5, 13, &literal("grpc-status", "0")),
            ]
            .concat(),
        ),
        client(frame(0, 0x1, 13, b"")),
    ];
    let played = play(&turns, false, usize::MAX);
    assert_eq!(
        played.lines,
        [
            "/demo.Greeter/Hello /demo.Greeter/Hello -> 5 !",
            "/demo.Greeter/Chat /demo.Greeter/Chat -> ",
            "POST /upload/file -> 200",
            "/demo.Greeter/Late /demo.Greeter/Late -> 0",
        ]
    );
    let protocols: Vec<Protocol> = played
        .exchanges
        .iter()
        .map(|exchange| exchange.protocol)
        .collect();
    assert_eq!(
        protocols,
        [Protocol::Grpc, Protocol::Grpc, Protocol::Http2, Protocol::Grpc]
    );
    assert!(played.losses.missing_state > 0);
}

#[test]
fn the_table_of_streams_is_bounded() {
    let mut parser = begun();
    for number in 0..3 * MAX_STREAMS as u32 {
        walk(&mut parser, C, &frame(1, 0x5, 2 * number + 1, &get("/a")));
    }
    assert_eq!(parser.streams.len(), MAX_STREAMS);
}

#[test]
fn a_header_block_beyond_the_bound_is_given_up() {
    let mut parser = begun();
    let piece = [0; 16 << 10];
    walk(&mut parser, C, &frame(1, 0, 1, &piece));
    let said: Vec<String> = (0..4)
        .flat_map(|_| walk(&mut parser, C, &frame(9, 0, 1, &piece)))
        .collect();
    assert_eq!(said, ["lost TooLarge"]);
}
