//! Tunnel: the headers that carry a packet inside another's payload.
//!
//! Enters: payloads. Leaves: the IP packet inside. Bounded: one header. Deliberately absent: how deep tunnels may nest.

use super::link_layer;

const ERSPAN: u16 = 0x88be;
const ERSPAN_HEADER_BYTES: usize = 8;
const ERSPAN_3: u16 = 0x22eb;
const ERSPAN_3_HEADER_BYTES: usize = 12;
const PPP: u16 = 0x880b;

/// Port of VXLAN, and the one Linux used before there was one.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];
const VXLAN_EXTENSION_PORT: u16 = 4790;
const GENEVE_PORT: u16 = 6081;
const GTP_USER_PORT: u16 = 2152;
const L2TP_PORT: u16 = 1701;
const TEREDO_PORT: u16 = 3544;

/// The IP packet inside a UDP datagram, where its port and its beginning say that it is a tunnel's.
pub(super) fn in_datagram(source_port: u16, destination_port: u16, payload: &[u8]) -> Option<&[u8]> {
    let between = |port: u16| source_port == port || destination_port == port;
    match destination_port {
        port if VXLAN_PORTS.contains(&port) => link_layer::ethernet(payload.get(8..)?),
        VXLAN_EXTENSION_PORT => vxlan_extension(payload),
        GENEVE_PORT => generic_encapsulation(payload),
        _ if between(GTP_USER_PORT) => mobile_user_data(payload),
        _ if between(L2TP_PORT) => layer_two(payload),
        _ if between(TEREDO_PORT) => teredo(payload),
        _ => None,
    }
}

/// VXLAN with a field for the inner protocol (draft-ietf-nvo3-vxlan-gpe).
fn vxlan_extension(payload: &[u8]) -> Option<&[u8]> {
    match payload.get(3)? {
        1 | 2 => link_layer::ip_packet(RAW, payload.get(8..)?),
        3 => link_layer::ethernet(payload.get(8..)?),
        _ => None,
    }
}

/// GTP version 1: a user's packet (3GPP TS 29.281, section 5.1).
fn mobile_user_data(payload: &[u8]) -> Option<&[u8]> {
    const USER_PACKET: u8 = 255;
    let [flags, kind] = *payload.first_chunk()?;
    if flags & 0xf0 != 0x30 || kind != USER_PACKET {
        return None;
    }
    let mut at = 8;
    if flags & 7 != 0 {
        let mut next = *payload.get(11)?;
        at = 12;
        // Extension headers, each with its length in words of four and the next one's type at its end.
        while flags & 4 != 0 && next != 0 {
            let bytes = usize::from(*payload.get(at)?) * 4;
            next = *payload.get((at + bytes).checked_sub(1).filter(|_| bytes > 0)?)?;
            at += bytes;
        }
    }
    link_layer::ip_packet(RAW, payload.get(at..)?)
}

/// A data message of L2TP version 2 (RFC 2661, section 3.1).
fn layer_two(payload: &[u8]) -> Option<&[u8]> {
    let [flags, version] = *payload.first_chunk()?;
    if flags & 0x80 != 0 || version & 0x0f != 2 {
        return None;
    }
    let mut at = 6;
    at += if flags & 0x40 != 0 { 2 } else { 0 };
    at += if flags & 0x08 != 0 { 4 } else { 0 };
    if flags & 0x02 != 0 {
        at += 2 + usize::from(u16::from_be_bytes(*payload.get(at..)?.first_chunk()?));
    }
    link_layer::ip_packet(PPP_LINK, payload.get(at..)?)
}

/// IPv6 in UDP (RFC 4380), without the headers of its servers.
fn teredo(payload: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes(*payload.get(4..)?.first_chunk()?));
    (payload[0] >> 4 == 6 && payload.len() == length + 40).then_some(payload)
}

/// Link types: a bare IP packet, and PPP.
const RAW: i32 = 101;
const PPP_LINK: i32 = 9;

/// The IP packet inside a GRE packet (RFC 2784, with the key and sequence fields of RFC 2890).
pub(super) fn generic_routing(payload: &[u8]) -> Option<&[u8]> {
    let [flags, version, protocol_high, protocol_low] = *payload.first_chunk()?;
    if version & 7 == 1 && u16::from_be_bytes([protocol_high, protocol_low]) == PPP {
        // PPTP (RFC 2637): key always, sequence and acknowledgment numbers where the flags say so.
        let numbers = [flags & 0x10 != 0, version & 0x80 != 0];
        let optional = 4 + numbers.iter().filter(|there| **there).count() * 4;
        return link_layer::ip_packet(PPP_LINK, payload.get(4 + optional..)?);
    }
    if version & 7 != 0 {
        return None;
    }
    let optional = [0x80, 0x20, 0x10]
        .iter()
        .filter(|flag| flags & **flag != 0)
        .count()
        * 4;
    let protocol = u16::from_be_bytes([protocol_high, protocol_low]);
    let inner = payload.get(4 + optional..)?;
    match (protocol, flags & 0x10 != 0) {
        // A mirrored frame, behind the mirror's own header where frames are numbered.
        (ERSPAN, true) => link_layer::ethernet(inner.get(ERSPAN_HEADER_BYTES..)?),
        (ERSPAN, false) => link_layer::ethernet(inner),
        (ERSPAN_3, _) => {
            let has_platform_header = inner.get(11)? & 1 != 0;
            let more = if has_platform_header { 8 } else { 0 };
            link_layer::ethernet(inner.get(ERSPAN_3_HEADER_BYTES + more..)?)
        }
        _ => link_layer::by_ethertype(protocol, inner),
    }
}

/// The IP packet inside a GENEVE packet (RFC 8926).
fn generic_encapsulation(payload: &[u8]) -> Option<&[u8]> {
    let [options, _, protocol_high, protocol_low] = *payload.first_chunk()?;
    if options >> 6 != 0 {
        return None;
    }
    let header_bytes = 8 + usize::from(options & 0x3f) * 4;
    link_layer::by_ethertype(
        u16::from_be_bytes([protocol_high, protocol_low]),
        payload.get(header_bytes..)?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: &[u8] = &[0x45, 0, 0, 20];

    #[test]
    fn finds_the_packet_in_datagrams() {
        let cases: [(u16, &[u8]); 6] = [
            (8472, b"\x08\0\0\0\0\0\0\0999999999999\x08\0"),
            (4790, b"\x0c\0\0\x01\0\0\0\0"),
            (2152, b"\x30\xff\0\0\0\0\0\x01"),
            (2152, b"\x34\xff\0\0\0\0\0\x01\0\0\0\x85\x01\0\0\0"),
            (1701, b"\x40\x02\0\0\0\x01\0\x01\xff\x03\0\x21"),
            (1701, b"\x0a\x02\0\x01\0\x01\0\0\0\0\0\x0299\xff\x03\0\x21"),
        ];
        for (port, head) in cases {
            let payload = [head, IP].concat();
            assert_eq!(in_datagram(1, port, &payload), Some(IP), "{port} {head:?}");
            for cut in 0..payload.len() {
                in_datagram(1, port, &payload[..cut]);
            }
        }
        let ip6 = [&[0x60, 0, 0, 0, 0, 1, 59, 9][..], &[1; 33]].concat();
        assert_eq!(in_datagram(3544, 9, &ip6), Some(&ip6[..]));
        for (port, other) in [
            (2152, &b"\x32\x01\0\0\0\0\0\0"[..]),
            (1701, b"\xc8\x02\0\x0c"),
            (3544, b"\0\x01"),
        ] {
            assert_eq!(in_datagram(1, port, other), None, "{port}");
        }
    }

    #[test]
    fn finds_the_packet_behind_generic_routing() {
        for head in [
            &b"\0\0\x08\0"[..],
            b"\x30\0\x08\0keynumb.",
            b"\x30\x81\x88\x0b\0\0\0\x01seq.ack.\xff\x03\0\x21",
            b"\x10\0\x22\xeb\0\0\0\x01\x20\0\0\0\0\0\0\0\0\0\0\0999999999999\x08\0",
        ] {
            let payload = [head, IP].concat();
            assert_eq!(generic_routing(&payload), Some(IP), "{head:?}");
            for cut in 0..payload.len() {
                generic_routing(&payload[..cut]);
            }
        }
    }
}
