//! Tunnel: the headers that carry a packet inside another's payload.
//!
//! Enters: payloads. Leaves: the IP packet inside. Bounded: one header. Deliberately absent: how deep tunnels may nest.

use super::link_layer;

const ERSPAN: u16 = 0x88be;
const ERSPAN_HEADER_BYTES: usize = 8;

/// The IP packet inside a GRE packet (RFC 2784, with the key and sequence fields of RFC 2890).
pub(super) fn generic_routing(payload: &[u8]) -> Option<&[u8]> {
    let [flags, version, protocol_high, protocol_low] = *payload.first_chunk()?;
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
        _ => link_layer::by_ethertype(protocol, inner),
    }
}

/// The IP packet inside a GENEVE packet (RFC 8926).
pub(super) fn generic_encapsulation(payload: &[u8]) -> Option<&[u8]> {
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
