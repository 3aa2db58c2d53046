//! Persistence with an engine and a disk, without sockets. A kill is a copy of the directory, taken while it is
//! written to.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;
use crate::clock::{Clock, RelTime};
use crate::engine::{self, Handle, Invalidate, Lookup, Removed, StoreHow, StoreMode, Stored};
use crate::stats::Registry;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);

/// A cache with a copy on disk, and one client.
struct Warm {
    persist: Option<Persist>,
    handle: Handle,
}

/// What a key has: value, flags, deadline, cas unique.
type State4 = (Vec<u8>, u32, RelTime, u64);

impl Warm {
    fn start(options: Options) -> Self {
        Self::start_at(options, Arc::new(Clock::manual()), 64 << 20)
    }

    fn start_at(options: Options, clock: Arc<Clock>, memory_limit: usize) -> Self {
        let limits = engine::Options { memory_limit, ..engine::Options::default() };
        let engine = Engine::new(limits, clock, Arc::new(Registry::default()));
        let persist = Persist::start(&engine, options).unwrap();
        persist.wait();
        Self { persist: Some(persist), handle: engine.handle() }
    }

    fn status(&self) -> &Status {
        self.persist.as_ref().unwrap().status()
    }

    fn store(&self, key: &[u8], value: &[u8], flags: u32, exptime: RelTime, mode: StoreMode) {
        let session = self.handle.pin();
        let mut draft = session.draft(session.key(key), value.len(), flags, exptime).unwrap();
        draft.fill(value);
        let stored = session.store(draft, StoreHow::plain(mode));
        assert!(matches!(stored, Stored::Stored(_)));
    }

    fn set(&self, key: &str, value: &[u8]) {
        self.store(key.as_bytes(), value, 0, 0, StoreMode::Set);
    }

    fn delete(&self, key: &str) -> bool {
        let session = self.handle.pin();
        matches!(session.delete(session.key(key.as_bytes()), None), Removed::Removed(_))
    }

    fn get(&self, key: &str) -> Option<State4> {
        let session = self.handle.pin();
        let item = session.peek(session.key(key.as_bytes())).hit()?;
        Some((item.value().to_vec(), item.flags(), item.exptime(), item.cas()))
    }

    fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.get(key).map(|(value, ..)| value)
    }

    /// Waits until what was done is safe from a kill.
    fn commit(&self) {
        let ticket = self.status().ticket();
        self.status().hurry();
        self.wait("a commit", |status| status.is_committed(ticket));
    }

    #[track_caller]
    fn wait(&self, what: &str, mut met: impl FnMut(&Status) -> bool) {
        let begun = Instant::now();
        while !met(self.status()) {
            assert!(begun.elapsed() < DEADLINE, "not within the deadline: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn stop(mut self) {
        self.persist = None;
    }
}

fn folder() -> (TempDir, Options) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("data"));
    (folder, options)
}

/// Copies what a process that is killed now would leave.
fn killed(from: &Path) -> (TempDir, Options) {
    loop {
        let before = directory::generations(from);
        let (folder, options) = folder();
        copy(from, &options.directory);
        // A kill is one instant; a copy during which a generation came or went is none.
        if directory::generations(from) == before {
            return (folder, options);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = directory::entries(from).collect();
    // What is written over in the tail is in the database before.
    entries.sort_by_key(|entry| !entry.ends_with(tail::TAIL_FILE));
    for entry in entries {
        let target = to.join(entry.file_name().unwrap());
        match entry.is_dir() {
            true => copy(&entry, &target),
            // A file may be gone by now, as far as a kill is concerned.
            false => drop(fs::copy(&entry, target)),
        }
    }
}

#[test]
fn everything_about_an_item_survives_a_stop_and_a_kill() {
    let (_folder, options) = folder();
    let clock = Arc::new(Clock::manual());
    let warm = Warm::start_at(options.clone(), Arc::clone(&clock), 64 << 20);
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
    let (_folder, options) = folder();
    let clock = Arc::new(Clock::manual());
    let warm = Warm::start_at(options.clone(), Arc::clone(&clock), 64 << 20);
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
    let (_folder, options) = folder();
    let clock = Arc::new(Clock::manual());
    let warm = Warm::start_at(options.clone(), Arc::clone(&clock), 64 << 20);
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

/// Changes keys at random and notes what they are; `history` has every value that a key ever had.
fn churn(warm: &Warm, random: &mut u64, changes: usize, now: &mut [Option<Vec<u8>>]) {
    for _ in 0..changes {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let draw = *random >> 33;
        let key = draw as usize % now.len();
        let name = format!("key{key}");
        if draw.is_multiple_of(7) {
            warm.delete(&name);
            now[key] = None;
        } else {
            let len = [10, 100, 1000, 20_000][draw as usize / 7 % 4];
            let value = draw.to_le_bytes().repeat(len / 8);
            warm.set(&name, &value);
            now[key] = Some(value);
        }
    }
}

fn assert_all(warm: &Warm, now: &[Option<Vec<u8>>]) {
    for (key, value) in now.iter().enumerate() {
        let found = warm.value(&format!("key{key}"));
        // Values are too long to be shown.
        let lens = [&found, value].map(|value| value.as_ref().map(Vec::len));
        assert!(found == *value, "key{key}: bytes found and expected: {lens:?}");
    }
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
    assert!(counters.checkpoints.load(Ordering::Relaxed) > 5);
    assert_eq!(counters.errors.load(Ordering::Relaxed), 0);
    let live: u64 = now.iter().flatten().map(|value| value.len() as u64).sum();
    let written = counters.log_bytes.load(Ordering::Relaxed);
    assert!(written > 10 * live, "{written} of {live} is no churn");
    // A generation that is not in use any more is deleted behind our back.
    let persist = warm.persist.as_ref().unwrap();
    let meter = persist.disk_meter();
    let limit = live * 5 / 2 + (8 << 20);
    warm.wait("superseded generations to go", |_| meter() < limit);
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

/// A disk that fails on demand.
#[derive(Default)]
struct Sick {
    now: AtomicBool,
    only: Option<Operation>,
}

impl Faults for Sick {
    fn check(&self, operation: Operation) -> io::Result<()> {
        let meant = self.only.is_none_or(|only| only == operation);
        match self.now.load(Ordering::Relaxed) && meant {
            true => Err(io::Error::from(io::ErrorKind::StorageFull)),
            false => Ok(()),
        }
    }
}

#[test]
fn a_failing_disk_degrades_and_heals_by_itself() {
    for only in [
        None,
        Some(Operation::Create),
        Some(Operation::Append),
        Some(Operation::Flush),
        Some(Operation::Sync),
    ] {
        let (_folder, mut options) = folder();
        options.fsync_interval = Duration::from_millis(5);
        let sick = Arc::new(Sick { now: AtomicBool::new(false), only });
        options.disk = Disk::failing(Arc::clone(&sick) as _);
        let warm = Warm::start(options.clone());
        let (mut random, mut now) = (11, vec![None; 100]);
        churn(&warm, &mut random, 500, &mut now);
        warm.commit();
        sick.now.store(true, Ordering::Relaxed);
        let mut rounds = 0;
        warm.wait("degraded", |status| {
            rounds += 1;
            churn(&warm, &mut random, 20, &mut now);
            if only == Some(Operation::Create) {
                warm.handle.engine().flush();
                now.fill(None);
            }
            status.state() == State::Degraded
        });
        churn(&warm, &mut random, 500, &mut now);
        let checkpoints = || warm.status().counters.checkpoints.load(Ordering::Relaxed);
        let before = checkpoints();
        sick.now.store(false, Ordering::Relaxed);
        warm.wait("healed", |status| status.state() == State::Ok);
        churn(&warm, &mut random, 50, &mut now);
        warm.commit();
        assert!(warm.status().counters.errors.load(Ordering::Relaxed) > 0);
        warm.wait("the checkpoint", |_| checkpoints() > before);
        let (_copy, copied) = killed(&options.directory);
        assert_all(&warm, &now);
        warm.stop();
        for options in [options, Options { disk: Disk::default(), ..copied }] {
            assert_all(&Warm::start(options), &now);
        }
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_no_reason_not_to_start_unless_it_is_required() {
    let (folder, options) = folder();
    fs::write(&options.directory, "a file").unwrap();
    let engine =
        || Engine::new(engine::Options::default(), Arc::new(Clock::manual()), Arc::default());
    let required = Options { required: true, ..options.clone() };
    assert!(matches!(Persist::start(&engine(), required), Err(StartError::Directory(_))));
    let warm = Warm::start(options.clone());
    assert_eq!(warm.status().state(), State::Degraded);
    warm.set("key", b"value");
    fs::remove_file(&options.directory).unwrap();
    warm.wait("healed", |status| status.state() == State::Ok);
    let second = Persist::start(&engine(), options.clone());
    assert!(matches!(second, Err(StartError::Directory(OpenError::InUse(_)))));
    warm.stop();
    assert_eq!(Warm::start(options).value("key").unwrap(), b"value");
    drop(folder);
}

#[test]
fn marks_that_find_no_room_are_made_up_for() {
    let (_folder, mut options) = folder();
    // Rings are small in tests; nobody empties them in time.
    options.commit_interval = Duration::from_secs(1);
    let warm = Warm::start(options.clone());
    warm.commit();
    let (mut random, mut now) = (3, vec![None; 400]);
    churn(&warm, &mut random, 3000, &mut now);
    warm.commit();
    let counters = &warm.status().counters;
    assert!(counters.lost_stores.load(Ordering::Relaxed) > 0);
    assert!(counters.lost_removals.load(Ordering::Relaxed) > 0);
    assert_all(&warm, &now);
    warm.stop();
    assert_all(&Warm::start(options), &now);
}

#[test]
fn a_stop_amid_a_checkpoint_makes_up_for_lost_marks() {
    let (_folder, mut options) = folder();
    options.commit_interval = Duration::from_secs(1);
    let warm = Warm::start(options.clone());
    let value = [1; 3000];
    let set_all = |round: u8| {
        for number in 0..2000_u32 {
            warm.set(&format!("key{number}"), &[&[round], &value[..]].concat());
        }
    };
    // A checkpoint is under way, of what there was before the last round and its lost marks.
    for round in 0..3 {
        set_all(round);
        warm.commit();
    }
    set_all(9);
    warm.commit();
    assert!(warm.status().counters.lost_stores.load(Ordering::Relaxed) > 0);
    warm.stop();
    let warm = Warm::start(options);
    for number in 0..2000 {
        let newest = warm.value(&format!("key{number}")).map(|value| value[0]);
        assert_eq!(newest, Some(9), "key{number}");
    }
}

/// A disk from which a stretch is read back for each permit.
#[derive(Default)]
struct Gate {
    permits: Mutex<u64>,
    more: Condvar,
}

impl Gate {
    fn permit(&self, stretches: u64) {
        *self.permits.lock().unwrap() += stretches;
        self.more.notify_all();
    }
}

impl Faults for Gate {
    fn check(&self, operation: Operation) -> io::Result<()> {
        if operation == Operation::Load {
            let permits = self.permits.lock().unwrap();
            *self.more.wait_while(permits, |permits| *permits == 0).unwrap() -= 1;
        }
        Ok(())
    }
}

/// Starts at once, with what there is in the directory behind a gate.
fn serve(options: &Options, clock: &Arc<Clock>) -> (Warm, Arc<Gate>, Options) {
    let gate = Arc::new(Gate::default());
    let disk = Disk::failing(Arc::clone(&gate) as _);
    let options = Options { startup: Startup::Serve, disk, ..options.clone() };
    let warm = Warm::start_at(options.clone(), Arc::clone(clock), 64 << 20);
    assert_eq!(warm.status().state(), State::Loading);
    (warm, gate, Options { disk: Disk::default(), startup: Startup::Wait, ..options })
}

#[test]
fn what_clients_do_while_loading_stands() {
    let (_folder, options) = folder();
    let clock = Arc::new(Clock::manual());
    let warm = Warm::start_at(options.clone(), Arc::clone(&clock), 64 << 20);
    let names = ["kept", "stored", "deleted", "both", "ended", "flag"];
    names.iter().for_each(|key| warm.set(key, b"before"));
    let newest = warm.get("flag").unwrap().3;
    warm.stop();
    let (warm, gate, options) = serve(&options, &clock);
    assert_eq!(warm.value("kept"), None, "not loaded yet");
    warm.set("stored", b"now");
    assert!(!warm.delete("deleted"));
    warm.set("both", b"now");
    assert!(warm.delete("both"));
    warm.store(b"ended", b"now", 0, clock.now() + 5, StoreMode::Set);
    clock.advance(6);
    assert!(warm.get("stored").unwrap().3 > newest, "a cas unique is used twice");
    warm.commit();
    // Long enough for a checkpoint of so little, if it did not wait for what is not loaded yet.
    std::thread::sleep(Duration::from_millis(200));
    // Killed now, what is not loaded yet is not lost, and what was done is not undone.
    let (_copy, amid) = killed(&options.directory);
    gate.permit(u64::MAX);
    warm.wait("loading", |status| status.state() == State::Ok);
    assert_eq!(warm.status().counters.recovery_percent.load(Ordering::Relaxed), 100);
    let check = |warm: &Warm| {
        assert_eq!(warm.value("kept").unwrap(), b"before");
        assert_eq!(warm.value("flag").unwrap(), b"before");
        assert_eq!(warm.value("stored").unwrap(), b"now");
        for gone in ["deleted", "both", "ended"] {
            assert_eq!(warm.value(gone), None, "{gone}");
        }
    };
    check(&warm);
    let checkpoints = |status: &Status| status.counters.checkpoints.load(Ordering::Relaxed);
    warm.wait("the checkpoint of all", |status| checkpoints(status) > 0);
    let (_copy, later) = killed(&options.directory);
    warm.stop();
    for options in [options, amid, later] {
        check(&Warm::start_at(
            Options { disk: Disk::default(), startup: Startup::Wait, ..options },
            Arc::clone(&clock),
            64 << 20,
        ));
    }
}

#[test]
fn a_flush_while_loading_is_of_what_is_not_loaded_too() {
    let (_folder, options) = folder();
    let clock = Arc::new(Clock::manual());
    let warm = Warm::start_at(options.clone(), Arc::clone(&clock), 64 << 20);
    warm.set("key", b"before");
    warm.stop();
    let (warm, gate, options) = serve(&options, &clock);
    warm.handle.engine().flush();
    warm.set("other", b"now");
    gate.permit(u64::MAX);
    warm.wait("loading", |status| status.state() == State::Ok);
    assert_eq!(warm.value("key"), None);
    warm.stop();
    let warm = Warm::start_at(options, clock, 64 << 20);
    assert_eq!((warm.value("key"), warm.value("other")), (None, Some(b"now".to_vec())));
}

#[test]
fn without_its_manifest_everything_is_found_before_anybody_is_served() {
    let (_folder, options) = folder();
    let warm = Warm::start(options.clone());
    warm.set("key", b"before");
    let newest = warm.get("key").unwrap().3;
    warm.stop();
    fs::remove_file(options.directory.join("MANIFEST")).unwrap();
    let (warm, gate, _) = serve(&options, &Arc::new(Clock::manual()));
    warm.set("other", b"now");
    assert!(warm.get("other").unwrap().3 > newest, "a cas unique is used twice");
    gate.permit(u64::MAX);
    warm.wait("loading", |status| !status.is_loading());
    assert_eq!(warm.value("key").unwrap(), b"before");
}

#[test]
fn what_finds_no_room_does_not_come_back_as_it_was_before() {
    let (_folder, options) = folder();
    let warm = Warm::start(options.clone());
    let keys: Vec<_> = (0..40).map(|number| format!("key{number}")).collect();
    for key in &keys {
        warm.set(key, b"small");
        warm.commit();
        // One frame has both.
        let large = vec![1; 900_000];
        warm.set(key, &large);
    }
    warm.commit();
    warm.stop();
    let warm = Warm::start_at(options, Arc::new(Clock::manual()), 8 << 20);
    let back: Vec<_> = keys.iter().filter_map(|key| warm.value(key)).collect();
    assert!((1..9).contains(&back.len()), "{} of 40 fit", back.len());
    assert!(back.iter().all(|value| value.len() > 5), "an older value is back");
}

#[test]
fn random_changes_amid_loading_stand() {
    let (_folder, options) = folder();
    let clock = Arc::new(Clock::manual());
    let warm = Warm::start_at(options.clone(), Arc::clone(&clock), 64 << 20);
    let (mut random, mut before) = (17, vec![None; 600]);
    churn(&warm, &mut random, 4000, &mut before);
    warm.stop();
    let mut options = options;
    for round in 0..3 {
        let (warm, gate, again) = serve(&options, &clock);
        let mut now = before.clone();
        let mut changed = vec![false; now.len()];
        for _ in 0..30 {
            let was = now.clone();
            // Of keys that are not loaded yet, of some that are, and of some that are just being loaded.
            gate.permit(1);
            churn(&warm, &mut random, 10, &mut now);
            for (key, (was, now)) in was.iter().zip(&now).enumerate() {
                changed[key] |= was != now;
            }
            for key in (0..now.len()).filter(|key| changed[*key]) {
                let (found, now) = (warm.value(&format!("key{key}")), &now[key]);
                assert!(found == *now, "round {round}: key{key} is not what it was set to");
            }
        }
        warm.commit();
        let (_copy, amid) = killed(&options.directory);
        gate.permit(1 << 40);
        warm.wait("loading", |status| !status.is_loading());
        // A key may share its bit with one that has left.
        let mut shared = 0;
        for key in (0..now.len()).filter(|key| !changed[*key]) {
            if now[key].is_some() && warm.value(&format!("key{key}")).is_none() {
                now[key] = None;
                shared += 1;
            }
        }
        assert!(shared <= 2, "{shared} keys are not back");
        assert_all(&warm, &now);
        if shared == 0 {
            assert_all(&Warm::start(Options { disk: Disk::default(), ..amid }), &now);
        }
        warm.stop();
        (options, before) = (again, now);
    }
    assert_all(&Warm::start(options), &before);
}

#[test]
fn a_stop_amid_loading_loses_nothing() {
    let (_folder, options) = folder();
    let clock = Arc::new(Clock::manual());
    let warm = Warm::start_at(options.clone(), Arc::clone(&clock), 64 << 20);
    let (mut random, mut now) = (23, vec![None; 300]);
    churn(&warm, &mut random, 2000, &mut now);
    warm.stop();
    let (warm, gate, options) = serve(&options, &clock);
    gate.permit(2);
    churn(&warm, &mut random, 100, &mut now);
    warm.status().stop();
    gate.permit(1 << 40);
    warm.stop();
    assert_all(&Warm::start(options), &now);
}

/// Damages one thing in a directory; what it did.
fn damage(directory: &Path, random: &mut u64) -> String {
    let mut draw = |below: u64| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*random >> 33) % below.max(1)
    };
    let mut files = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in directory::entries(&folder) {
            if entry.is_dir() {
                folders.push(entry.clone());
            }
            files.push(entry);
        }
    }
    files.sort();
    // The files with the data more often than the others.
    let data: Vec<_> = files.iter().filter(|file| file.ends_with("db")).cloned().collect();
    let of = if draw(3) > 0 && !data.is_empty() { &data } else { &files };
    let file = of[draw(of.len() as u64) as usize].clone();
    if file.is_dir() {
        fs::remove_dir_all(&file).unwrap();
        return format!("{} removed", file.display());
    }
    let mut bytes = fs::read(&file).unwrap();
    let len = bytes.len() as u64;
    let at = draw(len) as usize;
    let until = (at + 1 + draw(4096) as usize).min(bytes.len());
    let kind = draw(7);
    match kind {
        0 => bytes.truncate(at),
        1 if len > 0 => bytes[at] ^= 1 << draw(8),
        2 => bytes[at.min(until)..until].fill(0),
        3 => bytes[at.min(until)..until].iter_mut().for_each(|byte| *byte = draw(256) as u8),
        // A stretch of the file once more, elsewhere.
        4 if len > 8192 => bytes.copy_within(at.min(until)..until, draw(len - 8192) as usize),
        5 => bytes.extend((0..draw(5000)).map(|byte| byte as u8)),
        _ => {
            fs::remove_file(&file).unwrap();
            return format!("{} removed", file.display());
        }
    }
    fs::write(&file, bytes).unwrap();
    format!("{}: {kind} at {at}", file.display())
}

/// A directory with history in two generations, a kill and all the values that every key ever had.
fn worn() -> (TempDir, Options, Vec<Vec<Vec<u8>>>) {
    let (folder, options) = folder();
    let mut history = vec![Vec::new(); 60];
    let (mut random, mut now) = (9, vec![None; history.len()]);
    for _ in 0..2 {
        let warm = Warm::start(options.clone());
        for _ in 0..60 {
            churn(&warm, &mut random, 10, &mut now);
            for (values, value) in history.iter_mut().zip(&now) {
                values.extend(value.clone());
                values.dedup();
            }
            // Values that were not seen here were not acknowledged either.
            warm.commit();
        }
        warm.stop();
    }
    (folder, options, history)
}

/// How many random cases of damage are tried: some hundreds, or as many as the environment says.
fn cases() -> u64 {
    std::env::var("VOLT_PERSIST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200)
}

#[test]
fn damage_costs_what_is_damaged_and_never_the_start() {
    let (_folder, options, history) = worn();
    let (mut back, mut starts) = (0, 0);
    for case in 0..cases() {
        let (_copy, damaged) = killed(&options.directory);
        let mut random = case.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut what = String::new();
        for _ in 0..=random % 3 {
            what += &damage(&damaged.directory, &mut random);
            what += "; ";
        }
        let check = |warm: &Warm| {
            let mut found = 0;
            for (key, values) in history.iter().enumerate() {
                if let Some(value) = warm.value(&format!("key{key}")) {
                    assert!(values.contains(&value), "case {case}: key{key} is wrong: {what}");
                    found += 1;
                }
            }
            found
        };
        let warm = Warm::start(damaged.clone());
        back += check(&warm);
        // It is written anew, and whole.
        warm.set("new", what.as_bytes());
        warm.commit();
        if case % 8 == 0 {
            starts += 1;
            let before = check(&warm);
            warm.wait("the checkpoint", |s| s.counters.checkpoints.load(Ordering::Relaxed) > 0);
            warm.stop();
            let warm = Warm::start(damaged);
            assert_eq!(check(&warm), before, "case {case}: {what}");
            assert_eq!(warm.value("new").unwrap(), what.as_bytes());
            assert_eq!(warm.status().counters.recovery_missing.load(Ordering::Relaxed), 0);
        }
    }
    assert!(starts > 0 && back > cases() * 20, "{back} keys were back");
}
