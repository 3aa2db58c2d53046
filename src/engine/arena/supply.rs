//! The supply of spans: which are free, with their pages or without, and memory for more.
#![expect(unsafe_code, reason = "has pages made and given back")]

use super::class::{Class, SPAN_BYTES};
use super::{Arena, BLOCK_SPANS, spares, system};
use crate::sync::Ordering;

impl Arena {
    /// A span all slots of which are the caller's becomes one of no class.
    pub(super) fn retire(&self, index: usize, class: Class) {
        self.shelves[class.number()].remove(index);
        self.spans[index].set_sealed(0);
        self.used.fetch_sub(1, Ordering::Relaxed);
        self.warm.insert(index);
        if self.warm_count.fetch_add(1, Ordering::Relaxed) >= self.warm_max.load(Ordering::Relaxed)
        {
            self.cool();
        }
    }

    /// Gives the pages of one free span back to the system.
    fn cool(&self) {
        let Some(index) = self.warm.take(true) else { return };
        self.warm_count.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: committed before it was first used, and free: taken off the shelf, it is this thread's.
        unsafe { system::release(self.start(index), SPAN_BYTES) };
        self.cold.insert(index);
    }

    /// From now on no free span keeps its pages, and no thread a slot that it frees: nobody is to allocate any more.
    pub fn close(&self) {
        self.set_frugal(true);
        spares::give_back();
        self.warm_max.store(0, Ordering::Relaxed);
        while self.warm_count.load(Ordering::Relaxed) > 0 && self.warm.find(true).is_some() {
            self.cool();
        }
    }

    /// A span of no class, for the caller alone.
    pub(super) fn take_span(&self) -> Option<usize> {
        if let Some(index) = self.warm.take(false) {
            self.warm_count.fetch_sub(1, Ordering::Relaxed);
            return Some(index);
        }
        self.cold.take(false).or_else(|| self.commit_block())
    }

    /// Makes memory of the next block, and gives its first span.
    fn commit_block(&self) -> Option<usize> {
        let first = self.blocks.fetch_add(1, Ordering::Relaxed).checked_mul(BLOCK_SPANS)?;
        if first >= self.spans.len() {
            // Stays there: the number is not to wrap.
            self.blocks.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        // SAFETY: within what was reserved: whole blocks are.
        if !unsafe { system::commit(self.start(first), BLOCK_SPANS * SPAN_BYTES) } {
            // It may be tried again, unless somebody has gone on behind it.
            let (block, relaxed) = (first / BLOCK_SPANS, Ordering::Relaxed);
            let _ = self.blocks.compare_exchange(block + 1, block, relaxed, relaxed);
            return None;
        }
        (first + 1..first + BLOCK_SPANS).for_each(|index| self.cold.insert(index));
        Some(first)
    }
}
