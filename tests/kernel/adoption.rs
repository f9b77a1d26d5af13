//! Connections older than the agent.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
};

use spanhound_agent::event::Role;

use crate::{
    observer::{Observer, TIERS},
    sockets::{Family, Pair, tcp, unix},
};

#[test]
fn a_connection_from_before_is_adopted_where_it_stands() {
    for tier in TIERS {
        let pair = tcp(Family::V4);
        let (client_port, server_port) = (pair.client_port, pair.server_port);
        let (mut client, mut server) = (TcpStream::from(pair.client), TcpStream::from(pair.server));
        let mut buffer = [0; 64];
        client.write_all(b"before the agent").unwrap();
        server.read_exact(&mut buffer[..16]).unwrap();
        server.write_all(b"was here").unwrap();
        client.read_exact(&mut buffer[..8]).unwrap();

        let Some(mut observer) = Observer::start(tier) else {
            continue;
        };
        client.write_all(b"after").unwrap();
        server.read_exact(&mut buffer[..5]).unwrap();
        server.write_all(b"later").unwrap();
        client.read_exact(&mut buffer[..5]).unwrap();
        drop((client, server));
        let (client, server) = observer.both_ends(client_port, server_port);
        if observer.is_excused(tier) {
            continue;
        }
        let (ours, theirs) = (client.opened.unwrap(), server.opened.unwrap());
        assert!(ours.adopted && theirs.adopted);
        assert_eq!((ours.role, theirs.role), (Role::Client, Role::Server));
        assert!(ours.sequence.is_some());
        assert_eq!(ours.sequence, theirs.sequence);
        for stream in [&client.sent, &server.received] {
            assert_eq!(stream.start, Some(16));
            assert!(stream.is(b"after"));
        }
        for stream in [&server.sent, &client.received] {
            assert_eq!(stream.start, Some(8));
            assert!(stream.is(b"later"));
        }
        observer.nothing_lost(tier);
    }
}

/// Asks and answers once.
fn talk(pair: &Pair) {
    let end = |fd: &std::os::fd::OwnedFd| UnixStream::from(fd.try_clone().unwrap());
    let (mut client, mut server) = (end(&pair.client), end(&pair.server));
    let mut buffer = [0; 8];
    client.write_all(b"question").unwrap();
    server.read_exact(&mut buffer).unwrap();
    server.write_all(b"answer").unwrap();
    client.read_exact(&mut buffer[..6]).unwrap();
}

/// Sockets that count no bytes are told apart by when they were made.
#[test]
fn a_unix_connection_from_before_is_adopted_and_a_later_one_is_not() {
    for tier in TIERS {
        let path = |which: &str| -> PathBuf {
            let name = format!("spanhound-{}-{which}.sock", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = std::fs::remove_file(&path);
            path
        };
        let (older_path, later_path) = (path("older"), path("later"));
        let older = unix(&older_path);
        talk(&older);
        let Some(mut observer) = Observer::start(tier) else {
            continue;
        };
        let later = unix(&later_path);
        for pair in [&older, &later] {
            talk(pair);
        }
        for (path, adopted) in [(older_path, true), (later_path, false)] {
            let _ = std::fs::remove_file(&path);
            let (client, server) = observer.both_ends_of_path(&path.to_string_lossy(), 14);
            if observer.is_excused(tier) {
                break;
            }
            for (end, role) in [(&client, Role::Client), (&server, Role::Server)] {
                let opened = end.opened.as_ref().unwrap();
                assert_eq!((opened.role, opened.adopted), (role, adopted), "{tier:?}");
            }
            assert!(
                client.sent.is(b"question") && server.received.is(b"question"),
                "{tier:?}"
            );
            assert!(
                server.sent.is(b"answer") && client.received.is(b"answer"),
                "{tier:?}"
            );
        }
        observer.nothing_lost(tier);
    }
}
