//! The socket layer's own tracepoints (Linux 6.3): they fire only when data moves through a socket, by whatever call.
//! Where the bytes are is in the registers of the call the current thread is in.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_task_btf, bpf_skc_to_tcp_sock, bpf_task_pt_regs},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};

use super::{
    batch,
    call::{Call, MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC},
};
use crate::{
    actor,
    config::known,
    connection,
    payload::Payload,
    read,
    stream::{Addressee, Moved, moved},
};

/// `sock_send_length(sk, ret, flags)` of `include/trace/events/sock.h`.
#[btf_tracepoint(function = "sock_send_length")]
pub fn socket_sent(ctx: BtfTracePointContext) -> i32 {
    let bytes: i32 = ctx.arg(1);
    if bytes <= 0 {
        nothing_moved(bytes);
    } else if actor::wanted() {
        tell(ctx.arg(0), bytes, true, 0);
    }
    0
}

/// `sock_recv_length(sk, ret, flags)`.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn socket_received(ctx: BtfTracePointContext) -> i32 {
    let bytes: i32 = ctx.arg(1);
    let flags: i32 = ctx.arg(2);
    if bytes <= 0 {
        nothing_moved(bytes);
    } else if flags as u64 & (MSG_PEEK | MSG_ERRQUEUE) == 0 && actor::wanted() {
        tell(ctx.arg(0), bytes, false, flags as u64);
    }
    0
}

/// Of interest only in a batch of messages: one had no bytes, or failed.
#[inline(always)]
fn nothing_moved(bytes: i32) {
    if !batch::were_any() {
        return;
    }
    let registers = registers();
    // SAFETY: the current thread's saved registers.
    if !batch::is_one(unsafe { Call::number(registers) }) || !actor::wanted() {
        return;
    }
    if bytes < 0 {
        batch::ended();
        return;
    }
    // SAFETY: as above.
    if unsafe { Call::is_running(registers) } {
        // SAFETY: as above.
        batch::passed_over(&unsafe { Call::read(registers) });
    }
}

/// The current thread's saved registers.
#[inline(always)]
fn registers() -> u64 {
    // SAFETY: the helpers have no preconditions; they exist wherever these tracepoints do.
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }
}

#[inline(always)]
fn tell(sock: u64, bytes: i32, out: bool, flags: u64) {
    let registers = registers();
    // SAFETY: the current thread's saved registers.
    let (payload, addressee) = if flags & MSG_TRUNC == 0 && unsafe { Call::is_running(registers) } {
        // SAFETY: as above.
        let call = unsafe { Call::read(registers) };
        if batch::is_one(call.number) {
            batch::payload(&call, bytes as u32)
        } else {
            call.payload()
        }
    } else {
        (Payload::NONE, 0)
    };
    moved(&Moved {
        sock: read::address_of(sock),
        out,
        bytes: bytes as u32,
        settled: true,
        sequence: sequence(sock, out),
        program: out as u32,
        payload,
        addressee: Addressee::in_process(addressee),
    });
}

/// Where the socket's stream stands, read without a helper: the verifier knows what the tracepoint hands over.
#[inline(always)]
fn sequence(sock: u64, out: bool) -> Option<u32> {
    let field = connection::sequence_field(out as usize);
    if !known(field) {
        return None;
    }
    // SAFETY: the tracepoint's socket; the helper answers null for one that is none of TCP.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sock as *mut _) } as u64;
    // SAFETY: returned by a helper, and the field is one of it.
    (tcp != 0).then(|| unsafe { read::known_field(tcp, field) })
}
