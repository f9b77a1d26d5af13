//! Packet: one captured packet becomes one TCP segment or UDP datagram.
//!
//! Enters: packets of a capture file. Leaves: [`Segment`]s. Bounded: [`Fragments`], [`MAX_TUNNELS`] tunnels inside each
//! other; each thing passed over is counted. Deliberately absent: checksums (captures on the sending host have none) and
//! every transport but TCP and UDP.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpNumber, LaxIpSlice, TcpHeaderSlice, UdpHeaderSlice};

use super::capture_file::CapturedPacket;
use super::fragments::Fragments;
use super::{link_layer, tunnel};
use crate::event::TimeNs;

/// Tunnels (IP in IP, GRE, those in UDP) inside each other.
pub const MAX_TUNNELS: usize = 4;

const UDP_HEADER_BYTES: usize = 8;

/// A TCP segment or UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    pub time_ns: TimeNs,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// `None` for UDP.
    pub tcp: Option<TcpFields>,
    /// Payload bytes on the wire.
    pub length: u32,
    /// The first of them, as many as the capture holds.
    pub payload: &'a [u8],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFields {
    pub sequence: u32,
    /// `None` without the ACK flag.
    pub acknowledgment: Option<u32>,
    pub syn: bool,
    pub fin: bool,
    pub rst: bool,
}

/// What was passed over, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketCounters {
    pub packets: u64,
    /// Another link type, no IP, or neither TCP nor UDP.
    pub not_tcp_or_udp: u64,
    /// A header that is cut or breaks its format.
    pub malformed: u64,
    /// IP fragments whose datagram never became whole.
    pub fragments_dropped: u64,
}

/// Reads packets; holds IP fragments.
#[derive(Default)]
pub struct PacketReader {
    counters: PacketCounters,
    fragments: Fragments,
}

impl PacketReader {
    pub fn counters(&self) -> PacketCounters {
        PacketCounters {
            fragments_dropped: self.counters.fragments_dropped + self.fragments.dropped(),
            ..self.counters
        }
    }

    /// Calls `visit` with the segment in `packet`, if there is one.
    pub fn read(&mut self, packet: &CapturedPacket<'_>, visit: &mut dyn FnMut(Segment<'_>)) {
        self.counters.packets += 1;
        match link_layer::ip_packet(packet.link_type, packet.bytes) {
            Some(bytes) => self.ip(packet.time_ns, bytes, MAX_TUNNELS, visit),
            None => self.counters.not_tcp_or_udp += 1,
        }
    }

    fn ip(&mut self, time_ns: TimeNs, bytes: &[u8], tunnels: usize, visit: &mut dyn FnMut(Segment<'_>)) {
        let Ok((ip, _)) = LaxIpSlice::from_slice(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        let carrier = Carrier {
            time_ns,
            source: ip.source_addr(),
            destination: ip.destination_addr(),
            tunnels,
        };
        let payload = ip.payload();
        let header_length = payload.payload.as_ptr() as usize - bytes.as_ptr() as usize;
        let on_wire = wire_length(&ip)
            .saturating_sub(header_length)
            .max(payload.payload.len());
        if !payload.fragmented {
            return self.transport(carrier, payload.ip_number, on_wire, payload.payload, visit);
        }
        if on_wire > payload.payload.len() {
            self.counters.fragments_dropped += 1;
            return;
        }
        let Some((number, whole)) = self.fragments.add(time_ns, &ip) else {
            return;
        };
        self.transport(carrier, number, whole.len(), &whole, visit);
    }

    fn transport(
        &mut self,
        carrier: Carrier,
        number: IpNumber,
        on_wire: usize,
        payload: &[u8],
        visit: &mut dyn FnMut(Segment<'_>),
    ) {
        match number {
            IpNumber::TCP => match TcpHeaderSlice::from_slice(payload) {
                Ok(header) => visit(carrier.tcp(&header, on_wire, payload)),
                Err(_) => self.counters.malformed += 1,
            },
            IpNumber::UDP => match UdpHeaderSlice::from_slice(payload) {
                Ok(header) => {
                    let (from, to) = (header.source_port(), header.destination_port());
                    match tunnel::in_datagram(from, to, &payload[UDP_HEADER_BYTES..]) {
                        Some(inner) => self.tunnel(carrier, Some(inner), visit),
                        None => visit(carrier.udp(&header, on_wire, payload)),
                    }
                }
                Err(_) => self.counters.malformed += 1,
            },
            IpNumber::IPV4 | IpNumber::IPV6 => self.tunnel(carrier, Some(payload), visit),
            IpNumber::GRE => self.tunnel(carrier, tunnel::generic_routing(payload), visit),
            _ => self.counters.not_tcp_or_udp += 1,
        }
    }

    fn tunnel(&mut self, carrier: Carrier, inner: Option<&[u8]>, visit: &mut dyn FnMut(Segment<'_>)) {
        match inner {
            Some(inner) if carrier.tunnels > 0 => self.ip(carrier.time_ns, inner, carrier.tunnels - 1, visit),
            _ => self.counters.not_tcp_or_udp += 1,
        }
    }
}

/// What the IP header said of its payload.
#[derive(Clone, Copy)]
struct Carrier {
    time_ns: TimeNs,
    source: IpAddr,
    destination: IpAddr,
    tunnels: usize,
}

impl Carrier {
    fn tcp<'a>(self, header: &TcpHeaderSlice<'_>, on_wire: usize, payload: &'a [u8]) -> Segment<'a> {
        let header_length = header.slice().len();
        Segment {
            time_ns: self.time_ns,
            source: SocketAddr::new(self.source, header.source_port()),
            destination: SocketAddr::new(self.destination, header.destination_port()),
            tcp: Some(TcpFields {
                sequence: header.sequence_number(),
                acknowledgment: header.ack().then(|| header.acknowledgment_number()),
                syn: header.syn(),
                fin: header.fin(),
                rst: header.rst(),
            }),
            length: (on_wire - header_length) as u32,
            payload: &payload[header_length..],
        }
    }

    fn udp<'a>(self, header: &UdpHeaderSlice<'_>, on_wire: usize, payload: &'a [u8]) -> Segment<'a> {
        let data = &payload[8..];
        // A length of 0 stands for a jumbogram (RFC 2675) or an offloaded checksum's leftovers: all there is.
        let stated = usize::from(header.length())
            .checked_sub(8)
            .unwrap_or(on_wire - 8)
            .min(on_wire - 8);
        Segment {
            time_ns: self.time_ns,
            source: SocketAddr::new(self.source, header.source_port()),
            destination: SocketAddr::new(self.destination, header.destination_port()),
            tcp: None,
            length: stated as u32,
            payload: data.get(..stated).unwrap_or(data),
        }
    }
}

/// Length of the whole IP packet as its header gives it; 0 where segmentation offload left it out.
fn wire_length(ip: &LaxIpSlice<'_>) -> usize {
    match ip {
        LaxIpSlice::Ipv4(ip) => usize::from(ip.header().total_len()),
        LaxIpSlice::Ipv6(ip) => match ip.header().payload_length() {
            0 => 0,
            payload => usize::from(payload) + 40,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Ipv4Header, PacketBuilder};

    fn read(reader: &mut PacketReader, bytes: &[u8]) -> Vec<(SocketAddr, SocketAddr, u32, Vec<u8>)> {
        let mut seen = Vec::new();
        let packet = CapturedPacket {
            time_ns: 5,
            link_type: 101,
            bytes,
            wire_length: bytes.len() as u64,
        };
        reader.read(&packet, &mut |segment| {
            seen.push((
                segment.source,
                segment.destination,
                segment.length,
                segment.payload.to_vec(),
            ));
        });
        seen
    }

    fn udp(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(5000, 53);
        builder.write(&mut bytes, payload).unwrap();
        bytes
    }

    fn expected(payload: &[u8]) -> Vec<(SocketAddr, SocketAddr, u32, Vec<u8>)> {
        let (source, destination) = ("10.0.0.1:5000".parse().unwrap(), "10.0.0.2:53".parse().unwrap());
        vec![(source, destination, payload.len() as u32, payload.to_vec())]
    }

    #[test]
    fn reads_tcp_and_knows_what_the_capture_cut() {
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ipv6([1; 16], [2; 16], 64)
            .tcp(40000, 80, 77, 1000)
            .ack(9)
            .psh();
        builder.write(&mut bytes, b"GET / HTTP/1.1").unwrap();
        let mut reader = PacketReader::default();
        let packet = CapturedPacket {
            time_ns: 5,
            link_type: 229,
            bytes: &bytes[..65],
            wire_length: 74,
        };
        let mut count = 0;
        reader.read(&packet, &mut |segment| {
            count += 1;
            assert_eq!((segment.length, segment.payload), (14, b"GET /".as_slice()));
            let fields = segment.tcp.unwrap();
            assert_eq!(
                (fields.sequence, fields.acknowledgment, fields.syn),
                (77, Some(9), false)
            );
        });
        assert_eq!(count, 1);
    }

    /// Options, extension headers, authentication, and lengths that offloading left at 0.
    #[test]
    fn finds_the_datagram_behind_every_header() {
        let four = udp(b"inside");
        let mut six = Vec::new();
        let builder = PacketBuilder::ipv6([1; 16], [2; 16], 64).udp(5000, 53);
        builder.write(&mut six, b"inside").unwrap();
        let behind_six = |first: u8, headers: &[u8]| {
            let length = (six.len() - 40 + headers.len()) as u16;
            let header = [&six[..4], &length.to_be_bytes(), &[first, 64], &six[8..40]].concat();
            [&header, headers, &six[40..]].concat()
        };
        let with_options = [
            &[0x46],
            &four[1..3],
            &[four[3] + 4],
            &four[4..20],
            b"\x94\x04\0\0",
            &four[20..],
        ]
        .concat();
        let authentication = [&[17, 4], &[7; 22][..]].concat();
        let authenticated = [
            &four[..3],
            &[four[3] + 24],
            &four[4..9],
            &[51],
            &four[10..20],
            &authentication,
            &four[20..],
        ]
        .concat();
        let routing = [&[17, 2, 4, 0][..], &[0; 20]].concat();
        let offloaded = |bytes: &[u8], at: usize| [&bytes[..at], &[0, 0], &bytes[at + 2..]].concat();
        for bytes in [
            with_options,
            authenticated,
            offloaded(&four, 2),
            offloaded(&six, 4),
            behind_six(0, b"\x11\0\x01\x04\0\0\0\0"),
            behind_six(0, b"\x3c\0\x01\x04\0\0\0\0\x11\0\x01\x04\0\0\0\0"),
            behind_six(43, &routing),
            behind_six(51, &authentication),
        ] {
            let seen = read(&mut PacketReader::default(), &bytes);
            let payloads: Vec<&[u8]> = seen.iter().map(|(.., payload)| payload.as_slice()).collect();
            assert_eq!(payloads, [b"inside"], "{bytes:02x?}");
        }
    }

    #[test]
    fn drops_the_padding_of_short_frames() {
        let mut bytes = udp(b"x");
        bytes.extend([0; 17]);
        assert_eq!(read(&mut PacketReader::default(), &bytes), expected(b"x"));
    }

    #[test]
    fn looks_into_tunnels_up_to_a_bound() {
        let inner = udp(b"inside");
        let wrap = |inner: &[u8], protocol| {
            let mut bytes = Vec::new();
            Ipv4Header::new(inner.len() as u16, 9, protocol, [1; 4], [2; 4])
                .unwrap()
                .write(&mut bytes)
                .unwrap();
            bytes.extend(inner);
            bytes
        };
        let mut reader = PacketReader::default();
        assert_eq!(
            read(&mut reader, &wrap(&inner, IpNumber::IPV4)),
            expected(b"inside")
        );
        let routed = [&[0x20, 0, 8, 0, 0, 0, 0, 1], inner.as_slice()].concat();
        assert_eq!(
            read(&mut reader, &wrap(&routed, IpNumber::GRE)),
            expected(b"inside")
        );
        let mut vxlan = Vec::new();
        let frame = [&[0; 8], [9; 12].as_slice(), &[8, 0], &inner].concat();
        PacketBuilder::ipv4([1; 4], [2; 4], 9)
            .udp(1, 4789)
            .write(&mut vxlan, &frame)
            .unwrap();
        assert_eq!(read(&mut reader, &vxlan), expected(b"inside"));
        let mut geneve = Vec::new();
        let frame = [&[1, 0, 0x65, 0x58], [0; 8].as_slice(), &[9; 12], &[8, 0], &inner].concat();
        PacketBuilder::ipv4([1; 4], [2; 4], 9)
            .udp(1, 6081)
            .write(&mut geneve, &frame)
            .unwrap();
        assert_eq!(read(&mut reader, &geneve), expected(b"inside"));
        let mirrored = [
            &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1],
            [0; 8].as_slice(),
            &[9; 12],
            &[8, 0],
            &inner,
        ]
        .concat();
        assert_eq!(
            read(&mut reader, &wrap(&mirrored, IpNumber::GRE)),
            expected(b"inside")
        );
        let deep = (0..=MAX_TUNNELS).fold(inner, |inner, _| wrap(&inner, IpNumber::IPV4));
        assert_eq!(read(&mut reader, &deep), []);
    }

    #[test]
    fn no_cut_or_garbage_makes_it_panic() {
        let whole = udp(b"abcdef");
        let mut reader = PacketReader::default();
        for cut in 0..whole.len() {
            for value in [0, 0x40, 0xff] {
                let mut bytes = whole[..cut].to_vec();
                read(&mut reader, &bytes);
                for at in 0..cut {
                    let before = std::mem::replace(&mut bytes[at], value);
                    read(&mut reader, &bytes);
                    bytes[at] = before;
                }
            }
        }
    }
}
