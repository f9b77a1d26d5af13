//! Health: the loss ledger and what the agent itself uses.
//!
//! Enters: counts under names, from every room. Leaves: a [`Snapshot`] for the wire, the log and `doctor`. Bounded: names are
//! the agent's own constants; per-service rows are at most [`SERVICE_ROWS_MAX`], beyond which they are summed under one
//! name; connections are the [`CONNECTION_ROWS_MAX`] that lost something last. Deliberately absent: any judgement of what
//! is bad.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::event::{ConnectionId, TimeNs};
use crate::span::Endpoints;

/// Most (service, reason) rows kept apart.
pub const SERVICE_ROWS_MAX: usize = 2_048;
/// Most (connection, reason) rows remembered.
pub const CONNECTION_ROWS_MAX: usize = 64;
/// Service name of what did not fit.
const OTHER_SERVICES: &str = "(other services)";

/// What was let go, by reason, and by service and reason.
#[derive(Debug, Default)]
pub struct Ledger {
    totals: BTreeMap<&'static str, u64>,
    by_service: BTreeMap<(Arc<str>, &'static str), u64>,
    /// By when they lost last, oldest first.
    by_connection: VecDeque<ConnectionLoss>,
}

/// Whose loss it is.
#[derive(Clone, Copy)]
pub struct Affected<'a> {
    pub service: &'a str,
    pub connection: ConnectionId,
    pub endpoints: &'a Arc<Endpoints>,
    pub time_ns: TimeNs,
}

/// What one connection lost for one reason.
#[derive(Clone, Debug)]
pub struct ConnectionLoss {
    pub service: Arc<str>,
    pub endpoints: Arc<Endpoints>,
    pub reason: &'static str,
    pub count: u64,
    pub last_ns: TimeNs,
    connection: ConnectionId,
}

impl Ledger {
    /// Adds to a reason's counter. Naming a reason with 0 makes it show up.
    pub fn add(&mut self, reason: &'static str, count: u64) {
        let total = self.totals.entry(reason).or_default();
        *total = total.saturating_add(count);
    }

    /// Sets a counter that is kept elsewhere, as a total since start.
    pub fn set(&mut self, reason: &'static str, total: u64) {
        self.totals.insert(reason, total);
    }

    /// Adds to a reason's counter, and to those of the service and the connection it happened to.
    pub fn add_for(&mut self, affected: Affected<'_>, reason: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        self.add(reason, count);
        self.attribute(affected, reason, count);
    }

    /// Tells to whom something happened whose total is kept elsewhere.
    pub fn attribute(&mut self, affected: Affected<'_>, reason: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        let key = (Arc::from(affected.service), reason);
        let key = if self.by_service.len() < SERVICE_ROWS_MAX || self.by_service.contains_key(&key) {
            key
        } else {
            (Arc::from(OTHER_SERVICES), reason)
        };
        let total = self.by_service.entry(key).or_default();
        *total = total.saturating_add(count);
        self.attribute_to_connection(affected, reason, count);
    }

    fn attribute_to_connection(&mut self, affected: Affected<'_>, reason: &'static str, count: u64) {
        let is_it = |row: &ConnectionLoss| row.connection == affected.connection && row.reason == reason;
        let before = self.by_connection.iter().position(is_it);
        let before = before.and_then(|at| self.by_connection.remove(at));
        if self.by_connection.len() >= CONNECTION_ROWS_MAX {
            self.by_connection.pop_front();
        }
        self.by_connection.push_back(ConnectionLoss {
            service: Arc::from(affected.service),
            endpoints: affected.endpoints.clone(),
            reason,
            count: before.map_or(0, |row| row.count).saturating_add(count),
            last_ns: affected.time_ns,
            connection: affected.connection,
        });
    }

    pub fn totals(&self) -> Vec<(&'static str, u64)> {
        self.totals
            .iter()
            .map(|(reason, count)| (*reason, *count))
            .collect()
    }

    pub fn by_service(&self) -> Vec<(Arc<str>, &'static str, u64)> {
        self.by_service
            .iter()
            .map(|((service, reason), count)| (service.clone(), *reason, *count))
            .collect()
    }

    /// Of the connections that lost something last, oldest first.
    pub fn by_connection(&self) -> Vec<ConnectionLoss> {
        self.by_connection.iter().cloned().collect()
    }
}

/// Which hook serves an event, as told to users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookReport {
    pub event: String,
    /// Empty where nothing serves it.
    pub tier: String,
    pub problem: String,
}

/// The agent's state at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub time_unix_ns: u64,
    /// Totals since the agent started.
    pub losses: Vec<(&'static str, u64)>,
    pub counters: Vec<(&'static str, u64)>,
    pub by_service: Vec<(Arc<str>, &'static str, u64)>,
    pub by_connection: Vec<ConnectionLoss>,
    pub resident_bytes: u64,
    pub cpu_ns: u64,
    pub hooks: Vec<HookReport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loss of one reason on a service's connection.
    fn lose(ledger: &mut Ledger, service: &str, connection: u64, count: u64) {
        let affected = Affected {
            service,
            connection: ConnectionId(connection),
            endpoints: &Arc::new(Endpoints::new(None, None, "/run/cart")),
            time_ns: 100 * connection,
        };
        ledger.add_for(affected, "stream_missing_bytes", count);
    }

    #[test]
    fn a_counter_stops_at_its_end_instead_of_the_agent() {
        let mut ledger = Ledger::default();
        lose(&mut ledger, "shop", 1, u64::MAX - 1);
        lose(&mut ledger, "shop", 1, 7);
        assert_eq!(ledger.totals(), [("stream_missing_bytes", u64::MAX)]);
        assert_eq!(ledger.by_connection()[0].count, u64::MAX);
    }

    #[test]
    fn totals_hold_what_services_lost() {
        let mut ledger = Ledger::default();
        lose(&mut ledger, "cart", 1, 2);
        lose(&mut ledger, "cart", 2, 3);
        ledger.add("stream_missing_bytes", 1);
        ledger.add("parser_malformed", 0);
        let totals = [("parser_malformed", 0), ("stream_missing_bytes", 6)];
        assert_eq!(ledger.totals(), totals);
        let services = [(Arc::from("cart"), "stream_missing_bytes", 5)];
        assert_eq!(ledger.by_service(), services);
    }

    #[test]
    fn what_is_counted_elsewhere_is_only_attributed() {
        let mut ledger = Ledger::default();
        ledger.set("unseen_bytes", 9);
        let affected = Affected {
            service: "proxy",
            connection: ConnectionId(1),
            endpoints: &Arc::new(Endpoints::new(None, None, "")),
            time_ns: 5,
        };
        ledger.attribute(affected, "unseen_bytes", 9);
        assert_eq!(ledger.totals(), [("unseen_bytes", 9)]);
        assert_eq!(ledger.by_service(), [(Arc::from("proxy"), "unseen_bytes", 9)]);
    }

    #[test]
    fn service_rows_are_bounded_and_nothing_is_forgotten() {
        let mut ledger = Ledger::default();
        for number in 0..SERVICE_ROWS_MAX + 10 {
            lose(&mut ledger, &format!("service-{number}"), 1, 1);
        }
        let rows = ledger.by_service();
        assert_eq!(rows.len(), SERVICE_ROWS_MAX + 1);
        assert_eq!(
            rows.iter().map(|row| row.2).sum::<u64>(),
            (SERVICE_ROWS_MAX + 10) as u64
        );
    }

    #[test]
    fn the_connections_that_lost_last_are_remembered() {
        let mut ledger = Ledger::default();
        for connection in 0..=CONNECTION_ROWS_MAX as u64 {
            lose(&mut ledger, "cart", connection, 1);
            // The first goes on losing, so it is never the oldest.
            lose(&mut ledger, "cart", 0, 1);
        }
        let rows = ledger.by_connection();
        assert_eq!(rows.len(), CONNECTION_ROWS_MAX);
        let last = rows.last().unwrap();
        assert_eq!(last.count, CONNECTION_ROWS_MAX as u64 + 2);
        assert_eq!(&*last.endpoints.local_text, "/run/cart");
        assert!(rows.iter().all(|row| row.last_ns != 100), "the oldest went");
    }
}
