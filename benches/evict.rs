//! What eviction costs at two million items, and expiry at ten million, without protocol and sockets; one thread.
//!
//! `cargo bench --bench evict` runs all, some twenty seconds; `-- s3fifo` (or `lru`, `lfu`, `expire`) runs one.
//! Keys of 16 bytes that lie anywhere in the table, values of 100 bytes. Ratios within one run mean something, absolute times
//! only on one machine.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use volt::clock::Clock;
use volt::engine::{Engine, Handle, Options, PolicyKind, Session, StoreHow, StoreMode};
use volt::stats::Registry;

/// Operations under one pin, as the server does.
const BATCH: usize = 64;
const VALUE: [u8; 100] = [b'v'; 100];
/// Holds two million of these items.
const LIMIT: usize = 370 << 20;
const ITEMS: u64 = 2_000_000;
/// Operations that are timed.
const TIMED: usize = 1_000_000;
const SLICES: usize = 20;
/// How often the keeper comes.
const KEEPER_PERIOD: Duration = Duration::from_millis(100);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|name| name != "--bench").collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    for policy in PolicyKind::ALL.into_iter().filter(|policy| runs(policy.name())) {
        evictions(policy);
    }
    if runs("expire") {
        expire();
    }
}

fn engine(memory_limit: usize, policy: PolicyKind, clock: Clock) -> Arc<Engine> {
    let options = Options { memory_limit, policy, ..Options::default() };
    Engine::new(options, Arc::new(clock), Arc::new(Registry::default()))
}

/// The key with this number.
fn key(mut number: u64) -> [u8; 16] {
    let mut key = *b"key-000000000000";
    for digit in key[4..].iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    key
}

/// Stores keys that are new, and in between asks for some that were stored long ago and for some that were just stored.
fn churn(handle: &Handle, from: u64, count: u64) {
    let end = from + count;
    for first in (from..end).step_by(BATCH) {
        let mut session = handle.pin();
        for number in first..end.min(first + BATCH as u64) {
            set(&session, &key(number), 0);
            for asked in [number / 2, number.saturating_sub(number % 64)] {
                black_box(session.get(session.key(&key(asked))).hit().is_some());
            }
            session.relax();
        }
    }
}

fn set(session: &Session<'_>, key: &[u8], exptime: u32) {
    let mut draft = session.draft(session.key(key), VALUE.len(), 0, exptime).expect("room");
    draft.fill(&VALUE);
    black_box(session.store(draft, StoreHow::plain(StoreMode::Set)));
}

/// Nanoseconds for a store of each of these keys: the median of slices, so that what else the machine does counts little.
fn sets(handle: &Handle, keys: &[[u8; 16]]) -> f64 {
    let slice = |keys: &[[u8; 16]]| {
        let start = Instant::now();
        for chunk in keys.chunks(BATCH) {
            let mut session = handle.pin();
            for key in chunk {
                set(&session, key, 0);
                session.relax();
            }
        }
        nanoseconds(start.elapsed(), keys.len() as u64)
    };
    median(keys.chunks(TIMED / SLICES).map(slice).collect())
}

fn nanoseconds(taken: Duration, count: u64) -> f64 {
    taken.as_nanos() as f64 / count.max(1) as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// What a store takes that replaces an item, what one takes that evicts, and what an eviction takes that makes no room for
/// anything, where the limit is lowered.
fn evictions(policy: PolicyKind) {
    let handle = engine(LIMIT, policy, Clock::system()).handle();
    churn(&handle, 0, ITEMS + ITEMS / 2);
    let counters =
        || (handle.counters().evictions.get(), handle.counters().eviction_candidates.get());

    let new: Vec<_> = (0..TIMED as u64).map(|number| key(10 * ITEMS + number)).collect();
    let before = counters();
    let evicting = sets(&handle, &new);
    let (evicted, seen) = (counters().0 - before.0, counters().1 - before.1);

    // In another order than that in which memory was given out; a prime, so each comes once.
    let there: Vec<_> = (0..TIMED).map(|at| new[at * 611_953 % TIMED]).collect();
    let before = counters();
    let replacing = sets(&handle, &there);
    let moved = counters().0 - before.0;

    let items = handle.engine().stats().items;
    handle.engine().set_memory_limit(LIMIT / 4 * 3);
    let mut calls = Vec::new();
    loop {
        let (start, before) = (Instant::now(), counters().0);
        handle.engine().maintain(&handle);
        match counters().0 - before {
            0 => break,
            evicted => calls.push(nanoseconds(start.elapsed(), evicted)),
        }
    }
    println!(
        "{policy}: {items} items; set {replacing:.0} ns replacing ({:.2} evictions), {evicting:.0} ns evicting ({:.2} \
         evictions); {:.0} ns an eviction alone, {:.1} looks",
        moved as f64 / TIMED as f64,
        evicted as f64 / TIMED as f64,
        median(calls),
        seen as f64 / evicted as f64,
    );
}

/// Ten million items, a tenth of which expire with every second that passes: what the keeper takes of each second, and how long
/// until the memory is back.
fn expire() {
    const ITEMS: u64 = 10_000_000;
    const SECONDS: u64 = 10;
    let engine = engine(4 << 30, PolicyKind::default(), Clock::manual());
    let handle = engine.handle();
    let now = engine.clock().now();
    for first in (0..ITEMS).step_by(BATCH) {
        let session = handle.pin();
        for number in first..ITEMS.min(first + BATCH as u64) {
            set(&session, &key(number), now + 1 + (number % SECONDS) as u32);
        }
    }
    let full = engine.stats();
    println!("expire: {} items in {} MiB", full.items, full.item_bytes >> 20);
    let calls = Duration::from_secs(1).as_nanos() / KEEPER_PERIOD.as_nanos();
    for second in 1.. {
        engine.clock().advance(1);
        let start = Instant::now();
        for _ in 0..calls {
            engine.maintain(&handle);
        }
        let taken = start.elapsed();
        let stats = engine.stats();
        println!(
            "  second {second}: keeper {:.1} % of a core; {} items, {} MiB left",
            taken.as_secs_f64() * 100.0,
            stats.items,
            (stats.item_bytes + stats.garbage_bytes) >> 20,
        );
        if stats.items == 0 {
            break;
        }
    }
}
