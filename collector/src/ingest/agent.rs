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
    #[serde(default)]
    pub connection_losses: Vec<ConnectionLoss>,
    /// Event, tier, problem.
    pub hooks: Vec<(String, String, String)>,
}

/// What one connection lost for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionLoss {
    pub service: String,
    pub local: String,
    pub remote: String,
    pub reason: String,
    pub count: u64,
    pub last_unix_ns: u64,
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
    connection_losses: Vec<ConnectionLoss>,
}

/// The report of a batch, `None` when it does not name its agent.
pub fn report(batch: &v1::Batch) -> Option<Report> {
    let agent = batch.agent.clone().filter(|agent| !agent.id.is_empty())?;
    let text = |index: u32| short(batch.strings.get(index as usize).map_or("", String::as_str));
    let health = batch.health.as_ref();
    let by_service = health.iter().flat_map(|health| &health.service_losses);
    let by_service = by_service.map(|loss| (text(loss.service), short(&loss.reason), loss.count));
    let by_connection = health.iter().flat_map(|health| &health.connection_losses);
    let by_connection = by_connection.map(|loss| ConnectionLoss {
        service: text(loss.service),
        local: text(loss.local),
        remote: text(loss.remote),
        reason: short(&loss.reason),
        count: loss.count,
        last_unix_ns: loss.last_unix_ns,
    });
    Some(Report {
        id: short(&agent.id),
        record: Update {
            agent,
            health: batch.health.clone(),
            service_losses: by_service.take(MAX_ENTRIES).collect(),
            connection_losses: by_connection.take(MAX_ENTRIES).collect(),
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
            record.connection_losses = self.connection_losses;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_by_service_and_by_connection() {
        let health = v1::Health {
            service_losses: vec![v1::ServiceLoss {
                service: 1,
                reason: "unseen_bytes".to_owned(),
                count: 5,
            }],
            connection_losses: vec![v1::ConnectionLoss {
                service: 1,
                local: 2,
                remote: 99,
                reason: "unseen_bytes".to_owned(),
                count: 5,
                last_unix_ns: 7,
            }],
            ..v1::Health::default()
        };
        let batch = v1::Batch {
            agent: Some(v1::Agent {
                id: "a".to_owned(),
                ..v1::Agent::default()
            }),
            strings: ["", "proxy", "10.0.0.1:80"].map(str::to_owned).to_vec(),
            health: Some(health),
            ..v1::Batch::default()
        };
        let mut record = AgentRecord::default();
        report(&batch).unwrap().record.update(&mut record);
        let unseen = "unseen_bytes".to_owned();
        assert_eq!(record.service_losses, [("proxy".to_owned(), unseen.clone(), 5)]);
        let [loss] = &record.connection_losses[..] else {
            panic!("one connection")
        };
        // An index of no string is no text, and nothing else.
        assert_eq!((&*loss.local, &*loss.remote), ("10.0.0.1:80", ""));
        assert_eq!((&loss.reason, loss.count, loss.last_unix_ns), (&unseen, 5, 7));
    }
}
