//! Call of a 32-bit program: its numbers (`arch/x86/entry/syscalls/syscall_32.tbl`) and registers, told as those of a 64-bit one.
//!
//! Calls with one buffer are told whole; those with several, whose arrays are laid out otherwise, without them: they are
//! counted, not captured. Deliberately absent: calls that move several messages, `preadv2` and `pwritev2`.

use super::call::{
    Call, READ, READV, RECVFROM, RECVMSG, SENDFILE, SENDMSG, SENDTO, SPLICE, WRITE, WRITEV, register,
};
use crate::read;

/// Nothing of interest; no call has this number.
const NONE: u64 = u64::MAX;

/// Code segment of 32-bit programs (`__USER32_CS` of `arch/x86/include/asm/segment.h`).
const USER32_CS: u16 = 0x23;

/// The one call for everything of sockets that older C libraries make.
const SOCKETCALL: u32 = 102;

/// # Safety
///
/// As for [`Call::read`].
#[inline(always)]
pub unsafe fn is_one(registers: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { read::known_field::<u16>(registers, register::CS) == USER32_CS }
}

/// # Safety
///
/// As for [`Call::read`].
#[inline(always)]
pub unsafe fn number(registers: u64) -> u64 {
    // SAFETY: the caller's promise.
    let (number, first) = unsafe {
        (
            read::known_field::<u32>(registers, register::ORIG_AX),
            read::known_field::<u32>(registers, register::BX),
        )
    };
    match number {
        3 => READ,
        4 => WRITE,
        145 => READV,
        146 => WRITEV,
        // The second for offsets of 64 bits.
        187 | 239 => SENDFILE,
        313 => SPLICE,
        369 => SENDTO,
        370 => SENDMSG,
        371 => RECVFROM,
        372 => RECVMSG,
        // `SYS_SEND` and so on of `include/uapi/linux/net.h`.
        SOCKETCALL => match first {
            9 | 11 => SENDTO,
            10 | 12 => RECVFROM,
            16 => SENDMSG,
            17 => RECVMSG,
            _ => NONE,
        },
        _ => NONE,
    }
}

/// # Safety
///
/// As for [`Call::read`].
#[inline(always)]
pub unsafe fn read(registers: u64) -> Call {
    // SAFETY: the caller's promise.
    let argument = |register| unsafe { read::known_field::<u32>(registers, register) };
    let mut arguments = [
        argument(register::BX),
        argument(register::CX),
        argument(register::DX),
        argument(register::SI),
        argument(register::DI),
    ];
    if argument(register::ORIG_AX) == SOCKETCALL {
        let (call, array) = (arguments[0], arguments[1]);
        arguments = read::user_or_zero(array as u64);
        let names_nobody = call == 9 || call == 10;
        if names_nobody {
            arguments[4] = 0;
        }
    }
    // SAFETY: the caller's promise.
    let number = unsafe { number(registers) };
    if matches!(number, READV | WRITEV | SENDMSG | RECVMSG) {
        arguments[1] = 0;
    }
    Call {
        number,
        first: arguments[0] as u64,
        second: arguments[1] as u64,
        third: arguments[2] as u64,
        fourth: arguments[3] as u64,
        fifth: arguments[4] as u64,
    }
}
