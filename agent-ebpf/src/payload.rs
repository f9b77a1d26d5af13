//! Payload: where the bytes of a call are, and copying the first of them beside the record.

use core::{hint::black_box, mem::offset_of};

use aya_ebpf::helpers::generated::{bpf_ringbuf_reserve, bpf_ringbuf_submit};
use spanhound_common::{
    DataRecord, Loss,
    limits::{BUFFERS_MAX, CAPTURE_BYTES_MAX, GATHERED_BYTES_MAX},
    record::{ActorRecord, DATA_CONTINUES, Kind},
};

use crate::{
    connection::Connection,
    emit,
    maps::{DRAFTS, EVENTS},
    read,
};

const HEADER: u64 = size_of::<DataRecord>() as u64;

/// A [`DataRecord`] as the words it consists of: they go from registers to where the record is made.
#[derive(Clone, Copy)]
pub struct Header {
    words: [u64; HEADER as usize / 8],
}

const _: () = {
    assert!(offset_of!(DataRecord, captured) == 4 && offset_of!(DataRecord, connection) == 8);
    assert!(offset_of!(DataRecord, time_ns) == 16 && offset_of!(DataRecord, actor) == 24);
    assert!(offset_of!(DataRecord, position) == 48 && offset_of!(DataRecord, moved) == 56);
};

const FLAGS_SHIFT: u32 = 16;
const CAPTURED_SHIFT: u32 = 32;

impl Header {
    #[inline(always)]
    pub fn new(
        direction: u8,
        connection: u64,
        time_ns: u64,
        actor: &ActorRecord,
        position: u64,
        moved: u64,
    ) -> Self {
        Self {
            words: [
                Kind::Data as u64 | (direction as u64) << 8,
                connection,
                time_ns,
                actor.pid as u64 | (actor.tid as u64) << 32,
                actor.routine,
                actor.parent_routine,
                position,
                moved,
            ],
        }
    }

    /// The record of what comes behind.
    #[inline(always)]
    pub fn continues(&mut self, position: u64, moved: u64) {
        self.words[0] |= (DATA_CONTINUES as u64) << FLAGS_SHIFT;
        self.words[6] = position;
        self.words[7] = moved;
    }

    #[inline(always)]
    fn time_ns(&self) -> u64 {
        self.words[2]
    }

    /// # Safety
    ///
    /// `record` must be good for one, and aligned.
    #[inline(always)]
    unsafe fn write(&self, record: *mut DataRecord, captured: u32) {
        let words = record.cast::<u64>();
        // SAFETY: the caller's promise; the record is as many words.
        unsafe {
            words.write(self.words[0] | (captured as u64) << CAPTURED_SHIFT);
            let mut at = 1;
            while at < self.words.len() {
                words.add(at).write(self.words[at]);
                at += 1;
            }
        }
    }
}

/// What is too large for the stack while it is made, one for each program on each processor.
#[repr(C)]
pub struct Draft {
    /// A connection before it is known.
    pub connection: Connection,
    pub header: DataRecord,
    /// Twice the limit: the verifier knows each of two masked numbers, offset and length, not their sum.
    bytes: [u8; 2 * GATHER as usize],
}

/// One more than is ever put together.
const GATHER: u64 = GATHERED_BYTES_MAX as u64 + 1;

/// The draft of a program; absent for a number that is no program's.
#[inline(always)]
pub fn draft(program: u32) -> Option<*mut Draft> {
    DRAFTS.get_ptr_mut(program)
}

/// Where the bytes of a call are.
#[derive(Clone, Copy)]
pub struct Payload {
    /// In the process: of the bytes, or (with `buffers`) of an array of `struct iovec`. 0: out of reach, only counted.
    pub address: u64,
    /// How many buffers the array has; 0 stands for one buffer at `address`.
    pub buffers: u32,
    /// Bytes of the first buffers to leave out.
    pub skip: u32,
    /// The array is in kernel memory.
    pub array_in_kernel: bool,
}

impl Payload {
    pub const NONE: Self = Self {
        address: 0,
        buffers: 0,
        skip: 0,
        array_in_kernel: false,
    };

    #[inline(always)]
    pub fn buffer(address: u64) -> Self {
        Self {
            address,
            ..Self::NONE
        }
    }

    #[inline(always)]
    pub fn vector(array: u64, buffers: u64) -> Self {
        Self {
            address: array,
            buffers: if buffers > BUFFERS_MAX as u64 {
                BUFFERS_MAX
            } else {
                buffers as u32
            },
            ..Self::NONE
        }
    }

    /// An empty one where it cannot be read.
    #[inline(always)]
    fn buffer_at(&self, index: u64) -> Buffer {
        if self.buffers == 0 {
            return Buffer {
                address: self.address,
                len: u64::MAX,
            };
        }
        let place = self.address.wrapping_add(index * size_of::<Buffer>() as u64);
        if self.array_in_kernel {
            read::kernel_or_zero(place)
        } else {
            read::user_or_zero(place)
        }
    }
}

/// `struct iovec` of `include/uapi/linux/uio.h`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Buffer {
    pub address: u64,
    pub len: u64,
}

/// Tells of a movement, with up to `wanted` bytes of payload.
#[inline(always)]
pub fn emit(program: u32, header: &Header, payload: &Payload, wanted: u64) {
    if payload.address == 0 || wanted == 0 {
        one::<0>(header, 0, 0);
        return;
    }
    let first = payload.buffer_at(0);
    let skip = payload.skip as u64;
    // What is wanted often ends within the first buffer.
    if first.len >= wanted.wrapping_add(skip) {
        contiguous(header, first.address.wrapping_add(skip), wanted);
    } else {
        emit_gathered(program, header, payload, wanted);
    }
}

/// One buffer is copied straight into the ring buffer, into the smallest of a few sizes (the kernel wants to know the
/// size of a reservation beforehand).
#[inline(always)]
fn contiguous(header: &Header, address: u64, wanted: u64) {
    if wanted <= 256 {
        one::<256>(header, address, wanted);
    } else if wanted <= 1024 {
        one::<1024>(header, address, wanted);
    } else if wanted <= 4096 {
        one::<4096>(header, address, wanted);
    } else {
        one::<{ CAPTURE_BYTES_MAX as u64 }>(header, address, wanted);
    }
}

#[inline(always)]
fn one<const SIZE: u64>(header: &Header, address: u64, wanted: u64) {
    // SAFETY: a map of ours.
    let place =
        unsafe { bpf_ringbuf_reserve((&raw const EVENTS).cast_mut().cast(), HEADER + SIZE, 0) }.cast::<u8>();
    if place.is_null() {
        emit::lost(Loss::RingFullData, 1);
        return;
    }
    let mut captured = 0;
    if SIZE > 0 {
        captured = at_most::<SIZE>(wanted) as u32;
        // SAFETY: `HEADER + SIZE` bytes are reserved and `captured` is at most `SIZE`.
        if !unsafe { read::user_bytes(place.add(HEADER as usize), captured, address) } {
            emit::lost(Loss::UnreadablePayload, 1);
            captured = 0;
        }
    }
    // SAFETY: as above, and reservations are aligned to 8 bytes.
    unsafe {
        header.write(place.cast(), captured);
        bpf_ringbuf_submit(place.cast(), emit::wake_flags(header.time_ns()));
    }
}

/// The same where bytes of several buffers are put together first.
#[inline(always)]
pub fn emit_gathered(program: u32, header: &Header, payload: &Payload, wanted: u64) {
    let Some(draft) = draft(program) else { return };
    // SAFETY: this program's own draft.
    unsafe { header.write(&raw mut (*draft).header, 0) };
    let shape = payload.buffers as u64 | (payload.skip as u64) << 32;
    let mut who = program as u64;
    if payload.array_in_kernel {
        who |= IN_KERNEL;
    }
    emit_draft(who, payload.address, shape, wanted);
}

const IN_KERNEL: u64 = 1 << 32;

/// Writes the program's draft with up to `wanted` bytes of payload behind it. Exported, so that it is verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn emit_draft(who: u64, address: u64, shape: u64, wanted: u64) -> u64 {
    let program = who as u32;
    let payload = Payload {
        address,
        buffers: shape as u32,
        skip: (shape >> 32) as u32,
        array_in_kernel: who & IN_KERNEL != 0,
    };
    let captured = gathered(program, &payload, wanted);
    let Some(draft) = draft(program) else { return 0 };
    // SAFETY: the map's value; header and bytes lie one behind the other without padding, `captured` is below `GATHER`.
    unsafe {
        (*draft).header.captured = captured;
        let record = (&raw const (*draft).header).cast::<u8>();
        emit::output(record, HEADER as u32 + captured, Loss::RingFullData);
    }
    0
}

/// Bytes are put together in the draft; how many came together.
#[inline(always)]
fn gathered(program: u32, payload: &Payload, wanted: u64) -> u32 {
    let wanted = if wanted < GATHER { wanted } else { GATHER - 1 };
    let mut filled = 0u64;
    let mut skip = payload.skip as u64;
    let mut index = 0u64;
    while index < BUFFERS_MAX as u64 {
        if index > 0 && index >= payload.buffers as u64 || filled >= wanted {
            break;
        }
        let buffer = payload.buffer_at(index);
        index += 1;
        if skip >= buffer.len {
            skip -= buffer.len;
            continue;
        }
        let rest = buffer.len - skip;
        let room = wanted - filled;
        let take = if rest < room { rest } else { room };
        if add_part(program, filled, buffer.address.wrapping_add(skip), take) == 0 {
            emit::lost(Loss::UnreadablePayload, 1);
            break;
        }
        skip = 0;
        filled += take;
    }
    masked(filled) as u32
}

/// Copies a part to its place in the draft; 0 where its memory could not be read. Exported, so that it is verified by
/// itself and not once for each turn of the loop.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn add_part(program: u32, at: u64, address: u64, len: u64) -> u64 {
    let Some(draft) = draft(program) else { return 0 };
    // SAFETY: both numbers are below `GATHER`, and the bytes are twice that.
    unsafe {
        let bytes = (&raw mut (*draft).bytes).cast::<u8>();
        read::user_bytes(bytes.add(masked(at) as usize), masked(len) as u32, address) as u64
    }
}

/// A bound the verifier sees. The compiler may know it already, and must not leave the comparison out for that. (Eight
/// bytes: of shorter values on the stack older verifiers forget the bound.)
#[inline(always)]
fn at_most<const MAX: u64>(value: u64) -> u64 {
    let value = black_box(value);
    if value > MAX { MAX } else { value }
}

/// The same with a mask, for values that are below `GATHER` anyway: no branch, so the verifier has one path less to follow.
#[inline(always)]
fn masked(value: u64) -> u64 {
    black_box(value) & (GATHER - 1)
}
