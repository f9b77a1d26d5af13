//! The virtual machine's description of its own structures: an array of entries, each with the names of a type and of a
//! field, and where that is (`VMStructEntry` of `runtime/vmStructs.hpp`). How an entry is laid out is exported, too.
//!
//! Bounded: entries, and bytes of a name.

use std::path::Path;

use crate::process::elf;
use crate::process::memory::Memory;

const ENTRIES_MAX: u64 = 8_192;
const NAME_BYTES: usize = 48;

const EXPORTED: [&str; 6] = [
    "gHotSpotVMStructs",
    "gHotSpotVMStructEntryArrayStride",
    "gHotSpotVMStructEntryTypeNameOffset",
    "gHotSpotVMStructEntryFieldNameOffset",
    "gHotSpotVMStructEntryOffsetOffset",
    "gHotSpotVMStructEntryAddressOffset",
];

/// What is wanted of it: offsets in bytes, but for the address of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Structs {
    /// Where the pointer to the `ThreadsList` is.
    pub(super) list: u64,
    pub(super) list_length: u64,
    pub(super) list_threads: u64,
    /// Of a `JavaThread`: its `OSThread`, its own object, and the object that runs (`None` before Java 19, where that is the
    /// same).
    pub(super) system_thread: u64,
    pub(super) object: u64,
    pub(super) running: Option<u64>,
    /// Of an `OSThread`: its number.
    pub(super) system_tid: u64,
}

impl Structs {
    /// `None` where nothing is described.
    pub(super) fn exported(file: &Path, start: u64, memory: &impl Memory) -> Option<Self> {
        Self::read(elf::exported(file, start, EXPORTED)?, memory)
    }

    /// `exported`: the addresses of [`EXPORTED`].
    pub(super) fn read(exported: [u64; EXPORTED.len()], memory: &impl Memory) -> Option<Self> {
        let mut words = [0; EXPORTED.len()];
        for (word, address) in words.iter_mut().zip(exported) {
            *word = memory.word(address)?;
        }
        let [entries, stride, type_name, field_name, offset, address] = words;
        let mut structs = Self::default();
        let mut found = 0;
        for at in 0..ENTRIES_MAX {
            let entry = entries.wrapping_add(at.wrapping_mul(stride));
            let type_at = memory.word(entry.wrapping_add(type_name))?;
            if type_at == 0 {
                break;
            }
            let field_at = memory.word(entry.wrapping_add(field_name))?;
            let (of, field) = (name(memory, type_at), name(memory, field_at));
            let place = match (of.as_slice(), field.as_slice()) {
                (b"ThreadsSMRSupport", b"_java_thread_list") => &mut structs.list,
                (b"ThreadsList", b"_length") => &mut structs.list_length,
                (b"ThreadsList", b"_threads") => &mut structs.list_threads,
                // Told of the one or the other, by version.
                (b"Thread" | b"JavaThread", b"_osthread") => &mut structs.system_thread,
                (b"JavaThread", b"_threadObj") => &mut structs.object,
                (b"JavaThread", b"_vthread") => {
                    structs.running = memory.word(entry.wrapping_add(offset));
                    continue;
                }
                (b"OSThread", b"_thread_id") => &mut structs.system_tid,
                _ => continue,
            };
            // A static field has an address, others an offset.
            let value = match field.as_slice() {
                b"_java_thread_list" => address,
                _ => offset,
            };
            *place = memory.word(entry.wrapping_add(value))?;
            found += 1;
        }
        (found == 6).then_some(structs)
    }
}

/// Up to its end or a bound; a longer one is none of those wanted.
fn name(memory: &impl Memory, address: u64) -> Vec<u8> {
    let mut name = Vec::new();
    while name.len() < NAME_BYTES {
        let Some(word) = memory.word(address.wrapping_add(name.len() as u64)) else {
            break;
        };
        let bytes = word.to_le_bytes();
        if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            name.extend_from_slice(&bytes[..end]);
            break;
        }
        name.extend_from_slice(&bytes);
    }
    name
}
