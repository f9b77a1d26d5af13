//! Whether bytes are DNS.

use super::PREFIX_BYTES;
use super::wire::{self, DnsMessage, Extent, HEADER_BYTES};
use crate::protocol::{Opening, Side, Verdict};

const DNS_PORT: u16 = 53;
/// Multicast DNS and LLMNR have the same format and another meaning: there is no server that answers.
const MULTICAST_PORTS: [u16; 2] = [5353, 5355];
/// NetBIOS name service types NB and NBSTAT, with its names of 32 letters.
const NETBIOS_TYPES: [u16; 2] = [0x20, 0x21];

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if MULTICAST_PORTS.contains(&opening.server_port) && opening.datagram {
        return Verdict::Reject;
    }
    let sides = [(Side::Client, opening.client), (Side::Server, opening.server)];
    let mut best = Verdict::Reject;
    for (side, bytes) in sides.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let verdict = if opening.datagram {
            datagram(bytes, side, opening.server_port)
        } else {
            stream(bytes, side, opening.server_port)
        };
        match verdict {
            Verdict::Reject => return Verdict::Reject,
            other => best = best.max(other),
        }
    }
    best
}

fn datagram(bytes: &[u8], side: Side, port: u16) -> Verdict {
    match wire::read(bytes).filter(|message| is_plausible(message, side)) {
        Some(message) => Verdict::Score(score(&message, port)),
        None => Verdict::Reject,
    }
}

fn stream(bytes: &[u8], side: Side, port: u16) -> Verdict {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return Verdict::NeedMore;
    };
    let length = usize::from(u16::from_be_bytes(*prefix));
    // Only an answer may come without a question.
    if length < HEADER_BYTES + if side == Side::Client { 5 } else { 0 } {
        return Verdict::Reject;
    }
    if let Some(message) = rest.get(..length) {
        return datagram(message, side, port);
    }
    // Not there as a whole: the header alone may refuse it.
    let Some(header) = rest.first_chunk::<HEADER_BYTES>() else {
        return if rest.len() >= 4 && !are_flags_plausible(rest, side) {
            Verdict::Reject
        } else {
            Verdict::NeedMore
        };
    };
    if !are_flags_plausible(header, side) || header[4] != 0 || header[5] > 1 {
        return Verdict::Reject;
    }
    match wire::read(rest) {
        Some(message) if is_plausible(&message, side) => {
            Verdict::Score(if port == DNS_PORT { 85 } else { 60 })
        }
        Some(_) => Verdict::Reject,
        // A question is not longer than this.
        None if rest.len() > HEADER_BYTES + 300 => Verdict::Reject,
        None => Verdict::NeedMore,
    }
}

/// Whether a message with its length in front begins here, as far as the bytes go.
pub(super) fn is_framed(bytes: &[u8], side: Side) -> bool {
    matches!(stream(bytes, side, DNS_PORT), Verdict::Score(_))
}

fn score(message: &DnsMessage, port: u16) -> u8 {
    match (message.extent, port == DNS_PORT) {
        (Extent::Whole, true) => 98,
        (Extent::Whole, false) => 90,
        (Extent::Partial, true) => 85,
        // Anything may look like a header and a short name.
        (Extent::Partial, false) => 30,
    }
}

fn are_flags_plausible(header: &[u8], side: Side) -> bool {
    let (high, low) = (header[2], header[3]);
    let opcode = high >> 3 & 0xf;
    let is_response = high & 0x80 != 0;
    let fits_side = is_response == (side == Side::Server);
    // The bit between RA and AD is zero; a query has no response code.
    fits_side && matches!(opcode, 0 | 1 | 2 | 4 | 5) && low & 0x40 == 0 && (is_response || low & 0x0f == 0)
}

fn is_plausible(message: &DnsMessage, side: Side) -> bool {
    if message.is_response != (side == Side::Server) || !matches!(message.opcode, 0 | 1 | 2 | 4 | 5) {
        return false;
    }
    match &message.question {
        Some(question) => {
            let is_netbios = NETBIOS_TYPES.contains(&question.kind) && question.name.len() >= 32;
            // IN, CH, HS, NONE, ANY.
            let is_class_known = matches!(question.class, 1 | 3 | 4 | 254 | 255);
            question.kind != 0 && is_class_known && !is_netbios
        }
        // Answers to what could not be understood may leave the question out.
        None => message.is_response && message.response_code != 0 && message.extent == Extent::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x1c\0\x01";

    fn opening(client: &[u8], datagram: bool, server_port: u16) -> Verdict {
        detect(&Opening {
            client,
            server: &[],
            from_start: true,
            server_port,
            datagram,
        })
    }

    #[test]
    fn queries_are_recognised_on_any_port_but_the_multicast_ones() {
        assert_eq!(opening(QUERY, true, 53), Verdict::Score(98));
        assert_eq!(opening(QUERY, true, 9953), Verdict::Score(90));
        assert_eq!(opening(QUERY, true, 5353), Verdict::Reject);
        let framed = [&[0, QUERY.len() as u8], QUERY].concat();
        assert_eq!(opening(&framed, false, 53), Verdict::Score(98));
        assert_eq!(opening(&framed[..9], false, 53), Verdict::NeedMore);
        assert_eq!(
            opening(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", false, 53),
            Verdict::Reject
        );
    }

    #[test]
    fn netbios_names_are_not_dns() {
        let mut query = b"\0\x01\x01\x10\0\x01\0\0\0\0\0\0\x20".to_vec();
        query.extend(b"CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\0\0\x21\0\x01");
        assert_eq!(opening(&query, true, 137), Verdict::Reject);
    }

    #[test]
    fn the_answering_side_cannot_be_the_client() {
        let mut answer = QUERY.to_vec();
        answer[2] |= 0x80;
        assert_eq!(opening(&answer, true, 53), Verdict::Reject);
    }
}
