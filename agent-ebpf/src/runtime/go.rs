//! Go: `net/http` writes a request from a goroutine that belongs to the connection, not from the one that makes the call.
//!
//! Two functions tell who calls: `persistConn.roundTrip` runs in the caller with the connection as receiver, and
//! `persistConnWriter.Write` runs in the writer with the same connection, right before the bytes are written. Both are
//! entries only: Go's stacks move, so its return addresses must stay as they are. Bounded: connections and writers, with
//! the least recently used forgotten. Deliberately absent: anything of the request itself.

use aya_ebpf::{
    macros::{map, uprobe},
    maps::LruHashMap,
    programs::ProbeContext,
};
use spanhound_common::{limits::GO_CALLERS_DEFAULT, record::ActorRecord};

use crate::actor::Current;

/// Something of one process: the address of a `persistConn`, or a goroutine's id.
#[derive(Clone, Copy)]
#[repr(C)]
struct Key {
    pid: u64,
    what: u64,
}

/// A goroutine, and the one that started it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Goroutine {
    id: u64,
    parent: u64,
}

/// Who used the connection last, by its address.
#[map]
static GO_CALLERS: LruHashMap<Key, Goroutine> = LruHashMap::with_max_entries(GO_CALLERS_DEFAULT, 0);

/// For whom a connection's writer writes, by the writer's id.
#[map]
static GO_WRITERS: LruHashMap<Key, Goroutine> = LruHashMap::with_max_entries(GO_CALLERS_DEFAULT, 0);

/// First argument in Go's register convention on x86-64 (`cmd/compile/abi-internal.md`): RAX.
#[inline(always)]
fn first_argument(ctx: &ProbeContext) -> u64 {
    // SAFETY: the registers the kernel handed to this program.
    unsafe { (*ctx.regs).rax }
}

/// `func (pc *persistConn) roundTrip(req *transportRequest) (*Response, error)` of `net/http/transport.go`.
#[uprobe]
pub fn go_round_trip(ctx: ProbeContext) -> u32 {
    let Some((pid, actor)) = goroutine() else { return 0 };
    let caller = Goroutine {
        id: actor.routine,
        parent: actor.parent_routine,
    };
    let key = Key {
        pid,
        what: first_argument(&ctx),
    };
    // Full: the oldest goes, and its next call is looked at without.
    let _ = GO_CALLERS.insert(key, caller, 0);
    0
}

/// `func (w persistConnWriter) Write(p []byte) (n int, err error)`; its only field is the `*persistConn`.
#[uprobe]
pub fn go_connection_write(ctx: ProbeContext) -> u32 {
    let Some((pid, actor)) = goroutine() else { return 0 };
    let key = Key {
        pid,
        what: first_argument(&ctx),
    };
    // SAFETY: copied at once.
    if let Some(caller) = unsafe { GO_CALLERS.get(key) }.copied() {
        let writer = Key {
            pid,
            what: actor.routine,
        };
        let _ = GO_WRITERS.insert(writer, caller, 0);
    }
    0
}

#[inline(always)]
fn goroutine() -> Option<(u64, ActorRecord)> {
    let current = Current::thread();
    let actor = current.own_record(&current.rule());
    (actor.routine != 0).then_some((current.pid as u64, actor))
}

/// Puts the caller in the writer's place.
#[inline(always)]
pub fn behalf(actor: &mut ActorRecord) {
    let writer = Key {
        pid: actor.pid as u64,
        what: actor.routine,
    };
    // SAFETY: copied at once.
    if let Some(caller) = unsafe { GO_WRITERS.get(writer) }.copied() {
        actor.routine = caller.id;
        actor.parent_routine = caller.parent;
    }
}
