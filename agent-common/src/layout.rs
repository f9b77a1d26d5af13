//! Layout: where in the running kernel's structures the few fields are that the programs read.

/// Marks an offset that this kernel does not have. What needs it is switched off.
pub const ABSENT: u32 = u32::MAX;

/// A field of [`Layout`]: the kernel structure, the member path in it (other names the member had behind `|`), and where
/// its offset goes.
pub type Field = (&'static str, &'static str, fn(&mut Layout) -> &mut u32);

macro_rules! layout {
    ($($(#[$doc:meta])* $field:ident: $structure:literal . $path:literal;)*) => {
        /// Offsets in bytes, resolved from the kernel's type information by user space, constant once loaded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Layout { $($(#[$doc])* pub $field: u32,)* }

        impl Layout {
            /// Nothing known.
            pub const EMPTY: Self = Self { $($field: ABSENT,)* };

            pub const FIELDS: &'static [Field] = &[
                $(($structure, $path, |layout: &mut Self| &mut layout.$field),)*
            ];
        }
    };
}

layout! {
    task_files: "task_struct"."files";
    task_signal: "task_struct"."signal";
    task_pid: "task_struct"."pid";
    task_tgid: "task_struct"."tgid";
    task_stack: "task_struct"."stack";
    task_fsbase: "task_struct"."thread.fsbase";
    signal_live: "signal_struct"."live";
    files_fdt: "files_struct"."fdt";
    fdt_max_fds: "fdtable"."max_fds";
    fdt_fd: "fdtable"."fd";
    file_inode: "file"."f_inode";
    file_private_data: "file"."private_data";
    inode_mode: "inode"."i_mode";
    socket_sk: "socket"."sk";
    sock_family: "sock"."__sk_common.skc_family";
    sock_state: "sock"."__sk_common.skc_state";
    sock_daddr: "sock"."__sk_common.skc_daddr";
    sock_rcv_saddr: "sock"."__sk_common.skc_rcv_saddr";
    sock_dport: "sock"."__sk_common.skc_dport";
    sock_num: "sock"."__sk_common.skc_num";
    sock_v6_daddr: "sock"."__sk_common.skc_v6_daddr";
    sock_v6_rcv_saddr: "sock"."__sk_common.skc_v6_rcv_saddr";
    sock_net: "sock"."__sk_common.skc_net";
    /// A 16-bit number since Linux 5.6.
    sock_type: "sock"."sk_type";
    sock_protocol: "sock"."sk_protocol";
    sock_socket: "sock"."sk_socket";
    net_inum: "net"."ns.inum";
    tcp_write_seq: "tcp_sock"."write_seq";
    tcp_copied_seq: "tcp_sock"."copied_seq";
    tcp_rcv_nxt: "tcp_sock"."rcv_nxt";
    tcp_snd_una: "tcp_sock"."snd_una";
    tcp_snd_nxt: "tcp_sock"."snd_nxt";
    tcp_bytes_received: "tcp_sock"."bytes_received";
    tcp_bytes_acked: "tcp_sock"."bytes_acked";
    tcp_bytes_sent: "tcp_sock"."bytes_sent";
    tcp_bytes_retrans: "tcp_sock"."bytes_retrans";
    tcp_segs_in: "tcp_sock"."segs_in";
    unix_addr: "unix_sock"."addr";
    unix_peer: "unix_sock"."peer";
    unix_address_len: "unix_address"."len";
    unix_address_name: "unix_address"."name";
    inode_of_socket: "socket_alloc"."vfs_inode";
    inode_number: "inode"."i_ino";
    msghdr_name: "msghdr"."msg_name";
    msghdr_iter: "msghdr"."msg_iter";
    /// The place of a single buffer (`ubuf`, Linux 6.0) is the same.
    iter_iov: "iov_iter"."__iov|iov";
    iter_offset: "iov_iter"."iov_offset";
    iter_type: "iov_iter"."iter_type|type";
}
