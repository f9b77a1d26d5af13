//! Connections older than the agent.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use spanhound_agent::event::Role;

use crate::{
    observer::{Observer, TIERS},
    sockets::{Family, tcp},
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
