//! Stream: every hook that sees data move ends here, whatever its tier.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use spanhound_common::{
    AddressedRecord, Loss,
    limits::TAIL_BYTES,
    record::{FAMILY_IPV4, FAMILY_IPV6, FAMILY_NONE, Kind},
    rule::{BUDGET_IGNORED, PROCESS_WAKES, setting_slot},
};

use crate::{
    actor::Current,
    config::switch,
    connection::{
        self, AF_INET, AF_INET6, Connection, OPENING, SEQUENCE_IN, SEQUENCE_OUT, UNCONNECTED, UNWANTED,
    },
    emit,
    maps::SETTINGS,
    payload::{self, Header, Payload},
    read, waking,
};

/// Programs of one tier that see data move. Where the kernel may take a program off the processor in the middle, another
/// may run there, but never the same: what is each program's own needs no lock.
pub const PROGRAMS: u32 = 10;

/// What [`connection::number`] takes the program that sees connections begin for.
pub const PROGRAM_CONNECT: u32 = PROGRAMS;

/// Bytes moved through a socket.
#[derive(Clone, Copy)]
pub struct Moved {
    /// Address of the `struct sock`: the connection's key.
    pub sock: u64,
    pub out: bool,
    pub bytes: u32,
    /// The socket's sequence numbers are those right after this movement (not so inside a batch of messages).
    pub settled: bool,
    /// That number, where the hook has it at hand.
    pub sequence: Option<u32>,
    /// Below [`PROGRAMS`]; no two programs of a tier have the same.
    pub program: u32,
    pub payload: Payload,
    pub addressee: Addressee,
}

/// The `struct sockaddr` a sending call names.
#[derive(Clone, Copy)]
pub struct Addressee {
    /// 0: none is named.
    pub address: u64,
    pub in_kernel: bool,
}

impl Addressee {
    pub const NONE: Self = Self::in_process(0);

    #[inline(always)]
    pub const fn in_process(address: u64) -> Self {
        Self {
            address,
            in_kernel: false,
        }
    }
}

const OUT: u64 = 1 << 32;
const SETTLED: u64 = 1 << 33;
const ARRAY_IN_KERNEL: u64 = 1 << 34;
const ADDRESSEE_IN_KERNEL: u64 = 1 << 35;
/// The upper half of the payload's word is the sequence number, and nothing is left out of the first buffers.
const SEQUENCE: u64 = 1 << 36;
const PROGRAM_SHIFT: u32 = 40;
const PROGRAM_MASK: u32 = 0xF;

const _: () = assert!(PROGRAMS <= PROGRAM_MASK);

impl Moved {
    /// [`connection::IN`] or [`connection::OUT`].
    #[inline(always)]
    fn direction(&self) -> usize {
        self.out as usize
    }

    /// All but the addresses, in the one word that fits a call between separately verified functions.
    #[inline(always)]
    fn pack(&self) -> (u64, u64) {
        let mut how = self.bytes as u64 | ((self.program & PROGRAM_MASK) as u64) << PROGRAM_SHIFT;
        if self.out {
            how |= OUT;
        }
        if self.settled {
            how |= SETTLED;
        }
        if self.payload.array_in_kernel {
            how |= ARRAY_IN_KERNEL;
        }
        if self.addressee.in_kernel {
            how |= ADDRESSEE_IN_KERNEL;
        }
        let mut upper = self.payload.skip;
        if let Some(sequence) = self.sequence {
            how |= SEQUENCE;
            upper = sequence;
        }
        (how, self.payload.buffers as u64 | (upper as u64) << 32)
    }

    #[inline(always)]
    pub fn unpack(sock: u64, how: u64, address: u64, vector: u64, addressee: u64) -> Self {
        let upper = (vector >> 32) as u32;
        let has_sequence = how & SEQUENCE != 0;
        Self {
            sock,
            out: how & OUT != 0,
            bytes: how as u32,
            settled: how & SETTLED != 0,
            sequence: has_sequence.then_some(upper),
            program: (how >> PROGRAM_SHIFT) as u32 & PROGRAM_MASK,
            payload: Payload {
                address,
                buffers: vector as u32,
                skip: if has_sequence { 0 } else { upper },
                array_in_kernel: how & ARRAY_IN_KERNEL != 0,
            },
            addressee: Addressee {
                address: addressee,
                in_kernel: how & ADDRESSEE_IN_KERNEL != 0,
            },
        }
    }
}

/// Accounts for the movement and tells user space, with as much payload as it wants.
#[inline(always)]
pub fn moved(moved: &Moved) {
    let (how, vector) = moved.pack();
    account(
        moved.sock,
        how,
        moved.payload.address,
        vector,
        moved.addressee.address,
    );
}

/// An exported function of numbers only: the verifier looks at such a one by itself, once, whatever calls it from however
/// many paths (`Documentation/bpf/verifier.rst`, since Linux 5.6).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn account(sock: u64, how: u64, address: u64, vector: u64, addressee: u64) -> u64 {
    let moved = Moved::unpack(sock, how, address, vector, addressee);
    let current = Current::thread();
    let mut known = match connection::find(sock) {
        Some(known) => known,
        None => match connection::met(sock, how) {
            Some(known) => known,
            None => return 0,
        },
    };
    // SAFETY: a value of our map; two threads on one socket may interleave, which positions from the kernel's sequence
    // numbers survive.
    if unsafe { (*known).flags } & (UNWANTED | OPENING) != 0 {
        // SAFETY: as above.
        if unsafe { (*known).flags } & OPENING != 0 {
            emit::lost(Loss::OpeningRace, 1);
        }
        return 0;
    }
    // SAFETY: as above.
    let mut ahead = unsafe { ahead(&moved, &*known) };
    if ahead.unsigned_abs() > FAR && !connection::same(sock) {
        // Another socket's number: what was known is of one that went unseen.
        known = match connection::met(sock, how) {
            Some(known) => known,
            None => return 0,
        };
        ahead = 0;
    }
    // SAFETY: as above.
    let known = unsafe { &mut *known };
    let position = place(&moved, known, ahead);
    let Some(budget) = budget(known.id, moved.direction()) else {
        return 0;
    };
    let rule = known.rule_of(&current);
    if moved.out && rule.flags & PROCESS_WAKES != 0 {
        waking::tell_wakes(current.pid as u64, current.tid as u64);
    }
    if known.flags & UNCONNECTED != 0 && moved.out && addressee != 0 {
        tell_addressee(known.id, how, addressee);
    }
    let (bytes, budget) = (moved.bytes as u64, budget as u64);
    // How a long movement ends is told apart, where its place in the stream is known and its bytes can be had.
    let has_tail = budget != 0
        && bytes > budget + TAIL_BYTES as u64
        && known.flags & (SEQUENCE_IN | SEQUENCE_OUT) != 0
        && moved.payload.address != 0;
    let before_tail = bytes.wrapping_sub(TAIL_BYTES as u64);
    // SAFETY: the helper has no preconditions.
    let time_ns = unsafe { bpf_ktime_get_ns() };
    let mut header = Header::new(
        moved.direction() as u8,
        known.id,
        time_ns,
        &current.record(&rule, moved.out),
        position,
        if has_tail { before_tail } else { bytes },
    );
    let wanted = if bytes < budget { bytes } else { budget };
    payload::emit(moved.program, &header, &moved.payload, wanted);
    if has_tail {
        header.continues(position.wrapping_add(before_tail), TAIL_BYTES as u64);
        let tail = Payload {
            skip: moved.payload.skip.wrapping_add(before_tail as u32),
            ..moved.payload
        };
        payload::emit_gathered(moved.program, &header, &tail, TAIL_BYTES as u64);
    }
    0
}

/// Tells whom the datagram goes to that is told next. Exported, so that it is verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tell_addressee(connection: u64, how: u64, address: u64) -> u64 {
    let in_kernel = how & ADDRESSEE_IN_KERNEL != 0;
    // `struct sockaddr_in` and `struct sockaddr_in6`: family, port, the one's address; the other's is behind a flow label.
    let head = read::either::<[u16; 2]>(address, in_kernel);
    let (family, told) = match head {
        Some([AF_INET, _]) => (
            FAMILY_IPV4,
            read::either::<u32>(address.wrapping_add(4), in_kernel).map(|four| [u64::from(four), 0]),
        ),
        Some([AF_INET6, _]) => (FAMILY_IPV6, read::either(address.wrapping_add(8), in_kernel)),
        _ => (FAMILY_NONE, None),
    };
    let (Some([_, port]), Some(words)) = (head, told) else {
        emit::lost(Loss::UnknownAddressee, 1);
        return 0;
    };
    let tid = bpf_get_current_pid_tgid() as u32;
    // SAFETY: the helper has no preconditions.
    let time_ns = unsafe { bpf_ktime_get_ns() };
    emit::record(Loss::UnknownAddressee, |record: &mut AddressedRecord| {
        record.kind = Kind::Addressed as u8;
        record.family = family;
        record.port = u16::from_be(port);
        record.tid = tid;
        record.connection = connection;
        record.time_ns = time_ns;
        // SAFETY: a record's address is two words, aligned to words as the record is.
        unsafe { (&raw mut record.address).cast::<[u64; 2]>().write(words) };
    });
    0
}

/// How much of each call user space wants; `None` for nothing at all, not even the record.
#[inline(always)]
fn budget(id: u64, direction: usize) -> Option<u32> {
    let slot = setting_slot(id, switch::setting_mask() + 1);
    match SETTINGS.get(slot) {
        Some(setting) if setting.connection == id => {
            let bytes = setting.bytes[direction];
            (bytes != BUDGET_IGNORED).then_some(bytes)
        }
        _ => Some(switch::default_bytes()),
    }
}

/// A distance from where the stream should be that is looked into, in bytes.
const FAR: u32 = 1 << 20;

/// How far the socket's sequence number is ahead of where this movement should have left it.
#[inline(always)]
fn ahead(moved: &Moved, known: &Connection) -> i32 {
    let direction = moved.direction();
    if known.flags & connection::sequence_flag(direction) == 0 || !moved.settled {
        return 0;
    }
    let sequence = match moved.sequence {
        Some(sequence) => sequence,
        None => read::field::<u32>(moved.sock, connection::sequence_field(direction)),
    };
    let stream = &known.streams[direction];
    sequence
        .wrapping_sub(stream.first)
        .wrapping_sub(stream.next as u32)
        .wrapping_sub(moved.bytes) as i32
}

/// Position of the first byte that moved; the connection's counters go on behind the last one.
#[inline(always)]
fn place(moved: &Moved, known: &mut Connection, ahead: i32) -> u64 {
    let stream = &mut known.streams[moved.direction()];
    let next = stream.next;
    let mut position = next;
    // One more than expected on the way in is the peer's FIN, read together with its last data.
    if !(ahead == 0 || (ahead == 1 && !moved.out)) {
        // Behind the connection's first byte there is nothing: such a number is not this stream's.
        let corrected = next.wrapping_add(ahead as i64 as u64);
        if ahead > 0 || corrected < next {
            position = corrected;
        }
    }
    let end = position.wrapping_add(moved.bytes as u64);
    stream.seen += moved.bytes as u64;
    if end > next {
        stream.next = end;
    }
    position
}
