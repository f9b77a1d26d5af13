//! What requests and responses say.

use std::sync::Arc;

use compact_str::{CompactString, format_compact};

use super::frame::{self, CUSTOM_PAYLOAD, Header, TRACING, WARNING};
use crate::protocol::compression::{self, Algorithm};
use crate::protocol::reader::{Reader, lossy_text};
use crate::protocol::statement::{self, Dialect, Statement};

const ERROR_TEXT_MAX_BYTES: usize = 240;
const TEXT_MAX_BYTES: usize = 128;

/// A compressed body, as far as it is at hand. LZ4 comes with a length in front, whose first byte is 0 for anything below
/// 16 MiB; a snappy block that holds something begins with another.
pub(super) fn inflated(body: &[u8], limit: usize) -> Vec<u8> {
    match body {
        [0, _, _, _, block @ ..] => compression::beginning(Algorithm::Lz4, block, limit),
        _ => compression::beginning(Algorithm::Snappy, body, limit),
    }
}

/// A request, as far as it is at hand.
#[derive(Default)]
pub(super) struct Request {
    pub(super) operation: CompactString,
    pub(super) statement: Option<Arc<Statement>>,
    /// The id of a prepared statement that it executes.
    pub(super) prepared_id: Option<Vec<u8>>,
    pub(super) batch: Option<u16>,
    /// STARTUP asks for it.
    pub(super) compression: bool,
}

pub(super) fn request(header: Header, body: &[u8], keep_literals: bool) -> Request {
    let mut request = Request {
        operation: CompactString::const_new(frame::opcode_name(header.opcode)),
        ..Request::default()
    };
    let mut reader = Reader::new(body);
    if header.flags & CUSTOM_PAYLOAD != 0 {
        skip_bytes_map(&mut reader);
    }
    match header.opcode {
        0x01 => request.compression = memchr::memmem::find(body, b"COMPRESSION").is_some(),
        0x07 | 0x09 => {
            request.statement = long_text(&mut reader, keep_literals);
            let named =
                |statement: &&Arc<Statement>| header.opcode == 0x07 && !statement.operation.is_empty();
            if let Some(statement) = request.statement.as_ref().filter(named) {
                request.operation = statement.operation.clone();
            }
        }
        0x0a => request.prepared_id = short_bytes(&mut reader),
        0x0d => {
            let _kind = reader.u8();
            request.batch = reader.u16();
            match reader.u8() {
                Some(0) => request.statement = long_text(&mut reader, keep_literals),
                Some(1) => request.prepared_id = short_bytes(&mut reader),
                _ => {}
            }
        }
        _ => {}
    }
    request
}

fn long_text(reader: &mut Reader<'_>, keep_literals: bool) -> Option<Arc<Statement>> {
    let length = reader.u32()? as usize;
    let rest = reader.rest();
    let text = &rest[..length.min(rest.len())];
    Some(Arc::new(statement::normalise(
        text,
        Dialect::Cql,
        keep_literals,
        text.len() < length,
    )))
}

fn short_bytes(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let length = reader.u16()?;
    reader.take(usize::from(length)).map(<[u8]>::to_vec)
}

fn text<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.u16()?;
    reader.take(usize::from(length))
}

fn skip_bytes_map(reader: &mut Reader<'_>) -> Option<()> {
    for _ in 0..reader.u16()? {
        text(reader)?;
        let length = reader.u32()?;
        if length < u32::MAX {
            reader.take(length as usize)?;
        }
    }
    Some(())
}

/// A response, as far as it is at hand.
#[derive(Default)]
pub(super) struct Response {
    pub(super) status: CompactString,
    pub(super) error: Option<CompactString>,
    pub(super) prepared_id: Option<Vec<u8>>,
    pub(super) keyspace: Option<CompactString>,
    /// Of an event.
    pub(super) event: CompactString,
}

pub(super) fn response(header: Header, body: &[u8]) -> Response {
    let mut response = Response {
        status: CompactString::const_new(frame::opcode_name(header.opcode)),
        ..Response::default()
    };
    let mut reader = Reader::new(body);
    if header.flags & TRACING != 0 {
        reader.take(16);
    }
    if header.flags & WARNING != 0 {
        for _ in 0..reader.u16().unwrap_or(0) {
            if text(&mut reader).is_none() {
                break;
            }
        }
    }
    if header.flags & CUSTOM_PAYLOAD != 0 {
        skip_bytes_map(&mut reader);
    }
    match header.opcode {
        0x00 => error(&mut reader, &mut response),
        0x08 => result(&mut reader, &mut response),
        0x0c => response.event = text(&mut reader).map(shown).unwrap_or_default(),
        _ => {}
    }
    response
}

fn error(reader: &mut Reader<'_>, response: &mut Response) {
    let code = reader.u32().unwrap_or(0);
    let length = reader.u16().unwrap_or(0);
    let rest = reader.rest();
    let message = &rest[..usize::from(length).min(rest.len()).min(ERROR_TEXT_MAX_BYTES)];
    let message = String::from_utf8_lossy(message);
    // Syntax and validity errors quote the statement.
    let quotes = matches!(code, 0x2000 | 0x2200);
    let end = if quotes {
        message.find(['\'', '"', '('])
    } else {
        None
    };
    response.error = Some(CompactString::from(
        message[..end.unwrap_or(message.len())].trim_end(),
    ));
    response.status = format_compact!("0x{code:04X}");
}

fn result(reader: &mut Reader<'_>, response: &mut Response) {
    response.status = CompactString::const_new(match reader.u32() {
        Some(1) => "VOID",
        Some(2) => "ROWS",
        Some(3) => {
            response.keyspace = text(reader).map(shown);
            "SET_KEYSPACE"
        }
        Some(4) => {
            response.prepared_id = short_bytes(reader);
            "PREPARED"
        }
        Some(5) => "SCHEMA_CHANGE",
        _ => "RESULT",
    });
}

fn shown(text: &[u8]) -> CompactString {
    lossy_text(&text[..text.len().min(TEXT_MAX_BYTES)])
}
