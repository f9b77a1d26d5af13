//! AMQP 0-9-1 frames and content headers (specification, sections 2.3.5 and 2.3.5.2).
//!
//! Enters: bytes that begin with a frame. Leaves: [`Frame`]s, [`ContentHeader`]s. Bounded: copies nothing;
//! [`MAX_ENTRIES`] entries of a table are looked at. Deliberately absent: what methods mean.

use crate::protocol::context::ContextReader;
use crate::protocol::reader::Reader;

pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;
pub(super) const HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xce;
/// Type, channel and size.
pub(super) const FRAME_HEADER_BYTES: usize = 7;
/// Frame sizes beyond this are not believed; servers offer 128 KiB.
const MAX_FRAME_BYTES: u32 = 16 << 20;
/// Entries of a header table that are looked at.
const MAX_ENTRIES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) kind: u8,
    pub(super) channel: u16,
    pub(super) size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    NeedMore,
    Broken,
    Frame(FrameHead),
}

impl FrameHead {
    /// With its header and end.
    pub(super) fn total_bytes(self) -> usize {
        FRAME_HEADER_BYTES + self.size + 1
    }

    /// The payload; `None` where the frame is not there as a whole.
    pub(super) fn payload(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes
            .get(FRAME_HEADER_BYTES..self.total_bytes())
            .map(|rest| &rest[..self.size])
    }
}

/// Reads the header of the frame `bytes` begin with, and its end where that is at hand.
pub(super) fn head(bytes: &[u8]) -> Head {
    let mut reader = Reader::new(bytes);
    match reader.u8() {
        None => return Head::NeedMore,
        Some(METHOD | HEADER | BODY | HEARTBEAT) => {}
        Some(_) => return Head::Broken,
    }
    let (Some(channel), Some(size)) = (reader.u16(), reader.u32()) else {
        return Head::NeedMore;
    };
    let kind = bytes[0];
    let fits = match kind {
        HEARTBEAT => channel == 0 && size == 0,
        METHOD => size >= 4,
        // Content travels on channels of its own.
        HEADER => size >= 14 && channel != 0,
        _ => channel != 0,
    };
    let frame = FrameHead {
        kind,
        channel,
        size: size as usize,
    };
    let ends = bytes
        .get(frame.total_bytes() - 1)
        .is_none_or(|end| *end == FRAME_END);
    if fits && size <= MAX_FRAME_BYTES && ends {
        Head::Frame(frame)
    } else {
        Head::Broken
    }
}

/// A short string: one byte of length.
pub(super) fn short_text<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let length = reader.u8()?;
    std::str::from_utf8(reader.take(length.into())?).ok()
}

/// What a content header says.
#[derive(Debug, Default)]
pub(super) struct ContentHeader<'a> {
    pub(super) body_bytes: u64,
    pub(super) correlation_id: Option<&'a str>,
    pub(super) message_id: Option<&'a str>,
    pub(super) context: ContextReader,
}

/// Reads the payload of a header frame. Properties behind one that breaks the format are left out.
pub(super) fn content_header(payload: &[u8]) -> Option<ContentHeader<'_>> {
    let mut reader = Reader::new(payload);
    let (_class, _weight) = (reader.u16()?, reader.u16()?);
    let mut header = ContentHeader {
        body_bytes: reader.u64()?,
        ..ContentHeader::default()
    };
    let flags = reader.u16()?;
    // A set lowest bit would announce more flags; no property of this version needs them.
    if flags & 1 == 0 {
        let _ = properties(flags, &mut reader, &mut header);
    }
    Some(header)
}

fn properties<'a>(flags: u16, reader: &mut Reader<'a>, header: &mut ContentHeader<'a>) -> Option<()> {
    let has = |bit: u16| flags & (1 << bit) != 0;
    for _content_type_and_encoding in (14..=15).filter(|bit| has(*bit)) {
        short_text(reader)?;
    }
    if has(13) {
        table(reader, &mut header.context)?;
    }
    for _delivery_mode_and_priority in (11..=12).filter(|bit| has(*bit)) {
        reader.u8()?;
    }
    if has(10) {
        header.correlation_id = Some(short_text(reader)?);
    }
    for _reply_to_and_expiration in (8..=9).filter(|bit| has(*bit)) {
        short_text(reader)?;
    }
    if has(7) {
        header.message_id = Some(short_text(reader)?);
    }
    Some(())
}

/// A field table: looks for trace headers among its strings.
fn table(reader: &mut Reader<'_>, context: &mut ContextReader) -> Option<()> {
    let length = reader.u32()?;
    let mut entries = Reader::new(reader.take(usize::try_from(length).ok()?)?);
    for _ in 0..MAX_ENTRIES {
        if entries.is_empty() {
            break;
        }
        let name_length = entries.u8()?;
        let name = entries.take(name_length.into())?;
        if let Some(text) = value(&mut entries)? {
            context.see(name, text);
        }
    }
    Some(())
}

/// A field value; its bytes where it is a string. Types as RabbitMQ reads them.
fn value<'a>(reader: &mut Reader<'a>) -> Option<Option<&'a [u8]>> {
    let kind = reader.u8()?;
    let fixed = match kind {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' | b'U' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'L' | b'l' | b'd' | b'T' => 8,
        b'S' | b'x' | b'A' | b'F' => {
            let length = reader.u32()?;
            let bytes = reader.take(usize::try_from(length).ok()?)?;
            return Some((kind == b'S').then_some(bytes));
        }
        _ => return None,
    };
    reader.take(fixed).map(|_| None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_an_end() {
        let bytes = b"\x01\0\x01\0\0\0\x04\0\x14\0\x0a\xce";
        let frame = FrameHead {
            kind: METHOD,
            channel: 1,
            size: 4,
        };
        assert_eq!(head(bytes), Head::Frame(frame));
        assert_eq!(
            (frame.payload(bytes), frame.payload(&bytes[..11])),
            (Some(&bytes[7..11]), None)
        );
        assert_eq!(head(&bytes[..6]), Head::NeedMore);
        assert_eq!(head(b"\x01\0\x01\0\0\0\x04\0\x14\0\x0a\xcd"), Head::Broken);
        assert_eq!(head(b"\x02\0\0\0\0\0\x0e"), Head::Broken, "content on channel 0");
    }

    #[test]
    fn a_content_header_with_every_property() {
        let mut payload = b"\0\x3c\0\0\0\0\0\0\0\0\0\x05\xff\xfc\x01t\x01e".to_vec();
        let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut entries = b"\x01nI\0\0\0\x01\x0btraceparentS\0\0\0\x37".to_vec();
        entries.extend(parent);
        payload.extend((entries.len() as u32).to_be_bytes());
        payload.extend(&entries);
        payload.extend(b"\x02\0\x02c1\x01r\x01x\x02m1\0\0\0\0\0\0\0\x01\x01y\x01u\x01a\0");
        let header = content_header(&payload).unwrap();
        assert_eq!(
            (header.body_bytes, header.correlation_id, header.message_id),
            (5, Some("c1"), Some("m1"))
        );
        assert_eq!(header.context.finish().unwrap().span_id, 0x00f0_67aa_0ba9_02b7);
        for cut in 14..payload.len() {
            assert!(content_header(&payload[..cut]).is_some());
        }
    }
}
