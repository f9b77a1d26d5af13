//! Both ends of a connection must tell the same identity, and of the right processes.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd},
};

use spanhound_agent::{event::Role, kernel::TierChoice};

use crate::{
    observer::{Observer, TIERS},
    sharing::elsewhere,
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
        if observer.is_excused(TierChoice::Auto) {
            return;
        }
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

/// Data that goes with the first segment (TCP Fast Open): the connection is there before the handshake is done.
#[test]
fn what_is_sent_while_connecting_begins_the_stream() {
    for tier in TIERS {
        let Some(mut observer) = Observer::start(tier) else {
            continue;
        };
        let Some(ports) = elsewhere(fast_open) else {
            eprintln!("skipped: no network namespace can be made here");
            return;
        };
        let (client, server) = observer.both_ends(ports.0, ports.1);
        if observer.is_excused(tier) {
            continue;
        }
        let (ours, theirs) = (client.opened.unwrap(), server.opened.unwrap());
        assert_eq!((ours.role, theirs.role), (Role::Client, Role::Server), "{tier:?}");
        assert!(!ours.adopted && !theirs.adopted, "{tier:?}");
        assert_eq!(ours.sequence, theirs.sequence, "{tier:?}");
        assert!(
            client.sent.is(b"question") && server.received.is(b"question"),
            "{tier:?} {:?}",
            client.sent
        );
        assert!(
            server.sent.is(b"answer") && client.received.is(b"answer"),
            "{tier:?}"
        );
        observer.nothing_lost(tier);
    }
}

/// Asks and answers once, in a network of its own; the ports of both ends.
fn fast_open() -> (u16, u16) {
    // At both ends, without a cookie from before.
    std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", "519").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let waiting = 5i32;
    // SAFETY: an option whose value is an int, a new socket that is ours, and an address with its length.
    let client = unsafe {
        let value = (&raw const waiting).cast();
        let set = libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN,
            value,
            4,
        );
        assert_eq!(set, 0);
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        assert!(fd >= 0);
        let client = TcpStream::from_raw_fd(fd);
        let mut to: libc::sockaddr_in = std::mem::zeroed();
        to.sin_family = libc::AF_INET as u16;
        to.sin_port = port.to_be();
        to.sin_addr.s_addr = u32::from(Ipv4Addr::LOCALHOST).to_be();
        let (text, len) = (b"question".as_ptr().cast(), size_of_val(&to) as u32);
        let sent = libc::sendto(fd, text, 8, libc::MSG_FASTOPEN, (&raw const to).cast(), len);
        assert_eq!(sent, 8, "{}", std::io::Error::last_os_error());
        client
    };
    let ports = (client.local_addr().unwrap().port(), port);
    let (mut server, _) = listener.accept().unwrap();
    let mut client = client;
    server.read_exact(&mut [0; 8]).unwrap();
    server.write_all(b"answer").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();
    ports
}
