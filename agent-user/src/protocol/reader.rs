//! Reads numbers and strings of binary protocols; never beyond what is there.
//!
//! Enters: bytes at hand. Leaves: values, or `None` where the bytes end before them. Bounded: copies nothing.
//! Deliberately absent: any protocol.

use compact_str::CompactString;

/// Bytes as text, if they are UTF-8. Most are ASCII, which shows in a few instructions; of short texts that begin anywhere
/// the library looks at nearly every byte by itself.
#[inline]
pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    if is_ascii(bytes) {
        // SAFETY: ASCII is UTF-8.
        return Some(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    std::str::from_utf8(bytes).ok()
}

#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks();
    let words = words.iter().fold(0, |all, word| all | u64::from_ne_bytes(*word));
    let rest = rest.iter().fold(0, |all, byte| all | byte);
    words & 0x8080_8080_8080_8080 == 0 && rest < 0x80
}

/// Bytes as text; what is no UTF-8 becomes U+FFFD. (`CompactString::from_utf8_lossy` takes ten times as long: it goes
/// character by character.)
pub(super) fn lossy_text(bytes: &[u8]) -> CompactString {
    match text(bytes) {
        Some(text) => CompactString::new(text),
        None => CompactString::from_utf8_lossy(bytes),
    }
}

/// A place in some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset from the first byte this reader was made with.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(array)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// Base-128 with the least significant group first, at most 64 bits (Kafka, Thrift compact, protocol buffers).
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// As [`Reader::varint`], with the sign in the lowest bit.
    pub(super) fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_up_to_the_end_and_not_beyond() {
        let mut reader = Reader::new(&[1, 0, 2, 0xff, 0xff, 0xff, 0xfe, 9]);
        assert_eq!(
            (reader.u8(), reader.u16(), reader.i32()),
            (Some(1), Some(2), Some(-2))
        );
        assert_eq!(
            (reader.u16(), reader.take(2), reader.take(usize::MAX)),
            (None, None, None)
        );
        assert_eq!(
            (reader.at(), reader.rest(), reader.u8()),
            (7, [9].as_slice(), Some(9))
        );
        assert!(reader.is_empty() && reader.u8().is_none());
    }

    #[test]
    fn text_is_what_the_library_says() {
        for length in 0..40 {
            for place in 0..length {
                for byte in [0, 0x7f, 0x80, 0xc3, 0xff] {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    assert_eq!(text(&bytes), std::str::from_utf8(&bytes).ok());
                }
            }
        }
        assert_eq!(text("zwölf Boxkämpfer".as_bytes()), Some("zwölf Boxkämpfer"));
    }

    #[test]
    fn reads_variable_lengths() {
        assert_eq!(Reader::new(&[0xac, 2]).varint(), Some(300));
        assert_eq!(Reader::new(&[3]).zigzag(), Some(-2));
        assert_eq!(Reader::new(&[0xff; 11]).varint(), None);
        assert_eq!(Reader::new(&[0x80]).varint(), None);
    }
}
