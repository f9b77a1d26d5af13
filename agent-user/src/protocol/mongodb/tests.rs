use proptest::prelude::*;

use super::bson::tests::{document, int, nested, text};
use crate::protocol::scripted::{Turn, client, expect, play, play_as, server};
use crate::protocol::{Protocol, Value};

fn message(request_id: u32, response_to: u32, opcode: i32, body: &[u8]) -> Vec<u8> {
    let mut message = (16 + body.len() as u32).to_le_bytes().to_vec();
    message.extend(request_id.to_le_bytes());
    message.extend(response_to.to_le_bytes());
    message.extend(opcode.to_le_bytes());
    message.extend(body);
    message
}

fn op_msg(request_id: u32, response_to: u32, flags: u32, elements: &[Vec<u8>]) -> Vec<u8> {
    message(
        request_id,
        response_to,
        2_013,
        &[&flags.to_le_bytes()[..], &[0], &document(elements)].concat(),
    )
}

fn ok(response_to: u32) -> Vec<u8> {
    op_msg(900 + response_to, response_to, 0, &[int("n", 2), int("ok", 1)])
}

#[test]
fn commands_are_paired_by_id() {
    let write_error = document(&[
        int("index", 0),
        int("code", 11_000),
        text(
            "errmsg",
            "E11000 duplicate key error collection: shop.t { _id: 1 }",
        ),
    ]);
    let turns = [
        client(op_msg(
            1,
            0,
            0,
            &[
                text("find", "orders"),
                nested(3, "filter", document(&[text("a", "secret")])),
                text("$db", "shop"),
            ],
        )),
        client(op_msg(2, 0, 0, &[text("insert", "t"), text("$db", "shop")])),
        server(op_msg(
            11,
            2,
            0,
            &[
                int("n", 0),
                nested(4, "writeErrors", document(&[nested(3, "0", write_error)])),
                int("ok", 1),
            ],
        )),
        server(op_msg(
            12,
            1,
            0,
            &[nested(3, "cursor", document(&[])), int("ok", 1)],
        )),
        client(op_msg(3, 0, 2, &[text("insert", "log"), text("$db", "shop")])),
        client(op_msg(4, 0, 0, &[int("nonsense", 1), text("$db", "admin")])),
        server(op_msg(
            13,
            4,
            0,
            &[
                int("ok", 0),
                text("errmsg", "no such command: 'nonsense'"),
                int("code", 59),
                text("codeName", "CommandNotFound"),
            ],
        )),
    ];
    let played = expect(
        Protocol::MongoDb,
        &turns,
        &[
            "insert t -> 11000 !E11000 duplicate key error collection: shop.t",
            "find orders -> OK",
            "insert log -> ",
            "nonsense -> 59 !CommandNotFound: no such command:",
        ],
    );
    assert_eq!(
        played.attribute(1, "db.namespace"),
        Some(Value::Text("shop".into()))
    );
}

#[test]
fn older_messages_and_document_sequences_are_read() {
    let query = [&[0, 0, 0, 0][..], b"shop.orders\0", &[0; 8], &document(&[])].concat();
    let command = [
        &[0, 0, 0, 0][..],
        b"admin.$cmd\0",
        &[0; 8],
        &document(&[int("isMaster", 1)]),
    ]
    .concat();
    let reply = [&[0; 16][..], &1i32.to_le_bytes(), &document(&[int("ok", 1)])].concat();
    let sequence = [&4u32.to_le_bytes()[..], &[0; 0]].concat();
    let documents = document(&[text("a", "secret")]);
    let kind1 = [
        &[1][..],
        &(4 + 10 + documents.len() as u32).to_le_bytes(),
        b"documents\0",
        &documents,
    ]
    .concat();
    let body = [
        &[0, 0, 0, 0][..],
        &kind1,
        &[0],
        &document(&[text("insert", "t"), text("$db", "shop")]),
    ]
    .concat();
    let turns = [
        client(message(1, 0, 2_004, &command)),
        server(message(9, 1, 1, &reply)),
        client(message(2, 0, 2_004, &query)),
        server(message(10, 2, 1, &reply)),
        client(message(3, 0, 2_013, &body)),
        server(ok(3)),
        client(message(
            4,
            0,
            2_002,
            &[&[0, 0, 0, 0][..], b"shop.log\0", &documents].concat(),
        )),
    ];
    assert_eq!(sequence.len(), 4);
    expect(
        Protocol::MongoDb,
        &turns,
        &[
            "isMaster -> OK",
            "find orders -> OK",
            "insert t -> OK",
            "insert log -> ",
        ],
    );
}

#[test]
fn long_messages_need_not_be_captured_and_connections_are_joined_anywhere() {
    let long = nested(4, "documents", document(&[text("0", &"x".repeat(60_000))]));
    let insert = op_msg(1, 0, 0, &[text("insert", "t"), text("$db", "shop"), long.clone()]);
    let find = op_msg(11, 2, 0, &[nested(3, "cursor", long), int("ok", 1)]);
    let turns = [
        server(b"the middle of a reply that began before"),
        client(&insert).captured(500),
        server(ok(1)),
        client(op_msg(2, 0, 0, &[text("find", "t"), text("$db", "shop")])),
        server(&find).captured(2_100),
    ];
    let played = play(&turns, false, usize::MAX);
    assert_eq!(played.lines, ["insert t -> OK", "find t -> OK"]);
    assert_eq!(played.exchanges[0].request_bytes, insert.len() as u64);
    assert_eq!(played.exchanges[1].response_bytes, find.len() as u64);
}

#[test]
fn compression_that_nobody_knows_is_counted() {
    let compressed = |id, to| {
        message(
            id,
            to,
            2_012,
            &[&2_013u32.to_le_bytes()[..], &100u32.to_le_bytes(), &[9], &[7; 40]].concat(),
        )
    };
    let turns = [client(compressed(1, 0)), server(compressed(8, 1))];
    let played = play_as(&turns, true, usize::MAX, Some(Protocol::MongoDb));
    assert!(played.losses.unsupported > 0);
    assert!(played.lines.is_empty());
}

#[test]
fn old_replies_say_by_flags_that_a_query_failed() {
    let query = [&[0; 4][..], b"shop.orders\0", &[0; 8], &document(&[int("a", 1)])].concat();
    let reply = |to, flags: u32, elements: &[Vec<u8>]| {
        let fields = [&flags.to_le_bytes()[..], &[0; 12], &1u32.to_le_bytes()].concat();
        message(90, to, 1, &[fields, document(elements)].concat())
    };
    let turns = [
        client(message(1, 0, 2_004, &query)),
        server(reply(1, 0, &[int("a", 1)])),
        client(message(2, 0, 2_004, &query)),
        server(reply(2, 2, &[text("$err", "not master")])),
        client(message(3, 0, 2_005, &query)),
        server(reply(3, 1, &[])),
    ];
    expect(
        Protocol::MongoDb,
        &turns,
        &[
            "find orders -> OK",
            "find orders -> ERROR !not master",
            "getMore orders -> 43 !CursorNotFound",
        ],
    );
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        writes in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..80)), 0..12),
        flags: u8,
        body in proptest::collection::vec(any::<u8>(), 5..120),
        piece in 1usize..40,
    ) {
        let mut turns = vec![
            client(message(1, 0, 2_013, &body)), server(message(2, 1, 2_013, &body)), client(message(3, 0, 2_004, &body)),
            server(message(2, 3, 1, &body)), client(op_msg(1, 0, u32::from(flags), &[body])),
        ];
        turns.extend(writes.into_iter().map(|(is_client, bytes)| if is_client { client(bytes) } else { server(bytes) }));
        let turns: Vec<Turn> = turns;
        play_as(&turns, true, piece, Some(Protocol::MongoDb));
    }
}

#[test]
fn recordings_hold_what_is_known_of_them() {
    crate::protocol::harness::check(Protocol::MongoDb);
}

#[test]
fn commands_of_the_shell_of_3_2_are_read() {
    let turns = [
        client(message(
            1,
            0,
            2_010,
            &[
                &b"shop\0find\0"[..],
                &document(&[text("find", "orders")]),
                &document(&[]),
            ]
            .concat(),
        )),
        server(message(
            9,
            1,
            2_011,
            &[document(&[int("ok", 1)]), document(&[])].concat(),
        )),
        client(message(
            2,
            0,
            2_010,
            &[
                &b"shop\0count\0"[..],
                &document(&[]),
                &document(&[text("count", "x")]),
            ]
            .concat(),
        )),
        server(message(
            10,
            2,
            2_011,
            &[document(&[int("ok", 0), int("code", 13)]), document(&[])].concat(),
        )),
    ];
    expect(
        Protocol::MongoDb,
        &turns,
        &["find orders -> OK", "count x -> 13 !"],
    );
}
