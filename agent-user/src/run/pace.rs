//! Pace: how long the agent sleeps between two looks at the ring buffer, and how much it takes in at once.
//!
//! Enters: how many events each look brought. Leaves: the next sleep. Whoever shares a processor with the agent waits as long
//! as one of its turns lasts, so turns are short and many, up to where waking costs more than it spares others.

/// Events taken before others get the processor.
pub(super) const TURN_EVENTS: usize = 64;
/// The same where the ring buffer is crowded: losing events is worse than keeping others waiting.
pub(super) const CROWDED_TURN_EVENTS: usize = 8_192;

/// Limits of the sleep. The kernel programs end it when the ring buffer fills up.
const WAIT_MIN_MS: i32 = 4;
const WAIT_MAX_MS: i32 = 100;

pub(super) struct Pace {
    pub(super) wait_ms: i32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { wait_ms: WAIT_MIN_MS }
    }
}

impl Pace {
    /// The look after this sleep brought so many events.
    pub(super) fn brought(&mut self, events: usize) {
        if events > TURN_EVENTS {
            self.wait_ms = (self.wait_ms / 2).max(WAIT_MIN_MS);
        } else if events < TURN_EVENTS / 4 {
            self.wait_ms = (self.wait_ms * 2).min(WAIT_MAX_MS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_get_as_long_as_one_turn_takes_up_what_comes() {
        let waits = |events_a_second: usize| {
            let mut pace = Pace::default();
            for _ in 0..50 {
                pace.brought(events_a_second * pace.wait_ms as usize / 1_000);
            }
            pace.wait_ms
        };
        assert_eq!([0, 3_000, 1_000_000].map(waits), [WAIT_MAX_MS, 8, WAIT_MIN_MS]);
        let mut pace = Pace { wait_ms: 100 };
        pace.brought(TURN_EVENTS + 1);
        assert_eq!(pace.wait_ms, 50);
    }
}
