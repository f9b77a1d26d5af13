//! Word: memory copied and cleared eight bytes at a time. The compiler's own way to do it for more than a few fields is a call
//! of a function that goes byte by byte, which costs hundreds of instructions (`cargo xtask check` refuses such calls).

const WORD: usize = size_of::<u64>();

/// Copies a value of whole words.
///
/// # Safety
///
/// Both must be good for a `T`, and aligned to words.
#[inline(always)]
pub unsafe fn copy<T>(to: *mut T, from: *const T) {
    const { assert!(size_of::<T>().is_multiple_of(WORD)) };
    let mut at = 0;
    while at < size_of::<T>() / WORD {
        // SAFETY: the caller's promise. (Volatile, or the compiler makes it the call after all.)
        unsafe {
            let word = core::ptr::read_volatile(from.cast::<u64>().add(at));
            core::ptr::write_volatile(to.cast::<u64>().add(at), word);
        }
        at += 1;
    }
}

/// Clears a value of whole words.
///
/// # Safety
///
/// As for [`copy`].
#[inline(always)]
pub unsafe fn clear<T>(place: *mut T) {
    const { assert!(size_of::<T>().is_multiple_of(WORD)) };
    let mut at = 0;
    while at < size_of::<T>() / WORD {
        // SAFETY: as for `copy`.
        unsafe { core::ptr::write_volatile(place.cast::<u64>().add(at), 0) };
        at += 1;
    }
}
