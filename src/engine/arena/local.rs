//! A thread's slots: taken from spans some at a time, so that most allocations touch nothing that is shared.

use super::Arena;
use super::class::{COUNT, Class};
use super::span::Claim;
use super::spares;
use std::cell::Cell;
use std::ptr::NonNull;

/// Bytes of slots that are taken from a span at a time, in slots of one word at most.
const REFILL_BYTES: usize = 4096;

/// Slots of one span that are this thread's.
#[derive(Clone, Copy)]
struct Slots {
    span: usize,
    claim: Claim,
}

/// Slots of each class that are one thread's own.
pub struct Local {
    arena: &'static Arena,
    slots: [Cell<Slots>; COUNT],
}

impl Local {
    /// None yet.
    pub fn new(arena: &'static Arena) -> Self {
        const NONE: Slots = Slots { span: 0, claim: Claim { word: 0, bits: 0 } };
        Self { arena, slots: [const { Cell::new(NONE) }; COUNT] }
    }

    /// Memory for `len` bytes, aligned to 8; `None` if no span is for so many or there is no memory.
    #[inline]
    pub fn allocate(&self, len: usize) -> Option<NonNull<u8>> {
        let class = self.arena.class(len)?;
        if let Some(slot) = spares::take(self.arena, class) {
            return Some(slot);
        }
        let cell = &self.slots[class.number()];
        let mut slots = cell.get();
        if slots.claim.bits == 0 {
            slots = self.refill(class)?;
        }
        let claim = slots.claim;
        slots.claim.bits &= claim.bits - 1;
        cell.set(slots);
        Some(self.arena.slot(slots.span, class, claim))
    }

    /// The same, but not in a span that is being emptied.
    pub fn allocate_elsewhere(&self, len: usize) -> Option<NonNull<u8>> {
        let class = self.arena.class(len)?;
        let slots = self.slots[class.number()].get();
        if slots.claim.bits != 0 && self.arena.spans[slots.span].sealed() > 0 {
            self.give_back_class(class.number());
        }
        self.allocate(len)
    }

    #[cold]
    fn refill(&self, class: Class) -> Option<Slots> {
        let most = (REFILL_BYTES / class.size()).max(1);
        let Slots { span, claim } = self.slots[class.number()].get();
        // The span of before has more as a rule, and looking for another takes longer.
        if let Some(claim) = self.arena.claim_in(span, claim.word + 1, class, most) {
            return Some(Slots { span, claim });
        }
        let (span, claim) = self.arena.claim(class, most)?;
        Some(Slots { span, claim })
    }

    /// Gives all of them back, and the thread's spares.
    pub fn give_back(&self) {
        spares::give_back();
        for number in 0..COUNT {
            self.give_back_class(number);
        }
    }

    fn give_back_class(&self, number: usize) {
        let mut slots = self.slots[number].get();
        let Some(class) = Class::numbered(number as u32).filter(|_| slots.claim.bits != 0) else {
            return;
        };
        self.arena.give(slots.span, class, slots.claim);
        slots.claim.bits = 0;
        self.slots[number].set(slots);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.give_back();
    }
}
