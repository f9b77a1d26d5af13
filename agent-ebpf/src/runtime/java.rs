//! Java: which virtual thread a thread carries.
//!
//! A thread of the virtual machine knows which `java.lang.Thread` runs on it: its own or a virtual one. Its number is told,
//! as objects move. Bounded: the threads that user space found. Deliberately absent: anything else of the program.

use aya_ebpf::{macros::map, maps::LruHashMap};
use spanhound_common::{
    JavaThread,
    limits::JAVA_CARRIERS_MAX,
    record::{ActorRecord, ROUTINE_VIRTUAL_THREAD},
};

use crate::read;

/// Written by user space, by thread id; removed by it when the process ended.
#[map]
static JAVA_CARRIERS: LruHashMap<u32, JavaThread> = LruHashMap::with_max_entries(JAVA_CARRIERS_MAX, 0);

#[inline(always)]
pub fn virtual_thread(actor: &mut ActorRecord) {
    // SAFETY: entries are replaced as a whole; what a torn read leads to is no number.
    let Some(carrier) = (unsafe { JAVA_CARRIERS.get(actor.tid) }) else {
        return;
    };
    let Some(number) = running(carrier) else { return };
    if number != carrier.own_number {
        actor.routine = ROUTINE_VIRTUAL_THREAD | number;
    }
}

/// The number of the thread that runs. What was read of an object that has been moved meanwhile may be anything.
#[inline(always)]
fn running(carrier: &JavaThread) -> Option<u64> {
    let thread = read::user::<u64>(carrier.running)?;
    let number = read::user::<u64>(thread.wrapping_add(carrier.number_offset as u64))?;
    (read::user::<u64>(carrier.running)? == thread).then_some(number)
}
