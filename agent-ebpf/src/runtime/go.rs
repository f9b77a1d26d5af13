//! Go: `net/http` and grpc-go write a request from a goroutine that belongs to the connection, not from the one that makes the
//! call.
//!
//! `net/http`: two functions tell who calls: `persistConn.roundTrip` runs in the caller with the connection as receiver, and
//! `persistConnWriter.Write` runs in the writer with the same connection, right before the bytes are written.
//!
//! grpc-go: one writer writes streams of many callers at once. A caller puts the head of its stream into a queue, and the writer
//! takes it out; both ask it under the queue's lock for `headerFrame.isTransportResponseFrame`, and by then it has its
//! stream's number. A server starts a goroutine for each stream, which runs `Server.handleStream`; what reads the streams runs
//! `http2Server.HandleStreams`, and was started by the goroutine that read the connection's beginning.
//!
//! All are entries only: Go's stacks move, so its return addresses must stay as they are. Bounded: connections, writers and
//! streams, with the least recently used forgotten. Deliberately absent: anything of the request itself.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{map, uprobe},
    maps::LruHashMap,
    programs::ProbeContext,
};
use spanhound_common::{
    Loss, MultiplexedRecord,
    limits::{GO_CALLERS_DEFAULT, GO_STREAMS_DEFAULT},
    record::{ActorRecord, Kind, STREAM_ASKED, STREAM_SERVED, STREAMS_READ},
};

use crate::{actor::Current, emit, read};

/// Something of one process: the address of a `persistConn` or `headerFrame`, or a goroutine's id.
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

/// Who put the head of a stream into its connection's queue, and when.
#[derive(Clone, Copy)]
#[repr(C)]
struct Asked {
    actor: ActorRecord,
    time_ns: u64,
    stream: u64,
}

/// Heads of streams that are in their queues, by address.
#[map]
static GO_STREAMS: LruHashMap<Key, Asked> = LruHashMap::with_max_entries(GO_STREAMS_DEFAULT, 0);

/// `headerFrame.initStream` of `internal/transport/controlbuf.go`: a client's stream has it. (`streamID` is the first field.)
const INIT_STREAM: u64 = 40;

/// First argument in Go's register convention on x86-64 (`cmd/compile/abi-internal.md`): RAX.
#[inline(always)]
fn first_argument(ctx: &ProbeContext) -> u64 {
    // SAFETY: the registers the kernel handed to this program.
    unsafe { (*ctx.regs).rax }
}

/// The fourth: RDI.
#[inline(always)]
fn fourth_argument(ctx: &ProbeContext) -> u64 {
    // SAFETY: as above.
    unsafe { (*ctx.regs).rdi }
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

/// `func (h *headerFrame) isTransportResponseFrame() bool` of grpc-go's `internal/transport/controlbuf.go`: the first time in the
/// goroutine that asks for the stream, the second time in the one that writes it.
#[uprobe]
pub fn go_header_frame(ctx: ProbeContext) -> u32 {
    let frame = first_argument(&ctx);
    let Some([stream, _]) = read::user::<[u32; 2]>(frame) else {
        return 0;
    };
    if stream == 0 || read::user_or_zero::<u64>(frame.wrapping_add(INIT_STREAM)) == 0 {
        return 0;
    }
    let Some((pid, actor)) = goroutine() else { return 0 };
    let key = Key { pid, what: frame };
    // SAFETY: copied at once.
    if let Some(asked) = unsafe { GO_STREAMS.get(key) }.copied()
        // Another stream's was never taken out, and this one lies in its place.
        && asked.stream == stream as u64
        && asked.actor.routine != actor.routine
    {
        let _ = GO_STREAMS.remove(key);
        tell(STREAM_ASKED, stream, asked.time_ns, actor.routine, asked.actor);
        return 0;
    }
    let asked = Asked {
        actor,
        time_ns: now_ns(),
        stream: stream as u64,
    };
    // Full: the oldest goes, and its call is looked at without.
    let _ = GO_STREAMS.insert(key, asked, 0);
    0
}

/// `func (s *Server) handleStream(t transport.ServerTransport, stream *transport.ServerStream)` of grpc-go's `server.go`, in the
/// goroutine that serves the stream.
#[uprobe]
pub fn go_handle_stream(ctx: ProbeContext) -> u32 {
    let address = fourth_argument(&ctx);
    let Some(stream) = stream_number(address) else {
        return 0;
    };
    if let Some((_, actor)) = goroutine() {
        tell(STREAM_SERVED, stream, now_ns(), actor.parent_routine, actor);
    }
    0
}

/// `func (t *http2Server) HandleStreams(...)` of grpc-go's `internal/transport/http2_server.go`, once for each connection.
#[uprobe]
pub fn go_handle_streams(_: ProbeContext) -> u32 {
    if let Some((_, actor)) = goroutine() {
        tell(STREAMS_READ, 0, now_ns(), actor.parent_routine, actor);
    }
    0
}

/// A `transport.Stream` began with its number, whose upper half is zero; since 1.69 a `ServerStream` begins with a pointer to one.
/// Later ones begin with one that has its method second, and its number behind its state.
#[inline(always)]
fn stream_number(address: u64) -> Option<u32> {
    const METHOD: u64 = 16;
    const STATE: u64 = 104;
    /// `streamDone`, the last of them.
    const STATE_MAX: u32 = 3;
    let first = read::user::<u64>(address)?;
    let number = clients(first).or_else(|| clients(read::user::<u64>(first)?));
    if number.is_some() {
        return number;
    }
    let [method, method_bytes] = read::user::<[u64; 2]>(address.wrapping_add(METHOD))?;
    let [state, number] = read::user::<[u32; 2]>(address.wrapping_add(STATE))?;
    if method_bytes == 0 || state > STATE_MAX || read::user::<u8>(method)? != b'/' {
        return None;
    }
    clients(number as u64)
}

/// The number of a stream that a client began: an odd one (RFC 9113, section 5.1.1).
#[inline(always)]
fn clients(number: u64) -> Option<u32> {
    (number <= u32::MAX as u64 && number & 1 == 1).then_some(number as u32)
}

#[inline(always)]
fn tell(what: u8, stream: u32, time_ns: u64, carrier: u64, actor: ActorRecord) {
    emit::record(Loss::RingFullMultiplexed, |record: &mut MultiplexedRecord| {
        record.kind = Kind::Multiplexed as u8;
        record.what = what;
        record.stream = stream;
        record.time_ns = time_ns;
        record.carrier = carrier;
        record.actor = actor;
    });
}

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
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
