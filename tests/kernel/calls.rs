//! Every call that moves bytes through a socket, by itself.

use std::{
    ffi::c_void,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use spanhound_common::limits::BUFFERS_MAX;

/// Sends all bytes.
pub(crate) type Send = fn(BorrowedFd<'_>, &[u8]);
/// Receives exactly so many bytes.
pub(crate) type Receive = fn(BorrowedFd<'_>, usize) -> Vec<u8>;

pub(crate) const SENDS: &[(&str, Send, Captured)] = &[
    (
        "write",
        |fd, bytes| all(bytes, |part| unsafe_write(fd, part)),
        Captured::All,
    ),
    (
        "writev",
        |fd, bytes| vectored(bytes, |parts| writev(fd, parts)),
        Captured::All,
    ),
    (
        "pwritev2",
        |fd, bytes| vectored(bytes, |parts| pwritev2(fd, parts)),
        Captured::All,
    ),
    (
        "sendto",
        |fd, bytes| all(bytes, |part| sendto(fd, part, 0)),
        Captured::All,
    ),
    (
        "sendmsg",
        |fd, bytes| vectored(bytes, |parts| sendmsg(fd, parts, 0)),
        Captured::All,
    ),
    (
        "writev of many parts",
        |fd, bytes| {
            let parts = parts_in(bytes);
            assert_eq!(checked(writev(fd, &parts)), bytes.len());
        },
        Captured::All,
    ),
    ("sendmmsg", sendmmsg, Captured::All),
    ("sendfile", sendfile, Captured::Some),
    ("splice", splice_out, Captured::Some),
    ("vmsplice", vmsplice, Captured::Some),
    ("tee", tee, Captured::Some),
    ("zerocopy", zerocopy, Captured::All),
];

pub(crate) const RECEIVES: &[(&str, Receive, Captured)] = &[
    (
        "read",
        |fd, len| filled(len, |place| unsafe_read(fd, place)),
        Captured::All,
    ),
    (
        "readv",
        |fd, len| filled(len, |place| readv(fd, &parts_of(place))),
        Captured::All,
    ),
    (
        "preadv2",
        |fd, len| filled(len, |place| preadv2(fd, place)),
        Captured::All,
    ),
    (
        "recvfrom",
        |fd, len| filled(len, |place| recvfrom(fd, place, 0)),
        Captured::All,
    ),
    (
        "recvmsg",
        |fd, len| filled(len, |place| recvmsg(fd, place)),
        Captured::All,
    ),
    (
        "recvmmsg",
        |fd, len| filled(len, |place| recvmmsg(fd, place)),
        Captured::All,
    ),
    (
        "readv of many parts",
        |fd, len| {
            filled(len, |place| {
                let parts = parts_in(place);
                readv(fd, &parts)
            })
        },
        Captured::All,
    ),
    (
        "recv of all",
        |fd, len| {
            let mut bytes = vec![0; len];
            assert_eq!(checked(recvfrom(fd, &mut bytes, libc::MSG_WAITALL)), len);
            bytes
        },
        Captured::All,
    ),
    ("peek", peek_then_read, Captured::All),
    (
        "peek of the length",
        |fd, len| {
            filled(len, |place| {
                checked(recvfrom(fd, place, libc::MSG_PEEK | libc::MSG_TRUNC));
                recvfrom(fd, place, 0)
            })
        },
        Captured::All,
    ),
    ("nonblocking", nonblocking, Captured::All),
    ("splice", splice_in, Captured::Some),
];

/// What of the bytes must be captured; all of them must be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Captured {
    All,
    /// They never were in the process's memory, or the tier may only count them.
    Some,
}

fn all(mut bytes: &[u8], send: impl Fn(&[u8]) -> isize) {
    while !bytes.is_empty() {
        bytes = &bytes[checked(send(bytes))..];
    }
}

fn filled(len: usize, receive: impl Fn(&mut [u8]) -> isize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut at = 0;
    while at < len {
        let moved = checked(receive(&mut bytes[at..]));
        assert!(moved > 0, "the peer closed");
        at += moved;
    }
    bytes
}

fn checked(returned: isize) -> usize {
    assert!(returned >= 0, "{}", io::Error::last_os_error());
    returned as usize
}

/// Cut into as many parts as are looked at, some of them empty where there is little.
fn parts_in(bytes: &[u8]) -> Vec<libc::iovec> {
    let each = bytes.len().div_ceil(BUFFERS_MAX as usize);
    let parts = (0..BUFFERS_MAX as usize).map(|index| {
        let from = (index * each).min(bytes.len());
        &bytes[from..(from + each).min(bytes.len())]
    });
    parts.map(part).collect()
}

pub(crate) fn part(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

/// Cut into uneven parts, one of them empty.
fn vectored(bytes: &[u8], send: impl Fn(&[libc::iovec]) -> isize) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let cuts = [
            rest.len() / 7,
            rest.len() / 7,
            rest.len() / 3,
            rest.len() / 2,
            rest.len(),
        ];
        let mut from = 0;
        let parts: Vec<libc::iovec> = cuts
            .iter()
            .map(|&cut| {
                let part = &rest[from..cut.max(from)];
                from = cut.max(from);
                libc::iovec {
                    iov_base: part.as_ptr().cast_mut().cast(),
                    iov_len: part.len(),
                }
            })
            .collect();
        rest = &rest[checked(send(&parts))..];
    }
}

fn unsafe_write(fd: BorrowedFd<'_>, bytes: &[u8]) -> isize {
    // SAFETY: a slice is good for its length.
    unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) }
}

fn unsafe_read(fd: BorrowedFd<'_>, place: &mut [u8]) -> isize {
    // SAFETY: a slice is good for its length.
    unsafe { libc::read(fd.as_raw_fd(), place.as_mut_ptr().cast(), place.len()) }
}

pub(crate) fn writev(fd: BorrowedFd<'_>, parts: &[libc::iovec]) -> isize {
    // SAFETY: the parts are slices that outlive the call.
    unsafe { libc::writev(fd.as_raw_fd(), parts.as_ptr(), parts.len() as i32) }
}

fn pwritev2(fd: BorrowedFd<'_>, parts: &[libc::iovec]) -> isize {
    // SAFETY: as above; offset -1 stands for none.
    unsafe { libc::pwritev2(fd.as_raw_fd(), parts.as_ptr(), parts.len() as i32, -1, 0) }
}

fn sendto(fd: BorrowedFd<'_>, bytes: &[u8], flags: i32) -> isize {
    // SAFETY: a slice is good for its length.
    unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
            std::ptr::null(),
            0,
        )
    }
}

fn message(parts: &[libc::iovec]) -> libc::msghdr {
    // SAFETY: all zeroes is a message without name, control data and buffers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_ptr().cast_mut();
    message.msg_iovlen = parts.len() as _;
    message
}

fn sendmsg(fd: BorrowedFd<'_>, parts: &[libc::iovec], flags: i32) -> isize {
    let message = message(parts);
    // SAFETY: the parts are slices that outlive the call.
    unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) }
}

/// A message of each part.
pub(crate) fn batch(parts: &[libc::iovec]) -> Vec<libc::mmsghdr> {
    parts
        .iter()
        .map(|part| libc::mmsghdr {
            msg_hdr: message(std::slice::from_ref(part)),
            msg_len: 0,
        })
        .collect()
}

fn sendmmsg(fd: BorrowedFd<'_>, bytes: &[u8]) {
    for pair in bytes.chunks(400) {
        let parts: Vec<libc::iovec> = pair
            .chunks(200)
            .map(|part| libc::iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            })
            .collect();
        let mut messages = batch(&parts);
        // SAFETY: messages and parts outlive the call.
        let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0) };
        assert_eq!(sent as usize, messages.len(), "{}", io::Error::last_os_error());
    }
}

fn file_with(bytes: &[u8]) -> OwnedFd {
    // SAFETY: a name without inner zero; the descriptor is ours.
    let fd = unsafe { libc::memfd_create(c"payload".as_ptr(), 0) };
    assert!(fd >= 0);
    // SAFETY: just created.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    use std::os::fd::AsFd;
    all(bytes, |part| unsafe_write(file.as_fd(), part));
    file
}

fn sendfile(fd: BorrowedFd<'_>, bytes: &[u8]) {
    let file = file_with(bytes);
    let mut offset: libc::off_t = 0;
    while (offset as usize) < bytes.len() {
        // SAFETY: descriptors and the offset outlive the call.
        checked(unsafe {
            libc::sendfile(
                fd.as_raw_fd(),
                file.as_raw_fd(),
                &raw mut offset,
                bytes.len() - offset as usize,
            )
        });
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors, which are ours.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}

fn splice(from: i32, to: i32, len: usize) -> isize {
    // SAFETY: no offsets.
    unsafe { libc::splice(from, std::ptr::null_mut(), to, std::ptr::null_mut(), len, 0) }
}

fn splice_out(fd: BorrowedFd<'_>, bytes: &[u8]) {
    use std::os::fd::AsFd;
    let (out, into) = pipe();
    for part in bytes.chunks(4096) {
        all(part, |part| unsafe_write(into.as_fd(), part));
        let mut left = part.len();
        while left > 0 {
            left -= checked(splice(out.as_raw_fd(), fd.as_raw_fd(), left));
        }
    }
}

/// The pages of the bytes themselves go into a pipe, and from there into the socket.
fn vmsplice(fd: BorrowedFd<'_>, bytes: &[u8]) {
    let (out, into) = pipe();
    for bytes in bytes.chunks(4096) {
        let part = part(bytes);
        // SAFETY: one part, of bytes that stay until they are sent.
        let mut left = checked(unsafe { libc::vmsplice(into.as_raw_fd(), &raw const part, 1, 0) });
        assert_eq!(left, bytes.len());
        while left > 0 {
            left -= checked(splice(out.as_raw_fd(), fd.as_raw_fd(), left));
        }
    }
}

/// What is in one pipe is doubled into another, and from there goes into the socket.
fn tee(fd: BorrowedFd<'_>, bytes: &[u8]) {
    use std::os::fd::AsFd;
    let ((first_out, first_into), (second_out, second_into)) = (pipe(), pipe());
    for part in bytes.chunks(4096) {
        all(part, |part| unsafe_write(first_into.as_fd(), part));
        // SAFETY: two pipes of ours.
        let doubled = unsafe { libc::tee(first_out.as_raw_fd(), second_into.as_raw_fd(), part.len(), 0) };
        let mut left = checked(doubled);
        assert_eq!(left, part.len());
        while left > 0 {
            left -= checked(splice(second_out.as_raw_fd(), fd.as_raw_fd(), left));
        }
        filled(part.len(), |place| unsafe_read(first_out.as_fd(), place));
    }
}

fn splice_in(fd: BorrowedFd<'_>, len: usize) -> Vec<u8> {
    use std::os::fd::AsFd;
    let (out, into) = pipe();
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let moved = checked(splice(
            fd.as_raw_fd(),
            into.as_raw_fd(),
            (len - bytes.len()).min(4096),
        ));
        assert!(moved > 0, "the peer closed");
        bytes.extend(filled(moved, |place| unsafe_read(out.as_fd(), place)));
    }
    bytes
}

fn zerocopy(fd: BorrowedFd<'_>, bytes: &[u8]) {
    let on: i32 = 1;
    // SAFETY: the option's value is an int.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ZEROCOPY,
            (&raw const on).cast::<c_void>(),
            size_of::<i32>() as u32,
        )
    };
    assert_eq!(set, 0);
    all(bytes, |part| sendto(fd, part, libc::MSG_ZEROCOPY));
}

/// Three parts of the place, the first of them short.
fn parts_of(place: &mut [u8]) -> [libc::iovec; 3] {
    let cut = place.len() / 5;
    let (first, rest) = place.split_at_mut(cut);
    let (second, third) = rest.split_at_mut(cut);
    [first, second, third].map(|part| libc::iovec {
        iov_base: part.as_mut_ptr().cast(),
        iov_len: part.len(),
    })
}

fn readv(fd: BorrowedFd<'_>, parts: &[libc::iovec]) -> isize {
    // SAFETY: parts of a slice that outlives the call.
    unsafe { libc::readv(fd.as_raw_fd(), parts.as_ptr(), parts.len() as i32) }
}

fn preadv2(fd: BorrowedFd<'_>, place: &mut [u8]) -> isize {
    let parts = parts_of(place);
    // SAFETY: as above; offset -1 stands for none.
    unsafe { libc::preadv2(fd.as_raw_fd(), parts.as_ptr(), 3, -1, 0) }
}

fn recvfrom(fd: BorrowedFd<'_>, place: &mut [u8], flags: i32) -> isize {
    // SAFETY: a slice is good for its length; no address is asked for.
    unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            place.as_mut_ptr().cast(),
            place.len(),
            flags,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    }
}

fn recvmsg(fd: BorrowedFd<'_>, place: &mut [u8]) -> isize {
    let parts = parts_of(place);
    let mut message = message(&parts);
    // SAFETY: parts of a slice that outlives the call.
    unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, 0) }
}

fn recvmmsg(fd: BorrowedFd<'_>, place: &mut [u8]) -> isize {
    let parts = parts_of(place);
    let mut messages = [libc::mmsghdr {
        msg_hdr: message(&parts),
        msg_len: 0,
    }];
    // SAFETY: as above.
    let count = unsafe { libc::recvmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), 1, 0, std::ptr::null_mut()) };
    assert_eq!(count, 1, "{}", io::Error::last_os_error());
    messages[0].msg_len as isize
}

fn peek_then_read(fd: BorrowedFd<'_>, len: usize) -> Vec<u8> {
    filled(len, |place| {
        checked(recvfrom(fd, &mut place.to_vec(), libc::MSG_PEEK));
        recvfrom(fd, place, 0)
    })
}

/// Takes so many bytes and keeps none; the place that is named stays as it was.
pub(crate) fn throw_away(fd: BorrowedFd<'_>, len: usize) {
    let mut left = vec![b'?'; len];
    while !left.is_empty() {
        let moved = checked(recvfrom(fd, &mut left, libc::MSG_TRUNC));
        left.truncate(left.len() - moved);
    }
}

fn nonblocking(fd: BorrowedFd<'_>, len: usize) -> Vec<u8> {
    filled(len, |place| {
        loop {
            let moved = recvfrom(fd, place, libc::MSG_DONTWAIT);
            if moved >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock {
                return moved;
            }
            std::thread::yield_now();
        }
    })
}
