//! Thrift's JSON encoding (Thrift, `TJSONProtocol`): `[1,"name",kind,sequence,{"1":{"i32":5}}]`.
//!
//! Enters: the bytes of a message. Leaves: its head, and what its body tells. Bounded: copies nothing. Deliberately absent:
//! values; JSON with white space, which no library writes.

use super::value::Body;

pub(super) struct Head<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: u8,
    pub(super) sequence: u32,
    pub(super) body_at: usize,
}

/// `None` where it is not all at hand, or is none.
pub(super) fn head(bytes: &[u8]) -> Option<Head<'_>> {
    let rest = bytes.strip_prefix(b"[1,\"")?;
    let name = &rest[..memchr::memchr(b'"', rest)?];
    let rest = rest.get(name.len() + 1..)?;
    let [b',', kind @ b'0'..=b'9', b',', rest @ ..] = rest else {
        return None;
    };
    let digits = memchr::memchr(b',', rest)?;
    // Some libraries number with the sign bit set.
    let sequence: i64 = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let rest = &rest[digits + 1..];
    Some(Head {
        name,
        kind: kind - b'0',
        sequence: sequence as u32,
        body_at: bytes.len() - rest.len(),
    })
}

/// What the struct at the front of `bytes` tells; its length has the bracket behind it in it.
pub(super) fn body(bytes: &[u8]) -> Body<'_> {
    let mut body = Body {
        is_broken: bytes.first().is_some_and(|first| *first != b'{'),
        ..Body::default()
    };
    if let Some([digits, value]) = first_field(bytes) {
        body.first_field = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok());
        let text = value.strip_prefix(b":{\"str\":\"").and_then(|text| {
            let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            std::str::from_utf8(&text[..end]).ok()
        });
        if body.first_field == Some(1) {
            body.text = text.unwrap_or_default();
        }
    }
    let (mut depth, mut in_text, mut escaped) = (0u32, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b']' if depth == 0 => {
                body.length = Some(at + 1);
                return body;
            }
            b'}' | b']' if depth == 0 => {
                body.is_broken = true;
                return body;
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    body
}

/// The number of the first field, and what follows it.
fn first_field(bytes: &[u8]) -> Option<[&[u8]; 2]> {
    let rest = bytes.strip_prefix(b"{\"")?;
    let end = memchr::memchr(b'"', rest)?;
    Some([&rest[..end], &rest[end + 1..]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_tell_their_first_field_and_end() {
        let exception = br#"{"1":{"str":"bad"},"2":{"i32":1}}]"#;
        assert_eq!(
            body(exception),
            Body {
                first_field: Some(1),
                text: "bad",
                length: Some(exception.len()),
                is_broken: false
            }
        );
        let reply = br#"{"0":{"str":"a]\"}"}}]next"#;
        assert_eq!((body(reply).first_field, body(reply).length), (Some(0), Some(22)));
        assert_eq!((body(b"{}]").first_field, body(b"{}]").length), (None, Some(3)));
        assert_eq!(body(&exception[..20]).length, None);
        assert!(body(b"{}}").is_broken && body(b"7]").is_broken);
    }
}
