//! Is it Memcached? Commands of a fixed shape, answers of a fixed vocabulary, or the binary protocol's headers.

use super::{binary, datagram, text};
use crate::protocol::{Opening, Side, Verdict};

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return datagrams(opening);
    }
    match (client(opening.client), server(opening)) {
        (Verdict::Reject, _) | (_, Verdict::Reject) => Verdict::Reject,
        (Verdict::Score(client), Verdict::Score(server)) => {
            Verdict::Score((client / 2 + server).clamp(client, 97))
        }
        (Verdict::Score(score), _) => Verdict::Score(score),
        (_, Verdict::Score(score)) if !opening.from_start => Verdict::Score(score),
        _ => Verdict::NeedMore,
    }
}

/// One datagram of either side, or of both.
fn datagrams(opening: &Opening<'_>) -> Verdict {
    let mut best = Verdict::Reject;
    for (side, bytes) in [(Side::Client, opening.client), (Side::Server, opening.server)] {
        if bytes.is_empty() {
            continue;
        }
        let inside = datagram::payload(side, bytes);
        let score = match (inside, side) {
            (None, _) => Verdict::Reject,
            (Some(inside), Side::Client) => client(inside),
            (Some(inside), Side::Server) => server(&Opening {
                server: inside,
                from_start: true,
                ..*opening
            }),
        };
        match score {
            Verdict::Score(score) => best = best.max(Verdict::Score(score.max(82))),
            _ => return Verdict::Reject,
        }
    }
    best
}

fn client(bytes: &[u8]) -> Verdict {
    match bytes.first() {
        None => Verdict::NeedMore,
        Some(0x80) if bytes.len() < 24 => Verdict::NeedMore,
        Some(0x80) => match binary::fits(Side::Client, bytes) {
            Some(true) => Verdict::Score(94),
            _ => Verdict::Reject,
        },
        Some(_) => client_text(bytes),
    }
}

fn client_text(bytes: &[u8]) -> Verdict {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        let text = bytes.iter().all(|&byte| byte >= b' ' || byte == b'\r');
        let known = bytes.len() < 10 || text::begins(Side::Client, bytes);
        return if text && known && bytes[0].is_ascii_lowercase() {
            Verdict::NeedMore
        } else {
            Verdict::Reject
        };
    };
    if !text::begins(Side::Client, bytes) || !bytes[..end].iter().all(|&byte| byte >= b' ' || byte == b'\r') {
        return Verdict::Reject;
    }
    let words = text::words(&bytes[..end]);
    let named = words.get(1).len() <= 250 && !words.get(1).is_empty();
    match words.get(0) {
        b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => {
            let Some(value) = words.number(4) else {
                return Verdict::Reject;
            };
            let after = bytes.get(end + 1 + value as usize..).unwrap_or_default();
            let fits = words.number(3).is_some() || words.get(3).starts_with(b"-");
            if fits && (after.is_empty() || after.starts_with(b"\r")) {
                Verdict::Score(93)
            } else {
                Verdict::Reject
            }
        }
        b"gets" | b"gat" | b"gats" | b"mg" | b"md" | b"ma" | b"ms" if named => Verdict::Score(80),
        b"get" | b"delete" | b"incr" | b"decr" | b"touch" if named => Verdict::Score(60),
        b"stats" | b"version" | b"flush_all" | b"mn" => Verdict::Score(50),
        b"verbosity" | b"quit" => Verdict::Score(20),
        _ => Verdict::Reject,
    }
}

fn server(opening: &Opening<'_>) -> Verdict {
    let bytes = opening.server;
    // In the middle, the first bytes may be those of a value.
    let otherwise = if opening.from_start {
        Verdict::Reject
    } else {
        Verdict::NeedMore
    };
    match bytes.first() {
        None => return Verdict::NeedMore,
        Some(0x81) if bytes.len() < 24 => return Verdict::NeedMore,
        Some(0x81) => {
            return if binary::fits(Side::Server, bytes) == Some(true) {
                Verdict::Score(93)
            } else {
                otherwise
            };
        }
        Some(_) => {}
    }
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return if bytes.len() < 12 {
            Verdict::NeedMore
        } else {
            otherwise
        };
    };
    if !text::begins(Side::Server, bytes) || end == 0 || bytes[end - 1] != b'\r' {
        return otherwise;
    }
    let words = text::words(&bytes[..end]);
    match words.get(0) {
        b"VALUE" if words.number(3).is_some() => Verdict::Score(92),
        b"STORED" | b"NOT_STORED" | b"DELETED" | b"TOUCHED" | b"NOT_FOUND" => Verdict::Score(85),
        b"STAT" | b"VERSION" => Verdict::Score(80),
        b"VA" if words.number(1).is_some() => Verdict::Score(80),
        b"END" | b"EXISTS" | b"HD" | b"EN" | b"MN" => Verdict::Score(60),
        b"CLIENT_ERROR" | b"SERVER_ERROR" => Verdict::Score(70),
        b"ERROR" | b"OK" | b"NF" | b"NS" | b"EX" => Verdict::Score(20),
        _ => Verdict::Score(10),
    }
}
