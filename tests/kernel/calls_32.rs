//! System calls of 32-bit programs, which have numbers and registers of their own.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{
    calls::{Captured, Receive, Send},
    observer::{Observer, in_every_tier},
    sockets::{Family, tcp},
    ways::failures,
};

const READ: u32 = 3;
const WRITE: u32 = 4;
const SOCKETCALL: u32 = 102;
const READV: u32 = 145;
const WRITEV: u32 = 146;
const SENDTO: u32 = 369;
const RECVFROM: u32 = 371;
/// What a `SOCKETCALL` is for.
const SEND: u32 = 9;
const RECV: u32 = 10;

/// A page that both kinds of code reach, and bytes of ours at an address of 32 bits.
struct Low {
    place: *mut u8,
}

const CODE_BYTES: usize = 4096;
/// In the page: address and segment of its code. (A far return would do without, but emulators get it wrong.)
const ENTRY_AT: usize = 64;
const ROOM_BYTES: usize = 64 * 1024;
/// Behind the arguments of a call.
const PAYLOAD_AT: usize = CODE_BYTES + 64;

impl Low {
    fn new() -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        let len = CODE_BYTES + ROOM_BYTES;
        // SAFETY: new memory, wherever there is room below four GiB.
        let place = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        assert_ne!(place, libc::MAP_FAILED);
        let this = Self { place: place.cast() };
        // int 0x80, a far jump to the 64-bit segment, and there: jmp r13.
        let mut code = vec![0xCD, 0x80, 0xEA];
        code.extend((this.address(0) + 9).to_le_bytes());
        code.extend([0x33, 0, 0x41, 0xFF, 0xE5]);
        this.write(0, &code);
        let mut entry = this.address(0).to_le_bytes().to_vec();
        entry.extend([0x23, 0]);
        this.write(ENTRY_AT, &entry);
        this
    }

    fn address(&self, at: usize) -> u32 {
        u32::try_from(self.place as usize + at).unwrap()
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= CODE_BYTES + ROOM_BYTES);
        // SAFETY: within our memory.
        unsafe {
            self.place
                .add(at)
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
    }

    fn payload(&self, len: usize) -> Vec<u8> {
        assert!(PAYLOAD_AT + len <= CODE_BYTES + ROOM_BYTES);
        // SAFETY: within our memory.
        unsafe { std::slice::from_raw_parts(self.place.add(PAYLOAD_AT), len).to_vec() }
    }

    /// Writes words before the payload, and says where.
    fn words(&self, words: &[u32]) -> u32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert!(bytes.len() <= PAYLOAD_AT - CODE_BYTES);
        self.write(CODE_BYTES, &bytes);
        self.address(CODE_BYTES)
    }

    /// Goes over to 32-bit code, which makes the call and comes back.
    fn call(&self, number: u32, [first, second, third, fourth]: [u32; 4]) -> i32 {
        let mut result = number;
        // SAFETY: the code returns here, with the registers it does not name as they were; the call's memory is ours.
        unsafe {
            std::arch::asm!(
                "push rbx",
                "push rbp",
                "mov r12, rsp",
                "lea r13, [rip + 2f]",
                "mov ebx, r14d",
                "jmp fword ptr [r15 + {entry}]",
                "2:",
                "mov rsp, r12",
                "pop rbp",
                "pop rbx",
                entry = const ENTRY_AT,
                inout("eax") result,
                in("ecx") second,
                in("edx") third,
                in("esi") fourth,
                inout("edi") 0 => _,
                inout("r14") u64::from(first) => _,
                inout("r15") u64::from(self.address(0)) => _,
                out("r8") _,
                out("r9") _,
                out("r10") _,
                out("r11") _,
                out("r12") _,
                out("r13") _,
            );
        }
        result as i32
    }
}

impl Drop for Low {
    fn drop(&mut self) {
        // SAFETY: our memory, which nothing points to any more.
        unsafe { libc::munmap(self.place.cast(), CODE_BYTES + ROOM_BYTES) };
    }
}

/// Whether this kernel runs such programs: tried in a child, which it kills otherwise.
fn can_run() -> bool {
    let low = Low::new();
    // SAFETY: the child makes one call and ends without running anything of the parent's.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        const GETPID: u32 = 20;
        let own = low.call(GETPID, [0; 4]);
        // SAFETY: no preconditions.
        unsafe { libc::_exit(i32::from(own <= 0)) };
    }
    let mut status = 0;
    // SAFETY: a child of ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status == 0
}

/// What follows the descriptor in a call, for so many bytes of payload.
type Call = fn(&Low, u32, u32) -> i32;

fn send(fd: BorrowedFd<'_>, bytes: &[u8], call: Call) {
    let low = Low::new();
    let mut sent = 0;
    while sent < bytes.len() {
        low.write(PAYLOAD_AT, &bytes[sent..]);
        let moved = call(&low, fd.as_raw_fd() as u32, (bytes.len() - sent) as u32);
        assert!(moved > 0, "{moved}");
        sent += moved as usize;
    }
}

fn receive(fd: BorrowedFd<'_>, len: usize, call: Call) -> Vec<u8> {
    let low = Low::new();
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let moved = call(&low, fd.as_raw_fd() as u32, (len - bytes.len()) as u32);
        assert!(moved > 0, "{moved}");
        bytes.extend(low.payload(moved as usize));
    }
    bytes
}

fn payload(low: &Low) -> u32 {
    low.address(PAYLOAD_AT)
}

fn by_socketcall(low: &Low, call: u32, fd: u32, len: u32) -> i32 {
    let arguments = low.words(&[fd, payload(low), len, 0]);
    low.call(SOCKETCALL, [call, arguments, 0, 0])
}

fn vectored(low: &Low, number: u32, fd: u32, len: u32) -> i32 {
    let parts = low.words(&[payload(low), len / 2, payload(low) + len / 2, len - len / 2]);
    low.call(number, [fd, parts, 2, 0])
}

const SENDS_32: &[(&str, Send, Captured)] = &[
    (
        "write",
        |fd, bytes| {
            send(fd, bytes, |low, fd, len| {
                low.call(WRITE, [fd, payload(low), len, 0])
            })
        },
        Captured::All,
    ),
    (
        "sendto",
        |fd, bytes| {
            send(fd, bytes, |low, fd, len| {
                low.call(SENDTO, [fd, payload(low), len, 0])
            })
        },
        Captured::All,
    ),
    (
        "send by socketcall",
        |fd, bytes| send(fd, bytes, |low, fd, len| by_socketcall(low, SEND, fd, len)),
        Captured::All,
    ),
    (
        "writev",
        |fd, bytes| send(fd, bytes, |low, fd, len| vectored(low, WRITEV, fd, len)),
        Captured::Some,
    ),
];

const RECEIVES_32: &[(&str, Receive, Captured)] = &[
    (
        "read",
        |fd, len| receive(fd, len, |low, fd, len| low.call(READ, [fd, payload(low), len, 0])),
        Captured::All,
    ),
    (
        "recvfrom",
        |fd, len| {
            receive(fd, len, |low, fd, len| {
                low.call(RECVFROM, [fd, payload(low), len, 0])
            })
        },
        Captured::All,
    ),
    (
        "recv by socketcall",
        |fd, len| receive(fd, len, |low, fd, len| by_socketcall(low, RECV, fd, len)),
        Captured::All,
    ),
    (
        "readv",
        |fd, len| receive(fd, len, |low, fd, len| vectored(low, READV, fd, len)),
        Captured::Some,
    ),
];

#[test]
fn a_32_bit_program_moves_bytes_like_any_other() {
    if !can_run() {
        eprintln!("skipped: this kernel runs no 32-bit programs");
        return;
    }
    let act = |observer: &mut Observer| {
        let (sends, receives) = (SENDS_32.iter().copied(), RECEIVES_32.iter().copied());
        failures(observer, sends, receives, |_| tcp(Family::V4))
    };
    in_every_tier(act, |tier, failures| {
        assert!(failures.is_empty(), "{tier:?} {}", failures.join("\n"));
    });
}
