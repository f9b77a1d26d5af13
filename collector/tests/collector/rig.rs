//! A store in a directory of its own, under a clock that only the test moves.

use crate::batch::Builder;
use serde_json::Value as Json;
use spanhound_collector::config::Config;
use spanhound_collector::ingest::{Keep, Kept, Refusal};
use spanhound_collector::query::answer::ApiError;
use spanhound_collector::query::parameters::Parameters;
use spanhound_collector::query::{agents, map, scatter, timeseries, trace, transactions};
use spanhound_collector::store::{Clock, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// The time tests begin at: in the middle of a minute.
pub(crate) const BEGIN_NS: u64 = 1_800_000_030_000_000_000;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

pub(crate) struct Rig {
    /// Removed with the rig.
    _directory: TempDir,
    pub(crate) config: Config,
    now: Arc<AtomicU64>,
    store: Option<Store>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.directory = directory.path().join("store");
        change(&mut config);
        config.check().unwrap();
        let mut rig = Self {
            _directory: directory,
            config,
            now: Arc::new(AtomicU64::new(BEGIN_NS)),
            store: None,
        };
        rig.open();
        rig
    }

    pub(crate) fn open(&mut self) {
        let now = self.now.clone();
        let clock: Clock = Arc::new(move || now.load(Ordering::Relaxed));
        self.store = Some(Store::open(self.config.clone(), clock).unwrap());
    }

    pub(crate) async fn close(&mut self) {
        if let Some(store) = self.store.take() {
            store.close().await;
        }
    }

    pub(crate) async fn reopen(&mut self) {
        self.close().await;
        self.open();
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.config.store.directory
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    pub(crate) async fn send(&self, builder: Builder) -> Result<Kept, Refusal> {
        self.store().keep(builder.batch).await
    }

    /// Lets time pass, with a tick at its end.
    pub(crate) async fn pass(&self, nanoseconds: u64) {
        self.now.fetch_add(nanoseconds, Ordering::Relaxed);
        self.store().tick().await;
        // A flush would write; an empty batch is answered, if only with a refusal, after the tick is done.
        let _ = self.send(Builder::new(0, 0)).await;
    }

    /// Writes everything to segments.
    pub(crate) async fn flush(&self) {
        self.store().flush().await;
    }

    /// The answer of an endpoint, as JSON.
    pub(crate) fn ask(&self, endpoint: &str, pairs: &[(&str, &str)]) -> Json {
        self.try_ask(endpoint, pairs).unwrap()
    }

    pub(crate) fn try_ask(&self, endpoint: &str, pairs: &[(&str, &str)]) -> Result<Json, ApiError> {
        let given = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let (store, parameters) = (self.store().shared(), &Parameters(given));
        let json = |answer: Result<Json, serde_json::Error>| answer.unwrap();
        Ok(match endpoint {
            "services" => json(serde_json::to_value(map::services(store, parameters)?)),
            "map" => json(serde_json::to_value(map::map(store, parameters)?)),
            "scatter" => json(serde_json::to_value(scatter::scatter(store, parameters)?)),
            "timeseries" => json(serde_json::to_value(timeseries::timeseries(store, parameters)?)),
            "transactions" => json(serde_json::to_value(transactions::transactions(
                store, parameters,
            )?)),
            "agents" => json(serde_json::to_value(agents::agents(store))),
            trace_id => json(serde_json::to_value(trace::trace(store, trace_id)?)),
        })
    }

    /// The whole map: node id or edge id and its count.
    pub(crate) fn counts(&self) -> Vec<(String, u64)> {
        let map = self.ask("map", &self.all_time());
        let count = |item: &Json| {
            (
                item["id"].as_str().unwrap().to_owned(),
                item["summary"]["count"].as_u64().unwrap(),
            )
        };
        let items = map["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .chain(map["edges"].as_array().unwrap());
        items.map(count).collect()
    }

    pub(crate) fn all_time(&self) -> [(&'static str, &'static str); 2] {
        [("from_ms", "1799990000000"), ("to_ms", "1800020000000")]
    }

    /// A loss counter of the collector.
    pub(crate) fn loss(&self, reason: &str) -> u64 {
        self.ask("agents", &[])["collector"]["losses"][reason]
            .as_u64()
            .unwrap_or(0)
    }

    pub(crate) fn spans_stored(&self) -> u64 {
        self.ask("agents", &[])["collector"]["spans_stored"]
            .as_u64()
            .unwrap()
    }
}
