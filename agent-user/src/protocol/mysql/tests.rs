use proptest::prelude::*;

use crate::protocol::scripted::{Turn, client, expect, play, play_as, server};
use crate::protocol::{Protocol, Value};

fn packet(sequence: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut packet = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    packet.push(sequence);
    packet.extend_from_slice(payload);
    packet
}

fn query(sql: &str) -> Vec<u8> {
    packet(0, format!("\x03{sql}"))
}

fn ok(sequence: u8, affected: u8, status: u8) -> Vec<u8> {
    packet(sequence, [0, affected, 0, status, 0, 0, 0])
}

fn eof(sequence: u8, status: u8) -> Vec<u8> {
    packet(sequence, [0xfe, 0, 0, status, 0])
}

fn column(sequence: u8) -> Vec<u8> {
    packet(
        sequence,
        b"\x03def\0\0\0\x01a\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0",
    )
}

fn result(rows: u8, deprecate_eof: bool, status: u8) -> Vec<u8> {
    let mut bytes = packet(1, [1]);
    bytes.extend(column(2));
    let mut sequence = 3;
    if !deprecate_eof {
        bytes.extend(eof(sequence, 2));
        sequence += 1;
    }
    for _ in 0..rows {
        bytes.extend(packet(sequence, b"\x03row"));
        sequence += 1;
    }
    bytes.extend(if deprecate_eof {
        packet(sequence, [0xfe, 0, 0, status, 0, 0, 0])
    } else {
        eof(sequence, status)
    });
    bytes
}

fn login() -> Vec<Turn> {
    let greeting =
        b"\x0a8.0.33\0\x08\0\0\0abcdefgh\0\xff\xf7\xff\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0abcdefghijkl\0";
    let mut response = (0x0200u32 | 0x8 | 0x8000 | 1 << 24).to_le_bytes().to_vec();
    response.extend([0; 28]);
    response.extend(b"root\0\x02pwshop\0");
    vec![
        server(packet(0, greeting)),
        client(packet(1, response)),
        server(ok(2, 0, 2)),
    ]
}

fn session(turns: impl IntoIterator<Item = Turn>) -> Vec<Turn> {
    login().into_iter().chain(turns).collect()
}

#[test]
fn queries_are_one_exchange_each() {
    let turns = session([
        client(query("SELECT a FROM t WHERE b = 'x'")),
        server(result(3, true, 2)),
        client(query("UPDATE t SET a = 1")),
        server(ok(1, 5, 2)),
        client(query("SELECT 1; SELECT 2; UPDATE t SET a = 2")),
        server([result(1, true, 10), result(2, true, 10), ok(9, 1, 2)].concat()),
        client(query("SELECT * FROM nope")),
        server(packet(1, b"\xff\x7a\x04#42S02Table 'shop.nope' doesn't exist")),
        client(packet(0, b"\x0e")),
        server(ok(1, 0, 2)),
        client(packet(0, b"\x02other")),
        server(ok(1, 0, 2)),
        client(query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t")),
        server(packet(1, b"\xfbf")),
        client([packet(2, b"1,2\n"), packet(3, b"")].concat()),
        server(ok(4, 1, 2)),
        client(packet(0, b"\x01")),
    ]);
    let played = expect(
        Protocol::MySql,
        &turns,
        &[
            "SELECT SELECT a FROM t WHERE b = ? -> OK",
            "UPDATE UPDATE t SET a = ? -> OK",
            "SELECT SELECT ?; SELECT ?; UPDATE t SET a = ? -> OK",
            "SELECT SELECT * FROM nope -> 1146 !Table 'shop.nope' doesn't exist",
            "PING -> OK",
            "USE other -> OK",
            "LOAD LOAD DATA LOCAL INFILE ? INTO TABLE t -> OK",
        ],
    );
    assert_eq!(
        played.attribute(0, "db.response.returned_rows"),
        Some(Value::Int(3))
    );
    assert_eq!(
        played.attribute(0, "db.namespace"),
        Some(Value::Text("shop".into()))
    );
    assert_eq!(
        played.attribute(1, "db.response.affected_rows"),
        Some(Value::Int(5))
    );
    assert_eq!(
        played.attribute(2, "db.response.returned_rows"),
        Some(Value::Int(3))
    );
    assert_eq!(
        played.attribute(6, "db.namespace"),
        Some(Value::Text("other".into()))
    );
}

#[test]
fn commands_of_the_server_itself_are_refused_and_lose_nothing() {
    let unknown = || server(packet(1, b"\xff\x17\x04#08S01Unknown command"));
    let turns = session([
        client(packet(0, b"\x0b")),
        unknown(),
        client(packet(0, b"\x0f")),
        unknown(),
        client(packet(0, b"\x1d")),
        unknown(),
        client(query("SELECT 1")),
        server(result(1, true, 2)),
    ]);
    expect(
        Protocol::MySql,
        &turns,
        &[
            "CONNECT -> 1047 !Unknown command",
            "TIME -> 1047 !Unknown command",
            "DAEMON -> 1047 !Unknown command",
            "SELECT SELECT ? -> OK",
        ],
    );
}

#[test]
fn another_user_may_be_asked_for_a_password() {
    let mut turns = login();
    turns.extend([
        client(packet(0, b"\x11bob\0\0shop\0\x2d\0")),
        server(packet(1, b"\xfemysql_native_password\0abcdefghijklmnopqrst\0")),
        client(packet(2, b"")),
        server(ok(3, 0, 2)),
        client(query("SELECT 1")),
        server(result(1, true, 2)),
        client(packet(0, b"\x11bob\0\0shop\0\x2d\0")),
        server([packet(1, b"\x01\x03"), ok(2, 0, 2)].concat()),
        client(packet(0, b"\x0e")),
        server(ok(1, 0, 2)),
    ]);
    let lines = [
        "CHANGE_USER -> OK",
        "SELECT SELECT ? -> OK",
        "CHANGE_USER -> OK",
        "PING -> OK",
    ];
    let played = expect(Protocol::MySql, &turns, &lines);
    let sizes: Vec<u64> = played
        .exchanges
        .iter()
        .map(|exchange| exchange.response_bytes)
        .collect();
    assert_eq!((sizes[0], sizes[3]), (59, 11));
}

/// Before 4.1: no capabilities of 32 bits, EOF and errors without a state.
#[test]
fn sessions_of_old_servers_are_read() {
    let column = |sequence| packet(sequence, b"\x01t\x01a\x03\x01\0\0\x01\x03\x02\x01\0");
    let rows = [
        packet(1, [1]),
        column(2),
        packet(3, [0xfe]),
        packet(4, b"\x01x"),
        packet(5, b"\x01y"),
        packet(6, [0xfe]),
    ];
    let none = [packet(1, [1]), column(2), packet(3, [0xfe]), packet(4, [0xfe])];
    let turns = [
        server(packet(
            0,
            b"\x0a4.0.18\0\x07\0\0\0abcdefgh\0\x2c\x20\x08\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        )),
        client(packet(1, b"\x85\x20\0\0\x01root\0abcdefgh\0")),
        server(packet(2, [0, 0, 0, 2, 0])),
        client(query("SELECT a FROM t")),
        server(rows.concat()),
        client(query("SELECT b FROM t")),
        server(none.concat()),
        client(query("SELEC")),
        server(packet(1, b"\xff\x28\x04You have an error")),
        client(query("INSERT INTO t VALUES (1)")),
        server(packet(1, [0, 1, 0, 2, 0])),
    ];
    let played = expect(
        Protocol::MySql,
        &turns,
        &[
            "SELECT SELECT a FROM t -> OK",
            "SELECT SELECT b FROM t -> OK",
            "SELEC SELEC -> 1064 !You have an error",
            "INSERT INSERT INTO t VALUES (?) -> OK",
        ],
    );
    let returned = |exchange| played.attribute(exchange, "db.response.returned_rows");
    assert_eq!(
        (returned(0), returned(1)),
        (Some(Value::Int(2)), Some(Value::Int(0)))
    );
}

#[test]
fn prepared_statements_are_known_by_their_id() {
    let execute = packet(0, b"\x17\x07\0\0\0\0\x01\0\0\0");
    let prepared = [packet(1, b"\0\x07\0\0\0\x01\0\x01\0\0\0\0"), column(2), column(3)].concat();
    let turns = session([
        client(packet(0, b"\x16SELECT a FROM t WHERE b = ?")),
        server(prepared),
        client(&execute),
        server(result(2, true, 2)),
        client([packet(0, b"\x19\x07\0\0\0"), execute.clone()].concat()),
        server(packet(
            1,
            b"\xff\xdb\x04#HY000Unknown prepared statement handler (7) given to EXECUTE",
        )),
    ]);
    expect(
        Protocol::MySql,
        &turns,
        &[
            "PREPARE SELECT a FROM t WHERE b = ? -> OK",
            "SELECT SELECT a FROM t WHERE b = ? -> OK",
            "EXECUTE -> 1243 !Unknown prepared statement handler (7) given to EXECUTE",
        ],
    );
}

#[test]
fn a_connection_older_than_the_agent_is_read_at_once() {
    for deprecate_eof in [true, false] {
        let turns = [
            server(packet(77, b"\x03row")),
            client(query("SELECT 1")),
            server(result(2, deprecate_eof, 2)),
            client(packet(0, b"\x16SELECT 2")),
            server(
                [
                    packet(1, b"\0\x07\0\0\0\x01\0\0\0\0\0\0"),
                    column(2),
                    if deprecate_eof { Vec::new() } else { eof(3, 2) },
                ]
                .concat(),
            ),
            client(query("SELECT 3")),
            server(result(1, deprecate_eof, 2)),
        ];
        for first in [0, 1] {
            let played = play(&turns[first..], false, usize::MAX);
            assert_eq!(
                played.lines,
                [
                    "SELECT SELECT ? -> OK",
                    "PREPARE SELECT ? -> OK",
                    "SELECT SELECT ? -> OK"
                ]
            );
            assert!(played.losses.is_zero(), "{:?}", played.losses);
            assert_eq!(
                played.attribute(0, "db.response.returned_rows"),
                Some(Value::Int(2))
            );
        }
    }
}

#[test]
fn refused_encrypted_and_compressed_sessions_are_read_or_told() {
    let refused = [server(packet(0, b"\xff\x10\x04Too many connections"))];
    expect(
        Protocol::MySql,
        &refused,
        &["CONNECT -> 1040 !Too many connections"],
    );
    let mut denied = login();
    denied[2] = server(packet(
        2,
        b"\xff\x15\x04#28000Access denied for user 'root'@'localhost'",
    ));
    expect(
        Protocol::MySql,
        &denied,
        &["CONNECT -> 1045 !Access denied for user 'root'@'localhost'"],
    );
    let mut request = (0x0200u32 | 0x800).to_le_bytes().to_vec();
    request.extend([0; 28]);
    let tls = [
        login()[0].clone(),
        client(packet(1, request)),
        client(b"\x16\x03\x01\0\x05hello"),
        server(b"\x16\x03\x03"),
    ];
    let played = play(&tls, true, usize::MAX);
    assert!(played.lines.is_empty() && played.losses.is_zero());
    let mut compressed = login();
    compressed[1].bytes[4] |= 0x20;
    compressed.push(client(b"\x0d\0\0\0\0\0\0\x09\0\0\0\x03SELECT 1"));
    compressed.push(server(b"\x0b\0\0\x01\0\0\0\x07\0\0\x01\0\0\0\x02\0\0\0"));
    expect(Protocol::MySql, &compressed, &["SELECT SELECT ? -> OK"]);
}

#[test]
fn long_statements_and_results_need_not_be_captured() {
    let long = format!("INSERT INTO t VALUES ('{}')", "x".repeat(30_000));
    let row = packet(4, format!("\u{7f}{}", "y".repeat(20_000)));
    let head = [packet(1, [1]), column(2)].concat();
    let rows = [head.clone(), row.clone(), row.clone()].concat();
    let turns = session([
        client(query(&long)).captured(1_000),
        server(ok(1, 1, 2)),
        client(query("SELECT y FROM t")),
        server(&rows).captured(100),
        server([row.clone(), packet(9, [0xfe, 0, 0, 2, 0, 0, 0])].concat()),
        client(query("SELECT z FROM t")),
        server(&rows).captured(100),
        client(query("SELECT 1")),
        server(result(1, true, 2)),
    ]);
    let played = play(&turns, true, usize::MAX);
    assert_eq!(
        played.lines,
        [
            "INSERT INSERT INTO t VALUES (?… -> OK",
            "SELECT SELECT y FROM t -> OK",
            "SELECT SELECT z FROM t ->  (lost)",
            "SELECT SELECT ? -> OK"
        ]
    );
    assert_eq!(played.losses.resyncs, 0);
}

/// Found by fuzzing: an empty packet where a password or the first command is due.
#[test]
fn an_empty_packet_during_the_login_is_survived() {
    let mut turns: Vec<Turn> = login().into_iter().take(2).collect();
    turns.push(client(b"\0\0\0\0\0\0\0\0"));
    turns.extend([client(query("SELECT 1")), server(ok(1, 0, 2))]);
    expect(Protocol::MySql, &turns, &["SELECT SELECT ? -> OK"]);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        writes in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..60)), 0..12),
        from_start: bool,
        prefix in 0usize..4,
    ) {
        let mut turns: Vec<Turn> = login().into_iter().take(prefix).collect();
        turns.extend(writes.into_iter().map(|(is_client, bytes)| if is_client { client(bytes) } else { server(bytes) }));
        play_as(&turns, from_start, 9, Some(Protocol::MySql));
    }

    #[test]
    fn packets_in_any_order_are_survived(order in proptest::collection::vec(0usize..16, 0..60), piece in 1usize..30) {
        let pieces = [
            client(query("SELECT 1")), client(packet(0, b"\x16SELECT 2")), client(packet(0, b"\x17\x07\0\0\0\0\x01\0\0\0")),
            client(packet(2, b"")), client(packet(0, b"\x04t\0")), client(packet(0, b"\x11user")), client(packet(0, b"\x1c\x07\0\0\0\x01\0\0\0")),
            client(query("SELECT hidden")).captured(9),
            server(ok(1, 0, 2)), server(eof(3, 2)), server(eof(3, 10)), server(column(2)), server(packet(1, [1])),
            server(packet(4, b"\x03row")), server(packet(1, b"\0\x07\0\0\0\x01\0\x01\0\0\0\0")), server(packet(5, b"\x09hidden me")).captured(8),
        ];
        let turns: Vec<Turn> = login().into_iter().chain(order.iter().map(|&number| pieces[number].clone())).collect();
        play_as(&turns, true, piece, Some(Protocol::MySql));
    }
}

#[test]
fn recordings_hold_what_is_known_of_them() {
    crate::protocol::harness::check(Protocol::MySql);
}
