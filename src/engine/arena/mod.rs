//! The arena: where items come from that are not large.
//!
//! ```text
//!   addresses   │ span 0 │ span 1 │ span 2 │ ...   68 KiB each, reserved once, made memory 2 MiB at a time
//!   spans       │ class, sealed, free bits │ ...   beside them, so that they share no lines with items
//!   shelves     one a class: its spans with free slots; warm: spans of no class; cold: those without memory, too
//! ```
//!
//! A span holds slots of one size ([`class`]). A thread takes some slots at a time off the first span on the class's shelf
//! ([`local`]) and keeps some of those that it frees for itself ([`spares`]). Whoever else frees an item sets a bit in its span
//! ([`span`]) and puts the span back on the shelf if it was full. A span that comes free goes to the warm ones, where any class
//! may take it; of those only some are kept, the others' pages go back to the system ([`supply`]). Nothing here waits for another
//! thread.
//!
//! Sizes lie 3 % apart and spans are taken from the front, so little is lost within slots and few spans are sparse as long as
//! the mix of sizes stays. When it shifts, the items of sparse spans have to move: such spans are sealed
//! ([`Arena::seal`]), and `engine::compact` moves what it finds in them.
#![expect(unsafe_code, reason = "hands out raw memory")]

mod class;
mod local;
mod seal;
mod shelf;
mod span;
mod spares;
mod supply;
mod system;

#[cfg(all(test, volt_loom))]
mod models;
#[cfg(all(test, not(volt_loom)))]
mod tests;

pub use class::Class;
pub use local::Local;

use crate::sync::{AtomicBool, AtomicUsize, Ordering};
use class::{COUNT, SPAN_BYTES};
use seal::Round;
use shelf::Shelf;
use span::{Claim, SLOTS_A_WORD, Span};
use std::ptr::NonNull;

/// Spans that are made memory at a time.
const BLOCK_SPANS: usize = (2 << 20) / SPAN_BYTES;

/// Addresses are reserved for this many times the limit: it may be raised later, and sizes may shift.
const RESERVE_TIMES: usize = 4;

/// Free spans that keep their pages: this share of the limit,
const WARM_SHARE: usize = 64;
/// but no more than these.
const WARM_MAX: usize = (4 << 20) / SPAN_BYTES;

/// With a smaller limit a span of each size would be too large a share,
const SMALL_LIMIT: usize = 32 << 20;
/// and only blocks of at least so many bytes come from spans.
const SMALL_LIMIT_LEN_MIN: usize = 2048;

/// Bytes that a span in use takes,
const SPAN_COST: usize = SPAN_BYTES + size_of::<Span>();
/// and the share of them that is no slot: what is known of the span, and what is left over behind its last slot.
const EDGES_SHARE: usize = 72;

/// Memory for the items of one engine. It stays for as long as the process lives, as the account does.
pub struct Arena {
    base: NonNull<u8>,
    spans: &'static [Span],
    /// Shorter blocks are not this arena's.
    len_min: usize,
    /// Spans of each class that have free slots. One that has none, or is of another class by now, may be among them for a while.
    shelves: Vec<Shelf>,
    /// Spans of no class that may have pages,
    warm: Shelf,
    /// and those that have none.
    cold: Shelf,
    warm_count: AtomicUsize,
    warm_max: AtomicUsize,
    /// Blocks of spans that were made memory.
    blocks: AtomicUsize,
    /// Spans of a class.
    used: AtomicUsize,
    /// Spans that ever became one of a class.
    opened: AtomicUsize,
    /// No thread is to have spares: free slots of sparse spans are to come together.
    frugal: AtomicBool,
    round: Round,
}

// SAFETY: the base is an address; what lies there is handed out slot by slot, each to one owner.
unsafe impl Send for Arena {}
// SAFETY: as above, and the rest is atomics.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena for a limit of so many bytes; `None` if the system has not enough addresses to reserve.
    pub fn leak(limit: usize) -> Option<&'static Self> {
        let blocks = (limit.checked_mul(RESERVE_TIMES)? / SPAN_BYTES).div_ceil(BLOCK_SPANS);
        let count = blocks * BLOCK_SPANS;
        let base = system::reserve(count * SPAN_BYTES)?;
        let mut rest = system::table(Shelf::words(count) * (COUNT + 2))?;
        let mut shelf = || {
            let (shelf, others) = Shelf::new(count, rest);
            rest = others;
            shelf
        };
        let small = limit < SMALL_LIMIT;
        let arena = Self {
            len_min: if small { SMALL_LIMIT_LEN_MIN } else { 0 },
            shelves: (0..COUNT).map(|_| shelf()).collect(),
            warm: shelf(),
            cold: shelf(),
            spans: system::table(count)?,
            base,
            warm_count: AtomicUsize::new(0),
            warm_max: AtomicUsize::new((limit / WARM_SHARE / SPAN_BYTES).min(WARM_MAX)),
            blocks: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            frugal: AtomicBool::new(small),
            round: Round::default(),
        };
        Some(Box::leak(Box::new(arena)))
    }

    /// Bytes of the slot that `len` bytes take; `None` if they are too many for a span, or too few.
    #[inline]
    pub fn size(&self, len: usize) -> Option<usize> {
        self.class(len).map(Class::size)
    }

    #[inline]
    fn class(&self, len: usize) -> Option<Class> {
        Class::of(len).filter(|_| len >= self.len_min)
    }

    /// Bytes of all spans that hold anything.
    #[inline]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed) * SPAN_COST
    }

    /// What of that is no slot, at most.
    pub fn edges(&self) -> usize {
        self.used() / EDGES_SHARE
    }

    /// Spans that were made memory so far.
    fn made(&self) -> usize {
        (self.blocks.load(Ordering::Relaxed) * BLOCK_SPANS).min(self.spans.len())
    }

    /// Whether threads are to do without spares until it is said otherwise.
    pub fn set_frugal(&self, frugal: bool) {
        let frugal = frugal || self.len_min > 0;
        // Most calls change nothing, and others read it all the time.
        if self.frugal.load(Ordering::Relaxed) != frugal {
            self.frugal.store(frugal, Ordering::Relaxed);
        }
    }

    /// The span of an address; `None` if it is not one of the arena's.
    #[inline]
    fn span_of(&self, address: usize) -> Option<usize> {
        let offset = address.wrapping_sub(self.base.as_ptr() as usize);
        Some(offset / SPAN_BYTES).filter(|span| *span < self.spans.len())
    }

    /// Frees a block if it is the arena's.
    ///
    /// # Safety
    /// A block that is the arena's came from [`Local::allocate`] for `len` bytes, nobody refers to it any more, and it is freed
    /// once.
    #[inline]
    pub unsafe fn free(&'static self, block: NonNull<u8>, len: usize) -> bool {
        let address = block.as_ptr() as usize;
        let Some((_, class)) = self.span_of(address).zip(Class::of(len)) else { return false };
        if cfg!(debug_assertions) {
            // Whoever still reads it is to notice.
            // SAFETY: by contract the block is nobody's any more.
            unsafe { block.as_ptr().write_bytes(0xa5, len) };
        }
        // SAFETY: by contract.
        if !unsafe { spares::keep(self, class, block) } {
            self.give_slot(block, class);
        }
        true
    }

    /// Gives one slot back, by who owns it.
    fn give_slot(&self, slot: NonNull<u8>, class: Class) {
        let offset = slot.as_ptr() as usize - self.base.as_ptr() as usize;
        let slot = class.slot_at(offset % SPAN_BYTES);
        let claim = Claim { word: slot / SLOTS_A_WORD, bits: 1 << (slot % SLOTS_A_WORD) };
        self.give(offset / SPAN_BYTES, class, claim);
    }

    /// The first slot of a claim.
    #[inline]
    fn slot(&self, span: usize, class: Class, claim: Claim) -> NonNull<u8> {
        let slot = claim.word * SLOTS_A_WORD + claim.bits.trailing_zeros() as usize;
        // SAFETY: the slot lies within the span.
        unsafe { self.start(span).add(slot * class.size()) }
    }

    /// Where a span begins.
    #[inline]
    fn start(&self, span: usize) -> NonNull<u8> {
        debug_assert!(span < self.spans.len());
        // SAFETY: every span lies within what was reserved.
        unsafe { self.base.add(span * SPAN_BYTES) }
    }

    /// Takes up to `most` slots off one span, of those that words from `first` on tell of; `None` if there are none of this class
    /// to be taken.
    fn claim_in(&self, index: usize, first: usize, class: Class, most: usize) -> Option<Claim> {
        let span = &self.spans[index];
        if span.class() != Some(class) || span.sealed() > 0 {
            return None;
        }
        let claim = span.claim(class, first, most)?;
        // With a slot in hand its class stays.
        match span.class().filter(|now| *now != class) {
            None => Some(claim),
            Some(other) => {
                self.give(index, other, claim);
                None
            }
        }
    }

    /// Takes up to `most` slots off a span; `None` if there is no memory.
    fn claim(&self, class: Class, most: usize) -> Option<(usize, Claim)> {
        let shelf = &self.shelves[class.number()];
        loop {
            while let Some(index) = shelf.find(false) {
                if let Some(claim) = self.claim_in(index, 0, class, most) {
                    return Some((index, claim));
                }
                shelf.remove(index);
                // Somebody has freed a slot meanwhile, or it is another class's.
                self.shelve(index, class);
            }
            let index = self.take_span()?;
            self.used.fetch_add(1, Ordering::Relaxed);
            self.opened.fetch_add(1, Ordering::Relaxed);
            self.spans[index].open(class);
            // By now others may have taken all, or have had all and made it one of another class.
            let claim = self.claim_in(index, 0, class, most);
            shelf.insert(index);
            if let Some(claim) = claim {
                return Some((index, claim));
            }
        }
    }

    /// Puts a span on the shelf of its class if it has free slots that anybody may take.
    fn shelve(&self, index: usize, class: Class) {
        let span = &self.spans[index];
        if span.class() == Some(class) && span.sealed() == 0 && span.any_free() {
            self.shelves[class.number()].insert(index);
        }
    }

    /// Gives slots back, by who owns them.
    ///
    /// A span with free slots is on its shelf, or somebody is about to put it there: who makes a word other than zero looks at
    /// the shelf afterwards, and who takes it off the shelf looks at the words afterwards. All of that is SeqCst, so one of them
    /// sees the other.
    #[inline]
    fn give(&self, index: usize, class: Class, claim: Claim) {
        let span = &self.spans[index];
        let (none_before, word_full) = span.give(class, claim);
        if none_before && !self.shelves[class.number()].contains(index) && span.sealed() == 0 {
            self.shelves[class.number()].insert(index);
        }
        if word_full {
            self.retire_if_free(index, class);
        }
    }

    /// Takes a span out of its class if all its slots are free.
    #[cold]
    fn retire_if_free(&self, index: usize, class: Class) {
        let span = &self.spans[index];
        if !span.all_free(class) {
            return;
        }
        let (taken, all) = span.claim_all(class);
        // With a slot in hand its class stays. Somebody else may have retired it, and it may be of a class by now that has
        // more slots.
        let Some(now) = span.class().filter(|_| taken > 0) else { return };
        if all && now == class {
            return self.retire(index, class);
        }
        for word in 0..taken {
            self.give(index, now, Span::whole_word(class, word));
        }
    }
}
