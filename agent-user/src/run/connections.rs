//! The live connections, each with its flow.
//!
//! Enters: openings and closings. Leaves: access by id. Bounded: a stated number; when it is reached, one that moved nothing
//! since the last round goes (second chance, as page replacement does it), and is counted. Deliberately absent: reading.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::addressees::Addressees;
use crate::event::{ConnectionId, SequencePair, TimeNs};
use crate::exchange::Flow;
use crate::exchange::flow::Wants;
use crate::health::Affected;
use crate::process::Instance;
use crate::span::Endpoints;

pub(super) struct Live {
    pub(super) flow: Flow,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) instance: Arc<Instance>,
    pub(super) sequence: Option<SequencePair>,
    pub(super) network_namespace: u32,
    /// Number of this connection among all this agent saw; the upper half of its exchanges' ids.
    pub(super) serial: u32,
    /// What the kernel was last told to copy.
    pub(super) told: Option<Wants>,
    pub(super) moved: bool,
    pub(super) addressees: Addressees,
}

impl Live {
    /// Whose loss it is that happened on this connection.
    pub(super) fn affected(&self, connection: ConnectionId, time_ns: TimeNs) -> Affected<'_> {
        Affected {
            service: &self.instance.service,
            connection,
            endpoints: &self.endpoints,
            time_ns,
        }
    }
}

pub(super) struct Connections {
    live: FxHashMap<ConnectionId, Box<Live>>,
    /// Every live id once; ids of closed ones may linger until their turn.
    round: VecDeque<ConnectionId>,
    limit: usize,
    pub(super) evicted: u64,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            live: FxHashMap::default(),
            round: VecDeque::new(),
            limit: limit.max(1),
            evicted: 0,
        }
    }

    /// Adds a connection; answers the one that had to go for it.
    pub(super) fn insert(&mut self, id: ConnectionId, live: Live) -> Option<Box<Live>> {
        let evicted = if self.live.len() >= self.limit {
            self.evict()
        } else {
            None
        };
        if self.live.insert(id, Box::new(live)).is_none() {
            self.round.push_back(id);
        }
        if self.round.len() > 2 * self.limit {
            self.round.retain(|id| self.live.contains_key(id));
        }
        evicted
    }

    fn evict(&mut self) -> Option<Box<Live>> {
        for _ in 0..2 * self.round.len() {
            let id = self.round.pop_front()?;
            let Some(live) = self.live.get_mut(&id) else {
                continue;
            };
            if std::mem::take(&mut live.moved) {
                self.round.push_back(id);
                continue;
            }
            self.evicted += 1;
            return self.live.remove(&id);
        }
        None
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Live> {
        self.live.get_mut(&id).map(|live| {
            live.moved = true;
            &mut **live
        })
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Box<Live>> {
        self.live.remove(&id)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = (ConnectionId, Box<Live>)> {
        self.round.clear();
        self.live.drain()
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }
}
