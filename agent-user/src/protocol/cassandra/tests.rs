use proptest::prelude::*;

use super::frame::crc24;
use crate::protocol::scripted::{Turn, client, expect, play, play_as, server};
use crate::protocol::{Protocol, Value};

fn envelope(version: u8, stream: i16, opcode: u8, body: &[u8]) -> Vec<u8> {
    flagged(version, 0, stream, opcode, body)
}

fn flagged(version: u8, flags: u8, stream: i16, opcode: u8, body: &[u8]) -> Vec<u8> {
    let mut envelope = vec![version, flags];
    if version & 0x7f < 3 {
        envelope.push(stream as u8);
    } else {
        envelope.extend(stream.to_be_bytes());
    }
    envelope.push(opcode);
    envelope.extend((body.len() as u32).to_be_bytes());
    envelope.extend(body);
    envelope
}

fn long(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat()
}

fn short(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text].concat()
}

fn query(version: u8, stream: i16, cql: &str) -> Vec<u8> {
    envelope(version, stream, 7, &[long(cql), vec![0, 1, 0]].concat())
}

fn result(version: u8, stream: i16, kind: u8) -> Vec<u8> {
    envelope(0x80 | version, stream, 8, &[0, 0, 0, kind, 0, 0, 0, 0])
}

fn startup(version: u8) -> Vec<Turn> {
    let body = [vec![0, 1], short(b"CQL_VERSION"), short(b"3.0.0")].concat();
    vec![
        client(envelope(version, 0, 1, &body)),
        server(envelope(0x80 | version, 0, 2, b"")),
    ]
}

fn segment(payload: &[u8], self_contained: bool) -> Vec<u8> {
    let fields = (payload.len() as u32 | u32::from(self_contained) << 17).to_le_bytes();
    let mut segment = fields[..3].to_vec();
    segment.extend_from_slice(&crc24(&fields[..3]).to_le_bytes()[..3]);
    segment.extend(payload);
    segment.extend([0; 4]);
    segment
}

#[test]
fn a_stream_used_again_behind_a_lost_answer_is_the_later_request() {
    let mut turns = startup(4);
    turns.extend([
        client(query(4, 1, "SELECT a FROM t")),
        server(result(4, 1, 1)).captured(1),
        client(query(4, 1, "SELECT b FROM t")),
        server(result(4, 1, 1)),
        client(query(4, 1, "SELECT c FROM t")),
        server(result(4, 1, 1)),
    ]);
    let played = play(&turns, true, usize::MAX);
    assert_eq!(
        played.lines,
        [
            "STARTUP -> READY",
            "SELECT SELECT a FROM t ->  (lost)",
            "SELECT SELECT b FROM t -> VOID",
            "SELECT SELECT c FROM t -> VOID"
        ]
    );
}

#[test]
fn requests_are_paired_by_stream() {
    for version in 1..=4 {
        let error = [
            &0x2200u32.to_be_bytes()[..],
            &short(b"Invalid STRING constant (secret) for \"id\""),
        ]
        .concat();
        let prepared = [vec![0, 0, 0, 4], short(b"0123456789abcdef"), vec![0; 4]].concat();
        let batch = [vec![0, 0, 2, 0], long("INSERT INTO t (a) VALUES (1)"), vec![0, 0]].concat();
        let mut turns = startup(version);
        turns.extend([
            client(
                [
                    query(version, 1, "SELECT * FROM ks.t WHERE a = 'secret'"),
                    query(version, 2, "USE shop"),
                ]
                .concat(),
            ),
            server(envelope(
                0x80 | version,
                2,
                8,
                &[vec![0, 0, 0, 3], short(b"shop")].concat(),
            )),
            server(result(version, 1, 2)),
            client(envelope(version, 3, 9, &long("INSERT INTO t (a) VALUES (?)"))),
            server(envelope(0x80 | version, 3, 8, &prepared)),
            client(envelope(
                version,
                4,
                10,
                &[short(b"0123456789abcdef"), vec![0, 1, 0]].concat(),
            )),
            server(result(version, 4, 1)),
            client(envelope(version, 5, 13, &batch)),
            server(result(version, 5, 1)),
            client(query(version, 6, "SELECT a FROM t WHERE a = 5")),
            server(envelope(0x80 | version, 6, 0, &error)),
            server(envelope(0x80 | version, -1, 12, &short(b"STATUS_CHANGE"))),
        ]);
        let played = expect(
            Protocol::Cassandra,
            &turns,
            &[
                "STARTUP -> READY",
                "USE USE shop -> SET_KEYSPACE",
                "SELECT SELECT * FROM ks.t WHERE a = ? -> ROWS",
                "PREPARE INSERT INTO t (a) VALUES (?) -> PREPARED",
                "INSERT INSERT INTO t (a) VALUES (?) -> VOID",
                "BATCH INSERT INTO t (a) VALUES (?) -> VOID",
                "SELECT SELECT a FROM t WHERE a = ? -> 0x2200 !Invalid STRING constant",
                "EVENT STATUS_CHANGE -> ",
            ],
        );
        assert_eq!(
            played.attribute(2, "db.collection.name"),
            Some(Value::Text("ks.t".into()))
        );
        assert_eq!(
            played.attribute(4, "db.namespace"),
            Some(Value::Text("shop".into()))
        );
        assert_eq!(
            played.attribute(5, "db.operation.batch.size"),
            Some(Value::Int(2))
        );
    }
}

#[test]
fn version_5_travels_in_segments() {
    let big = query(
        5,
        3,
        &format!("INSERT INTO t (a) VALUES ('{}')", "x".repeat(20_000)),
    );
    let mut turns = startup(5);
    turns.extend([
        client(segment(
            &[query(5, 1, "SELECT 1 FROM a"), query(5, 2, "SELECT 2 FROM b")].concat(),
            true,
        )),
        server([segment(&result(5, 2, 2), true), segment(&result(5, 1, 2), true)].concat()),
        client([segment(&big[..12_000], false), segment(&big[12_000..], false)].concat()),
        server(segment(&result(5, 3, 1), true)),
    ]);
    let lines = [
        "STARTUP -> READY",
        "SELECT SELECT ? FROM b -> ROWS",
        "SELECT SELECT ? FROM a -> ROWS",
        "INSERT INSERT INTO t (a) VALUES (?… -> VOID",
    ];
    let played = expect(Protocol::Cassandra, &turns, &lines);
    assert_eq!(played.exchanges[3].request_bytes, big.len() as u64);
    let joined = play(&turns[2..], false, usize::MAX);
    assert_eq!(joined.lines, lines[1..]);
}

/// Blocks as their formats allow for them: all bytes stored as they are.
fn stored_snappy(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    [
        &[length as u8 | 0x80, (length >> 7) as u8, 61 << 2],
        &(length - 1).to_le_bytes()[..],
        bytes,
    ]
    .concat()
}

fn stored_lz4(bytes: &[u8]) -> Vec<u8> {
    let mut block = vec![0xf0];
    let mut rest = bytes.len() - 15;
    while rest >= 255 {
        block.push(255);
        rest -= 255;
    }
    block.push(rest as u8);
    [block, bytes.to_vec()].concat()
}

#[test]
fn compressed_bodies_are_read() {
    let body = [long("SELECT * FROM ks.t WHERE a = 'secret'"), vec![0, 1, 0]].concat();
    let lz4 = [(body.len() as u32).to_be_bytes().to_vec(), stored_lz4(&body)].concat();
    let error = [
        &0x1100u32.to_be_bytes()[..],
        &short(b"Operation timed out - received only 0 responses"),
    ]
    .concat();
    for compressed in [stored_snappy(&body), lz4] {
        let mut turns = startup(4);
        turns.extend([
            client(flagged(4, 1, 1, 7, &compressed)),
            server(flagged(0x84, 1, 1, 0, &stored_snappy(&error))),
        ]);
        let lines = [
            "STARTUP -> READY",
            "SELECT SELECT * FROM ks.t WHERE a = ? -> 0x1100 !Operation timed out - received only 0 responses",
        ];
        expect(Protocol::Cassandra, &turns, &lines);
        assert_eq!(play(&turns[2..], false, usize::MAX).lines, lines[1..]);
    }
}

fn compressed_segment(payload: &[u8]) -> Vec<u8> {
    let block = stored_lz4(payload);
    let fields = (block.len() as u64 | (payload.len() as u64) << 17 | 1 << 34).to_le_bytes();
    let mut segment = fields[..5].to_vec();
    segment.extend_from_slice(&crc24(&fields[..5]).to_le_bytes()[..3]);
    segment.extend(block);
    segment.extend([0; 4]);
    segment
}

#[test]
fn compressed_segments_are_read() {
    let options = [
        vec![0, 2],
        short(b"CQL_VERSION"),
        short(b"3.0.0"),
        short(b"COMPRESSION"),
        short(b"lz4"),
    ]
    .concat();
    let turns = [
        client(envelope(5, 0, 1, &options)),
        server(envelope(0x85, 0, 2, b"")),
        client(compressed_segment(
            &[query(5, 1, "SELECT 1 FROM a"), query(5, 2, "SELECT 2 FROM b")].concat(),
        )),
        server(
            [
                compressed_segment(&result(5, 2, 2)),
                compressed_segment(&result(5, 1, 2)),
            ]
            .concat(),
        ),
    ];
    let lines = [
        "STARTUP -> READY",
        "SELECT SELECT ? FROM b -> ROWS",
        "SELECT SELECT ? FROM a -> ROWS",
    ];
    expect(Protocol::Cassandra, &turns, &lines);
    assert_eq!(play(&turns[2..], false, usize::MAX).lines, lines[1..]);
}

#[test]
fn long_envelopes_need_not_be_captured_and_connections_are_joined_anywhere() {
    let insert = query(
        4,
        1,
        &format!("INSERT INTO t (a) VALUES ('{}')", "x".repeat(20_000)),
    );
    let rows = envelope(0x84, 2, 8, &[vec![0, 0, 0, 2], vec![7; 50_000]].concat());
    let turns = [
        server(b"the middle of a result"),
        client(&insert).captured(100),
        server(result(4, 1, 1)),
        client(envelope(4, 2, 10, &[short(b"unseen"), vec![0, 1, 0]].concat())),
        server(&rows).captured(5_000),
    ];
    let played = play(&turns, false, usize::MAX);
    assert_eq!(
        played.lines,
        ["INSERT INSERT INTO t (a) VALUES (?… -> VOID", "EXECUTE -> ROWS"]
    );
    assert_eq!(played.exchanges[1].response_bytes, rows.len() as u64);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        writes in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..80)), 0..12),
        version in 1u8..6,
        flags in 0u8..2,
        opcode in 0u8..17,
        body in proptest::collection::vec(any::<u8>(), 0..60),
        piece in 1usize..40,
    ) {
        let mut turns = startup(version);
        turns.extend([
            client(flagged(version, flags, 1, opcode, &body)), server(flagged(0x80 | version, flags, 1, opcode, &body)),
            client(compressed_segment(&[&body[..], &[0; 20]].concat())),
            client(segment(&envelope(version, 1, opcode, &body), true)), server(segment(&envelope(0x80 | version, 1, opcode, &body), true)),
        ]);
        turns.extend(writes.into_iter().map(|(is_client, bytes)| if is_client { client(bytes) } else { server(bytes) }));
        play_as(&turns, true, piece, Some(Protocol::Cassandra));
    }
}

#[test]
fn recordings_hold_what_is_known_of_them() {
    crate::protocol::harness::check(Protocol::Cassandra);
}
