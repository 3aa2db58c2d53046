//! Compaction: what is moved is what it was, memory follows, and clients lose nothing.

use super::*;
use crate::clock::Clock;
use crate::engine::evict::Policy;
use crate::engine::{Arith, ArithResult, Options, StoreHow, StoreMode, Stored};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const LIMIT: usize = 64 << 20;

fn engine() -> Arc<Engine> {
    let options = Options { memory_limit: LIMIT, ..Options::default() };
    Engine::new(options, Arc::new(Clock::manual()), Arc::default())
}

fn set(session: &Session<'_>, key: &[u8], value: &[u8], exptime: u32, token: bool) {
    let mut draft = session.draft(session.key(key), value.len(), 5, exptime).expect("memory");
    draft.fill(value);
    if token {
        draft.set_token_sent();
    }
    let stored = session.store(draft, StoreHow::plain(StoreMode::Set));
    assert!(matches!(stored, Stored::Stored(_)));
}

fn key(number: u32) -> Vec<u8> {
    format!("key{number:07}").into_bytes()
}

fn value(number: u32) -> Vec<u8> {
    number.to_le_bytes().repeat(25)
}

/// Spans in use, by what they take.
fn spans(engine: &Engine) -> usize {
    engine.account.waste() + engine.account.sums().items + engine.account.garbage()
}

fn settle(engine: &Engine, handle: &Handle) {
    for _ in 0..20 {
        engine.maintain(handle);
    }
}

#[test]
fn what_is_left_of_many_items_takes_little_memory_and_is_what_it_was() {
    const COUNT: u32 = 200_000;
    let engine = engine();
    let handle = engine.handle();
    let later = engine.clock().now() + 1000;
    for number in 0..COUNT {
        let exptime = if number % 3 == 0 { later } else { 0 };
        set(&handle.pin(), &key(number), &value(number), exptime, number % 5 == 0);
    }
    let before = spans(&engine);
    for number in (0..COUNT).filter(|number| number % 8 != 1) {
        let session = handle.pin();
        session.delete(session.key(&key(number)), None);
    }
    let facts = |number: u32| {
        let session = handle.pin();
        let item = session.peek(session.key(&key(number))).hit().expect("it was left");
        assert_eq!(item.value(), value(number));
        let at = item.view().node().address();
        let marks = (item.token_sent(), item.fetched(), item.stale(), item.key_is_binary());
        let policy = engine.policy.rank(item.view().policy_bits(), 77, 1);
        (at, (item.cas(), item.flags(), item.exptime(), item.last_access(), marks, policy))
    };
    let left: Vec<u32> = (0..COUNT).filter(|number| number % 8 == 1).collect();
    engine.clock().advance(9);
    for number in left.iter().step_by(2) {
        let session = handle.pin();
        session.get(session.key(&key(*number)));
    }
    let facts_before: Vec<_> = left.iter().map(|number| facts(*number)).collect();
    let (totals, version) = (handle.counters().total_items.get(), engine.last_version());
    settle(&engine, &handle);
    let facts_after: Vec<_> = left.iter().map(|number| facts(*number)).collect();
    let moved = facts_before.iter().zip(&facts_after).filter(|(a, b)| a.0 != b.0).count();
    assert!(moved > left.len() / 2, "only {moved} were moved");
    assert!(facts_before.iter().zip(&facts_after).all(|(a, b)| a.1 == b.1));
    assert_eq!(handle.counters().total_items.get(), totals);
    assert_eq!(engine.last_version(), version, "a move is no change");
    assert_eq!(engine.stats().items, left.len() as u64);
    let after = spans(&engine);
    assert!(after < before / 5, "{} KiB of {}", after >> 10, before >> 10);
}

#[test]
fn sizes_that_shift_stay_within_the_limit() {
    let engine = engine();
    let handle = engine.handle();
    for (round, len) in [100, 700, 60, 4000, 300].into_iter().enumerate() {
        let mut most = 0;
        for number in 0..(2 * LIMIT / (len + 60)) as u32 {
            let mut session = handle.pin();
            set(&session, &key(number), &vec![round as u8; len], 0, false);
            session.relax();
            drop(session);
            most = most.max(spans(&engine));
            if number % 4096 == 0 {
                engine.maintain(&handle);
            }
        }
        println!("{len}: {} MiB at most, {} in the end", most >> 20, spans(&engine) >> 20);
        assert!(most < LIMIT + LIMIT / 8, "{} MiB for {len} bytes", most >> 20);
    }
}

#[test]
fn items_of_every_size_fill_the_limit() {
    let engine = engine();
    let handle = engine.handle();
    // A few spans for each size at first, all of them sparse.
    for number in 0..40_000 {
        let len = 20 + number as usize * 7919 % 12_000;
        set(&handle.pin(), &key(number), &vec![1; len], 0, false);
        if number % 4096 == 0 {
            engine.maintain(&handle);
        }
    }
    let items = engine.account.sums().items;
    assert!(items > LIMIT / 6 * 5, "{} MiB of items", items >> 20);
    assert!(spans(&engine) < LIMIT + LIMIT / 8, "{} MiB of spans", spans(&engine) >> 20);
}

#[test]
fn clients_that_change_items_amid_moves_lose_nothing() {
    const COUNT: u32 = 20_000;
    let engine = engine();
    let done = AtomicBool::new(false);
    let handle = engine.handle();
    for number in 0..COUNT {
        set(&handle.pin(), &key(number), b"1000000", 0, false);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let handle = engine.handle();
            let seal = || engine.account.arena().expect("a large limit").seal();
            let mut filler = COUNT;
            while !done.load(Ordering::Relaxed) {
                // Makes spans sparse, so that there is something to move.
                for _ in 0..5000 {
                    filler += 1;
                    set(&handle.pin(), &key(filler), b"1000000", 0, false);
                }
                for number in filler - 5000 + 1..=filler {
                    let session = handle.pin();
                    session.delete(session.key(&key(number)), None);
                }
                seal();
                settle(&engine, &handle);
            }
        });
        let mut touched = 0;
        let soon = engine.clock().now() + 100;
        for round in 1..=20 {
            for number in 0..COUNT {
                let session = handle.pin();
                let key = key(number);
                let arith =
                    Arith { incr: true, delta: 1, compare: None, set_cas: None, exptime: None };
                match session.arith(session.key(&key), arith) {
                    ArithResult::Done { value, .. } => assert_eq!(value, 1_000_000 + round),
                    _ => panic!("it is there"),
                }
                session.touch(session.key(&key), soon + round as u32);
                let item = session.peek(session.key(&key)).hit().expect("it is there");
                touched += u64::from(item.exptime() == soon + round as u32);
            }
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(touched, 20 * u64::from(COUNT), "a touch was lost");
    });
}

#[test]
fn what_happens_to_an_item_amid_its_move_stands() {
    let engine = engine();
    let (mover, client) = (engine.handle(), engine.handle());
    let amid_move = |happens: &dyn Fn(&Session<'_>)| {
        set(&client.pin(), b"a", b"old", 0, false);
        let session = mover.pin();
        let spot = engine.table.search(session.key(b"a").hash, b"a", &session);
        let old = spot.item().expect("just stored");
        happens(&client.pin());
        session.move_item(old, spot);
        let found = session.peek(session.key(b"a")).hit();
        found.map(|item| (item.value().to_vec(), item.view().node() != old.node()))
    };
    let moved = Some((b"old".to_vec(), true));
    assert_eq!(amid_move(&|_| {}), moved);
    // Whatever lies beside it in the table.
    let others = |client: &Session<'_>| {
        (0..10_000).for_each(|number| set(client, &key(number), b"1", 0, false));
    };
    assert_eq!(amid_move(&others), moved);
    let replaced = amid_move(&|client| set(client, b"a", b"new", 0, false));
    assert_eq!(replaced, Some((b"new".to_vec(), true)));
    let deleted = amid_move(&|client| {
        client.delete(client.key(b"a"), None);
    });
    assert_eq!(deleted, None);
    let again = amid_move(&|client| {
        client.delete(client.key(b"a"), None);
        set(client, b"a", b"again", 0, false);
    });
    assert_eq!(again, Some((b"again".to_vec(), true)));
    let handle = engine.handle();
    settle(&engine, &handle);
    assert_eq!(engine.stats().items, 10_001);
}

#[test]
fn an_engine_that_is_gone_leaves_no_span_in_use() {
    let engine = engine();
    let arena = engine.account.arena().expect("a large limit");
    let handle = engine.handle();
    for number in 0..20_000 {
        set(&handle.pin(), &key(number), &value(number), 0, false);
    }
    // Some that the thread keeps for what it stores next.
    for number in 0..100 {
        let session = handle.pin();
        session.delete(session.key(&key(number)), None);
    }
    assert!(arena.used() > 2 << 20);
    drop(handle);
    drop(engine);
    assert_eq!(arena.used(), 0);
}

#[test]
fn a_value_of_a_span_that_a_reply_holds_is_the_replys_and_no_waste() {
    let engine = engine();
    let handle = engine.handle();
    let session = handle.pin();
    set(&session, b"k", &[7; 16_384], 0, false);
    let held = session.peek(session.key(b"k")).hit().expect("there").hold().expect("large");
    handle.purse.post();
    let slot = engine.account.sums().items;
    let waste = engine.account.waste();
    assert!(slot > 16_384 && waste > 0, "it lies in a span");
    session.delete(session.key(b"k"), None);
    drop(session);
    settle(&engine, &handle);
    let sums = engine.account.sums();
    assert_eq!((sums.items, sums.garbage, sums.buffers), (0, 0, slot));
    assert_eq!(engine.account.waste(), waste);
    assert!(held.value().iter().all(|byte| *byte == 7));
    drop(held);
    handle.purse.rest();
    assert_eq!((engine.account.sums().buffers, engine.account.waste()), (0, 0));
}
