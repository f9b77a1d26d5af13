//! Tree: which sources a kernel object was built from.

/// Section of the kernel object that holds [`TREE`], eight bytes in the target's order.
pub const TREE_SECTION: &str = "spanhound.tree";

/// A number of the sources of this crate and of the kernel programs.
pub const TREE: u64 = number(env!("SPANHOUND_TREE"));

const fn number(text: &str) -> u64 {
    let (digits, mut value, mut at) = (text.as_bytes(), 0u64, 0);
    while at < digits.len() {
        value = value * 10 + (digits[at] - b'0') as u64;
        at += 1;
    }
    value
}

const _: () = assert!(number("18446744073709551615") == u64::MAX);
