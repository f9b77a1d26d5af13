//! Headers of the first record of a record batch (message format 2, Kafka documentation, "Record Batch").
//!
//! Enters: record batches, or their beginning. Leaves: trace headers. Bounded: one record, [`MAX_HEADERS`] headers.
//! Deliberately absent: compressed batches, older formats (they have no headers), keys and values.

use crate::protocol::PropagatedContext;
use crate::protocol::context::ContextReader;
use crate::protocol::reader::Reader;

const MAX_HEADERS: i64 = 128;
/// The only message format with headers.
const MAGIC: u8 = 2;

pub(super) fn context(records: &[u8]) -> Option<Box<PropagatedContext>> {
    let mut context = ContextReader::default();
    let _ = first_record(records, &mut context);
    context.finish()
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
    let is_compressed = attributes & 7 != 0;
    if is_compressed {
        return None;
    }
    // Last offset delta, two timestamps, producer id, epoch, sequence, count.
    reader.take(4 + 8 + 8 + 8 + 2 + 4 + 4)?;
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
        for cut in 0..batch.len() {
            assert_eq!(context(&batch[..cut]), None);
        }
        batch[22] = 1;
        assert_eq!(context(&batch), None, "compressed");
    }
}
