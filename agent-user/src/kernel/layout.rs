//! Layout: the offsets the kernel programs are loaded with.

use spanhound_common::Layout;

use super::btf::Btf;

/// Resolves every field; those this kernel does not have stay absent and are named.
pub(super) fn resolve(btf: &Btf<'_>) -> (Layout, Vec<String>) {
    let mut layout = Layout::EMPTY;
    let mut absent = Vec::new();
    // Most fields are of the same structure as the one before.
    let (mut last, mut id) = ("", None);
    for &(structure, names, place) in Layout::FIELDS {
        if structure != last {
            (last, id) = (structure, btf.structure(structure));
        }
        match names.split('|').find_map(|name| btf.offset_in(id?, name)) {
            Some(offset) => *place(&mut layout) = offset,
            None => absent.push(format!("{structure}.{names}")),
        }
    }
    (layout, absent)
}

/// Values that tell where an iterator's bytes are (`enum iter_type` of `include/linux/uio.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Iterator {
    pub(super) buffer: u32,
    pub(super) vector: u32,
    pub(super) mask: u32,
}

/// The values changed twice: flags beside a direction bit until Linux 5.13, then an enumeration, later in another order.
pub(super) fn iterator(btf: &Btf<'_>) -> Iterator {
    /// No kind has it: such iterators do not exist here.
    const NONE: u32 = 0x100;
    let value = |name: &str| btf.enumerator("iter_type", name).unwrap_or(NONE);
    let flags = btf.offset("iov_iter", "iter_type").is_none();
    Iterator {
        buffer: value("ITER_UBUF"),
        vector: value("ITER_IOVEC"),
        mask: if flags { 0xFE } else { 0xFF },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_what_the_tracepoint_tier_needs() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            eprintln!("skipped: this kernel has no /sys/kernel/btf/vmlinux");
            return;
        };
        let (_, absent) = resolve(&Btf::parse(&bytes).unwrap());
        assert!(absent.is_empty(), "{absent:?}");
    }
}
