//! Both ends of a connection must tell the same identity, and of the right processes.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use spanhound_agent::{event::Role, kernel::TierChoice};

use crate::{
    observer::Observer,
    sockets::{Family, tcp},
};

#[test]
fn both_ends_tell_one_identity_and_mirrored_addresses() {
    let Some(mut observer) = Observer::start(TierChoice::Auto) else {
        return;
    };
    for family in [Family::V4, Family::V6] {
        let pair = tcp(family);
        let (client_port, server_port) = (pair.client_port, pair.server_port);
        let (mut client, mut server) = (TcpStream::from(pair.client), TcpStream::from(pair.server));
        let mut buffer = [0; 64];
        for _ in 0..3 {
            client.write_all(b"question").unwrap();
            server.read_exact(&mut buffer[..8]).unwrap();
            server.write_all(b"answer").unwrap();
            client.read_exact(&mut buffer[..6]).unwrap();
        }
        drop((client, server));
        let (client, server) = observer.both_ends(client_port, server_port);
        let (ours, theirs) = (client.opened.unwrap(), server.opened.unwrap());
        assert!(ours.sequence.is_some());
        assert_eq!(ours.sequence, theirs.sequence);
        assert_eq!((ours.role, theirs.role), (Role::Client, Role::Server));
        assert_eq!((ours.local, ours.remote), (theirs.remote, theirs.local));
        assert_eq!(ours.network_namespace, theirs.network_namespace);
        assert_ne!(ours.network_namespace, 0);
        assert_eq!(ours.actor.pid, std::process::id());
        assert!(
            client.sent.is(b"questionquestionquestion") && server.received.is(b"questionquestionquestion")
        );
        assert!(server.sent.is(b"answeransweranswer") && client.received.is(b"answeransweranswer"));
    }
    observer.nothing_lost(TierChoice::Auto);
}
