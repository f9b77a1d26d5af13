//! Inference: which inbound request of a process caused each of its outbound calls, from times and names alone.
//!
//! Enters: requests and calls of one process with names, starts and ends. Leaves: for each call the request that most
//! probably made it, with a probability, or nobody. Bounded: spans held, names, candidates per call, rounds. Deliberately
//! absent: identifiers of any kind, and other processes.
//!
//! Road: [`Engine`] (stream) -> `window` (what is asked) -> `hypotheses`, `hazard`, `cluster` and `lattice` (which assignments are
//! probable, event by event and then backwards) -> `model` (what is learned) -> `shape` (what requests of one name do), `repeats` (which calls
//! they make once more), `order` (who goes first) -> `density` (how long things take). Two models are learned from different
//! first guesses, and `judging` hears both; `agreement` says what it means where they differ, `calibration` what a
//! probability is worth, `crowding` where nothing was learned from so many, and `threshold` from when on nothing is said. The
//! idea of describing a request by its gaps and learning them by expectation maximisation is TraceWeaver's (SIGCOMM 2024);
//! classes that tie gaps and durations of one request together, steps instead of fixed sequences, joint hypotheses with
//! probabilities, and doubt where learners differ are ours.

mod agreement;
mod background;
mod calibration;
mod cluster;
mod crowding;
mod density;
mod engine;
mod hazard;
mod hints;
mod history;
mod hypotheses;
mod judging;
mod lattice;
mod logarithm;
mod model;
mod order;
mod places;
mod proposal;
mod repeats;
mod shape;
mod telling;
mod threshold;
mod window;

pub use engine::{Engine, FinishedCall};
pub use hints::{Hint, Pointing};
use hypotheses::Breadth;
use logarithm::{log_odds, logistic};
pub use threshold::Threshold;

/// Within this time an event may be seen before its cause: clock grain, and records of two threads.
const SLACK_NS: i64 = 50_000;

/// A hypothesis less probable than the best by this factor (a logarithm) is not followed.
const WITHIN: f32 = 8.0;

/// What times may add to a hint in a crowd (a logarithm: threefold).
const TIMES_ADD: f32 = 1.1;

/// What to spend, and how long to wait.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Rounds of learning from a first window, at most.
    pub rounds: usize,
    /// Hypotheses followed at once while learning, and while deciding.
    pub learning_breadth: usize,
    pub deciding_breadth: usize,
    /// And once more than this was spent: proposals at first, and for every further call.
    pub thrifty_breadth: usize,
    pub effort: i64,
    pub effort_per_call: i64,
    /// What evidence counts for in a decision: the model takes gaps and durations for more independent than they are.
    pub temper: f32,
    /// Requests to have seen, or time to have passed, before the first answer.
    pub warm_up_requests: usize,
    pub warm_up_ns: i64,
    /// How long an unfinished request holds up calls it may have made.
    pub patience_ns: i64,
    /// Spans held before answers are forced.
    pub held_spans: usize,
    /// Requests remembered to learn from, of each name.
    pub examples: usize,
    /// Share of answers that may be expected to be wrong.
    pub error_budget: f32,
    /// Doubt that an answer may have at most, times the square of how many requests were open: what a model does not know of
    /// an application misleads it more often the more there is to choose from, and answers that are easy because little is
    /// open say nothing of those given in a crowd.
    pub doubt: f32,
    /// With more requests open than this, times and names alone tell nothing.
    pub crowd: f32,
    /// Models that learned from few open requests say nothing about many, and are learned anew where they stay many.
    pub learns_crowds_anew: bool,
    /// Whether it is found out who goes first where requests wait in line.
    pub knows_queues: bool,
    /// Whether probabilities are corrected by tests of oneself.
    pub tests_itself: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            rounds: 4,
            learning_breadth: 16,
            deciding_breadth: 64,
            thrifty_breadth: 8,
            effort: 3_000_000,
            effort_per_call: 60,
            temper: 0.8,
            warm_up_requests: 500,
            warm_up_ns: 3_000_000_000,
            patience_ns: 2_000_000_000,
            held_spans: 32_768,
            examples: 512,
            error_budget: 0.004,
            doubt: 0.05,
            crowd: 16.0,
            learns_crowds_anew: true,
            knows_queues: false,
            tests_itself: false,
        }
    }
}

impl Parameters {
    fn learning(&self) -> Breadth {
        Breadth {
            hypotheses: self.learning_breadth,
            within: WITHIN,
            temper: 1.0,
        }
    }

    /// Whether a hint makes this probability what it is. In a crowd times are doubted, tested hints are not: times may speak
    /// against one, and little for it.
    fn is_told_by_hint(&self, probability: f32, hinted: f32) -> bool {
        let times = log_odds(probability) - hinted;
        let wrong = logistic(-(times.min(TIMES_ADD) + hinted));
        wrong <= self.error_budget
    }

    fn deciding(&self, thrifty: bool) -> Breadth {
        Breadth {
            hypotheses: match thrifty {
                true => self.thrifty_breadth,
                false => self.deciding_breadth,
            },
            within: WITHIN,
            temper: self.temper,
        }
    }

    /// Share of a file's answers that may be expected to be wrong.
    pub const FILE_ERROR_BUDGET: f32 = 0.006;

    /// For files, where nobody waits: learns from more before the first answer, and says all that is more probably right than
    /// wrong. What of that is to be believed is chosen once all is known, with a [`Threshold`].
    pub fn offline() -> Self {
        Self {
            warm_up_requests: 1000,
            warm_up_ns: i64::MAX,
            examples: 1024,
            doubt: f32::INFINITY,
            crowd: f32::INFINITY,
            learns_crowds_anew: false,
            knows_queues: true,
            tests_itself: true,
            rounds: 16,
            learning_breadth: 8,
            deciding_breadth: 32,
            error_budget: 1.0,
            ..Self::default()
        }
    }
}

/// Who made a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    pub call: u64,
    /// `None`: nobody, or too uncertain to say.
    pub parent: Option<u64>,
    /// Of the most probable parent, said or not.
    pub probability: f32,
}

#[cfg(test)]
mod measured;
#[cfg(test)]
pub(crate) mod simulation;
