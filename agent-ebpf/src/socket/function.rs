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
use spanhound_common::{Loss, limits::BUFFERS_MAX};

use super::call::{MSG_ERRQUEUE, MSG_PEEK};
use crate::{
    config::{known, offset, switch},
    emit,
    maps::CALLS,
    payload::{Buffer, Payload},
    read,
    stream::{Moved, moved},
};

const SCRATCH_SEND: u32 = 0;
const SCRATCH_RECEIVE: u32 = 1;

/// What a kretprobe needs of its function's entry.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Entered {
    socket: u64,
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
    ($($name:ident)*) => { $(
        /// `int f(struct socket *, struct msghdr *, size_t)`.
        #[fexit]
        pub fn $name(ctx: FExitContext) -> i32 {
            returned(word!(ctx, 0), word!(ctx, 1), word!(ctx, 3), true);
            0
        }
    )* };
}

macro_rules! received {
    ($($name:ident)*) => { $(
        /// `int f(struct socket *, struct msghdr *, size_t, int flags)`.
        #[fexit]
        pub fn $name(ctx: FExitContext) -> i32 {
            if word!(ctx, 3) & (MSG_PEEK | MSG_ERRQUEUE) == 0 {
                returned(word!(ctx, 0), word!(ctx, 1), word!(ctx, 4), false);
            }
            0
        }
    )* };
}

sent!(inet_sent inet6_sent unix_sent);
received!(inet_received inet6_received unix_received);

/// `ssize_t inet_sendpage(struct socket *, struct page *, int, size_t, int)` (until Linux 6.4): pages are never in the
/// process's memory as far as we can see.
#[fexit]
pub fn pages_sent(ctx: FExitContext) -> i32 {
    returned(word!(ctx, 0), 0, word!(ctx, 5), true);
    0
}

/// `ssize_t tcp_splice_read(struct socket *, loff_t *, struct pipe_inode_info *, size_t, unsigned int)`.
#[fexit]
pub fn pages_received(ctx: FExitContext) -> i32 {
    returned(word!(ctx, 0), 0, word!(ctx, 5), false);
    0
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
    entered(socket, ctx.arg(1), false);
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
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: this thread's own entry.
    match unsafe { CALLS.get(thread) }.copied() {
        Some(call) => {
            let _ = CALLS.remove(thread);
            if call.socket != 0 {
                returned(call.socket, call.message, ctx.ret(), call.out != 0);
            }
        }
        None if ctx.ret::<i32>() > 0 => emit::lost(Loss::CallForgotten, 1),
        None => {}
    }
    0
}

#[inline(always)]
fn entered(socket: Option<u64>, message: Option<u64>, out: bool) {
    if let (Some(socket), Some(message)) = (socket, message) {
        let call = Entered {
            socket,
            message,
            out: out as u64,
        };
        // Full: its return finds nothing and counts that.
        let _ = CALLS.insert(bpf_get_current_pid_tgid(), call, 0);
    }
}

#[inline(always)]
fn returned(socket: u64, message: u64, returned: u64, out: bool) {
    // The functions return an `int`; of a longer result the count still fits.
    let bytes = returned as u32 as i32;
    if bytes <= 0 {
        return;
    }
    let Some(sock) = read::kernel::<u64>(socket, offset::socket_sk()) else {
        return;
    };
    let payload = payload(
        message,
        bytes as u64,
        if out { SCRATCH_SEND } else { SCRATCH_RECEIVE },
    );
    moved(&Moved::stream(sock, out, bytes as u64, payload));
}

/// Where the bytes are that the message's iterator passed over last.
#[inline(always)]
fn payload(message: u64, bytes: u64, scratch: u32) -> Payload {
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
    backward(place, at, bytes, scratch)
}

/// Goes back from the `at`th byte of a buffer to the one `bytes` before it.
#[inline(always)]
fn backward(last: u64, at: u64, bytes: u64, scratch: u32) -> Payload {
    const STEP: u64 = size_of::<Buffer>() as u64;
    let mut place = last;
    let mut missing = bytes;
    let mut len = at;
    let mut steps = 0u64;
    while steps < BUFFERS_MAX as u64 {
        if missing <= len {
            break;
        }
        missing -= len;
        place = place.wrapping_sub(STEP);
        steps += 1;
        let Some(buffer) = read::kernel::<Buffer>(place, 0) else {
            return Payload::NONE;
        };
        len = buffer.len;
    }
    if missing > len {
        return Payload::NONE;
    }
    // From the addresses, not from the steps: a count the verifier knows exactly makes it follow every count by itself
    // through all that comes after.
    let buffers = black_box(last).wrapping_sub(black_box(place)) / STEP + 1;
    Payload {
        address: place,
        buffers,
        array_in_kernel: true,
        skip: len - missing,
        scratch,
    }
}
