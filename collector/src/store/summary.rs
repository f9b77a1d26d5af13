//! What is kept of many calls: count, errors, Pinpoint's five response-time classes, sum, maximum and a histogram.
//! Summaries add up: over minutes, over segments, over what is still in memory.

use super::histogram::Histogram;
use crate::config::Thresholds;

/// Pinpoint's response-time classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Fast,
    Normal,
    Slow,
    VerySlow,
    Error,
}

impl Class {
    pub fn of(duration_ns: u64, error: bool, thresholds: Thresholds) -> Self {
        let at_most = |bound_ms: u64| duration_ns <= bound_ms.saturating_mul(1_000_000);
        match () {
            () if error => Self::Error,
            () if at_most(thresholds.fast_ms) => Self::Fast,
            () if at_most(thresholds.normal_ms) => Self::Normal,
            () if at_most(thresholds.slow_ms) => Self::Slow,
            () => Self::VerySlow,
        }
    }

    /// The class stored as a number, see [`Class::as_u8`].
    pub fn from_u8(number: u8) -> Self {
        match number {
            0 => Self::Fast,
            1 => Self::Normal,
            2 => Self::Slow,
            3 => Self::VerySlow,
            _ => Self::Error,
        }
    }

    pub fn as_u8(self) -> u8 {
        self as u8
    }
}

/// The sum of many calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Calls by class, in the order of [`Class`].
    pub classes: [u64; 5],
    pub sum_ns: u128,
    pub max_ns: u64,
    /// Calls whose link to what caused them is exact.
    pub exact_links: u64,
    /// Calls whose link to what caused them is inferred.
    pub inferred_links: u64,
    pub histogram: Histogram,
}

impl Summary {
    pub fn record(&mut self, duration_ns: u64, class: Class) {
        self.classes[class as usize] += 1;
        self.sum_ns += u128::from(duration_ns);
        self.max_ns = self.max_ns.max(duration_ns);
        self.histogram.record(duration_ns);
    }

    pub fn merge(&mut self, other: &Self) {
        for (class, count) in self.classes.iter_mut().zip(other.classes) {
            *class += count;
        }
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
        self.exact_links += other.exact_links;
        self.inferred_links += other.inferred_links;
        self.histogram.merge(&other.histogram);
    }

    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    pub fn error_count(&self) -> u64 {
        self.classes[Class::Error as usize]
    }

    pub fn average_ns(&self) -> f64 {
        match self.count() {
            0 => 0.0,
            count => self.sum_ns as f64 / count as f64,
        }
    }

    /// As [`Histogram::quantile_ns`], never above the maximum.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        self.histogram.quantile_ns(quantile).min(self.max_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_pinpoints() {
        let of = |ms: u64, error| Class::of(ms * 1_000_000, error, Thresholds::default());
        assert_eq!(
            [
                of(1_000, false),
                of(1_001, false),
                of(3_001, false),
                of(5_001, false),
                of(1, true)
            ],
            [
                Class::Fast,
                Class::Normal,
                Class::Slow,
                Class::VerySlow,
                Class::Error
            ]
        );
        for class in [
            Class::Fast,
            Class::Normal,
            Class::Slow,
            Class::VerySlow,
            Class::Error,
        ] {
            assert_eq!(Class::from_u8(class.as_u8()), class);
        }
    }
}
