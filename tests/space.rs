//! Space on disk: what a cache takes whose items are all overwritten again and again, and how much is written for that.
//!
//! `VOLT_SPACE_TURNS` sets how many times everything is overwritten, and then each time has to keep within the bounds. Without
//! it one time has to: what is superseded goes when the disk has synced what supersedes it, which a disk that is busy with
//! something else does late.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use volt::clock::Clock;
use volt::engine::{Engine, Handle, Options};
use volt::persist::{self, Persist, Status};

/// Keys, of 20 bytes, and bytes of their values.
const KEYS: u64 = 600_000;
const VALUE_LEN: usize = 100;
const LIVE: u64 = KEYS * (20 + VALUE_LEN as u64);

/// Stores between two rests, and the time they take at least: 24 MB/s, of which a plain disk takes three times as much. A burst
/// that is not written by then is waited for.
const BURST: u64 = 2_000;
const BURST_TIME: Duration = Duration::from_millis(10);
const DEADLINE: Duration = Duration::from_secs(60);

/// Turns without `VOLT_SPACE_TURNS`, at least and at most.
const TURNS: (u64, u64) = (2, 8);

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
fn turn(handle: &Handle, status: &Status, turn: u64) {
    for burst in 0..KEYS / BURST {
        let begun = Instant::now();
        for number in 0..BURST {
            // Every key once, in no order: a step that has no divisor in common with their number.
            let key = (burst * BURST + number) * 7_919 % KEYS;
            set(handle, key, &[turn as u8; VALUE_LEN]);
        }
        let ticket = status.ticket();
        std::thread::sleep(BURST_TIME.saturating_sub(begun.elapsed()));
        while !status.is_committed(ticket) {
            assert!(begun.elapsed() < DEADLINE, "nothing is written any more");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn overwritten_items_take_bounded_space_and_are_written_a_bounded_number_of_times() {
    let strict = std::env::var("VOLT_SPACE_TURNS").ok().and_then(|turns| turns.parse().ok());
    let (least, most) = strict.map_or(TURNS, |turns: u64| (turns, turns));
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("data");
    let options = Options { memory_limit: 128 << 20, ..Options::default() };
    let engine = Engine::new(options, Arc::new(Clock::manual()), Arc::default());
    let persist = Persist::start(&engine, persist::Options::new(directory.clone())).unwrap();
    persist.wait();
    let status = persist.status();
    let handle = engine.handle();
    turn(&handle, status, 0);
    let seen = Mutex::new(Seen::default());
    let over = AtomicBool::new(false);
    let (peaks, written) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                seen.lock().unwrap().look(&directory);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // Stops the watcher however this ends.
        let _stop = Stop(&over);
        seen.lock().unwrap().look(&directory);
        let grown = seen.lock().unwrap().written();
        let mut peaks = Vec::new();
        while peaks.len() < least as usize
            || peaks.len() < most as usize
                && peaks.iter().all(|peak| peak * 100 > LIVE * DISK_PERCENT)
        {
            turn(&handle, status, peaks.len() as u64 + 1);
            let peak = std::mem::take(&mut seen.lock().unwrap().peak);
            println!("a turn of {LIVE} bytes: {peak} on disk at most ({} %)", peak * 100 / LIVE);
            peaks.push(peak);
        }
        (peaks, seen.lock().unwrap().written() - grown)
    });
    let changed = peaks.len() as u64 * LIVE;
    println!("{written} bytes written for {changed} ({} %)", written * 100 / changed);
    assert_eq!(
        status.counters.lost_stores.load(Ordering::Relaxed),
        0,
        "the disk did not keep the pace"
    );
    let within = peaks.iter().filter(|peak| **peak * 100 <= LIVE * DISK_PERCENT).count();
    assert!(within >= if strict.is_some() { peaks.len() } else { 1 });
    assert!(written * 100 <= changed * WRITTEN_PERCENT);
}

/// Ends the watcher's loop when it goes.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
