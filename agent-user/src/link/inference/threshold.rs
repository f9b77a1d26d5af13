//! Below which probability to stay silent, so that the share of wrong answers stays within a budget.
//!
//! Enters: the probabilities of answers. Leaves: the least one to answer with: the lowest at which the answers given are
//! expected to be wrong no more often than the budget says. Old ones fade.

const BINS: usize = 64;
/// More likely wrong than right is never an answer.
const LEAST: f32 = 0.5;
const KEEP: f64 = 0.98;

pub struct Threshold {
    budget: f64,
    /// Answers and expected errors by probability, upwards from [`LEAST`].
    bins: [(f64, f64); BINS],
    least: f32,
}

impl Threshold {
    /// `budget`: the share of answers that may be expected to be wrong.
    pub fn new(budget: f32) -> Self {
        Self {
            budget: f64::from(budget),
            bins: [(0.0, 0.0); BINS],
            least: LEAST,
        }
    }

    pub fn note(&mut self, probability: f32) {
        if probability >= LEAST {
            let at = ((probability - LEAST) / (1.0 - LEAST) * BINS as f32) as usize;
            let bin = &mut self.bins[at.min(BINS - 1)];
            bin.0 += 1.0;
            bin.1 += f64::from(1.0 - probability).max(0.0);
        }
    }

    /// Takes what was noted since into account.
    pub fn settle(&mut self) {
        let (mut answers, mut errors) = (0.0, 0.0);
        self.least = 1.0;
        for at in (0..BINS).rev() {
            answers += self.bins[at].0;
            errors += self.bins[at].1;
            if errors > self.budget * answers {
                break;
            }
            self.least = LEAST + (1.0 - LEAST) * at as f32 / BINS as f32;
        }
        for bin in &mut self.bins {
            bin.0 *= KEEP;
            bin.1 *= KEEP;
        }
    }

    /// The least probability to answer with.
    pub fn least(&self) -> f32 {
        self.least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_silent_just_as_much_as_the_budget_asks() {
        let mut threshold = Threshold::new(0.01);
        for n in 0..1000 {
            threshold.note(if n % 10 == 0 { 0.7 } else { 0.9999 });
        }
        threshold.settle();
        assert!(
            threshold.least() > 0.7 && threshold.least() <= 0.99,
            "{}",
            threshold.least()
        );
        let mut easy = Threshold::new(0.01);
        (0..1000).for_each(|n| easy.note(if n % 100 == 0 { 0.7 } else { 0.9999 }));
        easy.settle();
        assert!(easy.least() <= 0.7, "{}", easy.least());
    }
}
