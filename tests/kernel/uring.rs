//! Bytes moved by an I/O ring (`io_uring`), single and multishot, on connections that a ring made.

use std::{
    net::{SocketAddrV4, TcpListener},
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::io::RawFd,
    },
};

use io_uring::{IoUring, cqueue, opcode, squeue, types::Fd};
use spanhound_agent::kernel::{Loss, TierChoice};

use crate::{
    calls::{Captured, RECEIVES, Receive, SENDS, Send},
    observer::{Observer, TIERS},
    sockets::{Pair, pattern},
    ways::{compare, exchange},
};

fn ring() -> IoUring {
    IoUring::new(4).expect("a ring (kernel.io_uring_disabled must be 0)")
}

/// Does one thing and waits for its result.
fn done(ring: &mut IoUring, entry: &squeue::Entry) -> cqueue::Entry {
    // SAFETY: what the entry points to outlives its completion, which is waited for.
    unsafe { ring.submission().push(entry).unwrap() };
    next(ring)
}

fn next(ring: &mut IoUring) -> cqueue::Entry {
    loop {
        if let Some(entry) = ring.completion().next() {
            return entry;
        }
        ring.submit_and_wait(1).unwrap();
    }
}

fn result(entry: &cqueue::Entry) -> usize {
    let result = entry.result();
    assert!(result >= 0, "{}", std::io::Error::from_raw_os_error(-result));
    result as usize
}

fn send_all(bytes: &[u8], entry: impl Fn(&[u8]) -> squeue::Entry) {
    let mut ring = ring();
    let mut at = 0;
    while at < bytes.len() {
        at += result(&done(&mut ring, &entry(&bytes[at..])));
    }
}

fn receive_all(len: usize, entry: impl Fn(&mut [u8]) -> squeue::Entry) -> Vec<u8> {
    let mut ring = ring();
    let (mut bytes, mut at) = (vec![0; len], 0);
    while at < len {
        let moved = result(&done(&mut ring, &entry(&mut bytes[at..])));
        assert!(moved > 0, "the peer closed");
        at += moved;
    }
    bytes
}

fn at(fd: BorrowedFd<'_>) -> Fd {
    Fd(fd.as_raw_fd())
}

const RING_SENDS: &[(&str, Send)] = &[
    ("send", |fd, bytes| {
        send_all(bytes, |part| {
            opcode::Send::new(at(fd), part.as_ptr(), part.len() as u32).build()
        });
    }),
    ("write", |fd, bytes| {
        send_all(bytes, |part| {
            opcode::Write::new(at(fd), part.as_ptr(), part.len() as u32).build()
        });
    }),
    ("sendmsg of two parts", |fd, bytes| {
        let (mut ring, mut at_byte) = (ring(), 0);
        while at_byte < bytes.len() {
            let part = &bytes[at_byte..];
            let middle = part.len() / 3;
            let mut parts = [outgoing(&part[..middle]), outgoing(&part[middle..])];
            let message = message(&mut parts);
            at_byte += result(&done(
                &mut ring,
                &opcode::SendMsg::new(at(fd), &raw const message).build(),
            ));
        }
    }),
    ("send without copying", zero_copy),
];

/// The kernel takes the bytes from where they are, and says later that it is done with them (Linux 6.0; a plain send before).
fn zero_copy(fd: BorrowedFd<'_>, bytes: &[u8]) {
    let mut ring = ring();
    let mut sent = 0;
    while sent < bytes.len() {
        let part = &bytes[sent..];
        let entry = done(
            &mut ring,
            &opcode::SendZc::new(at(fd), part.as_ptr(), part.len() as u32).build(),
        );
        if entry.result() == -libc::EINVAL {
            return (RING_SENDS[0].1)(fd, part);
        }
        sent += result(&entry);
        if cqueue::more(entry.flags()) {
            assert!(cqueue::notif(next(&mut ring).flags()));
        }
    }
}

const RING_RECEIVES: &[(&str, Receive)] = &[
    ("recv", |fd, len| {
        receive_all(len, |place| {
            opcode::Recv::new(at(fd), place.as_mut_ptr(), place.len() as u32).build()
        })
    }),
    ("read", |fd, len| {
        receive_all(len, |place| {
            opcode::Read::new(at(fd), place.as_mut_ptr(), place.len() as u32).build()
        })
    }),
    ("recvmsg of two parts", |fd, len| {
        let (mut ring, mut bytes, mut at_byte) = (ring(), vec![0; len], 0);
        while at_byte < len {
            let (first, second) = bytes[at_byte..].split_at_mut((len - at_byte) / 3);
            let mut parts = [incoming(first), incoming(second)];
            let mut message = message(&mut parts);
            let moved = result(&done(
                &mut ring,
                &opcode::RecvMsg::new(at(fd), &raw mut message).build(),
            ));
            assert!(moved > 0, "the peer closed");
            at_byte += moved;
        }
        bytes
    }),
    ("multishot recv", multishot),
];

/// One request that goes on giving data in buffers of its group (Linux 6.0; a plain one before).
fn multishot(fd: BorrowedFd<'_>, len: usize) -> Vec<u8> {
    const COUNT: usize = 16;
    const EACH: usize = 4096;
    let mut ring = ring();
    let mut room = vec![0u8; COUNT * EACH];
    let provide = |room: &mut [u8], first: u16, count: u16| {
        opcode::ProvideBuffers::new(room.as_mut_ptr(), EACH as i32, count, 7, first).build()
    };
    result(&done(&mut ring, &provide(&mut room, 0, COUNT as u16)));
    let mut bytes = Vec::new();
    let mut armed = false;
    while bytes.len() < len {
        let entry = match armed {
            true => next(&mut ring),
            false => done(&mut ring, &opcode::RecvMulti::new(at(fd), 7).build()),
        };
        if [-libc::EINVAL, -libc::ENOBUFS].contains(&entry.result()) {
            let rest = len - bytes.len();
            bytes.extend((RING_RECEIVES[0].1)(fd, rest));
            return bytes;
        }
        armed = cqueue::more(entry.flags());
        let moved = result(&entry);
        let buffer = cqueue::buffer_select(entry.flags()).unwrap() as usize * EACH;
        bytes.extend_from_slice(&room[buffer..buffer + moved]);
    }
    bytes
}

/// A part to be sent; the kernel only reads it.
fn outgoing(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

fn incoming(room: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    }
}

fn message(parts: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: a plain structure, for which zeros say "nothing".
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len();
    message
}

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
    for tier in TIERS {
        let Some(mut observer) = Observer::start(tier) else {
            continue;
        };
        let captured = match observer.data_tier() {
            Some("fentry" | "kprobe") => Captured::All,
            Some("tracepoint") => Captured::Some,
            // System calls are the floor here, and see nothing of a ring.
            _ => continue,
        };
        let mut failures = Vec::new();
        let (write, read) = (SENDS[0].1, RECEIVES[0].1);
        let sends = RING_SENDS
            .iter()
            .map(|&(name, send)| (name, send, read, captured, Captured::All));
        let receives = RING_RECEIVES
            .iter()
            .map(|&(name, receive)| (name, write, receive, Captured::All, captured));
        for (number, (name, send, receive, sending, receiving)) in sends.chain(receives).enumerate() {
            let pair = pair(number % 2 == 1);
            let ports = (pair.client_port, pair.server_port);
            let expected = exchange(pair, send, receive);
            let (client, server) = observer.both_ends(ports.0, ports.1);
            compare(&client, &server, &expected, sending, receiving, &mut |what| {
                failures.push(format!("{tier:?} {name}: {what}"));
            });
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        observer.nothing_lost(tier);
    }
}

/// Where only system calls are seen, what a ring moves is a gap, and counted.
#[test]
fn what_a_ring_moved_past_system_calls_is_counted() {
    let Some(mut observer) = Observer::start(TierChoice::Syscall) else {
        return;
    };
    let pair = pair(true);
    let ports = (pair.client_port, pair.server_port);
    use std::os::fd::AsFd;
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
