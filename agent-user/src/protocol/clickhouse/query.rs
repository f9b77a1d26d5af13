//! The text of a query.
//!
//! Enters: the bytes of a Query packet. Leaves: its text. Bounded: copies nothing. Deliberately absent: what stands around it
//! (client, settings, data).

use super::packet::Walk;

const VERBS: [&str; 34] = [
    "SELECT", "INSERT", "CREATE", "ALTER", "DROP", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "USE",
    "SET", "OPTIMIZE", "SYSTEM", "KILL", "TRUNCATE", "RENAME", "EXPLAIN", "ATTACH", "DETACH", "GRANT",
    "REVOKE", "CHECK", "EXCHANGE", "BACKUP", "RESTORE", "WATCH", "DELETE", "UPDATE", "MOVE", "UNDROP",
    "BEGIN", "COMMIT", "ROLLBACK",
];

/// The query's text in a Query packet. What comes before it differs with every revision, so it is found by its own shape:
/// processing stage, compression flag, a length, and so many bytes of text that begin as a statement does.
pub(super) fn text(bytes: &[u8]) -> Option<(&[u8], bool)> {
    let mut walk = Walk::new(bytes);
    walk.u8().ok().filter(|kind| *kind == 1)?;
    walk.text().ok()?;
    let from = walk.at;
    (from..bytes.len().saturating_sub(3)).find_map(|at| {
        if bytes[at] > 4 || bytes[at + 1] > 1 {
            return None;
        }
        let mut walk = Walk { bytes, at: at + 2 };
        let length = usize::try_from(walk.varint().ok()?)
            .ok()
            .filter(|length| *length >= 4)?;
        let end = walk.at.checked_add(length)?;
        let text = &bytes[walk.at..end.min(bytes.len())];
        let begins = text.len() >= 4
            && text[..4]
                .iter()
                .all(|&byte| (b' '..0x7f).contains(&byte) || byte.is_ascii_whitespace());
        let is_text = begins
            && text
                .iter()
                .all(|&byte| byte >= b' ' || byte.is_ascii_whitespace());
        let trimmed = text.trim_ascii_start();
        let word = trimmed
            .split(|byte| !byte.is_ascii_alphabetic())
            .next()
            .unwrap_or_default();
        let is_verb = VERBS
            .iter()
            .any(|verb| word.eq_ignore_ascii_case(verb.as_bytes()));
        let statement = is_verb
            || [&b"("[..], b"--", b"/*"]
                .iter()
                .any(|opening| trimmed.starts_with(opening));
        (is_text && statement).then_some((text, end <= bytes.len()))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_query_is_found_behind_whatever_precedes_it() {
        let before = b"\x01\x04id-1\x01\0\x07default\0\x02\0\x0f";
        let text = &b"SELECT 1 FROM t"[..];
        let bytes = [before, text, b"\x02\0"].concat();
        assert_eq!(super::text(&bytes), Some((text, true)));
        assert_eq!(
            super::text(&bytes[..30]),
            Some((&text[..30 - before.len()], false))
        );
    }
}
