//! Read: the only place memory outside our maps is read. Every read is bounded and may fail.

use core::{hint::black_box, mem::MaybeUninit};

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};

use crate::config::known;

/// A value in kernel memory, `None` where the address cannot be read or the field is not in this kernel.
#[inline(always)]
pub fn kernel<T: Copy>(base: u64, offset: u32) -> Option<T> {
    if !known(offset) {
        return None;
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination is as long as said; the helper checks the source.
    let failed = unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (base + offset as u64) as *const _,
        )
    };
    // SAFETY: the helper fills (or zeroes) the whole value; `T` is a plain integer or array of them.
    (failed == 0).then(|| unsafe { value.assume_init() })
}

/// A field of an object that is there for certain (a live socket), 0 where this kernel has no such field. Without a branch
/// for the failure, so that the verifier has nothing to follow: a failing helper zeroes what it should have filled.
#[inline(always)]
pub fn field<T: Copy>(base: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    if known(offset) {
        // SAFETY: as in `kernel`.
        unsafe {
            bpf_probe_read_kernel(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                (base + offset as u64) as *const _,
            )
        };
    } else {
        value = MaybeUninit::zeroed();
    }
    // SAFETY: `T` is a plain integer or array of them, and filled or zeroed.
    unsafe { value.assume_init() }
}

/// A field of a `struct task_struct` that the kernel handed to a BTF tracepoint, 0 where this kernel has no such field. The
/// verifier knows such a pointer for what it is, so no helper is needed to follow it.
#[inline(always)]
pub fn task_field(task: u64, offset: u32) -> u32 {
    if !known(offset) {
        return 0;
    }
    // SAFETY: the verifier lets only fields of a task be read here, and makes a fault a zero.
    unsafe { core::ptr::read_volatile((task + offset as u64) as *const u32) }
}

/// A value in the current process's memory.
#[inline(always)]
pub fn user<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination is as long as said; the helper checks the source.
    let failed = unsafe {
        bpf_probe_read_user(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        )
    };
    // SAFETY: as in `kernel`.
    (failed == 0).then(|| unsafe { value.assume_init() })
}

/// The same, zeroes where it cannot be read, and no branch for that.
#[inline(always)]
pub fn user_or_zero<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: as in `user`; the helper zeroes what it cannot fill.
    unsafe {
        bpf_probe_read_user(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        );
        value.assume_init()
    }
}

/// A value in kernel memory, zeroes where it cannot be read, and no branch for that.
#[inline(always)]
pub fn kernel_or_zero<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: as in `user_or_zero`.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        );
        value.assume_init()
    }
}

/// From the kernel's memory or the current process's.
#[inline(always)]
pub fn either<T: Copy>(address: u64, in_kernel: bool) -> Option<T> {
    if in_kernel {
        kernel(address, 0)
    } else {
        user(address)
    }
}

/// Copies from the current process's memory.
///
/// # Safety
///
/// `to` must be good for `len` bytes. (The kernel's verifier proves it again for every path.)
#[inline(always)]
pub unsafe fn user_bytes(to: *mut u8, len: u32, from: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { bpf_probe_read_user(to.cast(), len, from as *const _) == 0 }
}

/// Copies from kernel memory.
///
/// # Safety
///
/// As for [`user_bytes`].
#[inline(always)]
pub unsafe fn kernel_bytes(to: *mut u8, len: u32, from: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { bpf_probe_read_kernel(to.cast(), len, from as *const _) == 0 }
}

/// The address alone of an object the verifier knows the type of: separately verified functions take numbers only, and a
/// negated pointer is one (`check_alu_op` of `kernel/bpf/verifier.c`).
#[inline(always)]
pub fn address_of(known: u64) -> u64 {
    black_box(known.wrapping_neg()).wrapping_neg()
}

/// A field of an object the verifier knows the type of, loaded without a helper call.
///
/// # Safety
///
/// `base` must be a pointer the kernel handed to this program (an argument, or returned by a helper) and `offset` that of
/// a `T` in it.
#[inline(always)]
pub unsafe fn known_field<T: Copy>(base: u64, offset: u32) -> T {
    // SAFETY: the caller's promise; the kernel handles a fault at the address.
    unsafe { core::ptr::read_volatile((base + offset as u64) as *const T) }
}
