//! Exponentials and logarithms by the million, to five digits, without a call into the mathematics library; sums; and odds.

/// `e` to the power of a number that is not positive; next to nothing below -80.
pub(super) fn exp(power: f32) -> f32 {
    let binary = power.clamp(-80.0, 0.0) * std::f32::consts::LOG2_E;
    // The next lower whole number, without a call to round it.
    let whole = binary as i32 - 1;
    let rest = binary - whole as f32;
    // 2^rest, by its Taylor polynomial about the middle of its range, corrected to be 1 at 0.
    let fraction = 1.0
        + rest
            * (0.693_152
                + rest * (0.240_153_6 + rest * (0.055_826_32 + rest * (0.008_989_34 + rest * 0.001_877_58))));
    f32::from_bits(((whole + 127) as u32) << 23) * fraction
}

/// Natural logarithm of a positive, normal number.
pub(super) fn ln(number: f32) -> f32 {
    let bits = number.to_bits();
    let exponent = (bits >> 23) as i32 - 127;
    // Between 1 and 2; as 2 artanh((m - 1) / (m + 1)), about the square root of 2.
    let mantissa = f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000);
    let ratio = (mantissa - std::f32::consts::SQRT_2) / (mantissa + std::f32::consts::SQRT_2);
    let square = ratio * ratio;
    let artanh = ratio * (1.0 + square * (1.0 / 3.0 + square * (0.2 + square / 7.0)));
    (exponent as f32 + 0.5) * std::f32::consts::LN_2 + 2.0 * artanh
}

/// Logarithm of the odds of what is so probable; of certainty that of the next lower number.
pub(super) fn log_odds(probability: f32) -> f32 {
    let probability = probability.min(1.0 - f32::EPSILON);
    (probability / (1.0 - probability)).ln()
}

/// How probable something of these odds is.
pub(super) fn logistic(log_odds: f32) -> f32 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// A sum of probabilities given by their logarithms.
#[derive(Clone, Copy)]
pub(super) struct Sum {
    most: f32,
    sum: f32,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            most: f32::NEG_INFINITY,
            sum: 0.0,
        }
    }
}

impl Sum {
    pub(super) fn of(logs: impl Iterator<Item = f32>) -> f32 {
        let mut sum = Self::default();
        logs.for_each(|log| sum.add(log));
        sum.log()
    }

    pub(super) fn add(&mut self, log: f32) {
        if log == f32::NEG_INFINITY {
            return;
        }
        if log > self.most {
            self.sum = self.sum * exp(self.most - log) + 1.0;
            self.most = log;
        } else {
            self.sum += exp(log - self.most);
        }
    }

    pub(super) fn log(&self) -> f32 {
        match self.sum > 0.0 {
            true => self.most + ln(self.sum),
            false => self.most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_real_ones() {
        for step in 0..8000 {
            let power = step as f32 * -0.01;
            assert!((exp(power) - power.exp()).abs() <= 2e-5 * power.exp(), "{power}");
            let number = 1.0 + step as f32 * 0.003;
            assert!((ln(number) - number.ln()).abs() < 2e-5, "{number}");
        }
        assert!(exp(-100.0) < 1e-30 && exp(f32::NEG_INFINITY) < 1e-30);
        assert!(ln(1.0).abs() < 1e-6 && (ln(1e-20) - 1e-20f32.ln()).abs() < 1e-4);
    }
}
