//! A cache inside a program: `cargo run --release --example embed`.
//!
//! Four threads share one cache of 64 MiB: they read through it, count in it, and let values expire.

use std::time::Duration;
use volt::engine::{Cache, CacheError, Options, PolicyKind};

/// What the cache saves from being done again.
fn expensive(number: u64) -> String {
    format!("the square of {number} is {}", number * number)
}

/// Reads through the cache: asks it first, and stores what was missing for a minute.
fn square(cache: &Cache, number: u64) -> Result<String, CacheError> {
    let key = format!("square:{number}");
    if let Some(found) = cache.read(key.as_bytes(), |item| {
        // In place: only what is made of it is copied.
        String::from_utf8_lossy(item.value()).into_owned()
    }) {
        return Ok(found);
    }
    let fresh = expensive(number);
    cache.set(key.as_bytes(), fresh.as_bytes(), Some(Duration::from_secs(60)))?;
    Ok(fresh)
}

fn main() -> Result<(), CacheError> {
    let cache = Cache::new(Options {
        memory_limit: 64 << 20,
        policy: PolicyKind::Lfu,
        ..Options::default()
    })?;
    cache.set(b"asked", b"0", None)?;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let cache = cache.clone();
            scope.spawn(move || -> Result<(), CacheError> {
                for number in 0..1000 {
                    square(&cache, number % 100)?;
                    cache.incr(b"asked", 1)?;
                }
                Ok(())
            });
        }
    });

    println!("{}", square(&cache, 12)?);
    let seen = cache.get_value(b"asked").expect("it has no end");
    println!("asked {} times", String::from_utf8_lossy(&seen.data));
    // Only if nobody has counted since:
    println!("reset: {}", cache.compare_and_swap(b"asked", b"0", None, seen.cas)?);

    let (stats, counters) = (cache.stats(), cache.counters().totals());
    println!("{} items in {} bytes", stats.items, stats.item_bytes);
    println!("{} hits, {} misses", counters.get_hits, counters.get_misses);
    Ok(())
}
