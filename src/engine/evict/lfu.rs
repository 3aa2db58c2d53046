//! `lfu`: the item that is used least often for its size goes first, with ageing.
//!
//! Greedy-Dual-Size-Frequency (Cherkasova, HP Labs 1998): an item is worth the level at its last use plus its uses over its size,
//! and the level follows what the evicted were worth. So yesterday's favourite sinks as the level rises, however often it
//! was used, and a large item stays as long as it is used in proportion. Two things are different. The level is a
//! moving mean of the victims, since the best of a sample is not always the least of all. And what was evicted lately comes back
//! with the uses it had ([`Ghosts`]): frequency is a property of the key, not of its stay (perfect LFU: Breslau et al.,
//! INFOCOM 1999).
//!
//! The bits: the level at the last use 21, uses 5 (up to 31).

use super::super::item::POLICY_BITS;
use super::ghost::{Ghosts, NOTE_BITS};
use super::{Policy, Standing, Tick};
use crate::sync::{AtomicU64, Ordering};

const USES_BITS: u32 = 5;
const USES_MAX: u32 = (1 << USES_BITS) - 1;
const LEVEL_BITS: u32 = POLICY_BITS - USES_BITS;
const LEVEL_MASK: u32 = (1 << LEVEL_BITS) - 1;
/// Half of the levels.
const HALF: u32 = 1 << (LEVEL_BITS - 1);
/// Levels wrap. The level can fall a little, too, so an item may be ahead of it: by so much at most. What is further behind
/// than the rest has gone long ago.
const AHEAD_MAX: u32 = HALF / 2;
/// One use of one byte, in levels: an item of 40 bytes with all its uses is worth three quarters of [`HALF`].
const SCALE: u64 = 1_000_000;
/// log2 of the victims over which the level is the mean.
const MEAN_POWER: u32 = 6;
/// Uses that the note of a ghost can hold.
const NOTE_MAX: u32 = (1 << NOTE_BITS) - 1;

/// Least frequently used, by size, with ageing.
#[derive(Debug, Default)]
pub struct Lfu {
    ghosts: Ghosts,
    /// The level, with [`MEAN_POWER`] bits of fraction. Written by evictions, read by hits; Relaxed, and it does not matter if
    /// one of two evictions at once does not count.
    level: AtomicU64,
}

fn uses(bits: u32) -> u32 {
    bits & USES_MAX
}

fn worth(uses: u32, size: usize) -> u32 {
    let worth = u64::from(uses + 1) * SCALE / size.max(40) as u64;
    worth.min(u64::from(HALF - 1)) as u32
}

impl Lfu {
    #[inline]
    fn level(&self) -> u32 {
        (self.level.load(Ordering::Relaxed) >> MEAN_POWER) as u32
    }

    #[inline]
    fn pack(&self, uses: u32) -> u32 {
        (self.level() & LEVEL_MASK) << USES_BITS | uses.min(USES_MAX)
    }

    /// What the item is worth above the level, or below it.
    fn height(&self, bits: u32, size: usize) -> i64 {
        let behind = self.level().wrapping_sub(bits >> USES_BITS).wrapping_add(AHEAD_MAX);
        i64::from(worth(uses(bits), size)) + i64::from(AHEAD_MAX) - i64::from(behind & LEVEL_MASK)
    }
}

impl Policy for Lfu {
    #[inline]
    fn born(&self, hash: u64, _now: Tick) -> u32 {
        self.pack(self.ghosts.find(hash).map_or(0, |uses| uses + 1))
    }

    #[inline]
    fn hit(&self, bits: u32, _now: Tick) -> u32 {
        self.pack(uses(bits) + 1)
    }

    fn uses(&self, bits: u32) -> u32 {
        uses(bits)
    }

    #[inline]
    fn rank(&self, bits: u32, _now: Tick, size: usize) -> u64 {
        (i64::from(2 * HALF) - self.height(bits, size)).unsigned_abs()
    }

    fn evicted(&self, hash: u64, bits: u32, size: usize) {
        self.ghosts.add(hash, uses(bits).min(NOTE_MAX));
        let level = self.level.load(Ordering::Relaxed);
        // A fraction of MEAN_POWER bits makes this one part in 2^MEAN_POWER of the difference.
        self.level.store(level.saturating_add_signed(self.height(bits, size)), Ordering::Relaxed);
    }

    fn fit(&self, items: usize) -> usize {
        self.ghosts.fit(items)
    }

    fn standing(&self, bits: u32) -> Option<Standing> {
        Some(if uses(bits) == 0 { Standing::Probation } else { Standing::Admitted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 200;

    /// Hashes that differ where ghosts look.
    fn hash(key: u64) -> u64 {
        key << 32 | key << 16
    }

    #[test]
    fn often_used_outlives_recently_used() {
        let lfu = Lfu::default();
        let often = (0..9).fold(lfu.born(1, 0), |bits, now| lfu.hit(bits, now));
        let recent = lfu.hit(lfu.born(2, 100), 100);
        assert!(lfu.rank(recent, 101, SIZE) > lfu.rank(often, 101, SIZE));
        assert!(lfu.rank(often, 101, 100 * SIZE) > lfu.rank(recent, 101, SIZE), "by size");
    }

    #[test]
    fn fame_fades() {
        let lfu = Lfu::default();
        let star = (0..200).fold(lfu.born(1, 0), |bits, now| lfu.hit(bits, now));
        let (mut victims, mut newcomer) = (0, lfu.born(hash(2), 0));
        while lfu.rank(star, 0, SIZE) < lfu.rank(newcomer, 0, SIZE) {
            lfu.evicted(hash(1000 + victims), newcomer, SIZE);
            victims += 1;
            newcomer = lfu.hit(lfu.born(hash(2), 0), 0);
            assert!(victims < 10_000, "the level does not rise");
        }
        assert!(victims > 100, "{victims}");
    }

    #[test]
    fn a_ghost_comes_back_with_its_uses() {
        let lfu = Lfu::default();
        let bits = lfu.hit(lfu.hit(lfu.born(5, 0), 0), 0);
        lfu.evicted(hash(5), bits, SIZE);
        assert_eq!(uses(lfu.born(hash(5), 9)), 3);
        assert_eq!(uses(lfu.born(hash(6), 9)), 0);
    }

    #[test]
    fn uses_and_level_never_overflow() {
        let lfu = Lfu::default();
        let mut bits = lfu.born(1, 0);
        for key in 0..100_000 {
            bits = lfu.hit(bits, 0);
            lfu.evicted(hash(key), bits, 50);
        }
        assert_eq!(uses(bits), USES_MAX);
        assert!(lfu.rank(bits, 0, 50) < lfu.rank(lfu.born(hash(200_000), 0), 0, 50));
    }
}
