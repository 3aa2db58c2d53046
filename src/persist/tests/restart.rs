//! What a restart brings back, after a stop and after kills, and that the disk holds not much more.

use super::*;

#[test]
fn everything_about_an_item_survives_a_stop_and_a_kill() {
    let (_folder, options, clock, warm) = clocked();
    let large = [7_u8; 1_000_000];
    let soon = clock.now() + 100;
    warm.store(b"flags", b"1", 0xdead_beef, 0, StoreMode::Set);
    warm.store(b"ends", b"2", 0, soon, StoreMode::Set);
    warm.store(b"large", &large, 3, 0, StoreMode::Set);
    warm.store(b"empty", b"", 0, 0, StoreMode::Set);
    warm.store(&[0xff; 250], b"long", 0, 0, StoreMode::Set);
    warm.store(b"joined", b"a", 9, soon, StoreMode::Set);
    warm.store(b"joined", b"b", 0, 0, StoreMode::Append { vivify: false });
    warm.set("touched", b"t");
    {
        let session = warm.handle.pin();
        assert!(matches!(session.touch(session.key(b"touched"), soon), Lookup::Hit(_)));
        let stale = Invalidate { stale: true, ..Invalidate::default() };
        let mut draft = session.draft(session.key(b"stale"), 1, 0, 0).unwrap();
        draft.fill(b"s");
        draft.set_cas(77);
        assert!(matches!(session.store(draft, StoreHow::plain(StoreMode::Set)), Stored::Stored(_)));
        let stored =
            session.invalidate(session.key(b"stale"), Invalidate { set_cas: Some(78), ..stale });
        assert!(matches!(stored, Stored::Stored(_)));
    }
    warm.commit();
    let keys = ["flags", "ends", "large", "empty", "joined", "touched", "stale"];
    let before: Vec<_> = keys.iter().map(|key| warm.get(key).unwrap()).collect();
    let (_copy, copied) = killed(&options.directory);
    warm.stop();
    for options in [options, copied] {
        let warm = Warm::start_at(options, Arc::clone(&clock), 64 << 20);
        for (key, before) in keys.iter().zip(&before) {
            assert_eq!(warm.get(key).as_ref(), Some(before), "{key}");
        }
        let session = warm.handle.pin();
        assert!(session.peek(session.key(&[0xff; 250])).hit().is_some());
        assert!(session.peek(session.key(b"stale")).hit().is_some_and(|item| item.stale()));
        drop(session);
        let newest = before.iter().map(|state| state.3).max().unwrap();
        warm.set("flags", b"again");
        assert!(warm.get("flags").unwrap().3 > newest, "a cas unique is used twice");
    }
}

#[test]
fn what_is_gone_stays_away() {
    let (_folder, options, clock, warm) = clocked();
    let soon = clock.now() + 10;
    warm.set("deleted", b"1");
    warm.set("ended", b"older, without an end");
    warm.set("stays", b"0");
    warm.commit();
    assert!(warm.delete("deleted"));
    warm.store(b"ended", b"2", 0, soon, StoreMode::Set);
    warm.commit();
    let (_copy, copied) = killed(&options.directory);
    warm.stop();
    clock.advance(11);
    for options in [options, copied] {
        let warm = Warm::start_at(options, Arc::clone(&clock), 64 << 20);
        assert_eq!(warm.value("stays").unwrap(), b"0");
        assert_eq!(warm.value("deleted"), None);
        assert_eq!(warm.value("ended"), None);
    }
}

#[test]
fn a_delete_of_what_was_evicted_is_remembered() {
    let (_folder, options) = folder();
    let warm = Warm::start_at(options.clone(), Arc::new(Clock::manual()), 2 << 20);
    // As large as the others: size counts when it is chosen who goes.
    warm.set("old", &[1; 100_000]);
    warm.commit();
    for number in 0..64 {
        warm.set(&format!("filler{number}"), &[0; 100_000]);
    }
    assert_eq!(warm.value("old"), None, "evicted");
    warm.commit();
    assert!(!warm.delete("old"));
    warm.commit();
    let (_copy, copied) = killed(&options.directory);
    let warm = Warm::start(copied);
    assert_eq!(warm.value("old"), None);
    assert!(warm.status().counters.recovered_items.load(Ordering::Relaxed) > 10);
}

#[test]
fn flushes_are_on_disk_when_they_are_acknowledged() {
    let (_folder, options, clock, warm) = clocked();
    warm.set("before", b"1");
    warm.commit();
    warm.handle.engine().flush();
    warm.commit();
    let (_copy, copied) = killed(&options.directory);
    warm.set("after", b"2");
    warm.handle.engine().flush_at(clock.now() + 10);
    warm.commit();
    let (_copy2, later) = killed(&options.directory);
    warm.stop();
    let warm = Warm::start_at(copied, Arc::clone(&clock), 64 << 20);
    assert_eq!(warm.value("before"), None);
    warm.stop();
    let warm = Warm::start_at(later, Arc::clone(&clock), 64 << 20);
    assert_eq!(warm.value("after").unwrap(), b"2");
    clock.advance(11);
    assert_eq!(warm.value("after"), None, "the delayed flush is still due");
    warm.stop();
    // The first one was stopped before the flush was due.
    let warm = Warm::start_at(options, Arc::clone(&clock), 64 << 20);
    assert_eq!(warm.value("after"), None, "it was due while nobody was there");
}

#[test]
fn checkpoints_keep_everything_and_bound_the_disk() {
    let (_folder, mut options) = folder();
    options.commit_interval = Duration::from_millis(1);
    let warm = Warm::start(options.clone());
    let (mut random, mut now) = (1, vec![None; 300]);
    for _ in 0..150 {
        churn(&warm, &mut random, 50, &mut now);
        warm.commit();
        if random % 40 < 2 {
            let (_copy, copied) = killed(&options.directory);
            let again = Warm::start(copied);
            assert_all(&again, &now);
        }
    }
    let counters = &warm.status().counters;
    assert!(counters.checkpoints.load(Ordering::Relaxed) > 2);
    assert_eq!(counters.errors.load(Ordering::Relaxed), 0);
    let live: u64 = now.iter().flatten().map(|value| value.len() as u64).sum();
    let written = counters.log_bytes.load(Ordering::Relaxed);
    assert!(written > 10 * live, "{written} of {live} is no churn");
    // A generation that is not in use any more is deleted behind our back.
    let limit = live * 5 / 2 + (8 << 20);
    warm.wait("superseded generations to go", |_| {
        directory::disk_bytes(&options.directory) < limit
    });
    warm.stop();
    let warm = Warm::start(options);
    assert_all(&warm, &now);
}

#[test]
fn kills_in_a_row_lose_nothing_that_was_committed() {
    let (_folder, options) = folder();
    let (mut random, mut now) = (5, vec![None; 500]);
    let mut place = (None, options);
    for round in 0..20 {
        let warm = Warm::start(place.1.clone());
        assert_all(&warm, &now);
        churn(&warm, &mut random, 40 + round * 10, &mut now);
        warm.commit();
        let (folder, options) = killed(&place.1.directory);
        place = (Some(folder), options);
    }
}

#[test]
fn what_was_asked_for_often_stays_when_memory_is_short_after_a_restart() {
    const KEYS: usize = 1000;
    const MEMORY: usize = 8 << 20;
    let (_folder, options) = folder();
    let clock = Arc::new(Clock::manual());
    let warm = Warm::start_at(options.clone(), Arc::clone(&clock), MEMORY);
    for key in 0..KEYS {
        warm.set(&format!("often{key}"), &[1; 1000]);
        warm.set(&format!("never{key}"), &[1; 1000]);
    }
    for key in (0..KEYS).chain(0..KEYS) {
        let session = warm.handle.pin();
        assert!(session.get(session.key(format!("often{key}").as_bytes())).hit().is_some());
    }
    // The disk learns of it when the table is written again.
    let checkpoints = || warm.status().counters.checkpoints.load(Ordering::Relaxed);
    let before = checkpoints();
    warm.wait("two checkpoints", |_| {
        warm.set("other", &[1; 20_000]);
        checkpoints() > before + 1
    });
    warm.stop();
    let warm = Warm::start_at(options, clock, MEMORY);
    for key in 0..10_000 {
        warm.set(&format!("new{key}"), &[1; 1000]);
    }
    let left = |name| (0..KEYS).filter(|key| warm.value(&format!("{name}{key}")).is_some()).count();
    let (often, never) = (left("often"), left("never"));
    assert!(often > KEYS * 9 / 10 && never < KEYS / 10, "left: {often} and {never}");
}
