use proptest::prelude::*;

use crate::protocol::scripted::{Turn, client, expect, play, server};
use crate::protocol::{Protocol, Value};

/// A frame of a type with a body.
fn frame(kind: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut frame = vec![kind];
    frame.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', format!("{sql}\0"))
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    frame(b'P', format!("{name}\0{sql}\0\0\0"))
}

fn bind(portal: &str, name: &str) -> Vec<u8> {
    frame(b'B', format!("{portal}\0{name}\0\0\0\0\0\0\0"))
}

fn execute(portal: &str) -> Vec<u8> {
    frame(b'E', format!("{portal}\0\0\0\0\0"))
}

fn sync() -> Vec<u8> {
    frame(b'S', "")
}

fn tag(tag: &str) -> Vec<u8> {
    frame(b'C', format!("{tag}\0"))
}

fn ready() -> Vec<u8> {
    frame(b'Z', "I")
}

fn row(value: &str) -> Vec<u8> {
    frame(
        b'D',
        [&[0, 1][..], &(value.len() as u32).to_be_bytes(), value.as_bytes()].concat(),
    )
}

fn description() -> Vec<u8> {
    frame(b'T', [&[0, 1][..], b"a\0", &[0; 18]].concat())
}

fn error(code: &str, text: &str) -> Vec<u8> {
    frame(b'E', format!("SERROR\0VERROR\0C{code}\0M{text}\0\0"))
}

fn startup() -> Vec<Turn> {
    let body = b"\0\x03\0\0user\0u\0database\0shop\0\0";
    let mut packet = (body.len() as u32 + 4).to_be_bytes().to_vec();
    packet.extend_from_slice(body);
    vec![
        client([0, 0, 0, 8, 4, 210, 22, 47]),
        server(b"N"),
        client(packet),
        server([frame(b'R', [0, 0, 0, 5, 1, 2, 3, 4])].concat()),
        client(frame(b'p', "md5secret\0")),
        server(
            [
                frame(b'R', [0; 4]),
                frame(b'S', "server_version\x0015\0"),
                frame(b'K', [0; 8]),
                ready(),
            ]
            .concat(),
        ),
    ]
}

fn session(turns: impl IntoIterator<Item = Turn>) -> Vec<Turn> {
    startup().into_iter().chain(turns).collect()
}

#[test]
fn simple_queries_are_one_exchange_each() {
    let turns = session([
        client(query("BEGIN")),
        server([tag("BEGIN"), ready()].concat()),
        client(query("SELECT a FROM t WHERE b = 'x'")),
        server([description(), row("1"), row("2"), tag("SELECT 2"), ready()].concat()),
        client(query("UPDATE t SET a = 1; DELETE FROM t")),
        server([tag("UPDATE 3"), tag("DELETE 2"), ready()].concat()),
        client(query("")),
        server([frame(b'I', ""), ready()].concat()),
        client(query("SELECT * FROM nope")),
        server([error("42P01", "relation \"nope\" does not exist"), ready()].concat()),
        client(frame(b'X', "")),
    ]);
    let played = expect(
        Protocol::PostgreSql,
        &turns,
        &[
            "BEGIN BEGIN -> BEGIN",
            "SELECT SELECT a FROM t WHERE b = ? -> SELECT 2",
            "UPDATE UPDATE t SET a = ?; DELETE FROM t -> DELETE 2",
            " -> ",
            "SELECT SELECT * FROM nope -> 42P01 !relation \"nope\" does not exist",
        ],
    );
    assert_eq!(
        played.attribute(1, "db.namespace"),
        Some(Value::Text("shop".into()))
    );
    assert_eq!(
        played.attribute(1, "db.collection.name"),
        Some(Value::Text("t".into()))
    );
    assert_eq!(
        played.attribute(1, "db.response.returned_rows"),
        Some(Value::Int(2))
    );
    assert_eq!(
        played.attribute(2, "db.response.affected_rows"),
        Some(Value::Int(5))
    );
    assert_eq!(
        played.attribute(2, "db.operation.batch.size"),
        Some(Value::Int(2))
    );
}

#[test]
fn a_session_older_than_the_agent_is_read_at_once() {
    let turns = [
        client(query("SELECT 1")),
        server([description(), row("1"), tag("SELECT 1"), ready()].concat()),
        client([bind("", "unseen"), execute(""), sync()].concat()),
        server([frame(b'2', ""), tag("INSERT 0 1"), ready()].concat()),
    ];
    let played = play(&turns, false, usize::MAX);
    assert_eq!(
        played.lines,
        ["SELECT SELECT ? -> SELECT 1", "EXECUTE -> INSERT 0 1"]
    );
    assert!(played.losses.is_zero());
}

#[test]
fn a_result_under_way_when_joined_is_not_given_to_the_next_statement() {
    let turns = [
        server(b"some text in the middle of a row"),
        server([row("1"), tag("SELECT 10"), ready()].concat()),
        client(query("SELECT 2")),
        server([description(), row("1"), tag("SELECT 1"), ready()].concat()),
    ];
    let played = play(&turns, false, usize::MAX);
    assert_eq!(played.lines, ["SELECT SELECT ? -> SELECT 1"]);
}

#[test]
fn extended_statements_are_one_exchange_per_execute() {
    let prepare = [frame(b'1', ""), frame(b't', [0, 0]), description(), ready()].concat();
    let turns = session([
        // pgjdbc: all in one round.
        client(
            [
                parse("", "SELECT $1"),
                bind("", ""),
                frame(b'D', "P\0"),
                execute(""),
                sync(),
            ]
            .concat(),
        ),
        server(
            [
                frame(b'1', ""),
                frame(b'2', ""),
                description(),
                row("x"),
                tag("SELECT 1"),
                ready(),
            ]
            .concat(),
        ),
        // asyncpg, pgx: prepared in a round of its own.
        client(
            [
                parse("s1", "INSERT INTO t VALUES ($1)"),
                frame(b'D', "Ss1\0"),
                sync(),
            ]
            .concat(),
        ),
        server(prepare),
        client([bind("", "s1"), execute(""), sync()].concat()),
        server([frame(b'2', ""), tag("INSERT 0 1"), ready()].concat()),
        // A cursor, fetched twice.
        client([bind("c", "s1"), execute("c"), frame(b'H', "")].concat()),
        server([frame(b'2', ""), row("1"), frame(b's', "")].concat()),
        client([execute("c"), sync()].concat()),
        server([row("2"), tag("SELECT 1"), ready()].concat()),
    ]);
    let played = expect(
        Protocol::PostgreSql,
        &turns,
        &[
            "SELECT SELECT $1 -> SELECT 1",
            "PREPARE INSERT INTO t VALUES ($1) -> ",
            "INSERT INSERT INTO t VALUES ($1) -> INSERT 0 1",
            "INSERT INSERT INTO t VALUES ($1) -> PortalSuspended",
            "FETCH INSERT INTO t VALUES ($1) -> SELECT 1",
        ],
    );
    let round = [
        parse("", "SELECT $1"),
        bind("", ""),
        frame(b'D', "P\0"),
        execute(""),
    ]
    .concat();
    assert_eq!(played.exchanges[0].request_bytes, round.len() as u64);
}

#[test]
fn an_error_aborts_the_pipeline_until_sync() {
    let one = |sql: &str| [parse("", sql), bind("", ""), execute("")].concat();
    let turns = session([
        client(
            [
                one("INSERT 1"),
                one("INSERT bad"),
                one("INSERT 3"),
                sync(),
                one("SELECT 4"),
                sync(),
            ]
            .concat(),
        ),
        server(
            [
                frame(b'1', ""),
                frame(b'2', ""),
                tag("INSERT 0 1"),
                frame(b'1', ""),
                error("23505", "duplicate key"),
            ]
            .concat(),
        ),
        server(
            [
                ready(),
                frame(b'1', ""),
                frame(b'2', ""),
                tag("SELECT 0"),
                ready(),
            ]
            .concat(),
        ),
        client([parse("bad", "SELEC"), frame(b'H', "")].concat()),
        server(error("42601", "syntax error at or near \"SELEC\"")),
        client(sync()),
        server(ready()),
    ]);
    let lines = [
        "INSERT INSERT ? -> INSERT 0 1",
        "INSERT INSERT bad -> 23505 !duplicate key",
        "INSERT INSERT ? ->  !not executed: an earlier statement of the pipeline failed",
        "SELECT SELECT ? -> SELECT 0",
        "PREPARE SELEC -> 42601 !syntax error at or near \"SELEC\"",
    ];
    expect(Protocol::PostgreSql, &turns, &lines);
}

#[test]
fn copy_notifications_and_notices_do_not_disturb() {
    let notice = frame(b'N', "SNOTICE\0C00000\0Mhi\0\0");
    let turns = session([
        client(query("COPY t FROM STDIN")),
        server(frame(b'G', [0, 0, 0])),
        client([frame(b'd', "1\t2\n"), frame(b'd', "3\t4\n"), frame(b'c', "")].concat()),
        server([tag("COPY 2"), ready()].concat()),
        client(query("COPY t TO STDOUT")),
        server(
            [
                frame(b'H', [0, 0, 0]),
                frame(b'd', "1\n"),
                frame(b'c', ""),
                tag("COPY 1"),
                ready(),
            ]
            .concat(),
        ),
        client([parse("", "COPY t FROM STDIN"), bind("", ""), execute(""), sync()].concat()),
        server([frame(b'1', ""), frame(b'2', ""), frame(b'G', [0, 0, 0])].concat()),
        client([frame(b'd', "1\n"), frame(b'c', ""), sync()].concat()),
        server([tag("COPY 1"), ready()].concat()),
        server(
            [
                notice.clone(),
                frame(b'A', [&[0, 0, 0, 7][..], b"orders\0secret\0"].concat()),
            ]
            .concat(),
        ),
        client(query("LISTEN orders")),
        server([notice, tag("LISTEN"), ready()].concat()),
    ]);
    let played = expect(
        Protocol::PostgreSql,
        &turns,
        &[
            "COPY COPY t FROM STDIN -> COPY 2",
            "COPY COPY t TO STDOUT -> COPY 1",
            "COPY COPY t FROM STDIN -> COPY 1",
            "NOTIFY orders -> ",
            "LISTEN LISTEN orders -> LISTEN",
        ],
    );
    assert_eq!(
        played.attribute(0, "db.response.affected_rows"),
        Some(Value::Int(2))
    );
}

#[test]
fn refused_and_ended_sessions_are_told() {
    let mut turns = startup();
    turns.truncate(5);
    turns.push(server(frame(
        b'E',
        "SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"u\"\0\0",
    )));
    expect(
        Protocol::PostgreSql,
        &turns,
        &["CONNECT -> 28P01 !password authentication failed for user \"u\""],
    );
    let turns = session([server(frame(
        b'E',
        "SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0",
    ))]);
    expect(
        Protocol::PostgreSql,
        &turns,
        &["TERMINATE -> 57P01 !terminating connection"],
    );
}

#[test]
fn encryption_and_replication_end_what_can_be_read() {
    let tls = [
        client([0, 0, 0, 8, 4, 210, 22, 47]),
        server(b"S"),
        client(b"\x16\x03\x01\0\x05hello"),
        server(b"\x16\x03\x03"),
    ];
    let played = play(&tls, true, usize::MAX);
    assert!(played.lines.is_empty() && played.losses.is_zero());
    let turns = session([
        client(query("START_REPLICATION SLOT \"s\" LOGICAL 0/0")),
        server(frame(b'W', [0, 0, 0])),
        server(frame(b'd', [b'w'; 100])),
        client(frame(b'd', [b'r'; 34])),
    ]);
    expect(
        Protocol::PostgreSql,
        &turns,
        &["START_REPLICATION START_REPLICATION SLOT \"s\" LOGICAL ?/? -> "],
    );
    let cancel = [client([0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2])];
    expect(Protocol::PostgreSql, &cancel, &["CANCEL -> "]);
}

#[test]
fn long_statements_and_rows_need_not_be_captured() {
    let long = format!("INSERT INTO t VALUES ('{}')", "x".repeat(20_000));
    let rows = [description(), row(&"y".repeat(50_000)), tag("SELECT 1"), ready()].concat();
    let turns = session([
        client(query(&long)).captured(1_000),
        server([tag("INSERT 0 1"), ready()].concat()),
        client(query("SELECT y FROM t")),
        server(&rows[..8_192]).captured(100),
        server(&rows[8_192..49_000]).captured(10),
        server(&rows[49_000..]),
        client([parse("", &long), bind("", ""), execute(""), sync()].concat()).captured(2_000),
    ]);
    let played = play(&turns, true, usize::MAX);
    assert_eq!(played.lines[0], "INSERT INSERT INTO t VALUES (?… -> INSERT 0 1");
    assert_eq!(played.exchanges[0].request_bytes, query(&long).len() as u64);
    assert_eq!(played.lines[1], "SELECT SELECT y FROM t -> SELECT 1");
    assert_eq!(played.exchanges[1].response_bytes, rows.len() as u64);
}

#[test]
fn a_result_whose_middle_is_missing_still_ends() {
    let mut rows = description();
    for number in 0..2_000 {
        rows.extend(row(&format!("value {number}")));
    }
    let whole = [rows.clone(), tag("SELECT 2000"), ready()].concat();
    let tail = whole.len() - 3_000;
    // The end is seen.
    let turns = session([
        client(query("SELECT a FROM t")),
        server(&whole[..8_192]).captured(1_000),
        server(&whole[8_192..tail]).captured(1_000),
        server(&whole[tail..]),
        client(query("SELECT 1")),
        server([tag("SELECT 1"), ready()].concat()),
    ]);
    let played = play(&turns, true, usize::MAX);
    assert_eq!(
        played.lines,
        [
            "SELECT SELECT a FROM t -> SELECT 2000",
            "SELECT SELECT ? -> SELECT 1"
        ]
    );
    assert_eq!(played.exchanges[0].response_bytes, whole.len() as u64);
    assert_eq!(played.losses.resyncs, 0);
    // It is not: the next statement says that it came.
    let turns = session([
        client([parse("", "SELECT a FROM t"), bind("", ""), execute(""), sync()].concat()),
        server([frame(b'1', ""), frame(b'2', ""), whole.clone()].concat()).captured(1_000),
        client(query("SELECT 1")),
        server([tag("SELECT 1"), ready()].concat()),
        client(query("SELECT 2")),
        server([tag("SELECT 2"), ready()].concat()),
    ]);
    let played = play(&turns, true, usize::MAX);
    assert_eq!(
        played.lines,
        [
            "SELECT SELECT a FROM t ->  (lost)",
            "SELECT SELECT ? -> SELECT 1",
            "SELECT SELECT ? -> SELECT 2"
        ]
    );
}

#[test]
fn answers_that_overtook_their_requests_wait() {
    let turns = session([
        server([tag("SELECT 1"), ready()].concat()),
        client(query("SELECT 1")),
        client(query("SELECT 2")),
        server([tag("SELECT 2"), ready()].concat()),
    ]);
    let played = play(&turns, true, usize::MAX);
    assert!(
        played.lines.contains(&"SELECT SELECT ? -> SELECT 2".to_owned()),
        "{:?}",
        played.lines
    );
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        writes in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..80)), 0..12),
        from_start: bool,
        prefix in 0usize..7,
    ) {
        let mut turns: Vec<Turn> = startup().into_iter().take(prefix).collect();
        turns.extend(writes.into_iter().map(|(is_client, bytes)| if is_client { client(bytes) } else { server(bytes) }));
        let played = super::super::scripted::play_as(&turns, from_start, 9, Some(Protocol::PostgreSql));
        prop_assert!(played.exchanges.len() < 200);
    }

    #[test]
    fn known_frames_in_any_order_are_survived(order in proptest::collection::vec(0usize..18, 0..60), piece in 1usize..40) {
        let frames = [
            client(query("SELECT 1")), client(parse("s", "SELECT 1")), client(bind("", "s")), client(execute("")),
            client(sync()), client(frame(b'D', "Ss\0")), client(frame(b'H', "")), client(frame(b'c', "")),
            server(frame(b'1', "")), server(frame(b'2', "")), server(row("1")), server(tag("SELECT 1")),
            server(ready()), server(error("42601", "no")), server(description()), server(frame(b'G', [0, 0, 0])),
            server(row("hidden row, cut in the middle")).captured(9), client(query("SELECT hidden")).captured(9),
        ];
        let turns: Vec<Turn> = startup().into_iter().chain(order.iter().map(|&number| frames[number].clone())).collect();
        play(&turns, true, piece);
    }
}

#[test]
fn recordings_hold_what_is_known_of_them() {
    crate::protocol::harness::check(Protocol::PostgreSql);
}
