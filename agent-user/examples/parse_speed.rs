//! How fast protocols are parsed: run by `cargo xtask bench parse`, prints one line a stream.
//!
//! Each protocol's recordings are shown to a [`Flow`] again and again, a new connection each time, as the agent would
//! show them, timed by the processor time they use; two made-up HTTP streams on one long connection answer for request rate and skipped bodies.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use spanhound_agent::connection::stream::Chunk;
use spanhound_agent::event::{Actor, Direction, Role};
use spanhound_agent::exchange::{Ending, Exchange, Flow, FlowStart, Sink};
use spanhound_agent::protocol::recording::{self, Conversation};
use spanhound_agent::protocol::{Protocol, Settings, Side};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; the counter is atomic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above with this layout, so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

const TIME_PER_STREAM: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Counted {
    messages: u64,
}

impl Sink for Counted {
    fn began(&mut self, _: &Exchange) {}

    fn finished(&mut self, exchange: Box<Exchange>) {
        self.messages += if exchange.ending == Ending::OneWay { 1 } else { 2 };
    }
}

/// What one pass over a stream moved.
#[derive(Clone, Copy)]
struct Pass {
    bytes: u64,
    messages: u64,
}

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/wire");
    println!(
        "{:<28} {:>10} {:>14} {:>22}",
        "stream", "MB/s", "messages/s", "allocations/message"
    );
    let mut flow = open(Protocol::Http, Role::Server, true, false);
    let mut at = [0, 0];
    measure("http, one request a write", || keep_alive(&mut flow, &mut at));
    let mut flow = open(Protocol::Http, Role::Server, true, false);
    let mut at = [0, 0];
    measure("http, 256 KiB bodies", || bodies(&mut flow, &mut at));
    for protocol in Protocol::ALL {
        let conversations = recording::load(&root, *protocol)?;
        if !conversations.is_empty() {
            measure(protocol.name(), || {
                conversations.iter().map(play).fold(
                    Pass {
                        bytes: 0,
                        messages: 0,
                    },
                    |sum, pass| Pass {
                        bytes: sum.bytes + pass.bytes,
                        messages: sum.messages + pass.messages,
                    },
                )
            });
        }
    }
    Ok(())
}

fn measure(name: &str, mut pass: impl FnMut() -> Pass) {
    pass();
    let (mut bytes, mut messages) = (0, 0);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    let begun = processor_time();
    while processor_time() - begun < TIME_PER_STREAM {
        let moved = pass();
        bytes += moved.bytes;
        messages += moved.messages;
    }
    let seconds = (processor_time() - begun).as_secs_f64();
    let allocated = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
    println!(
        "{name:<28} {:>10.0} {:>14.0} {:>22.1}",
        bytes as f64 / seconds / 1e6,
        messages as f64 / seconds,
        allocated as f64 / messages.max(1) as f64
    );
}

/// What this thread has used: other work on the machine does not count.
fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec on this stack, which the call fills in; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn open(protocol: Protocol, role: Role, from_start: bool, datagram: bool) -> Flow {
    let start = FlowStart {
        role,
        local_port: 80,
        remote_port: 40_000,
        from_start,
        datagram,
        forced: Some(protocol),
    };
    Flow::new(&start, &Settings::default())
}

fn play(conversation: &Conversation) -> Pass {
    let mut flow = open(
        conversation.protocol,
        Role::Server,
        conversation.from_start,
        conversation.datagram,
    );
    let (mut counted, mut at, mut time_ns) = (Counted::default(), [0, 0], 0);
    for turn in &conversation.turns {
        time_ns += 1_000;
        show(&mut flow, turn.side, &turn.bytes, &mut at, time_ns, &mut counted);
    }
    flow.closed(time_ns, &mut counted);
    Pass {
        bytes: at[0] + at[1],
        messages: counted.messages,
    }
}

fn show(flow: &mut Flow, side: Side, bytes: &[u8], at: &mut [u64; 2], time_ns: u64, counted: &mut Counted) {
    let direction = if side == Side::Client {
        Direction::In
    } else {
        Direction::Out
    };
    let (position, moved) = (at[side as usize], bytes.len() as u64);
    flow.data(
        direction,
        &Chunk {
            time_ns,
            actor: Actor::default(),
            position,
            moved,
            continues: false,
            bytes,
        },
        counted,
    );
    at[side as usize] += moved;
}

fn keep_alive(flow: &mut Flow, at: &mut [u64; 2]) -> Pass {
    const REQUEST: &[u8] = b"GET /api/items/42?page=2 HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: load/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\r\n";
    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 12:19:26 GMT\r\nContent-Type: application/json\r\nContent-Length: 27\r\nConnection: keep-alive\r\n\r\n{\"id\":42,\"name\":\"a thing\"}\n";
    repeat(flow, at, REQUEST, &[RESPONSE], 1_000)
}

fn bodies(flow: &mut Flow, at: &mut [u64; 2]) -> Pass {
    const REQUEST: &[u8] = b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n";
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 262144\r\n\r\n";
    static BODY: [u8; 64 << 10] = [b'x'; 64 << 10];
    repeat(flow, at, REQUEST, &[HEAD, &BODY, &BODY, &BODY, &BODY], 100)
}

fn repeat(flow: &mut Flow, at: &mut [u64; 2], request: &[u8], response: &[&[u8]], times: u64) -> Pass {
    let (before, mut counted) = (at[0] + at[1], Counted::default());
    for _ in 0..times {
        let time_ns = at[0] + at[1];
        show(flow, Side::Client, request, at, time_ns, &mut counted);
        for part in response {
            show(flow, Side::Server, part, at, time_ns, &mut counted);
        }
    }
    Pass {
        bytes: at[0] + at[1] - before,
        messages: counted.messages,
    }
}
