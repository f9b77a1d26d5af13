//! Kernel functions every byte of a socket passes, whatever call, ring or worker asked for it: `inet_sendmsg`,
//! `inet_recvmsg`, their IPv6 and Unix siblings, and the two that move pages (`net/ipv4/af_inet.c`, `net/unix/af_unix.c`).
//!
//! Seen when they return. The message's iterator is then behind the bytes that moved, so where they are is found by going
//! back; nothing has to be remembered from the entry (kretprobes, which see no arguments, excepted).

use core::hint::black_box;

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_pid_tgid,
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use spanhound_common::{Loss, limits::BUFFERS_BEHIND_MAX};

use super::call::{MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC};
use crate::{
    actor,
    config::{known, offset, switch},
    emit,
    maps::CALLS,
    payload::{Buffer, Payload},
    read,
    stream::{Addressee, Moved, moved},
};

/// What a kretprobe needs of its function's entry.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Entered {
    socket: u64,
    /// 0: the bytes are out of reach.
    message: u64,
    out: u64,
}

/// Argument or (behind the last) return value of the function, as the trampoline laid them out.
///
/// The return value lies behind the arguments since fexit exists; the helper for it came later.
macro_rules! word {
    ($ctx:ident, $index:literal) => {{
        // SAFETY: the table attaches this program to functions with as many arguments.
        unsafe { *$ctx.as_ptr().cast::<u64>().add($index) }
    }};
}

macro_rules! sent {
    ($($name:ident = $program:literal)*) => { $(
        /// `int f(struct socket *, struct msghdr *, size_t)`.
        #[fexit]
        pub fn $name(ctx: FExitContext) -> i32 {
            seen(word!(ctx, 0), word!(ctx, 1), word!(ctx, 3), true, $program);
            0
        }
    )* };
}

macro_rules! received {
    ($($name:ident = $program:literal)*) => { $(
        /// `int f(struct socket *, struct msghdr *, size_t, int flags)`.
        #[fexit]
        pub fn $name(ctx: FExitContext) -> i32 {
            let flags = word!(ctx, 3);
            if flags & (MSG_PEEK | MSG_ERRQUEUE) == 0 {
                let message = if flags & MSG_TRUNC == 0 { word!(ctx, 1) } else { 0 };
                seen(word!(ctx, 0), message, word!(ctx, 4), false, $program);
            }
            0
        }
    )* };
}

sent!(inet_sent = 0 inet6_sent = 2 unix_sent = 4);
received!(inet_received = 1 inet6_received = 3 unix_received = 5);

macro_rules! pages {
    ($($name:ident = $program:literal, $out:literal;)*) => { $(
        /// `ssize_t f(struct socket *, _, _, _, _)`: pages are never in the process's memory as far as we can see.
        #[fexit]
        pub fn $name(ctx: FExitContext) -> i32 {
            seen(word!(ctx, 0), 0, word!(ctx, 5), $out, $program);
            0
        }
    )* };
}

pages! {
    pages_sent = 6, true;
    pages_received = 7, false;
    unix_pages_sent = 8, true;
    unix_pages_received = 9, false;
}

#[kprobe]
pub fn send_entered(ctx: ProbeContext) -> u32 {
    entered(ctx.arg(0), ctx.arg(1), true);
    0
}

#[kprobe]
pub fn receive_entered(ctx: ProbeContext) -> u32 {
    let flags: u64 = ctx.arg(3).unwrap_or(0);
    // A peek is remembered as nothing, and so passed over at its return.
    let socket = if flags & (MSG_PEEK | MSG_ERRQUEUE) == 0 {
        ctx.arg(0)
    } else {
        Some(0)
    };
    let message = if flags & MSG_TRUNC == 0 {
        ctx.arg(1)
    } else {
        Some(0)
    };
    entered(socket, message, false);
    0
}

#[kprobe]
pub fn pages_send_entered(ctx: ProbeContext) -> u32 {
    entered(ctx.arg(0), Some(0), true);
    0
}

#[kprobe]
pub fn pages_receive_entered(ctx: ProbeContext) -> u32 {
    entered(ctx.arg(0), Some(0), false);
    0
}

#[kretprobe]
pub fn function_returned(ctx: RetProbeContext) -> u32 {
    if !actor::wanted() {
        return 0;
    }
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: this thread's own entry.
    match unsafe { CALLS.get(thread) }.copied() {
        Some(call) => {
            let _ = CALLS.remove(thread);
            if call.socket != 0 {
                seen(call.socket, call.message, ctx.ret(), call.out != 0, 0);
            }
        }
        None if ctx.ret::<i32>() > 0 => emit::lost(Loss::CallForgotten, 1),
        None => {}
    }
    0
}

#[inline(always)]
fn entered(socket: Option<u64>, message: Option<u64>, out: bool) {
    if let (Some(socket), Some(message)) = (socket, message)
        && actor::wanted()
    {
        let call = &Entered {
            socket,
            message: black_box(message),
            out: out as u64,
        };
        // Full: its return finds nothing and counts that.
        let _ = CALLS.insert(bpf_get_current_pid_tgid(), call, 0);
    }
}

/// The function returned: an `int`; of a longer result the count still fits.
#[inline(always)]
fn seen(socket: u64, message: u64, returned: u64, out: bool, program: u32) {
    let bytes = returned as u32;
    if bytes as i32 <= 0 || !actor::wanted() {
        return;
    }
    let Some(sock) = read::kernel::<u64>(socket, offset::socket_sk()) else {
        return;
    };
    moved(&Moved {
        sock,
        out,
        bytes,
        settled: true,
        sequence: None,
        program,
        payload: payload(message, bytes as u64),
        addressee: addressee(message, out),
    });
}

/// The destination that a message names.
#[inline(always)]
fn addressee(message: u64, out: bool) -> Addressee {
    if !out || message == 0 || !known(offset::msghdr_name()) {
        return Addressee::NONE;
    }
    Addressee {
        address: read::field(message, offset::msghdr_name()),
        in_kernel: true,
    }
}

/// Where the bytes are that the message's iterator passed over last.
#[inline(always)]
fn payload(message: u64, bytes: u64) -> Payload {
    if message == 0 || !known(offset::msghdr_iter()) {
        return Payload::NONE;
    }
    let iterator = message + offset::msghdr_iter() as u64;
    let (Some(kind), Some(at), Some(place)) = (
        read::kernel::<u8>(iterator, offset::iter_type()),
        read::kernel::<u64>(iterator, offset::iter_offset()),
        read::kernel::<u64>(iterator, offset::iter_iov()),
    ) else {
        return Payload::NONE;
    };
    let kind = kind as u32 & switch::iterator_mask();
    if kind == switch::iterator_buffer() {
        return Payload::buffer(place.wrapping_add(at).wrapping_sub(bytes));
    }
    if kind != switch::iterator_vector() {
        return Payload::NONE;
    }
    let (steps, skip) = match backward(place, at, bytes) {
        FROM_FURTHER => return Payload::NONE,
        found => ((found >> 32) as u32, found as u32),
    };
    let start = place.wrapping_sub(steps as u64 * STEP);
    Payload {
        array_in_kernel: true,
        skip,
        ..Payload::vector(start, steps as u64 + 1)
    }
}

const STEP: u64 = size_of::<Buffer>() as u64;

/// The bytes begin before every buffer that was looked at.
const FROM_FURTHER: u64 = u64::MAX;

/// Goes back from the `at`th byte of a buffer to the one `bytes` before it: how many buffers back (above), and how far
/// behind that one's beginning. Exported, so that it is verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn backward(last: u64, at: u64, bytes: u64) -> u64 {
    let mut place = last;
    let mut missing = bytes;
    let mut len = at;
    let mut steps = 0u64;
    while steps < BUFFERS_BEHIND_MAX as u64 {
        if missing <= len {
            return steps << 32 | (len - missing) & 0xFFFF_FFFF;
        }
        missing -= len;
        place = place.wrapping_sub(STEP);
        steps += 1;
        let Some(buffer) = read::kernel::<Buffer>(place, 0) else {
            return FROM_FURTHER;
        };
        len = buffer.len;
    }
    FROM_FURTHER
}
