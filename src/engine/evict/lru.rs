//! `lru`: the item that was not used for the longest time goes first, but scans do not flush it.
//!
//! The bits are the tick of the last use that counted, and whether there was any. What was never used counts as
//! [`UNUSED_AGES`] times as old as it is, so a stream of keys that nobody asks for again passes through a part of
//! the memory and leaves the rest alone. That is what the first queue of 2Q does (Johnson and Shasha, "2Q: a low overhead high
//! performance buffer management replacement algorithm", VLDB 1994) without the queues. The rest is as there: uses soon after
//! one another are one ([`CORRELATED_PART`]), and a key that was evicted lately ([`Ghosts`]) comes back as one that was used.
//! The clock is logical, so a replay at any speed evicts the same items.

use super::super::item::POLICY_BITS;
use super::ghost::Ghosts;
use super::{CORRELATED_PART, Policy, Standing, Tick, Turn, age};

const TICK_BITS: u32 = POLICY_BITS - 1;
const USED: u32 = 1 << TICK_BITS;
/// How much faster an item ages until it is used.
const UNUSED_AGES: u32 = 8;

/// Least recently used.
#[derive(Debug)]
pub struct Lru {
    ghosts: Ghosts,
    /// Ticks in which uses count as one.
    correlated: u32,
}

impl Lru {
    /// For a memory that is written once in so many ticks.
    pub fn new(turn: Turn) -> Self {
        Self { ghosts: Ghosts::default(), correlated: turn / CORRELATED_PART }
    }
}

impl Policy for Lru {
    #[inline]
    fn born(&self, hash: u64, now: Tick) -> u32 {
        let used = if self.ghosts.find(hash).is_some() { USED } else { 0 };
        now & (USED - 1) | used
    }

    #[inline]
    fn hit(&self, bits: u32, now: Tick) -> u32 {
        if age(bits, now, TICK_BITS) >= self.correlated { now & (USED - 1) | USED } else { bits }
    }

    #[inline]
    fn rank(&self, bits: u32, now: Tick, _size: usize) -> u64 {
        let pace = if bits & USED == 0 { UNUSED_AGES } else { 1 };
        u64::from(age(bits, now, TICK_BITS)) * u64::from(pace)
    }

    fn evicted(&self, hash: u64, _bits: u32, _size: usize) {
        self.ghosts.add(hash, 0);
    }

    fn uses(&self, bits: u32) -> u32 {
        u32::from(bits & USED != 0)
    }

    fn restored(&self, bits: u32, uses: u32, _now: Tick) -> u32 {
        if uses > 0 { bits | USED } else { bits }
    }

    fn fit(&self, items: usize) -> usize {
        self.ghosts.fit(items)
    }

    fn standing(&self, bits: u32) -> Option<Standing> {
        Some(if bits & USED == 0 { Standing::Probation } else { Standing::Admitted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Turn = 1000;
    const SIZE: usize = 100;

    #[test]
    fn the_older_use_ranks_higher_across_the_wrap() {
        let lru = Lru::new(TURN);
        let before = lru.hit(lru.born(1, USED - 100), USED - 6);
        let after = lru.hit(before, USED + 20);
        let now = USED + 30;
        assert_eq!(lru.rank(before, now, SIZE), 36);
        assert_eq!(lru.rank(after, now, SIZE), 10);
    }

    #[test]
    fn what_was_never_used_goes_before_what_was_used_a_little_earlier() {
        let lru = Lru::new(TURN);
        let (used, fresh) = (lru.hit(lru.born(1, 0), 100), lru.born(2, 180));
        assert!(lru.rank(fresh, 200, SIZE) > lru.rank(used, 200, SIZE));
        assert!(lru.rank(fresh, 190, SIZE) < lru.rank(used, 190, SIZE), "it has a little time");
    }

    #[test]
    fn a_burst_is_one_use_and_none_when_the_item_has_just_come() {
        let lru = Lru::new(TURN);
        let born = lru.born(1, 0);
        assert_eq!(lru.hit(born, 19), born);
        let used = lru.hit(born, 20);
        assert_eq!(lru.standing(used), Some(Standing::Admitted));
        assert_eq!(lru.hit(used, 39), used);
        assert_ne!(lru.hit(used, 40), used);
    }

    #[test]
    fn what_another_worker_has_just_stored_by_its_faster_clock_is_new() {
        let lru = Lru::new(TURN);
        let born = lru.born(1, 100);
        assert_eq!(lru.hit(born, 95), born);
        assert_eq!(lru.rank(born, 95, SIZE), 0);
    }

    #[test]
    fn a_key_that_comes_back_counts_as_used() {
        let lru = Lru::new(TURN);
        lru.evicted(7, lru.born(7, 0), SIZE);
        assert_eq!(lru.standing(lru.born(7, 50)), Some(Standing::Admitted));
    }
}
