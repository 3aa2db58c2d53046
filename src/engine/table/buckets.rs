//! The bucket array: segments that double, so growing moves nothing and never pauses.
//!
//! Segment 0 holds the first `2^power` buckets, segment k the next `2^(power + k - 1)`. A bucket is one link of
//! eight bytes. Memory for a segment comes zeroed from the system, page by page as it is touched; a zero link is
//! an unused bucket. Large segments ask for huge pages: buckets are read at random, and without them nearly every
//! lookup waits for the page table, too.
#![expect(unsafe_code, reason = "addresses buckets by index in memory of its own")]

use crate::sync::{AtomicUsize, Ordering};
use std::ptr;
use std::sync::atomic::AtomicPtr;

/// Segments at most: enough for every address there is.
const SEGMENTS: usize = 48;

/// The array of bucket heads.
pub struct Buckets {
    power: u32,
    /// Where bucket 0 would be if all buckets lay in a row with the segment's: an index is added to it as it is. Written
    /// once each by the thread that grows into it; Release, so that the zeroes are seen.
    origins: [AtomicPtr<AtomicUsize>; SEGMENTS],
    /// Buckets in use as an index range; a power of two. Release after the segment's pointer.
    size: AtomicUsize,
}

impl Buckets {
    /// An array of `2^power` unused buckets.
    pub fn new(power: u32) -> Self {
        let buckets = Self {
            power,
            origins: [const { AtomicPtr::new(ptr::null_mut()) }; SEGMENTS],
            size: AtomicUsize::new(1 << power),
        };
        buckets.origins[0].store(segment::allocate(1 << power), Ordering::Release);
        buckets
    }

    /// Buckets in use, a power of two.
    #[inline]
    pub fn size(&self) -> usize {
        // Acquire: pairs with `double`, so the segments up to this size are visible.
        self.size.load(Ordering::Acquire)
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> usize {
        self.size() * size_of::<AtomicUsize>()
    }

    /// The bucket with this index, which must be below a size that was read before.
    #[inline]
    pub fn get(&self, index: usize) -> &AtomicUsize {
        let origin = self.origins[self.segment(index)].load(Ordering::Acquire);
        debug_assert!(!origin.is_null(), "bucket {index} is beyond the table");
        let bucket = origin.wrapping_add(index);
        // SAFETY: inside the index's segment, which was allocated before the size that admits the index was published and
        // is freed only with the whole array; zeroed memory is a valid atomic.
        unsafe { &*bucket }
    }

    /// The segment that an index is in.
    #[inline]
    fn segment(&self, index: usize) -> usize {
        (index >> self.power << 1 | 1).ilog2() as usize
    }

    /// The first index of a segment, which is also its length, but for segment 0.
    fn first(&self, segment: usize) -> usize {
        if segment == 0 { 0 } else { 1 << (self.power as usize + segment - 1) }
    }

    /// Doubles the array if its size still is `size`; returns the bytes that were added.
    ///
    /// One thread's allocation is published, another's that came at the same time is given back.
    pub fn double(&self, size: usize) -> usize {
        let segment = self.segment(size);
        if segment >= SEGMENTS || self.size() != size {
            return 0;
        }
        let fresh = segment::allocate(size);
        // Release: the zeroes before the pointer.
        let origin = fresh.wrapping_sub(self.first(segment));
        let won = self.origins[segment]
            .compare_exchange(ptr::null_mut(), origin, Ordering::Release, Ordering::Relaxed)
            .is_ok();
        if !won {
            segment::free(fresh, size);
        }
        // Release: the segment before the size that admits its indices.
        let _ = self.size.compare_exchange(size, size * 2, Ordering::Release, Ordering::Relaxed);
        if won { size * size_of::<AtomicUsize>() } else { 0 }
    }
}

impl Drop for Buckets {
    fn drop(&mut self) {
        for (segment, slot) in self.origins.iter().enumerate() {
            let origin = slot.load(Ordering::Relaxed);
            if !origin.is_null() {
                let first = self.first(segment);
                let len = if segment == 0 { 1 << self.power } else { first };
                segment::free(origin.wrapping_add(first), len);
            }
        }
    }
}

/// Segments as memory.
mod segment {
    use crate::sync::AtomicUsize;
    #[cfg(not(volt_loom))]
    use std::alloc::{GlobalAlloc, Layout, System, handle_alloc_error};

    #[cfg(not(volt_loom))]
    fn layout(len: usize) -> Layout {
        Layout::array::<AtomicUsize>(len).expect("a segment is smaller than the address space")
    }

    /// Zeroed memory straight from the system: large blocks are mapped, not cleared.
    #[cfg(not(volt_loom))]
    pub fn allocate(len: usize) -> *mut AtomicUsize {
        // SAFETY: the layout is not empty.
        let base = unsafe { System.alloc_zeroed(layout(len)) };
        if base.is_null() {
            handle_alloc_error(layout(len));
        }
        advise(base, layout(len).size());
        base.cast()
    }

    /// Bytes of a huge page; in a smaller segment there is none.
    #[cfg(all(target_os = "linux", not(volt_loom)))]
    const HUGE_PAGE: usize = 2 << 20;

    /// Asks for huge pages where whole ones fit. A system that has none ignores it.
    #[cfg(all(target_os = "linux", not(volt_loom)))]
    fn advise(base: *mut u8, bytes: usize) {
        let skip = base.align_offset(HUGE_PAGE);
        let whole = bytes.saturating_sub(skip) & !(HUGE_PAGE - 1);
        if whole > 0 {
            // SAFETY: whole pages within a block that was just allocated; the advice changes none of its bytes.
            unsafe { libc::madvise(base.wrapping_add(skip).cast(), whole, libc::MADV_HUGEPAGE) };
        }
    }

    #[cfg(all(not(target_os = "linux"), not(volt_loom)))]
    fn advise(_base: *mut u8, _bytes: usize) {}

    #[cfg(not(volt_loom))]
    pub fn free(base: *mut AtomicUsize, len: usize) {
        // SAFETY: base came from `allocate(len)` and is freed once.
        unsafe { System.dealloc(base.cast(), layout(len)) };
    }

    /// loom's atomics have to be made one by one.
    #[cfg(volt_loom)]
    pub fn allocate(len: usize) -> *mut AtomicUsize {
        let segment: Box<[AtomicUsize]> = (0..len).map(|_| AtomicUsize::new(0)).collect();
        Box::into_raw(segment).cast()
    }

    #[cfg(volt_loom)]
    pub fn free(base: *mut AtomicUsize, len: usize) {
        // SAFETY: base came from `allocate(len)` and is freed once.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(base, len)) });
    }
}

#[cfg(all(test, not(volt_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_bucket_of_its_own() {
        let buckets = Buckets::new(2);
        for size in [4, 8, 16, 32] {
            assert_eq!(buckets.double(size), size * 8);
            assert_eq!(buckets.double(size), 0, "somebody has doubled it already");
        }
        assert_eq!(buckets.size(), 64);
        assert_eq!(buckets.bytes(), 512);
        for index in 0..64 {
            buckets.get(index).store(index + 1, Ordering::Relaxed);
        }
        for index in 0..64 {
            assert_eq!(buckets.get(index).load(Ordering::Relaxed), index + 1);
        }
    }
}
