//! Envelopes and segments of the CQL binary protocol.
//!
//! Enters: bytes. Leaves: what lies at their front. Bounded: no allocation. Source: Apache Cassandra,
//! doc/native_protocol_v1.spec to v5.spec.

use crate::protocol::Side;

/// Of an envelope, version 3 and later. Streams of earlier ones are numbered by one byte.
pub(super) const HEADER_BYTES: usize = 9;
const BODY_MAX_BYTES: u32 = 256 << 20;

pub(super) const COMPRESSED: u8 = 0x01;
pub(super) const TRACING: u8 = 0x02;
pub(super) const CUSTOM_PAYLOAD: u8 = 0x04;
pub(super) const WARNING: u8 = 0x08;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u8,
    pub(super) flags: u8,
    pub(super) stream: i16,
    pub(super) opcode: u8,
    pub(super) body_bytes: u32,
}

impl Header {
    /// Of the header alone.
    pub(super) fn own_bytes(self) -> usize {
        if self.version < 3 {
            HEADER_BYTES - 1
        } else {
            HEADER_BYTES
        }
    }

    /// Of the whole envelope.
    pub(super) fn bytes(self) -> u64 {
        self.own_bytes() as u64 + u64::from(self.body_bytes)
    }
}

/// `None`: too few bytes. `Some(None)`: no envelope of that side.
pub(super) fn header(side: Side, bytes: &[u8]) -> Option<Option<Header>> {
    let &version = bytes.first()?;
    let response = version & 0x80 != 0;
    if !(1..=5).contains(&(version & 0x7f)) || response != (side == Side::Server) {
        return Some(None);
    }
    let (stream, opcode, length) = if version & 0x7f < 3 {
        let &[_, _, stream, opcode, ref length @ ..] = bytes.first_chunk::<8>()?;
        (i16::from(stream as i8), opcode, *length)
    } else {
        let &[_, _, high, low, opcode, ref length @ ..] = bytes.first_chunk::<HEADER_BYTES>()?;
        (i16::from_be_bytes([high, low]), opcode, *length)
    };
    let found = Header {
        version: version & 0x7f,
        flags: bytes[1],
        stream,
        opcode,
        body_bytes: u32::from_be_bytes(length),
    };
    let fits = found.flags & !0x1f == 0
        && opcode_side(found.opcode) == Some(side)
        && found.body_bytes <= BODY_MAX_BYTES
        && (side == Side::Server || found.stream >= 0);
    Some(fits.then_some(found))
}

fn opcode_side(opcode: u8) -> Option<Side> {
    match opcode {
        0x01 | 0x04 | 0x05 | 0x07 | 0x09 | 0x0a | 0x0b | 0x0d | 0x0f => Some(Side::Client),
        0x00 | 0x02 | 0x03 | 0x06 | 0x08 | 0x0c | 0x0e | 0x10 => Some(Side::Server),
        _ => None,
    }
}

pub(super) fn opcode_name(opcode: u8) -> &'static str {
    match opcode {
        0x00 => "ERROR",
        0x01 => "STARTUP",
        0x02 => "READY",
        0x03 => "AUTHENTICATE",
        0x04 => "CREDENTIALS",
        0x05 => "OPTIONS",
        0x06 => "SUPPORTED",
        0x07 => "QUERY",
        0x08 => "RESULT",
        0x09 => "PREPARE",
        0x0a => "EXECUTE",
        0x0b => "REGISTER",
        0x0c => "EVENT",
        0x0d => "BATCH",
        0x0e => "AUTH_CHALLENGE",
        0x0f => "AUTH_RESPONSE",
        0x10 => "AUTH_SUCCESS",
        _ => "",
    }
}

/// A version 5 segment's header: what carries envelopes once the session is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) header_bytes: usize,
    pub(super) payload_bytes: u32,
    /// Of the payload before it was compressed; 0 where it is not.
    pub(super) inflated_bytes: u32,
    /// It holds whole envelopes; otherwise a part of one.
    pub(super) self_contained: bool,
}

/// Bytes of the checksum behind a segment's payload.
pub(super) const TRAILER_BYTES: u64 = 4;

/// `None`: too few bytes. `Some(None)`: the header's checksum does not fit. `compressed` segments have a longer header.
pub(super) fn segment(bytes: &[u8], compressed: bool) -> Option<Option<Segment>> {
    let length = if compressed { 5 } else { 3 };
    let header = bytes.get(..length + 3)?;
    let mut fields = [0; 8];
    fields[..length].copy_from_slice(&header[..length]);
    let fields = u64::from_le_bytes(fields);
    let checksum = u32::from_le_bytes([header[length], header[length + 1], header[length + 2], 0]);
    if crc24(&header[..length]) != checksum {
        return Some(None);
    }
    let self_contained = fields >> if compressed { 34 } else { 17 } & 1 == 1;
    Some(Some(Segment {
        header_bytes: length + 3,
        payload_bytes: (fields & 0x1_ffff) as u32,
        inflated_bytes: if compressed {
            (fields >> 17 & 0x1_ffff) as u32
        } else {
            0
        },
        self_contained,
    }))
}

/// The header checksum of version 5, over bytes in the order they are sent.
pub(super) fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x0087_5060, |checksum, &byte| {
        (0..8).fold(checksum ^ u32::from(byte) << 16, |checksum, _| {
            let shifted = checksum << 1;
            if shifted & 0x0100_0000 != 0 {
                shifted ^ 0x0197_4f0b
            } else {
                shifted
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_are_told_from_other_bytes() {
        let options = b"\x04\0\0\0\x05\0\0\0\0";
        assert_eq!(
            header(Side::Client, options)
                .flatten()
                .map(|header| (header.opcode, header.bytes())),
            Some((5, 9))
        );
        assert_eq!(header(Side::Server, options), Some(None));
        assert_eq!(header(Side::Client, b"\x04\0\0\0"), None);
        assert_eq!(header(Side::Client, b"\x04\0\0\0\x08\0\0\0\0"), Some(None));
    }

    #[test]
    fn segment_headers_are_checked() {
        let fields = (100u32 | 1 << 17).to_le_bytes();
        let mut bytes = fields[..3].to_vec();
        bytes.extend_from_slice(&crc24(&fields[..3]).to_le_bytes()[..3]);
        assert_eq!(
            segment(&bytes, false),
            Some(Some(Segment {
                header_bytes: 6,
                payload_bytes: 100,
                inflated_bytes: 0,
                self_contained: true
            }))
        );
        bytes[0] ^= 1;
        assert_eq!(segment(&bytes, false), Some(None));
        assert_eq!(segment(&bytes[..5], false), None);
    }
}
