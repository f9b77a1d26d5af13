//! Finding a few members in JSON that is seen in parts, without reading it as a whole.
//!
//! A member's name with its quotes and colon cannot stand inside a JSON string: there its quotes would be escaped.
//! So searching for it never mistakes content for structure.

use compact_str::CompactString;
use memchr::memmem;

/// How much of one part is kept to find members that the next part ends.
pub(super) const OVERLAP_BYTES: usize = 128;

/// The value of the first member of that name if it is a string without escapes, of at most so many bytes.
pub(super) fn text_of(json: &[u8], name: &str, most: usize) -> Option<CompactString> {
    let value = value_of(json, name)?.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', &value[..value.len().min(most + 1)])?;
    let text = &value[..end];
    (!text.contains(&b'\\')).then(|| CompactString::from_utf8_lossy(text))
}

/// The value of the last member of that name if it is a whole number.
pub(super) fn number_of(json: &[u8], name: &str) -> Option<i64> {
    let mut rest = json;
    let mut found = None;
    while let Some(value) = value_of(rest, name) {
        let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // Digits up to the end of the bytes may go on.
        if digits < value.len() && (1..=15).contains(&digits) {
            found = value[..digits]
                .iter()
                .try_fold(0i64, |sum, digit| Some(sum * 10 + i64::from(digit - b'0')));
        }
        rest = value;
    }
    found
}

/// What follows the first member name and its colon.
pub(super) fn value_of<'a>(json: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut from = 0;
    loop {
        let place = from + memmem::find(&json[from..], name.as_bytes())?;
        let behind = &json[place + name.len()..];
        let quoted = place > 0 && json[place - 1] == b'"' && (place < 2 || json[place - 2] != b'\\');
        let value = behind
            .strip_prefix(b"\"")
            .and_then(|value| value.trim_ascii_start().strip_prefix(b":"));
        if quoted && let Some(value) = value {
            return Some(value.trim_ascii_start());
        }
        from = place + name.len();
    }
}

/// What a response body told so far, seen in parts.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    tail: Vec<u8>,
    pub(super) model: Option<CompactString>,
    pub(super) input_tokens: Option<i64>,
    pub(super) output_tokens: Option<i64>,
    /// A member "error" or "errors" that is not null.
    pub(super) error: bool,
    /// Server-sent events so far that carry data.
    pub(super) data_events: u64,
}

impl Scanner {
    pub(super) fn see(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let seen = std::mem::take(&mut self.tail);
        if self.model.is_none() {
            self.model = text_of(&seen, "model", 96);
        }
        for name in [
            "prompt_tokens",
            "input_tokens",
            "prompt_eval_count",
            "promptTokenCount",
        ] {
            self.input_tokens = number_of(&seen, name).or(self.input_tokens);
        }
        for name in [
            "completion_tokens",
            "output_tokens",
            "eval_count",
            "candidatesTokenCount",
        ] {
            self.output_tokens = number_of(&seen, name).or(self.output_tokens);
        }
        for name in ["error", "errors"] {
            let value = value_of(&seen, name);
            self.error |= value.is_some_and(|value| matches!(value.first(), Some(b'{' | b'[' | b'"')));
        }
        self.data_events += memmem::find_iter(bytes, b"data:").count() as u64;
        let keep = seen.len().saturating_sub(OVERLAP_BYTES);
        self.tail.extend_from_slice(&seen[keep..]);
    }
}
