//! Emit: the only door to the ring buffer and to the loss counters.

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_query},
};
use spanhound_common::Loss;

use crate::{
    config::switch,
    maps::{EVENTS, LOSSES},
    word,
};

/// `BPF_RB_AVAIL_DATA` of `include/uapi/linux/bpf.h`.
const AVAILABLE_DATA: u64 = 0;

/// Counts something let go.
#[inline(always)]
pub fn lost(loss: Loss, amount: u64) {
    if let Some(counter) = LOSSES.get_ptr_mut(loss as u32) {
        // SAFETY: this processor's own counter; programs on it do not run at the same time for more than an interrupt.
        unsafe { *counter += amount };
    }
}

/// User space polls on a timer; it is woken only when the buffer fills up faster than that. One record of eight looks, by
/// the clock: asking takes a look at memory that both sides write.
#[inline(always)]
pub fn wake_flags(time_ns: u64) -> u64 {
    if time_ns & 0x1C0 != 0 {
        return BPF_RB_NO_WAKEUP as u64;
    }
    // SAFETY: a map of ours and a query the helper knows.
    let waiting = unsafe { bpf_ringbuf_query((&raw const EVENTS).cast_mut().cast(), AVAILABLE_DATA) };
    if waiting > switch::wake_bytes() as u64 {
        BPF_RB_FORCE_WAKEUP as u64
    } else {
        BPF_RB_NO_WAKEUP as u64
    }
}

/// Writes a record from memory of ours.
///
/// # Safety
///
/// `record` must be good for `len` bytes.
#[inline(always)]
pub unsafe fn output(record: *const u8, len: u32, loss: Loss) -> bool {
    let flags = wake_flags(0);
    // SAFETY: a map of ours, and the caller's promise.
    let failed = unsafe {
        bpf_ringbuf_output(
            (&raw const EVENTS).cast_mut().cast(),
            record.cast_mut().cast(),
            len as u64,
            flags,
        )
    };
    if failed != 0 {
        lost(loss, 1);
    }
    failed == 0
}

/// Writes a record of fixed size, which is zeroes but for what `write` makes of it. That must call nothing of ours: the record
/// is the kernel's until it is submitted.
#[inline(always)]
pub fn record<T: 'static>(loss: Loss, write: impl FnOnce(&mut T)) -> bool {
    let Some(mut entry) = EVENTS.reserve::<T>(0) else {
        lost(loss, 1);
        return false;
    };
    // SAFETY: reserved for this record, and every byte of it is written: records are plain integers, which may be zero.
    unsafe {
        let place = entry.as_mut_ptr();
        word::clear(place);
        write(&mut *place);
    }
    entry.submit(wake_flags(0));
    true
}
