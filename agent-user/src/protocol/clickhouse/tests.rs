use proptest::prelude::*;

use crate::protocol::scripted::{Turn, client, expect, play, play_as, server};
use crate::protocol::{Protocol, Value};

fn text(text: &str) -> Vec<u8> {
    [&[text.len() as u8][..], text.as_bytes()].concat()
}

/// Revision 54,400.
const REVISION: [u8; 3] = [0x80, 0xa9, 0x03];

fn greetings() -> Vec<Turn> {
    let client_hello = [
        vec![0],
        text("ClickHouse client"),
        vec![18, 16],
        REVISION.to_vec(),
        text("shop"),
        text("default"),
        text("secret"),
    ];
    let server_hello = [
        vec![0],
        text("ClickHouse"),
        vec![18, 16],
        REVISION.to_vec(),
        text("UTC"),
        text("host"),
    ];
    vec![client(client_hello.concat()), server(server_hello.concat())]
}

fn query(sql: &str) -> Vec<u8> {
    let empty = [2, 0, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0];
    [
        vec![1, 0, 1, 0],
        text("default"),
        vec![0, 2, 0],
        text(sql),
        empty.to_vec(),
    ]
    .concat()
}

fn data(rows: u8) -> Vec<u8> {
    let head = vec![1, 0, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 1, rows];
    [head, text("a"), text("UInt8"), vec![5; usize::from(rows)]].concat()
}

#[test]
fn queries_end_with_their_last_packet() {
    let exception = [
        vec![2, 60, 0, 0, 0],
        text("DB::Exception"),
        text("DB::Exception: Table shop.nope doesn't exist."),
        text("stack"),
        vec![0],
    ]
    .concat();
    let mut turns = greetings();
    turns.extend([
        client(query("SELECT a FROM orders WHERE b = 'secret'")),
        server(
            [
                data(0),
                data(3),
                vec![6, 3, 1, 9, 0, 0, 0],
                data(2),
                vec![3, 1, 2, 3],
                vec![5],
            ]
            .concat(),
        ),
        client(query("SELECT * FROM nope")),
        server(exception),
        client([4]),
        server([4]),
        client(query("INSERT INTO t VALUES")),
        server(data(0)),
        client([2, 0, 1, 0, 2, 0xff]),
        server([5]),
    ]);
    let played = expect(
        Protocol::ClickHouse,
        &turns,
        &[
            "SELECT SELECT a FROM orders WHERE b = ? -> OK",
            "SELECT SELECT * FROM nope -> 60 !DB::Exception: Table shop.nope doesn",
            "PING -> OK",
            "INSERT INSERT INTO t VALUES -> OK",
        ],
    );
    assert_eq!(
        played.attribute(0, "db.response.returned_rows"),
        Some(Value::Int(5))
    );
    assert_eq!(
        played.attribute(0, "db.namespace"),
        Some(Value::Text("shop".into()))
    );
}

#[test]
fn a_result_that_cannot_be_followed_is_over_when_the_client_goes_on() {
    let mut turns = greetings();
    turns.extend([
        client(query("SELECT a FROM big")),
        server([data(200), data(200)].concat()).captured(100),
        client(query("SELECT 1 FROM small")),
        server([data(1), vec![5]].concat()),
    ]);
    let played = play(&turns, true, usize::MAX);
    assert_eq!(
        played.lines,
        [
            "SELECT SELECT a FROM big ->  (lost)",
            "SELECT SELECT ? FROM small -> OK"
        ]
    );
}

#[test]
fn a_result_too_large_to_be_held_ends_where_the_server_says_so() {
    let head = [
        &[1, 0, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 1, 0xe0, 0xd4, 0x03][..],
        &text("a"),
        &text("UInt8"),
    ];
    let big = [
        &head.concat()[..],
        &[5; 60_000],
        &[6, 3, 1, 9, 0, 0, 0],
        &[3, 1, 2, 3],
        &[5],
    ]
    .concat();
    let mut turns = greetings();
    turns.extend([
        client(query("SELECT a FROM big")),
        server(&big[..50_000]),
        server(&big[50_000..]),
        client(query("SELECT b FROM big")),
        server(&big),
    ]);
    let lines = ["SELECT SELECT a FROM big -> OK", "SELECT SELECT b FROM big -> OK"];
    let played = play(&turns, true, 8_192);
    assert_eq!(played.lines, lines);
    assert_eq!(played.exchanges[0].response_bytes, big.len() as u64);
}

#[test]
fn a_session_joined_in_the_middle_is_read_in_the_revision_it_fits() {
    // Progress of revision 54,419 has three numbers, of 54,467 seven.
    let progress = vec![3, 1, 2, 3];
    let turns = [
        client(query("SELECT 1")),
        server([data(0), data(2), progress.clone(), vec![5]].concat()),
        client(query("SELECT 2")),
        server([data(0), progress, data(3), vec![5]].concat()),
    ];
    let played = play(&turns, false, usize::MAX);
    assert_eq!(played.lines, ["SELECT SELECT ? -> OK", "SELECT SELECT ? -> OK"]);
    assert_eq!(
        played.attribute(1, "db.response.returned_rows"),
        Some(Value::Int(3))
    );
}

#[test]
fn queries_nobody_is_seen_to_answer_are_all_told() {
    let mut turns = greetings();
    turns.truncate(1);
    turns.extend([
        client(query("SELECT a")),
        client(query("SELECT b")),
        client(query("SELECT c")),
    ]);
    let played = play(&turns, true, usize::MAX);
    assert_eq!(played.lines.len(), 3, "{:?}", played.lines);
}

#[test]
fn refused_sessions_are_told() {
    let exception = [
        vec![2, 193, 0, 0, 0],
        text("DB::Exception"),
        text("Wrong password for user default"),
        text(""),
        vec![0],
    ]
    .concat();
    let turns = [greetings()[0].clone(), server(exception)];
    expect(
        Protocol::ClickHouse,
        &turns,
        &["CONNECT -> 193 !Wrong password for user default"],
    );
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        writes in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..80)), 0..12),
        tail in proptest::collection::vec(any::<u8>(), 0..60),
        kind in "(Nullable|Array|Map|Tuple|LowCardinality|FixedString|Decimal|String)\\([A-Za-z0-9(), ]{0,20}\\)",
        piece in 1usize..40,
    ) {
        let head = vec![1, 0, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 1, 3];
        let mut turns = greetings();
        turns.extend([client(query("SELECT 1")), server([head, text("a"), text(&kind), tail].concat())]);
        turns.extend(writes.into_iter().map(|(is_client, bytes)| if is_client { client(bytes) } else { server(bytes) }));
        play_as(&turns, true, piece, Some(Protocol::ClickHouse));
    }
}

#[test]
fn recordings_hold_what_is_known_of_them() {
    crate::protocol::harness::check(Protocol::ClickHouse);
}
