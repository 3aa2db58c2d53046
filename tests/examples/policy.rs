//! An eviction policy of a program's own: `cargo run --release --example policy`.
//!
//! A policy is asked about 26 bits that each item keeps for it. This one is second chance (Corbató 1969): the oldest item
//! goes, unless it was used since it came or since it was spared. One bit says so, the others are the tick at which its time
//! began.

use std::sync::Arc;
use volt::engine::evict::{POLICY_BITS, Policy, Tick};
use volt::engine::{Cache, CacheError, Options};

const USED: u32 = 1 << (POLICY_BITS - 1);
const TICKS: u32 = USED - 1;

struct SecondChance;

impl Policy for SecondChance {
    fn born(&self, _hash: u64, now: Tick) -> u32 {
        now & TICKS
    }

    fn hit(&self, bits: u32, _now: Tick) -> u32 {
        // What is set already is not written again.
        bits | USED
    }

    fn rank(&self, bits: u32, now: Tick, _size: usize) -> u64 {
        // Ticks wrap.
        u64::from(now.wrapping_sub(bits) & TICKS)
    }

    fn spare(&self, bits: u32, now: Tick) -> Option<u32> {
        (bits & USED != 0).then_some(now & TICKS)
    }
}

/// Stores many times what fits and asks for a few keys again and again; how many of these stay.
fn favourites_kept(cache: &Cache) -> Result<usize, CacheError> {
    let favourites: Vec<String> = (0..100).map(|number| format!("favourite:{number}")).collect();
    for favourite in &favourites {
        cache.set(favourite.as_bytes(), &[0; 1000], None)?;
    }
    for number in 0..100_000 {
        cache.set(format!("passing:{number}").as_bytes(), &[0; 1000], None)?;
        cache.read(favourites[number % favourites.len()].as_bytes(), |_| ());
    }
    Ok(favourites.iter().filter(|key| cache.get(key.as_bytes()).is_some()).count())
}

fn main() -> Result<(), CacheError> {
    let options = Options { memory_limit: 8 << 20, ..Options::default() };
    let cache = Cache::with_policy(options, Arc::new(SecondChance))?;
    println!("{} of 100 favourites stay", favourites_kept(&cache)?);
    println!("{} items were evicted", cache.counters().totals().evictions);
    Ok(())
}

#[test]
fn second_chance_keeps_what_is_used() {
    let options = Options { memory_limit: 8 << 20, ..Options::default() };
    let cache = Cache::with_policy(options, Arc::new(SecondChance)).expect("a keeper");
    assert!(favourites_kept(&cache).expect("room") > 95);
    assert!(cache.counters().totals().eviction_spared > 100);
}
