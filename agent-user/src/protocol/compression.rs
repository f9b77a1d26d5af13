//! Compressed bodies, as far as they are at hand.
//!
//! Enters: compressed bytes, of which the end may be missing. Leaves: what they hold, up to a limit the caller states.
//! Bounded: by that limit, and zstd's windows by [`ZSTD_WINDOW_LOG_MAX`]. Deliberately absent: which protocol names which
//! algorithm how.
//!
//! Of a message only the beginning is captured, which is why snappy and LZ4 blocks are read here: the crates for them
//! refuse a block whose end is missing.

use std::io::Read;

use flate2::{Decompress, FlushDecompress};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// zstd windows of more than 8 MiB are refused; servers use less.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// The shortest match of an LZ4 sequence.
const LZ4_MATCH_MIN: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RFC 1950.
    Zlib,
    /// RFC 1952.
    Gzip,
    /// A block without framing: length, then elements.
    Snappy,
    /// A block without its length.
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// The first bytes of what `compressed` holds: at most `limit`, fewer where the compressed bytes end or are damaged.
pub(super) fn beginning(algorithm: Algorithm, compressed: &[u8], limit: usize) -> Vec<u8> {
    match algorithm {
        Algorithm::Zlib => streamed(Inflater::zlib(), compressed, limit),
        Algorithm::Gzip => gzip(compressed, limit),
        Algorithm::Zstd => {
            Inflater::zstd().map_or_else(Vec::new, |inflater| streamed(inflater, compressed, limit))
        }
        Algorithm::Snappy => snappy(compressed, limit),
        Algorithm::Lz4 => lz4(compressed, limit),
    }
}

fn streamed(mut inflater: Inflater, compressed: &[u8], limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = compressed;
    while out.len() < limit {
        let before = out.len();
        let Some(used) = inflater.inflate(rest, limit - out.len(), &mut out) else {
            break;
        };
        rest = &rest[used..];
        if used == 0 && out.len() == before {
            break;
        }
    }
    out
}

fn gzip(compressed: &[u8], limit: usize) -> Vec<u8> {
    let mut out = vec![0; limit];
    let mut decoder = flate2::bufread::GzDecoder::new(compressed);
    let mut filled = 0;
    // Damage or a missing end shows as an error behind what could be read.
    while let Ok(read @ 1..) = decoder.read(&mut out[filled..]) {
        filled += read;
    }
    out.truncate(filled);
    out
}

/// Inflates a stream piece by piece.
pub(super) enum Inflater {
    Zlib(Box<Decompress>),
    Zstd(Box<Decoder<'static>>),
}

impl Inflater {
    pub(super) fn zlib() -> Self {
        Self::Zlib(Box::new(Decompress::new(true)))
    }

    /// `None` where there is no memory for it.
    pub(super) fn zstd() -> Option<Self> {
        let mut decoder = Decoder::new().ok()?;
        decoder
            .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))
            .ok()?;
        Some(Self::Zstd(Box::new(decoder)))
    }

    /// Appends at most `limit` bytes to `out`; answers how many of `bytes` were used, `None` where they are damaged.
    pub(super) fn inflate(&mut self, bytes: &[u8], limit: usize, out: &mut Vec<u8>) -> Option<usize> {
        let start = out.len();
        out.resize(start + limit, 0);
        let (used, written) = match self {
            Self::Zlib(stream) => {
                let (before_in, before_out) = (stream.total_in(), stream.total_out());
                let result = stream.decompress(bytes, &mut out[start..], FlushDecompress::None);
                let moved = (
                    (stream.total_in() - before_in) as usize,
                    (stream.total_out() - before_out) as usize,
                );
                (result.is_ok().then_some(moved.0), moved.1)
            }
            Self::Zstd(decoder) => {
                let mut input = InBuffer::around(bytes);
                let mut output = OutBuffer::around(&mut out[start..]);
                let result = decoder.run(&mut input, &mut output);
                let written = output.pos();
                (result.is_ok().then_some(input.pos()), written)
            }
        };
        out.truncate(start + written);
        used
    }
}

/// Source: snappy's format_description.txt.
fn snappy(compressed: &[u8], limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(length) = compressed.iter().take(5).position(|byte| byte & 0x80 == 0) else {
        return out;
    };
    let mut rest = &compressed[length + 1..];
    while out.len() < limit
        && let Some((&tag, after)) = rest.split_first()
    {
        let high = usize::from(tag >> 2);
        let number = |count: usize| {
            let bytes = after.get(..count)?;
            Some(
                bytes
                    .iter()
                    .rev()
                    .fold(0, |number, &byte| number << 8 | usize::from(byte)),
            )
        };
        let (length, distance, used) = match tag & 3 {
            0 => {
                let extra = high.saturating_sub(59);
                let Some(stored) = number(extra) else { break };
                let length = if extra == 0 { high } else { stored } + 1;
                let literal = &after[extra.min(after.len())..];
                out.extend_from_slice(&literal[..length.min(literal.len()).min(limit - out.len())]);
                (0, 0, extra.saturating_add(length))
            }
            1 => match number(1) {
                Some(low) => ((high & 7) + 4, high >> 3 << 8 | low, 1),
                None => break,
            },
            kind => {
                let size = if kind == 2 { 2 } else { 4 };
                match number(size) {
                    Some(distance) => (high + 1, distance, size),
                    None => break,
                }
            }
        };
        if !repeat(&mut out, distance, length, limit) {
            break;
        }
        rest = after.get(used..).unwrap_or_default();
    }
    out
}

/// Source: LZ4's doc/lz4_Block_format.md.
fn lz4(compressed: &[u8], limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = compressed;
    while out.len() < limit
        && let Some((&token, after)) = rest.split_first()
    {
        let mut bytes = after;
        let literals = lz4_length(usize::from(token >> 4), &mut bytes);
        out.extend_from_slice(&bytes[..literals.min(bytes.len()).min(limit - out.len())]);
        let [low, high, after @ ..] = bytes.get(literals..).unwrap_or_default() else {
            break;
        };
        bytes = after;
        let length = lz4_length(usize::from(token & 15), &mut bytes) + LZ4_MATCH_MIN;
        if !repeat(
            &mut out,
            usize::from(u16::from_le_bytes([*low, *high])),
            length,
            limit,
        ) {
            break;
        }
        rest = bytes;
    }
    out
}

/// 15 says that bytes follow which are to be added, up to one that is not 255.
fn lz4_length(nibble: usize, bytes: &mut &[u8]) -> usize {
    let mut length = nibble;
    let mut goes_on = nibble == 15;
    while goes_on && let Some((&byte, rest)) = bytes.split_first() {
        length += usize::from(byte);
        goes_on = byte == 255;
        *bytes = rest;
    }
    length
}

/// Copies `length` bytes from `distance` before the end; false where there are not so many.
fn repeat(out: &mut Vec<u8>, distance: usize, length: usize, limit: usize) -> bool {
    if length == 0 {
        return true;
    }
    let Some(from) = out.len().checked_sub(distance).filter(|_| distance > 0) else {
        return false;
    };
    for at in from..from + length.min(limit.saturating_sub(out.len())) {
        out.push(out[at]);
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Algorithm; 5] = [
        Algorithm::Zlib,
        Algorithm::Gzip,
        Algorithm::Snappy,
        Algorithm::Lz4,
        Algorithm::Zstd,
    ];

    /// As the reference implementations compress it (Python's zlib, python-snappy 0.7, lz4 4.4, zstandard 0.25).
    fn text() -> Vec<u8> {
        b"select * from orders where id = 42; ".repeat(20)
    }

    fn compressed(algorithm: Algorithm) -> &'static [u8] {
        match algorithm {
            Algorithm::Zlib => ZLIB,
            Algorithm::Gzip => GZIP,
            Algorithm::Snappy => SNAPPY,
            Algorithm::Lz4 => LZ4,
            Algorithm::Zstd => ZSTD,
        }
    }

    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03+N\xcdIM.Q\xd0RH+\xca\xcfU\xc8/JI-*V(\xcfH-JU\xc8LQ\xb0U01\xb2V(\x1eU3\xaaf\x88\xa8\x01\x00\xd1\xa5n\x09\xd0\x02\x00\x00";
    const ZLIB: &[u8] = b"x\x9c+N\xcdIM.Q\xd0RH+\xca\xcfU\xc8/JI-*V(\xcfH-JU\xc8LQ\xb0U01\xb2V(\x1eU3\xaaf\x88\xa8\x01\x00\xfb\xc2\xe9\xfd";
    const SNAPPY: &[u8] = b"\xd0\x05\x90select * from orders where id = 42; s\xfe$\x00\xfe$\x00\xfe$\x00\xfe$\x00\xfe$\x00\xfe$\x00\xfe$\x00\xfe$\x00\xfe$\x00\xfe$\x00\xaa$\x00";
    const LZ4: &[u8] = b"\xff\x15select * from orders where id = 42; $\x00\xff\xff\x96P 42; ";
    const ZSTD: &[u8] =
        b"(\xb5/\xfd`\xd0\x01m\x01\x00D\x02select * from orders where id = 42; \x01\x00Lu*\xf5\x04";

    #[test]
    fn what_others_compressed_is_read() {
        for algorithm in ALL {
            assert!(
                beginning(algorithm, compressed(algorithm), 10_000) == text(),
                "{algorithm:?}"
            );
            assert_eq!(
                beginning(algorithm, compressed(algorithm), 10),
                b"select * f",
                "{algorithm:?}"
            );
        }
    }

    #[test]
    fn a_missing_end_costs_only_what_it_held() {
        for algorithm in [Algorithm::Zlib, Algorithm::Snappy, Algorithm::Lz4] {
            let whole = compressed(algorithm);
            for end in 0..whole.len() {
                let begun = beginning(algorithm, &whole[..end], 10_000);
                assert!(text().starts_with(&begun), "{algorithm:?} {end}");
            }
            let most = beginning(algorithm, &whole[..whole.len() - 5], 10_000);
            assert!(most.starts_with(b"select * from orders"), "{algorithm:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_stay_within_the_limit(bytes: Vec<u8>, limit in 0..5_000usize) {
            for algorithm in ALL {
                prop_assert!(beginning(algorithm, &bytes, limit).len() <= limit);
            }
        }

        #[test]
        fn damage_stays_within_the_limit(at in 0..60usize, byte: u8) {
            for algorithm in ALL {
                let mut bytes = compressed(algorithm).to_vec();
                let at = at % bytes.len();
                bytes[at] = byte;
                prop_assert!(beginning(algorithm, &bytes, 1_000).len() <= 1_000);
            }
        }
    }
}
