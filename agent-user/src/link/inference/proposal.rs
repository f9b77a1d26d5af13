//! One way to go on from a hypothesis, and sums over several.
//!
//! Enters: weights of proposals. Leaves: each request's share among them, and numbers that tell rows of a hypothesis apart.

use super::logarithm::exp;

/// A call goes to the request of a slot, or to nobody.
#[derive(Clone, Copy)]
pub(super) struct Proposal {
    pub(super) weight: f32,
    pub(super) priority: f32,
    pub(super) row: u32,
    /// [`NOBODY`] for no request.
    pub(super) slot: u32,
    pub(super) hash: u64,
}

/// What share of the whole each slot has, and last nobody; weights are logarithms.
pub(super) fn shares(slots: usize, weighed: impl Iterator<Item = (u32, f32)> + Clone) -> Vec<f32> {
    let most = weighed.clone().map(|(_, weight)| weight);
    let most = most.fold(f32::NEG_INFINITY, f32::max);
    let mut shares = vec![0.0; slots + 1];
    let mut sum = 0.0;
    for (slot, weight) in weighed {
        let share = exp(weight - most);
        shares[(slot as usize).min(slots)] += share;
        sum += share;
    }
    shares.iter_mut().for_each(|share| *share /= sum);
    shares
}

/// Spreads the bits of a number.
pub(super) fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}
