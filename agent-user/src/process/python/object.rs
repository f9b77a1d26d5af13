//! Objects in an interpreter's memory: dictionaries, modules and texts, each only where its type says that it is one.

use super::interpreter::{Minor, Types};
use crate::process::memory::Memory;

pub(super) struct Objects<'a> {
    pub(super) memory: &'a dyn Memory,
    pub(super) types: Types,
    pub(super) version: Minor,
}

/// `PyObject.ob_type`, `PyDictObject.ma_keys`, `PyModuleObject.md_dict`, `PyASCIIObject.length`.
const TYPE: u64 = 8;
const KEYS: u64 = 32;
const MODULE_DICTIONARY: u64 = 16;
const TEXT_LENGTH: u64 = 16;
/// A dictionary with more entries is none that is looked for.
const ENTRIES_MAX: u64 = 65_536;
/// Bytes behind a pointer that may be the interpreter's state, before 3.11: its modules are near its start.
const STATE_BYTES: u64 = 2_048;
const NAME_MAX_BYTES: usize = 32;
/// Lowest and highest address a process can have memory at.
const ADDRESS_MIN: u64 = 1 << 16;
const ADDRESS_MAX: u64 = 1 << 47;

/// Where a dictionary's entries are, and how long each is.
struct Entries {
    first: u64,
    count: u64,
    bytes: u64,
    key: usize,
}

impl Objects<'_> {
    /// `sys.modules`, wherever the version keeps it: somewhere in the runtime's state, or in what that points to.
    pub(super) fn modules(&self, runtime: u64, runtime_bytes: u64) -> Option<u64> {
        let words = self.words(runtime, runtime_bytes)?;
        let outside = |word: &u64| !(runtime..runtime + runtime_bytes).contains(word);
        let pointers: Vec<u64> = words
            .into_iter()
            .filter(|word| is_address(*word) && outside(word))
            .collect();
        let is_modules = |address: &u64| self.is_modules(*address);
        if let Some(modules) = pointers.iter().copied().find(is_modules) {
            return Some(modules);
        }
        pointers.iter().find_map(|state| {
            let words = self.words(*state, STATE_BYTES)?;
            words
                .into_iter()
                .find(|word| is_address(*word) && self.is_modules(*word))
        })
    }

    fn is_modules(&self, address: u64) -> bool {
        let has_module = |name| {
            self.entry(address, name)
                .is_some_and(|module| self.module_dictionary(module).is_some())
        };
        self.is_dictionary(address) && has_module("sys") && has_module("builtins")
    }

    pub(super) fn is_dictionary(&self, address: u64) -> bool {
        self.memory.word(address.wrapping_add(TYPE)) == Some(self.types.dictionary)
    }

    pub(super) fn module_dictionary(&self, module: u64) -> Option<u64> {
        if self.memory.word(module.wrapping_add(TYPE))? != self.types.module {
            return None;
        }
        let dictionary = self.memory.word(module.wrapping_add(MODULE_DICTIONARY))?;
        self.is_dictionary(dictionary).then_some(dictionary)
    }

    /// What the dictionary has under this name.
    pub(super) fn entry(&self, dictionary: u64, name: &str) -> Option<u64> {
        let entries = self.entries(self.memory.word(dictionary.wrapping_add(KEYS))?)?;
        let words = self.words(entries.first, entries.count * entries.bytes)?;
        words
            .chunks_exact((entries.bytes / 8) as usize)
            .find_map(|entry| {
                let (key, value) = (entry[entries.key], entry[entries.key + 1]);
                (value != 0 && self.is_text(key, name)).then_some(value)
            })
    }

    /// `PyDictKeysObject`: a head, a table of indices, the entries.
    fn entries(&self, keys: u64) -> Option<Entries> {
        let mut head = [0; 40];
        self.memory.read(keys, &mut head)?;
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
        let (head_bytes, index_bytes, count, texts_only) = if self.version.has_compact_keys() {
            (
                32,
                1_u64.checked_shl(u32::from(head[9]))?,
                word(24),
                head[10] != 0,
            )
        } else {
            let size = word(8);
            let width = match size {
                0..=0xFF => 1,
                0x100..=0xFFFF => 2,
                _ => 4,
            };
            (40, size.checked_mul(width)?, word(32), false)
        };
        if count > ENTRIES_MAX || index_bytes > 8 * ENTRIES_MAX {
            return None;
        }
        Some(Entries {
            first: keys.wrapping_add(head_bytes).wrapping_add(index_bytes),
            count,
            bytes: if texts_only { 16 } else { 24 },
            key: usize::from(!texts_only),
        })
    }

    fn is_text(&self, address: u64, text: &str) -> bool {
        let mut bytes = [0; NAME_MAX_BYTES];
        let Some(bytes) = bytes.get_mut(..text.len()) else {
            return false;
        };
        is_address(address)
            && self.memory.word(address.wrapping_add(TEXT_LENGTH)) == Some(text.len() as u64)
            && self.memory.word(address.wrapping_add(TYPE)) == Some(self.types.text)
            && self
                .memory
                .read(address.wrapping_add(self.version.text_offset()), bytes)
                .is_some()
            && bytes == text.as_bytes()
    }

    fn words(&self, address: u64, bytes: u64) -> Option<Vec<u64>> {
        let mut read = vec![0; bytes as usize];
        self.memory.read(address, &mut read)?;
        let word = |chunk: &[u8]| u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        Some(read.chunks_exact(8).map(word).collect())
    }
}

fn is_address(word: u64) -> bool {
    word.is_multiple_of(8) && (ADDRESS_MIN..ADDRESS_MAX).contains(&word)
}
