//! Every way an I/O ring (`io_uring`) moves bytes through a socket, by itself.

use std::{
    cell::Cell,
    os::fd::{AsRawFd, BorrowedFd},
};

use io_uring::{
    IoUring, cqueue, opcode, squeue,
    types::{BufRingEntry, Fd, Fixed},
};

use crate::calls::{Captured, Receive, Send};

pub(crate) fn ring() -> IoUring {
    IoUring::new(4).expect("a ring (kernel.io_uring_disabled must be 0)")
}

/// Does one thing and waits for its result.
pub(crate) fn done(ring: &mut IoUring, entry: &squeue::Entry) -> cqueue::Entry {
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

pub(crate) fn result(entry: &cqueue::Entry) -> usize {
    let result = entry.result();
    assert!(result >= 0, "{}", std::io::Error::from_raw_os_error(-result));
    result as usize
}

fn send_all(bytes: &[u8], entry: impl Fn(&[u8]) -> squeue::Entry) {
    send_with(&mut ring(), bytes, entry);
}

fn send_with(ring: &mut IoUring, bytes: &[u8], entry: impl Fn(&[u8]) -> squeue::Entry) {
    let mut at = 0;
    while at < bytes.len() {
        at += result(&done(ring, &entry(&bytes[at..])));
    }
}

fn receive_all(len: usize, entry: impl Fn(&mut [u8]) -> squeue::Entry) -> Vec<u8> {
    let mut bytes = vec![0; len];
    receive_with(&mut ring(), &mut bytes, entry);
    bytes
}

fn receive_with(ring: &mut IoUring, bytes: &mut [u8], entry: impl Fn(&mut [u8]) -> squeue::Entry) {
    let mut at = 0;
    while at < bytes.len() {
        let moved = result(&done(ring, &entry(&mut bytes[at..])));
        assert!(moved > 0, "the peer closed");
        at += moved;
    }
}

/// The kernel keeps the pages at hand; the ring's only buffer.
fn register(ring: &IoUring, bytes: &[u8]) {
    // SAFETY: the bytes outlive the ring, which is done before they go.
    unsafe { ring.submitter().register_buffers(&[outgoing(bytes)]).unwrap() };
}

fn at(fd: BorrowedFd<'_>) -> Fd {
    Fd(fd.as_raw_fd())
}

pub(crate) const RING_SENDS: &[(&str, Send, Captured)] = &[
    (
        "send",
        |fd, bytes| {
            send_all(bytes, |part| {
                opcode::Send::new(at(fd), part.as_ptr(), part.len() as u32).build()
            });
        },
        Captured::All,
    ),
    (
        "write",
        |fd, bytes| {
            send_all(bytes, |part| {
                opcode::Write::new(at(fd), part.as_ptr(), part.len() as u32).build()
            });
        },
        Captured::All,
    ),
    (
        "sendmsg of two parts",
        |fd, bytes| {
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
        },
        Captured::All,
    ),
    ("send without copying", zero_copy, Captured::All),
    ("send of parts without copying", zero_copy_parts, Captured::All),
    (
        "send from a registered buffer without copying",
        zero_copy_registered,
        Captured::Some,
    ),
    (
        "write from a registered buffer",
        |fd, bytes| {
            let mut ring = ring();
            register(&ring, bytes);
            send_with(&mut ring, bytes, |part| {
                opcode::WriteFixed::new(at(fd), part.as_ptr(), part.len() as u32, 0).build()
            });
        },
        Captured::Some,
    ),
    (
        "send of a registered socket",
        |fd, bytes| {
            let mut ring = ring();
            ring.submitter().register_files(&[fd.as_raw_fd()]).unwrap();
            send_with(&mut ring, bytes, |part| {
                opcode::Send::new(Fixed(0), part.as_ptr(), part.len() as u32).build()
            });
        },
        Captured::All,
    ),
    (
        "send by a worker",
        |fd, bytes| {
            send_all(bytes, |part| {
                let send = opcode::Send::new(at(fd), part.as_ptr(), part.len() as u32).build();
                send.flags(squeue::Flags::ASYNC)
            });
        },
        Captured::All,
    ),
    (
        "send by the ring's own thread",
        |fd, bytes| {
            let mut ring = IoUring::builder().setup_sqpoll(10).build(4).unwrap();
            ring.submitter().register_files(&[fd.as_raw_fd()]).unwrap();
            send_with(&mut ring, bytes, |part| {
                opcode::Send::new(Fixed(0), part.as_ptr(), part.len() as u32).build()
            });
        },
        Captured::All,
    ),
];

fn zero_copy(fd: BorrowedFd<'_>, bytes: &[u8]) {
    without_copying(&mut ring(), fd, bytes, |part| {
        opcode::SendZc::new(at(fd), part.as_ptr(), part.len() as u32).build()
    });
}

fn zero_copy_registered(fd: BorrowedFd<'_>, bytes: &[u8]) {
    let mut ring = ring();
    register(&ring, bytes);
    without_copying(&mut ring, fd, bytes, |part| {
        let send = opcode::SendZc::new(at(fd), part.as_ptr(), part.len() as u32);
        send.buf_index(Some(0)).build()
    });
}

fn zero_copy_parts(fd: BorrowedFd<'_>, bytes: &[u8]) {
    // Whatever rest is sent, its parts and their message stand here meanwhile.
    let (parts, whole) = (Cell::new([outgoing(&[]); 2]), Cell::new(message(&mut [])));
    without_copying(&mut ring(), fd, bytes, |part| {
        let middle = part.len() / 3;
        parts.set([outgoing(&part[..middle]), outgoing(&part[middle..])]);
        let mut message = message(&mut []);
        (message.msg_iov, message.msg_iovlen) = (parts.as_ptr().cast(), 2);
        whole.set(message);
        opcode::SendMsgZc::new(at(fd), whole.as_ptr()).build()
    });
}

/// The kernel takes the bytes from where they are, and says later that it is done with them (Linux 6.0; a plain send before).
fn without_copying(
    ring: &mut IoUring,
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    entry: impl Fn(&[u8]) -> squeue::Entry,
) {
    let mut sent = 0;
    while sent < bytes.len() {
        let part = &bytes[sent..];
        let entry = done(ring, &entry(part));
        if entry.result() == -libc::EINVAL {
            return (RING_SENDS[0].1)(fd, part);
        }
        sent += result(&entry);
        if cqueue::more(entry.flags()) {
            assert!(cqueue::notif(next(ring).flags()));
        }
    }
}

pub(crate) const RING_RECEIVES: &[(&str, Receive, Captured)] = &[
    (
        "recv",
        |fd, len| {
            receive_all(len, |place| {
                opcode::Recv::new(at(fd), place.as_mut_ptr(), place.len() as u32).build()
            })
        },
        Captured::All,
    ),
    (
        "read",
        |fd, len| {
            receive_all(len, |place| {
                opcode::Read::new(at(fd), place.as_mut_ptr(), place.len() as u32).build()
            })
        },
        Captured::All,
    ),
    (
        "recvmsg of two parts",
        |fd, len| {
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
        },
        Captured::All,
    ),
    ("multishot recv", multishot, Captured::All),
    ("recv into a bundle of buffers", bundle, Captured::All),
    (
        "read into a registered buffer",
        |fd, len| {
            let (mut ring, mut bytes) = (ring(), vec![0; len]);
            register(&ring, &bytes);
            receive_with(&mut ring, &mut bytes, |place| {
                opcode::ReadFixed::new(at(fd), place.as_mut_ptr(), place.len() as u32, 0).build()
            });
            bytes
        },
        Captured::Some,
    ),
    (
        "recv of a registered socket",
        |fd, len| {
            let (mut ring, mut bytes) = (ring(), vec![0; len]);
            ring.submitter().register_files(&[fd.as_raw_fd()]).unwrap();
            receive_with(&mut ring, &mut bytes, |place| {
                opcode::Recv::new(Fixed(0), place.as_mut_ptr(), place.len() as u32).build()
            });
            bytes
        },
        Captured::All,
    ),
    (
        "recv by a worker",
        |fd, len| {
            receive_all(len, |place| {
                let recv = opcode::Recv::new(at(fd), place.as_mut_ptr(), place.len() as u32).build();
                recv.flags(squeue::Flags::ASYNC)
            })
        },
        Captured::All,
    ),
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

/// Several buffers filled by one request, from a ring of them that the kernel shares (Linux 6.10; a plain one before).
fn bundle(fd: BorrowedFd<'_>, len: usize) -> Vec<u8> {
    const COUNT: usize = 16;
    const EACH: usize = 4096;
    #[repr(align(4096))]
    struct Shared([u8; 4096]);
    let mut ring = ring();
    let mut room = vec![0u8; COUNT * EACH];
    let mut shared = Box::new(Shared([0; 4096]));
    let base = shared.0.as_mut_ptr().cast::<BufRingEntry>();
    let address = base as u64;
    // SAFETY: the entries lie within the page, which is the kernel's from here to the end of the ring.
    let registered = unsafe {
        for index in 0..COUNT {
            let entry = &mut *base.add(index);
            entry.set_addr(room.as_mut_ptr().add(index * EACH) as u64);
            entry.set_len(EACH as u32);
            entry.set_bid(index as u16);
        }
        BufRingEntry::tail(base).cast_mut().write_volatile(COUNT as u16);
        ring.submitter()
            .register_buf_ring_with_flags(address, COUNT as u16, 7, 0)
    };
    let mut bytes = Vec::new();
    while registered.is_ok() && bytes.len() < len {
        let entry = done(&mut ring, &opcode::RecvBundle::new(at(fd), 7).build());
        if [-libc::EINVAL, -libc::ENOBUFS].contains(&entry.result()) {
            break;
        }
        let moved = result(&entry);
        let buffer = cqueue::buffer_select(entry.flags()).unwrap() as usize * EACH;
        bytes.extend_from_slice(&room[buffer..buffer + moved]);
    }
    let rest = len - bytes.len();
    bytes.extend((RING_RECEIVES[0].1)(fd, rest));
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
