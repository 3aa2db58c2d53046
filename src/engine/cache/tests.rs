//! What a cache leaves behind, and what threads leave behind in a cache.

use super::*;
use std::thread;

fn cache() -> Cache {
    Cache::with_clock(Options::default(), Arc::new(Clock::manual()))
}

fn fill(cache: &Cache) {
    for number in 0..1000_u32 {
        cache.set(&number.to_le_bytes(), &[0; 1000], None).expect("there is room");
    }
}

#[test]
fn a_dropped_cache_is_gone_although_its_thread_lives_on() {
    let cache = cache();
    fill(&cache);
    let engine = Arc::downgrade(cache.engine());
    drop(cache.clone());
    assert_eq!(cache.stats().items, 1000, "a clone is not the cache");
    drop(cache);
    assert!(engine.upgrade().is_none());
}

#[test]
fn a_dropped_cache_gives_its_items_back_although_other_threads_have_used_it() {
    let cache = cache();
    let engine = Arc::downgrade(cache.engine());
    let (done, go_on) = channel::<()>();
    let (filled, is_filled) = channel();
    let other = {
        let cache = cache.clone();
        thread::spawn(move || {
            fill(&cache);
            drop(cache);
            filled.send(()).expect("the test waits");
            // Lives on without a cache.
            let _ = go_on.recv();
        })
    };
    is_filled.recv().expect("it has been filled");
    assert_eq!(cache.stats().items, 1000);
    drop(cache);
    let left = engine.upgrade().map(|engine| engine.stats()).unwrap_or_default();
    assert_eq!((left.items, left.item_bytes, left.garbage_bytes), (0, 0, 0));
    drop(done);
    other.join().expect("it has nothing to fail at");
    assert!(engine.upgrade().is_none(), "the other thread had the last of it");
}

#[test]
fn who_keeps_the_engine_keeps_its_items() {
    let cache = cache();
    fill(&cache);
    let engine = Arc::clone(cache.engine());
    drop(cache);
    assert_eq!(engine.stats().items, 1000);
}

#[test]
fn threads_that_come_and_go_leave_their_counts_and_nothing_else() {
    let cache = cache();
    let blocks = cache.counters().blocks();
    for number in 0..50_u8 {
        let cache = cache.clone();
        let thread = thread::spawn(move || cache.set(&[number], b"x", None));
        thread.join().expect("no panic").expect("there is room");
    }
    assert_eq!(cache.counters().blocks(), blocks);
    assert_eq!(cache.counters().totals().cmd_set, 50);
    assert_eq!(cache.stats().items, 50);
}

#[test]
fn a_keeper_that_cannot_be_started_is_an_error() {
    let greedy = Builder::new().stack_size(1 << 60);
    assert_eq!(
        Cache::kept_by(greedy, Core::new(Options::default(), Arc::new(Clock::system()))).err(),
        Some(CacheError::NoKeeper)
    );
}
