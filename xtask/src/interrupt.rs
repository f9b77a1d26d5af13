//! Ctrl-C and its relatives become a flag, so that what was started is stopped by whoever started it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn watch() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGTERM,
            signal_hook::consts::SIGHUP,
        ] {
            // A second one ends us at once: the children then get the kernel's signal.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
                .context("cannot listen for signals")?;
        }
        Ok(Self(flag))
    }

    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits a little; `true` when it came.
    pub(crate) fn within(&self, time: Duration) -> bool {
        let step = Duration::from_millis(50).min(time);
        let mut left = time;
        while !self.came() && !left.is_zero() {
            std::thread::sleep(step);
            left = left.saturating_sub(step);
        }
        self.came()
    }
}
