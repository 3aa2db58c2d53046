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
use tempfile::TempDir;

mod damage;
mod faults;
mod loading;
mod power;
mod restart;

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

/// A new cache with a directory of its own, and the clock that the next one there is to go by.
fn clocked() -> (TempDir, Options, Arc<Clock>, Warm) {
    let (folder, options) = folder();
    let clock = Arc::new(Clock::manual());
    let warm = Warm::start_at(options.clone(), Arc::clone(&clock), 64 << 20);
    (folder, options, clock, warm)
}

/// Copies what a process that is killed now would leave.
fn killed(from: &Path) -> (TempDir, Options) {
    loop {
        let state = || (directory::generations(from), manifest::Manifest::read(from));
        let before = state();
        let (folder, options) = folder();
        copy(from, &options.directory);
        // A kill is one instant; a copy during which a generation came or went, or became void, is none.
        if state() == before {
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

/// The next of a row of numbers that look random (the upper bits of a linear congruential generator).
fn draw(random: &mut u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    *random >> 33
}

/// Changes keys at random and notes what they are.
fn churn(warm: &Warm, random: &mut u64, changes: usize, now: &mut [Option<Vec<u8>>]) {
    for _ in 0..changes {
        let draw = draw(random);
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
