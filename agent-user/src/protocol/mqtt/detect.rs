//! Whether bytes are MQTT.

use super::packet::{self, AUTH, CONNACK, CONNECT, DISCONNECT, Fixed, Head, PUBLISH, SUBSCRIBE, UNSUBSCRIBE};
use crate::protocol::{Opening, Side, Verdict};

const MQTT_PORT: u16 = 1883;
/// Packets walked over to become sure.
const MAX_WALKED: usize = 8;

/// How well bytes read as a row of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    Broken,
    NeedMore,
    /// So many whole packets, how telling they are together, and whether the last one ends with the bytes.
    Packets {
        whole: usize,
        weight: u8,
        ends: bool,
    },
}

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    let client = side(Side::Client, opening.client, opening.server_port);
    let server = side(Side::Server, opening.server, opening.server_port);
    match (client, server) {
        (Verdict::Reject, _) | (_, Verdict::Reject) => Verdict::Reject,
        // A connection begins with CONNECT, answered by CONNACK.
        _ if opening.from_start
            && (!begins_with(opening.client, CONNECT) || !begins_with(opening.server, CONNACK)) =>
        {
            Verdict::Reject
        }
        (client, server) => client.max(server),
    }
}

fn begins_with(bytes: &[u8], kind: u8) -> bool {
    bytes.first().is_none_or(|first| first >> 4 == kind)
}

fn side(side: Side, bytes: &[u8], port: u16) -> Verdict {
    if bytes.is_empty() {
        return Verdict::NeedMore;
    }
    match row(side, bytes) {
        Row::Broken => Verdict::Reject,
        Row::NeedMore => Verdict::NeedMore,
        Row::Packets { whole, weight, ends } => {
            let several = if whole > 1 && ends { 20 } else { 0 };
            let port = if port == MQTT_PORT { 8 } else { 0 };
            Verdict::Score((weight + several + port).min(99))
        }
    }
}

/// Walks over packets from the first byte on.
pub(super) fn row(side: Side, bytes: &[u8]) -> Row {
    let mut at = 0;
    let mut whole = 0;
    let mut weight = 0;
    while at < bytes.len() && whole < MAX_WALKED {
        let fixed = match packet::head(side, &bytes[at..]) {
            Head::Broken => return Row::Broken,
            Head::NeedMore => break,
            Head::Fixed(fixed) => fixed,
        };
        let body = &bytes[at + fixed.header_bytes..];
        match weigh(fixed, body) {
            Weight::Broken => return Row::Broken,
            Weight::NeedMore => break,
            Weight::Of(found) => weight = weight.max(found),
        }
        if body.len() < fixed.rest_bytes {
            // The rest of a payload is still to come.
            return Row::Packets {
                whole,
                weight,
                ends: false,
            };
        }
        at += fixed.total_bytes();
        whole += 1;
    }
    if whole == 0 {
        Row::NeedMore
    } else {
        Row::Packets {
            whole,
            weight,
            ends: at == bytes.len(),
        }
    }
}

enum Weight {
    Broken,
    NeedMore,
    Of(u8),
}

fn weigh(fixed: Fixed, body: &[u8]) -> Weight {
    let is_whole = body.len() >= fixed.rest_bytes;
    let body = &body[..body.len().min(fixed.rest_bytes)];
    let known = match fixed.kind {
        CONNECT => packet::connect(body).map(|_| 99),
        CONNACK if body.len() >= 2 => {
            let is_valid = body[0] <= 1
                && (body[1] <= 5 || body[1] >= 0x80)
                && (fixed.rest_bytes == 2 || body.len() > 2);
            return if is_valid { Weight::Of(60) } else { Weight::Broken };
        }
        PUBLISH => packet::publish(fixed, body, false).map(|publish| {
            let is_name = !publish.topic.contains(['+', '#']) && !publish.topic.chars().any(char::is_control);
            let is_numbered = fixed.quality() == 0 || publish.packet_id != 0;
            if is_name && is_numbered && publish.topic.len() > 2 {
                70
            } else {
                0
            }
        }),
        SUBSCRIBE | UNSUBSCRIBE => {
            let either =
                packet::filters(fixed.kind, body, false).or_else(|| packet::filters(fixed.kind, body, true));
            either.map(|_| 75)
        }
        DISCONNECT | AUTH if is_whole => Some(if fixed.rest_bytes == 0 { 15 } else { 5 }),
        _ if is_whole => Some(if fixed.rest_bytes <= 3 { 35 } else { 15 }),
        _ => None,
    };
    match known {
        Some(0) => Weight::Broken,
        Some(weight) => Weight::Of(weight),
        None if is_whole => Weight::Broken,
        None => Weight::NeedMore,
    }
}
