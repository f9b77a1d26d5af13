//! Every way of sending and of receiving, over IPv4, IPv6 and Unix sockets, in every tier.

use std::{os::fd::AsFd, path::PathBuf};

use spanhound_agent::{
    event::Role,
    kernel::{Loss, TierChoice},
};
use spanhound_common::limits::{BUFFERS_MAX, GATHERED_BYTES_MAX};

use crate::{
    calls::{Captured, RECEIVES, Receive, SENDS, Send, part, throw_away, writev},
    observer::{Observer, TIERS, Told, in_every_tier},
    sockets::{Family, Pair, pattern, tcp, unix},
};

/// Small, around the sizes of the ring buffer's reservations, and beyond what one record carries.
const SIZES: &[usize] = &[1, 200, 1024, 5000, 40_000];

#[test]
fn syscall_tier() {
    every_way(TierChoice::Syscall);
}

#[test]
fn tracepoint_tier() {
    every_way(TierChoice::Tracepoint);
}

#[test]
fn kprobe_tier() {
    every_way(TierChoice::Kprobe);
}

#[test]
fn fentry_tier() {
    every_way(TierChoice::Fentry);
}

fn every_way(tier: TierChoice) {
    let Some(mut observer) = Observer::start(tier) else {
        return;
    };
    let mut failures = Vec::new();
    let (_, read, _) = RECEIVES[0];
    let (_, write, _) = SENDS[0];
    for family in [Family::V4, Family::V6] {
        for (name, send, captured) in SENDS {
            check(
                &mut observer,
                family,
                name,
                (*send, *captured),
                (read, Captured::All),
                &mut failures,
            );
        }
        for (name, receive, captured) in RECEIVES.iter().filter(|(name, ..)| !unseen(tier, name)) {
            check(
                &mut observer,
                family,
                name,
                (write, Captured::All),
                (*receive, *captured),
                &mut failures,
            );
        }
    }
    for (name, send, captured) in SENDS.iter().filter(|(name, ..)| *name != "zerocopy") {
        check_unix(
            &mut observer,
            name,
            (*send, *captured),
            (read, Captured::All),
            &mut failures,
        );
    }
    for (name, receive, captured) in RECEIVES.iter().filter(|(name, ..)| !unseen(tier, name)) {
        check_unix(
            &mut observer,
            name,
            (write, Captured::All),
            (*receive, *captured),
            &mut failures,
        );
    }
    if observer.is_excused(tier) {
        return;
    }
    assert!(
        failures.is_empty(),
        "{} of them:\n{}",
        failures.len(),
        failures.join("\n")
    );
    observer.nothing_lost(tier);
}

/// The sockets' own tracepoints do not fire for bytes spliced out of one.
fn unseen(tier: TierChoice, receive: &str) -> bool {
    tier == TierChoice::Tracepoint && receive == "splice"
}

/// Bytes that went past every hook show as a gap, and are counted when the connection closes.
#[test]
fn what_no_hook_saw_is_counted() {
    let (_, write, _) = SENDS[0];
    let (_, read, _) = RECEIVES[0];
    let (_, splice, _) = RECEIVES[RECEIVES.len() - 1];
    // The tracepoints of sockets by themselves, and with what stands beside them.
    for tier in TIERS.into_iter().chain([TierChoice::Auto]) {
        let Some(mut observer) = Observer::start(tier) else {
            continue;
        };
        let pair = tcp(Family::V4);
        let (client_port, server_port) = (pair.client_port, pair.server_port);
        for (receive, len) in [(read, 100), (splice, 1000), (read, 10)] {
            write(pair.client.as_fd(), &pattern(len));
            assert_eq!(receive(pair.server.as_fd(), len), pattern(len));
        }
        drop(pair);
        let (client, server) = observer.both_ends(client_port, server_port);
        if observer.is_excused(tier) {
            continue;
        }
        assert_eq!(client.sent.bytes.len(), 1110);
        let tier_sees = observer.data_tier() != Some("tracepoint")
            || observer.tier_of("bytes spliced out of sockets").is_some();
        let (jumps, lost) = if tier_sees {
            (vec![], 0)
        } else {
            (vec![(100, 1100)], 1000)
        };
        assert_eq!(server.received.jumps, jumps);
        assert_eq!(server.received.bytes.len(), 1110);
        let closed = server.closed.unwrap();
        assert_eq!((closed.received_bytes, closed.unseen_bytes), (Some(1110), lost));
        assert_eq!(observer.loss(Loss::UnseenBytes), lost);
    }
}

/// Of more parts than are looked at the first ones are captured, and all are counted, in every tier the same.
#[test]
fn of_very_many_parts_the_first_are_captured() {
    const EACH: usize = 10;
    let bytes = pattern(3 * BUFFERS_MAX as usize * EACH);
    let parts: Vec<_> = bytes.chunks(EACH).map(part).collect();
    let looked_at = BUFFERS_MAX as usize * EACH;
    let act = |observer: &mut Observer| {
        let pair = tcp(Family::V4);
        let (client_port, server_port) = (pair.client_port, pair.server_port);
        assert_eq!(writev(pair.client.as_fd(), &parts) as usize, bytes.len());
        assert_eq!((RECEIVES[0].1)(pair.server.as_fd(), bytes.len()), bytes);
        drop(pair);
        observer.both_ends(client_port, server_port)
    };
    in_every_tier(act, |tier, (client, _)| {
        let sent = &client.sent;
        assert!(sent.counts(&bytes), "{tier:?} {sent:?}");
        let captured = sent.bytes.iter().take_while(|byte| byte.is_some()).count();
        assert_eq!(captured, looked_at, "{tier:?} {sent:?}");
    });
}

/// What is thrown away unread (`MSG_TRUNC`) moves like any byte, and no buffer has it.
#[test]
fn bytes_thrown_away_are_counted() {
    let (_, write, _) = SENDS[0];
    let (_, read, _) = RECEIVES[0];
    let act = |observer: &mut Observer| {
        let pair = tcp(Family::V4);
        let (client_port, server_port) = (pair.client_port, pair.server_port);
        write(pair.client.as_fd(), &pattern(1000));
        throw_away(pair.server.as_fd(), 990);
        assert_eq!(read(pair.server.as_fd(), 10), pattern(1000)[990..]);
        drop(pair);
        observer.both_ends(client_port, server_port)
    };
    in_every_tier(act, |tier, (_, server)| {
        let received = &server.received;
        assert!(received.counts(&pattern(1000)), "{tier:?} {received:?}");
        assert!(received.bytes[990..].iter().all(Option::is_some), "{tier:?}");
    });
}

/// Sends in each of these ways what is received plainly, and receives in each of those what was sent plainly, through a pair
/// of its own (by number). Answers what was told otherwise.
pub(crate) fn failures(
    observer: &mut Observer,
    sends: impl Iterator<Item = (&'static str, Send, Captured)>,
    receives: impl Iterator<Item = (&'static str, Receive, Captured)>,
    pair: impl Fn(usize) -> Pair,
) -> Vec<String> {
    let (plain_send, plain_receive) = ((SENDS[0].1, Captured::All), (RECEIVES[0].1, Captured::All));
    let sends = sends.map(|(name, send, way)| (name, (send, way), plain_receive));
    let receives = receives.map(|(name, receive, way)| (name, plain_send, (receive, way)));
    let mut failures = Vec::new();
    for (number, (name, send, receive)) in sends.chain(receives).enumerate() {
        let pair = pair(number);
        let (client_port, server_port) = (pair.client_port, pair.server_port);
        let expected = exchange(pair, send.0, receive.0);
        let (client, server) = observer.both_ends(client_port, server_port);
        compare(&client, &server, &expected, send.1, receive.1, &mut |what| {
            failures.push(format!("{name}: {what}"));
        });
    }
    failures
}

type Sending = (Send, Captured);
type Receiving = (Receive, Captured);

fn check(
    observer: &mut Observer,
    family: Family,
    name: &str,
    send: Sending,
    receive: Receiving,
    failures: &mut Vec<String>,
) {
    let pair = tcp(family);
    let (client_port, server_port) = (pair.client_port, pair.server_port);
    let expected = exchange(pair, send.0, receive.0);
    let (client, server) = observer.both_ends(client_port, server_port);
    let mut fail = |what: String| failures.push(format!("{family:?} {name}: {what}"));
    compare(&client, &server, &expected, send.1, receive.1, &mut fail);
    let totals = |told: &Told| {
        told.closed
            .and_then(|closed| Some((closed.sent_bytes?, closed.received_bytes?)))
    };
    let len = expected.len() as u64;
    if totals(&client) != Some((len, 0)) || totals(&server) != Some((0, len)) {
        fail(format!(
            "totals {:?} and {:?}, not {len}",
            totals(&client),
            totals(&server)
        ));
    }
}

fn check_unix(
    observer: &mut Observer,
    name: &str,
    send: Sending,
    receive: Receiving,
    failures: &mut Vec<String>,
) {
    let path: PathBuf = std::env::temp_dir().join(format!("spanhound-{}-{name}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let expected = exchange(unix(&path), send.0, receive.0);
    let _ = std::fs::remove_file(&path);
    let (client, server) = observer.both_ends_of_path(&path.to_string_lossy(), expected.len());
    compare(&client, &server, &expected, send.1, receive.1, &mut |what| {
        failures.push(format!("unix {name}: {what}"))
    });
}

/// Moves every size from client to server; the bytes in all.
fn exchange(pair: Pair, send: Send, receive: Receive) -> Vec<u8> {
    let mut all = Vec::new();
    for &size in SIZES {
        let bytes = pattern(size);
        // The sender has a thread of its own: more is on the way than buffers may hold.
        let got = std::thread::scope(|scope| {
            scope.spawn(|| send(pair.client.as_fd(), &bytes));
            receive(pair.server.as_fd(), size)
        });
        assert!(got == bytes, "the test's own sockets work");
        all.extend(bytes);
    }
    all
}

fn compare(
    client: &Told,
    server: &Told,
    expected: &[u8],
    sending: Captured,
    receiving: Captured,
    fail: &mut impl FnMut(String),
) {
    for (end, told, role) in [("client", client, Role::Client), ("server", server, Role::Server)] {
        match &told.opened {
            None => fail(format!("the {end} was not opened")),
            Some(opened) if opened.role != role || opened.adopted => {
                fail(format!(
                    "the {end} opened as {:?}, adopted {}",
                    opened.role, opened.adopted
                ));
            }
            Some(_) => {}
        }
    }
    for (what, stream, captured) in [
        ("sent", &client.sent, sending),
        ("received", &server.received, receiving),
    ] {
        let right = match captured {
            // Of the last and largest call at least as much as is put together from several buffers.
            Captured::All => {
                let certain = SIZES.iter().rev().skip(1).sum::<usize>() + GATHERED_BYTES_MAX as usize;
                stream.counts(expected) && stream.bytes.iter().take(certain).all(Option::is_some)
            }
            Captured::Some => stream.counts(expected),
        };
        if !right {
            let told = stream.bytes.iter().filter(|byte| byte.is_some()).count();
            fail(format!(
                "{what} {} of {} bytes, {told} captured, jumps {:?}",
                stream.bytes.len(),
                expected.len(),
                stream.jumps
            ));
        }
        if stream.start != Some(0) {
            fail(format!("{what} from {:?}", stream.start));
        }
    }
}
