//! Layout: the offsets the kernel programs are loaded with.

use spanhound_common::Layout;

use super::btf::Btf;

/// Resolves every field; those this kernel does not have stay absent and are named.
pub(super) fn resolve(btf: &Btf<'_>) -> (Layout, Vec<String>) {
    let mut layout = Layout::EMPTY;
    let mut absent = Vec::new();
    for (structure, names, place) in Layout::FIELDS {
        match names.split('|').find_map(|name| btf.offset(structure, name)) {
            Some(offset) => *place(&mut layout) = offset,
            None => absent.push(format!("{structure}.{names}")),
        }
    }
    (layout, absent)
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
