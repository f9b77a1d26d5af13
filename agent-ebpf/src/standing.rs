//! Standing: where in its streams a TCP connection is, from the kernel's own counters.
//!
//! They change together while another processor is at work on them: what does not fit is read again, and given up soon.

use spanhound_common::record::{ROLE_CLIENT, ROLE_SERVER, ROLE_UNKNOWN};

use crate::{
    config::{known, offset},
    read,
};

const TCP_ESTABLISHED: u8 = 1;
const TCP_CLOSE_WAIT: u8 = 8;

/// Readings taken before it is given up.
const ATTEMPTS: u32 = 3;

#[derive(Clone, Copy)]
pub struct Standing {
    /// Positions of the next byte in each direction.
    pub out: u64,
    pub in_: u64,
    /// Sequence numbers of the first byte in each direction.
    pub first_out: u32,
    pub first_in: u32,
    pub role: u8,
}

/// Reads the counters of `struct tcp_sock` until two readings agree.
#[inline(always)]
pub fn of(sock: u64) -> Option<Standing> {
    if !counters_known() {
        return None;
    }
    let mut attempt = 0;
    while attempt < ATTEMPTS {
        attempt += 1;
        let received = read::field::<u64>(sock, offset::tcp_bytes_received());
        let acked = read::field::<u64>(sock, offset::tcp_bytes_acked());
        let rcv_nxt = read::field::<u32>(sock, offset::tcp_rcv_nxt());
        let copied = read::field::<u32>(sock, offset::tcp_copied_seq());
        let una = read::field::<u32>(sock, offset::tcp_snd_una());
        let nxt = read::field::<u32>(sock, offset::tcp_snd_nxt());
        let write = read::field::<u32>(sock, offset::tcp_write_seq());
        let sent = read::field::<u64>(sock, offset::tcp_bytes_sent());
        let again = read::field::<u64>(sock, offset::tcp_bytes_retrans());
        let state = read::field::<u8>(sock, offset::sock_state());
        let changed = received ^ read::field::<u64>(sock, offset::tcp_bytes_received())
            | acked ^ read::field::<u64>(sock, offset::tcp_bytes_acked())
            | (rcv_nxt ^ read::field::<u32>(sock, offset::tcp_rcv_nxt())) as u64
            | (una ^ read::field::<u32>(sock, offset::tcp_snd_una())) as u64
            | sent ^ read::field::<u64>(sock, offset::tcp_bytes_sent());
        if changed != 0 {
            continue;
        }
        // `bytes_acked` counts the SYN at the end that sent it first (tcp_rcv_synsent_state_process acknowledges it as
        // data), not at the end that accepted: against the payload acknowledged, that tells the ends apart. Once a FIN
        // was sent it may be in there too.
        let acked_payload = sent
            .wrapping_sub(again)
            .wrapping_sub(nxt.wrapping_sub(una) as u64);
        let role = match acked.wrapping_sub(acked_payload) {
            _ if state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT => ROLE_UNKNOWN,
            0 => ROLE_SERVER,
            1 => ROLE_CLIENT,
            _ => ROLE_UNKNOWN,
        };
        let syn = if role == ROLE_CLIENT { 1 } else { 0 };
        return Some(Standing {
            out: acked
                .wrapping_sub(syn)
                .wrapping_add(write.wrapping_sub(una) as u64),
            in_: received.wrapping_sub(rcv_nxt.wrapping_sub(copied) as u64),
            first_out: una.wrapping_sub(acked as u32).wrapping_add(syn as u32),
            first_in: rcv_nxt.wrapping_sub(received as u32),
            role,
        });
    }
    None
}

/// Whether the stream in begins at this sequence number.
#[inline(always)]
pub fn began_at(sock: u64, first_in: u32) -> bool {
    let mut attempt = 0;
    while attempt < ATTEMPTS {
        attempt += 1;
        let received = read::field::<u64>(sock, offset::tcp_bytes_received());
        let next = read::field::<u32>(sock, offset::tcp_rcv_nxt());
        if next.wrapping_sub(received as u32) == first_in {
            return true;
        }
    }
    false
}

/// Whether this kernel has every counter that tells where a connection stands.
#[inline(always)]
fn counters_known() -> bool {
    known(offset::tcp_bytes_received())
        && known(offset::tcp_bytes_acked())
        && known(offset::tcp_rcv_nxt())
        && known(offset::tcp_copied_seq())
        && known(offset::tcp_snd_una())
        && known(offset::tcp_snd_nxt())
        && known(offset::tcp_write_seq())
        && known(offset::tcp_bytes_sent())
        && known(offset::tcp_bytes_retrans())
        && known(offset::sock_state())
}
