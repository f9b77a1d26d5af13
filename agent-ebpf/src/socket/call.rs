//! Call: what the registers of a system call say about its buffers (x86-64: `arch/x86/entry/syscalls/syscall_64.tbl`).
//!
//! The kernel leaves a call's arguments in the saved registers, so they can be read when it returns, and nothing needs to
//! be remembered from its entry.

use super::call_32;
use crate::{payload::Payload, read};

pub const READ: u64 = 0;
pub const WRITE: u64 = 1;
pub const READV: u64 = 19;
pub const WRITEV: u64 = 20;
pub const SENDFILE: u64 = 40;
pub const SENDTO: u64 = 44;
pub const RECVFROM: u64 = 45;
pub const SENDMSG: u64 = 46;
pub const RECVMSG: u64 = 47;
pub const SPLICE: u64 = 275;
pub const RECVMMSG: u64 = 299;
pub const SENDMMSG: u64 = 307;
pub const PREADV2: u64 = 327;
pub const PWRITEV2: u64 = 328;

pub const MSG_PEEK: u64 = 2;
/// What is beyond the buffers counts as received, and of a stream all is thrown away: the buffers do not tell.
pub const MSG_TRUNC: u64 = 0x20;
pub const MSG_ERRQUEUE: u64 = 0x2000;

/// Offsets in `struct pt_regs` (`arch/x86/include/asm/ptrace.h`).
pub mod register {
    pub const BX: u32 = 40;
    pub const R10: u32 = 56;
    pub const R8: u32 = 72;
    pub const AX: u32 = 80;
    pub const CX: u32 = 88;
    pub const DX: u32 = 96;
    pub const SI: u32 = 104;
    pub const DI: u32 = 112;
    pub const ORIG_AX: u32 = 120;
    pub const CS: u32 = 136;
}

/// What the result's register says until the call returns: `-ENOSYS` (`arch/x86/entry/entry_64.S`).
pub const NOT_RETURNED: i64 = -38;

/// A system call's number and arguments.
#[derive(Clone, Copy)]
pub struct Call {
    pub number: u64,
    pub first: u64,
    pub second: u64,
    pub third: u64,
    pub fourth: u64,
    pub fifth: u64,
}

impl Call {
    /// # Safety
    ///
    /// `registers` must be a `struct pt_regs` the kernel handed to this program.
    #[inline(always)]
    pub unsafe fn read(registers: u64) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            if call_32::is_one(registers) {
                return call_32::read(registers);
            }
            Self {
                number: read::known_field(registers, register::ORIG_AX),
                first: read::known_field(registers, register::DI),
                second: read::known_field(registers, register::SI),
                third: read::known_field(registers, register::DX),
                fourth: read::known_field(registers, register::R10),
                fifth: read::known_field(registers, register::R8),
            }
        }
    }

    /// Whether the call has not returned yet. Work of an I/O ring is done on the way out of whatever call comes next, whose
    /// arguments have nothing to do with it.
    ///
    /// # Safety
    ///
    /// As for [`Self::read`].
    #[inline(always)]
    pub unsafe fn is_running(registers: u64) -> bool {
        // SAFETY: the caller's promise.
        unsafe { read::known_field::<i64>(registers, register::AX) == NOT_RETURNED }
    }

    /// Only the number.
    ///
    /// # Safety
    ///
    /// As for [`Self::read`].
    #[inline(always)]
    pub unsafe fn number(registers: u64) -> u64 {
        // SAFETY: the caller's promise.
        unsafe {
            if call_32::is_one(registers) {
                return call_32::number(registers);
            }
            read::known_field(registers, register::ORIG_AX)
        }
    }

    /// Where the bytes are, and the address of the destination that a sending call names, 0 for none.
    #[inline(always)]
    pub fn payload(&self) -> (Payload, u64) {
        match self.number {
            SENDTO => (Payload::buffer(self.second), self.fifth),
            READ | WRITE | RECVFROM => (Payload::buffer(self.second), 0),
            READV | WRITEV | PREADV2 | PWRITEV2 => (Payload::vector(self.second, self.third), 0),
            RECVMSG | SENDMSG => Message::read(self.second)
                .map_or((Payload::NONE, 0), |message| (message.payload(), message.name)),
            _ => (Payload::NONE, 0),
        }
    }

    /// Flags of a receiving call.
    #[inline(always)]
    pub fn receive_flags(&self) -> u64 {
        match self.number {
            RECVFROM | RECVMMSG => self.fourth,
            RECVMSG => self.third,
            _ => 0,
        }
    }
}

/// `struct user_msghdr` of `include/linux/socket.h`, as far as it is read.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Message {
    pub name: u64,
    pub name_len: u64,
    pub buffers: u64,
    pub count: u64,
}

impl Message {
    #[inline(always)]
    pub fn read(address: u64) -> Option<Self> {
        read::user(address)
    }

    #[inline(always)]
    pub fn payload(&self) -> Payload {
        Payload::vector(self.buffers, self.count)
    }
}
