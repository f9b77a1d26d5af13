//! Addresses of a program and places in its file.

use std::fs::File;
use std::path::Path;

use object::read::ReadCache;
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol};

/// Where an address of the running program is in its file.
pub(super) fn file_offset<'data>(object: &impl Object<'data>, address: u64) -> Option<u64> {
    object.sections().find_map(|section| {
        let inside = address.checked_sub(section.address())?;
        let (offset, size) = section.file_range()?;
        (inside < size).then_some(offset + inside)
    })
}

/// What to add to an address in the file, whose first byte the process has at `start`.
pub(super) fn load_bias<'data>(object: &impl Object<'data>, start: u64) -> u64 {
    let mut segments = object.segments();
    let first = segments.find(|segment| segment.file_range().0 == 0);
    start.wrapping_sub(first.map_or(0, |segment| segment.address()))
}

/// Addresses in the process of what the file, mapped at `start`, exports by these names; `None` unless it has them all.
pub(super) fn exported<const N: usize>(file: &Path, start: u64, names: [&str; N]) -> Option<[u64; N]> {
    let cache = ReadCache::new(File::open(file).ok()?);
    let object = object::File::parse(&cache).ok()?;
    let bias = load_bias(&object, start);
    let mut found = [None; N];
    for symbol in object.dynamic_symbols() {
        let Ok(name) = symbol.name() else { continue };
        if let Some(at) = names.iter().position(|wanted| *wanted == name)
            && !symbol.is_undefined()
        {
            found[at] = Some(symbol.address().wrapping_add(bias));
        }
    }
    let mut addresses = [0; N];
    for (address, found) in addresses.iter_mut().zip(found) {
        *address = found?;
    }
    Some(addresses)
}
