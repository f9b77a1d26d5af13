//! The beginning of a Thrift message, whatever transport and encoding it came in (Thrift specification, "Thrift Remote
//! Procedure Call"; "THeader").
//!
//! Enters: bytes that begin with a message. Leaves: [`Header`]s. Bounded: copies nothing; names up to
//! [`MAX_NAME_BYTES`]. Deliberately absent: arguments and results.

use super::json;
use crate::protocol::compression::Algorithm;
use crate::protocol::reader::Reader;

const MAX_NAME_BYTES: usize = 512;
/// Frames above this are not believed; the libraries refuse them from 16 MiB to 256 MiB on.
const MAX_FRAME_BYTES: u32 = 256 << 20;
const HEADER_MAGIC: u16 = 0x0fff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Reply,
    Exception,
    OneWay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Binary,
    Compact,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) kind: Kind,
    pub(super) encoding: Encoding,
    /// The binary encoding carries its version.
    pub(super) strict: bool,
    pub(super) name: &'a str,
    pub(super) sequence: u32,
    /// Where arguments or result begin.
    pub(super) body_at: usize,
    /// Length of the frame, its size in front included; `None` where there are no frames.
    pub(super) frame_bytes: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    NeedMore,
    Broken,
    /// A frame whose content is transformed.
    Sealed(Sealed),
    Header(Header<'a>),
}

/// A message that is compressed behind its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) frame_bytes: usize,
    pub(super) message_at: usize,
    /// `None` for a transformation that is not known, and for several.
    pub(super) algorithm: Option<Algorithm>,
}

/// Reads the header of an unsealed message.
pub(super) fn unsealed(bytes: &[u8]) -> Read<'_> {
    message(bytes, 0, None)
}

/// Reads the header `bytes` begin with.
pub(super) fn read(bytes: &[u8]) -> Read<'_> {
    let Some(first) = bytes.first_chunk::<4>() else {
        return Read::NeedMore;
    };
    match first {
        [0x80, 1, ..] => message(bytes, 0, None),
        [0x82, version, ..] if version & 0x1f == 1 => message(bytes, 0, None),
        [b'[', b'1', b',', b'"'] => json_message(bytes, 0, None),
        _ => {
            let length = u32::from_be_bytes(*first);
            let unframed = old_message(bytes, 0, None);
            if matches!(unframed, Read::Header(_)) {
                return unframed;
            }
            let framed = if (8..=MAX_FRAME_BYTES).contains(&length) {
                framed(bytes, length as usize + 4)
            } else {
                Read::Broken
            };
            match (framed, unframed) {
                (Read::Broken, unframed) => unframed,
                (framed, _) => framed,
            }
        }
    }
}

fn framed(bytes: &[u8], frame_bytes: usize) -> Read<'_> {
    let Some(magic) = bytes.get(4..6) else {
        return Read::NeedMore;
    };
    if u16::from_be_bytes([magic[0], magic[1]]) == HEADER_MAGIC {
        return with_headers(bytes, frame_bytes);
    }
    let inner = &bytes[..bytes.len().min(frame_bytes)];
    match inner[4] {
        0x80 | 0x82 => message(inner, 4, Some(frame_bytes)),
        b'[' => json_message(inner, 4, Some(frame_bytes)),
        _ => old_message(inner, 4, Some(frame_bytes)),
    }
}

/// THeader: flags, sequence number, then a header whose size is given in words.
fn with_headers(bytes: &[u8], frame_bytes: usize) -> Read<'_> {
    let mut reader = Reader::new(&bytes[..bytes.len().min(frame_bytes)]);
    let Some(words) = reader.take(12).and_then(|_| reader.u16()) else {
        return Read::NeedMore;
    };
    let header_at = reader.at();
    let message_at = header_at + usize::from(words) * 4;
    if message_at >= frame_bytes {
        return Read::Broken;
    }
    let (Some(protocol), Some(transforms)) = (reader.varint(), reader.varint()) else {
        return Read::NeedMore;
    };
    if transforms > 0 {
        let Some(transform) = reader.varint() else {
            return Read::NeedMore;
        };
        let algorithm = match (transforms, transform) {
            (1, 1) => Some(Algorithm::Zlib),
            (1, 3) => Some(Algorithm::Snappy),
            (1, 5) => Some(Algorithm::Zstd),
            _ => None,
        };
        return Read::Sealed(Sealed {
            frame_bytes,
            message_at,
            algorithm,
        });
    }
    if bytes.len() < message_at {
        return Read::NeedMore;
    }
    let inner = &bytes[..bytes.len().min(frame_bytes)];
    match protocol {
        0 | 2 => message(inner, message_at, Some(frame_bytes)),
        _ => Read::Broken,
    }
}

fn message(bytes: &[u8], at: usize, frame_bytes: Option<usize>) -> Read<'_> {
    match bytes.get(at..at + 2) {
        None => Read::NeedMore,
        Some([0x80, 1]) => strict_message(bytes, at, frame_bytes),
        Some([0x82, version]) if version & 0x1f == 1 => compact_message(bytes, at, frame_bytes),
        Some(_) => Read::Broken,
    }
}

fn strict_message(bytes: &[u8], at: usize, frame_bytes: Option<usize>) -> Read<'_> {
    let mut reader = Reader::new(bytes);
    let (Some(_), Some(version)) = (reader.take(at), reader.u32()) else {
        return Read::NeedMore;
    };
    let Some(kind) = kind((version & 0xff) as u8).filter(|_| version & 0xff00 == 0) else {
        return Read::Broken;
    };
    let Some(length) = reader.u32() else {
        return Read::NeedMore;
    };
    let name = match name(&mut reader, u64::from(length)) {
        Ok(name) => name,
        Err(stopped) => return stopped,
    };
    let Some(sequence) = reader.u32() else {
        return Read::NeedMore;
    };
    let body_at = reader.at();
    Read::Header(Header {
        kind,
        encoding: Encoding::Binary,
        strict: true,
        name,
        sequence,
        body_at,
        frame_bytes,
    })
}

/// The binary encoding without version: length of the name, name, type, sequence number.
fn old_message(bytes: &[u8], at: usize, frame_bytes: Option<usize>) -> Read<'_> {
    let mut reader = Reader::new(bytes);
    let (Some(_), Some(length)) = (reader.take(at), reader.u32()) else {
        return Read::NeedMore;
    };
    let name = match name(&mut reader, u64::from(length)) {
        Ok(name) => name,
        Err(stopped) => return stopped,
    };
    let Some(number) = reader.u8() else {
        return Read::NeedMore;
    };
    let Some(kind) = kind(number) else {
        return Read::Broken;
    };
    let Some(sequence) = reader.u32() else {
        return Read::NeedMore;
    };
    let body_at = reader.at();
    Read::Header(Header {
        kind,
        encoding: Encoding::Binary,
        strict: false,
        name,
        sequence,
        body_at,
        frame_bytes,
    })
}

fn compact_message(bytes: &[u8], at: usize, frame_bytes: Option<usize>) -> Read<'_> {
    let mut reader = Reader::new(bytes);
    let (Some(_), Some(version)) = (reader.take(at + 1), reader.u8()) else {
        return Read::NeedMore;
    };
    let Some(kind) = kind(version >> 5) else {
        return Read::Broken;
    };
    let (Some(sequence), Some(length)) = (reader.varint(), reader.varint()) else {
        return Read::NeedMore;
    };
    let name = match name(&mut reader, length) {
        Ok(name) => name,
        Err(stopped) => return stopped,
    };
    let (sequence, body_at) = (sequence as u32, reader.at());
    Read::Header(Header {
        kind,
        encoding: Encoding::Compact,
        strict: true,
        name,
        sequence,
        body_at,
        frame_bytes,
    })
}

fn json_message(bytes: &[u8], at: usize, frame_bytes: Option<usize>) -> Read<'_> {
    let inner = bytes.get(at..).unwrap_or_default();
    let Some(head) = json::head(inner) else {
        let is_over = inner.len() > MAX_NAME_BYTES || frame_bytes.is_some_and(|frame| bytes.len() >= frame);
        return if is_over { Read::Broken } else { Read::NeedMore };
    };
    match (
        kind(head.kind),
        name(&mut Reader::new(head.name), head.name.len() as u64),
    ) {
        (Some(kind), Ok(name)) => Read::Header(Header {
            kind,
            encoding: Encoding::Json,
            strict: true,
            name,
            sequence: head.sequence,
            body_at: at + head.body_at,
            frame_bytes,
        }),
        _ => Read::Broken,
    }
}

fn kind(number: u8) -> Option<Kind> {
    Some(match number {
        1 => Kind::Call,
        2 => Kind::Reply,
        3 => Kind::Exception,
        4 => Kind::OneWay,
        _ => return None,
    })
}

/// A method's name: an identifier, behind its service's where several share a connection.
fn name<'a>(reader: &mut Reader<'a>, length: u64) -> Result<&'a str, Read<'a>> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_NAME_BYTES {
        return Err(Read::Broken);
    }
    let is_name =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-' | b'/' | b'$');
    let at_hand = &reader.rest()[..length.min(reader.rest().len())];
    if !at_hand.iter().all(is_name) || length == 0 {
        return Err(Read::Broken);
    }
    let bytes = reader.take(length).ok_or(Read::NeedMore)?;
    std::str::from_utf8(bytes).map_err(|_| Read::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_send_a_call() {
        let strict = b"\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x07\0".as_slice();
        let old = b"\0\0\0\x04ping\x01\0\0\0\x07\0".as_slice();
        let compact = b"\x82\x21\x07\x04ping\0".as_slice();
        let headers = b"\x0f\xff\0\0\0\0\0\x07\0\x01\0\0\0\0".as_slice();
        let with_headers = [headers, strict].concat();
        for message in [strict, old, compact, &with_headers] {
            for is_framed in [false, true] {
                let length = (message.len() as u32).to_be_bytes();
                let bytes = if is_framed {
                    [&length, message].concat()
                } else {
                    message.to_vec()
                };
                if !is_framed && message[0] == 0x0f {
                    continue;
                }
                let Read::Header(header) = read(&bytes) else {
                    panic!("{bytes:02x?}")
                };
                assert_eq!(
                    (header.name, header.sequence, header.kind),
                    ("ping", 7, Kind::Call)
                );
                assert_eq!(header.frame_bytes, is_framed.then_some(bytes.len()));
                assert_eq!(header.body_at, bytes.len() - 1);
                for cut in 0..header.body_at {
                    assert!(
                        matches!(read(&bytes[..cut]), Read::NeedMore),
                        "{cut} of {bytes:02x?}"
                    );
                }
            }
        }
    }

    #[test]
    fn compressed_frames_are_sealed() {
        for (transform, algorithm) in [(1, Some(Algorithm::Zlib)), (4, None)] {
            let bytes = [
                &b"\0\0\0\x14\x0f\xff\0\0\0\0\0\x07\0\x01\0\x01"[..],
                &[transform],
                b"\0........",
            ]
            .concat();
            let sealed = Sealed {
                frame_bytes: 24,
                message_at: 18,
                algorithm,
            };
            assert_eq!(read(&bytes), Read::Sealed(sealed));
        }
    }

    #[test]
    fn json_names_its_call() {
        let bytes = b"[1,\"Calc:add\",1,7,{\"1\":{\"i32\":1}}]";
        for at in [0, 4] {
            let bytes = [&(bytes.len() as u32).to_be_bytes()[..at], bytes].concat();
            let Read::Header(header) = read(&bytes) else {
                panic!("{bytes:?}")
            };
            assert_eq!(
                (header.name, header.sequence, header.kind),
                ("Calc:add", 7, Kind::Call)
            );
            for cut in 0..header.body_at {
                assert_eq!(read(&bytes[..cut]), Read::NeedMore, "{cut}");
            }
        }
    }
}
