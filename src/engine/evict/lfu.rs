//! `lfu`: the item that is used least often goes first, with ageing.
//!
//! Eight bits of a logarithmic counter (Morris 1978) that a hit raises with falling probability, and the tick of the
//! last change; the counter halves for every [`HALF_LIFE`] ticks without one, so yesterday's favourite does
//! not stay for ever. Among equals the least recently used goes.

use super::super::item::POLICY_BITS;
use super::super::memory::TICKS_POWER;
use super::{Policy, Tick, age};

const COUNT_BITS: u32 = 8;
const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;
const TICK_BITS: u32 = POLICY_BITS - COUNT_BITS;
/// A new item starts above zero, so that it is not gone before its second use.
const COUNT_BORN: u32 = 4;
/// The counter is linear up to here; beyond, one hit in `count - LINEAR` raises it.
const LINEAR: u32 = 16;
/// Ticks after which an unused item's count is halved: while the memory is written once or less.
const HALF_LIFE: u32 = 1 << TICKS_POWER;

/// Least frequently used.
#[derive(Debug, Clone, Copy)]
pub struct Lfu;

fn pack(count: u32, now: Tick) -> u32 {
    (now & ((1 << TICK_BITS) - 1)) << COUNT_BITS | count
}

fn aged(bits: u32, now: Tick) -> u32 {
    let halvings = age(bits >> COUNT_BITS, now, TICK_BITS) / HALF_LIFE;
    (bits & COUNT_MAX).checked_shr(halvings).unwrap_or(0)
}

impl Policy for Lfu {
    #[inline]
    fn born(&self, now: Tick) -> u32 {
        pack(COUNT_BORN, now)
    }

    #[inline]
    fn hit(&self, bits: u32, now: Tick) -> u32 {
        let count = aged(bits, now);
        // The bits and the tick stand in for a die: hits of one item fall on unrelated ticks.
        let die = (bits ^ now).wrapping_mul(0x9e37_79b1) >> 16;
        let raise = count < LINEAR || die.is_multiple_of(count - LINEAR + 1);
        pack((count + u32::from(raise)).min(COUNT_MAX), now)
    }

    #[inline]
    fn rank(&self, bits: u32, now: Tick, _size: usize) -> u64 {
        let rarity = COUNT_MAX - aged(bits, now);
        u64::from(rarity) << 32 | u64::from(age(bits >> COUNT_BITS, now, TICK_BITS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn often_used_outlives_recently_used() {
        let mut often = Lfu.born(0);
        for now in 1..10 {
            often = Lfu.hit(often, now);
        }
        let recent = Lfu.born(100);
        assert!(Lfu.rank(recent, 101, 0) > Lfu.rank(often, 101, 0));
    }

    #[test]
    fn fame_fades() {
        let mut star = Lfu.born(0);
        for now in 1..200 {
            star = Lfu.hit(star, now);
        }
        let later = 200 + HALF_LIFE * 6;
        let newcomer = Lfu.hit(Lfu.born(later), later);
        assert!(Lfu.rank(star, later, 0) > Lfu.rank(newcomer, later, 0));
    }

    #[test]
    fn the_counter_never_overflows() {
        let mut bits = Lfu.born(0);
        for now in 0..100_000 {
            bits = Lfu.hit(bits, now);
        }
        assert!(bits & COUNT_MAX > LINEAR);
    }
}
