//! Whether what came of a conversation is what it is known to hold.

use crate::protocol::recording::Conversation;

/// Every answered exchange among `lines` is a known one, each at most as often as it is known; those that may come
/// of missing bytes as often as they like.
pub(super) fn assert_no_other(conversation: &Conversation, lines: &[String], how: &str) {
    let mut known = conversation.known_lines();
    let mut partial: Vec<&String> = lines.iter().filter(|line| !line.contains(" | - | ")).collect();
    partial.retain(|line| match known.iter().position(|known| known == *line) {
        Some(place) => {
            known.remove(place);
            false
        }
        None => true,
    });
    for line in partial {
        let mut lossy = conversation.known.iter().filter(|known| known.when_lossy);
        match known.iter().position(|known| is_same(known, line)) {
            Some(place) => drop(known.remove(place)),
            None if lossy.any(|known| is_same(&known.line, line)) => {}
            None => panic!(
                "{}: {how}: not in the recording: {line}\nof {lines:#?}",
                conversation.name
            ),
        }
    }
}

/// Whether an exchange is the known one, as far as it says: a target whose end was not seen ends in `…`, a status that
/// was not seen is empty and then says nothing of errors either. An operation that was not seen is empty, or `…` as its target.
fn is_same(known: &str, line: &str) -> bool {
    let (Some(known), Some(line)) = (fields(known), fields(line)) else {
        return known == line;
    };
    let target = match line.1.strip_suffix('…') {
        Some(begin) => known.1.starts_with(begin),
        None => known.1 == line.1,
    };
    let protocol = known.0.split(" | ").next();
    let unseen = [" |  | ", " | … | "];
    let mut unseen = unseen.iter().filter_map(|end| line.0.strip_suffix(end));
    let operation = known.0 == line.0 || unseen.any(|line| protocol == Some(line));
    operation && target && (line.2 == known.2 || line.2 == "  | ok")
}

/// A line's protocol and operation, target, and status with outcome. Targets may well hold the separator.
fn fields(line: &str) -> Option<(&str, &str, &str)> {
    let (separator, mut begin) = (" | ", 0);
    for _ in 0..2 {
        begin += line.get(begin..)?.find(separator)? + separator.len();
    }
    let outcome = line.rfind(separator)?;
    let status = line[..outcome].rfind(separator)?;
    // Nothing may stand between two separators but what they share.
    let end = status.max(begin);
    Some((
        &line[..begin],
        &line[begin..end],
        line.get(status + separator.len() - 1..).unwrap_or(""),
    ))
}
