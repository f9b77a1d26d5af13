//! Packets of the MySQL protocol: a length, a sequence number, a payload; and how clients and servers begin.
//!
//! Enters: bytes. Leaves: what lies at their front. Bounded: no allocation. Source: MySQL internals, "Client/Server
//! Protocol"; MariaDB knowledge base, "Client/Server Protocol".

pub(super) const HEAD_BYTES: usize = 4;
/// A payload of this length goes on in the next packet.
pub(super) const LONGEST_PAYLOAD: usize = 0xff_ffff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) sequence: u8,
    pub(super) payload_bytes: usize,
}

impl Head {
    /// Of the whole packet.
    pub(super) fn bytes(self) -> usize {
        HEAD_BYTES + self.payload_bytes
    }
}

pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let head = bytes.first_chunk::<HEAD_BYTES>()?;
    let payload_bytes = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
    Some(Head {
        sequence: head[3],
        payload_bytes,
    })
}

/// A length-encoded integer and its size.
pub(super) fn integer(bytes: &[u8]) -> Option<(u64, usize)> {
    let wide = |count: usize| {
        let mut value = [0; 8];
        value[..count].copy_from_slice(bytes.get(1..1 + count)?);
        Some((u64::from_le_bytes(value), 1 + count))
    };
    match bytes.first()? {
        0xfc => wide(2),
        0xfd => wide(3),
        0xfe => wide(8),
        0xfb | 0xff => None,
        &small => Some((u64::from(small), 1)),
    }
}

pub(super) const CLIENT_CONNECT_WITH_DB: u32 = 1 << 3;
pub(super) const CLIENT_COMPRESS: u32 = 1 << 5;
pub(super) const CLIENT_PROTOCOL_41: u32 = 1 << 9;
pub(super) const CLIENT_SSL: u32 = 1 << 11;
pub(super) const CLIENT_SECURE_CONNECTION: u32 = 1 << 15;
pub(super) const CLIENT_AUTH_LENENC: u32 = 1 << 21;
pub(super) const CLIENT_DEPRECATE_EOF: u32 = 1 << 24;
pub(super) const CLIENT_ZSTD: u32 = 1 << 26;

/// What a client's first packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Login<'a> {
    pub(super) capabilities: u32,
    pub(super) database: &'a [u8],
}

/// `payload` may be cut off behind the fixed part; an SSLRequest is nothing but that.
pub(super) fn login(payload: &[u8]) -> Option<Login<'_>> {
    let capabilities = u32::from_le_bytes(*payload.first_chunk()?);
    if capabilities & CLIENT_PROTOCOL_41 == 0 {
        // The 3.20 form: 16 bits of capabilities, 24 of packet size.
        return (payload.len() >= 6).then_some(Login {
            capabilities: capabilities & 0xffff,
            database: b"",
        });
    }
    let filler = payload.get(9..28)?;
    if filler.iter().any(|&byte| byte != 0) {
        return None;
    }
    let database = if capabilities & CLIENT_CONNECT_WITH_DB != 0 {
        login_database(payload, capabilities)
    } else {
        None
    };
    Some(Login {
        capabilities,
        database: database.unwrap_or_default(),
    })
}

fn login_database(payload: &[u8], capabilities: u32) -> Option<&[u8]> {
    let rest = payload.get(32..)?;
    let rest = &rest[memchr::memchr(0, rest)? + 1..];
    let after_password = if capabilities & CLIENT_AUTH_LENENC != 0 {
        let (length, size) = integer(rest)?;
        rest.get(size + length as usize..)?
    } else if capabilities & CLIENT_SECURE_CONNECTION != 0 {
        rest.get(1 + usize::from(*rest.first()?)..)?
    } else {
        &rest[memchr::memchr(0, rest)? + 1..]
    };
    Some(&after_password[..memchr::memchr(0, after_password)?])
}

/// Whether a payload is a server's greeting, as far as it is visible.
pub(super) fn is_greeting(payload: &[u8]) -> bool {
    let Some((&10, rest)) = payload.split_first() else {
        return false;
    };
    let end = memchr::memchr(0, rest).unwrap_or(rest.len());
    let version = &rest[..end];
    let printable = version.iter().all(|&byte| (b' '..0x7f).contains(&byte));
    let numbered = version.first().is_none_or(u8::is_ascii_digit);
    let terminated = end == rest.len() || (end > 0 && rest.get(end + 13).is_none_or(|&filler| filler == 0));
    printable && numbered && end <= 64 && terminated
}

/// Codes of the commands clients send, and the names users know them by.
pub(super) fn command_name(code: u8) -> Option<&'static str> {
    Some(match code {
        0x00 => "SLEEP",
        0x01 => "QUIT",
        0x02 => "USE",
        0x03 => "QUERY",
        0x04 => "FIELD_LIST",
        0x05 => "CREATE_DB",
        0x06 => "DROP_DB",
        0x07 => "REFRESH",
        0x08 => "SHUTDOWN",
        0x09 => "STATISTICS",
        0x0a => "PROCESS_INFO",
        0x0b => "CONNECT",
        0x0c => "PROCESS_KILL",
        0x0d => "DEBUG",
        0x0e => "PING",
        0x0f => "TIME",
        0x10 => "DELAYED_INSERT",
        0x11 => "CHANGE_USER",
        0x12 => "BINLOG_DUMP",
        0x13 => "TABLE_DUMP",
        0x14 => "CONNECT_OUT",
        0x15 => "REGISTER_SLAVE",
        0x16 => "PREPARE",
        0x17 => "EXECUTE",
        0x18 => "SEND_LONG_DATA",
        0x19 => "CLOSE",
        0x1a => "RESET",
        0x1b => "SET_OPTION",
        0x1c => "FETCH",
        0x1d => "DAEMON",
        0x1e => "BINLOG_DUMP_GTID",
        0x1f => "RESET_CONNECTION",
        0x20 => "CLONE",
        0xfa => "BULK_EXECUTE",
        _ => return None,
    })
}

/// Whether a payload of that length can be a command, as far as it is visible.
pub(super) fn is_command(length: usize, payload: &[u8]) -> bool {
    let Some((&code, body)) = payload.split_first() else {
        return length > 0;
    };
    let text = || {
        body.iter()
            .all(|&byte| byte >= b' ' || byte.is_ascii_whitespace() || byte == 0)
    };
    match code {
        // The server's own; a client that sends one is told so.
        0x00 | 0x0b | 0x0f | 0x10 | 0x1d => length == 1,
        0x01 | 0x09 | 0x0a | 0x0d | 0x0e | 0x1f | 0x20 => length == 1,
        0x13 => (3..=514).contains(&length),
        0x02 | 0x05 | 0x06 => (2..=257).contains(&length) && text(),
        // Since 8.0.23 query attributes may come before the text.
        0x03 => length > 1 && (text() || is_attributed_query(body)),
        0x16 => length > 1 && text(),
        0x04 => length > 2 && memchr::memchr(0, body).is_none_or(|end| end > 0),
        0x07 | 0x08 => length <= 2,
        0x0c | 0x19 | 0x1a => length == 5,
        0x1b => length == 3,
        0x1c => length == 9,
        0x17 => {
            length >= 10
                && body.get(5..9).is_none_or(|count| count == [1, 0, 0, 0])
                && body.get(4).is_none_or(|flags| *flags < 16)
        }
        0xfa => length >= 7,
        0x18 => length >= 7,
        0x11 => length > 4,
        0x12 | 0x15 | 0x1e => length > 8,
        _ => false,
    }
}

/// `CLIENT_QUERY_ATTRIBUTES` without any: parameter count 0, one set of them.
fn is_attributed_query(body: &[u8]) -> bool {
    matches!(body, [0, 1, rest @ ..] if rest.first().is_none_or(u8::is_ascii_graphic))
        || matches!(body, [1..=64, 1, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_length_encoded() {
        assert_eq!(integer(&[250]), Some((250, 1)));
        assert_eq!(integer(&[0xfc, 1, 1]), Some((257, 3)));
        assert_eq!(integer(&[0xfd, 1, 0]), None);
        assert_eq!(integer(&[0xfe, 0, 0, 0, 0, 1, 0, 0, 0]), Some((1 << 32, 9)));
        assert_eq!(integer(&[0xfb]), None);
    }

    #[test]
    fn commands_and_greetings_are_recognised() {
        assert!(is_greeting(
            b"\x0a5.5.5-10.11.2-MariaDB\0\x01\0\0\0abcdefgh\0\xff"
        ));
        assert!(!is_greeting(b"\x0aGET / HTTP/1.1\r\n"));
        assert!(is_command(9, b"\x03SELECT 1"));
        assert!(is_command(10, b"\x17\x01\0\0\0\0\x01\0\0\0"));
        assert!(!is_command(10, b"\x17\x01\0\0\0\0\x02\0\0\0"));
        assert!(!is_command(9, b"\x0eSELECT 1"));
    }

    #[test]
    fn a_login_names_its_database() {
        let mut payload = (CLIENT_PROTOCOL_41 | CLIENT_CONNECT_WITH_DB | CLIENT_SECURE_CONNECTION)
            .to_le_bytes()
            .to_vec();
        payload.extend([0; 28]);
        payload.extend(b"root\0\x02pwshop\0mysql_native_password\0");
        assert_eq!(login(&payload).map(|login| login.database), Some(&b"shop"[..]));
    }
}
