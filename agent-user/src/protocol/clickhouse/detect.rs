//! Is it ClickHouse? Greetings that name a revision, queries, blocks.

use super::packet::{self, Stop};
use super::query;
use crate::protocol::{Opening, Side, Verdict};

/// How servers call themselves; clients have longer names, or others.
const SERVER_NAME: &[u8] = b"\x0aClickHouse";

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    match (client(opening), server(opening)) {
        (Verdict::Reject, _) | (_, Verdict::Reject) => Verdict::Reject,
        (Verdict::Score(client), Verdict::Score(server)) => Verdict::Score(client.max(server)),
        (Verdict::Score(score), _) | (_, Verdict::Score(score)) => Verdict::Score(score),
        _ => Verdict::NeedMore,
    }
}

fn client(opening: &Opening<'_>) -> Verdict {
    let bytes = opening.client;
    match bytes {
        [] => Verdict::NeedMore,
        // The server's, where which end is which is not known.
        [0, ..] if !opening.from_start && bytes[1..].starts_with(SERVER_NAME) => Verdict::Reject,
        [0, ..] => greeting(Side::Client, bytes),
        _ if opening.from_start => Verdict::Reject,
        [1, length, rest @ ..] if matches!(length, 0 | 36) => {
            let id = rest.iter().take(usize::from(*length)).all(u8::is_ascii_graphic);
            let known = id && query::text(bytes).is_some();
            if known {
                Verdict::Score(85)
            } else {
                Verdict::Reject
            }
        }
        // Data for a query that was not seen.
        [2, 0, 1, 0, 2, ..] => Verdict::Score(60),
        [2, ..] => Verdict::NeedMore,
        _ => Verdict::Reject,
    }
}

fn greeting(side: Side, bytes: &[u8]) -> Verdict {
    match packet::hello(side, bytes, 0) {
        Ok(_) => Verdict::Score(96),
        Err(Stop::Short) => {
            let named = bytes.len() > 12 && bytes[2..].to_ascii_lowercase().starts_with(b"clickhouse");
            if named {
                Verdict::Score(90)
            } else {
                Verdict::NeedMore
            }
        }
        Err(Stop::Unreadable) => Verdict::Reject,
    }
}

fn server(opening: &Opening<'_>) -> Verdict {
    match opening.server {
        [] => Verdict::NeedMore,
        [0, ..] if opening.from_start || opening.server[1..].starts_with(SERVER_NAME) => {
            greeting(Side::Server, opening.server)
        }
        bytes if opening.from_start => {
            let is_exception = bytes[0] == 2 && bytes.len() < 4_096;
            if is_exception {
                Verdict::NeedMore
            } else {
                Verdict::Reject
            }
        }
        [1, 0, 1, 0 | 1, 2, ..] => Verdict::Score(90),
        _ => Verdict::NeedMore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::scripted::opening;

    #[test]
    fn a_greeting_says_which_end_it_comes_from() {
        let server = b"\0\x0aClickHouse\x12\x10\x8c\xa9\x03\x07Etc/UTC\x02vm\x01";
        assert_eq!(detect(&opening(server, b"", false)), Verdict::Reject);
        assert_eq!(detect(&opening(b"", server, false)), Verdict::Score(96));
        let client = b"\0\x11ClickHouse client\x12\x10\x8c\xa9\x03\x04shop\x07default\0";
        assert_eq!(detect(&opening(client, b"", false)), Verdict::Score(96));
        assert_eq!(detect(&opening(client, server, true)), Verdict::Score(96));
    }
}
