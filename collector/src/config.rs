//! What the collector is told: command line over TOML file over defaults. What leaves: a checked [`Config`]. Absent on
//! purpose: anything that may change while running.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error("the configuration {} is not valid: {cause}", path.display())]
    Invalid {
        path: PathBuf,
        cause: Box<toml::de::Error>,
    },
    #[error("the configuration is not usable: {0}")]
    Unusable(String),
}

/// The whole configuration, as in the TOML file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where agents (and OTLP over gRPC) connect.
    pub grpc_listen: SocketAddr,
    /// Where the page, the JSON API and OTLP over HTTP are served.
    pub http_listen: SocketAddr,
    pub store: StoreConfig,
    /// Response-time classes of all services.
    pub thresholds: Thresholds,
    /// Response-time classes of single services, by service name.
    pub service_thresholds: BTreeMap<String, Thresholds>,
}

/// Where spans are kept and for how long.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    pub directory: PathBuf,
    pub retention_hours: u32,
    pub retention_bytes: u64,
    /// Spans in memory beyond which batches are refused until segments are written.
    pub memory_bytes: usize,
    /// A segment is written when this much waits in memory ...
    pub segment_bytes: usize,
    /// ... or the oldest span in memory has waited this long.
    pub segment_seconds: u32,
    /// How long a span may wait for the other end of its exchange before it is counted on the map.
    pub join_window_ms: u32,
}

impl StoreConfig {
    pub fn join_window_ns(&self) -> u64 {
        u64::from(self.join_window_ms) * 1_000_000
    }
}

/// Upper bounds of Pinpoint's response-time classes; above `slow_ms` is "very slow".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    pub fast_ms: u64,
    pub normal_ms: u64,
    pub slow_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grpc_listen: SocketAddr::from(([127, 0, 0, 1], 4316)),
            http_listen: SocketAddr::from(([127, 0, 0, 1], 8070)),
            store: StoreConfig::default(),
            thresholds: Thresholds::default(),
            service_thresholds: BTreeMap::new(),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/lib/spanhound"),
            retention_hours: 7 * 24,
            retention_bytes: 20 << 30,
            memory_bytes: 256 << 20,
            segment_bytes: 64 << 20,
            segment_seconds: 120,
            join_window_ms: 5_000,
        }
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            fast_ms: 1_000,
            normal_ms: 3_000,
            slow_ms: 5_000,
        }
    }
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`ConfigError`] with the path and, for syntax errors, the line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
        toml::from_str(&text).map_err(|cause| ConfigError::Invalid {
            path: path.to_owned(),
            cause: Box::new(cause),
        })
    }

    /// # Errors
    /// [`ConfigError::Unusable`] when values contradict each other.
    pub fn check(&self) -> Result<(), ConfigError> {
        let unusable = |text: &str| Err(ConfigError::Unusable(text.to_owned()));
        let store = &self.store;
        if store.retention_hours == 0 || store.retention_bytes == 0 || store.segment_seconds == 0 {
            return unusable(
                "store.retention_hours, store.retention_bytes and store.segment_seconds must not be 0",
            );
        }
        if store.memory_bytes < store.segment_bytes.saturating_mul(2) || store.segment_bytes == 0 {
            return unusable(
                "store.memory_bytes must be at least twice store.segment_bytes, which must not be 0",
            );
        }
        if store.join_window_ms > 60_000 {
            return unusable("store.join_window_ms must not exceed 60000");
        }
        for thresholds in self.service_thresholds.values().chain([&self.thresholds]) {
            if !(thresholds.fast_ms < thresholds.normal_ms && thresholds.normal_ms < thresholds.slow_ms) {
                return unusable("thresholds must rise: fast_ms < normal_ms < slow_ms");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse(""), Config::default());
        Config::default().check().unwrap();
    }

    /// The text of the file a Kubernetes object brings along.
    #[test]
    fn what_deploy_configures_is_valid() {
        let object = include_str!("../../deploy/kubernetes/collector.yaml");
        let (_, rest) = object.split_once("collector.toml: |\n").unwrap();
        let (text, _) = rest.split_once("\n---").unwrap();
        let config = parse(text);
        config.check().unwrap();
        let mounted = format!("mountPath: {}", config.store.directory.display());
        assert!(object.contains(&mounted), "{mounted}");
        for port in [config.grpc_listen.port(), config.http_listen.port()] {
            assert!(object.contains(&format!("containerPort: {port}")), "{port}");
        }
    }

    #[test]
    fn unknown_names_and_contradictions_are_refused() {
        assert!(toml::from_str::<Config>("grpc_lisen = '127.0.0.1:1'").is_err());
        assert!(parse("[store]\nretention_hours = 0").check().is_err());
        assert!(parse("[store]\nsegment_bytes = 200000000").check().is_err());
        assert!(parse("[thresholds]\nfast_ms = 4000").check().is_err());
        assert!(
            parse("[service_thresholds.shop]\nnormal_ms = 9000")
                .check()
                .is_err()
        );
    }

    #[test]
    fn a_missing_file_and_bad_syntax_name_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("collector.toml");
        assert!(
            Config::read(&path)
                .unwrap_err()
                .to_string()
                .contains("collector.toml")
        );
        std::fs::write(&path, "grpc_listen = 7").unwrap();
        assert!(
            Config::read(&path)
                .unwrap_err()
                .to_string()
                .contains("grpc_listen")
        );
    }
}
