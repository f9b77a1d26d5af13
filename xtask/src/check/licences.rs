//! The licences of everything we link, against the list in `deny.toml`.
//!
//! The file has the format of cargo-deny, which also knows advisories; that needs minutes to compile and a database from
//! outside, so that CI reads the list by itself.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use spanhound_tests::tree;

use crate::command;

#[derive(Deserialize)]
struct Deny {
    licenses: Licences,
}

#[derive(Deserialize)]
struct Licences {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    /// Absent for packages of the workspace.
    source: Option<String>,
    license: Option<String>,
}

pub(super) fn check() -> Result<()> {
    let path = tree::root().join("deny.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let deny: Deny =
        toml::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))?;
    let mut refused = Vec::new();
    for manifest in ["Cargo.toml", "agent-ebpf/Cargo.toml"] {
        let metadata = command::output(command::cargo().args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform=x86_64-unknown-linux-gnu",
            "--manifest-path",
            manifest,
        ]))?;
        let metadata: Metadata =
            serde_json::from_str(&metadata).context("cargo metadata printed something else")?;
        refused.extend(
            metadata
                .packages
                .iter()
                .filter_map(|package| refusal(package, &deny.licenses.allow)),
        );
    }
    refused.sort();
    refused.dedup();
    if refused.is_empty() {
        Ok(())
    } else {
        bail!("{}", refused.join("\n"))
    }
}

fn refusal(package: &Package, allowed: &BTreeSet<String>) -> Option<String> {
    package.source.as_ref()?;
    let Package {
        name,
        version,
        license,
        ..
    } = package;
    let Some(license) = license else {
        return Some(format!("{name} {version} names no licence"));
    };
    match spdx::Expression::parse_mode(license, spdx::ParseMode::LAX) {
        Err(error) => Some(format!("{name} {version}: licence {license:?}: {}", error.reason)),
        Ok(expression) => {
            let fine = expression.evaluate(|requirement| allowed.contains(&requirement.to_string()));
            (!fine).then(|| format!("{name} {version}: licence {license:?} is not among those of deny.toml"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(license: Option<&str>) -> bool {
        let allowed = BTreeSet::from(["MIT".to_owned(), "Apache-2.0".to_owned()]);
        let license = license.map(str::to_owned);
        let package = Package {
            name: "x".into(),
            version: "1.0.0".into(),
            source: Some("r".into()),
            license,
        };
        refusal(&package, &allowed).is_some()
    }

    #[test]
    fn one_allowed_alternative_is_enough_and_all_of_a_conjunction_are_needed() {
        assert!(!refused(Some("MIT OR GPL-3.0-only")));
        assert!(!refused(Some("MIT/Apache-2.0")));
        assert!(refused(Some("MIT AND GPL-3.0-only")));
        assert!(refused(Some("GPL-3.0-only")));
        assert!(refused(None));
    }
}
