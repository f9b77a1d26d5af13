//! Datagrams, on connected sockets and on those that take from anyone.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use spanhound_agent::event::{Role, Transport};

use crate::{
    calls::batch,
    observer::{Observer, Told, in_every_tier},
};

/// The client is connected, the server takes from anyone.
struct Pair {
    server: UdpSocket,
    client: UdpSocket,
}

impl Pair {
    fn connected() -> Self {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        Self { server, client }
    }
}

/// What was seen of this socket, once that is so many bytes.
fn told_of(observer: &mut Observer, socket: &UdpSocket, bytes: usize) -> Told {
    let port = socket.local_addr().unwrap().port();
    let is_it = |told: &Told| {
        let opened = told.opened.as_ref();
        opened.is_some_and(|o| o.transport == Transport::Udp && o.local.is_some_and(|a| a.port() == port))
    };
    observer.watch(|this| {
        let mut all = this.told.values().filter(|told| is_it(told));
        all.any(|told| told.sent.bytes.len() + told.received.bytes.len() >= bytes)
    });
    let id = observer
        .told
        .iter()
        .find(|(_, told)| is_it(told))
        .map(|(id, _)| *id);
    id.and_then(|id| observer.told.remove(&id)).unwrap_or_default()
}

/// Sends each as a datagram of its own, in one call.
fn send_batch(from: &UdpSocket, to: SocketAddr, texts: [&[u8]; 2]) {
    let SocketAddr::V4(to) = to else {
        panic!("the test binds IPv4");
    };
    let mut address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*to.ip()).to_be(),
        },
        sin_zero: [0; 8],
    };
    let parts = texts.map(|text| libc::iovec {
        iov_base: text.as_ptr().cast_mut().cast(),
        iov_len: text.len(),
    });
    let mut messages = batch(&parts);
    for message in &mut messages {
        message.msg_hdr.msg_name = (&raw mut address).cast();
        message.msg_hdr.msg_namelen = size_of_val(&address) as u32;
    }
    // SAFETY: everything the messages point to outlives the call.
    let sent = unsafe { libc::sendmmsg(from.as_raw_fd(), messages.as_mut_ptr(), 2, 0) };
    assert_eq!(sent, 2);
}

#[test]
fn datagrams_of_a_batch_name_their_peers() {
    let act = |observer: &mut Observer| {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        send_batch(&client, to, [b"one", b"another"]);
        let ours = told_of(observer, &client, 10);
        (to, ours)
    };
    in_every_tier(act, |tier, (to, ours)| {
        assert!(ours.sent.is(b"oneanother"), "{tier:?} {:?}", ours.sent);
        assert_eq!(ours.addressees, [to; 2], "{tier:?}");
    });
}

#[test]
fn datagrams_are_told_at_both_ends() {
    let act = |observer: &mut Observer| {
        let Pair { server, client } = Pair::connected();
        let mut buffer = [0; 64];
        for question in [&b"who"[..], b"and who"] {
            client.send(question).unwrap();
            let (len, peer) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&buffer[..len], peer).unwrap();
            assert_eq!(client.recv(&mut buffer).unwrap(), question.len());
        }
        let ours = told_of(observer, &client, 20);
        let theirs = told_of(observer, &server, 20);
        (Pair { server, client }, ours, theirs)
    };
    in_every_tier(act, |tier, (Pair { server, client }, ours, theirs)| {
        let (opened, answered) = (ours.opened.unwrap(), theirs.opened.unwrap());
        assert_eq!((opened.role, answered.role), (Role::Client, Role::Server));
        assert_eq!(opened.remote, Some(server.local_addr().unwrap()));
        // The connected socket names nobody, the other one its client each time.
        assert_eq!((answered.remote, ours.addressees.len()), (None, 0));
        assert_eq!(theirs.addressees, [client.local_addr().unwrap(); 2]);
        for stream in [&ours.sent, &ours.received, &theirs.sent, &theirs.received] {
            assert!(stream.is(b"whoand who"), "{tier:?} {stream:?}");
        }
    });
}

/// As a resolver asks for both kinds of addresses at once, again and again with the same array.
#[test]
fn datagrams_sent_together_are_told_one_by_one() {
    let act = |observer: &mut Observer| {
        let pair = Pair::connected();
        let questions = [*b"first ", *b"second", *b"third "];
        let parts = questions.each_ref().map(|question| libc::iovec {
            iov_base: question.as_ptr().cast_mut().cast(),
            iov_len: question.len(),
        });
        let mut messages = batch(&parts);
        let mut expected = Vec::new();
        for count in [2, 2, 3, 1, 3] {
            // SAFETY: messages, parts and questions outlive the call.
            let sent = unsafe { libc::sendmmsg(pair.client.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
            assert_eq!(sent, count as i32);
            expected.extend(b"first secondthird ".iter().take(6 * count as usize));
        }
        let told = told_of(observer, &pair.client, expected.len());
        (expected, told)
    };
    in_every_tier(act, |tier, (expected, told)| {
        assert!(told.sent.is(&expected), "{tier:?} {:?}", told.sent);
    });
}

/// Takes what is there into buffers of eight bytes, with one call; the bytes in all.
fn receive_batch(
    from: &UdpSocket,
    rooms: &mut [[u8; 8]],
    flags: i32,
    limit: Option<&mut libc::timespec>,
) -> usize {
    let parts: Vec<_> = rooms
        .iter_mut()
        .map(|room| libc::iovec {
            iov_base: room.as_mut_ptr().cast(),
            iov_len: room.len(),
        })
        .collect();
    let mut messages = batch(&parts);
    let (fd, count) = (from.as_raw_fd(), messages.len() as u32);
    let limit = limit.map_or(std::ptr::null_mut(), std::ptr::from_mut);
    // SAFETY: messages, parts, rooms and the limit outlive the call.
    let received = unsafe { libc::recvmmsg(fd, messages.as_mut_ptr(), count, flags, limit) };
    assert!(received >= 0, "{}", std::io::Error::last_os_error());
    let received = &messages[..received as usize];
    received.iter().map(|message| message.msg_len as usize).sum()
}

/// A server's loop: the same array again and again, seldom full, and now and then a datagram without bytes.
#[test]
fn datagrams_received_together_are_told_one_by_one() {
    let act = |observer: &mut Observer| {
        let Pair { server, client } = Pair::connected();
        let mut rooms = [[0; 8]; 4];
        let mut expected = Vec::new();
        let turns: [(&[&str], i32); 6] = [
            (&["one", "two", "three"], libc::MSG_WAITFORONE),
            (&["four", "five"], libc::MSG_DONTWAIT),
            (&["six", "", "seven"], libc::MSG_WAITFORONE),
            (&["eight", "nine", "ten", "eleven"], 0),
            (&["twelve"], libc::MSG_WAITFORONE),
            (&["thirteen", "fourteen"], libc::MSG_WAITFORONE),
        ];
        for (texts, flags) in turns {
            for text in texts {
                client.send(text.as_bytes()).unwrap();
                expected.extend(text.bytes());
            }
            let bytes = receive_batch(&server, &mut rooms, flags, None);
            assert_eq!(bytes, texts.iter().map(|text| text.len()).sum::<usize>());
        }
        let told = told_of(observer, &server, expected.len());
        (expected, told)
    };
    in_every_tier(act, |tier, (expected, told)| {
        assert!(told.received.is(&expected), "{tier:?} {:?}", told.received);
    });
}

/// Where time ends a call nothing tells which message the next one begins with: those are counted at least.
#[test]
fn datagrams_received_within_a_time_are_counted() {
    let act = |observer: &mut Observer| {
        let Pair { server, client } = Pair::connected();
        let mut rooms = [[0; 8]; 4];
        for texts in [["first", "second"], ["third", "fourth"]] {
            for text in texts {
                client.send(text.as_bytes()).unwrap();
            }
            // It runs out with the first datagram.
            let mut limit = libc::timespec {
                tv_sec: 0,
                tv_nsec: 1,
            };
            let first = receive_batch(&server, &mut rooms, 0, Some(&mut limit));
            assert_eq!(first, texts[0].len());
            let second = receive_batch(&server, &mut rooms[..1], 0, Some(&mut limit));
            assert_eq!(second, texts[1].len());
        }
        told_of(observer, &server, 22)
    };
    in_every_tier(act, |tier, told| {
        assert!(
            told.received.counts(b"firstsecondthirdfourth"),
            "{tier:?} {:?}",
            told.received
        );
    });
}

/// With `MSG_TRUNC` a datagram counts as a whole, whatever the buffer holds of it: nothing behind the buffer is copied.
#[test]
fn a_datagram_longer_than_its_buffer_is_counted() {
    let act = |observer: &mut Observer| {
        let Pair { server, client } = Pair::connected();
        let mut room = [b'?'; 32];
        for text in ["longer than eight", "short"] {
            client.send(text.as_bytes()).unwrap();
            // SAFETY: the room has more than eight bytes.
            let len = unsafe { libc::recv(server.as_raw_fd(), room.as_mut_ptr().cast(), 8, libc::MSG_TRUNC) };
            assert_eq!(len as usize, text.len());
        }
        told_of(observer, &server, 22)
    };
    in_every_tier(act, |tier, told| {
        assert!(
            told.received.counts(b"longer than eightshort"),
            "{tier:?} {:?}",
            told.received
        );
    });
}
