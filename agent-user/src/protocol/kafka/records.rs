//! Headers of the first record of a record batch (message format 2, Kafka documentation, "Record Batch").
//!
//! Enters: record batches, or their beginning. Leaves: trace headers. Bounded: one record, [`MAX_HEADERS`] headers,
//! [`INFLATED_BYTES`] of a compressed batch. Deliberately absent: older formats (they have no headers), keys and values.

use crate::protocol::PropagatedContext;
use crate::protocol::compression::{self, Algorithm};
use crate::protocol::context::ContextReader;
use crate::protocol::reader::Reader;

const MAX_HEADERS: i64 = 128;
const INFLATED_BYTES: usize = 2048;
/// The only message format with headers.
const MAGIC: u8 = 2;

pub(super) fn context(records: &[u8]) -> Option<Box<PropagatedContext>> {
    let mut context = ContextReader::default();
    let _ = first_record(records, &mut context);
    context.finish()
}

/// That of a single record; several may each have another, and none speaks for all.
pub(super) fn context_of_only(records: &[u8]) -> Option<Box<PropagatedContext>> {
    let number = |at: usize| {
        records
            .get(at..)?
            .first_chunk()
            .map(|bytes| u32::from_be_bytes(*bytes))
    };
    let batch_bytes = u64::from(number(8)?) + 12;
    let is_alone = number(57)? == 1 && records.len() as u64 <= batch_bytes;
    is_alone.then(|| context(records)).flatten()
}

fn first_record(records: &[u8], context: &mut ContextReader) -> Option<()> {
    let mut reader = Reader::new(records);
    // Base offset, batch length and leader epoch; magic; checksum.
    reader.take(16)?;
    if reader.u8()? != MAGIC {
        return None;
    }
    reader.take(4)?;
    let attributes = reader.u16()?;
    // Last offset delta, two timestamps, producer id, epoch, sequence, count.
    reader.take(4 + 8 + 8 + 8 + 2 + 4 + 4)?;
    let inflated;
    if attributes & 7 != 0 {
        inflated = inflate(attributes & 7, reader.rest());
        reader = Reader::new(&inflated);
    }
    let (_length, _attributes) = (reader.zigzag()?, reader.u8()?);
    let (_time_delta, _offset_delta) = (reader.zigzag()?, reader.zigzag()?);
    text(&mut reader)?;
    text(&mut reader)?;
    for _ in 0..reader.zigzag()?.min(MAX_HEADERS) {
        let name = text(&mut reader)?;
        context.see(name, text(&mut reader)?);
    }
    Some(())
}

/// The beginning of a compressed batch's records; nothing where the codec is not known.
fn inflate(codec: u16, batch: &[u8]) -> Vec<u8> {
    /// Of snappy-java: magic, version, compatible version, and the length of the first block.
    const XERIAL_HEAD_BYTES: usize = 20;
    /// Of an LZ4 frame without its content's size: magic, flags, block size, checksum, and the length of the first block.
    const LZ4_HEAD_BYTES: usize = 11;
    const LZ4_CONTENT_SIZE: u8 = 1 << 3;
    /// The block is stored as it is.
    const LZ4_STORED: u8 = 1 << 7;
    let (algorithm, at) = match codec {
        1 => (Algorithm::Gzip, 0),
        2 if batch.starts_with(b"\x82SNAPPY\0") => (Algorithm::Snappy, XERIAL_HEAD_BYTES),
        2 => (Algorithm::Snappy, 0),
        3 => {
            let has_size = batch.get(4).is_some_and(|flags| flags & LZ4_CONTENT_SIZE != 0);
            let at = LZ4_HEAD_BYTES + if has_size { 8 } else { 0 };
            if batch.get(at - 1).is_some_and(|length| length & LZ4_STORED != 0) {
                return batch[at..batch.len().min(at + INFLATED_BYTES)].to_vec();
            }
            (Algorithm::Lz4, at)
        }
        4 => (Algorithm::Zstd, 0),
        _ => return Vec::new(),
    };
    compression::beginning(algorithm, batch.get(at..).unwrap_or_default(), INFLATED_BYTES)
}

/// Bytes behind a signed length; -1 stands for none.
fn text<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.zigzag()?;
    reader.take(usize::try_from(length.max(0)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_trace_header_of_the_first_record() {
        let mut batch = vec![0; 61];
        batch[16] = MAGIC;
        batch.extend(b"\x00\x00\x00\x00\x01\x0avalue\x02\x16traceparent\x6e");
        batch.extend(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(context(&batch).unwrap().span_id, 0x00f0_67aa_0ba9_02b7);
        assert_eq!(context_of_only(&batch), None);
        (batch[11], batch[60]) = (batch.len() as u8 - 12, 1);
        assert_eq!(context_of_only(&batch), context(&batch));
        (batch[11], batch[60]) = (batch[11] - 1, 1);
        assert_eq!(context_of_only(&batch), None, "another batch follows");
        for cut in 0..batch.len() {
            assert_eq!(context(&batch[..cut]), None);
        }
    }

    #[test]
    fn finds_it_in_compressed_batches() {
        let records = b"\x00\x00\x00\x00\x01\x0avalue\x02\x16traceparent\x6e00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, records).unwrap();
        let length = records.len() as u8;
        let snappy = [&[length, 60 << 2, length - 1][..], records].concat();
        let xerial = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x64"[..], &snappy].concat();
        let lz4 = [
            &b"\x04\x22\x4d\x18\x60\x40\x82\x60\0\0\0\xf0"[..],
            &[length - 15],
            records,
        ]
        .concat();
        let zstd = zstd::bulk::compress(records, 1).unwrap();
        for (codec, compressed) in [
            (1, gzip.finish().unwrap()),
            (2, snappy),
            (2, xerial),
            (3, lz4),
            (4, zstd),
        ] {
            let mut batch = vec![0; 61];
            (batch[16], batch[22]) = (MAGIC, codec);
            batch.extend(compressed);
            assert_eq!(context(&batch).unwrap().span_id, 0x00f0_67aa_0ba9_02b7, "{codec}");
        }
    }
}
