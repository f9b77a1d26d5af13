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
}

/// One way to see an event: all of its programs, or it does not serve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) tier: Tier,
    pub(super) probes: &'static [Probe],
}

/// An event and the ways to see it, cheapest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hook {
    /// In plain words, as `doctor` prints it.
    pub(super) event: &'static str,
    /// Without it capture does not start.
    pub(super) needed: bool,
    pub(super) ways: &'static [Way],
}

const fn probe(program: &'static str, target: &'static str) -> Probe {
    Probe { program, target }
}

pub(super) static HOOKS: &[Hook] = &[
    Hook {
        event: "data through sockets",
        needed: true,
        ways: &[
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
        ],
    },
    Hook {
        event: "TCP connections closed",
        needed: true,
        ways: &[Way {
            tier: Tier::Tracepoint,
            probes: &[probe("socket_destroyed", "tcp_destroy_sock")],
        }],
    },
    Hook {
        event: "processes forked",
        needed: false,
        ways: &[Way {
            tier: Tier::Tracepoint,
            probes: &[probe("process_forked", "sched_process_fork")],
        }],
    },
    Hook {
        event: "programs executed",
        needed: false,
        ways: &[Way {
            tier: Tier::Tracepoint,
            probes: &[probe("process_executed", "sched_process_exec")],
        }],
    },
    Hook {
        event: "processes ended",
        needed: false,
        ways: &[Way {
            tier: Tier::Tracepoint,
            probes: &[probe("process_exited", "sched_process_exit")],
        }],
    },
];
