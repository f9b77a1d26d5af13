//! Probes: the one table of hooks. Adding a hook is one function in `agent-ebpf` and one row here.

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Tier {
    Fentry,
    Kprobe,
    Tracepoint,
    Syscall,
}

impl Tier {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
            Self::Syscall => "syscall",
        }
    }
}

/// One program of a hook.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// Name of the function in `agent-ebpf`.
    pub(super) program: &'static str,
    /// Kernel function or tracepoint.
    pub(super) target: &'static str,
    /// Arguments of the kernel function the program is written for.
    pub(super) arguments: Option<u32>,
    /// Kernels without the target do without it.
    pub(super) optional: bool,
}

impl Probe {
    const fn taking(self, arguments: u32) -> Self {
        Self {
            arguments: Some(arguments),
            ..self
        }
    }

    const fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }
}

/// One way to see an event: all of its programs, or it does not serve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) tier: Tier,
    pub(super) probes: &'static [Probe],
}

/// An event and the ways to see it, in the order they are tried: cheapest first, of those that see all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hook {
    /// In plain words, as `doctor` prints it.
    pub(super) event: &'static str,
    /// Without it capture does not start.
    pub(super) needed: bool,
    pub(super) ways: &'static [Way],
    /// Only where data is seen by this tier, which misses what this hook sees.
    pub(super) beside: Option<Tier>,
    /// Loaded at once, attached only when something asks for what it sees.
    pub(super) asked: bool,
}

/// The program that is attached when somebody asks for it.
pub(super) const WAKES: &str = "thread_waking";

/// What the other hooks stand beside.
pub(super) const DATA: &str = "data through sockets";

const fn probe(program: &'static str, target: &'static str) -> Probe {
    Probe {
        program,
        target,
        arguments: None,
        optional: false,
    }
}

/// In the order they are attached. Data comes last: a socket that was met before its end can be seen would stay known, and
/// the next one at its address be taken for it.
pub(super) static HOOKS: &[Hook] = &[
    Hook {
        event: "TCP connections closed",
        needed: true,
        beside: None,
        asked: false,
        ways: &[Way {
            tier: Tier::Tracepoint,
            probes: &[probe("socket_destroyed", "tcp_destroy_sock")],
        }],
    },
    Hook {
        event: "Unix and UDP sockets closed",
        needed: false,
        beside: None,
        asked: false,
        ways: &[
            Way {
                tier: Tier::Fentry,
                probes: &[
                    probe("unix_released", "unix_release_sock").taking(2).optional(),
                    probe("udp_destroyed", "udp_destroy_sock").taking(1),
                    probe("udp6_destroyed", "udpv6_destroy_sock").taking(1).optional(),
                ],
            },
            Way {
                tier: Tier::Kprobe,
                probes: &[
                    probe("other_released", "unix_release_sock").optional(),
                    probe("other_released", "udp_destroy_sock"),
                    probe("other_released", "udpv6_destroy_sock").optional(),
                ],
            },
        ],
    },
    Hook {
        event: "processes forked",
        needed: false,
        beside: None,
        asked: false,
        ways: &[Way {
            tier: Tier::Tracepoint,
            probes: &[probe("process_forked", "sched_process_fork")],
        }],
    },
    Hook {
        event: "programs executed",
        needed: false,
        beside: None,
        asked: false,
        ways: &[Way {
            tier: Tier::Tracepoint,
            probes: &[probe("process_executed", "sched_process_exec")],
        }],
    },
    Hook {
        event: "processes ended",
        needed: false,
        beside: None,
        asked: false,
        ways: &[Way {
            tier: Tier::Tracepoint,
            probes: &[probe("process_exited", "sched_process_exit")],
        }],
    },
    Hook {
        event: "TCP connections begun",
        needed: false,
        beside: None,
        asked: false,
        ways: &[Way {
            tier: Tier::Tracepoint,
            probes: &[probe("connection_begun", "inet_sock_set_state")],
        }],
    },
    Hook {
        event: "threads woken by others of their process",
        needed: false,
        beside: None,
        asked: true,
        ways: &[Way {
            tier: Tier::Tracepoint,
            probes: &[probe(WAKES, "sched_waking")],
        }],
    },
    Hook {
        event: DATA,
        needed: true,
        beside: None,
        asked: false,
        ways: &[
            Way {
                tier: Tier::Fentry,
                probes: &[
                    probe("inet_sent", "inet_sendmsg").taking(3),
                    probe("inet_received", "inet_recvmsg").taking(4),
                    probe("inet6_sent", "inet6_sendmsg").taking(3).optional(),
                    probe("inet6_received", "inet6_recvmsg").taking(4).optional(),
                    probe("unix_sent", "unix_stream_sendmsg").taking(3).optional(),
                    probe("unix_received", "unix_stream_recvmsg").taking(4).optional(),
                    probe("pages_sent", "inet_sendpage").taking(5).optional(),
                    probe("pages_received", "tcp_splice_read").taking(5).optional(),
                    probe("unix_pages_sent", "unix_stream_sendpage")
                        .taking(5)
                        .optional(),
                    probe("unix_pages_received", "unix_stream_splice_read")
                        .taking(5)
                        .optional(),
                ],
            },
            Way {
                tier: Tier::Tracepoint,
                probes: &[
                    probe("socket_sent", "sock_send_length"),
                    probe("socket_received", "sock_recv_length"),
                ],
            },
            Way {
                tier: Tier::Syscall,
                probes: &[probe("call_returned", "sys_exit")],
            },
            // Last: the kernel tells the returns of a bounded number of calls at once, and waiting to receive is a call.
            Way {
                tier: Tier::Kprobe,
                probes: &[
                    probe("send_entered", "inet_sendmsg").taking(3),
                    probe("function_returned", "inet_sendmsg"),
                    probe("receive_entered", "inet_recvmsg").taking(4),
                    probe("function_returned", "inet_recvmsg"),
                    probe("send_entered", "inet6_sendmsg").taking(3).optional(),
                    probe("function_returned", "inet6_sendmsg").optional(),
                    probe("receive_entered", "inet6_recvmsg").taking(4).optional(),
                    probe("function_returned", "inet6_recvmsg").optional(),
                    probe("send_entered", "unix_stream_sendmsg").taking(3).optional(),
                    probe("function_returned", "unix_stream_sendmsg").optional(),
                    probe("receive_entered", "unix_stream_recvmsg")
                        .taking(4)
                        .optional(),
                    probe("function_returned", "unix_stream_recvmsg").optional(),
                    probe("pages_send_entered", "inet_sendpage").taking(5).optional(),
                    probe("function_returned", "inet_sendpage").optional(),
                    probe("pages_receive_entered", "tcp_splice_read")
                        .taking(5)
                        .optional(),
                    probe("function_returned", "tcp_splice_read").optional(),
                    probe("pages_send_entered", "unix_stream_sendpage")
                        .taking(5)
                        .optional(),
                    probe("function_returned", "unix_stream_sendpage").optional(),
                    probe("pages_receive_entered", "unix_stream_splice_read")
                        .taking(5)
                        .optional(),
                    probe("function_returned", "unix_stream_splice_read").optional(),
                ],
            },
        ],
    },
    Hook {
        event: "bytes spliced out of sockets",
        needed: false,
        beside: Some(Tier::Tracepoint),
        asked: false,
        ways: &[
            Way {
                tier: Tier::Fentry,
                probes: &[
                    probe("pages_received", "tcp_splice_read").taking(5),
                    probe("unix_pages_received", "unix_stream_splice_read")
                        .taking(5)
                        .optional(),
                ],
            },
            Way {
                tier: Tier::Kprobe,
                probes: &[
                    probe("pages_receive_entered", "tcp_splice_read").taking(5),
                    probe("function_returned", "tcp_splice_read"),
                    probe("pages_receive_entered", "unix_stream_splice_read")
                        .taking(5)
                        .optional(),
                    probe("function_returned", "unix_stream_splice_read").optional(),
                ],
            },
        ],
    },
];

/// Every kernel function and tracepoint of the table.
pub(super) fn targets() -> impl Iterator<Item = &'static str> {
    HOOKS
        .iter()
        .flat_map(|hook| hook.ways)
        .flat_map(|way| way.probes)
        .map(|probe| probe.target)
}
