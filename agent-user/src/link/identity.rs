//! Ids that both ends of an exchange can compute without talking to each other.
//!
//! Enters: what identifies an exchange. Leaves: keys and ids, never 0. The hash is XXH3-64, whose output is fixed by its
//! specification, so agents of different versions agree.

use twox_hash::XxHash3_64;

use crate::event::SequencePair;
use crate::protocol::Side;

/// What both ends of one exchange share, across hosts and address translation: both initial sequence numbers, the byte
/// position of the request's first byte in the client's direction, and the id inside a multiplexed connection (else 0).
pub fn exchange_key(sequence: SequencePair, position: u64, stream_id: u64) -> u64 {
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&sequence.client.to_be_bytes());
    bytes[4..8].copy_from_slice(&sequence.server.to_be_bytes());
    bytes[8..16].copy_from_slice(&position.to_be_bytes());
    bytes[16..].copy_from_slice(&stream_id.to_be_bytes());
    non_zero(XxHash3_64::oneshot(&bytes))
}

/// Span id of one side of the exchange with this key.
pub(super) fn span_id_of_key(key: u64, side: Side) -> u64 {
    mixed(key, side_tag(side))
}

/// Span id where no key is known: unique per agent run (`seed`) and exchange.
pub(super) fn span_id_of_number(seed: u64, number: u64, side: Side) -> u64 {
    mixed(mixed(seed, number), side_tag(side))
}

/// Trace id of a trace that begins with this span.
pub(super) fn trace_id_of_root(seed: u64, span_id: u64, time_ns: u64) -> u128 {
    let high = mixed(mixed(seed, span_id), time_ns);
    u128::from(high) << 64 | u128::from(mixed(high, span_id))
}

fn side_tag(side: Side) -> u64 {
    match side {
        Side::Client => 0x43,
        Side::Server => 0x53,
    }
}

fn mixed(left: u64, right: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&left.to_be_bytes());
    bytes[8..].copy_from_slice(&right.to_be_bytes());
    non_zero(XxHash3_64::oneshot(&bytes))
}

fn non_zero(value: u64) -> u64 {
    value.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_and_every_version_compute_the_same_key() {
        let sequence = SequencePair { client: 1, server: 2 };
        let key = exchange_key(sequence, 3, 0);
        assert_eq!(key, exchange_key(sequence, 3, 0));
        assert_ne!(key, exchange_key(SequencePair { client: 2, server: 1 }, 3, 0));
        assert_ne!(key, exchange_key(sequence, 4, 0));
        assert_ne!(key, exchange_key(sequence, 3, 1));
        assert_ne!(
            span_id_of_key(key, Side::Client),
            span_id_of_key(key, Side::Server)
        );
        // A change of this value breaks joins between agents of different versions.
        assert_eq!(key, 13_998_979_704_284_951_577);
    }
}
