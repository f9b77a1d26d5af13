//! Bytes moved by an I/O ring (`io_uring`), single and multishot, on connections that a ring made.

use std::{
    net::{SocketAddrV4, TcpListener},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::io::RawFd,
    },
};

use io_uring::{opcode, types::Fd};
use spanhound_agent::kernel::{Loss, TierChoice};

use crate::{
    calls::{Captured, RECEIVES, SENDS},
    observer::{Observer, in_every_tier},
    ring_calls::{RING_RECEIVES, RING_SENDS, done, result, ring},
    sockets::{Pair, pattern},
    ways::failures,
};

/// A connection both of whose ends a ring made, the accepted one by a request that goes on accepting (Linux 5.19; a plain
/// one before) if asked for.
fn pair(multishot: bool) -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else {
        panic!("an IPv4 listener")
    };
    // SAFETY: a new descriptor, ours.
    let client = unsafe { OwnedFd::from_raw_fd(checked(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0))) };
    let to = wire(address);
    let connect = opcode::Connect::new(
        Fd(client.as_raw_fd()),
        (&raw const to).cast(),
        size_of::<libc::sockaddr_in>() as u32,
    )
    .build();
    assert_eq!(result(&done(&mut ring(), &connect)), 0);
    let listening = Fd(listener.as_raw_fd());
    let accept = opcode::Accept::new(listening, std::ptr::null_mut(), std::ptr::null_mut()).build();
    let mut acceptor = ring();
    let mut accepted = match multishot {
        true => done(&mut acceptor, &opcode::AcceptMulti::new(listening).build()),
        false => done(&mut acceptor, &accept),
    };
    if accepted.result() == -libc::EINVAL {
        accepted = done(&mut acceptor, &accept);
    }
    let server = result(&accepted) as RawFd;
    let client = std::net::TcpStream::from(client);
    Pair {
        client_port: client.local_addr().unwrap().port(),
        server_port: address.port(),
        client: client.into(),
        // SAFETY: just accepted, ours.
        server: unsafe { OwnedFd::from_raw_fd(server) },
    }
}

fn checked(fd: RawFd) -> RawFd {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    fd
}

fn wire(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}

/// The functions' tiers find the bytes, the sockets' tracepoints count them.
#[test]
fn a_ring_moves_bytes_like_any_call() {
    let act = |observer: &mut Observer| {
        let captured = match observer.data_tier() {
            Some("fentry" | "kprobe") => Captured::All,
            Some("tracepoint") => Captured::Some,
            // System calls are the floor here, and see nothing of a ring.
            _ => return Vec::new(),
        };
        let at_best = |way: Captured| match way {
            Captured::All => captured,
            Captured::Some => Captured::Some,
        };
        let sends = RING_SENDS.iter();
        let sends = sends.map(|&(name, send, way)| (name, send, at_best(way)));
        let receives = RING_RECEIVES.iter();
        let receives = receives.map(|&(name, receive, way)| (name, receive, at_best(way)));
        failures(observer, sends, receives, |number| pair(number % 2 == 1))
    };
    in_every_tier(act, |tier, failures| {
        assert!(failures.is_empty(), "{tier:?} {}", failures.join("\n"));
    });
}

/// Where only system calls are seen, what a ring moves is a gap, and counted.
#[test]
fn what_a_ring_moved_past_system_calls_is_counted() {
    let Some(mut observer) = Observer::start(TierChoice::Syscall) else {
        return;
    };
    let pair = pair(true);
    let ports = (pair.client_port, pair.server_port);
    for (receive, len) in [
        (RECEIVES[0].1, 100),
        (RING_RECEIVES[0].1, 1000),
        (RECEIVES[0].1, 10),
    ] {
        (SENDS[0].1)(pair.client.as_fd(), &pattern(len));
        assert_eq!(receive(pair.server.as_fd(), len), pattern(len));
    }
    drop(pair);
    let (_, server) = observer.both_ends(ports.0, ports.1);
    if observer.is_excused(TierChoice::Syscall) {
        return;
    }
    assert_eq!(server.received.jumps, [(100, 1100)]);
    assert_eq!(observer.loss(Loss::UnseenBytes), 1000);
}
