//! Space on disk: what a cache takes whose items are all overwritten again and again, and how much is written for that.
//!
//! `VOLT_SPACE_TURNS` sets how many times everything is overwritten; a few without it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use volt::clock::Clock;
use volt::engine::{Engine, Handle, Options};
use volt::persist::{self, Persist};

/// Keys, of 20 bytes, and bytes of their values.
const KEYS: u64 = 600_000;
const VALUE_LEN: usize = 100;
const LIVE: u64 = KEYS * (20 + VALUE_LEN as u64);

/// Stores between two rests, and the time they may take at least: 30 MB/s, which a plain disk takes more than twice.
const BURST: u64 = 2_000;
const BURST_TIME: Duration = Duration::from_millis(8);

/// Bytes on disk of live ones at most.
const DISK_PERCENT: u64 = 250;
/// Bytes written for those of changes at most.
const WRITTEN_PERCENT: u64 = 300;

/// What a directory takes, at most, and all that was ever written to its databases.
#[derive(Default)]
struct Seen {
    peak: u64,
    databases: HashMap<PathBuf, u64>,
}

impl Seen {
    fn look(&mut self, directory: &Path) {
        let mut sum = 0;
        for path in below(directory) {
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            sum += found.blocks() * 512;
            if path.ends_with("db") {
                let len = self.databases.entry(path).or_default();
                *len = found.len().max(*len);
            }
        }
        self.peak = self.peak.max(sum);
    }

    fn written(&self) -> u64 {
        self.databases.values().sum()
    }
}

/// All that is below a directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let found = entries.flat_map(|entry| {
        let path = entry.path();
        [below(&path), vec![path]].concat()
    });
    found.collect()
}

fn set(handle: &Handle, key: u64, value: &[u8; VALUE_LEN]) {
    let session = handle.pin();
    let name = format!("key{key:017}");
    let mut draft = session.draft(session.key(name.as_bytes()), VALUE_LEN, 0, 0).unwrap();
    draft.fill(value);
    session.set(draft);
}

/// Stores every key once, at a pace that a disk can keep.
fn turn(handle: &Handle, turn: u64) {
    for burst in 0..KEYS / BURST {
        let begun = Instant::now();
        for number in 0..BURST {
            // Every key once, in no order: a step that has no divisor in common with their number.
            let key = (burst * BURST + number) * 7_919 % KEYS;
            set(handle, key, &[turn as u8; VALUE_LEN]);
        }
        std::thread::sleep(BURST_TIME.saturating_sub(begun.elapsed()));
    }
}

#[test]
fn overwritten_items_take_bounded_space_and_are_written_a_bounded_number_of_times() {
    let turns = std::env::var("VOLT_SPACE_TURNS").ok().and_then(|turns| turns.parse().ok());
    let turns = turns.unwrap_or(3);
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("data");
    let options = Options { memory_limit: 128 << 20, ..Options::default() };
    let engine = Engine::new(options, Arc::new(Clock::manual()), Arc::default());
    let persist = Persist::start(&engine, persist::Options::new(directory.clone())).unwrap();
    persist.wait();
    let over = AtomicBool::new(false);
    let (seen, growth) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = Seen::default();
            while !over.load(Ordering::Relaxed) {
                seen.look(&directory);
                std::thread::sleep(Duration::from_millis(5));
            }
            seen
        });
        let handle = engine.handle();
        turn(&handle, 0);
        let mut growth = Seen::default();
        growth.look(&directory);
        (1..=turns).for_each(|number| turn(&handle, number));
        over.store(true, Ordering::Relaxed);
        (watcher.join().unwrap(), growth)
    });
    let changed = turns * LIVE;
    let written = seen.written() - growth.written();
    println!(
        "{turns} turns of {LIVE} bytes: {} bytes on disk at most ({} %), {written} written ({} %)",
        seen.peak,
        seen.peak * 100 / LIVE,
        written * 100 / changed
    );
    let counters = &persist.status().counters;
    assert_eq!(counters.lost_stores.load(Ordering::Relaxed), 0, "the disk did not keep the pace");
    assert!(seen.peak * 100 <= LIVE * DISK_PERCENT);
    assert!(written * 100 <= changed * WRITTEN_PERCENT);
}
