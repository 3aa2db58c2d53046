//! The verbs of the engine, one by one, by a clock that is moved by hand.

use super::*;
use crate::clock::Clock;

struct Rig {
    engine: Arc<Engine>,
    clock: Arc<Clock>,
    handle: Handle,
}

fn rig(options: Options) -> Rig {
    let clock = Arc::new(Clock::manual());
    let engine = Engine::new(options, Arc::clone(&clock), Arc::new(Registry::default()));
    let handle = engine.handle();
    Rig { engine, clock, handle }
}

fn small() -> Rig {
    rig(Options { memory_limit: 4 << 20, ..Options::default() })
}

impl Rig {
    fn store(&self, key: &[u8], value: &[u8], exptime: RelTime, how: StoreHow) -> Option<u64> {
        let session = self.handle.pin();
        let mut draft = session.draft(session.key(key), value.len(), 0, exptime).ok()?;
        draft.fill(value);
        match session.store(draft, how) {
            Stored::Stored(item) => Some(item.cas()),
            _ => None,
        }
    }

    fn set(&self, key: &[u8], value: &[u8]) -> Option<u64> {
        self.store(key, value, 0, StoreHow::plain(StoreMode::Set))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let session = self.handle.pin();
        session.get(session.key(key)).hit().map(|item| item.value().to_vec())
    }

    /// Frees what can be freed, so that the sums are true.
    fn settle(&self) {
        for _ in 0..8 {
            self.handle.settle();
        }
    }
}

#[test]
fn every_verb_does_what_its_name_says() {
    let rig = small();
    let plain = StoreHow::plain;
    assert!(rig.store(b"k", b"x", 0, plain(StoreMode::Replace)).is_none());
    assert!(rig.store(b"k", b"b", 0, plain(StoreMode::Add)).is_some());
    assert!(rig.store(b"k", b"y", 0, plain(StoreMode::Add)).is_none());
    assert!(rig.store(b"k", b"c", 0, plain(StoreMode::Append { vivify: false })).is_some());
    assert!(rig.store(b"k", b"a", 0, plain(StoreMode::Prepend { vivify: false })).is_some());
    assert_eq!(rig.get(b"k").as_deref(), Some(&b"abc"[..]));
    let session = rig.handle.pin();
    assert!(matches!(session.delete(session.key(b"k"), None), Removed::Removed(_)));
    assert!(matches!(session.delete(session.key(b"k"), None), Removed::NotFound));
    assert_eq!(rig.get(b"k"), None);
    assert!(rig.store(b"k", b"v", 0, plain(StoreMode::Append { vivify: true })).is_some());
}

#[test]
fn cas_uniques_decide_and_grow() {
    let rig = small();
    let first = rig.set(b"k", b"1").expect("stored");
    let how = |compare| StoreHow { compare: Some(compare), ..StoreHow::plain(StoreMode::Set) };
    assert!(rig.store(b"k", b"2", 0, how(first + 1)).is_none());
    let second = rig.store(b"k", b"2", 0, how(first)).expect("matches");
    assert!(second > first);
    assert!(rig.store(b"k", b"3", 0, how(first)).is_none());
    assert!(rig.store(b"none", b"3", 0, how(first)).is_none());
    let session = rig.handle.pin();
    assert!(matches!(session.delete(session.key(b"k"), Some(first)), Removed::Exists));
    assert!(matches!(session.delete(session.key(b"k"), Some(second)), Removed::Removed(_)));
    drop(session);
    assert!(rig.set(b"k", b"4").expect("stored") > second);
}

#[test]
fn a_lower_cas_with_invalidate_stores_as_stale_and_keeps_the_deadline() {
    let rig = small();
    let due = rig.clock.now() + 50;
    let cas = rig.store(b"k", b"1", due, StoreHow::plain(StoreMode::Set)).expect("stored");
    let how = StoreHow { mode: StoreMode::Set, compare: Some(cas - 1), invalidate: true };
    assert!(rig.store(b"k", b"2", 0, how).is_some());
    let session = rig.handle.pin();
    let item = session.peek(session.key(b"k")).hit().expect("there");
    assert!(item.stale());
    assert_eq!((item.value(), item.exptime()), (&b"2"[..], due));
    assert!(item.win_token());
    assert!(!item.win_token());
}

#[test]
fn numbers_wrap_stop_and_keep_their_length() {
    let rig = small();
    let arith = |incr, delta| Arith { incr, delta, compare: None, set_cas: None, exptime: None };
    let run = |key: &[u8], arith| {
        let session = rig.handle.pin();
        match session.arith(session.key(key), arith) {
            ArithResult::Done { value, .. } => Some(value),
            _ => None,
        }
    };
    rig.set(b"n", b"10");
    assert_eq!(run(b"n", arith(false, 1)), Some(9));
    assert_eq!(rig.get(b"n").as_deref(), Some(&b"9 "[..]));
    assert_eq!(run(b"n", arith(false, 100)), Some(0));
    assert_eq!(run(b"n", arith(true, u64::MAX)), Some(u64::MAX));
    assert_eq!(run(b"n", arith(true, 2)), Some(1));
    rig.set(b"w", b"12a");
    assert_eq!(run(b"w", arith(true, 1)), None);
    rig.set(b"e", b"");
    assert_eq!(run(b"e", arith(true, 1)), None);
    assert_eq!(run(b"missing", arith(true, 1)), None);
}

#[test]
fn what_has_expired_is_absent_and_comes_back_as_memory() {
    let rig = small();
    for i in 0..1000_u32 {
        let due = if i % 2 == 0 { rig.clock.now() + 10 } else { 0 };
        rig.store(&i.to_be_bytes(), &[7; 100], due, StoreHow::plain(StoreMode::Set));
    }
    assert_eq!(rig.engine.stats().items, 1000);
    rig.clock.advance(10);
    let session = rig.handle.pin();
    assert!(matches!(session.peek(session.key(&0_u32.to_be_bytes())), Lookup::Expired));
    assert!(matches!(session.peek(session.key(&0_u32.to_be_bytes())), Lookup::Miss));
    drop(session);
    for _ in 0..20 {
        rig.engine.maintain(&rig.handle);
    }
    assert_eq!(rig.engine.stats().items, 500);
    assert_eq!(rig.get(&1_u32.to_be_bytes()).as_deref(), Some(&[7; 100][..]));
}

#[test]
fn touch_moves_the_deadline_even_of_a_frozen_copy() {
    let rig = small();
    rig.store(b"k", b"v", rig.clock.now() + 5, StoreHow::plain(StoreMode::Set));
    let touch = |exptime| {
        let session = rig.handle.pin();
        session.touch(session.key(b"k"), exptime).hit().is_some()
    };
    assert!(touch(rig.clock.now() + 20));
    rig.clock.advance(10);
    let session = rig.handle.pin();
    session.peek(session.key(b"k")).hit().expect("alive").view().freeze();
    drop(session);
    assert!(touch(rig.clock.now() + 30));
    rig.clock.advance(20);
    assert_eq!(rig.get(b"k").as_deref(), Some(&b"v"[..]));
    rig.clock.advance(10);
    assert!(!touch(0));
}

#[test]
fn flush_takes_what_was_there_and_nothing_later() {
    let rig = small();
    rig.set(b"old", b"1");
    rig.engine.flush();
    rig.set(b"new", b"2");
    let session = rig.handle.pin();
    assert!(matches!(session.peek(session.key(b"old")), Lookup::Flushed));
    drop(session);
    assert!(rig.get(b"new").is_some());
    rig.engine.flush_at(rig.clock.now() + 3);
    rig.set(b"between", b"3");
    assert!(rig.get(b"between").is_some());
    rig.clock.advance(3);
    assert!(rig.get(b"between").is_none() && rig.get(b"new").is_none());
    rig.set(b"after", b"4");
    assert!(rig.get(b"after").is_some());
}

#[test]
fn the_limit_holds_and_the_recently_used_stay() {
    for policy in PolicyKind::ALL {
        let rig = rig(Options { memory_limit: 2 << 20, policy, ..Options::default() });
        for i in 0..50_000_u32 {
            assert!(rig.set(&i.to_be_bytes(), &[1; 200]).is_some(), "{policy}: refused at {i}");
            for hot in 0..20_u32 {
                rig.get(&hot.to_be_bytes());
            }
        }
        rig.settle();
        let stats = rig.engine.stats();
        assert!(stats.item_bytes + stats.table_bytes <= 2 << 20);
        assert!(stats.item_bytes > 1 << 20, "{policy}: too much was evicted");
        let kept = (0..20_u32).filter(|hot| rig.get(&hot.to_be_bytes()).is_some()).count();
        assert!(kept >= 19, "{policy}: kept {kept} of 20 hot items");
    }
}

#[test]
fn few_large_items_leave_in_exact_lru_order() {
    let policy = PolicyKind::Lru;
    let rig = rig(Options { memory_limit: 8 << 20, policy, ..Options::default() });
    for i in 0..20_u32 {
        assert!(rig.set(&i.to_be_bytes(), &vec![1; (1 << 20) - 300]).is_some());
    }
    let present: Vec<u32> = (0..20).filter(|i: &u32| rig.get(&i.to_be_bytes()).is_some()).collect();
    assert!(present.len() >= 6, "{present:?}");
    assert_eq!(present, (20 - present.len() as u32..20).collect::<Vec<_>>());
}

#[test]
fn a_full_cache_evicts_one_for_one_when_buffers_have_come_and_gone() {
    let rig = rig(Options { memory_limit: 8 << 20, ..Options::default() });
    rig.engine.charge_buffers(96 << 10);
    for i in 0..2000_u32 {
        assert!(rig.set(&i.to_be_bytes(), &[1; 11_000]).is_some());
    }
    rig.engine.charge_buffers(-(96 << 10));
    rig.settle();
    let before = rig.engine.registry.totals().evictions;
    assert!(rig.set(b"next", &[1; 11_000]).is_some());
    rig.settle();
    assert_eq!(rig.engine.registry.totals().evictions, before + 1);
}

#[test]
fn values_on_their_way_leave_room_and_a_refusal_is_quick() {
    let rig = rig(Options { memory_limit: 16 << 20, hash_power: 19, ..Options::default() });
    let session = rig.handle.pin();
    let mut on_their_way = Vec::new();
    while let Ok(draft) = session.draft_to_wait(session.key(b"big"), 1 << 19, 0, 0) {
        on_their_way.push(draft);
    }
    assert!((16..28).contains(&on_their_way.len()), "{}", on_their_way.len());
    // The table is large, empty, and of no help: that must not take a worker's time.
    let start = std::time::Instant::now();
    assert!(session.draft(session.key(b"more"), 1 << 21, 0, 0).is_err());
    assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
    drop(session);
    assert!(rig.set(b"small", &[1; 1000]).is_some(), "others can still store");
    on_their_way.clear();
    let session = rig.handle.pin();
    assert!(session.draft_to_wait(session.key(b"big"), 1 << 19, 0, 0).is_ok());
}

#[test]
fn without_evictions_a_full_cache_refuses_and_loses_nothing() {
    let rig = rig(Options { memory_limit: 1 << 20, evictions: false, ..Options::default() });
    let stored = (0..20_000_u32).filter(|i| rig.set(&i.to_be_bytes(), &[1; 500]).is_some()).count();
    assert!((1000..3000).contains(&stored), "{stored}");
    let there = (0..20_000_u32).filter(|i| rig.get(&i.to_be_bytes()).is_some()).count();
    assert_eq!(there, stored);
}

#[test]
fn a_stream_of_large_overwrites_piles_up_no_garbage() {
    let rig = rig(Options { memory_limit: 16 << 20, item_size_max: 2 << 20, ..Options::default() });
    let value = vec![1; 1 << 20];
    for _ in 0..200 {
        let mut session = rig.handle.pin();
        for _ in 0..10 {
            let mut draft = session.draft(session.key(b"k"), value.len(), 0, 0).expect("room");
            draft.fill(&value);
            assert!(matches!(
                session.store(draft, StoreHow::plain(StoreMode::Set)),
                Stored::Stored(_)
            ));
            session.relax();
            let garbage = rig.engine.stats().garbage_bytes;
            assert!(garbage <= 8 << 20, "{garbage} bytes of garbage");
        }
    }
}

#[test]
fn a_hold_keeps_the_old_value_whole_and_gives_it_back() {
    let rig = small();
    rig.set(b"k", &vec![b'a'; 100_000]);
    let session = rig.handle.pin();
    let held = session.peek(session.key(b"k")).hit().expect("there").hold().expect("large");
    assert!(session.peek(session.key(b"k")).hit().is_some());
    drop(session);
    rig.set(b"k", &vec![b'b'; 100_000]);
    rig.settle();
    assert!(held.value().iter().all(|byte| *byte == b'a'));
    // What a reply still holds is no garbage that goes by itself: it counts as the reply's buffer.
    let stats = rig.engine.stats();
    assert!(stats.buffer_bytes >= 100_000 && stats.garbage_bytes == 0, "{stats:?}");
    drop(held);
    assert_eq!(rig.engine.stats().buffer_bytes, 0);
}

#[test]
fn every_byte_comes_back() {
    let rig = small();
    for i in 0..3000_u32 {
        rig.set(&(i % 700).to_be_bytes(), &vec![3; (i % 997) as usize]);
    }
    let session = rig.handle.pin();
    drop(session.draft(session.key(b"dropped"), 5000, 1, 0));
    for i in 0..700_u32 {
        session.delete(session.key(&i.to_be_bytes()), None);
    }
    drop(session);
    rig.settle();
    let stats = rig.engine.stats();
    assert_eq!((stats.items, stats.item_bytes, stats.garbage_bytes), (0, 0, 0));
    assert_eq!(rig.engine.account.sums().items, 0);
}

#[test]
fn an_explicit_cas_is_shown_and_does_not_outlive_a_flush() {
    let rig = small();
    let session = rig.handle.pin();
    let mut draft = session.draft(session.key(b"k"), 1, 5, 0).expect("room");
    draft.fill(b"x");
    draft.set_cas(u64::MAX - 1);
    let Stored::Stored(item) = session.store(draft, StoreHow::plain(StoreMode::Set)) else {
        panic!("not stored")
    };
    assert_eq!((item.cas(), item.flags(), item.value()), (u64::MAX - 1, 5, &b"x"[..]));
    rig.engine.flush();
    assert!(session.peek(session.key(b"k")).hit().is_none());
}

#[test]
fn a_scan_meets_every_live_item_once() {
    let rig = small();
    for i in 0..2000_u32 {
        rig.set(&i.to_be_bytes(), b"v");
    }
    let mut seen = std::collections::HashSet::new();
    let mut cursor = Some(Cursor::default());
    while let Some(at) = cursor {
        let session = rig.handle.pin();
        cursor = session.scan(at, 50, &mut |item| assert!(seen.insert(item.key().to_vec())));
    }
    assert_eq!(seen.len(), 2000);
}

#[test]
fn a_lowered_limit_is_reached_by_the_keeper() {
    let rig = rig(Options { memory_limit: 8 << 20, ..Options::default() });
    for i in 0..10_000_u32 {
        rig.set(&i.to_be_bytes(), &[1; 500]);
    }
    rig.engine.set_memory_limit(2 << 20);
    for _ in 0..10 {
        rig.engine.maintain(&rig.handle);
    }
    let stats = rig.engine.stats();
    assert!(stats.item_bytes + stats.table_bytes <= 2 << 20, "{stats:?}");
    assert!(stats.items > 1000);
}

#[test]
fn the_table_grows_under_a_trickle_of_items_too() {
    let rig = small();
    let before = rig.engine.stats().hash_power;
    for key in 0..3 << before {
        assert!(rig.set(format!("key{key}").as_bytes(), b"x").is_some());
        if key % 10 == 0 {
            rig.handle.settle();
        }
    }
    let stats = rig.engine.stats();
    assert!(stats.items <= 2 << stats.hash_power && stats.hash_power > before, "{stats:?}");
}

#[test]
fn a_sample_gives_what_is_asked_for_and_four_at_most() {
    let rig = small();
    for number in 0..2000 {
        rig.set(format!("key{number}").as_bytes(), &[0; 100]);
    }
    let evicted = |bytes, surplus| {
        let before = rig.handle.counters().evictions.get();
        assert!(rig.handle.pin().evict_some(bytes, surplus));
        rig.handle.counters().evictions.get() - before
    };
    let size = (rig.engine.stats().item_bytes / 2000) as usize;
    assert_eq!(evicted(1, 0), 1);
    assert_eq!(evicted(size + 1, 0), 2);
    assert_eq!(evicted(1, 3 * size - 2), 2, "three would be more than that");
    assert_eq!(evicted(1, 3 * size - 1), 3);
    assert_eq!(evicted(1 << 20, 0), 4);
}
