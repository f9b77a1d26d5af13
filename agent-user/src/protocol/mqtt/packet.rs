//! MQTT control packets: fixed header, and the parts of the variable header that name things.
//!
//! Enters: bytes that begin with a packet. Leaves: [`Packet`]s. Bounded: copies nothing; [`MAX_FILTERS`] topic filters
//! and [`MAX_PROPERTIES`] properties are looked at. Deliberately absent: payloads, wills, credentials.

use crate::protocol::Side;
use crate::protocol::reader::Reader;

/// Topic filters of one SUBSCRIBE that are looked at.
const MAX_FILTERS: usize = 256;
/// Properties of one packet that are looked at.
const MAX_PROPERTIES: usize = 64;

/// Type and flags, and the length of what follows (MQTT 3.1.1, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) header_bytes: usize,
    pub(super) rest_bytes: usize,
}

pub(super) const CONNECT: u8 = 1;
pub(super) const CONNACK: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
pub(super) const PUBCOMP: u8 = 7;
pub(super) const SUBSCRIBE: u8 = 8;
pub(super) const SUBACK: u8 = 9;
pub(super) const UNSUBSCRIBE: u8 = 10;
pub(super) const UNSUBACK: u8 = 11;
pub(super) const PINGREQ: u8 = 12;
pub(super) const PINGRESP: u8 = 13;
pub(super) const DISCONNECT: u8 = 14;
pub(super) const AUTH: u8 = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    NeedMore,
    Broken,
    Fixed(Fixed),
}

/// Reads the fixed header of a packet that `side` sent.
pub(super) fn head(side: Side, bytes: &[u8]) -> Head {
    let Some(first) = bytes.first() else {
        return Head::NeedMore;
    };
    let (kind, flags) = (first >> 4, first & 0xf);
    if !may_send(side, kind) || !are_flags_valid(kind, flags) {
        return Head::Broken;
    }
    let mut rest_bytes = 0;
    for (index, shift) in [0, 7, 14, 21].into_iter().enumerate() {
        let Some(byte) = bytes.get(1 + index) else {
            return Head::NeedMore;
        };
        rest_bytes |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let fixed = Fixed {
                kind,
                flags,
                header_bytes: 2 + index,
                rest_bytes,
            };
            return if fixed.is_length_valid() {
                Head::Fixed(fixed)
            } else {
                Head::Broken
            };
        }
    }
    Head::Broken
}

fn may_send(side: Side, kind: u8) -> bool {
    match kind {
        CONNECT | SUBSCRIBE | UNSUBSCRIBE | PINGREQ => side == Side::Client,
        CONNACK | SUBACK | UNSUBACK | PINGRESP => side == Side::Server,
        PUBLISH | PUBACK | PUBREC | PUBREL | PUBCOMP | DISCONNECT | AUTH => true,
        _ => false,
    }
}

fn are_flags_valid(kind: u8, flags: u8) -> bool {
    match kind {
        // Quality of service 3 does not exist.
        PUBLISH => flags & 0b0110 != 0b0110,
        PUBREL | SUBSCRIBE | UNSUBSCRIBE => flags & 0b0111 == 0b0010,
        _ => flags == 0,
    }
}

impl Fixed {
    pub(super) fn quality(self) -> u8 {
        self.flags >> 1 & 3
    }

    pub(super) fn total_bytes(self) -> usize {
        self.header_bytes + self.rest_bytes
    }

    fn is_length_valid(self) -> bool {
        match self.kind {
            CONNECT => self.rest_bytes >= 10,
            CONNACK | PUBACK | PUBREC | PUBREL | PUBCOMP => self.rest_bytes >= 2,
            PUBLISH => self.rest_bytes >= if self.quality() > 0 { 4 } else { 2 },
            SUBSCRIBE => self.rest_bytes >= 6,
            UNSUBSCRIBE => self.rest_bytes >= 5,
            SUBACK => self.rest_bytes >= 3,
            UNSUBACK => self.rest_bytes >= 2,
            PINGREQ | PINGRESP => self.rest_bytes == 0,
            _ => true,
        }
    }
}

/// What a CONNECT says, as far as it is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connect<'a> {
    pub(super) level: u8,
    pub(super) client_id: &'a str,
}

pub(super) fn connect(body: &[u8]) -> Option<Connect<'_>> {
    let mut reader = Reader::new(body);
    let name = text(&mut reader)?;
    let level = reader.u8()?;
    // The highest bit marks a bridge.
    if !matches!((name, level & 0x7f), ("MQTT", 4 | 5) | ("MQIsdp", 3)) {
        return None;
    }
    let flags = reader.u8()?;
    if flags & 1 != 0 {
        return None;
    }
    let _keep_alive = reader.u16()?;
    if level & 0x7f == 5 {
        let length = reader.varint()?;
        reader.take(usize::try_from(length).ok()?)?;
    }
    Some(Connect {
        level: level & 0x7f,
        client_id: text(&mut reader)?,
    })
}

/// What precedes the payload of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Publish<'a> {
    pub(super) topic: &'a str,
    /// 0 at quality of service 0.
    pub(super) packet_id: u16,
    pub(super) properties: &'a [u8],
    pub(super) header_bytes: usize,
}

/// Reads up to the payload; `None` where the bytes end before it or break the format.
pub(super) fn publish(fixed: Fixed, body: &[u8], with_properties: bool) -> Option<Publish<'_>> {
    let mut reader = Reader::new(body);
    let topic = text(&mut reader)?;
    let packet_id = if fixed.quality() > 0 { reader.u16()? } else { 0 };
    let mut properties: &[u8] = &[];
    if with_properties {
        let length = reader.varint()?;
        properties = reader.take(usize::try_from(length).ok()?)?;
    }
    Some(Publish {
        topic,
        packet_id,
        properties,
        header_bytes: reader.at(),
    })
}

/// Topic filters of a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filters<'a> {
    pub(super) packet_id: u16,
    pub(super) first: &'a str,
    pub(super) count: usize,
}

/// `None` where the body breaks the format of that version.
pub(super) fn filters(kind: u8, body: &[u8], with_properties: bool) -> Option<Filters<'_>> {
    let mut reader = Reader::new(body);
    let packet_id = reader.u16()?;
    if with_properties {
        let length = reader.varint()?;
        reader.take(usize::try_from(length).ok()?)?;
    }
    let mut filters = Filters {
        packet_id,
        first: "",
        count: 0,
    };
    while !reader.is_empty() && filters.count < MAX_FILTERS {
        let filter = text(&mut reader)?;
        if filter.is_empty() || (kind == SUBSCRIBE && reader.u8()? & 0xc0 != 0) {
            return None;
        }
        if filters.count == 0 {
            filters.first = filter;
        }
        filters.count += 1;
    }
    (filters.count > 0).then_some(filters)
}

fn text<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let length = reader.u16()?;
    std::str::from_utf8(reader.take(length.into())?).ok()
}

/// A property of MQTT 5 that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property<'a> {
    TopicAlias(u16),
    ReasonText(&'a str),
    User(&'a str, &'a str),
    Other,
}

/// Calls `visit` with each property, until one breaks the format (MQTT 5, section 2.2.2.2).
pub(super) fn properties<'a>(bytes: &'a [u8], visit: &mut dyn FnMut(Property<'a>)) {
    let mut reader = Reader::new(bytes);
    for _ in 0..MAX_PROPERTIES {
        if reader.is_empty() {
            return;
        }
        match property(&mut reader) {
            Some(property) => visit(property),
            None => return,
        }
    }
}

fn property<'a>(reader: &mut Reader<'a>) -> Option<Property<'a>> {
    let property = match reader.varint()? {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => reader.u8().map(|_| Property::Other)?,
        0x13 | 0x21 | 0x22 => reader.u16().map(|_| Property::Other)?,
        0x23 => Property::TopicAlias(reader.u16()?),
        0x02 | 0x11 | 0x18 | 0x27 => reader.u32().map(|_| Property::Other)?,
        0x0b => reader.varint().map(|_| Property::Other)?,
        0x1f => Property::ReasonText(text(reader)?),
        0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c => {
            let length = reader.u16()?;
            reader.take(length.into()).map(|_| Property::Other)?
        }
        0x26 => Property::User(text(reader)?, text(reader)?),
        _ => return None,
    };
    Some(property)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_headers() {
        let publish = Fixed {
            kind: PUBLISH,
            flags: 2,
            header_bytes: 3,
            rest_bytes: 321,
        };
        assert_eq!(head(Side::Client, &[0x32, 0xc1, 2]), Head::Fixed(publish));
        assert_eq!(head(Side::Client, &[0x32, 0xc1]), Head::NeedMore);
        assert_eq!(head(Side::Client, &[0x32, 0xff, 0xff, 0xff, 0xff]), Head::Broken);
        assert_eq!(head(Side::Server, &[0xc0, 0]), Head::Broken, "only clients ping");
        assert_eq!(
            head(Side::Client, &[0x36, 9]),
            Head::Broken,
            "quality of service 3"
        );
        assert_eq!(
            head(Side::Client, &[0x80, 9]),
            Head::Broken,
            "SUBSCRIBE needs its flag"
        );
    }

    #[test]
    fn properties_of_every_kind_are_stepped_over() {
        let bytes = b"\x01\x01\x02\0\0\0\x01\x0b\x81\x01\x23\0\x05\x26\0\x01a\0\x01b\x08\0\x01r";
        let mut seen = Vec::new();
        properties(bytes, &mut |property| seen.push(property));
        assert_eq!(
            seen[3..],
            [Property::TopicAlias(5), Property::User("a", "b"), Property::Other]
        );
    }
}
