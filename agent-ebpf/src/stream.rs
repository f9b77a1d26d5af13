//! Stream: every hook that sees data move ends here, whatever its tier.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use spanhound_common::{
    DataRecord, Loss,
    limits::TAIL_BYTES,
    record::{DATA_CONTINUES, DIRECTION_IN, DIRECTION_OUT, Kind},
    rule::{BUDGET_IGNORED, setting_slot},
};

use crate::{
    actor::Current,
    config::{offset, switch},
    connection::{self, Connection, OPENING, SEQUENCE_IN, SEQUENCE_OUT, UNWANTED},
    emit,
    maps::{CONNECTIONS, SETTINGS},
    payload::{self, Payload},
    read, socket,
};

/// Bytes moved through a socket.
#[derive(Clone, Copy)]
pub struct Moved {
    /// Address of the `struct sock`: the connection's key.
    pub sock: u64,
    pub out: bool,
    pub bytes: u64,
    /// The socket's sequence numbers are those right after this movement (not so inside a batch of messages).
    pub settled: bool,
    pub payload: Payload,
}

impl Moved {
    #[inline(always)]
    pub fn stream(sock: u64, out: bool, bytes: u64, payload: Payload) -> Self {
        Self {
            sock,
            out,
            bytes,
            settled: true,
            payload,
        }
    }
}

/// Accounts for the movement and tells user space, with as much payload as it wants.
#[inline(never)]
pub fn moved(moved: &Moved) {
    let Some(current) = Current::wanted() else { return };
    let known = match CONNECTIONS.get_ptr_mut(moved.sock) {
        // SAFETY: a value of our map.
        Some(known) if unsafe { (*known).is_still(moved.sock) } => known,
        stale => {
            if let Some(stale) = stale {
                // SAFETY: a value of our map.
                socket::gone(unsafe { &*stale });
                let _ = CONNECTIONS.remove(moved.sock);
            }
            match connection::meet(moved, &current) {
                Some(known) => known,
                None => return,
            }
        }
    };
    // SAFETY: a value of our map; two threads on one socket may interleave, which positions from the kernel's sequence
    // numbers survive.
    let known = unsafe { &mut *known };
    if known.flags & UNWANTED != 0 {
        if known.rules != connection::rules() {
            // The rules changed: it is met again with its next data.
            let _ = CONNECTIONS.remove(moved.sock);
        }
        return;
    }
    if known.flags & OPENING != 0 {
        emit::lost(Loss::OpeningRace, 1);
        return;
    }
    let position = place(moved, known);
    let Some(budget) = budget(known.id, moved.out) else {
        return;
    };
    let mut header = DataRecord {
        kind: Kind::Data as u8,
        direction: if moved.out { DIRECTION_OUT } else { DIRECTION_IN },
        flags: 0,
        captured: 0,
        connection: known.id,
        // SAFETY: the helper has no preconditions.
        time_ns: unsafe { bpf_ktime_get_ns() },
        actor: current.record(),
        position,
        moved: moved.bytes,
    };
    let budget = budget as u64;
    if moved.bytes <= budget + TAIL_BYTES as u64
        || budget == 0
        || known.flags & (SEQUENCE_IN | SEQUENCE_OUT) == 0
    {
        let wanted = if moved.bytes < budget { moved.bytes } else { budget };
        return payload::emit_with(&header, &moved.payload, wanted);
    }
    let before_tail = moved.bytes - TAIL_BYTES as u64;
    header.moved = before_tail;
    payload::emit_with(&header, &moved.payload, budget);
    header.position = position.wrapping_add(before_tail);
    header.moved = TAIL_BYTES as u64;
    header.flags = DATA_CONTINUES;
    let tail = Payload {
        skip: moved.payload.skip + before_tail,
        ..moved.payload
    };
    payload::emit_with(&header, &tail, TAIL_BYTES as u64);
}

/// How much of each call user space wants; `None` for nothing at all, not even the record.
#[inline(always)]
fn budget(id: u64, out: bool) -> Option<u32> {
    let slot = setting_slot(id, switch::setting_mask() + 1);
    match SETTINGS.get(slot) {
        Some(setting) if setting.connection == id => {
            let bytes = if out { setting.out_bytes } else { setting.in_bytes };
            (bytes != BUDGET_IGNORED).then_some(bytes)
        }
        _ => Some(switch::default_bytes()),
    }
}

/// Position of the first byte that moved; the connection's counters go on behind the last one.
#[inline(always)]
fn place(moved: &Moved, known: &mut Connection) -> u64 {
    let (next, first, field, flag) = if moved.out {
        known.seen_out += moved.bytes;
        (
            known.next_out,
            known.first_out,
            offset::tcp_write_seq(),
            SEQUENCE_OUT,
        )
    } else {
        known.seen_in += moved.bytes;
        (
            known.next_in,
            known.first_in,
            offset::tcp_copied_seq(),
            SEQUENCE_IN,
        )
    };
    let mut position = next;
    if known.flags & flag != 0
        && moved.settled
        && let Some(sequence) = read::kernel::<u32>(moved.sock, field)
    {
        let end = next.wrapping_add(moved.bytes);
        let ahead = sequence.wrapping_sub(first).wrapping_sub(end as u32) as i32;
        // One more than expected on the way in is the peer's FIN, read together with its last data.
        if !(ahead == 0 || (ahead == 1 && !moved.out)) {
            // Behind the connection's first byte there is nothing: such a number is not this stream's.
            let corrected = next.wrapping_add(ahead as i64 as u64);
            if ahead > 0 || corrected < next {
                position = corrected;
            }
        }
    }
    let end = position.wrapping_add(moved.bytes);
    if end > next {
        if moved.out {
            known.next_out = end
        } else {
            known.next_in = end
        }
    }
    position
}
