//! What user space fixes when it loads the programs. The verifier knows these values, so what they switch off is removed
//! from the program the kernel runs.

use spanhound_common::{ABSENT, Layout, Switches};

#[unsafe(no_mangle)]
static LAYOUT: Layout = Layout::EMPTY;

#[unsafe(no_mangle)]
static SWITCHES: Switches = Switches {
    own_pid: 0,
    chosen_only: 0,
    port_rules: 0,
    rest_ignored: 0,
    default_bytes: 0,
    setting_mask: 0,
    wake_bytes: 0,
    unix: 0,
    udp: 0,
    iterator_buffer: 0,
    iterator_vector: 0,
    iterator_mask: 0,
    registers: 0,
    reserved: 0,
};

/// One value of the load-time configuration; volatile, as user space replaces it behind the compiler's back.
macro_rules! configured {
    ($static:ident . $field:ident) => {{
        // SAFETY: an aligned integer of a static.
        unsafe { core::ptr::read_volatile(&raw const $static.$field) }
    }};
}

macro_rules! getters {
    ($static:ident: $($field:ident),* $(,)?) => {
        $(#[inline(always)] pub fn $field() -> u32 { configured!($static.$field) })*
    };
}

pub mod switch {
    use super::SWITCHES;
    getters!(SWITCHES: own_pid, chosen_only, port_rules, default_bytes, setting_mask, wake_bytes, unix, udp,
        iterator_buffer, iterator_vector, iterator_mask, registers);

    /// Whether processes without a rule are left at once.
    #[inline(always)]
    pub fn rest_ignored() -> bool {
        configured!(SWITCHES.rest_ignored) != 0
    }
}

pub mod offset {
    use super::LAYOUT;
    getters!(LAYOUT:
        task_files, task_signal, task_pid, task_tgid, task_stack, task_fsbase, signal_live, files_fdt, fdt_max_fds, fdt_fd,
        file_inode, file_private_data, inode_mode, socket_sk, sock_family, sock_state, sock_daddr, sock_rcv_saddr,
        sock_dport, sock_num, sock_v6_daddr, sock_v6_rcv_saddr, sock_net, sock_type, sock_protocol, net_inum,
        tcp_write_seq, tcp_copied_seq, tcp_rcv_nxt, tcp_snd_una, tcp_snd_nxt, tcp_bytes_received, tcp_bytes_acked,
        tcp_bytes_sent, tcp_bytes_retrans, tcp_segs_in, unix_addr, unix_peer, unix_address_len, unix_address_name,
        sock_socket, inode_of_socket, inode_number, msghdr_name, msghdr_iter, iter_iov, iter_offset, iter_type,
    );
}

/// Whether the running kernel has the field.
#[inline(always)]
pub fn known(offset: u32) -> bool {
    offset != ABSENT
}
