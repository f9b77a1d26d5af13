//! The header of a request, with the size in front of it (KIP-482, "Request Header").

use super::schema::{self, Api};
use crate::protocol::reader::Reader;

/// Brokers refuse requests above 100 MiB by default.
const MAX_SIZE: i32 = 512 << 20;
const MAX_CLIENT_ID_BYTES: usize = 512;
/// Versions newer than the description by more than this are not believed.
const FUTURE_VERSIONS: i16 = 4;

pub(super) struct RequestHeader<'a> {
    pub(super) api: &'static Api,
    pub(super) key: i16,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    pub(super) client_id: &'a str,
    /// Bytes of the message, its size in front included.
    pub(super) total_bytes: usize,
    /// Where the body begins.
    pub(super) body_at: usize,
}

pub(super) enum Read<'a> {
    NeedMore,
    Broken,
    Header(RequestHeader<'a>),
}

/// Reads the request header `bytes` begin with.
pub(super) fn read(bytes: &[u8]) -> Read<'_> {
    let total_bytes = total_bytes(bytes);
    let is_whole = bytes.len() >= total_bytes;
    let mut reader = Reader::new(&bytes[..bytes.len().min(total_bytes)]);
    match size(&mut Reader::new(bytes)) {
        None => return Read::NeedMore,
        Some(size) if !(8..=MAX_SIZE).contains(&size) => return Read::Broken,
        Some(_) => drop(reader.take(4)),
    }
    let Some(key) = reader.i16() else {
        return Read::NeedMore;
    };
    let Some(api) = schema::find(key) else {
        return Read::Broken;
    };
    let Some(version) = reader.i16() else {
        return Read::NeedMore;
    };
    if !(0..=api.newest + FUTURE_VERSIONS).contains(&version) {
        return Read::Broken;
    }
    let Some(correlation_id) = reader.i32() else {
        return Read::NeedMore;
    };
    // Version 0 of ControlledShutdown alone has no client id.
    let has_client_id = !(key == 7 && version == 0);
    let mut client_id = "";
    if has_client_id {
        let Some(length) = reader.i16() else {
            return if is_whole { Read::Broken } else { Read::NeedMore };
        };
        let length = usize::try_from(length.max(0)).unwrap_or_default();
        if length > MAX_CLIENT_ID_BYTES || reader.at() + length > total_bytes {
            return Read::Broken;
        }
        let Some(text) = reader.take(length) else {
            return if is_whole { Read::Broken } else { Read::NeedMore };
        };
        match std::str::from_utf8(text) {
            Ok(text) if !text.chars().any(char::is_control) => client_id = text,
            _ => return Read::Broken,
        }
    }
    if api.is_flexible(version) && skip_tags(&mut reader).is_none() {
        return if is_whole { Read::Broken } else { Read::NeedMore };
    }
    let body_at = reader.at();
    Read::Header(RequestHeader {
        api,
        key,
        version,
        correlation_id,
        client_id,
        total_bytes,
        body_at,
    })
}

fn size(reader: &mut Reader<'_>) -> Option<i32> {
    reader.i32()
}

/// Bytes of the message that begins here, its size included; 0 where not even that is there.
pub(super) fn total_bytes(bytes: &[u8]) -> usize {
    let size = Reader::new(bytes).i32().unwrap_or(-4);
    usize::try_from(size).map_or(0, |size| size + 4)
}

pub(super) fn is_size_plausible(bytes: &[u8]) -> bool {
    size(&mut Reader::new(bytes)).is_some_and(|size| (4..=MAX_SIZE).contains(&size))
}

/// Steps over tagged fields.
pub(super) fn skip_tags(reader: &mut Reader<'_>) -> Option<()> {
    for _ in 0..reader.varint()?.min(64) {
        reader.varint()?;
        let length = reader.varint()?;
        reader.take(usize::try_from(length).ok()?)?;
    }
    Some(())
}
