//! Whether something made from a list (a lock file, a requirements file) was made from the list as it is now, and where it
//! is now: Python's environments hold their own path and do not survive a move.

use std::path::PathBuf;

use anyhow::{Context, Result};

pub(super) struct Stamp {
    path: PathBuf,
    content: String,
}

/// What `sources` say now, to be compared with what `path` kept of the last time.
pub(super) fn of(sources: &[PathBuf], path: PathBuf) -> Result<Stamp> {
    let mut content = format!("{}\n", path.display());
    for source in sources {
        let text =
            std::fs::read_to_string(source).with_context(|| format!("cannot read {}", source.display()))?;
        content.push_str(&text);
    }
    Ok(Stamp { path, content })
}

impl Stamp {
    pub(super) fn fresh(&self) -> bool {
        std::fs::read_to_string(&self.path).is_ok_and(|kept| kept == self.content)
    }

    pub(super) fn write(&self) -> Result<()> {
        std::fs::write(&self.path, &self.content)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
