//! `s3fifo`, the default: a new item has a short time to be asked for again; what has passed goes round in a long
//! queue and stays while it is asked for.
//!
//! S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023) as a sampled policy:
//!
//! * The small queue is a time instead of a list: an item is on probation for [`WINDOW_PART`] of a turn of the memory. Overdue
//!   ones go before all others, unless they were hit: these enter the main queue.
//! * The main queue is the order of the ticks at which items entered. The oldest of a sample is chosen; if it was hit since, it
//!   enters again with one hit less, else it goes.
//! * Hits soon after an item entered a queue do not count ([`CORRELATED_PART`]). The paper asks for two hits instead,
//!   so that a burst looks like a need and one late hit like none.
//! * A key that was evicted lately ([`Ghosts`]) enters the main queue at once.
//! * Where queues compare ages, this compares age times size, as size-aware policies do (Cherkasova, "Improving WWW proxies
//!   performance with Greedy-Dual-Size-Frequency caching policy", 1998). A large item has as many chances as a small
//!   one and shorter ones. It never goes for its size alone: an item that is asked for between two rounds of the hand stays.
//!
//! The bits: tick of entry 22, hits 2 (0 to 3), and whether it is in the main queue. A fourth hit writes nothing.

use super::super::item::POLICY_BITS;
use super::ghost::Ghosts;
use super::{CORRELATED_PART, Policy, Standing, Tick, Turn, age};

const TICK_BITS: u32 = 22;
const TICK_MASK: u32 = (1 << TICK_BITS) - 1;
const HIT: u32 = 1 << TICK_BITS;
const HITS_MAX: u32 = 3;
const MAIN: u32 = 1 << (TICK_BITS + 2);
/// The share of a turn for which a new item is on probation: a tenth, as in the paper.
const WINDOW_PART: u32 = 10;
/// Ranks of what is overdue and of the main queue begin here; ages times sizes stay below.
const OVERDUE: u64 = 2 << 56;
const QUEUED: u64 = 1 << 56;

/// S3-FIFO, sampled and aware of sizes.
#[derive(Debug)]
pub struct S3Fifo {
    ghosts: Ghosts,
    /// Ticks of probation.
    window: u32,
    /// Ticks in which hits do not count.
    correlated: u32,
}

impl S3Fifo {
    /// For a memory that is written once in so many ticks.
    pub fn new(turn: Turn) -> Self {
        Self {
            ghosts: Ghosts::default(),
            window: turn / WINDOW_PART,
            correlated: turn / CORRELATED_PART,
        }
    }

    fn overdue(&self, bits: u32, now: Tick) -> bool {
        bits & MAIN == 0 && age(bits, now, TICK_BITS) > self.window
    }
}

fn hits(bits: u32) -> u32 {
    (bits >> TICK_BITS) & HITS_MAX
}

impl Policy for S3Fifo {
    #[inline]
    fn born(&self, hash: u64, now: Tick) -> u32 {
        let place = if self.ghosts.find(hash).is_some() { MAIN } else { 0 };
        now & TICK_MASK | place
    }

    #[inline]
    fn hit(&self, bits: u32, now: Tick) -> u32 {
        let counts = hits(bits) < HITS_MAX && age(bits, now, TICK_BITS) >= self.correlated;
        if counts { bits + HIT } else { bits }
    }

    #[inline]
    fn rank(&self, bits: u32, now: Tick, size: usize) -> u64 {
        let weight = u64::from(age(bits, now, TICK_BITS)) * size as u64;
        if bits & MAIN != 0 {
            QUEUED + weight
        } else if self.overdue(bits, now) {
            OVERDUE + weight
        } else {
            weight
        }
    }

    fn spare(&self, bits: u32, now: Tick) -> Option<u32> {
        let tick = now & TICK_MASK;
        match hits(bits) {
            0 => None,
            left if bits & MAIN != 0 => Some((tick | MAIN) + (left - 1) * HIT),
            _ if self.overdue(bits, now) => Some(tick | MAIN),
            _ => None,
        }
    }

    fn evicted(&self, hash: u64, _bits: u32, _size: usize) {
        self.ghosts.add(hash, 0);
    }

    fn uses(&self, bits: u32) -> u32 {
        // What has passed passes again.
        hits(bits) + u32::from(bits & MAIN != 0)
    }

    fn restored(&self, bits: u32, uses: u32, _now: Tick) -> u32 {
        bits + uses.min(HITS_MAX - hits(bits)) * HIT
    }

    fn fit(&self, items: usize) -> usize {
        self.ghosts.fit(items)
    }

    fn standing(&self, bits: u32) -> Option<Standing> {
        Some(if bits & MAIN == 0 { Standing::Probation } else { Standing::Admitted })
    }
}

const _: () = assert!(TICK_BITS + 3 <= POLICY_BITS);

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Turn = 10_000;
    const SIZE: usize = 100;

    #[test]
    fn one_that_nobody_asks_for_again_goes_before_the_older_that_has_passed() {
        let policy = S3Fifo::new(TURN);
        let passed = policy.spare(policy.hit(policy.born(1, 0), 300), 1100).expect("hit");
        assert_eq!(policy.standing(passed), Some(Standing::Admitted));
        let fresh = policy.born(2, 1200);
        assert!(policy.rank(fresh, 1300, SIZE) < policy.rank(passed, 1300, SIZE), "has its window");
        assert!(policy.rank(fresh, 2500, SIZE) > policy.rank(passed, 2500, SIZE), "is overdue");
        assert_eq!(policy.spare(fresh, 2500), None);
    }

    #[test]
    fn a_burst_when_it_comes_is_one_use() {
        let policy = S3Fifo::new(TURN);
        let born = policy.born(1, 0);
        assert_eq!(policy.hit(born, TURN / CORRELATED_PART - 1), born);
        assert_ne!(policy.hit(born, TURN / CORRELATED_PART), born);
    }

    #[test]
    fn a_burst_after_a_round_is_no_use_either() {
        let policy = S3Fifo::new(TURN);
        let passed = policy.spare(policy.hit(policy.born(1, 0), 300), 1100).expect("hit");
        assert_eq!(policy.hit(passed, 1299), passed);
        assert_ne!(policy.hit(passed, 1300), passed);
    }

    #[test]
    fn what_another_worker_has_just_stored_by_its_faster_clock_is_new() {
        let policy = S3Fifo::new(TURN);
        let born = policy.born(1, 100);
        assert_eq!(policy.hit(born, 95), born);
        assert_eq!(policy.rank(born, 95, SIZE), 0);
    }

    #[test]
    fn one_in_the_queue_goes_round_once_for_each_hit() {
        let policy = S3Fifo::new(TURN);
        policy.evicted(7, 0, SIZE);
        let mut bits = policy.born(7, 0);
        assert_eq!(policy.standing(bits), Some(Standing::Admitted), "a ghost comes back");
        for _ in 0..9 {
            bits = policy.hit(bits, 500);
        }
        for now in [1000, 2000, 3000] {
            bits = policy.spare(bits, now).expect("it was hit three times or more");
            assert_eq!(age(bits, now, TICK_BITS), 0);
        }
        assert_eq!(policy.spare(bits, 4000), None);
    }

    #[test]
    fn of_two_equals_the_larger_goes_but_not_for_ever() {
        let policy = S3Fifo::new(TURN);
        let bits = policy.born(1, 0);
        assert!(policy.rank(bits, 2000, 5000) > policy.rank(bits, 2000, 100));
        // The small one outlives the large one by the ratio of their sizes, no more.
        let later = policy.born(1, 90_000);
        assert!(policy.rank(later, 95_000, 1000) < policy.rank(bits, 95_000, 100));
    }
}
