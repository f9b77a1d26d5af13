//! RESP2 and RESP3 on the wire: lines, bulks, aggregates.
//!
//! Enters: bytes. Leaves: one element's head at a time. Bounded: [`LINE_MAX_BYTES`] a line. Source: the Redis
//! serialization protocol specification.

/// Longest line: an inline command or an error's text.
pub(super) const LINE_MAX_BYTES: usize = 64 * 1024;
/// `proto-max-bulk-len` can be raised; beyond this a length is nonsense.
const BULK_MAX_BYTES: u64 = 4 << 30;
const COUNT_MAX: u64 = 1 << 31;
/// A head with a number in it.
const COUNT_MAX_BYTES: usize = 24;

/// The head of one element of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element<'a> {
    /// Whole with its line: `+ - : _ , # (`.
    Line { kind: u8, text: &'a [u8] },
    /// So many bytes and CRLF follow: `$ ! =` and chunks of streamed strings.
    Bulk { kind: u8, length: u64 },
    /// `$-1` and `*-1`.
    Null,
    /// So many elements follow: `* ~ % > |`; a map counts its pairs twice. `None`: until an end mark.
    Aggregate { kind: u8, elements: Option<u64> },
    /// The string's chunks follow until an empty one.
    StreamedString,
    /// The end of an aggregate of unknown length.
    EndMark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) element: Element<'a>,
    /// Bytes of the head itself.
    pub(super) bytes: usize,
}

/// `None`: too few bytes. `Some(None)`: no such element.
pub(super) fn head(bytes: &[u8]) -> Option<Option<Head<'_>>> {
    match short_count(bytes) {
        Some(head) => Some(Some(head)),
        None => any_head(bytes),
    }
}

/// A bulk or an array of up to 99, as nearly all are: nothing has to be searched.
#[inline]
fn short_count(bytes: &[u8]) -> Option<Head<'static>> {
    let (kind, rest) = bytes.split_first()?;
    let digit = |byte: u8| u64::from(byte - b'0');
    let (count, bytes) = match *rest {
        [ones @ b'0'..=b'9', b'\r', b'\n', ..] => (digit(ones), 4),
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', ..] => (10 * digit(tens) + digit(ones), 5),
        _ => return None,
    };
    let element = match *kind {
        kind @ b'$' => Element::Bulk { kind, length: count },
        kind @ b'*' => Element::Aggregate {
            kind,
            elements: Some(count),
        },
        _ => return None,
    };
    Some(Head { element, bytes })
}

fn any_head(bytes: &[u8]) -> Option<Option<Head<'_>>> {
    let kind = *bytes.first()?;
    if !matches!(
        kind,
        b'+' | b'-'
            | b':'
            | b'$'
            | b'*'
            | b'_'
            | b','
            | b'#'
            | b'!'
            | b'='
            | b'('
            | b'%'
            | b'~'
            | b'>'
            | b'|'
            | b'.'
            | b';'
    ) {
        return Some(None);
    }
    let is_text = matches!(kind, b'+' | b'-' | b':' | b',' | b'(' | b'#' | b'_');
    let longest = if is_text { LINE_MAX_BYTES } else { COUNT_MAX_BYTES };
    let shown = &bytes[..bytes.len().min(longest)];
    // Few bytes are looked through sooner one by one.
    let end = if is_text {
        memchr::memchr(b'\r', shown)
    } else {
        shown.iter().position(|byte| *byte == b'\r')
    };
    let Some(end) = end else {
        let plausible = bytes.len() < longest && plausible_beginning(kind, &bytes[1..]);
        return if plausible { None } else { Some(None) };
    };
    match bytes.get(end + 1) {
        None => return None,
        Some(b'\n') => {}
        Some(_) => return Some(None),
    }
    let text = &bytes[1..end];
    let element = if is_text {
        line(kind, text)
    } else {
        counted(kind, text)
    };
    Some(element.map(|element| Head {
        element,
        bytes: end + 2,
    }))
}

fn plausible_beginning(kind: u8, text: &[u8]) -> bool {
    match kind {
        b'+' | b'-' => text.iter().all(|&byte| byte >= b' '),
        b':' | b'(' => text
            .iter()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+')),
        b',' => text.iter().all(|byte| byte.is_ascii_graphic()),
        b'#' => matches!(text, [] | [b't' | b'f']),
        b'_' | b'.' => text.is_empty(),
        _ => text
            .iter()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'?')),
    }
}

fn line(kind: u8, text: &[u8]) -> Option<Element<'_>> {
    let fits = match kind {
        b'_' => text.is_empty(),
        b'#' => matches!(text, b"t" | b"f"),
        b':' | b'(' => !text.is_empty() && plausible_beginning(kind, text),
        b',' => !text.is_empty() && text.len() < 64,
        _ => text.iter().all(|&byte| byte >= b' ' || byte == b'\t'),
    };
    fits.then_some(if kind == b'_' {
        Element::Null
    } else {
        Element::Line { kind, text }
    })
}

fn counted(kind: u8, text: &[u8]) -> Option<Element<'static>> {
    match (kind, text) {
        (b'$' | b'*', b"-1") => return Some(Element::Null),
        (b'.', b"") => return Some(Element::EndMark),
        (b'$', b"?") => return Some(Element::StreamedString),
        (b'*' | b'~' | b'%' | b'>' | b'|', b"?") => return Some(Element::Aggregate { kind, elements: None }),
        _ => {}
    }
    let count = number(text)?;
    match kind {
        b'$' | b'!' | b'=' | b';' => {
            (count <= BULK_MAX_BYTES).then_some(Element::Bulk { kind, length: count })
        }
        b'*' | b'~' | b'>' => (count <= COUNT_MAX).then_some(Element::Aggregate {
            kind,
            elements: Some(count),
        }),
        b'%' | b'|' => (count <= COUNT_MAX).then_some(Element::Aggregate {
            kind,
            elements: Some(2 * count),
        }),
        _ => None,
    }
}

pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_counts_are_read_as_any_head_is() {
        for kind in *b"$*+-:%~!=;.?" {
            for count in [
                "", "0", "7", "00", "05", "42", "99", "100", "-1", "?", "a", "1a", "\r",
            ] {
                for end in ["", "\r", "\r\n", "\n", "\r\nGET", "\rx"] {
                    let bytes = [&[kind], count.as_bytes(), end.as_bytes()].concat();
                    assert_eq!(head(&bytes), any_head(&bytes), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn elements_are_read() {
        let element = |bytes| head(bytes).flatten().map(|head| (head.element, head.bytes));
        assert_eq!(
            element(b"+OK\r\n"),
            Some((
                Element::Line {
                    kind: b'+',
                    text: b"OK"
                },
                5
            ))
        );
        assert_eq!(
            element(b"$5\r\nhello"),
            Some((
                Element::Bulk {
                    kind: b'$',
                    length: 5
                },
                4
            ))
        );
        assert_eq!(element(b"$-1\r\n"), Some((Element::Null, 5)));
        assert_eq!(
            element(b"%2\r\n"),
            Some((
                Element::Aggregate {
                    kind: b'%',
                    elements: Some(4)
                },
                4
            ))
        );
        assert_eq!(
            element(b"*?\r\n"),
            Some((
                Element::Aggregate {
                    kind: b'*',
                    elements: None
                },
                4
            ))
        );
        assert_eq!(head(b"*12"), None);
        assert_eq!(head(b"$5\r"), None);
        for other in [
            &b"HTTP/1.1"[..],
            b"*1x\r\n",
            b"+a\nb\r\n",
            b"$99999999999999\r\n",
            b":\r\n",
            b"\0\0",
            b"*GET",
        ] {
            assert_eq!(head(other), Some(None), "{other:?}");
        }
    }
}
