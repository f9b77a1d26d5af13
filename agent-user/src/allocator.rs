//! Allocator: mimalloc, which is quick where spans are made in one turn and freed in another, by the thousand.
//!
//! Its crate asks for every block as an aligned one. For sizes that are no powers of two mimalloc then asks itself for a larger
//! block, in several times the instructions, though each of its blocks is aligned to a word anyway. Only what must be
//! aligned to more is asked for so here.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{mi_malloc, mi_zalloc};
use mimalloc::MiMalloc;

/// To be declared with `#[global_allocator]`.
pub struct Allocator;

/// What the smallest of mimalloc's blocks is aligned to (`MI_INTPTR_SIZE` of its `types.h`).
const WORD_BYTES: usize = size_of::<usize>();

// SAFETY: blocks of all these functions come from mimalloc and are given back to it; those of `mi_malloc` and `mi_zalloc` are as
// large as asked for and aligned to a word.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises about `layout` are those of both.
        unsafe {
            match layout.align() {
                ..=WORD_BYTES => mi_malloc(layout.size()).cast(),
                _ => MiMalloc.alloc(layout),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        unsafe {
            match layout.align() {
                ..=WORD_BYTES => mi_zalloc(layout.size()).cast(),
                _ => MiMalloc.alloc_zeroed(layout),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the block is mimalloc's, whichever function gave it.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`, and the caller's promises about `size` are the same.
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_every_size_are_aligned_and_keep_what_they_hold() {
        for align in [1, 2, 4, 8, 16, 64, 4_096] {
            for size in (1..300).chain([1_000, 5_000, 100_000]) {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the layout's size is not 0; the block is written within its size and freed once.
                unsafe {
                    let block = Allocator.alloc(layout);
                    assert_eq!(block.addr() % align, 0);
                    block.write_bytes(7, size);
                    let block = Allocator.realloc(block, layout, size + 40);
                    assert_eq!((block.addr() % align, *block.add(size - 1)), (0, 7));
                    Allocator.dealloc(block, Layout::from_size_align(size + 40, align).unwrap());
                    let zeroed = Allocator.alloc_zeroed(layout);
                    assert_eq!((zeroed.addr() % align, *zeroed.add(size - 1)), (0, 0));
                    Allocator.dealloc(zeroed, layout);
                }
            }
        }
    }
}
