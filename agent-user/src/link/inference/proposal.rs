//! One way to go on from a hypothesis, and numbers that tell rows of hypotheses apart.

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

/// Spreads the bits of a number.
pub(super) fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}
