//! `services` and `map`: who is there, who calls whom, and how it went.

use super::answer::{ApiError, SummaryAnswer, unix_ms};
use super::parameters::Parameters;
use super::sums::{Sums, sums};
use crate::config::Thresholds;
use crate::span::Text;
use crate::store::Shared;
use crate::store::node::{NodeId, USER, is_service, kind_of, name_of, system_of};
use crate::store::rollup::Subject;
use crate::store::summary::Summary;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes and edges that are answered at most; the busiest stay.
const MAX_EDGES: usize = 5_000;

#[derive(Debug, Serialize)]
pub struct Services {
    services: Vec<Service>,
}

#[derive(Debug, Serialize)]
struct Service {
    id: String,
    name: String,
    kind: String,
    family: String,
    instances: usize,
    count: u64,
    error_count: u64,
}

/// The nodes whose own processes are watched.
///
/// # Errors
/// Bad parameters.
pub fn services(store: &Shared, parameters: &Parameters) -> Result<Services, ApiError> {
    let sums = sums(store, &parameters.range_ns((store.clock)())?);
    let mut services: Vec<Service> = sums
        .presences
        .iter()
        .map(|(node, presence)| {
            let summary = sums.summaries.get(&Subject::Node(node.clone()));
            Service {
                id: node.to_string(),
                name: name_of(node).to_owned(),
                kind: kind_of(node).to_owned(),
                family: presence.family.to_string(),
                instances: presence.instances.len(),
                count: summary.map_or(0, Summary::count),
                error_count: summary.map_or(0, Summary::error_count),
            }
        })
        .collect();
    services.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(Services { services })
}

#[derive(Debug, Serialize)]
pub struct Map {
    from_ms: f64,
    to_ms: f64,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Edges beyond the bound, left out.
    edges_left_out: usize,
    /// What the response classes of a span's service are bounded by.
    thresholds: Thresholds,
    /// Services for which other bounds hold.
    service_thresholds: BTreeMap<String, Thresholds>,
}

#[derive(Debug, Serialize)]
struct Node {
    id: String,
    kind: String,
    name: String,
    system: String,
    /// Whether an agent or an instrumented application sees the node's own processes.
    watched: bool,
    instances: Vec<String>,
    summary: SummaryAnswer,
}

#[derive(Debug, Serialize)]
struct Edge {
    id: String,
    source: String,
    target: String,
    count: u64,
    error_count: u64,
    summary: SummaryAnswer,
    links: Links,
}

#[derive(Debug, Serialize)]
struct Links {
    exact: u64,
    inferred: u64,
}

/// # Errors
/// Bad parameters; an unknown service is an empty map.
pub fn map(store: &Shared, parameters: &Parameters) -> Result<Map, ApiError> {
    let range_ns = parameters.range_ns((store.clock)())?;
    let depth = parameters.number("depth", 4, 1..9)?;
    let sums = sums(store, &range_ns);
    let mut edges: Vec<(NodeId, NodeId)> = sums
        .summaries
        .keys()
        .filter_map(|subject| match subject {
            Subject::Edge { source, target } => Some((source.clone(), target.clone())),
            Subject::Node(_) => None,
        })
        .collect();
    edges.sort_unstable();
    let mut nodes: BTreeSet<NodeId> = sums.presences.keys().cloned().collect();
    nodes.extend(
        edges
            .iter()
            .flat_map(|(source, target)| [source.clone(), target.clone()]),
    );
    if let Some(service) = parameters.get("service")? {
        let near = around(&edges, &start(service, &nodes), depth);
        nodes.retain(|node| near.contains(node));
        edges.retain(|(source, target)| nodes.contains(source) && nodes.contains(target));
    }
    let edges_left_out = edges.len().saturating_sub(MAX_EDGES);
    if edges_left_out > 0 {
        edges.sort_by_key(|edge| std::cmp::Reverse(edge_summary(&sums, edge).count()));
        edges.truncate(MAX_EDGES);
        nodes.retain(|node| {
            sums.presences.contains_key(node) || edges.iter().any(|(a, b)| a == node || b == node)
        });
    }
    Ok(Map {
        from_ms: unix_ms(range_ns.start),
        to_ms: unix_ms(range_ns.end),
        nodes: nodes.iter().map(|id| node(&sums, id)).collect(),
        edges: edges.iter().map(|edge| edge_answer(&sums, edge)).collect(),
        edges_left_out,
        thresholds: store.config.thresholds,
        service_thresholds: store.config.service_thresholds.clone(),
    })
}

/// The node a `service` parameter means: a node id, or the name of one, services first.
fn start(service: &str, nodes: &BTreeSet<NodeId>) -> NodeId {
    let by_name = || {
        let mut named: Vec<&NodeId> = nodes.iter().filter(|id| name_of(id) == service).collect();
        named.sort_by_key(|id| !is_service(id));
        named.first().map(|id| (*id).clone())
    };
    nodes
        .get(service)
        .cloned()
        .or_else(by_name)
        .unwrap_or_else(|| Text::from(format!("service:{service}")))
}

/// What is called from `start` and what calls it, up to `depth` steps either way.
fn around(edges: &[(NodeId, NodeId)], start: &NodeId, depth: usize) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::from([start.clone()]);
    for downstream in [true, false] {
        let mut front = BTreeSet::from([start.clone()]);
        for _ in 0..depth {
            let step = edges.iter().filter_map(|(source, target)| {
                let (near, far) = if downstream {
                    (source, target)
                } else {
                    (target, source)
                };
                front.contains(near).then(|| far.clone())
            });
            front = step.collect();
            found.extend(front.iter().cloned());
        }
    }
    found
}

fn node(sums: &Sums, id: &NodeId) -> Node {
    let presence = sums.presences.get(id);
    let summary = if **id == *USER {
        let mut all = Summary::default();
        for (subject, summary) in &sums.summaries {
            if matches!(subject, Subject::Edge { source, .. } if **source == *USER) {
                all.merge(summary);
            }
        }
        all
    } else {
        sums.summaries
            .get(&Subject::Node(id.clone()))
            .cloned()
            .unwrap_or_default()
    };
    let system = match system_of(id) {
        "" => presence
            .map(|presence| presence.runtime.to_string())
            .unwrap_or_default(),
        system => system.to_owned(),
    };
    Node {
        id: id.to_string(),
        kind: kind_of(id).to_owned(),
        name: name_of(id).to_owned(),
        system,
        watched: presence.is_some(),
        instances: presence
            .map(|presence| presence.instances.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        summary: SummaryAnswer::new(&summary),
    }
}

fn edge_summary(sums: &Sums, (source, target): &(NodeId, NodeId)) -> Summary {
    let subject = Subject::Edge {
        source: source.clone(),
        target: target.clone(),
    };
    sums.summaries.get(&subject).cloned().unwrap_or_default()
}

fn edge_answer(sums: &Sums, edge: &(NodeId, NodeId)) -> Edge {
    let summary = edge_summary(sums, edge);
    Edge {
        id: format!("{}->{}", edge.0, edge.1),
        source: edge.0.to_string(),
        target: edge.1.to_string(),
        count: summary.count(),
        error_count: summary.error_count(),
        links: Links {
            exact: summary.exact_links,
            inferred: summary.inferred_links,
        },
        summary: SummaryAnswer::new(&summary),
    }
}
