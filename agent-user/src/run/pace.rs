//! Pace: how long the agent sleeps between two looks at the ring buffer, and how much it takes in at once.
//!
//! Enters: how many events each look brought. Leaves: the next sleep. Whoever shares a processor with the agent waits as long
//! as what it takes in at once lasts, so looks are many and bring little, up to where waking costs more than it spares others.

/// Events taken before others get the processor.
pub(super) const TURN_EVENTS: usize = 64;
/// The same where the ring buffer is crowded: losing events is worse than keeping others waiting.
pub(super) const CROWDED_TURN_EVENTS: usize = 8_192;

/// Events one look should bring while there are few: work for two requests or so, not for dozens.
const FEW_EVENTS: usize = 4;

/// Limits of the sleep. The kernel programs end it when the ring buffer fills up.
const WAIT_MIN_MS: i32 = 1;
const WAIT_MAX_MS: i32 = 100;
/// Where each look brings several turns anyway, fewer looks spare more than they keep others waiting.
const WAIT_BUSY_MS: i32 = 4;

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
        let is_busy = events * WAIT_BUSY_MS as usize > TURN_EVENTS * self.wait_ms as usize;
        if is_busy && self.wait_ms <= WAIT_BUSY_MS {
            self.wait_ms = WAIT_BUSY_MS;
        } else if events > FEW_EVENTS {
            self.wait_ms = (self.wait_ms / 2).max(WAIT_MIN_MS);
        } else if events < FEW_EVENTS / 2 {
            self.wait_ms = (self.wait_ms * 2).min(WAIT_MAX_MS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_are_short_where_little_comes_and_not_shorter_where_much_does() {
        let waits = |events_a_second: usize| {
            let mut pace = Pace::default();
            for _ in 0..50 {
                pace.brought(events_a_second * pace.wait_ms as usize / 1_000);
            }
            pace.wait_ms
        };
        assert_eq!(waits(0), WAIT_MAX_MS);
        assert_eq!(waits(100), 32);
        assert_eq!(waits(3_000), WAIT_MIN_MS);
        assert_eq!(waits(15_000), WAIT_MIN_MS);
        assert_eq!(waits(20_000), WAIT_BUSY_MS);
        assert_eq!(waits(1_000_000), WAIT_BUSY_MS);
        let mut pace = Pace { wait_ms: 100 };
        pace.brought(TURN_EVENTS + 1);
        assert_eq!(pace.wait_ms, 50);
    }
}
