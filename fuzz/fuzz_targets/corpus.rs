//! Writes the recordings in `tests/wire` as the first corpus of each protocol's target.

use std::path::Path;

use anyhow::{Context, Result};
use spanhound_agent::protocol::{Protocol, recording};

fn main() -> Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    for protocol in Protocol::ALL {
        let folder = fuzz.join("corpus").join(protocol.name());
        for (number, conversation) in recording::load(&fuzz.join("../tests/wire"), *protocol)?
            .iter()
            .enumerate()
        {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            std::fs::write(
                folder.join(format!("recording-{number}")),
                spanhound_fuzz::encoded(conversation),
            )?;
        }
    }
    Ok(())
}
