//! Departures: which keys have left while a copy of an earlier state is still being brought back.
//!
//! When clients are served before everything is back, a key that was deleted or evicted, or whose item has expired
//! meanwhile, must not come back as it was before. So whoever removes an item, or is asked to, notes the key
//! *before* looking for it. Whoever brings an item back publishes it as one that nobody sees yet, looks
//! whether the key was noted, and shows it only if not. Between its two steps each side has a fence, so one of them
//! sees the other (Dekker 1965): the removal finds the item, or the item is not shown. Nobody waits.
//!
//! A key is one bit, by its hash. Two keys with the same bit cost one of them its return: a miss.

use crate::sync::{AtomicU64, AtomicUsize, Ordering, fence};

/// One bit for so many bytes of the memory limit: a 64th of the items that fit, if they are small.
const LIMIT_BYTES_A_BIT: usize = 64;
/// Bytes of the bits: so many at least, and at most.
const BYTES: (usize, usize) = if cfg!(test) { (64, 1 << 20) } else { (2 << 20, 64 << 20) };

/// The keys that have left since loading began.
#[derive(Debug)]
pub struct Departures {
    bits: Box<[AtomicU64]>,
    /// Not 0 when loading has ended. Relaxed: notes that come late are in vain, no more.
    over: AtomicUsize,
}

impl Departures {
    /// None yet, for a cache of this memory limit in bytes.
    pub fn new(memory_limit: usize) -> Self {
        let bytes = (memory_limit / LIMIT_BYTES_A_BIT / 8).clamp(BYTES.0, BYTES.1);
        let words = bytes.next_power_of_two() / size_of::<u64>();
        Self { bits: (0..words).map(|_| AtomicU64::new(0)).collect(), over: AtomicUsize::new(0) }
    }

    fn bit(&self, hash: u64) -> (&AtomicU64, u64) {
        // The table goes by the low bits of a hash, and keys of one bucket should not share a word.
        let word = hash.rotate_right(32) as usize >> 6 & (self.bits.len() - 1);
        (&self.bits[word], 1 << (hash & 63))
    }

    /// Notes that the key with this hash is about to be looked for, to be removed.
    #[cold]
    pub fn note(&self, hash: u64) {
        if self.is_over() {
            return;
        }
        let (word, bit) = self.bit(hash);
        word.fetch_or(bit, Ordering::Relaxed);
        // SeqCst: between the note and the look for the item; pairs with the fence in `holds`.
        fence(Ordering::SeqCst);
    }

    /// Whether the key with this hash was noted; asked after its item was published.
    pub fn holds(&self, hash: u64) -> bool {
        // SeqCst: between the publication and the look for a note; pairs with the fence in `note`.
        fence(Ordering::SeqCst);
        let (word, bit) = self.bit(hash);
        word.load(Ordering::Relaxed) & bit != 0
    }

    /// Loading has ended: no more notes are taken.
    pub fn end(&self) {
        self.over.store(1, Ordering::Relaxed);
    }

    /// Whether loading has ended.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) != 0
    }
}

#[cfg(all(test, not(volt_loom)))]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    #[test]
    fn a_noted_key_is_held_and_few_others_are() {
        let departures = Departures::new(8 << 20);
        let hasher = foldhash::quality::FixedState::with_seed(7);
        let hash = |number: u64| hasher.hash_one(number);
        (0..1000).for_each(|number| departures.note(hash(number)));
        assert!((0..1000).all(|number| departures.holds(hash(number))));
        let strangers = (1000..11_000).filter(|number| departures.holds(hash(*number))).count();
        // One in 131 bits is set.
        assert!(strangers < 150, "{strangers} of 10,000");
        departures.end();
        departures.note(hash(20_000_000));
        assert!(!departures.holds(hash(20_000_000)));
    }
}
