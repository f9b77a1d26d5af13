//! Addresses of a program and places in its file.

use object::{Object, ObjectSection};

/// Where an address of the running program is in its file.
pub(super) fn file_offset<'data>(object: &impl Object<'data>, address: u64) -> Option<u64> {
    object.sections().find_map(|section| {
        let inside = address.checked_sub(section.address())?;
        let (offset, size) = section.file_range()?;
        (inside < size).then_some(offset + inside)
    })
}
