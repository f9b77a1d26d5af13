//! What clocks and losses make of spans.

use super::Span;
use super::time::Dice;

#[derive(Clone, Debug, Default)]
pub(crate) struct Distortion {
    /// Times are multiples of this.
    pub(crate) grain_ns: i64,
    /// Each time is seen late by an exponential time of this mean.
    pub(crate) late_ns: f64,
    /// Probability that a call, or a request, was not seen.
    pub(crate) lost_calls: f64,
    pub(crate) lost_requests: f64,
}

impl Distortion {
    pub(super) fn apply(&self, spans: Vec<Span>, dice: &mut Dice) -> Vec<Span> {
        let kept: Vec<bool> = spans
            .iter()
            .map(|span| {
                !dice.chance(if span.server {
                    self.lost_requests
                } else {
                    self.lost_calls
                })
            })
            .collect();
        let mut place = Vec::with_capacity(spans.len());
        let mut count = 0;
        for kept in &kept {
            place.push(kept.then_some(count));
            count += usize::from(*kept);
        }
        let grain = self.grain_ns.max(1);
        let mut seen = |ns: i64| {
            let late = if self.late_ns > 0.0 {
                dice.exponential(self.late_ns) as i64
            } else {
                0
            };
            (ns + late).div_euclid(grain) * grain
        };
        let mut out = Vec::with_capacity(count);
        for (mut span, _) in spans.into_iter().zip(kept).filter(|(_, kept)| *kept) {
            // A call whose request was not seen has no parent among what was seen.
            span.parent = span.parent.and_then(|parent| place[parent]);
            span.start_ns = seen(span.start_ns);
            span.end_ns = seen(span.end_ns).max(span.start_ns);
            out.push(span);
        }
        out
    }
}
