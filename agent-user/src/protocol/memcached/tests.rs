use proptest::prelude::*;

use crate::protocol::scripted::{Turn, client, expect, play, play_as, server};
use crate::protocol::{Protocol, Value};

#[test]
fn text_commands_are_one_exchange_each() {
    let turns = [
        client(b"set user:1 0 60 6\r\nsecret\r\n"),
        server(b"STORED\r\n"),
        client(b"get user:1 user:2 none\r\n"),
        server(b"VALUE user:1 0 6\r\nsecret\r\nVALUE user:2 0 2\r\nhi\r\nEND\r\n"),
        client(b"get none\r\nincr count 1\r\ndelete none\r\n"),
        server(b"END\r\n5\r\nNOT_FOUND\r\n"),
        client(b"set quiet 0 0 1 noreply\r\nx\r\nversion\r\n"),
        server(b"VERSION 1.6.18\r\n"),
        client(b"incr user:1 1\r\nbogus\r\n"),
        server(b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\nERROR\r\n"),
        client(b"stats\r\n"),
        server(b"STAT pid 1\r\nSTAT uptime 2\r\nEND\r\n"),
    ];
    let played = expect(
        Protocol::Memcached,
        &turns,
        &[
            "set user:1 -> STORED",
            "get user:1 -> VALUE",
            "get none -> END",
            "incr count -> ",
            "delete none -> NOT_FOUND",
            "set quiet -> ",
            "version -> VERSION",
            "incr user:1 -> CLIENT_ERROR !cannot increment or decrement non-numeric value",
            " -> ERROR !",
            "stats -> STAT",
        ],
    );
    assert_eq!(
        played.attribute(1, "db.response.returned_rows"),
        Some(Value::Int(2))
    );
    assert_eq!(
        played.attribute(1, "db.operation.batch.size"),
        Some(Value::Int(3))
    );
    assert_eq!(played.exchanges[0].request_bytes, 27);
}

#[test]
fn quiet_meta_commands_are_answered_by_silence() {
    let turns = [
        client(b"mg a v q\r\nmg b v q k O1\r\nms c 2 q\r\nhi\r\nmn\r\n"),
        server(b"VA 1 kb O1\r\nx\r\nMN\r\n"),
        client(b"mg a v\r\n"),
        server(b"EN\r\n"),
        client(b"ms c 2 T90\r\nhi\r\n"),
        server(b"HD\r\n"),
    ];
    expect(
        Protocol::Memcached,
        &turns,
        &[
            "mg a -> EN",
            "mg b -> VA",
            "ms c -> HD",
            "mn -> MN",
            "mg a -> EN",
            "ms c -> HD",
        ],
    );
}

#[test]
fn quiet_meta_commands_are_told_by_the_key_they_return() {
    let turns = [
        client(b"mg a v k q\r\nmg b v k q\r\nmn\r\n"),
        server(b"VA 1 kb\r\nx\r\nMN\r\n"),
        client(b"ms c 2 q k\r\nhi\r\nmg d Z q k\r\nmn\r\n"),
        server(b"NS kc\r\nCLIENT_ERROR invalid flag\r\nMN\r\n"),
    ];
    expect(
        Protocol::Memcached,
        &turns,
        &[
            "mg a -> EN",
            "mg b -> VA",
            "mn -> MN",
            "ms c -> NS",
            "mg d -> CLIENT_ERROR !invalid flag",
            "mn -> MN",
        ],
    );
}

/// Whether `NF` answers the quiet one cannot be known; what comes behind it is right all the same.
#[test]
fn an_answer_that_does_not_fit_ends_the_confusion() {
    let turns = [
        client(b"md n q\r\nmd n\r\nmn\r\nversion noreply\r\nget a\r\n"),
        server(b"NF\r\nMN\r\nVERSION 1.6.18\r\nEND\r\n"),
    ];
    let played = play(&turns, true, usize::MAX);
    assert_eq!(
        played.lines,
        [
            "md n -> NF",
            "md n ->  (lost)",
            "mn -> MN",
            "version -> VERSION",
            "get a -> END"
        ]
    );
}

#[test]
fn answers_to_unseen_commands_are_not_given_to_others() {
    let turns = [
        client(b"set a 0 0 1\r\nx\r\n"),
        server(b"VALUE b 0 1\r\ny\r\nEND\r\nSTORED\r\n"),
        client(b"get a\r\n"),
        server(b"VALUE a 0 1\r\nx\r\nEND\r\n"),
    ];
    let played = play(&turns, false, usize::MAX);
    assert_eq!(played.lines, ["set a -> STORED", "get a -> VALUE"]);
}

fn packet(magic: u8, opcode: u8, status: u16, opaque: u32, extras: &[u8], key: &str, value: &str) -> Vec<u8> {
    let mut packet = vec![magic, opcode];
    packet.extend((key.len() as u16).to_be_bytes());
    packet.extend([extras.len() as u8, 0]);
    packet.extend(status.to_be_bytes());
    packet.extend((extras.len() as u32 + key.len() as u32 + value.len() as u32).to_be_bytes());
    packet.extend(opaque.to_be_bytes());
    packet.extend([0; 8]);
    [packet, extras.to_vec(), key.into(), value.into()].concat()
}

#[test]
fn commands_of_later_servers_lose_nothing() {
    let turns = [
        client(packet(0x80, 0x00, 0, 1, &[], "k", "")),
        server(packet(0x81, 0x00, 0, 1, &[0; 4], "", "v")),
        client(packet(0x80, 0xb5, 0, 2, &[], "", "")),
        server(packet(0x81, 0xb5, 0x81, 2, &[], "", "")),
        client(packet(0x80, 0xee, 0, 3, &[], "k", "")),
        server(packet(0x81, 0xee, 0x81, 3, &[], "", "")),
    ];
    expect(
        Protocol::Memcached,
        &turns,
        &[
            "get k -> SUCCESS",
            "get_cluster_config -> UNKNOWN_COMMAND !UNKNOWN_COMMAND",
            "unknown k -> UNKNOWN_COMMAND !UNKNOWN_COMMAND",
        ],
    );
}

#[test]
fn binary_commands_quiet_ones_too() {
    let request = |opcode, opaque, key| packet(0x80, opcode, 0, opaque, &[], key, "");
    let turns = [
        client(packet(0x80, 0x01, 0, 1, &[0; 8], "user:1", "secret")),
        server(packet(0x81, 0x01, 0, 1, &[], "", "")),
        client([request(0x0d, 2, "a"), request(0x0d, 3, "b"), request(0x0a, 4, "")].concat()),
        server(
            [
                packet(0x81, 0x0d, 0, 3, &[0; 4], "b", "value"),
                packet(0x81, 0x0a, 0, 4, &[], "", ""),
            ]
            .concat(),
        ),
        client(request(0x00, 5, "none")),
        server(packet(0x81, 0x00, 1, 5, &[], "", "Not found")),
        client(request(0x10, 6, "")),
        server(
            [
                packet(0x81, 0x10, 0, 6, &[], "pid", "1"),
                packet(0x81, 0x10, 0, 6, &[], "", ""),
            ]
            .concat(),
        ),
        client(request(0x05, 7, "n")),
        server(packet(0x81, 0x05, 6, 7, &[], "", "Non-numeric")),
    ];
    expect(
        Protocol::Memcached,
        &turns,
        &[
            "set user:1 -> SUCCESS",
            "get a -> KEY_ENOENT",
            "get b -> SUCCESS",
            "noop -> SUCCESS",
            "get none -> KEY_ENOENT",
            "stats -> SUCCESS",
            "incr n -> DELTA_BADVAL !DELTA_BADVAL",
        ],
    );
}

#[test]
fn long_values_need_not_be_captured_and_connections_are_joined_anywhere() {
    let value = "x".repeat(50_000);
    let turns = [
        server(b"the middle of a value"),
        client(format!("set big 0 0 50000\r\n{value}\r\n")).captured(60),
        server(b"STORED\r\n"),
        client(b"get big\r\n"),
        server(&format!("VALUE big 0 50000\r\n{value}\r\nEND\r\n").as_bytes()[..30_000]).captured(60),
        server(&format!("VALUE big 0 50000\r\n{value}\r\nEND\r\n").as_bytes()[30_000..]),
    ];
    let played = play(&turns, false, usize::MAX);
    assert_eq!(played.lines, ["set big -> STORED", "get big -> VALUE"]);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        writes in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..60)), 0..12),
        from_start: bool,
    ) {
        let turns: Vec<Turn> =
            writes.into_iter().map(|(is_client, bytes)| if is_client { client(bytes) } else { server(bytes) }).collect();
        play_as(&turns, from_start, 9, Some(Protocol::Memcached));
    }

    #[test]
    fn lines_and_packets_in_any_order_are_survived(order in proptest::collection::vec(0usize..16, 0..60), piece in 1usize..30) {
        let pieces = [
            client(b"get a\r\n"), client(b"set a 0 0 2\r\nhi\r\n"), client(b"mg a q\r\n"), client(b"mn\r\n"), client(b"stats\r\n"),
            client(packet(0x80, 0x0d, 0, 2, &[], "k", "")), client(packet(0x80, 0x10, 0, 2, &[], "", "")), client(b"set a 0 0 9999\r\n").captured(12),
            server(b"END\r\n"), server(b"VALUE a 0 2\r\nhi\r\n"), server(b"STORED\r\n"), server(b"HD\r\n"), server(b"MN\r\n"),
            server(packet(0x81, 0x0d, 0, 2, &[0; 4], "k", "v")), server(packet(0x81, 0x10, 0, 2, &[], "k", "v")), server(b"STAT a b\r\n"),
        ];
        let turns: Vec<Turn> = order.iter().map(|&number| pieces[number].clone()).collect();
        play_as(&turns, true, piece, Some(Protocol::Memcached));
    }
}

#[test]
fn recordings_hold_what_is_known_of_them() {
    crate::protocol::harness::check(Protocol::Memcached);
}
