//! Whether what came of a conversation is what it is known to hold.

use crate::protocol::Side;
use crate::protocol::recording::Conversation;

/// When a request was answered.
pub(super) struct Answer {
    pub(super) sender: Side,
    /// Byte position of the request in its direction.
    pub(super) position: u64,
    pub(super) at_ns: (u64, u64),
    pub(super) line: String,
}

/// With bytes missing, and every other at its time: a request seen answered is answered when it was in the whole
/// conversation. Of several at one position any will do.
pub(super) fn assert_same_answers(name: &str, whole: &[Answer], partial: &[Answer], how: &str) {
    for answer in partial {
        let (begin_ns, _) = answer.at_ns;
        let mut of_request = whole
            .iter()
            .filter(|known| (known.sender, known.position) == (answer.sender, answer.position))
            .peekable();
        let is_unknown = of_request.peek().is_none();
        assert!(
            is_unknown || of_request.any(|known| known.at_ns.0 <= begin_ns && begin_ns <= known.at_ns.1),
            "{name}: {how}: answered at {begin_ns} ns, as another request was: {}",
            answer.line
        );
    }
}

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

#[test]
#[should_panic(expected = "as another request was")]
fn an_answer_of_another_time_is_another_ones() {
    let answer = |position, begin_ns| Answer {
        sender: Side::Client,
        position,
        at_ns: (begin_ns, begin_ns + 1),
        line: String::new(),
    };
    assert_same_answers(
        "",
        &[answer(0, 10), answer(5, 20)],
        &[answer(0, 10), answer(5, 21)],
        "",
    );
    assert_same_answers("", &[answer(0, 10), answer(5, 20)], &[answer(0, 20)], "");
}
