//! Connection: a socket the programs know, and how they come to know it.
//!
//! A connection is met at its first data, whether it was opened before the agent or after: the kernel's own counters tell
//! where in both streams it stands, which end it is, and both initial sequence numbers.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
};
use spanhound_common::{
    Loss, OpenedRecord, PortRule, ProcessRule,
    limits::UNIX_PATH_BYTES,
    record::{
        DIRECTION_IN, DIRECTION_OUT, FAMILY_IPV4, FAMILY_IPV6, FAMILY_NONE, Kind, OPENED_ADOPTED,
        OPENED_SEQUENCE, ROLE_CLIENT, ROLE_SERVER, ROLE_UNKNOWN, TRANSPORT_TCP, TRANSPORT_UDP,
        TRANSPORT_UNIX,
    },
    rule::{CONNECTION_CPU_BITS, CONNECTION_PROGRAM_SHIFT, PROCESS_CHOSEN},
};

use crate::{
    actor::Current,
    config::{known, offset, switch},
    emit,
    maps::{CONNECTIONS, EVENTS, NUMBERED, PORTS, RULES},
    payload, read, socket, standing,
    stream::Moved,
    word,
};

/// Its first record is still being written.
pub const OPENING: u32 = 1;
/// The rules say that nothing of it is wanted (until they change).
pub const UNWANTED: u32 = 2;
/// Positions out are those of the kernel's sequence numbers.
pub const SEQUENCE_OUT: u32 = 4;
/// Positions in are those of the kernel's sequence numbers.
pub const SEQUENCE_IN: u32 = 8;

/// Nothing tells when such a socket goes: its inode number tells it from a later one at the same address.
pub const BY_INODE: u32 = 16;
/// A datagram socket that was connected to nobody when it was met: each call may name another destination.
pub const UNCONNECTED: u32 = 32;

pub const IN: usize = DIRECTION_IN as usize;
pub const OUT: usize = DIRECTION_OUT as usize;

/// The flag that positions of this direction are those of sequence numbers.
#[inline(always)]
pub const fn sequence_flag(direction: usize) -> u32 {
    SEQUENCE_IN >> direction
}

/// Where `struct tcp_sock` has the number of the byte that moves next in this direction.
#[inline(always)]
pub fn sequence_field(direction: usize) -> u32 {
    if direction == OUT {
        offset::tcp_write_seq()
    } else {
        offset::tcp_copied_seq()
    }
}

const _: () = assert!(sequence_flag(IN) == SEQUENCE_IN && sequence_flag(OUT) == SEQUENCE_OUT);

/// What is remembered of one direction.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Stream {
    /// Position of the next byte.
    pub next: u64,
    /// Bytes accounted for: before the first event, or seen by a hook.
    pub seen: u64,
    /// Sequence number of the first byte.
    pub first: u32,
    pub reserved: u32,
}

/// What is remembered of a connection.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Connection {
    pub id: u64,
    /// By direction, [`IN`] and [`OUT`].
    pub streams: [Stream; 2],
    pub flags: u32,
    /// [`RULES`] when its process and port were looked at.
    pub rules: u32,
    /// Who met it, and what held for its process then.
    pub pid: u32,
    pub tid: u32,
    pub rule: ProcessRule,
    pub reserved: u32,
    /// Inode number, with [`BY_INODE`].
    pub inode: u64,
}

impl Connection {
    /// Whether the socket at this address is still the one that was met.
    #[inline(always)]
    pub fn is_still(&self, sock: u64) -> bool {
        self.flags & BY_INODE == 0 || self.inode == inode(sock)
    }

    /// What holds for the process that runs: mostly the one that met the connection, whose rule is at hand.
    #[inline(always)]
    pub fn rule_of(&mut self, current: &Current) -> ProcessRule {
        if self.pid != current.pid {
            return current.rule();
        }
        let rules = rules();
        if self.rules != rules {
            self.rule = current.rule();
            self.rules = rules;
        }
        self.rule
    }
}

const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;

/// The connection of this socket, if it is known and the rules it was judged by still hold.
#[inline(always)]
pub fn find(sock: u64) -> Option<*mut Connection> {
    let known = CONNECTIONS.get_ptr_mut(sock)?;
    // SAFETY: a value of our map.
    let connection = unsafe { &*known };
    let judged = connection.flags & UNWANTED == 0 || connection.rules == rules();
    (judged && connection.is_still(sock)).then_some(known)
}

/// Meets the connection and finds it; what was known at this address before is gone.
#[inline(always)]
pub fn met(sock: u64, how: u64) -> Option<*mut Connection> {
    (meet(sock, how) != 0)
        .then(|| CONNECTIONS.get_ptr_mut(sock))
        .flatten()
}

/// Makes the connection known and tells user space, 1 if that went well. The event that met it is packed in `how`.
/// Exported, so that it is verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn meet(sock: u64, how: u64) -> u64 {
    // SAFETY: whatever becomes of the value meanwhile, it stays one of our map.
    if let Some(stale) = unsafe { CONNECTIONS.get(sock) } {
        socket::gone(stale);
        let _ = CONNECTIONS.remove(sock);
    }
    let moved = Moved::unpack(sock, how, 0, 0, 0);
    introduce(&moved, &Current::thread()).is_some() as u64
}

/// Whether the socket's stream in begins at the sequence number it did when it was met; 1 also where that cannot be told.
/// (The two counters change together; another processor may be at work on them.)
#[inline(always)]
pub fn same(sock: u64) -> bool {
    // SAFETY: copied at once.
    match unsafe { CONNECTIONS.get(sock) }.copied() {
        Some(known) if known.flags & SEQUENCE_IN != 0 => standing::began_at(sock, known.streams[IN].first),
        _ => true,
    }
}

#[inline(always)]
fn introduce(moved: &Moved, current: &Current) -> Option<*mut Connection> {
    let sock = moved.sock;
    let rule = current.rule();
    let Some(family) = read::kernel::<u16>(sock, offset::sock_family()) else {
        emit::lost(Loss::UnreadableSocket, 1);
        return None;
    };
    let transport = transport(sock, family)?;
    // SAFETY: this program's own on this processor.
    let connection = unsafe {
        let place = &raw mut (*payload::draft(moved.program)?).connection;
        word::clear(place);
        &mut *place
    };
    connection.flags = OPENING;
    connection.rules = rules();
    connection.pid = current.pid;
    connection.tid = current.tid;
    connection.rule = rule;
    if transport != TRANSPORT_TCP {
        connection.flags |= BY_INODE;
        connection.inode = inode(sock);
    }
    let mut role = ROLE_UNKNOWN;
    let mut opened = 0u8;
    if transport == TRANSPORT_TCP {
        if let Some(standing) = standing::of(sock) {
            let [in_, out] = &mut connection.streams;
            (in_.first, out.first) = (standing.first_in, standing.first_out);
            (in_.next, out.next) = (standing.in_, standing.out);
            connection.flags |= SEQUENCE_IN;
            role = standing.role;
            if role != ROLE_UNKNOWN {
                connection.flags |= SEQUENCE_OUT;
                opened |= OPENED_SEQUENCE;
            }
            // The counters are those after the event.
            let of_event = if moved.out { &mut *out } else { &mut *in_ };
            of_event.next = of_event.next.wrapping_sub(moved.bytes as u64);
            if out.next != 0 || in_.next != 0 {
                opened |= OPENED_ADOPTED;
            }
        }
    } else if transport == TRANSPORT_UDP {
        role = if moved.out { ROLE_CLIENT } else { ROLE_SERVER };
        if read::field::<u16>(sock, offset::sock_dport()) == 0 {
            connection.flags |= UNCONNECTED;
        }
    }
    connection.streams[OUT].seen = connection.streams[OUT].next;
    connection.streams[IN].seen = connection.streams[IN].next;

    if !wanted(sock, family, &rule) {
        connection.flags = UNWANTED | connection.flags & BY_INODE;
        return insert(moved.sock, connection);
    }
    connection.id = socket::connect::number_of(moved.sock).unwrap_or_else(|| number(moved.program));
    let entry = insert(moved.sock, connection)?;
    if !announce(moved, current, connection, family, transport, role, opened) {
        let _ = CONNECTIONS.remove(moved.sock);
        return None;
    }
    // SAFETY: a value of our map.
    unsafe { (*entry).flags &= !OPENING };
    Some(entry)
}

/// Number of the socket's inode; 0 once it has none (`struct socket_alloc` holds socket and inode together).
#[inline(always)]
fn inode(sock: u64) -> u64 {
    match read::kernel::<u64>(sock, offset::sock_socket()) {
        Some(socket) if socket != 0 && known(offset::inode_of_socket()) => {
            read::kernel::<u64>(socket + offset::inode_of_socket() as u64, offset::inode_number())
                .unwrap_or(0)
        }
        _ => 0,
    }
}

/// How often the rules changed.
#[inline(always)]
pub fn rules() -> u32 {
    RULES.get(0).copied().unwrap_or(0)
}

/// `None` for sockets of no interest.
#[inline(always)]
fn transport(sock: u64, family: u16) -> Option<u8> {
    match family {
        AF_INET | AF_INET6 => match read::kernel::<u16>(sock, offset::sock_protocol())? {
            IPPROTO_TCP => Some(TRANSPORT_TCP),
            IPPROTO_UDP if switch::udp() != 0 => Some(TRANSPORT_UDP),
            _ => None,
        },
        AF_UNIX if switch::unix() != 0 => {
            (read::kernel::<u16>(sock, offset::sock_type())? == SOCK_STREAM).then_some(TRANSPORT_UNIX)
        }
        _ => None,
    }
}

/// Whether the process or a port is chosen or ignored.
#[inline(always)]
fn wanted(sock: u64, family: u16, rule: &ProcessRule) -> bool {
    let mut chosen = switch::chosen_only() == 0 || rule.flags & PROCESS_CHOSEN != 0;
    if switch::port_rules() != 0 && family != AF_UNIX {
        let local = read::field::<u16>(sock, offset::sock_num());
        let remote = u16::from_be(read::field::<u16>(sock, offset::sock_dport()));
        for port in [local as u32, remote as u32] {
            // SAFETY: written before the programs are attached.
            match unsafe { PORTS.get(port) }.copied() {
                Some(rule) if rule == PortRule::Ignored as u32 => return false,
                Some(_) => chosen = true,
                None => {}
            }
        }
    }
    chosen
}

/// The next number of a connection.
#[inline(always)]
pub fn number(program: u32) -> u64 {
    let Some(count) = NUMBERED.get_ptr_mut(program) else {
        return 0;
    };
    // SAFETY: this program's own counter on this processor.
    let (count, cpu) = unsafe {
        *count += 1;
        (*count, bpf_get_smp_processor_id() as u64)
    };
    (program as u64) << CONNECTION_PROGRAM_SHIFT
        | count << CONNECTION_CPU_BITS
        | cpu & ((1 << CONNECTION_CPU_BITS) - 1)
}

#[inline(always)]
fn insert(key: u64, connection: &Connection) -> Option<*mut Connection> {
    if CONNECTIONS.insert(key, connection, BPF_NOEXIST as u64).is_err() {
        // Another processor was first, or there is no room.
        let race = CONNECTIONS.get_ptr_mut(key).is_some();
        emit::lost(
            if race {
                Loss::OpeningRace
            } else {
                Loss::ConnectionMapFull
            },
            1,
        );
        return None;
    }
    CONNECTIONS.get_ptr_mut(key)
}

/// Writes the record that tells user space of the connection.
#[inline(always)]
fn announce(
    moved: &Moved,
    current: &Current,
    connection: &Connection,
    family: u16,
    transport: u8,
    role: u8,
    flags: u8,
) -> bool {
    let Some(mut entry) = EVENTS.reserve::<OpenedRecord>(0) else {
        emit::lost(Loss::RingFullOpened, 1);
        return false;
    };
    let place = entry.as_mut_ptr();
    let sock = moved.sock;
    // SAFETY: reserved for this record; every byte of it is written here.
    unsafe {
        word::clear(place);
        let record = &mut *place;
        record.kind = Kind::Opened as u8;
        record.transport = transport;
        record.role = role;
        record.flags = flags;
        record.connection = connection.id;
        record.time_ns = bpf_ktime_get_ns();
        record.actor = current.own_record(&connection.rule);
        record.inode = connection.inode as u32;
        let net = read::field::<u64>(sock, offset::sock_net());
        record.network_namespace = read::field::<u32>(net, offset::net_inum());
        // The sequence number of the first byte is one behind the initial one (the SYN has a number of its own).
        let (own, peer) = (
            connection.streams[OUT].first.wrapping_sub(1),
            connection.streams[IN].first.wrapping_sub(1),
        );
        (record.client_sequence, record.server_sequence) = if role == ROLE_CLIENT {
            (own, peer)
        } else {
            (peer, own)
        };
        record.family = match family {
            AF_INET => FAMILY_IPV4,
            AF_INET6 => FAMILY_IPV6,
            _ => FAMILY_NONE,
        };
        if family == AF_UNIX {
            unix_path(sock, record);
        } else {
            record.local_port = read::field::<u16>(sock, offset::sock_num());
            record.remote_port = u16::from_be(read::field::<u16>(sock, offset::sock_dport()));
            let (local, remote, len) = if family == AF_INET {
                (offset::sock_rcv_saddr(), offset::sock_daddr(), 4)
            } else {
                (offset::sock_v6_rcv_saddr(), offset::sock_v6_daddr(), 16)
            };
            read::kernel_bytes((&raw mut record.local).cast(), len, sock + local as u64);
            read::kernel_bytes((&raw mut record.remote).cast(), len, sock + remote as u64);
        }
    }
    entry.submit(emit::wake_flags(0));
    true
}

/// The path the listening end is bound to: an accepted socket shares its listener's address, a connecting one has it at
/// its peer. Which of the two it is tells the role.
///
/// # Safety
///
/// `record` must be the record under construction.
#[inline(always)]
unsafe fn unix_path(sock: u64, record: &mut OpenedRecord) {
    let mut address = read::field::<u64>(sock, offset::unix_addr());
    record.role = ROLE_SERVER;
    if address == 0 {
        let peer = read::field::<u64>(sock, offset::unix_peer());
        record.role = ROLE_UNKNOWN;
        if peer != 0 {
            address = read::field::<u64>(peer, offset::unix_addr());
            record.role = if address != 0 { ROLE_CLIENT } else { ROLE_UNKNOWN };
        }
    }
    if address == 0 {
        return;
    }
    // The length counts `sun_family`.
    let len = read::field::<u32>(address, offset::unix_address_len()).saturating_sub(2);
    let len = if len > UNIX_PATH_BYTES as u32 {
        UNIX_PATH_BYTES as u32
    } else {
        len
    };
    // SAFETY: the record's path holds as many bytes.
    unsafe {
        let path = (&raw mut record.unix_path).cast::<u8>();
        if read::kernel_bytes(path, len, address + offset::unix_address_name() as u64 + 2) {
            record.unix_path_len = len as u8;
        }
    }
}
