//! What the agent is told: a TOML file, overridden by the command line.
//!
//! Enters: text. Leaves: a checked [`Config`], or an error that names the place and what is wrong. Deliberately absent:
//! anything that changes while the agent runs.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::export::BufferSettings;
use crate::export::otlp::Transport;
use crate::kernel::TierChoice;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error("the configuration {} is not valid: {cause}", path.display())]
    Invalid {
        path: PathBuf,
        cause: Box<toml::de::Error>,
    },
    #[error("configuration: {0}")]
    Contradiction(String),
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
pub struct Config {
    pub collector: CollectorConfig,
    pub otlp: OtlpConfig,
    /// What waits while their receivers are away.
    pub buffer: BufferSettings,
    pub capture: CaptureConfig,
    pub select: SelectConfig,
    pub privacy: PrivacyConfig,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorConfig {
    /// Where the collector takes batches; empty for none.
    pub url: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// Where an OpenTelemetry backend takes traces; empty for none.
    pub url: String,
    pub transport: Transport,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureConfig {
    pub tier: TierChoice,
    /// Ring buffer between kernel and agent.
    pub ring_bytes: u32,
    /// Live connections remembered.
    pub connections: u32,
    pub udp: bool,
    pub unix: bool,
    /// Breakpoints (uprobes) in programs whose links reading alone cannot give: Go's HTTP client, grpc-go, uvloop.
    pub user_probes: bool,
}

/// Which processes are watched. A rule names what must match; an empty list of includes stands for everything.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectConfig {
    pub include: Vec<Rule>,
    pub exclude: Vec<Rule>,
    /// Connections with one of these ports at either end are not captured.
    pub exclude_ports: Vec<u16>,
    /// Process ids that are not captured (a collector on the same host).
    pub exclude_pids: Vec<u32>,
}

/// All that is given must match; `*` at the end of a text matches any rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    pub executable: Option<String>,
    pub service: Option<String>,
    pub container_id: Option<String>,
    pub systemd_unit: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyConfig {
    /// Keep literals in statements. Off: they become `?`.
    pub keep_literals: bool,
}

impl Default for CollectorConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:4316".to_owned(),
        }
    }
}

impl Default for CaptureConfig {
    fn default() -> Self {
        let settings = crate::kernel::Settings::default();
        Self {
            tier: settings.tier,
            ring_bytes: settings.ring_bytes,
            connections: settings.connections,
            udp: settings.udp,
            unix: settings.unix,
            user_probes: true,
        }
    }
}

impl Config {
    /// # Errors
    ///
    /// When the file cannot be read, is no TOML, or has a key nobody knows.
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
    ///
    /// When values contradict each other or are out of bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let contradiction = |text: &str| Err(ConfigError::Contradiction(text.to_owned()));
        if self.collector.url.is_empty() && self.otlp.url.is_empty() {
            return contradiction("neither collector.url nor otlp.url says where spans should go");
        }
        if self.buffer.memory_bytes < 64 * 1024 {
            return contradiction("buffer.memory_bytes must be at least 65536");
        }
        if self.buffer.disk_bytes < 1024 * 1024 && !self.buffer.directory.as_os_str().is_empty() {
            return contradiction("buffer.disk_bytes must be at least 1048576, or buffer.directory empty");
        }
        if self.capture.ring_bytes < 64 * 1024 || self.capture.ring_bytes > 1 << 30 {
            return contradiction("capture.ring_bytes must be between 65536 and 1073741824");
        }
        if self.capture.connections == 0 || self.capture.connections > 1 << 22 {
            return contradiction("capture.connections must be between 1 and 4194304");
        }
        let empty = |rule: &Rule| *rule == Rule::default();
        if self.select.include.iter().chain(&self.select.exclude).any(empty) {
            return contradiction(
                "a rule under select must name an executable, service, container_id or systemd_unit",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Box<toml::de::Error>> {
        toml::from_str(text).map_err(Box::new)
    }

    #[test]
    fn an_empty_file_means_defaults_and_they_hold() {
        let config = parse("").unwrap();
        assert_eq!(config, Config::default());
        config.check().unwrap();
    }

    #[test]
    fn the_user_guide_shows_the_defaults() {
        let guide = include_str!("../../docs/USER_GUIDE.md");
        let section = guide.split_once("## The agent's configuration").unwrap().1;
        let shown = section.split_once("```toml").unwrap().1;
        let shown = shown.split_once("```").unwrap().0;
        assert_eq!(parse(shown).unwrap(), Config::default());
    }

    /// The text of the file a Kubernetes object brings along.
    #[test]
    fn what_deploy_configures_is_valid() {
        let object = include_str!("../../deploy/kubernetes/agent.yaml");
        let (_, rest) = object.split_once("agent.toml: |\n").unwrap();
        let (text, _) = rest.split_once("\n---").unwrap();
        let config = parse(text).unwrap();
        config.check().unwrap();
        assert_eq!(config.collector.url, "http://spanhound-collector:4316");
        let mounted = format!("mountPath: {}", config.buffer.directory.display());
        assert!(object.contains(&mounted), "{mounted}");
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_named() {
        let error = parse("[capture]\nring_byte = 1").unwrap_err().to_string();
        assert!(error.contains("ring_byte"), "{error}");
        assert!(
            parse("[capture]\ntier = \"magic\"")
                .unwrap_err()
                .to_string()
                .contains("magic")
        );
    }

    #[test]
    fn contradictions_are_refused() {
        for text in [
            "[collector]\nurl = \"\"",
            "[capture]\nring_bytes = 1",
            "[capture]\nconnections = 0",
            "[[select.exclude]]",
            "[buffer]\nmemory_bytes = 1",
            "[buffer]\ndisk_bytes = 1",
        ] {
            assert!(
                matches!(parse(text).unwrap().check(), Err(ConfigError::Contradiction(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::read(Path::new("/nonexistent/agent.toml"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/agent.toml"), "{error}");
    }
}
