//! Health: the loss ledger and what the agent itself uses.
//!
//! Enters: counts under names, from every room. Leaves: a [`Snapshot`] for the wire, the log and `doctor`. Bounded: names are
//! the agent's own constants; per-service rows are at most [`SERVICE_ROWS_MAX`], beyond which they are summed under one
//! name. Deliberately absent: any judgement of what is bad.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Most (service, reason) rows kept apart.
pub const SERVICE_ROWS_MAX: usize = 2_048;
/// Service name of what did not fit.
const OTHER_SERVICES: &str = "(other services)";

/// What was let go, by reason, and by service and reason.
#[derive(Debug, Default)]
pub struct Ledger {
    totals: BTreeMap<&'static str, u64>,
    by_service: BTreeMap<(Arc<str>, &'static str), u64>,
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

    /// Adds to a reason's counter, and to that of the service it happened to.
    pub fn add_for(&mut self, service: &str, reason: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        self.add(reason, count);
        self.attribute(service, reason, count);
    }

    /// Tells to which service something happened whose total is kept elsewhere.
    pub fn attribute(&mut self, service: &str, reason: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        let key = (Arc::from(service), reason);
        let key = if self.by_service.len() < SERVICE_ROWS_MAX || self.by_service.contains_key(&key) {
            key
        } else {
            (Arc::from(OTHER_SERVICES), reason)
        };
        let total = self.by_service.entry(key).or_default();
        *total = total.saturating_add(count);
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
    pub resident_bytes: u64,
    pub cpu_ns: u64,
    pub hooks: Vec<HookReport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_stops_at_its_end_instead_of_the_agent() {
        let mut ledger = Ledger::default();
        ledger.add_for("shop", "stream_missing_bytes", u64::MAX - 1);
        ledger.add_for("shop", "stream_missing_bytes", 7);
        assert_eq!(ledger.totals(), [("stream_missing_bytes", u64::MAX)]);
    }

    #[test]
    fn totals_hold_what_services_lost() {
        let mut ledger = Ledger::default();
        ledger.add_for("cart", "ring_full_data", 2);
        ledger.add_for("cart", "ring_full_data", 3);
        ledger.add("ring_full_data", 1);
        ledger.add("parser_malformed", 0);
        assert_eq!(ledger.totals(), [("parser_malformed", 0), ("ring_full_data", 6)]);
        assert_eq!(ledger.by_service(), [(Arc::from("cart"), "ring_full_data", 5)]);
    }

    #[test]
    fn service_rows_are_bounded_and_nothing_is_forgotten() {
        let mut ledger = Ledger::default();
        for number in 0..SERVICE_ROWS_MAX + 10 {
            ledger.add_for(&format!("service-{number}"), "ring_full_data", 1);
        }
        let rows = ledger.by_service();
        assert_eq!(rows.len(), SERVICE_ROWS_MAX + 1);
        assert_eq!(
            rows.iter().map(|row| row.2).sum::<u64>(),
            (SERVICE_ROWS_MAX + 10) as u64
        );
    }
}
