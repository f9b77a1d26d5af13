//! What a batch says about its agent: identity, health and losses. Enters: a wire batch. Leaves: a [`Report`]. Bounded:
//! lists by [`MAX_ENTRIES`], strings by 256 bytes.

use serde::{Deserialize, Serialize};
use spanhound_proto::v1;
use std::collections::{BTreeMap, HashMap};

const MAX_ENTRIES: usize = 512;
const MAX_TEXT_BYTES: usize = 256;

/// What an agent last said about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentRecord {
    pub host_name: String,
    pub version: String,
    pub kernel_release: String,
    pub started_unix_ns: u64,
    pub last_seen_unix_ns: u64,
    /// Spans of it in segments; those in memory are counted with the buffer.
    pub spans_written: u64,
    pub resident_bytes: u64,
    pub cpu_ns: u64,
    pub losses: BTreeMap<String, u64>,
    pub counters: BTreeMap<String, u64>,
    pub service_losses: Vec<(String, String, u64)>,
    /// Event, tier, problem.
    pub hooks: Vec<(String, String, String)>,
}

/// An agent's word about itself.
#[derive(Debug)]
pub struct Report {
    pub id: String,
    pub record: Update,
}

/// What is known anew.
#[derive(Debug)]
pub struct Update {
    agent: v1::Agent,
    health: Option<v1::Health>,
    service_losses: Vec<(String, String, u64)>,
}

/// The report of a batch, `None` when it does not name its agent.
pub fn report(batch: &v1::Batch) -> Option<Report> {
    let agent = batch.agent.clone().filter(|agent| !agent.id.is_empty())?;
    let losses = batch
        .health
        .iter()
        .flat_map(|health| &health.service_losses)
        .take(MAX_ENTRIES);
    let named = losses.map(|loss| {
        let service = batch
            .strings
            .get(loss.service as usize)
            .map_or("", String::as_str);
        (short(service), short(&loss.reason), loss.count)
    });
    Some(Report {
        id: short(&agent.id),
        record: Update {
            agent,
            health: batch.health.clone(),
            service_losses: named.collect(),
        },
    })
}

impl Update {
    pub fn update(self, record: &mut AgentRecord) {
        record.host_name = short(&self.agent.host_name);
        record.version = short(&self.agent.version);
        record.kernel_release = short(&self.agent.kernel_release);
        record.started_unix_ns = self.agent.started_unix_ns;
        if let Some(health) = self.health {
            record.resident_bytes = health.resident_bytes;
            record.cpu_ns = health.cpu_ns;
            record.losses = bounded(health.losses);
            record.counters = bounded(health.counters);
            record.service_losses = self.service_losses;
            let hooks = health.hooks.iter().take(MAX_ENTRIES);
            record.hooks = hooks
                .map(|hook| (short(&hook.event), short(&hook.tier), short(&hook.problem)))
                .collect();
        }
    }
}

fn bounded(counts: HashMap<String, u64>) -> BTreeMap<String, u64> {
    counts
        .into_iter()
        .take(MAX_ENTRIES)
        .map(|(name, count)| (short(&name), count))
        .collect()
}

fn short(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()
}
