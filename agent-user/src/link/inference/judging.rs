//! Judging: what all learners together say of a window.
//!
//! Enters: requests, calls as each learner knows them, and the learners' models. Leaves: of each call who made it, how
//! probable that is, and what each learner would have said. Bounded: as `hypotheses` is.

use super::agreement::Doubts;
use super::hypotheses::{Breadth, Hypotheses};
use super::model::Model;
use super::window::{Call, Request, Window};

pub(super) struct Judgement<'a> {
    /// Of each learner, in the order of calls: the most probable owner of each call, and how probable it is.
    pub(super) opinions: Vec<Vec<(u32, f32)>>,
    /// The same of all learners together, doubts taken off.
    pub(super) verdicts: Vec<(u32, f32)>,
    /// With the opinion of all.
    pub(super) window: Window<'a>,
    /// Proposals weighed, a measure of time.
    pub(super) effort: u64,
    /// Requests given up because too many were open.
    pub(super) given_up: u64,
}

/// `None` without a learner.
pub(super) fn judge<'a, 'm>(
    requests: &'a [Request],
    learners: impl Iterator<Item = (&'m Model, &'a [Call])>,
    breadth: Breadth,
) -> Option<Judgement<'a>> {
    let (mut effort, mut given_up) = (0, 0);
    let windows = learners.map(|(model, calls)| {
        let mut window = Window::new(requests, calls);
        let mut hypotheses = Hypotheses::new(&mut window, model, breadth);
        hypotheses.follow();
        effort += hypotheses.effort();
        given_up += hypotheses.given_up();
        window
    });
    let mut windows: Vec<Window<'_>> = windows.collect();
    let opinions = windows
        .iter()
        .map(|window| (0..window.calls.len()).map(|at| window.best(at)).collect())
        .collect();
    let (first, others) = windows.split_first_mut()?;
    let doubts = Doubts::of(first, others);
    for (opinions, other) in others.iter().enumerate() {
        first.average(other, opinions + 1);
    }
    let verdicts = (0..first.calls.len()).map(|at| {
        let (owner, probability) = first.best(at);
        (owner, probability * (1.0 - doubts.at(at)))
    });
    let verdicts = verdicts.collect();
    let window = windows.swap_remove(0);
    Some(Judgement {
        opinions,
        verdicts,
        window,
        effort,
        given_up,
    })
}
