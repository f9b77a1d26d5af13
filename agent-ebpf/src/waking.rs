//! Waking: which thread of a process woke which, since the woken one last wrote to a socket.
//!
//! Work that is handed from thread to thread (a queue before a pool, a future, a selector's inbox) wakes whoever takes it
//! up. Only wake-ups within one process count, only those by a call that means to wake (a futex, a few bytes written to an
//! `eventfd` or pipe, a thread's start and end; not by whatever interrupt a thread happened to be hit by), and only of
//! processes user space asked for. They are told with what the thread writes next, not one by one. Bounded: threads, and
//! for each of them wakers and places, the oldest forgotten. Deliberately absent: what a wake-up means; locks wake, too.

use core::mem::MaybeUninit;

use aya_ebpf::{
    helpers::{
        bpf_get_current_task, bpf_ktime_get_ns,
        generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    },
    macros::{btf_tracepoint, map},
    maps::LruHashMap,
    programs::BtfTracePointContext,
};
use spanhound_common::{
    Loss, WakeRecord, WokenRecord,
    limits::{WAKES_MAX, WOKEN_THREADS_DEFAULT},
    record::{Kind, WAKE_END, WAKE_START, WAKE_WRITE},
    rule::PROCESS_WAKES,
};

use crate::{
    actor::Current,
    config::{offset, switch},
    emit,
    maps::EVENTS,
    read,
    socket::call::{NOT_RETURNED, WRITE, register},
    word,
};

/// Who woke a thread.
#[derive(Clone, Copy)]
#[repr(C)]
struct Woken {
    wakes: [WakeRecord; WAKES_MAX],
}

/// By thread id.
#[map]
static WOKEN: LruHashMap<u32, Woken> = LruHashMap::with_max_entries(WOKEN_THREADS_DEFAULT, 0);

const FUTEX: u64 = 202;
const FUTEX_WAKE_CALL: u64 = 454;
const EXIT: u64 = 60;
/// Operations of `include/uapi/linux/futex.h` that wake, as bits: wake, requeue, compare and requeue, wake with an
/// operation, unlock with priority inheritance, wake by a mask.
const FUTEX_WAKES: u64 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 10;
/// What of the operation is the operation (without `FUTEX_PRIVATE_FLAG` and `FUTEX_CLOCK_REALTIME`).
const FUTEX_OPERATION: u64 = 0x7F;
/// Bytes of a write that may be meant to wake: an `eventfd` takes eight, a pipe is given one.
const WAKE_BYTES_MAX: u64 = 8;

/// `sched_waking(p)` of `include/trace/events/sched.h`: in the context of whoever wakes.
#[btf_tracepoint(function = "sched_waking")]
pub fn thread_waking(ctx: BtfTracePointContext) -> i32 {
    let task: u64 = ctx.arg(0);
    let current = Current::thread();
    // Most wake-ups on a machine are from one process to another.
    if read::task_field(task, offset::task_tgid()) != current.pid {
        return 0;
    }
    if current.rule().flags & PROCESS_WAKES == 0 {
        return 0;
    }
    if let Some(place) = place() {
        note(read::task_field(task, offset::task_pid()), &current, place);
    }
    0
}

/// The current thread starts another one.
#[inline(always)]
pub fn started(tid: u32) {
    let current = Current::thread();
    if current.rule().flags & PROCESS_WAKES != 0 {
        note(tid, &current, WAKE_START);
    }
}

/// By what the running call wakes, if it means to.
#[inline(always)]
fn place() -> Option<u32> {
    let call: Call = read::kernel(registers()?, register::AX)?;
    if call.result != NOT_RETURNED {
        return None;
    }
    match call.number {
        FUTEX if FUTEX_WAKES >> (call.second & FUTEX_OPERATION & 63) & 1 != 0 => Some(fold(call.first)),
        FUTEX_WAKE_CALL => Some(fold(call.first)),
        WRITE if call.third <= WAKE_BYTES_MAX => Some(WAKE_WRITE),
        EXIT => Some(WAKE_END),
        _ => None,
    }
}

/// The saved registers from AX on (`arch/x86/include/asm/ptrace.h`).
#[derive(Clone, Copy)]
#[repr(C)]
struct Call {
    result: i64,
    counter: u64,
    third: u64,
    second: u64,
    first: u64,
    number: u64,
}

/// The two words by which a condition of the C library wakes in turn are one place.
#[inline(always)]
fn fold(address: u64) -> u32 {
    let word = address >> 3;
    (word as u32 ^ (word >> 32) as u32) | 1 << 31
}

/// Saved registers of the call the current thread is in.
#[inline(always)]
fn registers() -> Option<u64> {
    if switch::registers() != 0 {
        // SAFETY: the helpers have no preconditions, and user space says that they exist.
        return Some(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64);
    }
    // `task_pt_regs` of `arch/x86/include/asm/processor.h`, before Linux 6.9 put anything above them.
    const STACK_BYTES: u64 = 16 * 1024;
    const REGISTERS_BYTES: u64 = 168;
    // SAFETY: the helper has no preconditions.
    let stack = read::kernel::<u64>(unsafe { bpf_get_current_task() }, offset::task_stack())?;
    Some(stack.wrapping_add(STACK_BYTES - REGISTERS_BYTES))
}

#[inline(always)]
fn note(tid: u32, waker: &Current, place: u32) {
    let wake = WakeRecord {
        // SAFETY: the helper has no preconditions.
        time_ns: unsafe { bpf_ktime_get_ns() },
        waker: waker.tid,
        before: before(waker.tid, place),
        place,
        reserved: 0,
    };
    let Some(woken) = WOKEN.get_ptr_mut(tid) else {
        let mut woken = MaybeUninit::<Woken>::uninit();
        // SAFETY: zeroes are no wake-ups.
        let woken = unsafe {
            word::clear(woken.as_mut_ptr());
            woken.assume_init_mut()
        };
        woken.wakes[0] = wake;
        // By reference: a copy would be made byte by byte.
        let woken: &Woken = woken;
        // Full: the thread that was woken least recently goes.
        let _ = WOKEN.insert(tid, woken, 0);
        return;
    };
    // SAFETY: a value of our map. The kernel lets nobody else wake the thread meanwhile; that the thread itself tells of its
    // wake-ups at this moment may cost one of them.
    let wakes = unsafe { &mut (*woken).wakes };
    let (mut chosen, mut oldest_ns) = (0, u64::MAX);
    let mut at = 0;
    while at < WAKES_MAX {
        let one = &wakes[at];
        if one.waker == wake.waker && one.place == wake.place {
            chosen = at;
            break;
        }
        if one.time_ns < oldest_ns {
            oldest_ns = one.time_ns;
            chosen = at;
        }
        at += 1;
    }
    wakes[chosen % WAKES_MAX] = wake;
}

/// Who woke this thread last, at this place rather than elsewhere.
#[inline(always)]
fn before(tid: u32, place: u32) -> u32 {
    let Some(woken) = WOKEN.get_ptr_mut(tid) else {
        return 0;
    };
    // SAFETY: a value of our map; a torn read costs one guess.
    let wakes = unsafe { &(*woken).wakes };
    let (mut waker, mut latest) = (0, 0);
    let mut at = 0;
    while at < WAKES_MAX {
        let one = &wakes[at];
        let time = one.time_ns | if one.place == place { 1 << 63 } else { 0 };
        if time > latest && one.waker != 0 {
            latest = time;
            waker = one.waker;
        }
        at += 1;
    }
    waker
}

/// Tells user space who woke the current thread since it last wrote. Exported, so that it is verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell_wakes(pid: u64, tid: u64) -> u64 {
    let Some(woken) = WOKEN.get_ptr_mut(tid as u32) else {
        return 0;
    };
    // SAFETY: a value of our map.
    let woken = unsafe { &mut *woken };
    let mut any = 0;
    let mut at = 0;
    while at < WAKES_MAX {
        any |= woken.wakes[at].waker;
        at += 1;
    }
    if any == 0 {
        return 0;
    }
    let Some(mut entry) = EVENTS.reserve::<WokenRecord>(0) else {
        emit::lost(Loss::RingFullWoken, 1);
        return 0;
    };
    let place = entry.as_mut_ptr();
    // SAFETY: reserved for this record; every byte of it is written here.
    unsafe {
        (&raw mut (*place).kind).cast::<u64>().write(Kind::Woken as u64);
        (*place).pid = pid as u32;
        (*place).tid = tid as u32;
    }
    let mut at = 0;
    while at < WAKES_MAX {
        // SAFETY: as above; a wake-up is three words.
        unsafe {
            word::copy(&raw mut (*place).wakes[at], &raw const woken.wakes[at]);
            word::clear(&raw mut woken.wakes[at]);
        }
        at += 1;
    }
    entry.submit(emit::wake_flags(0));
    0
}
