//! Recorded connections, and what real servers seldom do.

use super::*;
use crate::protocol::scripted::{client, expect, server};
use crate::protocol::{Protocol, harness};
use Side::{Client as C, Server as S};

#[test]
fn recordings() {
    harness::check(Protocol::FastCgi);
    harness::check_nothing_missed_when_joined(Protocol::FastCgi);
}

fn record(kind: u8, id: u8, content: &[u8]) -> Vec<u8> {
    let padding = (8 - content.len() % 8) % 8;
    let header = [
        1,
        kind,
        0,
        id,
        (content.len() >> 8) as u8,
        content.len() as u8,
        padding as u8,
        0,
    ];
    [&header[..], content, &[0; 8][..padding]].concat()
}

fn param(name: &str, value: &str) -> Vec<u8> {
    [
        &[name.len() as u8, value.len() as u8],
        name.as_bytes(),
        value.as_bytes(),
    ]
    .concat()
}

fn walk(parser: &mut FastCgi, side: Side, bytes: &[u8]) -> Vec<String> {
    let (mut rest, mut said) = (bytes, Vec::new());
    while !rest.is_empty() {
        let used = match parser.parse(side, rest) {
            Step::Consumed(used) => used,
            Step::Skip(count) => count as usize,
            Step::Message { consumed, message } => {
                said.push(format!(
                    "{:?} {}{}{}",
                    message.pairing, message.operation, message.target, message.status
                ));
                consumed
            }
            Step::End { consumed, end } => {
                said.push(format!("end {:?}", end.id.unwrap()));
                consumed
            }
            other => {
                said.push(format!("{other:?}"));
                rest.len()
            }
        };
        rest = &rest[used.min(rest.len())..];
    }
    said
}

const BEGIN: [u8; 8] = [0, 1, 1, 0, 0, 0, 0, 0];

#[test]
fn requests_between_one_another_are_told_apart() {
    let client = [
        record(1, 1, &BEGIN),
        record(1, 2, &BEGIN),
        record(4, 1, &param("REQUEST_METHOD", "GET")),
        record(
            4,
            2,
            &[param("REQUEST_METHOD", "POST"), param("SCRIPT_NAME", "/b.php")].concat(),
        ),
        record(4, 1, &param("REQUEST_URI", "/a?x=1")),
        record(4, 2, &[]),
        record(4, 1, &[]),
        record(5, 1, &[]),
        record(5, 2, b"body"),
        record(5, 2, &[]),
    ]
    .concat();
    let mut parser = FastCgi::default();
    let said = walk(&mut parser, C, &client);
    assert_eq!(said, ["Id(2) POST/b.php", "Id(1) GET/a", "end 1", "end 2"]);
    let server = [
        record(6, 2, b"Status: 503 Busy\r\n\r\n"),
        record(7, 1, b"a warning"),
        record(3, 2, &[0; 8]),
        record(3, 1, &[0, 0, 0, 0, 2, 0, 0, 0]),
    ]
    .concat();
    assert_eq!(
        walk(&mut parser, S, &server),
        ["Id(2) 503", "end 2", "Id(1) OVERLOADED"]
    );
    assert!(parser.requests.is_empty());
}

#[test]
fn an_id_used_again_is_another_request() {
    let request = [
        record(1, 1, &BEGIN),
        record(4, 1, &param("REQUEST_URI", "/a")),
        record(4, 1, &[]),
    ]
    .concat();
    let mut parser = FastCgi::default();
    assert_eq!(walk(&mut parser, C, &request), ["Id(1) /a"]);
    assert_eq!(walk(&mut parser, C, &request), ["Id(2) /a"]);
    assert_eq!(
        walk(&mut parser, S, &record(6, 1, b"X: y\r\n\r\n")),
        ["Id(2) 200"]
    );
}

#[test]
fn a_connection_may_begin_with_a_question_about_the_application() {
    let turns = [
        client(record(9, 0, &param("FCGI_MPXS_CONNS", ""))),
        server(record(10, 0, &param("FCGI_MPXS_CONNS", "1"))),
        client(
            [
                record(1, 1, &BEGIN),
                record(4, 1, &param("REQUEST_URI", "/a")),
                record(4, 1, &[]),
                record(5, 1, &[]),
            ]
            .concat(),
        ),
        server([record(6, 1, b"X: y\r\n\r\n"), record(3, 1, &[0; 8])].concat()),
    ];
    expect(Protocol::FastCgi, &turns, &[" /a -> 200"]);
}

#[test]
fn the_tables_are_bounded() {
    let mut parser = FastCgi::default();
    for id in 0..=255 {
        walk(&mut parser, C, &record(1, id.max(1), &BEGIN));
        walk(&mut parser, C, &record(4, id.max(1), &vec![0; 60_000]));
        walk(&mut parser, C, &record(4, id.max(1), &vec![0; 60_000]));
    }
    assert!(parser.requests.len() <= MAX_REQUESTS);
    assert!(
        parser
            .requests
            .values()
            .all(|request| request.params.len() <= MAX_PARAMS_BYTES)
    );
}
