//! Capture file: a pcap or pcapng file becomes packets.
//!
//! Enters: the bytes of a file. Leaves: [`CapturedPacket`]s in file order, with the time in nanoseconds whatever the
//! file's resolution. Bounded: one packet at a time, no block above [`MAX_BLOCK_BYTES`], at most [`MAX_INTERFACES`]
//! interfaces a section. Deliberately absent: what is inside a packet, and every other capture format; those that are
//! often met are named in the error.

use std::io::Read;

use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Block, LegacyPcapBlock, PcapBlockOwned, PcapError, PcapHeader, create_reader};
use thiserror::Error;

use super::compressed_file::{Uncompressed, read_up_to};
use crate::event::TimeNs;

/// Starting size of the read buffer.
const BUFFER_BYTES: usize = 1 << 20;
/// The longest block (packet) of a file that is believed; libpcap itself refuses packets above 256 KiB.
pub const MAX_BLOCK_BYTES: usize = 16 << 20;
/// Interfaces one pcapng section may describe.
pub const MAX_INTERFACES: usize = 4096;
/// pcapng block type of the obsolete Packet Block, which old files still hold.
const OBSOLETE_PACKET_BLOCK: u32 = 2;

/// One packet of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapturedPacket<'a> {
    /// Nanoseconds since 1970.
    pub time_ns: TimeNs,
    /// The libpcap LINKTYPE_ number (<https://www.tcpdump.org/linktypes.html>).
    pub link_type: i32,
    /// The bytes captured, from the link layer on.
    pub bytes: &'a [u8],
    /// Bytes the packet had on the wire; more than `bytes` where the capture cut it.
    pub wire_length: u64,
}

#[derive(Debug, Error)]
pub enum CaptureFileError {
    #[error("empty file")]
    Empty,
    #[error("neither pcap nor pcapng{0}")]
    UnknownFormat(&'static str),
    #[error("read error after {0} bytes")]
    Read(u64),
    #[error("file ends in the middle of a packet, after {0} bytes")]
    Truncated(u64),
    #[error("damaged after {offset} bytes: {reason}")]
    Damaged { offset: u64, reason: String },
}

/// Calls `visit` with every packet of `file`, and with the number of bytes read so far.
///
/// # Errors
/// The first damage ends the reading; all packets before it have been visited.
pub fn read_packets<E>(
    file: impl Read + Send,
    visit: &mut impl FnMut(CapturedPacket<'_>, u64) -> Result<(), E>,
) -> Result<Result<(), E>, CaptureFileError> {
    let mut file = Uncompressed::open(file).map_err(|_| CaptureFileError::Read(0))?;
    let mut magic = [0; 4];
    let magic_length = read_up_to(&mut file, &mut magic).map_err(|_| CaptureFileError::Read(0))?;
    let start = magic[..magic_length].to_vec();
    let mut reader = create_reader(BUFFER_BYTES, WholeReads(std::io::Cursor::new(start).chain(file)))
        .map_err(|error| match error {
            PcapError::Eof => CaptureFileError::Empty,
            PcapError::ReadError => CaptureFileError::Read(0),
            PcapError::Incomplete(_) => CaptureFileError::Truncated(0),
            _ => CaptureFileError::UnknownFormat(format_hint(&magic)),
        })?;
    let mut clock = Clock::default();
    let mut offset = 0u64;
    loop {
        let step = match reader.next() {
            Ok((length, block)) => {
                offset += length as u64;
                let visited = match clock.packet(&block) {
                    Ok(Some(packet)) => visit(packet, offset),
                    Ok(None) => Ok(()),
                    Err(reason) => return Err(CaptureFileError::Damaged { offset, reason }),
                };
                if let Err(stopped) = visited {
                    return Ok(Err(stopped));
                }
                Advance::Consume(length)
            }
            Err(PcapError::Eof) => return Ok(Ok(())),
            Err(PcapError::Incomplete(_)) => Advance::Refill,
            Err(PcapError::BufferTooSmall) => Advance::Grow,
            Err(PcapError::UnexpectedEof) => return Err(CaptureFileError::Truncated(offset)),
            Err(PcapError::ReadError) => return Err(CaptureFileError::Read(offset)),
            Err(PcapError::NomError(_, kind) | PcapError::OwnedNomError(_, kind)) => {
                return Err(CaptureFileError::Damaged {
                    offset,
                    reason: format!("block breaks the format ({kind:?})"),
                });
            }
            Err(PcapError::HeaderNotRecognized) => {
                return Err(CaptureFileError::Damaged {
                    offset,
                    reason: "unknown header".to_owned(),
                });
            }
        };
        match step {
            Advance::Consume(length) => reader.consume(length),
            Advance::Refill => reader.refill().map_err(|_| CaptureFileError::Read(offset))?,
            Advance::Grow => grow(reader.as_mut(), offset)?,
        }
    }
}

enum Advance {
    Consume(usize),
    Refill,
    Grow,
}

fn grow(reader: &mut dyn PcapReaderIterator, offset: u64) -> Result<(), CaptureFileError> {
    let length = reader.data().len();
    // The buffer doubles until a block of the largest believed size fits.
    let wanted = (length * 2).max(BUFFER_BYTES * 2);
    if wanted > MAX_BLOCK_BYTES * 2 || !reader.grow(wanted) {
        let reason = format!("a packet claims more than {MAX_BLOCK_BYTES} bytes");
        return Err(CaptureFileError::Damaged { offset, reason });
    }
    reader.refill().map_err(|_| CaptureFileError::Read(offset))
}

/// Fills the buffer it is given as far as the file goes, so that the header is never cut by a short read.
struct WholeReads<R>(R);

impl<R: Read> Read for WholeReads<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        read_up_to(&mut self.0, buffer)
    }
}

fn format_hint(magic: &[u8; 4]) -> &'static str {
    match magic {
        b"snoo" => " (a snoop file: convert it with editcap)",
        b"GMBU" | b"RTSS" => " (a Network Monitor file: convert it with editcap)",
        b"TRSN" => " (a Sniffer file: convert it with editcap)",
        _ => "",
    }
}

/// What the blocks so far said about link types and timestamps.
#[derive(Default)]
struct Clock {
    legacy: Option<PcapHeader>,
    big_endian: bool,
    interfaces: Vec<Interface>,
    last_ns: TimeNs,
}

#[derive(Clone, Copy)]
struct Interface {
    link_type: i32,
    units_per_second: u64,
    offset_seconds: i64,
    snap_length: u32,
}

impl Clock {
    fn packet<'a>(&mut self, block: &'a PcapBlockOwned<'_>) -> Result<Option<CapturedPacket<'a>>, String> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.legacy = Some(header.clone());
                Ok(None)
            }
            PcapBlockOwned::Legacy(packet) => self.legacy_packet(packet).map(Some),
            PcapBlockOwned::NG(block) => self.block(block),
        }
    }

    fn legacy_packet<'a>(&self, packet: &'a LegacyPcapBlock<'_>) -> Result<CapturedPacket<'a>, String> {
        let header = self.legacy.as_ref().ok_or("packet before the file header")?;
        let unit_ns = if header.is_nanosecond_precision() { 1 } else { 1000 };
        let fraction_ns = u64::from(packet.ts_usec).saturating_mul(unit_ns);
        Ok(CapturedPacket {
            time_ns: u64::from(packet.ts_sec) * 1_000_000_000 + fraction_ns,
            // The upper bits carry the length of a frame check sequence.
            link_type: header.network.0 & 0x03ff_ffff,
            bytes: packet.data,
            wire_length: u64::from(packet.origlen).max(packet.data.len() as u64),
        })
    }

    fn block<'a>(&mut self, block: &'a Block<'_>) -> Result<Option<CapturedPacket<'a>>, String> {
        match block {
            Block::SectionHeader(header) => {
                self.big_endian = header.big_endian();
                self.interfaces.clear();
                Ok(None)
            }
            Block::InterfaceDescription(description) => {
                if self.interfaces.len() >= MAX_INTERFACES {
                    return Err(format!(
                        "a section describes more than {MAX_INTERFACES} interfaces"
                    ));
                }
                self.interfaces.push(Interface {
                    link_type: description.linktype.0,
                    units_per_second: units_per_second(description.if_tsresol),
                    offset_seconds: description.if_tsoffset,
                    snap_length: description.snaplen,
                });
                Ok(None)
            }
            Block::EnhancedPacket(packet) => {
                let interface = self.interface(packet.if_id)?;
                self.last_ns = interface.time_ns(packet.ts_high, packet.ts_low);
                let bytes = packet.packet_data();
                Ok(Some(self.captured(interface, bytes, packet.origlen)))
            }
            Block::SimplePacket(packet) => {
                let interface = self.interface(0)?;
                let limit = if interface.snap_length == 0 {
                    u32::MAX
                } else {
                    interface.snap_length
                };
                let length = packet.origlen.min(limit) as usize;
                let bytes = packet.data.get(..length).unwrap_or(packet.data);
                Ok(Some(self.captured(interface, bytes, packet.origlen)))
            }
            Block::Unknown(block) if self.block_type(block.block_type) == OBSOLETE_PACKET_BLOCK => {
                self.obsolete_packet(block.data).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The crate reports the type of an unknown block as little endian whatever the section says.
    fn block_type(&self, as_little_endian: u32) -> u32 {
        if self.big_endian {
            as_little_endian.swap_bytes()
        } else {
            as_little_endian
        }
    }

    fn obsolete_packet<'a>(&mut self, data: &'a [u8]) -> Result<CapturedPacket<'a>, String> {
        let word = |at: usize| -> Option<u32> {
            let bytes: [u8; 4] = data.get(at..at + 4)?.try_into().ok()?;
            Some(if self.big_endian {
                u32::from_be_bytes(bytes)
            } else {
                u32::from_le_bytes(bytes)
            })
        };
        let fields = (|| Some((word(0)?, word(4)?, word(8)?, word(12)?, word(16)?)))();
        let (interface_and_drops, high, low, captured, original) =
            fields.ok_or("a packet block is too short")?;
        let number = if self.big_endian {
            interface_and_drops >> 16
        } else {
            interface_and_drops & 0xffff
        };
        let interface = self.interface(number)?;
        self.last_ns = interface.time_ns(high, low);
        let bytes = &data[20..];
        let bytes = bytes.get(..captured as usize).unwrap_or(bytes);
        Ok(self.captured(interface, bytes, original))
    }

    fn interface(&self, number: u32) -> Result<Interface, String> {
        let known = self.interfaces.get(number as usize).copied();
        known.ok_or_else(|| format!("packet of interface {number}, which no block describes"))
    }

    fn captured<'a>(&self, interface: Interface, bytes: &'a [u8], original: u32) -> CapturedPacket<'a> {
        CapturedPacket {
            time_ns: self.last_ns,
            link_type: interface.link_type,
            bytes,
            wire_length: u64::from(original).max(bytes.len() as u64),
        }
    }
}

impl Interface {
    fn time_ns(self, high: u32, low: u32) -> TimeNs {
        let units = u128::from((u64::from(high) << 32) | u64::from(low));
        let since_offset_ns = units * 1_000_000_000 / u128::from(self.units_per_second);
        let offset_ns = i128::from(self.offset_seconds) * 1_000_000_000;
        let total_ns = i128::try_from(since_offset_ns)
            .unwrap_or(i128::MAX)
            .saturating_add(offset_ns);
        TimeNs::try_from(total_ns.max(0)).unwrap_or(TimeNs::MAX)
    }
}

/// The `if_tsresol` option: a power of ten, or of two where the top bit is set (pcapng, section 4.2).
fn units_per_second(resolution: u8) -> u64 {
    let exponent = u32::from(resolution & 0x7f);
    let units = if resolution & 0x80 == 0 {
        10u64.checked_pow(exponent)
    } else {
        1u64.checked_shl(exponent)
    };
    units.unwrap_or(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Packet = (TimeNs, i32, Vec<u8>, u64);

    fn packets(file: &[u8]) -> (Vec<Packet>, Result<(), CaptureFileError>) {
        let mut packets = Vec::new();
        let end = read_packets(file, &mut |packet: CapturedPacket<'_>, _| {
            packets.push((
                packet.time_ns,
                packet.link_type,
                packet.bytes.to_vec(),
                packet.wire_length,
            ));
            Ok::<(), std::convert::Infallible>(())
        });
        (packets, end.map(|_| ()))
    }

    /// How a machine writes numbers of four and two bytes.
    type Written = (fn(u32) -> [u8; 4], fn(u16) -> [u8; 2]);

    fn numbers(big_endian: bool) -> Written {
        match big_endian {
            true => (u32::to_be_bytes, u16::to_be_bytes),
            false => (u32::to_le_bytes, u16::to_le_bytes),
        }
    }

    fn pcap(magic: u32, big_endian: bool, records: &[(u32, u32, &[u8], u32)]) -> Vec<u8> {
        let (word, half) = numbers(big_endian);
        let mut file = Vec::new();
        file.extend(word(magic));
        file.extend(half(2));
        file.extend(half(4));
        for value in [0, 0, 65535, 1] {
            file.extend(word(value));
        }
        for (seconds, fraction, bytes, original) in records {
            for value in [*seconds, *fraction, bytes.len() as u32, *original] {
                file.extend(word(value));
            }
            file.extend(*bytes);
        }
        file
    }

    fn block(big_endian: bool, kind: u32, body: &[u8]) -> Vec<u8> {
        let word = |value: u32| {
            if big_endian {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let padded = body.len().div_ceil(4) * 4;
        let length = word((padded + 12) as u32);
        let mut block = [word(kind), length].concat();
        block.extend(body);
        block.resize(8 + padded, 0);
        block.extend(length);
        block
    }

    fn pcapng(big_endian: bool, resolution: u8) -> Vec<u8> {
        let (word, half) = numbers(big_endian);
        let section = [
            word(0x1a2b_3c4d).to_vec(),
            half(1).to_vec(),
            half(0).to_vec(),
            vec![0xff; 8],
        ]
        .concat();
        let mut interface = [half(113).to_vec(), half(0).to_vec(), word(100).to_vec()].concat();
        interface.extend([half(9), half(1)].concat());
        interface.extend([resolution, 0, 0, 0, 0, 0, 0, 0]);
        let mut file = block(big_endian, 0x0a0d_0d0a, &section);
        file.extend(block(big_endian, 1, &interface));
        let enhanced: Vec<u8> = [0, 0, 5, 3, 9]
            .iter()
            .flat_map(|value| word(*value))
            .chain(*b"abc")
            .collect();
        file.extend(block(big_endian, 6, &enhanced));
        let simple: Vec<u8> = word(4).into_iter().chain(*b"wxyz").collect();
        file.extend(block(big_endian, 3, &simple));
        let mut obsolete = [half(0), half(7)].concat();
        obsolete.extend([0, 6, 2, 2].iter().flat_map(|value| word(*value)));
        obsolete.extend(b"no");
        file.extend(block(big_endian, 2, &obsolete));
        file
    }

    #[test]
    fn reads_every_flavour_of_pcap() {
        let record: &[(u32, u32, &[u8], u32)] = &[(7, 8, b"abc", 10)];
        for (magic, unit_ns) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1)] {
            for big_endian in [false, true] {
                let (seen, end) = packets(&pcap(magic, big_endian, record));
                assert!(end.is_ok());
                assert_eq!(seen, [(7_000_000_000 + 8 * unit_ns, 1, b"abc".to_vec(), 10)]);
            }
        }
    }

    #[test]
    fn reads_pcapng_with_its_clock_and_old_blocks() {
        for big_endian in [false, true] {
            for (resolution, unit_ns) in [(6, 1000), (9, 1), (3, 1_000_000), (0x80, 1_000_000_000)] {
                let (seen, end) = packets(&pcapng(big_endian, resolution));
                assert!(end.is_ok(), "{end:?}");
                let expected = [
                    (5 * unit_ns, 113, b"abc".to_vec(), 9),
                    (5 * unit_ns, 113, b"wxyz".to_vec(), 4),
                    (6 * unit_ns, 113, b"no".to_vec(), 2),
                ];
                assert_eq!(seen, expected, "big endian {big_endian}, resolution {resolution}");
            }
        }
    }

    #[test]
    fn says_what_came_before_the_damage() {
        let whole = pcap(0xa1b2_c3d4, false, &[(1, 0, b"first", 5), (2, 0, b"second", 6)]);
        let (seen, end) = packets(&whole[..whole.len() - 1]);
        assert_eq!(seen.len(), 1);
        assert!(matches!(end, Err(CaptureFileError::Truncated(45))), "{end:?}");
        assert!(matches!(packets(b"").1, Err(CaptureFileError::Empty)));
        assert!(matches!(
            packets(&whole[..10]).1,
            Err(CaptureFileError::Truncated(0))
        ));
        assert!(
            matches!(packets(b"snoop\0\0\0").1, Err(CaptureFileError::UnknownFormat(hint)) if hint.contains("editcap"))
        );
        assert!(matches!(
            packets(&[0; 64]).1,
            Err(CaptureFileError::UnknownFormat(""))
        ));
    }

    #[test]
    fn refuses_a_packet_of_absurd_size() {
        let mut file = pcap(0xa1b2_c3d4, false, &[(1, 0, b"first", 5)]);
        for value in [2u32, 0, 0x7fff_ffff, 0x7fff_ffff] {
            file.extend(value.to_le_bytes());
        }
        file.resize(file.len() + 40 * 1024 * 1024, 0);
        let (seen, end) = packets(&file);
        assert_eq!(seen.len(), 1);
        assert!(matches!(end, Err(CaptureFileError::Damaged { .. })), "{end:?}");
    }

    #[test]
    fn reads_a_packet_larger_than_the_buffer() {
        let large = vec![7; 3 * BUFFER_BYTES];
        let (seen, end) = packets(&pcap(0xa1b2_c3d4, false, &[(1, 0, &large, 0), (2, 0, b"x", 1)]));
        assert!(end.is_ok());
        assert_eq!(
            (seen[0].2.len(), seen[0].3, seen.len()),
            (large.len(), large.len() as u64, 2)
        );
    }
}
