//! Batch: which message of a `sendmmsg` or `recvmmsg` is at hand. The tracepoint tells of each message, the registers of the
//! whole array.
//!
//! The kernel takes messages in order, so that counting those told of is enough, as long as it is known where a call begins:
//! with another array, another number of messages, behind the last one, and after one that failed, which ends a call. Time,
//! too, may end a `recvmmsg`, and nothing tells of that: what is received by one with a time limit is only counted, unless
//! it takes a single message. One that does not fit what moved is not believed.

use aya_ebpf::{bindings::BPF_ANY, helpers::bpf_get_current_pid_tgid};

use super::call::{Call, Message, RECVMMSG, SENDMMSG};
use crate::{
    maps::{BATCHED, BATCHES},
    payload::{Buffer, Payload},
    read,
};

/// `struct mmsghdr` of `include/linux/socket.h`: a `struct user_msghdr` (56 bytes) and how much of it moved.
pub const MESSAGE_BYTES: u64 = 64;
pub const LEN_AT: u64 = 56;

/// How far a thread is in its array.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Batch {
    array: u64,
    messages: u32,
    /// Index of the next message.
    next: u32,
}

/// Whether any thread was ever inside an array of several messages.
#[inline(always)]
pub fn were_any() -> bool {
    BATCHED.get(0).is_some_and(|were| *were != 0)
}

/// Whether the call's arguments are an array of messages.
#[inline(always)]
pub fn is_one(call: u64) -> bool {
    call == SENDMMSG || call == RECVMMSG
}

/// Where the bytes of the message are that moves right now, and the address of the destination it names.
#[inline(always)]
pub fn payload(call: &Call, bytes: u32) -> (Payload, u64) {
    let sends = call.number == SENDMMSG;
    let is_limited = !sends && call.fifth != 0 && call.third as u32 > 1;
    if is_limited {
        return (Payload::NONE, 0);
    }
    let at = call.second.wrapping_add(index(call) as u64 * MESSAGE_BYTES);
    let Some(message) = Message::read(at) else {
        return (Payload::NONE, 0);
    };
    if message.count == 1 {
        let room = read::user_or_zero::<Buffer>(message.buffers).len;
        let bytes = bytes as u64;
        if room < bytes || sends && room != bytes {
            return (Payload::NONE, 0);
        }
    }
    (message.payload(), if sends { message.name } else { 0 })
}

/// A message without bytes moved.
#[inline(always)]
pub fn passed_over(call: &Call) {
    index(call);
}

/// A message failed: the thread's next one is the first of a call.
#[inline(always)]
pub fn ended() {
    let _ = BATCHES.remove(bpf_get_current_pid_tgid());
}

#[inline(always)]
fn index(call: &Call) -> u32 {
    let (array, messages) = (call.second, call.third as u32);
    if messages <= 1 {
        return 0;
    }
    let thread = bpf_get_current_pid_tgid();
    let mut index = 0;
    // SAFETY: a value of our map; only the thread it belongs to uses it.
    if let Some(batch) = unsafe { BATCHES.get(thread) }
        && batch.array == array
        && batch.messages == messages
        && batch.next < messages
    {
        index = batch.next;
    }
    let batch = &Batch {
        array,
        messages,
        next: index + 1,
    };
    if let Some(were) = BATCHED.get_ptr_mut(0) {
        // SAFETY: a value of our map, to which nobody writes anything else.
        unsafe { *were = 1 };
    }
    // Without room the next message is taken for a first one, and believed only if it is as long.
    let _ = BATCHES.insert(thread, batch, BPF_ANY as u64);
    index
}
