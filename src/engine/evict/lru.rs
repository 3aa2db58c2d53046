//! `lru`: the item that was not used for the longest time goes first.
//!
//! All the bits are the tick of the last use. The clock is logical, so a replay at any speed evicts the same
//! items.

use super::super::item::{POLICY_BITS, POLICY_MASK};
use super::{Policy, Tick, age};

/// Least recently used.
#[derive(Debug, Clone, Copy)]
pub struct Lru;

impl Policy for Lru {
    #[inline]
    fn born(&self, now: Tick) -> u32 {
        now & POLICY_MASK
    }

    #[inline]
    fn hit(&self, _bits: u32, now: Tick) -> u32 {
        now & POLICY_MASK
    }

    #[inline]
    fn rank(&self, bits: u32, now: Tick, _size: usize) -> u64 {
        u64::from(age(bits, now, POLICY_BITS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_use_ranks_higher_across_the_wrap() {
        let before = Lru.born(POLICY_MASK - 5);
        let after = Lru.hit(before, POLICY_MASK + 3);
        let now = POLICY_MASK + 10;
        assert_eq!(Lru.rank(before, now, 0), 15);
        assert_eq!(Lru.rank(after, now, 0), 7);
    }
}
