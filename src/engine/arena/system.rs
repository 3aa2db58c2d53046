//! Memory from the system: addresses first, pages when they are needed, and back.
#![expect(unsafe_code, reason = "maps memory")]

use super::span::Span;
use crate::sync::AtomicU64;
use std::ptr::{self, NonNull};

/// Types of which zeroed memory is a value.
///
/// # Safety
/// It is.
pub unsafe trait Zeroed: Default {}
// SAFETY: made of integers.
unsafe impl Zeroed for Span {}
// SAFETY: made of integers.
unsafe impl Zeroed for AtomicU64 {}

/// Bytes of a huge page.
const HUGE_PAGE: usize = 2 << 20;

/// Addresses for `bytes`, and for the rest of the last huge page, without any memory behind them, where a huge page begins;
/// `None` if the system does not give so many.
pub fn reserve(bytes: usize) -> Option<NonNull<u8>> {
    let at = map(bytes.checked_add(2 * HUGE_PAGE)?, libc::PROT_NONE)?;
    // SAFETY: less than a huge page, and there are two more.
    Some(unsafe { at.add(at.align_offset(HUGE_PAGE)) })
}

fn map(bytes: usize, protection: libc::c_int) -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping wherever the system likes touches nothing that there is.
    let at = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED { None } else { NonNull::new(at.cast()) }
}

/// Lets the pages of reserved addresses be used, and those of all huge pages they are part of; they come as they are touched,
/// zeroed. What is in those that have been in use already stays.
///
/// # Safety
/// The range is within what [`reserve`] gave.
pub unsafe fn commit(at: NonNull<u8>, bytes: usize) -> bool {
    // A huge page comes whole, when it is touched first, or not at all.
    let before = at.as_ptr() as usize % HUGE_PAGE;
    let bytes = (before + bytes).next_multiple_of(HUGE_PAGE);
    // SAFETY: what was reserved begins with a huge page.
    let at = unsafe { at.sub(before) };
    let readable = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: by contract the range is a mapping of ours.
    let committed = unsafe { libc::mprotect(at.as_ptr().cast(), bytes, readable) == 0 };
    // Items are read at random: with pages of 4 KiB a lookup waits for the page table more than for the item. A system that
    // has no huge pages does without.
    // SAFETY: as above.
    unsafe { libc::madvise(at.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    committed
}

/// Gives pages back; they come again, zeroed, when they are touched. Where the system refuses (locked memory), they stay.
///
/// # Safety
/// The range was committed, is made of whole pages, and what is in it is needed no more.
pub unsafe fn release(at: NonNull<u8>, bytes: usize) {
    // SAFETY: by contract.
    unsafe { libc::madvise(at.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
}

/// A table of zeroed values that stays; memory comes as they are touched.
#[cfg(not(volt_loom))]
pub fn table<T: Zeroed>(len: usize) -> Option<&'static [T]> {
    let bytes = size_of::<T>().checked_mul(len)?;
    let at = map(bytes, libc::PROT_READ | libc::PROT_WRITE)?;
    // SAFETY: mapped for good, aligned to a page, and zeroes are values.
    Some(unsafe { std::slice::from_raw_parts(at.as_ptr().cast(), len) })
}

/// loom's atomics have to be made one by one.
#[cfg(volt_loom)]
pub fn table<T: Zeroed>(len: usize) -> Option<&'static [T]> {
    Some(Vec::leak((0..len).map(|_| T::default()).collect()))
}
