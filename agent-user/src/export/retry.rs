//! How long to wait before the next try.
//!
//! Enters: the news of a failure. Leaves: a delay that doubles up to a bound. Deliberately absent: sleeping.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The delay after one more failure.
    pub(super) fn after_failure(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(LONGEST);
        delay
    }

    pub(super) fn after_success(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after_failure(), FIRST);
        assert_eq!(backoff.after_failure(), FIRST * 2);
        for _ in 0..20 {
            backoff.after_failure();
        }
        assert_eq!(backoff.after_failure(), LONGEST);
        backoff.after_success();
        assert_eq!(backoff.after_failure(), FIRST);
    }
}
