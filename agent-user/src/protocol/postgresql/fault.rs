//! What an ErrorResponse says.
//!
//! Enters: its body. Leaves: SQLSTATE and message without values. Bounded: [`TEXT_MAX_BYTES`] of text.
//! Deliberately absent: detail and hint, which quote rows.

use compact_str::CompactString;

const TEXT_MAX_BYTES: usize = 240;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) sqlstate: CompactString,
    pub(super) text: CompactString,
    /// The server closes the session after it.
    pub(super) fatal: bool,
}

/// Reads fields until the body ends, however it ends.
pub(super) fn read(body: &[u8]) -> Fault {
    let mut fault = Fault::default();
    let mut message: &[u8] = b"";
    for field in body.split(|&byte| byte == 0) {
        let Some((&kind, value)) = field.split_first() else {
            break;
        };
        match kind {
            b'S' | b'V' => fault.fatal |= value == b"FATAL" || value == b"PANIC",
            b'C' if value.len() == 5 && value.iter().all(u8::is_ascii_alphanumeric) => {
                fault.sqlstate = CompactString::from_utf8_lossy(value);
            }
            b'M' => message = value,
            _ => {}
        }
    }
    // Class 22 (data exception) quotes the value that did not fit; a syntax error the word it stumbled over.
    let quotes_values = fault.sqlstate.starts_with("22");
    let quotes_text = fault.sqlstate == "42601";
    fault.text = redact(message, |quoted| {
        quotes_values || (quotes_text && !quoted.bytes().all(|byte| byte.is_ascii_alphabetic()))
    });
    fault
}

/// `message` with `"..."` emptied to `"?"` where `hide` says so.
fn redact(message: &[u8], hide: impl Fn(&str) -> bool) -> CompactString {
    let message = String::from_utf8_lossy(message);
    let mut text = CompactString::default();
    for (number, part) in message.split('"').enumerate() {
        let quoted = number % 2 == 1;
        if number > 0 {
            text.push('"');
        }
        text.push_str(if quoted && hide(part) { "?" } else { part });
        if text.len() > TEXT_MAX_BYTES {
            break;
        }
    }
    let mut end = text.len().min(TEXT_MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hidden_and_names_are_not() {
        let fault = read(b"SERROR\0VERROR\0C42P01\0Mrelation \"nope\" does not exist\0P15\0\0");
        assert_eq!(
            (fault.sqlstate.as_str(), fault.text.as_str()),
            ("42P01", "relation \"nope\" does not exist")
        );
        assert!(!fault.fatal);
        let fault = read(b"SERROR\0C22P02\0Minvalid input syntax for type integer: \"secret\"\0\0");
        assert_eq!(fault.text, "invalid input syntax for type integer: \"?\"");
        let fault = read(b"SFATAL\0C42601\0Msyntax error at or near \"'abc'\"\0");
        assert_eq!(fault.text, "syntax error at or near \"?\"");
        assert!(fault.fatal);
    }

    #[test]
    fn cut_and_odd_bodies_are_read_as_far_as_they_go() {
        assert_eq!(read(b""), Fault::default());
        assert_eq!(read(b"C28P0").sqlstate, "");
        assert!(read(&[b'M', 0xff, 0xfe]).text.len() < 10);
        assert!(read(&[b"M".as_slice(), &[0xc3; 1000]].concat()).text.len() <= TEXT_MAX_BYTES);
    }
}
