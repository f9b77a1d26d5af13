//! What a request costs the agent, from the kernel's records to the encoded batch: run by `cargo xtask bench pipeline`.
//!
//! Records as the kernel programs write them are made up before anything is counted; a warm-up brings every table to its
//! steady state; then [`counted`] is called, which callgrind is told to count alone. No kernel, no socket, no clock: the
//! same instructions every time.

mod traffic;

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use spanhound_agent::allocator::Allocator;
use spanhound_agent::batch::{Batch, wire};
use spanhound_agent::config::Config;
use spanhound_agent::export::{Encoder, collector, otlp};
use spanhound_agent::kernel::decode;
use spanhound_agent::process::{Directory, Procfs};
use spanhound_agent::run::{BATCH_SPANS_MAX, PART_SPANS, Pipeline};

use traffic::{Traffic, Turn};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static HELD_BYTES: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on unchanged to the agent's allocator, which keeps the contract; the counters are atomic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        HELD_BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promises are those the agent's allocator asks for.
        unsafe { Allocator.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: `pointer` came from `alloc` or `realloc` with this layout, so from the agent's allocator.
        unsafe { Allocator.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        HELD_BYTES.fetch_add(
            (size as u64).wrapping_sub(layout.size() as u64),
            Ordering::Relaxed,
        );
        // SAFETY: as for `dealloc`, and the caller's promises about `size` are those the agent's allocator asks for.
        unsafe { Allocator.realloc(pointer, layout, size) }
    }
}

/// Everything between the ring buffer and the socket.
struct Road {
    pipeline: Pipeline,
    encoder: Box<dyn Encoder>,
    batch_spans: usize,
    spans: u64,
    /// Of them, those with a parent.
    linked: u64,
    encoded_bytes: u64,
}

impl Road {
    fn turn(&mut self, turn: &Turn) {
        for record in turn.records() {
            if let Some(event) = decode(record) {
                self.pipeline.event(event);
            }
        }
        self.pipeline.take_orders().for_each(drop);
        self.pipeline.tick(turn.now_ns);
        if self.pipeline.linked_len() >= PART_SPANS {
            self.send();
        }
    }

    fn send(&mut self) {
        let spans = self.pipeline.take_linked();
        self.spans += spans.len() as u64;
        let linked = spans.iter().filter(|linked| linked.link.parent_span_id != 0);
        self.linked += linked.count() as u64;
        self.batch_spans += spans.len();
        self.encoder.add(&Batch {
            spans,
            health: None,
            unix_offset_ns: 1,
        });
        if self.batch_spans >= BATCH_SPANS_MAX {
            self.batch_spans = 0;
            self.encoded_bytes += black_box(self.encoder.finish()).map_or(0, |bytes| bytes.len() as u64);
        }
    }
}

/// The only part callgrind counts.
#[inline(never)]
fn counted(road: &mut Road, turns: &[Turn]) {
    for turn in turns {
        road.turn(turn);
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(warm_up), Some(requests)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        bail!("usage: pipeline_cost TRAFFIC WARM_UP_REQUESTS REQUESTS [collector]");
    };
    let (warm_up, requests): (u64, u64) = (warm_up.parse()?, requests.parse()?);
    let processes = traffic::Processes::create()?;
    let mut traffic = Traffic::new(&name).with_context(|| format!("no traffic is called {name}"))?;
    let directory = Directory::new(Procfs::new(processes.root()), 100, 64);
    let mut road = Road {
        pipeline: Pipeline::new(&Config::default(), directory, 7),
        encoder: match arguments.next().as_deref() {
            Some("collector") => Box::new(collector::Encoder::new(wire::Sender::default())),
            _ => Box::new(otlp::Encoder::new(wire::Sender::default().agent)),
        },
        batch_spans: 0,
        spans: 0,
        linked: 0,
        encoded_bytes: 0,
    };
    let mut done = 0;
    while done < warm_up {
        let turn = traffic.turn();
        road.turn(&turn);
        done += turn.requests;
    }
    let (mut turns, mut done) = (Vec::new(), 0);
    while done < requests {
        let turn = traffic.turn();
        done += turn.requests;
        turns.push(turn);
    }
    (road.spans, road.linked, road.encoded_bytes) = (0, 0, 0);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    counted(&mut road, &turns);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
    drop(turns);
    let held_bytes = HELD_BYTES.load(Ordering::Relaxed);
    let losses: Vec<String> = {
        road.pipeline.report();
        let totals = road.pipeline.ledger.totals();
        let lost = totals.iter().filter(|(_, count)| *count > 0);
        lost.map(|(reason, count)| format!("{count} {reason}")).collect()
    };
    println!(
        "requests {done} spans {} linked {} bytes {} allocations {allocations} held {held_bytes} lost {}",
        road.spans,
        road.linked,
        road.encoded_bytes,
        if losses.is_empty() {
            "nothing".to_owned()
        } else {
            losses.join(", ")
        }
    );
    Ok(())
}
