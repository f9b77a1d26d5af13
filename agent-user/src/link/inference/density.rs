//! How long something takes: a density over time, learned from samples, one for each latent class.
//!
//! Enters: durations with class weights. Leaves: log density per nanosecond. Bounded: 4 bins an octave from 1 ns to
//! 17 minutes. The estimate is a Gaussian kernel over the logarithm of time whose width shrinks as n^(-1/5); each class
//! leans on all classes together, and those on a log-uniform density, with a weight of a few samples: a value never
//! seen is improbable, not impossible.

use std::sync::LazyLock;

/// Latent classes of requests with one name: kinds of requests that the name does not tell (a cache hit and a miss).
pub(super) const CLASSES: usize = 4;

pub(super) type PerClass = [f32; CLASSES];

const BINS_PER_OCTAVE_LOG2: u32 = 2;
const BINS: usize = 160 + 1;

/// Samples' worth of belief in the broader estimate.
const PRIOR_SAMPLES: f32 = 2.0;

/// Bin 0 holds 0 and negative gaps: clocks have a grain, and two threads' events may be seen out of order.
pub(super) fn bin(duration_ns: i64) -> usize {
    if duration_ns <= 0 {
        return 0;
    }
    // The float's exponent and first mantissa bits are the number of the bin: linear within a quarter octave.
    let bits = (duration_ns as f32).to_bits() >> (23 - BINS_PER_OCTAVE_LOG2);
    let first = 127 << BINS_PER_OCTAVE_LOG2;
    ((bits - first) as usize + 1).min(BINS - 1)
}

/// Width of a bin in nanoseconds.
fn width_ns(bin: usize) -> f32 {
    match bin {
        // As wide as the slack within which an event may precede its cause.
        0 => super::SLACK_NS as f32,
        bin => {
            let octave = (bin as u32 - 1) >> BINS_PER_OCTAVE_LOG2;
            ((octave as f32) - BINS_PER_OCTAVE_LOG2 as f32).exp2().max(1.0)
        }
    }
}

#[derive(Clone)]
pub(super) struct Density {
    counts: Box<[PerClass; BINS]>,
    log: Box<[PerClass; BINS]>,
    log_survival: Box<[PerClass; BINS]>,
}

impl Density {
    /// Of nothing; says nothing before the first [`Density::refresh`].
    pub(super) fn new() -> Self {
        let zero = || Box::new([[0.0; CLASSES]; BINS]);
        Self {
            counts: zero(),
            log: zero(),
            log_survival: zero(),
        }
    }

    /// What is believed of a duration that was never seen.
    pub(super) fn unseen() -> &'static Self {
        static UNSEEN: LazyLock<Density> = LazyLock::new(|| {
            let mut density = Density::new();
            density.refresh();
            density
        });
        &UNSEEN
    }

    pub(super) fn add(&mut self, bin: usize, weights: &PerClass) {
        for (count, weight) in self.counts[bin].iter_mut().zip(weights) {
            *count += weight;
        }
    }

    /// Log density per nanosecond.
    pub(super) fn log(&self, bin: usize) -> &PerClass {
        &self.log[bin]
    }

    /// Log probability of lasting at least as long as the bin's middle.
    pub(super) fn log_survival(&self, bin: usize) -> &PerClass {
        &self.log_survival[bin]
    }

    /// Makes the densities of what was added.
    pub(super) fn refresh(&mut self) {
        let mut totals = [0.0f32; CLASSES];
        for row in self.counts.iter() {
            for class in 0..CLASSES {
                totals[class] += row[class];
            }
        }
        let all: f32 = totals.iter().sum();
        let pooled_counts: Vec<f32> = self.counts.iter().map(|row| row.iter().sum()).collect();
        let mut pooled = smoothed(&pooled_counts, all);
        for mass in &mut pooled {
            *mass = (all * *mass + 1.0 / BINS as f32) / (all + 1.0);
        }
        for class in 0..CLASSES {
            let counts: Vec<f32> = self.counts.iter().map(|row| row[class]).collect();
            let own = smoothed(&counts, totals[class]);
            let mut above = 0.0;
            for at in (0..BINS).rev() {
                let mass =
                    (totals[class] * own[at] + PRIOR_SAMPLES * pooled[at]) / (totals[class] + PRIOR_SAMPLES);
                self.log[at][class] = (mass / width_ns(at)).ln();
                self.log_survival[at][class] = (above + 0.5 * mass).ln();
                above += mass;
            }
        }
    }
}

/// Shares of the bins, smoothed; sums to 1 where there is anything.
fn smoothed(counts: &[f32], total: f32) -> Vec<f32> {
    let mut shares = vec![0.0; counts.len()];
    if total < 1e-3 {
        return shares;
    }
    let spread = (4.0 * total.powf(-0.2)).max(0.5);
    let reach = (3.0 * spread) as usize;
    let kernel: Vec<f32> = (0..=reach)
        .map(|d| (-0.5 * (d as f32 / spread).powi(2)).exp())
        .collect();
    let sum: f32 = kernel[0] + 2.0 * kernel[1..].iter().sum::<f32>();
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
        let share = count / total / sum;
        for (distance, factor) in kernel.iter().enumerate() {
            // What would fall off either end stays in the end bin.
            shares[(at + distance).min(counts.len() - 1)] += share * factor;
            if distance > 0 {
                shares[at.saturating_sub(distance)] += share * factor;
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_ordered_and_their_widths_add_up() {
        assert_eq!((bin(-5), bin(0), bin(1)), (0, 0, 1));
        let mut last = 0;
        // Beyond 2^24 a float rounds, by less than a bin's width.
        for exponent in 3..24 {
            for step in 0..4 {
                let low = (1i64 << exponent) / 4 * (4 + step);
                let at = bin(low);
                assert!(at > last);
                last = at;
                assert_eq!(bin(low + width_ns(at) as i64 - 1), at, "{low}");
            }
        }
        assert_eq!(bin(i64::MAX), BINS - 1);
    }

    #[test]
    fn a_density_integrates_to_one_and_peaks_at_its_samples() {
        let mut density = Density::new();
        for n in 0..500 {
            density.add(bin(100_000 + n * 100), &[1.0, 0.0, 0.0, 0.0]);
        }
        density.refresh();
        let mass: f32 = (0..BINS).map(|at| density.log(at)[0].exp() * width_ns(at)).sum();
        assert!((mass - 1.0).abs() < 0.02, "{mass}");
        assert!(density.log(bin(120_000))[0] > density.log(bin(10_000))[0] + 5.0);
        assert!(density.log_survival(bin(1000))[0] > -0.1 && density.log_survival(bin(10_000_000))[0] < -4.0);
    }
}
