//! Protobuf fields, appended to bytes (Protocol Buffers' encoding specification; field numbers up to 15, whose keys take one
//! byte).
//!
//! Enters: field numbers and values. Leaves: bytes. Deliberately absent: any message. A message's length stands before its
//! content: it is written afterwards, into room left for it. Where it needs less, it is written with leading zeros, which
//! every decoder takes.

use prost::encoding::{encode_varint, encoded_len_varint};

const VARINT: u8 = 0;
const SIXTY_FOUR_BIT: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;

/// Bytes a field of so many bytes of content takes in all.
pub(super) fn delimited_bytes(content: usize) -> usize {
    1 + encoded_len_varint(content as u64) + content
}

/// A message field whose length is told by what `content` writes: `ROOM` bytes of room for it, up to 7 bits each.
pub(super) fn message<const ROOM: usize>(out: &mut Vec<u8>, field: u8, content: impl FnOnce(&mut Vec<u8>)) {
    key(out, field, LENGTH_DELIMITED);
    let start = out.len();
    out.extend_from_slice(&[0; ROOM]);
    content(out);
    let mut length = out.len() - start - ROOM;
    if length >> (7 * ROOM) != 0 {
        let mut exact = Vec::with_capacity(10);
        encode_varint(length as u64, &mut exact);
        out.splice(start..start + ROOM, exact);
        return;
    }
    for (place, byte) in out[start..start + ROOM].iter_mut().enumerate() {
        let more = if place + 1 < ROOM { 0x80 } else { 0 };
        *byte = (length & 0x7F) as u8 | more;
        length >>= 7;
    }
}

/// The beginning of a field with so many bytes of content.
pub(super) fn delimited(out: &mut Vec<u8>, field: u8, content: usize) {
    key(out, field, LENGTH_DELIMITED);
    number(out, content as u64);
}

pub(super) fn bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    delimited(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// Left out where it is empty, as protobuf does with plain fields.
pub(super) fn text(out: &mut Vec<u8>, field: u8, text: &str) {
    if !text.is_empty() {
        bytes(out, field, text.as_bytes());
    }
}

pub(super) fn varint(out: &mut Vec<u8>, field: u8, value: u64) {
    key(out, field, VARINT);
    number(out, value);
}

pub(super) fn fixed64(out: &mut Vec<u8>, field: u8, value: u64) {
    key(out, field, SIXTY_FOUR_BIT);
    out.extend_from_slice(&value.to_le_bytes());
}

fn key(out: &mut Vec<u8>, field: u8, wire_type: u8) {
    debug_assert!(field < 16, "its key takes more than one byte");
    out.push(field << 3 | wire_type);
}

#[inline]
fn number(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        encode_varint(value, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_need_less_or_more_than_their_room_are_read_alike() {
        for length in [0, 1, 127, 128, 20_000] {
            let mut out = Vec::new();
            message::<2>(&mut out, 3, |out| out.extend_from_slice(&vec![7; length]));
            let mut rest = &out[1..];
            assert_eq!(prost::encoding::decode_varint(&mut rest).unwrap(), length as u64);
            assert_eq!((out[0], rest.len()), (3 << 3 | 2, length));
        }
    }

    #[test]
    fn sizes_are_told_in_advance() {
        for length in [0, 1, 127, 128, 20_000] {
            let mut out = Vec::new();
            bytes(&mut out, 1, &vec![7; length]);
            assert_eq!(out.len(), delimited_bytes(length));
        }
    }
}
