//! `lru`: the item that was not used for the longest time goes first, but scans do not flush it.
//!
//! The bits are the tick of the last use, and whether there was any since the item came. What was never used counts as
//! [`UNUSED_AGES`] times as old as it is, so a stream of keys that nobody asks for again passes through a part of
//! the memory and leaves the rest alone. That is what the probationary segment of segmented LRU does (Karedla et al., "Caching
//! Strategies to Improve Disk System Performance", 1994) without the segments. The clock is logical, so a replay at any
//! speed evicts the same items.

use super::super::item::POLICY_BITS;
use super::{Policy, Standing, Tick, age};

const TICK_BITS: u32 = POLICY_BITS - 1;
const USED: u32 = 1 << TICK_BITS;
/// How much faster an item ages until it is used.
const UNUSED_AGES: u32 = 8;

/// Least recently used.
#[derive(Debug, Clone, Copy)]
pub struct Lru;

impl Policy for Lru {
    #[inline]
    fn born(&self, _hash: u64, now: Tick) -> u32 {
        now & (USED - 1)
    }

    #[inline]
    fn hit(&self, _bits: u32, now: Tick) -> u32 {
        now & (USED - 1) | USED
    }

    #[inline]
    fn rank(&self, bits: u32, now: Tick, _size: usize) -> u64 {
        let pace = if bits & USED == 0 { UNUSED_AGES } else { 1 };
        u64::from(age(bits, now, TICK_BITS)) * u64::from(pace)
    }

    fn uses(&self, bits: u32) -> u32 {
        u32::from(bits & USED != 0)
    }

    fn standing(&self, bits: u32) -> Option<Standing> {
        Some(if bits & USED == 0 { Standing::Probation } else { Standing::Admitted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_use_ranks_higher_across_the_wrap() {
        let before = Lru.hit(0, USED - 6);
        let after = Lru.hit(before, USED + 3);
        let now = USED + 10;
        assert_eq!(Lru.rank(before, now, 0), 16);
        assert_eq!(Lru.rank(after, now, 0), 7);
    }

    #[test]
    fn what_was_never_used_goes_before_what_was_used_a_little_earlier() {
        let (used, fresh) = (Lru.hit(0, 100), Lru.born(0, 180));
        assert!(Lru.rank(fresh, 200, 0) > Lru.rank(used, 200, 0));
        assert!(Lru.rank(fresh, 190, 0) < Lru.rank(used, 190, 0), "it has a little time");
    }
}
