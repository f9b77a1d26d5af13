//! How long something takes, and the dice.

use fastrand::Rng;

/// A distribution of times, in microseconds.
#[derive(Clone, Debug)]
pub(crate) enum Time {
    /// Median and sigma of the logarithm.
    LogNormal(f64, f64),
    Exponential(f64),
    /// The first median with this probability, else the second; sigma of the logarithm of both.
    TwoModes(f64, f64, f64, f64),
    /// Least value and exponent; cut at a hundred times the least.
    Pareto(f64, f64),
    Uniform(f64, f64),
}

impl Time {
    pub(crate) fn sample(&self, dice: &mut Dice) -> f64 {
        match *self {
            Time::LogNormal(median, sigma) => dice.lognormal(median, sigma),
            Time::Exponential(mean) => dice.exponential(mean),
            Time::TwoModes(first_share, first, second, sigma) => {
                let median = if dice.chance(first_share) { first } else { second };
                dice.lognormal(median, sigma)
            }
            Time::Pareto(least, exponent) => least * dice.0.f64().max(1e-12).powf(-1.0 / exponent).min(100.0),
            Time::Uniform(least, most) => least + (most - least) * dice.0.f64(),
        }
    }
}

pub(crate) struct Dice(pub(crate) Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.0.f64() < probability
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.0.f64().max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * self.0.f64()).cos()
    }

    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.0.f64().max(1e-12).ln()
    }

    /// Log-uniform between two values.
    pub(crate) fn between(&mut self, least: f64, most: f64) -> f64 {
        least * (most / least).powf(self.0.f64())
    }
}
