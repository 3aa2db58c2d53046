//! A span: which of its slots are free, as bits that any thread may set and clear.
//!
//! A set bit is a free slot. Whoever clears it owns the slot; whoever sets it has owned it and gives it away. All
//! that happens by single steps on one word, so there is no owner of a span and nobody waits. A span that has all its
//! bits set is taken out of its class by clearing all of them: whoever has done that owns every slot, hence the span,
//! and may make it one of another class. So a thread that still takes it for one of the old class has to look
//! at the class again once it has a slot: from then on the class stays what it is.

use super::class::{Class, SLOTS_MAX};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Words of free bits.
pub const WORDS: usize = SLOTS_MAX / SLOTS_A_WORD;
/// Slots that a word tells of.
pub const SLOTS_A_WORD: usize = u64::BITS as usize;

/// What is known of a span. Zeroes are a span of no slots.
#[repr(align(64))]
pub struct Span {
    /// Changed only by who owns all slots.
    class: AtomicU32,
    /// Not 0 while nobody is to take slots from here, since its items are being moved out: for how many rounds, from 1.
    sealed: AtomicU64,
    free: [AtomicU64; WORDS],
}

impl Default for Span {
    fn default() -> Self {
        let free = std::array::from_fn(|_| AtomicU64::new(0));
        Self { class: AtomicU32::new(0), sealed: AtomicU64::new(0), free }
    }
}

/// What a word holds, in the one order that all SeqCst steps have.
#[cfg(not(volt_loom))]
#[inline]
pub fn latest(word: &AtomicU64) -> u64 {
    word.load(Ordering::SeqCst)
}

/// loom takes SeqCst for AcqRel. A step that writes, too, sees the latest all the same.
#[cfg(volt_loom)]
pub fn latest(word: &AtomicU64) -> u64 {
    word.fetch_or(0, Ordering::AcqRel)
}

/// Slots that were taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Which word they are in.
    pub word: usize,
    /// Their bits.
    pub bits: u64,
}

/// All free bits of a word.
fn full(class: Class, word: usize) -> u64 {
    match class.slots().saturating_sub(word * SLOTS_A_WORD) {
        0 => 0,
        slots if slots < SLOTS_A_WORD => (1 << slots) - 1,
        _ => u64::MAX,
    }
}

/// Words that a class uses.
fn words(class: Class) -> usize {
    class.slots().div_ceil(SLOTS_A_WORD)
}

/// The lowest `most` of the bits.
fn lowest(bits: u64, most: usize) -> u64 {
    if bits.count_ones() as usize <= most {
        return bits;
    }
    let mut rest = bits;
    for _ in 0..most {
        rest &= rest - 1;
    }
    bits & !rest
}

impl Span {
    /// Makes it one of `class` with all slots free, for who owns all of them.
    pub fn open(&self, class: Class) {
        // Relaxed: who takes a slot sees it by the words below.
        self.class.store(class.number() as u32, Ordering::Relaxed);
        self.set_sealed(0);
        for word in 0..words(class) {
            // Release: the class before the slots.
            self.free[word].swap(full(class, word), Ordering::AcqRel);
        }
    }

    /// Its class, to be relied on by who has a slot.
    pub fn class(&self) -> Option<Class> {
        Class::numbered(self.class.load(Ordering::Relaxed))
    }

    /// Takes up to `most` slots of one word, of those from `first` on; `None` if none is free.
    pub fn claim(&self, class: Class, first: usize, most: usize) -> Option<Claim> {
        for word in first..words(class) {
            // SeqCst: see `Arena::give`.
            let mut bits = self.free[word].load(Ordering::SeqCst);
            while bits != 0 {
                let wanted = lowest(bits, most);
                // Acquire: what the slot's last owner did with it, and the class.
                let before = self.free[word].fetch_and(!wanted, Ordering::AcqRel);
                if before & wanted != 0 {
                    return Some(Claim { word, bits: before & wanted });
                }
                bits = before & !wanted;
            }
        }
        None
    }

    /// Gives slots back, by who owns them; whether none was free in their word, and whether all are now.
    pub fn give(&self, class: Class, claim: Claim) -> (bool, bool) {
        // SeqCst, and release what was done with the slots: see `Arena::give`.
        let before = self.free[claim.word].fetch_or(claim.bits, Ordering::SeqCst);
        debug_assert_eq!(before & claim.bits, 0, "a slot is given back twice");
        (before == 0, before | claim.bits == full(class, claim.word))
    }

    /// Whether any slot is free.
    pub fn any_free(&self) -> bool {
        // SeqCst: see `Arena::give`.
        self.free.iter().any(|word| latest(word) != 0)
    }

    /// Whether all slots are.
    pub fn all_free(&self, class: Class) -> bool {
        // SeqCst: of two that give the last slots of two words, one sees the other's.
        (0..words(class)).all(|word| latest(&self.free[word]) == full(class, word))
    }

    /// Takes all slots, word by word, up to the first word in which one is not free: the words that were taken and may have
    /// to be given back, and whether these are all.
    pub fn claim_all(&self, class: Class) -> (usize, bool) {
        let take = |word: &usize| {
            let full = full(class, *word);
            self.free[*word].compare_exchange(full, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        };
        let taken = (0..words(class)).take_while(take).count();
        (taken, taken == words(class))
    }

    /// What `claim_all` has taken of a word.
    pub fn whole_word(class: Class, word: usize) -> Claim {
        Claim { word, bits: full(class, word) }
    }

    /// How many slots are free.
    pub fn free_slots(&self, class: Class) -> usize {
        let ones = |word: &AtomicU64| word.load(Ordering::Relaxed).count_ones() as usize;
        self.free[..words(class)].iter().map(ones).sum()
    }

    /// For how many rounds it has been sealed, from 1; 0 if it is not.
    #[inline]
    pub fn sealed(&self) -> u64 {
        // SeqCst: see `Arena::unseal`.
        latest(&self.sealed)
    }

    /// Seals it for its next round, or with 0 opens it again.
    pub fn set_sealed(&self, rounds: u64) {
        // A swap, for a store in loom is not SeqCst; for processors it is the same.
        self.sealed.swap(rounds, Ordering::SeqCst);
    }
}
