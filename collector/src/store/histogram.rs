//! A mergeable histogram of durations, small enough for one a minute and edge: log-linear buckets, 64 to an octave of
//! nanoseconds, kept sparse. A quantile is off by less than 0.8% of its value. Bounded: at most 3,712 buckets.

use std::collections::BTreeMap;

/// Sub-buckets per power of two, as a shift.
const SHIFT: u32 = 6;
const SUB_BUCKETS: u64 = 1 << SHIFT;

/// Counts of durations by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: BTreeMap<u16, u64>,
    count: u64,
}

impl Histogram {
    pub fn record(&mut self, duration_ns: u64) {
        self.add(bucket_of(duration_ns), 1);
    }

    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add(*bucket, *count);
        }
    }

    /// Adds to a bucket as named by [`Histogram::buckets`].
    pub fn add(&mut self, bucket: u16, count: u64) {
        *self.buckets.entry(bucket).or_default() += count;
        self.count += count;
    }

    pub fn buckets(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.buckets.iter().map(|(bucket, count)| (*bucket, *count))
    }

    /// The duration, in nanoseconds, that the share `quantile` (0..=1) of all durations does not exceed: the middle of
    /// the bucket that holds the nearest rank. 0 without durations.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        let rank = ((quantile * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut passed = 0;
        for (bucket, count) in &self.buckets {
            passed += count;
            if passed >= rank {
                return middle_of(*bucket);
            }
        }
        0
    }
}

fn bucket_of(duration_ns: u64) -> u16 {
    if duration_ns < SUB_BUCKETS {
        return duration_ns as u16;
    }
    let octave = duration_ns.ilog2() - SHIFT;
    let within = (duration_ns >> octave) - SUB_BUCKETS;
    ((u64::from(octave) + 1) * SUB_BUCKETS + within) as u16
}

fn middle_of(bucket: u16) -> u64 {
    let (octave, within) = (u64::from(bucket) / SUB_BUCKETS, u64::from(bucket) % SUB_BUCKETS);
    if octave == 0 {
        return within;
    }
    // A damaged file may name a bucket beyond the last octave.
    let octave = (octave - 1).min(57);
    ((SUB_BUCKETS + within) << octave) + ((1 << octave) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_durations_are_exact_and_the_largest_fits() {
        for duration in 0..64 {
            assert_eq!(middle_of(bucket_of(duration)), duration);
        }
        assert!(middle_of(bucket_of(u64::MAX)) > u64::MAX / 2);
        assert!(middle_of(u16::MAX) > 0);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_percent_of_nearest_rank(
            mut durations in prop::collection::vec(1u64..100_000_000_000, 1..200),
            cut in 0usize..200, quantile in 0.0f64..1.0,
        ) {
            let (mut whole, mut rest) = (Histogram::default(), Histogram::default());
            for (index, duration) in durations.iter().enumerate() {
                if index < cut { whole.record(*duration) } else { rest.record(*duration) }
            }
            whole.merge(&rest);
            durations.sort_unstable();
            let rank = ((quantile * durations.len() as f64).ceil() as usize).clamp(1, durations.len());
            let exact = durations[rank - 1] as f64;
            let got = whole.quantile_ns(quantile) as f64;
            prop_assert!((got - exact).abs() <= exact * 0.008 + 1.0, "{got} for {exact}");
        }
    }
}
