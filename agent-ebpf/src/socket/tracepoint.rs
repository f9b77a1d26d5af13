//! The socket layer's own tracepoints (Linux 6.3): they fire only when data moves through a socket, by whatever call.
//! Where the bytes are is in the registers of the call the current thread is in.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};

use super::call::{Call, MSG_ERRQUEUE, MSG_PEEK};
use crate::{
    payload::Payload,
    stream::{Moved, moved},
};

/// `sock_send_length(sk, ret, flags)` of `include/trace/events/sock.h`.
#[btf_tracepoint(function = "sock_send_length")]
pub fn socket_sent(ctx: BtfTracePointContext) -> i32 {
    let bytes: i32 = ctx.arg(1);
    if bytes > 0 {
        moved(&Moved::stream(ctx.arg(0), true, bytes as u64, payload(0)));
    }
    0
}

/// `sock_recv_length(sk, ret, flags)`.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn socket_received(ctx: BtfTracePointContext) -> i32 {
    let bytes: i32 = ctx.arg(1);
    let flags: i32 = ctx.arg(2);
    if bytes > 0 && flags as u64 & (MSG_PEEK | MSG_ERRQUEUE) == 0 {
        moved(&Moved::stream(ctx.arg(0), false, bytes as u64, payload(1)));
    }
    0
}

#[inline(always)]
fn payload(scratch: u32) -> Payload {
    // SAFETY: the helpers have no preconditions; they exist wherever these tracepoints do.
    let registers = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
    // SAFETY: the helper returns the current thread's saved registers.
    unsafe { Call::read(registers) }.payload(scratch)
}
