//! Counts by key prefix (`stats detail on`): gets, hits, sets and deletes of all keys that share what comes
//! before the first delimiter.
//!
//! Off, it costs a command one relaxed load. On, each worker counts in a map of its own; the map's mutex is
//! contended only while `stats detail dump` reads a page of it or `stats reset` empties it. The maps of all workers
//! together are bounded, and charged to the engine's limit: of commands on prefixes that come when they are full, only
//! the number is kept.

use crate::command::Output;
use crate::engine::Engine;
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The maps' share of the engine's memory: one in so many bytes.
const SHARE: usize = 16;

/// Most bytes of all maps, however much memory there is.
const BYTES_MAX: usize = 16 << 20;

/// Bytes of an entry beside its prefix: a tree's node is half empty at worst.
const ENTRY_BYTES: usize = 160;

/// Prefixes that a step of a dump lists.
const PAGE_PREFIXES: usize = 128;

/// What was counted under one prefix.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    gets: u64,
    hits: u64,
    sets: u64,
    deletes: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.gets += other.gets;
        self.hits += other.hits;
        self.sets += other.sets;
        self.deletes += other.deletes;
    }
}

/// One worker's map, in order of prefix, and what was charged for it.
#[derive(Debug, Default)]
struct Map {
    counts: BTreeMap<Box<[u8]>, Counts>,
    charged: usize,
    /// Commands on keys whose prefix found no room, since the start.
    uncounted: u64,
}

/// What all workers share.
struct Shared {
    enabled: AtomicBool,
    delimiter: u8,
    engine: Arc<Engine>,
    /// Bytes of all maps; written when a prefix is new.
    charged: AtomicUsize,
    charged_max: usize,
}

impl Shared {
    /// Charges the engine; `false` when the maps are full.
    fn charge(&self, bytes: usize) -> bool {
        if self.charged.fetch_add(bytes, Ordering::Relaxed) + bytes > self.charged_max {
            self.charged.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.engine.charge_buffers(bytes.cast_signed());
        true
    }

    fn give_back(&self, bytes: usize) {
        self.charged.fetch_sub(bytes, Ordering::Relaxed);
        self.engine.charge_buffers(-bytes.cast_signed());
    }
}

/// The counts of all workers.
pub struct Detail {
    shared: Arc<Shared>,
    maps: Mutex<Vec<Arc<Mutex<Map>>>>,
}

impl Detail {
    /// No counts yet; `delimiter` ends a prefix, and `engine` is charged for the memory.
    #[must_use]
    pub fn new(delimiter: u8, enabled: bool, engine: Arc<Engine>) -> Self {
        let shared = Shared {
            enabled: AtomicBool::new(enabled),
            delimiter,
            charged: AtomicUsize::new(0),
            charged_max: (engine.options().memory_limit / SHARE).min(BYTES_MAX),
            engine,
        };
        Self { shared: Arc::new(shared), maps: Mutex::default() }
    }

    /// Whether commands are counted.
    pub fn enabled(&self) -> bool {
        self.shared.enabled.load(Ordering::Relaxed)
    }

    /// `stats detail on` and `off`. What was counted stays.
    pub fn enable(&self, on: bool) {
        self.shared.enabled.store(on, Ordering::Relaxed);
    }

    /// A worker's side of it.
    pub fn recorder(&self) -> Recorder {
        let map = Arc::<Mutex<Map>>::default();
        lock(&self.maps).push(Arc::clone(&map));
        Recorder { shared: Arc::clone(&self.shared), map }
    }

    /// Forgets all counts (`stats reset`).
    pub fn clear(&self) {
        for map in lock(&self.maps).iter() {
            let mut map = lock(map);
            map.counts.clear();
            self.shared.give_back(mem::take(&mut map.charged));
        }
    }

    /// Commands that were not counted for want of room, since the start.
    pub fn uncounted(&self) -> u64 {
        lock(&self.maps).iter().map(|map| lock(map).uncounted).sum()
    }

    /// A step of `stats detail dump`, a line a prefix in order of prefix: those that follow `after`, which moves on.
    /// `true` when these were the last. Between steps the counting goes on.
    pub(super) fn list(&self, after: &mut Option<Box<[u8]>>, output: &mut Output) -> bool {
        let page = self.page(after.as_deref());
        for (prefix, counts) in &page {
            write(prefix, *counts, output);
        }
        if page.len() < PAGE_PREFIXES {
            output.line("END");
            return true;
        }
        *after = page.into_keys().next_back();
        false
    }

    /// The sums of the first prefixes after `after`. Whatever is among the first of all maps together is among the
    /// first of each map that has it.
    fn page(&self, after: Option<&[u8]>) -> BTreeMap<Box<[u8]>, Counts> {
        let mut page = BTreeMap::<Box<[u8]>, Counts>::new();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        for map in lock(&self.maps).iter() {
            let map = lock(map);
            let rest = map.counts.range::<[u8], _>((from, Bound::Unbounded));
            for (prefix, counts) in rest.take(PAGE_PREFIXES) {
                page.entry(prefix.clone()).or_default().add(*counts);
            }
            drop(map);
            while page.len() > PAGE_PREFIXES {
                page.pop_last();
            }
        }
        page
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detail").field("enabled", &self.enabled()).finish_non_exhaustive()
    }
}

fn write(prefix: &[u8], counts: Counts, output: &mut Output) {
    output.push(b"PREFIX ");
    output.push(prefix);
    let Counts { gets, hits, sets, deletes } = counts;
    for (name, count) in [(" get ", gets), (" hit ", hits), (" set ", sets), (" del ", deletes)] {
        output.push(name.as_bytes());
        output.number(count);
    }
    output.push(b"\r\n");
}

/// One worker's counts.
pub struct Recorder {
    shared: Arc<Shared>,
    map: Arc<Mutex<Map>>,
}

impl Recorder {
    /// Counts a key asked for.
    #[inline]
    pub fn get(&self, key: &[u8], hit: bool) {
        if self.shared.enabled.load(Ordering::Relaxed) {
            self.count(key, |counts| {
                counts.gets += 1;
                counts.hits += u64::from(hit);
            });
        }
    }

    /// Counts a store (once its memory was found, whether or not it came about).
    #[inline]
    pub fn set(&self, key: &[u8]) {
        if self.shared.enabled.load(Ordering::Relaxed) {
            self.count(key, |counts| counts.sets += 1);
        }
    }

    /// Counts a delete, whether or not the key was there.
    #[inline]
    pub fn delete(&self, key: &[u8]) {
        if self.shared.enabled.load(Ordering::Relaxed) {
            self.count(key, |counts| counts.deletes += 1);
        }
    }

    #[cold]
    fn count(&self, key: &[u8], add: impl FnOnce(&mut Counts)) {
        let Some(end) = memchr::memchr(self.shared.delimiter, key) else { return };
        let prefix = &key[..end];
        let mut map = lock(&self.map);
        if let Some(counts) = map.counts.get_mut(prefix) {
            return add(counts);
        }
        let bytes = ENTRY_BYTES + prefix.len();
        if self.shared.charge(bytes) {
            map.charged += bytes;
            add(map.counts.entry(prefix.into()).or_default());
        } else {
            map.uncounted += 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::engine;

    fn detail(enabled: bool) -> Detail {
        let clock = Arc::new(Clock::manual());
        Detail::new(b':', enabled, Engine::new(engine::Options::default(), clock, Arc::default()))
    }

    fn dump(detail: &Detail) -> String {
        let (mut output, mut after) = (Output::new(), None);
        while !detail.list(&mut after, &mut output) {}
        String::from_utf8_lossy(&output.parts().concat()).into_owned()
    }

    #[test]
    fn counts_of_all_workers_are_summed_by_prefix() {
        let detail = self::detail(true);
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
        let detail = self::detail(false);
        let recorder = detail.recorder();
        recorder.set(b"foo:1");
        assert_eq!(dump(&detail), "END\r\n");
        detail.enable(true);
        recorder.set(b"foo:1");
        detail.enable(false);
        recorder.set(b"foo:1");
        assert_eq!(dump(&detail), "PREFIX foo get 0 hit 0 set 1 del 0\r\nEND\r\n");
    }

    #[test]
    fn commands_on_prefixes_that_find_no_room_are_told() {
        let detail = self::detail(true);
        let recorder = detail.recorder();
        let room = detail.shared.charged_max / (ENTRY_BYTES + 6);
        for prefix in 0..room + 10 {
            recorder.set(format!("{prefix:06}:1").as_bytes());
        }
        recorder.get(b"000000:2", true);
        assert_eq!(detail.uncounted(), 10);
        detail.clear();
        recorder.set(b"new:1");
        assert_eq!((detail.uncounted(), detail.page(None).len()), (10, 1));
    }
}
