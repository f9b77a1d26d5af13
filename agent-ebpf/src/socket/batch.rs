//! Batch: which message of a `sendmmsg` is being sent. The tracepoint tells of each message, the registers of the whole array.
//!
//! The kernel sends messages in order and writes behind each how much of it went, so that counting the messages told of is
//! enough, as long as it is known where a call begins: with another array, another number of messages, behind the last one,
//! or where the message before says that nothing of it went. One that is not as long as what moved is not believed.

use aya_ebpf::{bindings::BPF_ANY, helpers::bpf_get_current_pid_tgid};

use super::call::{Call, Message};
use crate::{
    maps::BATCHES,
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

/// Where the bytes are that a `sendmmsg` sends right now, and the address of the destination the message names.
#[inline(always)]
pub fn payload(call: &Call, bytes: u32) -> (Payload, u64) {
    let at = call.second.wrapping_add(index(call) as u64 * MESSAGE_BYTES);
    let Some(message) = Message::read(at) else {
        return (Payload::NONE, 0);
    };
    if message.count == 1 && read::user_or_zero::<Buffer>(message.buffers).len != bytes as u64 {
        return (Payload::NONE, 0);
    }
    (message.payload(), message.name)
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
        let before = array.wrapping_add((batch.next as u64).wrapping_sub(1) * MESSAGE_BYTES);
        if read::user_or_zero::<u32>(before.wrapping_add(LEN_AT)) != 0 {
            index = batch.next;
        }
    }
    let batch = &Batch {
        array,
        messages,
        next: index + 1,
    };
    // Without room the next message is taken for a first one, and believed only if it is as long.
    let _ = BATCHES.insert(thread, batch, BPF_ANY as u64);
    index
}
