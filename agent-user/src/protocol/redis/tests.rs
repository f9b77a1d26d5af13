use proptest::prelude::*;

use crate::protocol::scripted::{Turn, client, expect, play, play_as, play_in, server};
use crate::protocol::{Protocol, Value};

fn command(arguments: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        bytes += &format!("${}\r\n{argument}\r\n", argument.len());
    }
    bytes.into_bytes()
}

#[test]
fn each_command_of_a_pipeline_is_an_exchange() {
    let pipeline = [
        command(&["SET", "user:1", "secret"]),
        command(&["get", "user:1"]),
        command(&["LRANGE", "l", "0", "-1"]),
    ];
    let turns = [
        client(pipeline.concat()),
        server(b"+OK\r\n$6\r\nsecret\r\n*2\r\n$1\r\na\r\n*1\r\n:3\r\n"),
        client(command(&["GET", "none"])),
        server(b"$-1\r\n"),
        client(command(&["INCR", "user:1"])),
        server(b"-WRONGTYPE Operation against a key\r\n"),
        client([command(&["MULTI"]), command(&["DEL", "a"]), command(&["EXEC"])].concat()),
        server(b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n"),
        client(command(&["CONFIG", "GET", "maxmemory"])),
        server(b"%1\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n"),
        client(b"PING\r\n"),
        server(b"+PONG\r\n"),
    ];
    let played = expect(
        Protocol::Redis,
        &turns,
        &[
            "SET user:1 -> OK",
            "GET user:1 -> ",
            "LRANGE l -> ",
            "GET none -> nil",
            "INCR user:1 -> WRONGTYPE !Operation against a key",
            "MULTI -> OK",
            "DEL a -> QUEUED",
            "EXEC -> ",
            "CONFIG GET -> ",
            "PING -> PONG",
        ],
    );
    assert_eq!(
        played.attribute(0, "db.query.text"),
        Some(Value::Text("SET user:1 ?".into()))
    );
    assert_eq!(played.attribute(0, "db.namespace"), Some(Value::Text("0".into())));
    assert_eq!(
        played.attribute(2, "db.response.returned_rows"),
        Some(Value::Int(2))
    );
    assert_eq!(played.exchanges[1].response_bytes, 12);
    assert_eq!(
        played.exchanges[0].request_bytes,
        command(&["SET", "user:1", "secret"]).len() as u64
    );
}

#[test]
fn a_connection_older_than_the_agent_is_read_at_once() {
    let turns = [
        server(b"$-1\r\n"),
        client(command(&["GET", "k"])),
        server(b"$1\r\nv\r\n"),
        client(command(&["GET", "k2"])),
        server(b"$1\r\nv\r\n"),
    ];
    for first in [0, 1] {
        let played = play(&turns[first..], false, usize::MAX);
        assert_eq!(played.lines, ["GET k -> ", "GET k2 -> "]);
        assert!(played.losses.is_zero());
    }
}

#[test]
fn replies_to_unseen_commands_are_not_given_to_others() {
    // A multiplexing client: two replies are still to come when it is joined.
    let turns = [
        client(command(&["GET", "mine"])),
        server(b":5\r\n"),
        server(b"+OK\r\n"),
        server(b"$1\r\nv\r\n"),
    ];
    let played = play(&turns, false, usize::MAX);
    assert_eq!(played.lines, ["GET mine -> "]);
    assert_eq!(played.exchanges[0].response_bytes, 7);
}

#[test]
fn replies_to_commands_behind_a_cut_write_are_not_given_to_later_ones() {
    let pipeline = [
        command(&["MULTI"]),
        command(&["SET", "a", "1"]),
        command(&["INCR", "a"]),
        command(&["INCR", "a"]),
        command(&["EXEC"]),
    ]
    .concat();
    let seen = pipeline.len() - command(&["EXEC"]).len() - command(&["INCR", "a"]).len() - 4;
    let turns = [
        client(&pipeline).captured(seen),
        server(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n:2\r\n:3\r\n"),
        client(command(&["SET", "b", "2"])),
        server(b"+OK\r\n"),
        client(command(&["INCR", "c"])),
        server(b"-WRONGTYPE no\r\n"),
    ];
    let played = play(&turns, true, usize::MAX);
    assert_eq!(
        played.lines[3..],
        ["SET b -> OK", "INCR c -> WRONGTYPE !no"],
        "{:?}",
        played.lines
    );
}

#[test]
fn who_asks_is_known_in_the_middle_of_a_value() {
    use crate::event::Role;
    let set = command(&["SET", "k", &"x".repeat(9_000)]);
    let turns = [
        client(&set[3_000..5_000]),
        client(&set[5_000..]),
        server(b"+OK\r\n"),
        client(command(&["HGETALL", "h"])),
        server(b"*2\r\n$4\r\nname\r\n$3\r\nbob\r\n"),
        client(command(&["GET", "k"])),
        server(b"$-1\r\n"),
    ];
    for role in [Role::Server, Role::Unknown] {
        assert_eq!(
            play_in(role, &turns, false, usize::MAX, None).lines,
            ["HGETALL h -> ", "GET k -> nil"]
        );
    }
}

#[test]
fn messages_to_subscribers_are_one_way() {
    let turns = [
        client(command(&["SUBSCRIBE", "news", "sport"])),
        server(
            b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$5\r\nsport\r\n:2\r\n",
        ),
        server(b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$6\r\nsecret\r\n"),
        server(b"*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$6\r\nsecret\r\n"),
        client(command(&["PING"])),
        server(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
    ];
    expect(
        Protocol::Redis,
        &turns,
        &[
            "SUBSCRIBE news -> ",
            "MESSAGE news -> ",
            "PMESSAGE news -> ",
            "PING -> ",
        ],
    );
    let resp3 = [
        client(command(&["HELLO", "3", "AUTH", "u", "secret"])),
        server(b"%1\r\n$5\r\nproto\r\n:3\r\n"),
        client(command(&["GET", "k"])),
        server(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nx\r\n|1\r\n+ttl\r\n:5\r\n$1\r\nv\r\n>3\r\n+message\r\n+c\r\n+x\r\n"),
        client(command(&["GET", "k2"])),
        server(b"$?\r\n;4\r\nHell\r\n;0\r\n"),
    ];
    let played = expect(Protocol::Redis, &resp3, &["HELLO -> ", "GET k -> ", "GET k2 -> "]);
    assert_eq!(
        played.attribute(0, "db.query.text"),
        Some(Value::Text("HELLO ? ? ? ?".into()))
    );
}

#[test]
fn silenced_commands_and_replicas_are_understood() {
    let turns = [
        client(
            [
                command(&["CLIENT", "REPLY", "SKIP"]),
                command(&["SET", "a", "1"]),
                command(&["SET", "b", "1"]),
            ]
            .concat(),
        ),
        server(b"+OK\r\n"),
        client(
            [
                command(&["CLIENT", "REPLY", "OFF"]),
                command(&["DEL", "c"]),
                command(&["CLIENT", "REPLY", "ON"]),
            ]
            .concat(),
        ),
        server(b"+OK\r\n"),
    ];
    let lines = [
        "CLIENT REPLY -> ",
        "SET a -> ",
        "SET b -> OK",
        "CLIENT REPLY -> ",
        "DEL c -> ",
        "CLIENT REPLY -> OK",
    ];
    expect(Protocol::Redis, &turns, &lines);
    let replica = [
        client(command(&["PSYNC", "?", "-1"])),
        server(b"+FULLRESYNC abc 0\r\n$5\r\nREDIS*1\r\n$4\r\nPING\r\n"),
        client(command(&["REPLCONF", "ACK", "0"])),
    ];
    let played = play(&replica, true, usize::MAX);
    assert_eq!(played.lines, ["PSYNC -> FULLRESYNC abc 0"]);
}

#[test]
fn keys_are_found_where_each_command_has_them() {
    for (arguments, target) in [
        (&["EVAL", "return 1", "1", "k", "v"][..], "k"),
        (&["EVALSHA", "abc", "0"], ""),
        (&["OBJECT", "ENCODING", "k"], "k"),
        (&["XREAD", "COUNT", "2", "STREAMS", "s", "0"], "s"),
        (&["BITOP", "AND", "d", "a"], "d"),
        (&["AUTH", "secret"], ""),
        (&["PUBLISH", "news", "x"], "news"),
        (&["KEYS", "*"], ""),
    ] {
        let played = play(
            &[client(command(arguments)), server(b"+OK\r\n")],
            true,
            usize::MAX,
        );
        assert_eq!(played.exchanges[0].request.target, target, "{arguments:?}");
    }
}

#[test]
fn long_values_need_not_be_captured() {
    let value = "x".repeat(50_000);
    let set = command(&["SET", "k", &value]);
    let mset = command(&["MSET", "a", &value, "b", &value]);
    let reply = format!("${}\r\n{value}\r\n", value.len());
    let turns = [
        client(&set).captured(100),
        server(b"+OK\r\n"),
        client(&mset).captured(100),
        server(b"+OK\r\n"),
        client(command(&["GET", "k"])),
        server(&reply).captured(50),
        client(command(&["MGET", "a", "b"])),
        server(format!("*2\r\n{reply}{reply}")).captured(50),
        client(command(&["GET", "last"])),
        server(b"$-1\r\n"),
    ];
    let played = play(&turns, true, usize::MAX);
    assert_eq!(
        played.lines,
        [
            "SET k -> OK",
            "MSET a -> OK",
            "GET k -> ",
            "MGET a ->  (lost)",
            "GET last -> nil"
        ]
    );
    assert_eq!(played.exchanges[0].request_bytes, set.len() as u64);
    assert_eq!(played.exchanges[1].request_bytes, mset.len() as u64);
    assert_eq!(played.exchanges[2].response_bytes, reply.len() as u64);
    assert_eq!(played.losses.resyncs, 0);
    // The same, seen whole and in pieces.
    let whole: Vec<Turn> = [
        client(&set),
        server(b"+OK\r\n"),
        client(&mset),
        server(b"+OK\r\n"),
        client(command(&["MGET", "a", "b"])),
        server(format!("*2\r\n{reply}{reply}")),
    ]
    .to_vec();
    let again = play(&whole, true, 999);
    assert_eq!(again.lines, ["SET k -> OK", "MSET a -> OK", "MGET a -> "]);
    assert_eq!(again.exchanges[1].request_bytes, mset.len() as u64);
    assert!(again.losses.is_zero());
}

#[test]
fn a_command_of_many_arguments_is_known_by_its_first() {
    let keys: Vec<String> = (0..2_000).map(|number| format!("key:{number}")).collect();
    let mut arguments = vec!["MGET"];
    arguments.extend(keys.iter().map(String::as_str));
    let mget = command(&arguments);
    let turns = [
        client(&mget).captured(4_000),
        server(b"*1\r\n$-1\r\n"),
        client(command(&["GET", "k"])),
        server(b"$-1\r\n"),
    ];
    let played = play(&turns, true, usize::MAX);
    assert_eq!(played.lines, ["MGET key:0 -> ", "GET k -> nil"]);
    assert_eq!(
        play(&[client(&mget), server(b"*0\r\n")], true, 1_000).exchanges[0].request_bytes,
        mget.len() as u64
    );
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        writes in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..60)), 0..12),
        from_start: bool,
    ) {
        let turns: Vec<Turn> =
            writes.into_iter().map(|(is_client, bytes)| if is_client { client(bytes) } else { server(bytes) }).collect();
        play_as(&turns, from_start, 9, Some(Protocol::Redis));
    }

    #[test]
    fn elements_in_any_order_are_survived(order in proptest::collection::vec(0usize..16, 0..60), piece in 1usize..30) {
        let pieces = [
            client(command(&["GET", "k"])), client(command(&["MULTI"])), client(command(&["SUBSCRIBE", "c"])), client(b"*3\r\n"),
            client(b"$2000\r\n"), client(command(&["SET", "a", "hidden value"])).captured(20), client(b"PING\r\n"),
            server(b"+OK\r\n"), server(b"$-1\r\n"), server(b"*2\r\n"), server(b"$4\r\nabcd\r\n"), server(b"%1\r\n"),
            server(b">1\r\n"), server(b"*?\r\n"), server(b".\r\n"), server(b"*2\r\n$3\r\nabc\r\n$9\r\nhidden me\r\n").captured(8),
        ];
        let turns: Vec<Turn> = order.iter().map(|&number| pieces[number].clone()).collect();
        play_as(&turns, true, piece, Some(Protocol::Redis));
    }
}

#[test]
fn recordings_hold_what_is_known_of_them() {
    crate::protocol::harness::check(Protocol::Redis);
}
