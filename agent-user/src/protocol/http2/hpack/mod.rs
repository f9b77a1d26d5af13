//! HPACK (RFC 7541): header blocks become fields.
//!
//! Enters: whole header blocks of one direction, in order. Leaves: fields, one call each. Bounded: the dynamic table
//! holds at most [`MAX_TABLE_BYTES`] by the RFC's reckoning, whatever the peers agreed on. Deliberately absent: encoding.
//!
//! Unlike a decoder at one of the ends, this one may have missed blocks ([`Decoder::lose`]). New entries are numbered
//! from the newest, so those added since are right however many are missing behind them; a field that refers to one of
//! the missing is reported as unknown, never guessed. The libraries that decode HPACK give up in that case.

mod huffman;
mod static_table;

use std::collections::VecDeque;

/// More than browsers and gRPC libraries ask for (64 KiB).
const MAX_TABLE_BYTES: usize = 64 << 10;
/// While the agreed size is not known.
const UNKNOWN_TABLE_BYTES: usize = 16 << 10;
const DEFAULT_TABLE_BYTES: usize = 4096;
/// RFC 7541 section 4.1: what each entry counts beyond its texts.
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// The block breaks the RFC: what follows in this direction cannot be decoded reliably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A field; `None` stands for a text that only missed blocks would tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) name: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

#[derive(Debug)]
pub(super) struct Decoder {
    /// Newest first.
    table: VecDeque<Entry>,
    table_bytes: usize,
    max_bytes: usize,
    /// Blocks were missed: older entries exist that are not in `table`.
    lost: bool,
    scratch_name: Vec<u8>,
    scratch_value: Vec<u8>,
}

/// Name and value behind one another; either may be unknown.
#[derive(Clone, Debug)]
struct Entry {
    text: Box<[u8]>,
    name_length: usize,
    name_known: bool,
    value_known: bool,
}

impl Entry {
    fn new(field: Field<'_>) -> Self {
        let (name, value) = (field.name.unwrap_or(b""), field.value.unwrap_or(b""));
        Self {
            text: [name, value].concat().into_boxed_slice(),
            name_length: name.len(),
            name_known: field.name.is_some(),
            value_known: field.value.is_some(),
        }
    }

    fn field(&self) -> Field<'_> {
        let (name, value) = self.text.split_at(self.name_length);
        Field {
            name: self.name_known.then_some(name),
            value: self.value_known.then_some(value),
        }
    }

    fn table_bytes(&self) -> usize {
        self.text.len() + ENTRY_OVERHEAD_BYTES
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            table: VecDeque::new(),
            table_bytes: 0,
            max_bytes: DEFAULT_TABLE_BYTES,
            lost: false,
            scratch_name: Vec::new(),
            scratch_value: Vec::new(),
        }
    }
}

impl Decoder {
    /// Blocks were missed: what the table held can no longer be numbered.
    pub(super) fn lose(&mut self) {
        self.table.clear();
        self.table_bytes = 0;
        self.lost = true;
        self.max_bytes = UNKNOWN_TABLE_BYTES;
    }

    /// Decodes a whole header block.
    pub(super) fn decode(&mut self, block: &[u8], mut see: impl FnMut(Field<'_>)) -> Result<(), Malformed> {
        let mut rest = block;
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                see(self.indexed(index)?);
            } else if first & 0x40 != 0 {
                self.literal(&mut rest, 6, true, &mut see)?;
            } else if first & 0x20 != 0 {
                let bytes = integer(&mut rest, 5)?;
                self.max_bytes = bytes.min(MAX_TABLE_BYTES);
                self.evict();
            } else {
                self.literal(&mut rest, 4, false, &mut see)?;
            }
        }
        Ok(())
    }

    fn literal(
        &mut self,
        rest: &mut &[u8],
        prefix_bits: u32,
        add: bool,
        see: &mut impl FnMut(Field<'_>),
    ) -> Result<(), Malformed> {
        let index = integer(rest, prefix_bits)?;
        let (mut name_text, mut value_text) = (
            std::mem::take(&mut self.scratch_name),
            std::mem::take(&mut self.scratch_value),
        );
        let result = self.literal_into(rest, index, add, see, &mut name_text, &mut value_text);
        (self.scratch_name, self.scratch_value) = (name_text, value_text);
        result
    }

    fn literal_into(
        &mut self,
        rest: &mut &[u8],
        index: usize,
        add: bool,
        see: &mut impl FnMut(Field<'_>),
        name_text: &mut Vec<u8>,
        value_text: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let name = if index == 0 {
            Some(string(rest, name_text)?)
        } else {
            self.indexed(index)?.name
        };
        let value = string(rest, value_text)?;
        let field = Field {
            name,
            value: Some(value),
        };
        see(field);
        if add {
            let entry = Entry::new(field);
            self.table_bytes += entry.table_bytes();
            self.table.push_front(entry);
            self.evict();
        }
        Ok(())
    }

    fn indexed(&self, index: usize) -> Result<Field<'_>, Malformed> {
        let place = index.checked_sub(1).ok_or(Malformed)?;
        if let Some((name, value)) = static_table::ENTRIES.get(place) {
            return Ok(Field {
                name: Some(name),
                value: Some(value),
            });
        }
        match self.table.get(place - static_table::ENTRIES.len()) {
            Some(entry) => Ok(entry.field()),
            // An entry that was added before, or that the bound above threw out.
            None if self.lost || self.max_bytes == MAX_TABLE_BYTES => Ok(Field {
                name: None,
                value: None,
            }),
            None => Err(Malformed),
        }
    }

    fn evict(&mut self) {
        while self.table_bytes > self.max_bytes
            && let Some(oldest) = self.table.pop_back()
        {
            self.table_bytes -= oldest.table_bytes();
        }
    }
}

/// An integer with a prefix of so many bits (RFC 7541 section 5.1), at most five bytes of continuation.
fn integer(rest: &mut &[u8], prefix_bits: u32) -> Result<usize, Malformed> {
    let (&first, mut behind) = rest.split_first().ok_or(Malformed)?;
    let most = (1u64 << prefix_bits) - 1;
    let mut number = u64::from(first) & most;
    if number == most {
        for shift in (0..35).step_by(7) {
            let (&byte, next) = behind.split_first().ok_or(Malformed)?;
            behind = next;
            number += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *rest = behind;
                return usize::try_from(number).map_err(|_| Malformed);
            }
        }
        return Err(Malformed);
    }
    *rest = behind;
    usize::try_from(number).map_err(|_| Malformed)
}

/// A string literal (section 5.2): borrowed from the block, or decoded into `text`.
fn string<'text, 'block: 'text>(
    rest: &mut &'block [u8],
    text: &'text mut Vec<u8>,
) -> Result<&'text [u8], Malformed> {
    let huffman = rest.first().ok_or(Malformed)? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (bytes, behind) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = behind;
    if !huffman {
        return Ok(bytes);
    }
    text.clear();
    huffman::decode(bytes, text).ok_or(Malformed)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
