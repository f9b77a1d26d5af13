//! Payload: where the bytes of a call are, and copying the first of them beside the record.

use core::hint::black_box;

use aya_ebpf::helpers::generated::{bpf_ringbuf_discard, bpf_ringbuf_reserve, bpf_ringbuf_submit};
use spanhound_common::{
    DataRecord, Loss,
    limits::{BUFFERS_MAX, CAPTURE_BYTES_MAX, GATHERED_BYTES_MAX},
};

use crate::{
    emit,
    maps::{EVENTS, SCRATCH},
    read,
};

const HEADER: u32 = size_of::<DataRecord>() as u32;

/// One for each program that can be interrupted by another that uses its scratch: see [`Payload::scratch`].
pub const SCRATCH_SLOTS: u32 = 4;

/// A record in the making. Three times the limit, so that masks alone keep offset and length in bounds.
#[repr(C)]
pub struct Scratch {
    header: DataRecord,
    bytes: [u8; 3 * GATHERED_BYTES_MAX as usize],
}

/// Where the bytes of a call are.
#[derive(Clone, Copy)]
pub struct Payload {
    /// In the process: of the bytes, or (with `buffers`) of an array of `struct iovec`.
    pub address: u64,
    /// How many buffers the array has; 0 stands for one buffer at `address`.
    pub buffers: u64,
    /// The array is in kernel memory.
    pub array_in_kernel: bool,
    /// Bytes of the first buffers to leave out.
    pub skip: u64,
    /// Which scratch slot its program owns.
    pub scratch: u32,
}

impl Payload {
    /// The bytes cannot be reached; they are counted.
    pub const NONE: Self = Self {
        address: 0,
        buffers: 0,
        array_in_kernel: false,
        skip: 0,
        scratch: 0,
    };

    #[inline(always)]
    pub fn buffer(address: u64) -> Self {
        Self {
            address,
            ..Self::NONE
        }
    }

    #[inline(always)]
    fn buffer_at(&self, index: u64) -> Option<Buffer> {
        let place = self.address.wrapping_add(index * size_of::<Buffer>() as u64);
        if self.array_in_kernel {
            read::kernel(place, 0)
        } else {
            read::user(place)
        }
    }

    #[inline(always)]
    pub fn vector(array: u64, buffers: u64, scratch: u32) -> Self {
        Self {
            address: array,
            buffers,
            scratch,
            ..Self::NONE
        }
    }
}

/// Writes the record with up to `wanted` bytes of payload behind it.
#[inline(always)]
pub fn emit_with(header: &DataRecord, payload: &Payload, wanted: u64) {
    if payload.address == 0 || wanted == 0 {
        emit::record(header, Loss::RingFullData);
    } else if payload.buffers == 0 {
        contiguous(header, payload.address.wrapping_add(payload.skip), wanted);
    } else {
        // What is wanted often ends within the first buffer.
        match payload.buffer_at(0) {
            Some(first) if first.len >= payload.skip.wrapping_add(wanted) => {
                contiguous(header, first.address.wrapping_add(payload.skip), wanted);
            }
            _ => gathered(header, payload, wanted),
        }
    }
}

/// One buffer is copied straight into the ring buffer, into the smallest of a few sizes (the kernel wants to know the
/// size of a reservation beforehand).
#[inline(always)]
fn contiguous(header: &DataRecord, address: u64, wanted: u64) {
    if wanted <= 256 {
        reserved::<256>(header, address, wanted);
    } else if wanted <= 1024 {
        reserved::<1024>(header, address, wanted);
    } else if wanted <= 4096 {
        reserved::<4096>(header, address, wanted);
    } else {
        reserved::<{ CAPTURE_BYTES_MAX as u64 }>(header, address, wanted);
    }
}

#[inline(never)]
fn reserved<const SIZE: u64>(header: &DataRecord, address: u64, wanted: u64) {
    // SAFETY: a map of ours.
    let place =
        unsafe { bpf_ringbuf_reserve((&raw const EVENTS).cast_mut().cast(), HEADER as u64 + SIZE, 0) }
            .cast::<u8>();
    if place.is_null() {
        emit::lost(Loss::RingFullData, 1);
        return;
    }
    let mut captured = at_most::<SIZE>(wanted) as u32;
    // SAFETY: `HEADER + SIZE` bytes are reserved and `captured` is at most `SIZE`.
    if !unsafe { read::user_bytes(place.add(HEADER as usize), captured, address) } {
        emit::lost(Loss::UnreadablePayload, 1);
        captured = 0;
    }
    // SAFETY: as above; the place is aligned to 8 bytes.
    unsafe {
        let target = place.cast::<DataRecord>();
        *target = *header;
        (*target).captured = captured;
        if SIZE == 0 {
            bpf_ringbuf_discard(place.cast(), 0);
        } else {
            bpf_ringbuf_submit(place.cast(), emit::wake_flags());
        }
    }
}

/// A bound the verifier sees. The compiler may know it already, and must not leave the comparison out for that. (Eight
/// bytes: of shorter values on the stack older verifiers forget the bound.)
#[inline(always)]
fn at_most<const MAX: u64>(value: u64) -> u64 {
    let value = black_box(value);
    if value > MAX { MAX } else { value }
}

/// The same with a mask, for values that are in bounds anyway: no branch, so the verifier has one path less to follow.
#[inline(always)]
fn masked<const MASK: u64>(value: u64) -> u64 {
    black_box(value) & MASK
}

/// `struct iovec` of `include/uapi/linux/uio.h`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Buffer {
    pub address: u64,
    pub len: u64,
}

/// Several buffers are put together in this processor's scratch first.
#[inline(never)]
fn gathered(header: &DataRecord, payload: &Payload, wanted: u64) {
    let Some(scratch) = SCRATCH.get_ptr_mut(payload.scratch) else {
        return;
    };
    const LIMIT: u64 = GATHERED_BYTES_MAX as u64;
    let wanted = if wanted > LIMIT { LIMIT } else { wanted };
    // SAFETY: the map's value, this program's alone (see `Payload::scratch`).
    let bytes = unsafe { &raw mut (*scratch).bytes }.cast::<u8>();
    let mut filled = 0u64;
    let mut skip = payload.skip;
    let mut index = 0u64;
    while index < BUFFERS_MAX as u64 {
        if index >= payload.buffers || filled >= wanted {
            break;
        }
        let Some(buffer) = payload.buffer_at(index) else {
            emit::lost(Loss::UnreadablePayload, 1);
            break;
        };
        index += 1;
        if skip >= buffer.len {
            skip -= buffer.len;
            continue;
        }
        let rest = buffer.len - skip;
        let room = wanted - filled;
        let take = masked::<{ 2 * LIMIT - 1 }>(if rest < room { rest } else { room });
        let at = masked::<{ LIMIT - 1 }>(filled);
        // SAFETY: `at` is below the limit, `take` below twice the limit, and the bytes are three times the limit.
        if !unsafe {
            read::user_bytes(
                bytes.add(at as usize),
                take as u32,
                buffer.address.wrapping_add(skip),
            )
        } {
            emit::lost(Loss::UnreadablePayload, 1);
            break;
        }
        skip = 0;
        filled += take;
    }
    let filled = at_most::<LIMIT>(filled) as u32;
    // SAFETY: the map's value; header and bytes lie one behind the other without padding.
    unsafe {
        (*scratch).header = *header;
        (*scratch).header.captured = filled;
        emit::output(scratch.cast::<u8>(), HEADER + filled, Loss::RingFullData);
    }
}
