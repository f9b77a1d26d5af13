//! The CGI meta-variables of a request (RFC 3875) and the headers of a response, as far as a span needs them.

use compact_str::{CompactString, format_compact};

use crate::protocol::Message;
use crate::protocol::context::ContextReader;
use crate::protocol::http::{set_authority, set_path, set_text};
use crate::protocol::reader::lossy_text;

/// The longest header name a variable `HTTP_...` stands for.
const MAX_NAME_BYTES: usize = 40;

/// Names the request by its parameters; `whole` where none of them is missing.
pub(super) fn describe(message: &mut Message, params: &[u8], whole: bool) {
    let mut context = ContextReader::default();
    let (mut uri, mut script, mut query, mut host, mut server) =
        (&b""[..], &b""[..], &b""[..], &b""[..], &b""[..]);
    let mut rest = params;
    while let Some((name, value)) = pair(&mut rest) {
        match name {
            b"REQUEST_METHOD" => message.operation = lossy_text(value),
            b"REQUEST_URI" => uri = value,
            b"SCRIPT_NAME" => script = value,
            b"QUERY_STRING" => query = value,
            b"SERVER_NAME" => server = value,
            b"HTTP_HOST" => host = value,
            b"HTTP_USER_AGENT" => set_text(&mut message.attributes, "user_agent.original", value),
            _ => see_header(&mut context, name, value),
        }
    }
    let local = match (uri, query) {
        (b"", _) if !whole => "…".into(),
        (b"", b"") => String::from_utf8_lossy(script),
        (b"", _) => format!(
            "{}?{}",
            String::from_utf8_lossy(script),
            String::from_utf8_lossy(query)
        )
        .into(),
        _ => String::from_utf8_lossy(uri),
    };
    set_path(message, &local);
    let authority = if host.is_empty() { server } else { host };
    set_authority(&mut message.attributes, &String::from_utf8_lossy(authority));
    message.context = context.finish();
}

/// `HTTP_X_REQUEST_ID` stands for the header `x-request-id`.
fn see_header(context: &mut ContextReader, name: &[u8], value: &[u8]) {
    let Some(name) = name
        .strip_prefix(b"HTTP_")
        .filter(|name| name.len() <= MAX_NAME_BYTES)
    else {
        return;
    };
    let mut header = [0; MAX_NAME_BYTES];
    for (to, from) in header.iter_mut().zip(name) {
        *to = if *from == b'_' {
            b'-'
        } else {
            from.to_ascii_lowercase()
        };
    }
    context.see(&header[..name.len()], value);
}

/// The next name and value (section 3.4); `None` at the end, also where it was cut off.
fn pair<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (name_bytes, value_bytes) = (length(rest)?, length(rest)?);
    let (name, behind) = rest.split_at_checked(name_bytes)?;
    let (value, behind) = behind.split_at_checked(value_bytes)?;
    *rest = behind;
    Some((name, value))
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    let (&first, behind) = rest.split_first()?;
    if first < 0x80 {
        *rest = behind;
        return Some(usize::from(first));
    }
    let (long, behind) = rest.split_first_chunk::<4>()?;
    *rest = behind;
    Some((u32::from_be_bytes(*long) & 0x7fff_ffff) as usize)
}

/// The status of a response that begins like that (RFC 3875 section 6.3): 302 with a location and no status, else 200.
/// `None` where the headers go on behind `content`, unless no more is to be had.
pub(super) fn status(content: &[u8], no_more: bool) -> Option<CompactString> {
    let mut redirected = false;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let Some(text) = line.strip_suffix(b"\n") else {
            break;
        };
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            return Some(default_status(redirected));
        }
        let (name, value) = text.split_at(memchr::memchr(b':', text).unwrap_or(text.len()));
        if name.eq_ignore_ascii_case(b"status") {
            let code = value[value.len().min(1)..].trim_ascii();
            let digits = code
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count()
                .min(3);
            return Some(lossy_text(&code[..digits]));
        }
        redirected |= name.eq_ignore_ascii_case(b"location");
    }
    no_more.then(|| default_status(redirected))
}

fn default_status(redirected: bool) -> CompactString {
    format_compact!("{}", if redirected { 302 } else { 200 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_as_cgi_defines_them() {
        let read = |text: &str| status(text.as_bytes(), false).map(|status| status.to_string());
        assert_eq!(
            read("Status: 404 Not Found\r\nX: y\r\n\r\n").as_deref(),
            Some("404")
        );
        assert_eq!(read("X: y\n\nstatus: 500").as_deref(), Some("200"));
        assert_eq!(read("Location: /a\r\n\r\n").as_deref(), Some("302"));
        assert_eq!(read("X: y\r\nStat"), None);
    }

    #[test]
    fn cut_off_pairs_end_the_list() {
        let mut rest = &[1, 2, b'a', b'b', b'c', 0x80, 0, 0, 1, 200, b'x'][..];
        assert_eq!(pair(&mut rest), Some((&b"a"[..], &b"bc"[..])));
        assert_eq!(pair(&mut rest), None);
    }
}
