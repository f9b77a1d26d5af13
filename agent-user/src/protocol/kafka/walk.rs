//! Walks over a message body along its description and picks up what names and judges it.
//!
//! Enters: a body, or the first part of one. Leaves: [`Found`]. Bounded: [`MAX_STEPS`] fields a body. Deliberately
//! absent: payloads; whatever lies behind the point where the bytes end.

use compact_str::CompactString;

use crate::protocol::reader::Reader;

/// Fields looked at in one body.
const MAX_STEPS: u32 = 4096;
/// Topics with name and id that are kept of one body.
const MAX_NAMED_IDS: usize = 64;
/// Longest topic name (Kafka's own limit is 249), and longest other name that is believed.
const MAX_NAME_BYTES: usize = 1024;

/// What a field means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol::kafka) enum Role {
    /// Nothing of use.
    Other,
    Topic,
    /// Consumer group.
    Group,
    /// A name that is neither: a transactional id, a coordinator key, a mechanism.
    Name,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::protocol::kafka) enum Field {
    I8,
    I16,
    I32,
    I64,
    Text(Role),
    TopicId,
    Partition,
    /// The acknowledgments a producer asks for.
    Acks,
    /// 0, or an error of the item it stands in.
    Error,
    /// Record batches, or other opaque bytes.
    Bytes,
    Records,
    Array(&'static [Item]),
    /// An array of which only the beginning of the first element is described. Nothing behind it can be read.
    First(&'static [Item]),
    /// An array of bare strings.
    Texts(Role),
    /// An array of bare 32-bit numbers.
    Numbers,
}

/// A field and the versions that have it.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocol::kafka) struct Item {
    pub(in crate::protocol::kafka) field: Field,
    pub(in crate::protocol::kafka) from: i16,
    pub(in crate::protocol::kafka) to: i16,
}

pub(in crate::protocol::kafka) const fn always(field: Field) -> Item {
    Item {
        field,
        from: 0,
        to: i16::MAX,
    }
}

pub(in crate::protocol::kafka) const fn since(from: i16, field: Field) -> Item {
    Item {
        field,
        from,
        to: i16::MAX,
    }
}

pub(in crate::protocol::kafka) const fn until(to: i16, field: Field) -> Item {
    Item { field, from: 0, to }
}

pub(in crate::protocol::kafka) const fn between(from: i16, to: i16, field: Field) -> Item {
    Item { field, from, to }
}

/// What a body told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::protocol::kafka) struct Found<'a> {
    pub(in crate::protocol::kafka) topic: CompactString,
    pub(in crate::protocol::kafka) topics: u32,
    pub(super) partition: Option<i32>,
    pub(super) partitions: u32,
    pub(super) group: CompactString,
    pub(super) name: CompactString,
    pub(super) acks: Option<i16>,
    /// The first topic id, 0 where there is none.
    pub(in crate::protocol::kafka) topic_id: u128,
    /// Topics that were named together with their id.
    pub(super) named_ids: Vec<(u128, CompactString)>,
    /// The first error that is none of 0; `None` where no place for one was reached.
    pub(super) error: Option<i16>,
    /// The first record batches, as far as they are at hand.
    pub(super) records: Option<&'a [u8]>,
    /// Partitions with record batches.
    pub(super) filled_partitions: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol::kafka) enum End {
    /// The description ended with the bytes.
    Exact,
    /// The bytes ended first, or more follow.
    Inexact,
    /// They cannot be such a body.
    Broken,
}

/// Why a walk stopped.
enum Stop {
    OutOfBytes,
    Broken,
}

type Walked<T> = Result<T, Stop>;

struct Walk<'a> {
    reader: Reader<'a>,
    version: i16,
    flexible: bool,
    steps: u32,
    last_topic: Option<CompactString>,
    found: Found<'a>,
}

/// Walks over `body` as `items` describe it.
pub(super) fn walk<'a>(body: &'a [u8], items: &[Item], version: i16, flexible: bool) -> (Found<'a>, End) {
    let mut walk = Walk {
        reader: Reader::new(body),
        version,
        flexible,
        steps: 0,
        last_topic: None,
        found: Found::default(),
    };
    let end = match walk.items(items) {
        Ok(()) if walk.reader.is_empty() => End::Exact,
        Ok(()) | Err(Stop::OutOfBytes) => End::Inexact,
        Err(Stop::Broken) => End::Broken,
    };
    (walk.found, end)
}

fn at_hand<T>(read: Option<T>) -> Walked<T> {
    read.ok_or(Stop::OutOfBytes)
}

impl<'a> Walk<'a> {
    fn items(&mut self, items: &[Item]) -> Walked<()> {
        self.described(items)?;
        if self.flexible { self.tags() } else { Ok(()) }
    }

    fn described(&mut self, items: &[Item]) -> Walked<()> {
        let version = self.version;
        for item in items
            .iter()
            .filter(|item| (item.from..=item.to).contains(&version))
        {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(Stop::OutOfBytes);
            }
            self.field(item.field)?;
        }
        Ok(())
    }

    fn field(&mut self, field: Field) -> Walked<()> {
        match field {
            Field::I8 => drop(at_hand(self.reader.u8())?),
            Field::I16 => drop(at_hand(self.reader.u16())?),
            Field::I32 => drop(at_hand(self.reader.u32())?),
            Field::I64 => drop(at_hand(self.reader.u64())?),
            Field::Acks => self.found.acks = Some(at_hand(self.reader.i16())?),
            Field::Error => {
                let error = at_hand(self.reader.i16())?;
                if self.found.error.unwrap_or(0) == 0 {
                    self.found.error = Some(error);
                }
            }
            Field::Partition => {
                let partition = at_hand(self.reader.i32())?;
                self.found.partition.get_or_insert(partition);
                self.found.partitions += 1;
            }
            Field::TopicId => {
                let id = u128::from_be_bytes(at_hand(self.reader.array())?);
                if id != 0 {
                    self.topic_id(id);
                }
            }
            Field::Text(role) => self.text(role)?,
            Field::Bytes => drop(self.bytes()?),
            Field::Records => {
                let records = self.bytes()?;
                if !records.is_empty() {
                    self.found.records.get_or_insert(records);
                    self.found.filled_partitions += 1;
                }
            }
            Field::Array(items) => {
                for _ in 0..self.count()? {
                    self.items(items)?;
                }
            }
            Field::First(items) => {
                if self.count()? > 0 {
                    self.described(items)?;
                    return Err(Stop::OutOfBytes);
                }
            }
            Field::Texts(role) => {
                for _ in 0..self.count()? {
                    self.text(role)?;
                }
            }
            Field::Numbers => {
                for _ in 0..self.count()? {
                    at_hand(self.reader.u32())?;
                }
            }
        }
        Ok(())
    }

    fn topic_id(&mut self, id: u128) {
        // Right behind a name it is that topic's; by itself it stands for a topic.
        match self.last_topic.take() {
            Some(name) if self.found.named_ids.len() < MAX_NAMED_IDS => self.found.named_ids.push((id, name)),
            Some(_) => {}
            None => self.found.topics += 1,
        }
        if self.found.topic_id == 0 {
            self.found.topic_id = id;
        }
    }

    fn topic(&mut self, topic: CompactString) {
        self.found.topics += 1;
        if self.found.topic.is_empty() {
            self.found.topic = topic;
        }
    }

    fn text(&mut self, role: Role) -> Walked<()> {
        self.steps += 1;
        let Some(length) = self.length()? else {
            return Ok(());
        };
        if length > MAX_NAME_BYTES && role != Role::Other {
            return Err(Stop::Broken);
        }
        let bytes = at_hand(self.reader.take(length))?;
        let text = std::str::from_utf8(bytes).map_err(|_| Stop::Broken)?;
        match role {
            Role::Other => {}
            Role::Topic if !is_topic(text) => return Err(Stop::Broken),
            Role::Topic => {
                self.topic(text.into());
                self.last_topic = Some(text.into());
            }
            Role::Group if self.found.group.is_empty() => self.found.group = text.into(),
            Role::Name if self.found.name.is_empty() => self.found.name = text.into(),
            Role::Group | Role::Name => {}
        }
        Ok(())
    }

    /// Length of a string; `None` for a null one.
    fn length(&mut self) -> Walked<Option<usize>> {
        if self.flexible {
            let length = at_hand(self.reader.varint())?;
            return match length {
                0 => Ok(None),
                1..=0x8000 => Ok(Some(length as usize - 1)),
                _ => Err(Stop::Broken),
            };
        }
        match at_hand(self.reader.i16())? {
            -1 => Ok(None),
            length @ 0.. => Ok(Some(length as usize)),
            _ => Err(Stop::Broken),
        }
    }

    /// Bytes with their length in front; those at hand where the rest is not.
    fn bytes(&mut self) -> Walked<&'a [u8]> {
        let length = if self.flexible {
            at_hand(self.reader.varint())?.saturating_sub(1)
        } else {
            match at_hand(self.reader.i32())? {
                -1 => 0,
                length @ 0.. => length as u64,
                _ => return Err(Stop::Broken),
            }
        };
        if length > i32::MAX as u64 {
            return Err(Stop::Broken);
        }
        if let Some(bytes) = self.reader.take(length as usize) {
            return Ok(bytes);
        }
        let rest = self.reader.rest();
        if self.found.records.is_none() {
            self.found.records = Some(rest);
        }
        Err(Stop::OutOfBytes)
    }

    fn count(&mut self) -> Walked<u64> {
        if self.flexible {
            return Ok(at_hand(self.reader.varint())?.saturating_sub(1));
        }
        match at_hand(self.reader.i32())? {
            -1 => Ok(0),
            count @ 0.. => Ok(count as u64),
            _ => Err(Stop::Broken),
        }
    }

    /// Tagged fields (KIP-482): nothing among them is of use.
    fn tags(&mut self) -> Walked<()> {
        for _ in 0..at_hand(self.reader.varint())? {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(Stop::OutOfBytes);
            }
            at_hand(self.reader.varint())?;
            let length = at_hand(self.reader.varint())?;
            at_hand(
                usize::try_from(length)
                    .ok()
                    .and_then(|length| self.reader.take(length)),
            )?;
        }
        Ok(())
    }
}

/// The characters Kafka allows in a topic name.
fn is_topic(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEMS: &[Item] = &[
        since(1, Field::I32),
        always(Field::Array(&[
            always(Field::Text(Role::Topic)),
            always(Field::Array(&[always(Field::Partition), always(Field::Error)])),
        ])),
    ];

    #[test]
    fn the_same_content_in_both_encodings() {
        let plain = b"\0\0\0\x02\0\x01a\0\0\0\x01\0\0\0\x07\0\0\0\x01b\0\0\0\x01\0\0\0\x01\0\x03";
        let flexible = b"\0\0\0\0\x03\x02a\x02\0\0\0\x07\0\0\0\0\x02b\x02\0\0\0\x01\0\x03\0\0\0";
        for (body, version, is_flexible) in [(plain.as_slice(), 0, false), (flexible.as_slice(), 1, true)] {
            let (found, end) = walk(body, ITEMS, version, is_flexible);
            assert_eq!(
                (found.topic.as_str(), found.topics, found.partition, found.error),
                ("a", 2, Some(7), Some(3))
            );
            assert_eq!(end, End::Exact);
            for cut in 0..body.len() {
                assert_eq!(walk(&body[..cut], ITEMS, version, is_flexible).1, End::Inexact);
            }
        }
    }

    #[test]
    fn absurd_counts_end_with_the_bytes() {
        assert_eq!(walk(b"\x7f\xff\xff\xff\0\x01a", ITEMS, 0, false).1, End::Inexact);
        assert_eq!(walk(b"\0\0\0\x01\0\x01/", ITEMS, 0, false).1, End::Broken);
        assert_eq!(walk(b"\xff\xff\xff\xfe", ITEMS, 0, false).1, End::Broken);
    }
}
