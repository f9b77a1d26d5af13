//! Link layer: what lies between the capture's link type and the IP packet.
//!
//! Enters: a link type and the bytes of a packet. Leaves: the bytes from the IP header on, or nothing where the packet
//! carries something else. Bounded: at most [`MAX_LABELS`] VLAN tags and MPLS labels. Deliberately absent: everything
//! that is not IP.

use super::wireless;

/// VLAN tags and MPLS labels one packet may carry.
const MAX_LABELS: usize = 8;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// The IP packet inside, of a packet with a libpcap LINKTYPE_ number (<https://www.tcpdump.org/linktypes.html>).
pub fn ip_packet(link_type: i32, bytes: &[u8]) -> Option<&[u8]> {
    match link_type {
        // NULL, LOOP: an address family in the byte order of the capturing host, or of the network.
        0 | 108 => loopback(bytes),
        1 => ethernet(bytes),
        // PPP, with or without the address and control bytes; PPP over HDLC.
        9 | 50 => ppp(bytes),
        // The same behind a byte for the direction; PPP over Ethernet without Ethernet.
        204 => ppp(bytes.get(1..)?),
        51 => ppp(bytes.get(6..)?),
        // Token Ring (no source route), FDDI and ATM (RFC 2684): LLC and SNAP behind their addresses.
        6 => snap(bytes.get(14..)?),
        10 => snap(bytes.get(13..)?),
        100 => snap(bytes),
        105 | 119 | 127 | 163 | 192 => snap(wireless::llc(link_type, bytes)?),
        // BSD's packet filter log, its length in front and padded to words; its IPsec interface.
        117 => raw(bytes.get(usize::from(*bytes.first()?).next_multiple_of(4)..)?),
        109 => raw(bytes.get(12..)?),
        // IP over FireWire, of macOS: two long addresses.
        138 => by_ethertype(half(bytes, 16)?, bytes.get(18..)?),
        239 => netfilter_log(bytes),
        258 => packet_tap(bytes),
        // Cisco HDLC: address, control, EtherType.
        104 => by_ethertype(half(bytes, 2)?, bytes.get(4..)?),
        107 => frame_relay(bytes),
        // SLIP as the BSDs write it: direction, and room for a compressed header.
        8 => raw(bytes.get(16..)?),
        // Hilscher's analyser: a word of its own in front of the frame, and its preamble.
        240 => ethernet(bytes.get(4..)?),
        241 => ethernet(bytes.get(12..)?),
        // Raw IP, under the number of the file format and those of some systems' captures.
        12 | 14 | 101 | 228 | 229 => raw(bytes),
        // Linux cooked captures.
        113 => by_ethertype(half(bytes, 14)?, bytes.get(16..)?),
        276 => by_ethertype(half(bytes, 0)?, bytes.get(20..)?),
        _ => None,
    }
}

/// The IP packet inside an Ethernet frame, also one that was itself carried in a tunnel.
pub fn ethernet(bytes: &[u8]) -> Option<&[u8]> {
    by_ethertype(half(bytes, 12)?, bytes.get(14..)?)
}

/// The IP packet behind an EtherType field.
pub fn by_ethertype(ethertype: u16, payload: &[u8]) -> Option<&[u8]> {
    let (mut ethertype, mut payload) = (ethertype, payload);
    for _ in 0..MAX_LABELS {
        match ethertype {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => return raw(payload),
            // 802.1Q, 802.1ad and the types used for stacked tags before it.
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
                ethertype = half(payload, 2)?;
                payload = payload.get(4..)?;
            }
            0x8847 | 0x8848 => return mpls(payload),
            // PPPoE session: version, code, session, length, then PPP.
            0x8864 => return ppp(payload.get(6..)?),
            // Cisco metadata: version, length in words of four, options; then another type.
            0x8909 => {
                let bytes = 4 + usize::from(*payload.get(1)?) * 4;
                ethertype = half(payload, bytes - 2)?;
                payload = payload.get(bytes..)?;
            }
            // Provider backbone bridging: a service tag, then the customer's frame.
            0x88e7 => return ethernet_once(payload.get(4..)?),
            // Transparent Ethernet bridging.
            0x6558 => return ethernet_once(payload),
            // 802.3 with a length: LLC, which may name IP itself, and SNAP where it says so.
            0..=1500 if payload.starts_with(&[6, 6, 3]) => return raw(payload.get(3..)?),
            0..=1500 if payload.starts_with(&[0xaa, 0xaa, 3]) => {
                ethertype = half(payload, 6)?;
                payload = payload.get(8..)?;
            }
            _ => return None,
        }
    }
    None
}

/// An Ethernet frame within another; no third one is looked for.
fn ethernet_once(bytes: &[u8]) -> Option<&[u8]> {
    match half(bytes, 12)? {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => raw(bytes.get(14..)?),
        0x8100 => raw(bytes.get(18..)?),
        _ => None,
    }
}

/// An LLC header for SNAP, then an EtherType.
fn snap(bytes: &[u8]) -> Option<&[u8]> {
    by_ethertype(half(bytes.strip_prefix(&[0xaa, 0xaa, 3])?, 3)?, bytes.get(8..)?)
}

/// Linux's NFLOG: an address family, then attributes in the byte order of the host, of which one is the packet.
fn netfilter_log(bytes: &[u8]) -> Option<&[u8]> {
    const PAYLOAD: u16 = 9;
    let mut rest = bytes.get(4..)?;
    loop {
        let [l0, l1, k0, k1] = *rest.first_chunk()?;
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        let kind = u16::from_le_bytes([k0, k1]) & 0x7fff;
        if kind == PAYLOAD {
            return raw(rest.get(4..length.min(rest.len()))?);
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// macOS's PKTAP: its own length and the link type of what follows, little endian.
fn packet_tap(bytes: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (length, link_type) = (usize::try_from(word(0)?).ok()?, i32::try_from(word(8)?).ok()?);
    match link_type {
        258 => None,
        _ => ip_packet(link_type, bytes.get(length.max(12)..)?),
    }
}

fn mpls(bytes: &[u8]) -> Option<&[u8]> {
    let labels = bytes.chunks_exact(4).take(MAX_LABELS);
    let bottom = labels.into_iter().position(|label| label[2] & 1 == 1)?;
    let payload = bytes.get((bottom + 1) * 4..)?;
    // Nothing says what follows the last label: an IP packet, or a control word (0) and an Ethernet frame.
    raw(payload).or_else(|| match payload.first()? {
        0 => ethernet_once(payload.get(4..)?),
        _ => ethernet_once(payload),
    })
}

fn ppp(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes
        .strip_prefix(&[0xff, 3])
        .or(bytes.strip_prefix(&[0x0f, 0]))
        .unwrap_or(bytes);
    match half(bytes, 0)? {
        0x0021 | 0x0057 | ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => raw(bytes.get(2..)?),
        0x0281 => mpls(bytes.get(2..)?),
        // The protocol field compressed to one byte.
        other if matches!(other >> 8, 0x21 | 0x57) => raw(bytes.get(1..)?),
        _ => None,
    }
}

/// Frame Relay (RFC 2427): an address that ends with an odd byte, control, and the number of a protocol; or, as Cisco
/// writes it, an EtherType.
fn frame_relay(bytes: &[u8]) -> Option<&[u8]> {
    let address_end = bytes.iter().take(4).position(|byte| byte & 1 == 1)?;
    match bytes.get(address_end + 1..)? {
        [3, 0xcc | 0x8e, packet @ ..] => raw(packet),
        // SNAP, its organisation 0.
        [3, 0, 0x80, 0, 0, 0, behind @ ..] => by_ethertype(half(behind, 0)?, behind.get(2..)?),
        behind => by_ethertype(half(behind, 0)?, behind.get(2..)?),
    }
}

fn loopback(bytes: &[u8]) -> Option<&[u8]> {
    let family: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let family = u32::from_le_bytes(family).min(u32::from_be_bytes(family));
    // AF_INET, and AF_INET6 of the BSDs, Darwin, Windows and Linux.
    matches!(family, 2 | 10 | 23 | 24 | 28 | 30).then(|| raw(&bytes[4..]))?
}

fn raw(bytes: &[u8]) -> Option<&[u8]> {
    matches!(bytes.first()? >> 4, 4 | 6).then_some(bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: &[u8] = &[0x45, 0, 0, 20];
    const SNAP: [u8; 8] = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];

    fn framed(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn finds_the_ip_packet_behind_every_link_type() {
        let addresses = [9u8; 12].as_slice();
        let cases: Vec<(i32, Vec<u8>)> = vec![
            (1, framed(&[addresses, &[8, 0], IP])),
            (1, framed(&[addresses, &[0x81, 0, 0, 5, 8, 0], IP])),
            (
                1,
                framed(&[addresses, &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x86, 0xdd], IP]),
            ),
            (
                1,
                framed(&[addresses, &[0x88, 0x47, 0, 0, 0x10, 64, 0, 0, 0x21, 64], IP]),
            ),
            (
                1,
                framed(&[
                    addresses,
                    &[0x88, 0x47, 0, 0, 0x21, 64, 0, 0, 0, 0],
                    addresses,
                    &[8, 0],
                    IP,
                ]),
            ),
            (
                1,
                framed(&[addresses, &[0x88, 0x64, 0x11, 0, 0, 1, 0, 6, 0, 0x21], IP]),
            ),
            (
                1,
                framed(&[addresses, &[0, 12, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], IP]),
            ),
            (0, framed(&[&[2, 0, 0, 0], IP])),
            (0, framed(&[&[30, 0, 0, 0], IP])),
            (108, framed(&[&[0, 0, 0, 2], IP])),
            (9, framed(&[&[0xff, 3, 0, 0x21], IP])),
            (9, framed(&[&[0x21], IP])),
            (104, framed(&[&[0x0f, 0, 8, 0], IP])),
            (107, framed(&[&[0x18, 0x41, 3, 0xcc], IP])),
            (107, framed(&[&[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0], IP])),
            (107, framed(&[&[0x18, 0x41, 8, 0], IP])),
            (8, framed(&[&[0; 16], IP])),
            (240, framed(&[&[0; 4], addresses, &[8, 0], IP])),
            (241, framed(&[&[0; 12], addresses, &[8, 0], IP])),
            (1, framed(&[addresses, &[0, 7, 6, 6, 3], IP])),
            (101, IP.to_vec()),
            (12, IP.to_vec()),
            (228, IP.to_vec()),
            (204, framed(&[&[1, 0xff, 3, 0, 0x21], IP])),
            (51, framed(&[&[0x11, 0, 0, 1, 0, 6, 0, 0x21], IP])),
            (6, framed(&[&[0x10, 0x40], addresses, &SNAP, IP])),
            (10, framed(&[&[0x50], addresses, &SNAP, IP])),
            (100, framed(&[&SNAP, IP])),
            (105, framed(&[&[8, 2], &[0; 22], &SNAP, IP])),
            (117, framed(&[&[61, 2], &[0; 62], IP])),
            (109, framed(&[&[2], &[0; 11], IP])),
            (138, framed(&[&[0; 16], &[8, 0], IP])),
            (
                239,
                framed(&[&[2, 0, 0, 0], &[6, 0, 1, 0, 9, 9, 0, 0], &[8, 0, 9, 0], IP]),
            ),
            (
                258,
                framed(&[&[16, 0, 0, 0, 1, 0, 0, 0, 101, 0, 0, 0, 0, 0, 0, 0], IP]),
            ),
            (1, framed(&[addresses, &[0x89, 9, 1, 1, 0, 1, 0, 5, 8, 0], IP])),
            (
                1,
                framed(&[addresses, &[0x88, 0xe7, 0, 0, 0, 1], addresses, &[8, 0], IP]),
            ),
            (113, framed(&[&[0; 14], &[8, 0], IP])),
            (276, framed(&[&[8, 0], &[0; 18], IP])),
        ];
        for (link_type, bytes) in cases {
            assert_eq!(
                ip_packet(link_type, &bytes),
                Some(IP),
                "{link_type}: {bytes:02x?}"
            );
            for cut in 0..bytes.len() {
                ip_packet(link_type, &bytes[..cut]);
            }
        }
    }

    #[test]
    fn passes_over_what_is_not_ip() {
        let arp = framed(&[&[9; 12], &[8, 6], &[0; 28]]);
        assert_eq!(ip_packet(1, &arp), None);
        assert_eq!(ip_packet(105, &arp), None);
        let endless = framed(&[&[9; 12], &[0x81, 0, 0, 5].repeat(50)]);
        assert_eq!(ip_packet(1, &endless), None);
    }
}
