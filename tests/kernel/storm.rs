//! A storm of short connections while the ring buffer overflows: what is lost is counted, and no position of a connection
//! that lasts is ever another one's.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use spanhound_agent::kernel::{Loss, PortRule, Settings, TierChoice};

use crate::{
    observer::Observer,
    sockets::{Family, tcp},
};

const LASTING: usize = 8;
const ROUNDS: usize = 60;
const SHORT_BYTES: usize = 64;

/// Ends the storm, also when an assertion fails.
struct Calm<'a>(&'a AtomicBool);

impl Drop for Calm<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Opens, uses and closes connections until told to stop; how many bytes it moved, both directions together.
fn storm(listener: &TcpListener, stop: &AtomicBool, moved: &AtomicU64) {
    let address = listener.local_addr().unwrap();
    let mut buffer = [0; SHORT_BYTES];
    while !stop.load(Ordering::Relaxed) {
        let mut client = TcpStream::connect(address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[7; SHORT_BYTES]).unwrap();
        server.read_exact(&mut buffer).unwrap();
        server.write_all(&buffer).unwrap();
        client.read_exact(&mut buffer).unwrap();
        moved.fetch_add(4 * SHORT_BYTES as u64, Ordering::Relaxed);
    }
}

#[test]
fn an_overflowing_ring_gives_no_connection_another_ones_position() {
    // What is tested here all tiers share, and to load programs in a storm takes emulated machines long.
    for tier in [TierChoice::Auto, TierChoice::Syscall] {
        let (stop, moved) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let _calm = Calm(&stop);
            let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
            let lasting: Vec<_> = (0..LASTING).map(|_| tcp(Family::V4)).collect();
            let ports = listeners
                .iter()
                .map(|listener| listener.local_addr().unwrap().port());
            let ports = ports.chain(lasting.iter().map(|pair| pair.server_port));
            let ports = ports.map(|port| (port, PortRule::Chosen)).collect();
            for listener in listeners {
                let (stop, moved) = (&stop, &moved);
                scope.spawn(move || storm(&listener, stop, moved));
            }
            // Loaded in the middle of the storm, its connections chosen from the first moment: sockets come and go between
            // one hook's attachment and the next.
            let observer = Observer::unchosen(Settings {
                tier,
                ignore_self: false,
                chosen_only: true,
                ports,
                ring_bytes: 4096,
                default_bytes: 64,
                ..Settings::default()
            });
            if let Some(mut observer) = observer {
                look(&mut observer, lasting, &moved);
            }
        });
    }
}

fn look(observer: &mut Observer, lasting: Vec<crate::sockets::Pair>, moved: &AtomicU64) {
    let ports: Vec<u16> = lasting.iter().map(|pair| pair.client_port).collect();
    let mut streams: Vec<_> = lasting
        .into_iter()
        .map(|pair| (TcpStream::from(pair.client), TcpStream::from(pair.server)))
        .collect();
    let mut buffer = [0; 100];
    for _ in 0..ROUNDS {
        for (client, server) in &mut streams {
            client.write_all(&[1; 100]).unwrap();
            server.read_exact(&mut buffer).unwrap();
        }
        observer.take_waiting();
    }
    let each = (ROUNDS * 100) as u64;
    assert!(
        observer.loss(Loss::RingFullData) > 0,
        "the ring must overflow: {:?}",
        observer.all_losses()
    );
    for (_, told) in observer.told.iter() {
        let Some(opened) = &told.opened else { continue };
        let is_lasting = opened.local.is_some_and(|local| ports.contains(&local.port()))
            || opened.remote.is_some_and(|remote| ports.contains(&remote.port()));
        let limit = if is_lasting { each } else { SHORT_BYTES as u64 };
        for stream in [&told.sent, &told.received] {
            let end = stream.start.unwrap_or(0) + stream.bytes.len() as u64;
            assert!(
                end <= limit,
                "position {end} of {limit} bytes: {opened:?} {:?}",
                stream.jumps
            );
        }
        if let Some(closed) = told.closed {
            let totals = closed.sent_bytes.into_iter().chain(closed.received_bytes);
            assert!(totals.max().unwrap_or(0) <= limit, "{closed:?} of {opened:?}");
        }
    }
    drop(streams);
    let unseen = observer.loss(Loss::UnseenBytes);
    let all = moved.load(Ordering::Relaxed) + 2 * LASTING as u64 * each;
    assert!(unseen <= all, "{unseen} bytes unseen of {all}");
}

/// A connection that is thrown away (SO_LINGER of zero) starts new sequence numbers before its end: they are no bytes.
#[test]
fn a_connection_thrown_away_has_no_bytes_nobody_saw() {
    let Some(mut observer) = Observer::start(TierChoice::Auto) else {
        return;
    };
    let pair = tcp(Family::V4);
    let (client_port, server_port) = (pair.client_port, pair.server_port);
    let (mut client, mut server) = (TcpStream::from(pair.client), TcpStream::from(pair.server));
    let mut buffer = [0; 5];
    client.write_all(b"hello").unwrap();
    server.read_exact(&mut buffer).unwrap();
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the option's value is a `struct linger`.
    let set = unsafe {
        libc::setsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&client),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as u32,
        )
    };
    assert_eq!(set, 0);
    drop(client);
    drop(server);
    let (client, server) = observer.both_ends(client_port, server_port);
    if observer.is_excused(TierChoice::Auto) {
        return;
    }
    assert!(client.sent.is(b"hello") && server.received.is(b"hello"));
    assert!(
        client
            .closed
            .is_some_and(|closed| closed.sent_bytes.is_none_or(|bytes| bytes == 5))
    );
    observer.nothing_lost(TierChoice::Auto);
}
