//! Counts by key prefix (`stats detail on`): gets, hits, sets and deletes of all keys that share what comes
//! before the first delimiter.
//!
//! Off, it costs a command one relaxed load. On, each worker counts in a map of its own; the map's mutex is
//! contended only while `stats detail dump` or `stats reset` visits it. Prefixes are bounded in number: what
//! comes after the last one that fits is not counted.

use crate::command::Output;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most prefixes that one worker counts by; memcached's bound.
const PREFIXES_MAX: usize = 1 << 16;

/// What was counted under one prefix.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    gets: u64,
    hits: u64,
    sets: u64,
    deletes: u64,
}

type Map = HashMap<Box<[u8]>, Counts>;

/// The counts of all workers.
#[derive(Debug)]
pub struct Detail {
    enabled: Arc<AtomicBool>,
    delimiter: u8,
    maps: Mutex<Vec<Arc<Mutex<Map>>>>,
}

impl Detail {
    /// No counts yet; `delimiter` ends a prefix.
    #[must_use]
    pub fn new(delimiter: u8, enabled: bool) -> Self {
        Self { enabled: Arc::new(AtomicBool::new(enabled)), delimiter, maps: Mutex::default() }
    }

    /// Whether commands are counted.
    pub fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// `stats detail on` and `off`. What was counted stays.
    pub fn enable(&self, on: bool) {
        self.enabled.store(on, Ordering::Relaxed);
    }

    /// A worker's side of it.
    pub fn recorder(&self) -> Recorder {
        let map = Arc::<Mutex<Map>>::default();
        lock(&self.maps).push(Arc::clone(&map));
        Recorder { enabled: Arc::clone(&self.enabled), delimiter: self.delimiter, map }
    }

    /// Forgets all counts (`stats reset`).
    pub fn clear(&self) {
        for map in lock(&self.maps).iter() {
            lock(map).clear();
        }
    }

    /// `stats detail dump`: a line a prefix, in order of prefix.
    pub fn dump(&self, output: &mut Output) {
        let mut sums = BTreeMap::<Box<[u8]>, Counts>::new();
        for map in lock(&self.maps).iter() {
            for (prefix, counts) in lock(map).iter() {
                let sum = sums.entry(prefix.clone()).or_default();
                sum.gets += counts.gets;
                sum.hits += counts.hits;
                sum.sets += counts.sets;
                sum.deletes += counts.deletes;
            }
        }
        for (prefix, counts) in &sums {
            output.push(b"PREFIX ");
            output.push(prefix);
            let Counts { gets, hits, sets, deletes } = *counts;
            for (name, count) in
                [(" get ", gets), (" hit ", hits), (" set ", sets), (" del ", deletes)]
            {
                output.push(name.as_bytes());
                output.number(count);
            }
            output.push(b"\r\n");
        }
        output.line("END");
    }
}

/// One worker's counts.
#[derive(Debug)]
pub struct Recorder {
    enabled: Arc<AtomicBool>,
    delimiter: u8,
    map: Arc<Mutex<Map>>,
}

impl Recorder {
    /// Counts a key asked for.
    #[inline]
    pub fn get(&self, key: &[u8], hit: bool) {
        if self.enabled.load(Ordering::Relaxed) {
            self.count(key, |counts| {
                counts.gets += 1;
                counts.hits += u64::from(hit);
            });
        }
    }

    /// Counts a store (once its memory was found, whether or not it came about).
    #[inline]
    pub fn set(&self, key: &[u8]) {
        if self.enabled.load(Ordering::Relaxed) {
            self.count(key, |counts| counts.sets += 1);
        }
    }

    /// Counts a delete, whether or not the key was there.
    #[inline]
    pub fn delete(&self, key: &[u8]) {
        if self.enabled.load(Ordering::Relaxed) {
            self.count(key, |counts| counts.deletes += 1);
        }
    }

    #[cold]
    fn count(&self, key: &[u8], add: impl FnOnce(&mut Counts)) {
        let Some(end) = memchr::memchr(self.delimiter, key) else { return };
        let prefix = &key[..end];
        let mut map = lock(&self.map);
        if let Some(counts) = map.get_mut(prefix) {
            add(counts);
        } else if map.len() < PREFIXES_MAX {
            add(map.entry(prefix.into()).or_default());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(detail: &Detail) -> String {
        let mut output = Output::new();
        detail.dump(&mut output);
        String::from_utf8_lossy(&output.parts().concat()).into_owned()
    }

    #[test]
    fn counts_of_all_workers_are_summed_by_prefix() {
        let detail = Detail::new(b':', true);
        let (a, b) = (detail.recorder(), detail.recorder());
        a.get(b"foo:1", true);
        b.get(b"foo:2", false);
        b.set(b"foo:2:x");
        a.delete(b"bar:1");
        a.get(b"none", true);
        assert_eq!(
            dump(&detail),
            "PREFIX bar get 0 hit 0 set 0 del 1\r\nPREFIX foo get 2 hit 1 set 1 del 0\r\nEND\r\n"
        );
        detail.clear();
        assert_eq!(dump(&detail), "END\r\n");
    }

    #[test]
    fn nothing_is_counted_while_off() {
        let detail = Detail::new(b':', false);
        let recorder = detail.recorder();
        recorder.set(b"foo:1");
        assert_eq!(dump(&detail), "END\r\n");
        detail.enable(true);
        recorder.set(b"foo:1");
        detail.enable(false);
        recorder.set(b"foo:1");
        assert_eq!(dump(&detail), "PREFIX foo get 0 hit 0 set 1 del 0\r\nEND\r\n");
    }
}
