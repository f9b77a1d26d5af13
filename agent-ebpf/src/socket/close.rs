//! Close: a TCP socket is destroyed, after its last byte was acknowledged or given up.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, fentry, kprobe},
    programs::{BtfTracePointContext, FEntryContext, ProbeContext},
};
use spanhound_common::{
    ClosedRecord, Loss,
    record::{CLOSED_TOTALS, Kind},
};

use super::connect;
use crate::{
    config::{known, offset},
    connection::{Connection, IN, OPENING, OUT, SEQUENCE_IN, SEQUENCE_OUT, Stream, UNWANTED},
    emit,
    maps::CONNECTIONS,
    read, standing,
};

/// `tcp_destroy_sock(sk)` of `include/trace/events/tcp.h`.
#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn socket_destroyed(ctx: BtfTracePointContext) -> i32 {
    let sock: u64 = ctx.arg(0);
    // SAFETY: nobody uses the socket any more.
    let Some(known) = (unsafe { CONNECTIONS.get(sock) }) else {
        connect::given_up(sock);
        return 0;
    };
    if known.flags & (UNWANTED | OPENING) == 0 {
        closed(sock, known);
    }
    let _ = CONNECTIONS.remove(sock);
    0
}

macro_rules! released {
    ($($name:ident)*) => { $(
        /// A function whose first argument is a socket that goes: `unix_release_sock(sk, int)` of `net/unix/af_unix.c`,
        /// `udp_destroy_sock(sk)` and `udpv6_destroy_sock(sk)`.
        #[fentry]
        pub fn $name(ctx: FEntryContext) -> i32 {
            released(ctx.arg(0));
            0
        }
    )* };
}

released!(unix_released udp_destroyed udp6_destroyed);

/// The same by kprobe.
#[kprobe]
pub fn other_released(ctx: ProbeContext) -> u32 {
    if let Some(sock) = ctx.arg(0) {
        released(sock);
    }
    0
}

#[inline(always)]
fn released(sock: u64) {
    // SAFETY: nobody uses the socket any more.
    if let Some(known) = unsafe { CONNECTIONS.get(sock) } {
        gone(known);
        let _ = CONNECTIONS.remove(sock);
    }
}

/// The socket went without a word.
#[inline(always)]
pub fn gone(known: &Connection) {
    if known.flags & (UNWANTED | OPENING) == 0 {
        tell(known, None);
    }
}

#[inline(always)]
fn closed(sock: u64, known: &Connection) {
    let sent = total(
        sock,
        offset::tcp_write_seq(),
        &known.streams[OUT],
        known.flags & SEQUENCE_OUT,
    );
    let received = total(
        sock,
        offset::tcp_copied_seq(),
        &known.streams[IN],
        known.flags & SEQUENCE_IN,
    );
    let totals = match (sent, received) {
        (Some(sent), Some(received))
            if !thrown_away(sock) && standing::began_at(sock, known.streams[IN].first) =>
        {
            let unseen = sent.saturating_sub(known.streams[OUT].seen)
                + received.saturating_sub(known.streams[IN].seen);
            if unseen > 0 {
                emit::lost(Loss::UnseenBytes, unseen);
            }
            Some(Totals {
                sent,
                received,
                unseen,
            })
        }
        _ => None,
    };
    tell(known, totals);
}

/// Whether the connection was dropped without an end (`SO_LINGER` of zero, connected to nowhere): `tcp_disconnect` of
/// `net/ipv4/tcp.c` moves the sequence number on and starts the counters anew. A connection that was made has seen a segment.
#[inline(always)]
fn thrown_away(sock: u64) -> bool {
    known(offset::tcp_segs_in()) && read::field::<u32>(sock, offset::tcp_segs_in()) == 0
}

/// Payload bytes of a connection in all.
struct Totals {
    sent: u64,
    received: u64,
    unseen: u64,
}

#[inline(always)]
fn tell(known: &Connection, totals: Option<Totals>) {
    // SAFETY: the helper has no preconditions.
    let time_ns = unsafe { bpf_ktime_get_ns() };
    emit::record(Loss::RingFullClosed, |record: &mut ClosedRecord| {
        record.kind = Kind::Closed as u8;
        record.connection = known.id;
        record.time_ns = time_ns;
        (record.actor.pid, record.actor.tid) = (known.pid, known.tid);
        if let Some(totals) = totals {
            record.flags = CLOSED_TOTALS;
            record.sent_bytes = totals.sent;
            record.received_bytes = totals.received;
            record.unseen_bytes = totals.unseen;
        }
    });
}

/// Payload of one direction in all. What the sequence number is ahead of the last byte seen went past every hook, but for
/// one: that is a FIN.
#[inline(always)]
fn total(sock: u64, field: u32, stream: &Stream, known: u32) -> Option<u64> {
    if known == 0 {
        return None;
    }
    let sequence = read::kernel::<u32>(sock, field)?;
    let ahead = sequence
        .wrapping_sub(stream.first)
        .wrapping_sub(stream.next as u32) as i32;
    Some(if ahead > 0 {
        stream.next + ahead as u64 - 1
    } else {
        stream.next
    })
}
