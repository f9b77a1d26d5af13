//! `agents`: who sends, how they are, and everything lost anywhere, the collector's own losses included.

use super::answer::{milliseconds, unix_ms};
use crate::ingest::agent::AgentRecord;
use crate::store::Shared;
use serde::Serialize;
use std::collections::BTreeMap;

/// An agent that was silent longer is not alive.
const ALIVE_NS: u64 = 30_000_000_000;

#[derive(Debug, Serialize)]
pub struct Agents {
    agents: Vec<Agent>,
    collector: Collector,
}

#[derive(Debug, Serialize)]
struct Agent {
    id: String,
    host_name: String,
    version: String,
    kernel_release: String,
    started_ms: f64,
    last_seen_ms: f64,
    alive: bool,
    resident_bytes: u64,
    cpu_ms: f64,
    spans: u64,
    losses: BTreeMap<String, u64>,
    counters: BTreeMap<String, u64>,
    hooks: Vec<Hook>,
    service_losses: Vec<ServiceLoss>,
    connection_losses: Vec<ConnectionLoss>,
}

#[derive(Debug, Serialize)]
struct Hook {
    event: String,
    tier: String,
    problem: String,
}

#[derive(Debug, Serialize)]
struct ServiceLoss {
    service: String,
    reason: String,
    count: u64,
}

/// Of a connection that lost something lately.
#[derive(Debug, Serialize)]
struct ConnectionLoss {
    service: String,
    local: String,
    remote: String,
    reason: String,
    count: u64,
    last_ms: f64,
}

#[derive(Debug, Serialize)]
struct Collector {
    version: &'static str,
    losses: BTreeMap<&'static str, u64>,
    counters: BTreeMap<&'static str, u64>,
    spans_stored: u64,
    segments: usize,
    store_bytes: u64,
    buffered_spans: usize,
    buffered_bytes: usize,
}

pub fn agents(store: &Shared) -> Agents {
    let now_unix_ns = (store.clock)();
    let figures = store.figures();
    Agents {
        agents: store
            .agents()
            .into_iter()
            .map(|(id, (record, spans))| agent(id, record, spans, now_unix_ns))
            .collect(),
        collector: Collector {
            version: env!("CARGO_PKG_VERSION"),
            losses: store.losses.by_reason(),
            counters: store.losses.counters(),
            spans_stored: figures.spans,
            segments: figures.segments,
            store_bytes: figures.segment_bytes,
            buffered_spans: figures.buffered_spans,
            buffered_bytes: figures.buffered_bytes,
        },
    }
}

fn agent(id: String, record: AgentRecord, spans: u64, now_unix_ns: u64) -> Agent {
    Agent {
        id,
        host_name: record.host_name,
        version: record.version,
        kernel_release: record.kernel_release,
        started_ms: unix_ms(record.started_unix_ns),
        last_seen_ms: unix_ms(record.last_seen_unix_ns),
        alive: now_unix_ns.saturating_sub(record.last_seen_unix_ns) <= ALIVE_NS,
        resident_bytes: record.resident_bytes,
        cpu_ms: milliseconds(record.cpu_ns),
        spans,
        losses: record.losses,
        counters: record.counters,
        hooks: record
            .hooks
            .into_iter()
            .map(|(event, tier, problem)| Hook { event, tier, problem })
            .collect(),
        service_losses: record
            .service_losses
            .into_iter()
            .map(|(service, reason, count)| ServiceLoss {
                service,
                reason,
                count,
            })
            .collect(),
        connection_losses: record
            .connection_losses
            .into_iter()
            .map(|loss| ConnectionLoss {
                service: loss.service,
                local: loss.local,
                remote: loss.remote,
                reason: loss.reason,
                count: loss.count,
                last_ms: unix_ms(loss.last_unix_ns),
            })
            .collect(),
    }
}
