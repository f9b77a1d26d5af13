//! Connect: who began to connect, told before the connection is known by its data.
//!
//! An event loop connects while it works for a request, and writes when the connection is there, while it may work for
//! another one. Bounded: numbers given out and not yet used, with the oldest forgotten.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, map},
    maps::LruHashMap,
    programs::BtfTracePointContext,
};
use spanhound_common::{ConnectingRecord, Loss, limits::CONNECTING_DEFAULT, record::Kind};

use crate::{
    actor::{self, Current},
    connection, emit,
    stream::PROGRAM_CONNECT,
};

/// Numbers of connections that are being made, by address of the kernel's `struct sock`.
#[map]
static CONNECTING: LruHashMap<u64, u64> = LruHashMap::with_max_entries(CONNECTING_DEFAULT, 0);

/// `enum` of `include/net/tcp_states.h`.
const TCP_SYN_SENT: i32 = 2;

/// `inet_sock_set_state(sk, oldstate, newstate)` of `include/trace/events/sock.h`; the first state of a connecting end is
/// set by the thread that connects.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn connection_begun(ctx: BtfTracePointContext) -> i32 {
    let state: i32 = ctx.arg(2);
    if state != TCP_SYN_SENT {
        return 0;
    }
    if !actor::wanted() {
        return 0;
    }
    let current = Current::thread();
    let number = connection::number(PROGRAM_CONNECT);
    if CONNECTING.insert(ctx.arg::<u64>(0), number, 0).is_err() {
        return 0;
    }
    let actor = current.record(&current.rule(), true);
    // SAFETY: the helper has no preconditions.
    let time_ns = unsafe { bpf_ktime_get_ns() };
    emit::record(Loss::RingFullConnecting, |record: &mut ConnectingRecord| {
        record.kind = Kind::Connecting as u8;
        record.connection = number;
        record.time_ns = time_ns;
        record.actor = actor;
    });
    0
}

/// The number the connection got when it was begun.
#[inline(always)]
pub fn number_of(sock: u64) -> Option<u64> {
    // SAFETY: copied at once.
    let number = unsafe { CONNECTING.get(sock) }.copied()?;
    let _ = CONNECTING.remove(sock);
    Some(number)
}

/// The socket went before it moved data: the number must not go to the next one at its address.
#[inline(always)]
pub fn given_up(sock: u64) {
    let _ = CONNECTING.remove(sock);
}
