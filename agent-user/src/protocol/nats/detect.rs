//! Whether bytes are NATS.

use super::line::{self, Line, Read};
use crate::protocol::{Opening, Side, Verdict};

/// How the server's own errors begin; other protocols have the same `-ERR`.
const ERRORS: &[&str] = &[
    "Attempted To Connect",
    "Authorization ",
    "Invalid ",
    "Maximum ",
    "Parser Error",
    "Permissions Violation",
    "Secure Connection",
    "Slow Consumer",
    "Stale Connection",
    "Unknown Protocol Operation",
    "User Authentication",
];

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    // The server greets, and clients begin with CONNECT.
    let not_first = opening.from_start && opening.server.is_empty() && opening.client.starts_with(b"P");
    if opening.datagram || not_first {
        return Verdict::Reject;
    }
    match (
        side(Side::Client, opening.client, opening.server),
        side(Side::Server, opening.server, opening.client),
    ) {
        (Verdict::Reject, _) | (_, Verdict::Reject) => Verdict::Reject,
        (client, server) => client.max(server),
    }
}

fn side(side: Side, bytes: &[u8], other: &[u8]) -> Verdict {
    if bytes.is_empty() {
        return Verdict::NeedMore;
    }
    match line::read(side, bytes) {
        Read::Broken => Verdict::Reject,
        Read::NeedMore => Verdict::NeedMore,
        Read::Line(line, length) => match line {
            Line::Info | Line::Connect(_) => Verdict::Score(95),
            Line::Publish(moved) | Line::Deliver(moved) => {
                // The payload ends with a line end, where it is at hand.
                let end = length as u64 + moved.total_bytes;
                let closing = usize::try_from(end).ok().and_then(|end| bytes.get(end..end + 2));
                if closing.is_none_or(|closing| closing == b"\r\n") {
                    Verdict::Score(85)
                } else {
                    Verdict::Reject
                }
            }
            Line::Subscribe { .. } => Verdict::Score(60),
            Line::Unsubscribe => Verdict::Score(50),
            // Other line protocols have these words too: only both together are a sign.
            Line::Ping | Line::Pong if other.starts_with(b"PING\r\n") || other.starts_with(b"PONG\r\n") => {
                Verdict::Score(20)
            }
            Line::Ping | Line::Pong => Verdict::NeedMore,
            Line::Error(text) if ERRORS.iter().any(|error| text.starts_with(error)) => Verdict::Score(60),
            // NATS quotes its errors.
            Line::Error(_) if !bytes.starts_with(b"-ERR '") => Verdict::Reject,
            Line::Ok | Line::Error(_) => Verdict::Score(5),
        },
    }
}
