//! One DNS message: header, first question, and what of the records matters (RFC 1035, RFC 6891).
//!
//! Enters: the bytes of a message, possibly cut off. Leaves: [`DnsMessage`]. Bounded: [`MAX_POINTERS`] jumps a name,
//! [`MAX_RECORDS`] records. Deliberately absent: the contents of records other than addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use compact_str::{CompactString, format_compact};

use crate::protocol::reader::Reader;

pub(super) const HEADER_BYTES: usize = 12;
/// Compression pointers followed in one name.
const MAX_POINTERS: usize = 16;
/// Longest name on the wire (RFC 1035 section 2.3.4).
const MAX_NAME_BYTES: usize = 255;
/// Records walked in one message.
const MAX_RECORDS: usize = 4096;
/// Addresses kept of an answer.
const MAX_ADDRESSES: usize = 8;

const TYPE_A: u16 = 1;
const TYPE_SOA: u16 = 6;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;
pub(super) const TYPE_AXFR: u16 = 252;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DnsMessage {
    pub(super) id: u16,
    pub(super) is_response: bool,
    pub(super) opcode: u8,
    /// With the upper bits of EDNS where there are any.
    pub(super) response_code: u16,
    pub(super) question: Option<Question>,
    pub(super) addresses: Vec<CompactString>,
    /// SOA records among the answers: a zone transfer begins and ends with one.
    pub(super) zone_marks: u32,
    pub(super) answers: u16,
    /// How much of the message the bytes held.
    pub(super) extent: Extent,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Question {
    /// Presentation form without the final dot; "." for the root.
    pub(super) name: CompactString,
    pub(super) kind: u16,
    pub(super) class: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Extent {
    /// The bytes end within the records, or hold something else behind them.
    #[default]
    Partial,
    /// Header, question and all records, and nothing behind.
    Whole,
}

/// Reads a message; `None` where header or question break the format or are cut off.
pub(super) fn read(bytes: &[u8]) -> Option<DnsMessage> {
    let mut reader = Reader::new(bytes);
    let id = reader.u16()?;
    let flags = reader.u16()?;
    let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    let mut message = DnsMessage {
        id,
        is_response: flags & 0x8000 != 0,
        opcode: (flags >> 11 & 0xf) as u8,
        response_code: flags & 0xf,
        answers: counts[1],
        ..DnsMessage::default()
    };
    for index in 0..counts[0].min(4) {
        let question = question(bytes, &mut reader)?;
        if index == 0 {
            message.question = Some(question);
        }
    }
    if counts[0] > 4 {
        return None;
    }
    let total = counts[1..].iter().map(|count| usize::from(*count)).sum::<usize>();
    let walked = (0..total.min(MAX_RECORDS)).all(|index| {
        let is_answer = index < usize::from(counts[1]);
        record(bytes, &mut reader, is_answer, &mut message).is_some()
    });
    if walked && total <= MAX_RECORDS && reader.is_empty() {
        message.extent = Extent::Whole;
    }
    Some(message)
}

fn question<'a>(bytes: &'a [u8], reader: &mut Reader<'a>) -> Option<Question> {
    let name = name(bytes, reader)?;
    Some(Question {
        name,
        kind: reader.u16()?,
        class: reader.u16()?,
    })
}

fn record(bytes: &[u8], reader: &mut Reader<'_>, is_answer: bool, message: &mut DnsMessage) -> Option<()> {
    skip_name(bytes, reader)?;
    let (kind, _class, time_to_live) = (reader.u16()?, reader.u16()?, reader.u32()?);
    let length = usize::from(reader.u16()?);
    let data = reader.take(length)?;
    let address = match kind {
        // The class and time to live of an OPT record are fields of their own.
        TYPE_OPT => {
            message.response_code |= (time_to_live >> 24) as u16 * 16;
            None
        }
        TYPE_SOA if is_answer => {
            message.zone_marks += 1;
            None
        }
        TYPE_A if is_answer => data
            .try_into()
            .ok()
            .map(|data: [u8; 4]| format_compact!("{}", Ipv4Addr::from(data))),
        TYPE_AAAA if is_answer => data
            .try_into()
            .ok()
            .map(|data: [u8; 16]| format_compact!("{}", Ipv6Addr::from(data))),
        _ => None,
    };
    if message.addresses.len() < MAX_ADDRESSES {
        message.addresses.extend(address);
    }
    Some(())
}

/// Steps over a name without looking where its pointer leads.
fn skip_name(bytes: &[u8], reader: &mut Reader<'_>) -> Option<()> {
    let start = reader.at();
    loop {
        match reader.u8()? {
            0 => return Some(()),
            pointer @ 0xc0..=0xff => {
                let target = usize::from(pointer & 0x3f) << 8 | usize::from(reader.u8()?);
                return (target < start && target < bytes.len()).then_some(());
            }
            length @ 1..=63 => drop(reader.take(length.into())?),
            _ => return None,
        }
        if reader.at() - start > MAX_NAME_BYTES {
            return None;
        }
    }
}

fn name<'a>(bytes: &'a [u8], reader: &mut Reader<'a>) -> Option<CompactString> {
    let mut name = CompactString::default();
    let mut jumped: Option<Reader<'a>> = None;
    let mut pointers = 0;
    let mut wire_bytes = 0;
    loop {
        let current = jumped.as_mut().unwrap_or(reader);
        let start = current.at();
        match current.u8()? {
            0 => break,
            pointer @ 0xc0..=0xff => {
                let target = usize::from(pointer & 0x3f) << 8 | usize::from(current.u8()?);
                pointers += 1;
                // Only ever backwards, so that there is no loop.
                if target >= start || pointers > MAX_POINTERS {
                    return None;
                }
                let mut destination = Reader::new(bytes);
                destination.take(target)?;
                jumped = Some(destination);
            }
            length @ 1..=63 => {
                wire_bytes += usize::from(length) + 1;
                if wire_bytes > MAX_NAME_BYTES {
                    return None;
                }
                if !name.is_empty() {
                    name.push('.');
                }
                current
                    .take(length.into())?
                    .iter()
                    .for_each(|byte| push_escaped(&mut name, *byte));
            }
            _ => return None,
        }
    }
    if name.is_empty() {
        name.push('.');
    }
    Some(name)
}

/// As in zone files (RFC 1035 section 5.1).
fn push_escaped(name: &mut CompactString, byte: u8) {
    match byte {
        b'.' | b'\\' => {
            name.push('\\');
            name.push(char::from(byte));
        }
        0x21..=0x7e => name.push(char::from(byte)),
        _ => name.push_str(&format_compact!("\\{byte:03}")),
    }
}

/// Mnemonic of a record type (IANA, "Resource Record (RR) TYPEs").
pub(super) fn type_name(kind: u16) -> CompactString {
    let name = match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        11 => "WKS",
        12 => "PTR",
        13 => "HINFO",
        14 => "MINFO",
        15 => "MX",
        16 => "TXT",
        17 => "RP",
        18 => "AFSDB",
        24 => "SIG",
        25 => "KEY",
        28 => "AAAA",
        29 => "LOC",
        33 => "SRV",
        35 => "NAPTR",
        36 => "KX",
        37 => "CERT",
        38 => "A6",
        39 => "DNAME",
        41 => "OPT",
        42 => "APL",
        43 => "DS",
        44 => "SSHFP",
        45 => "IPSECKEY",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        49 => "DHCID",
        50 => "NSEC3",
        51 => "NSEC3PARAM",
        52 => "TLSA",
        53 => "SMIMEA",
        55 => "HIP",
        59 => "CDS",
        60 => "CDNSKEY",
        61 => "OPENPGPKEY",
        62 => "CSYNC",
        63 => "ZONEMD",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        108 => "EUI48",
        109 => "EUI64",
        249 => "TKEY",
        250 => "TSIG",
        251 => "IXFR",
        252 => "AXFR",
        253 => "MAILB",
        254 => "MAILA",
        255 => "ANY",
        256 => "URI",
        257 => "CAA",
        32768 => "TA",
        32769 => "DLV",
        _ => return format_compact!("TYPE{kind}"),
    };
    CompactString::const_new(name)
}

/// Mnemonic of a response code (IANA, "DNS RCODEs").
pub(super) fn response_code_name(code: u16) -> CompactString {
    let name = match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        11 => "DSOTYPENI",
        16 => "BADVERS",
        23 => "BADCOOKIE",
        _ => return format_compact!("RCODE{code}"),
    };
    CompactString::const_new(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x1c\0\x01";

    #[test]
    fn reads_a_query() {
        let message = read(QUERY).unwrap();
        let question = message.question.clone().unwrap();
        assert_eq!(
            (question.name.as_str(), question.kind, question.class),
            ("www.example.com", 28, 1)
        );
        assert_eq!(
            (message.id, message.is_response, message.extent),
            (0x1234, false, Extent::Whole)
        );
        for cut in 0..QUERY.len() {
            assert_eq!(read(&QUERY[..cut]), None);
        }
    }

    #[test]
    fn reads_an_answer_with_pointers_and_an_extended_code() {
        let mut bytes = QUERY.to_vec();
        bytes[2] = 0x81;
        bytes[7] = 1;
        bytes[11] = 1;
        bytes.extend(b"\xc0\x0c\0\x1c\0\x01\0\0\0\x05\0\x10\x20\x01");
        bytes.extend([0; 13]);
        bytes.push(1);
        bytes.extend(b"\0\0\x29\x04\xd0\x01\0\0\0\0\0");
        let message = read(&bytes).unwrap();
        assert_eq!(message.addresses, ["2001::1"]);
        assert_eq!((message.response_code, message.extent), (16, Extent::Whole));
        bytes.push(0);
        assert_eq!(read(&bytes).unwrap().extent, Extent::Partial);
    }

    #[test]
    fn pointers_that_lead_nowhere_are_refused() {
        for pointer in [0x0cu8, 0x0e, 0xff] {
            let bytes = [
                b"\0\0\0\0\0\x01\0\0\0\0\0\0\xc0".as_slice(),
                &[pointer, 0, 1, 0, 1],
            ]
            .concat();
            assert_eq!(read(&bytes), None);
        }
    }

    #[test]
    fn odd_names_are_escaped() {
        let bytes = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x04a.\0\xff\0\0\x01\0\x01";
        assert_eq!(read(bytes).unwrap().question.unwrap().name, "a\\.\\000\\255");
        let root = b"\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x02\0\x01";
        assert_eq!(read(root).unwrap().question.unwrap().name, ".");
    }
}
