//! Repair: looks once more at the calls whose owner is uncertain, and divides two requests' calls anew.
//!
//! Enters: a window with an assignment. Leaves: the same or a better one. Bounded: by the constants below.

use super::*;

/// One in so many requests is looked at again, against so many earlier and later ones, when both made few calls.
const REPAIRED_SHARE: usize = 12;
const RIVALS: usize = 4;
const DIVIDED: usize = 7;

impl Window<'_> {
    /// Looks again at requests that came out least probable: with each of their rivals, all ways to divide the calls of
    /// both. Small moves do not lead out of a state where one request has taken all of another's calls.
    pub(in crate::link::inference) fn repair(&mut self, model: &Model) {
        let mut order: Vec<u32> = (0..self.requests.len() as u32).collect();
        let worst = order.len().div_ceil(REPAIRED_SHARE);
        if worst == 0 || worst >= order.len() {
            return;
        }
        order.select_nth_unstable_by(worst, |a, b| {
            self.score[*a as usize].total_cmp(&self.score[*b as usize])
        });
        for request in &order[..worst] {
            let request = *request as usize;
            let (start_ns, end_ns) = (self.requests[request].start_ns, self.requests[request].end_ns);
            let near = self.requests.partition_point(|other| other.start_ns < start_ns);
            let rivals = (near.saturating_sub(RIVALS)..(near + RIVALS).min(self.requests.len()))
                .filter(|rival| *rival != request)
                .filter(|rival| {
                    self.requests[*rival].start_ns < end_ns && self.requests[*rival].end_ns > start_ns
                });
            for rival in rivals.collect::<Vec<_>>() {
                self.divide(model, request, rival);
            }
        }
    }

    /// The best division of the calls of two requests, if they are few.
    fn divide(&mut self, model: &Model, one: usize, two: usize) {
        let mut pool: Vec<u32> = self.children[one]
            .iter()
            .chain(&self.children[two])
            .copied()
            .collect();
        pool.sort_unstable();
        if pool.is_empty()
            || pool.len() > DIVIDED
            || pool.iter().any(|c| self.calls[*c as usize].fixed.is_some())
        {
            return;
        }
        let mut best = (self.score[one] + self.score[two] + 1e-3, None);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for pattern in 0..1u32 << pool.len() {
            first.clear();
            second.clear();
            for (bit, call) in pool.iter().enumerate() {
                if pattern >> bit & 1 == 0 {
                    first.push(*call)
                } else {
                    second.push(*call)
                }
            }
            if first.iter().all(|call| self.fits(*call, one))
                && second.iter().all(|call| self.fits(*call, two))
            {
                let score = self.score_of(model, one, &first) + self.score_of(model, two, &second);
                if score > best.0 {
                    best = (score, Some((first.clone(), second.clone())));
                }
            }
        }
        if let (_, Some((first, second))) = best {
            for (request, calls) in [(one, first), (two, second)] {
                calls
                    .iter()
                    .for_each(|call| self.owner[*call as usize] = request as u32);
                self.score[request] = self.score_of(model, request, &calls);
                self.children[request] = calls;
            }
        }
    }
}
