//! Both sides of hand-made connections, step by step. Recorded ones are in `tests/wire/http`.

use super::*;
use crate::protocol::{Outcome, Value};

/// Shows each turn whole and writes down what the parser says of it.
fn walk(parser: &mut Http1, turns: &[(Side, &str)]) -> Vec<String> {
    let mut said = Vec::new();
    for (side, bytes) in turns {
        let mut rest = bytes.as_bytes();
        while !rest.is_empty() {
            let step = parser.parse(*side, rest);
            let used = match &step {
                Step::Consumed(used) => *used,
                Step::Skip(count) => (*count).min(rest.len() as u64) as usize,
                Step::Message { consumed, message } => {
                    let skipped = if let Ends::After(count) = message.ends {
                        count as usize
                    } else {
                        0
                    };
                    (consumed + skipped).min(rest.len())
                }
                Step::End { consumed, .. } | Step::Unread { consumed, .. } => *consumed,
                Step::NeedMore
                | Step::AwaitPeer
                | Step::Unseen { .. }
                | Step::HandOver { .. }
                | Step::Lost(_) => rest.len(),
            };
            said.push(match step {
                Step::Message { message, .. } => {
                    let text = format!("{}{}{}", message.operation, message.status, message.target);
                    format!("{text} {:?}", message.ends)
                }
                Step::End { .. } => "end".to_owned(),
                other => format!("{other:?}"),
            });
            rest = &rest[used..];
        }
    }
    said
}

fn said(turns: &[(Side, &str)]) -> Vec<String> {
    walk(&mut Http1::default(), turns)
}

use Side::{Client as C, Server as S};

const GET: (Side, &str) = (C, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");

#[test]
fn keep_alive_and_pipelining() {
    let two = (
        C,
        "GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    );
    let answers = (
        S,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(
        said(&[two, answers]),
        ["GET/a Here", "POST/b After(3)", "200 After(2)", "404 Here"]
    );
}

#[test]
fn responses_without_body_whatever_their_headers_say() {
    let head = (C, "HEAD /a HTTP/1.1\r\n\r\n");
    assert_eq!(
        said(&[head, (S, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")])[1],
        "200 Here"
    );
    assert_eq!(
        said(&[GET, (S, "HTTP/1.1 304 N\r\nContent-Length: 99\r\n\r\n")])[1],
        "304 Here"
    );
    assert_eq!(
        said(&[GET, (S, "HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n")])[1],
        "204 Here"
    );
    let interim = (
        S,
        "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    );
    assert_eq!(
        said(&[GET, interim])[1..],
        ["100 Here", "103 Here", "200 After(1)"]
    );
}

#[test]
fn bodies_that_end_with_a_chunk_or_with_the_connection() {
    let chunked = (
        S,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    );
    assert_eq!(said(&[GET, chunked])[1..], ["200 Later", "end"]);
    let mut parser = Http1::default();
    walk(&mut parser, &[GET, (S, "HTTP/1.0 200 OK\r\n\r\nbody")]);
    assert!(parser.gap(S, 100) == Recovery::Continue && parser.closed(S).is_some());
}

#[test]
fn faulty_framing_is_not_guessed_at() {
    for fields in [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: +3",
        "Content-Length: 3x",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    ] {
        let request = format!("POST /a HTTP/1.1\r\n{fields}\r\n\r\nabc");
        assert_eq!(
            said(&[(C, &request)]),
            ["POST/a Later", "Lost(Malformed)"],
            "{fields}"
        );
    }
    let old = (
        C,
        "POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    assert_eq!(said(&[old])[1], "Lost(Malformed)");
    let plain = "POST /a HTTP/1.1\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(said(&[(C, plain)]), ["POST/a After(3)"]);
    // Both present: the transfer coding counts (RFC 9112 section 6.3). Equal lengths are one.
    let both = (
        C,
        "POST /a HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    assert_eq!(said(&[both]), ["POST/a Later", "end"]);
    assert_eq!(
        said(&[(C, "POST /a HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc")]),
        ["POST/a After(3)"]
    );
}

#[test]
fn an_expected_body_comes_only_if_it_is_wanted() {
    use crate::protocol::scripted::{client, play, server};
    let asking = "PUT /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 30\r\n\r\n";
    let chunked = "PUT /c HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    let refused = "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n";
    let done = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    let body = "GET /looks/like/a/head HTTP/1.";
    let turns = [
        client(asking),
        server(refused),
        client("GET /b HTTP/1.1\r\nHost: h\r\n\r\n"),
        server("HTTP/1.1 204 N\r\n\r\n"),
        client(chunked),
        server(refused),
        client(asking),
        server("HTTP/1.1 100 Continue\r\n\r\n"),
        client(body),
        server(done),
        // It does not wait.
        client(chunked),
        client("1e\r\nGET /looks/like/a/head HTTP/1.\r\n0\r\n\r\n"),
        server(done),
        client(GET.1),
        server(done),
    ];
    let played = play(&turns, true, usize::MAX);
    let lines = [
        "PUT /a -> 417",
        "GET /b -> 204",
        "PUT /c -> 417",
        "PUT /a -> 201",
        "PUT /c -> 201",
        "GET /a -> 201",
    ];
    assert_eq!(played.lines, lines);
    assert!(played.losses.is_zero(), "{:?}", played.losses);
    assert_eq!(played.exchanges[3].request_bytes, (asking.len() + 30) as u64);
    assert_eq!(play(&turns, true, 11).lines, lines);
}

#[test]
fn a_tunnel_and_an_upgrade_hand_over_on_both_sides() {
    let connect = (C, "CONNECT h:443 HTTP/1.1\r\n\r\n");
    let refused = [
        connect,
        (C, "x"),
        (S, "HTTP/1.1 403 F\r\nContent-Length: 0\r\n\r\n"),
        GET,
    ];
    assert_eq!(
        said(&refused),
        ["CONNECTh:443 Here", "AwaitPeer", "403 Here", "GET/a Here"]
    );
    let opened = [connect, (S, "HTTP/1.1 200 Established\r\n\r\n"), (C, "\x16")];
    assert_eq!(
        said(&opened)[1..],
        ["200 Here", "HandOver { consumed: 0, to: Detect }"]
    );
    let upgrade = (
        C,
        "GET /a HTTP/1.1\r\nConnection: Upgrade, x\r\nUpgrade: other\r\n\r\n",
    );
    let switched = [upgrade, (S, "HTTP/1.1 101 S\r\nUpgrade: other\r\n\r\n"), (S, "?")];
    assert_eq!(
        said(&switched)[1..],
        ["101 Here", "HandOver { consumed: 0, to: Detect }"]
    );
}

#[test]
fn a_response_waits_for_its_request_unless_requests_were_lost() {
    let answer = (S, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let mut parser = Http1::default();
    assert_eq!(walk(&mut parser, &[answer]), ["AwaitPeer"]);
    parser.gap(C, 10);
    assert_eq!(walk(&mut parser, &[answer]), ["200 Here"]);
}

#[test]
fn a_cut_off_head_is_named_by_what_is_there() {
    let mut parser = Http1::default();
    let bytes = b"GET /long?token=s HTTP/1.1\r\nHost: h:81\r\nCookie: aaaaaaaa";
    assert!(matches!(parser.parse(C, bytes), Step::NeedMore));
    let Step::Message { consumed, message } = parser.cut(C, bytes) else {
        panic!("no message")
    };
    assert_eq!(
        (consumed, message.ends, message.target.as_str()),
        (bytes.len(), Ends::Here, "/long")
    );
    assert!(message.attributes.contains(&("server.port", Value::Int(81))));
    assert!(
        message
            .attributes
            .contains(&("url.query", Value::Text("token=REDACTED".into())))
    );
    assert_eq!(parser.gap(C, 5000), Recovery::Continue);
    let Step::Message { message, .. } = parser.cut(S, b"HTTP/1.1 503 Busy\r\nSet-Cookie: a") else {
        panic!("no message")
    };
    assert_eq!(
        (message.status.as_str(), message.outcome),
        ("503", Outcome::Error("".into()))
    );
    let Step::Message { message, .. } = Http1::default().cut(C, b"GET /only/part") else {
        panic!("no message")
    };
    assert_eq!(message.target, "/only/part…");
}

#[test]
fn targets_of_every_form() {
    for (line, path, host) in [
        ("GET /p?q=1 HTTP/1.1", "/p", "h"),
        ("GET http://u:p@other:8080/p?q#f HTTP/1.1", "/p", "other"),
        ("GET http://other HTTP/1.1", "/", "other"),
        ("OPTIONS * HTTP/1.1", "*", "h"),
        ("CONNECT [::1]:443 HTTP/1.1", "[::1]:443", "::1"),
        ("GET /login?next=http://x/ HTTP/1.1", "/login", "h"),
    ] {
        let bytes = format!("{line}\r\nhOST: h\r\n\r\n");
        let Step::Message { message, .. } = Http1::default().parse(C, bytes.as_bytes()) else {
            panic!("{line}")
        };
        let address = message
            .attributes
            .iter()
            .find(|(name, _)| *name == "server.address")
            .map(|(_, value)| value);
        assert_eq!(
            (message.target.as_str(), address),
            (path, Some(&Value::Text(host.into()))),
            "{line}"
        );
    }
}

#[test]
fn odd_heads_that_servers_take_are_taken() {
    assert_eq!(said(&[(C, "\r\nGET /a HTTP/1.1\nHost: h\n\n")]), ["GET/a Here"]);
    assert_eq!(
        said(&[(C, "BREW /a HTTP/1.1\r\nA: b\r\n folded\r\n\r\n")]),
        ["BREW/a Here"]
    );
    assert_eq!(
        said(&[
            GET,
            (S, "HTTP/1.1 200\r\nX: a\r\n\tb\r\nContent-Length : 1\r\n\r\nx")
        ])[1],
        "200 After(1)"
    );
}

#[test]
fn a_target_with_spaces_is_read_as_it_should_have_been_written() {
    use crate::protocol::scripted::{client, play, server};
    let turns = [
        client("GET /my file.txt?q=a b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"),
        server("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        client("GET /next HTTP/1.1\r\nHost: a\r\n\r\n"),
        server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    let played = play(&turns, true, usize::MAX);
    assert_eq!(played.lines, ["GET /my%20file.txt -> 400", "GET /next -> 200"]);
    assert!(played.losses.is_zero());
    for other in [
        "NOTE to all HTTP/1.1\r\n",
        "GET  HTTP/1.1\r\n",
        "GET /a b HTTP/2.0\r\n",
    ] {
        assert_eq!(line::request_line(other.as_bytes()), line::Line::No, "{other}");
    }
}

#[test]
fn a_request_typed_key_by_key_is_recognised() {
    use crate::protocol::scripted::{client, play, server};
    let turns = [
        client("GET /typed/into/a/terminal HTTP/1.0\r\nHost: a\r\n\r\n"),
        server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    assert_eq!(play(&turns, true, 1).lines, ["GET /typed/into/a/terminal -> 200"]);
}

#[test]
fn recordings() {
    crate::protocol::harness::check(crate::protocol::Protocol::Http);
    crate::protocol::harness::check_nothing_missed_when_joined(crate::protocol::Protocol::Http);
}

#[test]
fn nothing_new_is_paired_once_pipelined_messages_were_lost() {
    let answer = (S, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let pairing = |parser: &mut Http1, (side, bytes): (Side, &str)| match parser.parse(side, bytes.as_bytes())
    {
        Step::Message { message, .. } => message.pairing,
        other => panic!("{other:?}"),
    };
    let mut parser = Http1::default();
    let (first, second) = (pairing(&mut parser, GET), pairing(&mut parser, GET));
    parser.gap(C, 10);
    pairing(&mut parser, GET);
    // What was asked before the loss is still answered in order.
    let answers: Vec<Pairing> = (0..3).map(|_| pairing(&mut parser, answer)).collect();
    assert_eq!(answers, [first, second, UNPAIRED]);
    let mut parser = Http1::default();
    walk(&mut parser, &[GET, GET]);
    parser.gap(S, 10);
    pairing(&mut parser, GET);
    assert_eq!(pairing(&mut parser, answer), UNPAIRED);
}
