//! System calls seen when they return: the floor, for kernels whose sockets have no tracepoints of their own. One program
//! for all of them; calls that do not move data leave after a few instructions.

use core::num::NonZeroU64;

use aya_ebpf::{helpers::bpf_get_current_task, macros::btf_tracepoint, programs::BtfTracePointContext};
use spanhound_common::{Loss, limits::MESSAGES_MAX};

use super::{
    batch::{LEN_AT, MESSAGE_BYTES},
    call::{self, Call, MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC, Message},
};
use crate::{
    actor,
    config::offset,
    emit,
    payload::Payload,
    read,
    stream::{Addressee, Moved, moved},
};

const PROGRAM: u32 = 0;

/// `sys_exit(regs, ret)` of `include/trace/events/syscalls.h`.
#[btf_tracepoint(function = "sys_exit")]
pub fn call_returned(ctx: BtfTracePointContext) -> i32 {
    let returned: i64 = ctx.arg(1);
    if returned <= 0 {
        return 0;
    }
    let registers: u64 = ctx.arg(0);
    // SAFETY: the tracepoint's first argument.
    let mut out = match unsafe { Call::number(registers) } {
        call::READ | call::READV | call::RECVFROM | call::RECVMSG | call::RECVMMSG | call::PREADV2 => false,
        call::WRITE | call::WRITEV | call::SENDTO | call::SENDMSG | call::SENDMMSG | call::PWRITEV2 => true,
        call::SENDFILE => true,
        call::SPLICE => false,
        _ => return 0,
    };
    if !actor::wanted() {
        return 0;
    }
    // SAFETY: as above.
    let call = unsafe { Call::read(registers) };
    let flags = call.receive_flags();
    if flags & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return 0;
    }
    let is_in_buffers = flags & MSG_TRUNC == 0;
    let mut sock = socket_of(call.first);
    if sock.is_none() && call.number == call::SPLICE {
        // Either end of a splice may be the socket.
        sock = socket_of(call.third);
        out = true;
    }
    let Some(sock) = sock.map(NonZeroU64::get) else {
        return 0;
    };
    if call.number == call::RECVMMSG || call.number == call::SENDMMSG {
        batch(sock, out, call.second, returned as u64, is_in_buffers);
    } else {
        let (mut payload, addressee) = call.payload();
        if !is_in_buffers {
            payload = Payload::NONE;
        }
        moved(&Moved {
            sock,
            out,
            bytes: returned as u32,
            settled: true,
            sequence: None,
            program: PROGRAM,
            payload,
            addressee: Addressee::in_process(addressee),
        });
    }
    0
}

/// All messages of a `sendmmsg` or `recvmmsg`, which has returned.
#[inline(always)]
fn batch(sock: u64, out: bool, array: u64, messages: u64, is_in_buffers: bool) {
    if messages > MESSAGES_MAX as u64 {
        emit::lost(Loss::UnseenMessages, messages - MESSAGES_MAX as u64);
    }
    let mut index = 0;
    while index < MESSAGES_MAX as u64 {
        if index >= messages {
            break;
        }
        let at = array.wrapping_add(index * MESSAGE_BYTES);
        index += 1;
        let (Some(message), Some(bytes)) = (Message::read(at), read::user::<u32>(at + LEN_AT)) else {
            emit::lost(Loss::UnseenMessages, 1);
            break;
        };
        moved(&Moved {
            sock,
            out,
            bytes,
            // Only the last one's number is the socket's.
            settled: index == messages,
            sequence: None,
            program: PROGRAM,
            payload: if is_in_buffers {
                message.payload()
            } else {
                Payload::NONE
            },
            addressee: Addressee::in_process(message.name),
        });
    }
}

/// The socket behind a file descriptor of the current process: task -> files -> table -> file -> socket -> sock.
#[inline(never)]
fn socket_of(descriptor: u64) -> Option<NonZeroU64> {
    const S_IFMT: u16 = 0xF000;
    const S_IFSOCK: u16 = 0xC000;
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let files = read::kernel::<u64>(task, offset::task_files())?;
    let table = read::kernel::<u64>(files, offset::files_fdt())?;
    let descriptor = descriptor & 0xFFFF_FFFF;
    if descriptor >= read::kernel::<u32>(table, offset::fdt_max_fds())? as u64 {
        return None;
    }
    let array = read::kernel::<u64>(table, offset::fdt_fd())?;
    let file = read::kernel::<u64>(array.wrapping_add(descriptor * 8), 0)?;
    if file == 0 {
        return None;
    }
    let inode = read::kernel::<u64>(file, offset::file_inode())?;
    if read::kernel::<u16>(inode, offset::inode_mode())? & S_IFMT != S_IFSOCK {
        return None;
    }
    let socket = read::kernel::<u64>(file, offset::file_private_data())?;
    read::kernel::<u64>(socket, offset::socket_sk()).and_then(NonZeroU64::new)
}
