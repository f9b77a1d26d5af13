//! Which processes are watched.
//!
//! Enters: the `select` section and instances. Leaves: yes or no. Deliberately absent: telling the kernel.

use crate::config::{Rule, SelectConfig};
use crate::process::Instance;

#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    include: Vec<Rule>,
    exclude: Vec<Rule>,
}

impl Selection {
    pub(super) fn new(config: &SelectConfig) -> Self {
        Self {
            include: config.include.clone(),
            exclude: config.exclude.clone(),
        }
    }

    /// Only what a rule includes is watched.
    pub(super) fn chooses(&self) -> bool {
        !self.include.is_empty()
    }

    /// Nothing is ruled out.
    pub(super) fn takes_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    pub(super) fn is_watched(&self, instance: &Instance) -> bool {
        let included = self.include.is_empty() || self.include.iter().any(|rule| matches(rule, instance));
        included && !self.exclude.iter().any(|rule| matches(rule, instance))
    }
}

fn matches(rule: &Rule, instance: &Instance) -> bool {
    let fits = |pattern: &Option<String>, text: &str| match pattern.as_deref() {
        None => true,
        Some(pattern) => match pattern.strip_suffix('*') {
            Some(start) => text.starts_with(start),
            None => text == pattern,
        },
    };
    fits(&rule.executable, &instance.executable)
        && fits(&rule.service, &instance.service)
        && fits(&rule.container_id, &instance.container_id)
        && fits(&rule.systemd_unit, &instance.systemd_unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Runtime;

    fn instance(executable: &str, service: &str) -> Instance {
        Instance {
            id: 1,
            pid: 1,
            service: service.to_owned(),
            executable: executable.to_owned(),
            command_line: String::new(),
            container_id: String::new(),
            systemd_unit: String::new(),
            runtime: Runtime::Native,
            started_boot_ns: 0,
        }
    }

    #[test]
    fn excludes_win_over_includes_and_nothing_given_means_all() {
        let rule = |executable: &str| Rule {
            executable: Some(executable.to_owned()),
            ..Rule::default()
        };
        let nginx = instance("/usr/sbin/nginx", "nginx");
        assert!(Selection::default().is_watched(&nginx));
        let only_bin = SelectConfig {
            include: vec![rule("/usr/bin/*")],
            ..SelectConfig::default()
        };
        assert!(!Selection::new(&only_bin).is_watched(&nginx));
        let both = SelectConfig {
            include: vec![rule("/usr/*")],
            exclude: vec![rule("/usr/sbin/nginx")],
            ..SelectConfig::default()
        };
        assert!(!Selection::new(&both).is_watched(&nginx));
        assert!(Selection::new(&both).is_watched(&instance("/usr/bin/python3", "cart")));
    }
}
