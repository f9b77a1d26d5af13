//! Sockets that change hands: `dup`, `SCM_RIGHTS`, fork and exec, listeners a child inherits, other network namespaces.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Command, Stdio},
};

use spanhound_agent::{
    event::Role,
    kernel::{ProcessRule, TierChoice},
};
use spanhound_common::rule::PROCESS_CHOSEN;

use crate::{
    observer::{Observer, TIERS, in_every_tier},
    sockets::{Family, tcp},
};

/// Where several processes wait in one call, and are chosen while they do. In the kprobe tier a call that was entered before is
/// not known, and the kernel tells the returns of so many calls at once (`maxactive`), on 5.10 as many as it has processors.
const TIERS_OF_PROCESSES: [TierChoice; 3] = [TierChoice::Fentry, TierChoice::Tracepoint, TierChoice::Syscall];

/// Sends a descriptor through a Unix socket and takes it out at the other end.
fn passed(fd: BorrowedFd<'_>) -> OwnedFd {
    let (from, to) = UnixStream::pair().unwrap();
    let mut byte = [0u8; 1];
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut control = [0u64; 8];
    // SAFETY: all zeroes is a message without name, control data and buffers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: the control buffer is aligned and has room for one descriptor; everything outlives the calls.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header)
            .cast::<i32>()
            .write_unaligned(fd.as_raw_fd());
        assert_eq!(libc::sendmsg(from.as_raw_fd(), &raw const message, 0), 1);
        message.msg_controllen = size_of_val(&control) as _;
        assert_eq!(libc::recvmsg(to.as_raw_fd(), &raw mut message, 0), 1);
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(!header.is_null());
        OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<i32>().read_unaligned())
    }
}

/// Takes a descriptor out of a process (this one), as debuggers and supervisors do.
fn taken(fd: BorrowedFd<'_>) -> OwnedFd {
    let own = |fd: libc::c_long| {
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: a new descriptor, ours.
        unsafe { OwnedFd::from_raw_fd(fd as i32) }
    };
    // SAFETY: numbers only.
    let process = own(unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) });
    // SAFETY: as above.
    own(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd.as_raw_fd(), 0) })
}

#[test]
fn a_socket_under_other_descriptors_is_one_connection() {
    let act = |observer: &mut Observer| {
        let pair = tcp(Family::V4);
        let (client_port, server_port) = (pair.client_port, pair.server_port);
        use std::os::fd::AsFd;
        let duplicate = TcpStream::from(pair.client.try_clone().unwrap());
        let handed = TcpStream::from(passed(pair.client.as_fd()));
        let taken = TcpStream::from(taken(pair.client.as_fd()));
        let mut server = TcpStream::from(pair.server);
        let mut received = [0; 3];
        for mut stream in [TcpStream::from(pair.client), duplicate, handed, taken] {
            stream.write_all(b"one").unwrap();
            server.read_exact(&mut received).unwrap();
        }
        drop(server);
        observer.both_ends(client_port, server_port)
    };
    in_every_tier(act, |tier, (client, server)| {
        assert!(
            client.sent.is(b"oneoneoneone") && server.received.is(b"oneoneoneone"),
            "{tier:?}"
        );
    });
}

/// Another program reads from and writes to a socket it was given, and inherits a listener it accepts from.
#[test]
fn a_child_is_the_actor_on_what_it_was_given() {
    for tier in TIERS_OF_PROCESSES {
        let Some(mut observer) = Observer::start(tier) else {
            continue;
        };
        let pair = tcp(Family::V4);
        let (client_port, server_port) = (pair.client_port, pair.server_port);
        let given = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        let mut child = Command::new("/bin/sh")
            .args(["-c", "kill -STOP $$; read line; echo \"you said $line\""])
            .stdin(given(&pair.server))
            .stdout(given(&pair.server))
            .spawn()
            .unwrap();
        // Chosen before it reads.
        let (id, mut status) = (child.id(), 0);
        // SAFETY: a child of ours, which stops itself.
        let stopped = unsafe { libc::waitpid(id as i32, &raw mut status, libc::WUNTRACED) };
        assert!(stopped == id as i32 && libc::WIFSTOPPED(status));
        observer.choose(id);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::kill(id as i32, libc::SIGCONT) }, 0);
        drop(pair.server);
        let mut client = TcpStream::from(pair.client);
        client.write_all(b"hello\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "you said hello\n");
        assert!(child.wait().unwrap().success());
        drop(client);
        let (client, server) = observer.both_ends(client_port, server_port);
        if observer.is_excused(tier) {
            continue;
        }
        let (ours, theirs) = (client.opened.unwrap(), server.opened.unwrap());
        assert_eq!((ours.actor.pid, ours.role), (std::process::id(), Role::Client));
        assert_eq!((theirs.actor.pid, theirs.role), (id, Role::Server));
        // The shell reads byte by byte: positions follow on each other all the same.
        assert!(
            server.received.is(b"hello\n"),
            "{tier:?} {:?}",
            server.received.jumps
        );
        assert!(server.sent.is(answer.as_bytes()) && client.received.is(answer.as_bytes()));
        observer.nothing_lost(tier);
    }
}

/// A forked process accepts from the listener of its parent.
#[test]
fn a_worker_accepts_from_an_inherited_listener() {
    for tier in TIERS_OF_PROCESSES {
        let Some(mut observer) = Observer::start(tier) else {
            continue;
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server_port = listener.local_addr().unwrap().port();
        let (ready, go) = UnixStream::pair().unwrap();
        // SAFETY: the child calls nothing but system calls, and ends without running anything of the parent's.
        let worker = unsafe { libc::fork() };
        assert!(worker >= 0);
        if worker == 0 {
            let mut buffer = [0u8; 8];
            // SAFETY: descriptors inherited from the parent, a buffer of ours.
            unsafe {
                libc::read(go.as_raw_fd(), buffer.as_mut_ptr().cast(), 1);
                let fd = libc::accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut());
                let len = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
                libc::write(fd, buffer.as_ptr().cast(), len.max(0) as usize);
                libc::_exit(0);
            }
        }
        observer.choose(worker as u32);
        (&ready).write_all(b"!").unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", server_port)).unwrap();
        let client_port = client.local_addr().unwrap().port();
        client.write_all(b"question").unwrap();
        let mut answer = [0; 8];
        client.read_exact(&mut answer).unwrap();
        drop(client);
        let mut status = 0;
        // SAFETY: a child of ours.
        assert_eq!(unsafe { libc::waitpid(worker, &raw mut status, 0) }, worker);
        let (client, server) = observer.both_ends(client_port, server_port);
        if observer.is_excused(tier) {
            continue;
        }
        assert_eq!(server.opened.unwrap().actor.pid, worker as u32);
        assert!(
            server.received.is(b"question") && client.received.is(b"question"),
            "{tier:?}"
        );
        observer.nothing_lost(tier);
    }
}

/// Several listeners at one port, as workers have them that share nothing: whichever is given a connection accepts it.
#[test]
fn listeners_that_share_a_port_are_told_like_one() {
    for tier in TIERS {
        let Some(mut observer) = Observer::start(tier) else {
            continue;
        };
        let first = sharing_listener(0);
        let port = first.local_addr().unwrap().port();
        let listeners = [first, sharing_listener(port)];
        let mut pairs = Vec::new();
        for _ in 0..8 {
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let mut accepted = accepted_by_any(&listeners);
            client.write_all(b"to whom").unwrap();
            accepted.read_exact(&mut [0; 7]).unwrap();
            pairs.push(client.local_addr().unwrap().port());
        }
        for client_port in pairs {
            let (client, server) = observer.both_ends(client_port, port);
            if observer.is_excused(tier) {
                break;
            }
            assert!(client.sent.is(b"to whom") && server.received.is(b"to whom"));
            assert_eq!(server.opened.unwrap().role, Role::Server);
        }
        observer.nothing_lost(tier);
    }
}

fn sharing_listener(port: u16) -> TcpListener {
    // SAFETY: a new socket that is ours, an option whose value is an int, and an address with its length.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        assert!(fd >= 0);
        let listener = TcpListener::from_raw_fd(fd);
        let on = 1i32;
        let shares = libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_REUSEPORT,
            (&raw const on).cast(),
            4,
        );
        assert_eq!(shares, 0);
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as u16;
        address.sin_port = port.to_be();
        address.sin_addr.s_addr = u32::from(std::net::Ipv4Addr::LOCALHOST).to_be();
        let len = size_of_val(&address) as u32;
        assert_eq!(libc::bind(fd, (&raw const address).cast(), len), 0);
        assert_eq!(libc::listen(fd, 8), 0);
        listener
    }
}

fn accepted_by_any(listeners: &[TcpListener; 2]) -> TcpStream {
    let mut ready = listeners.each_ref().map(|listener| libc::pollfd {
        fd: listener.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    // SAFETY: as many as there are.
    assert_eq!(unsafe { libc::poll(ready.as_mut_ptr(), 2, 5000) }, 1);
    let one = ready.iter().find(|one| one.revents != 0).unwrap();
    let (nobody, no_length) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: who connected is not asked for; the new descriptor is ours.
    unsafe {
        let fd = libc::accept4(one.fd, nobody, no_length, libc::SOCK_CLOEXEC);
        assert!(fd >= 0);
        TcpStream::from_raw_fd(fd)
    }
}

/// A thread in a network of its own; `None` where this kernel lets nobody have one.
pub(crate) fn elsewhere<T: Send>(run: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: only this thread changes its namespace, and it ends here.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return None;
            }
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            // SAFETY: a request for "lo" with room for the flags; the descriptor is open.
            unsafe {
                let mut request: libc::ifreq = std::mem::zeroed();
                request.ifr_name[0] = b'l' as _;
                request.ifr_name[1] = b'o' as _;
                request.ifr_ifru.ifru_flags = libc::IFF_UP as _;
                assert_eq!(
                    libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request),
                    0
                );
            }
            Some(run())
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_network_namespace_is_told_apart() {
    let Some(mut observer) = Observer::start(TierChoice::Auto) else {
        return;
    };
    let talk = || {
        let pair = tcp(Family::V4);
        let ports = (pair.client_port, pair.server_port);
        let (mut client, mut server) = (TcpStream::from(pair.client), TcpStream::from(pair.server));
        client.write_all(b"inside").unwrap();
        server.read_exact(&mut [0; 6]).unwrap();
        ports
    };
    let Some(ports) = elsewhere(talk) else {
        eprintln!("skipped: no network namespace can be made here");
        return;
    };
    let (client, server) = observer.both_ends(ports.0, ports.1);
    if observer.is_excused(TierChoice::Auto) {
        return;
    }
    assert!(client.sent.is(b"inside") && server.received.is(b"inside"));
    let (ours, theirs) = (client.opened.unwrap(), server.opened.unwrap());
    assert_eq!(ours.network_namespace, theirs.network_namespace);
    let ports = talk();
    let (here, _) = observer.both_ends(ports.0, ports.1);
    assert_ne!(here.opened.unwrap().network_namespace, ours.network_namespace);
}

#[test]
fn only_what_the_rules_choose_is_told() {
    use spanhound_agent::kernel::{PortRule, Settings};
    let talk = |port: u16| {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"data").unwrap();
        server.read_exact(&mut [0; 4]).unwrap();
        (
            client.local_addr().unwrap().port(),
            listener.local_addr().unwrap().port(),
        )
    };
    let free = || {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
    };
    let (chosen, ignored) = (free(), free());
    let settings = |chosen_only| Settings {
        ignore_self: false,
        chosen_only,
        ports: vec![(chosen, PortRule::Chosen), (ignored, PortRule::Ignored)],
        ..Settings::default()
    };
    let told = |observer: &mut Observer, ports: (u16, u16)| {
        let (client, server) = observer.both_ends(ports.0, ports.1);
        (client.opened.is_some(), server.opened.is_some())
    };
    // Nothing but the port.
    let Some(mut observer) = Observer::unchosen(settings(true)) else {
        return;
    };
    let chosen_ports = talk(chosen);
    let others = [talk(ignored), talk(0)];
    assert_eq!(told(&mut observer, chosen_ports), (true, true));
    for ports in others {
        assert_eq!(told(&mut observer, ports), (false, false));
    }
    // The process too, but for the port that is ignored.
    observer.choose(std::process::id());
    let (any_ports, ignored_ports) = (talk(0), talk(ignored));
    assert_eq!(told(&mut observer, any_ports), (true, true));
    assert_eq!(told(&mut observer, ignored_ports), (false, false));
    drop(observer);
    // A process that is ignored, then no more.
    let Some(mut observer) = Observer::unchosen(Settings {
        ignore_self: false,
        chosen_only: false,
        ignored_pids: vec![std::process::id()],
        ..Settings::default()
    }) else {
        return;
    };
    let ports = talk(0);
    assert_eq!(told(&mut observer, ports), (false, false));
    observer
        .capture
        .set_process(std::process::id(), ProcessRule::default());
    let ports = talk(0);
    assert_eq!(told(&mut observer, ports), (true, true));
    observer.capture.set_process(
        std::process::id(),
        ProcessRule {
            flags: PROCESS_CHOSEN,
            ..ProcessRule::default()
        },
    );
    let ports = talk(0);
    assert_eq!(told(&mut observer, ports), (true, true));
}
