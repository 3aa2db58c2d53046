//! Loading: what a directory holds, back into the cache, beside clients or before them.
//!
//! ```text
//!   frames, newest first ──► reader ──► blocks ──┬─► taker 0   restores keys of class 0
//!                                                └─► taker 1   restores keys of class 1
//! ```
//!
//! One thread reads; as many as there are processors take every block one after the other, and of each block the keys
//! of their class, by the hash. So each key's records are met by one thread, newest first, and nothing is ever overwritten by
//! loading: when memory runs out, what was written last is there. What clients do meanwhile is newer
//! than all of it; the engine sees to that (`engine::restore`).

use super::directory::Name;
use super::disk::{Disk, Operation};
use super::generation::thread_name;
use super::record::Record;
use super::recover::{Recovery, records_of};
use super::status::Status;
use crate::engine::{Engine, Handle, Key, Restored, Session};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a block, but for its last frame: enough that handing it over costs nothing.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks that wait for a taker at most.
const BLOCKS_AHEAD: usize = 4;
/// Keys whose places in memory are asked for together.
const GROUP: usize = 16;
/// Takers at most: beyond, reading is what takes the time.
const TAKERS_MAX: usize = 8;
/// Frames that are looked into to tell how many items there are.
const PROBES: u64 = 64;
/// Time between two lines in the log.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What came of loading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Items that are back.
    pub items: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Newest records that have expired or were flushed meanwhile.
    pub dead: u64,
    /// Memory ran out before the end, or the disk has failed, or the server stops.
    pub cut_short: bool,
}

/// Whether loading is over, and what it has found; for those who wait.
#[derive(Debug, Default)]
pub struct Loading {
    /// The generations that turned out to be damaged.
    damaged: OnceLock<Vec<Name>>,
}

impl Loading {
    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.damaged.get().is_some()
    }

    /// Whether a generation has turned out to be damaged.
    pub fn has_damage(&self, name: &Name) -> bool {
        self.damaged.get().is_some_and(|damaged| damaged.contains(name))
    }

    /// Ends it.
    pub fn end(&self, damaged: Vec<Name>) {
        let _ = self.damaged.set(damaged);
    }
}

/// Takes note of how far loading is, for `stats` and the log.
pub struct Progress<'s> {
    status: &'s Status,
    /// What is to be done, and what is done, in one unit: looking at the bytes is half of it, restoring the other half.
    whole: u64,
    done: u64,
    told: Instant,
}

impl<'s> Progress<'s> {
    /// Of loading so many bytes.
    pub fn new(status: &'s Status, bytes: u64) -> Self {
        Self { status, whole: bytes.max(1) * 2, done: 0, told: Instant::now() }
    }

    /// So many more bytes were looked at; whether to go on.
    pub fn looked(&mut self, bytes: u64) -> bool {
        self.reach(self.done + bytes);
        !self.status.is_stopping()
    }

    /// So many frames of all are restored.
    fn restored(&mut self, frames: u64, of: u64) {
        let half = self.whole / 2;
        self.reach(half + half * frames / of.max(1));
    }

    fn reach(&mut self, done: u64) {
        self.done = done.min(self.whole);
        let percent = self.done * 100 / self.whole;
        let counters = &self.status.counters;
        counters.recovery_percent.store(percent, Ordering::Relaxed);
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let items = counters.recovered_items.load(Ordering::Relaxed);
            let bytes = counters.recovered_bytes.load(Ordering::Relaxed);
            tracing::info!(
                "persistence: loading, {percent} %: {items} items of {bytes} bytes so far"
            );
        }
    }
}

/// Frames on their way to the takers, newest first.
#[derive(Default)]
struct Block {
    payloads: Vec<u8>,
    ends: Vec<usize>,
}

/// Puts back what there is, unless the server stops; after [`Engine::resume`] and [`Engine::begin_restoring`].
pub fn load(
    recovery: &Recovery,
    engine: &Arc<Engine>,
    status: &Status,
    disk: &Disk,
    progress: &mut Progress<'_>,
) -> Loaded {
    engine.restorer().expect_items(about_items(recovery));
    let takers = thread::available_parallelism().map_or(1, usize::from).min(TAKERS_MAX);
    let full = AtomicBool::new(false);
    thread::scope(|scope| {
        let (mut senders, mut running) = (Vec::new(), Vec::new());
        for class in 0..takers {
            let (sender, blocks) = sync_channel(BLOCKS_AHEAD);
            senders.push(sender);
            let taker = Taker { engine, status, full: &full, class, classes: takers };
            let named = thread::Builder::new().name(thread_name("load"));
            running.push(named.spawn_scoped(scope, move || taker.run(&blocks)));
        }
        let cut_short = || {
            let failed = disk.check(Operation::Load).is_err();
            failed || status.is_stopping() || full.load(Ordering::Relaxed)
        };
        let read_all = read(recovery, &senders, &cut_short, progress);
        drop(senders);
        let mut loaded = Loaded { cut_short: !read_all, ..Loaded::default() };
        for taker in running {
            // What a taker that could not be started, or has panicked, was to restore is not there.
            let taken = taker.ok().and_then(|taker| taker.join().ok());
            let taken = taken.unwrap_or(Loaded { cut_short: true, ..Loaded::default() });
            loaded.items += taken.items;
            loaded.bytes += taken.bytes;
            loaded.dead += taken.dead;
            loaded.cut_short |= taken.cut_short;
        }
        loaded
    })
}

/// Reads all frames for the takers; `false` if it was cut short.
fn read(
    recovery: &Recovery,
    takers: &[SyncSender<Arc<Block>>],
    cut_short: &dyn Fn() -> bool,
    progress: &mut Progress<'_>,
) -> bool {
    let all = recovery.frames();
    let mut frames = 0;
    let mut block = Block::default();
    let give = |block: &mut Block| {
        let block = Arc::new(std::mem::take(block));
        // A taker that has panicked takes nothing more.
        takers.iter().for_each(|taker| drop(taker.send(Arc::clone(&block))));
    };
    let mut go_on = !cut_short();
    recovery.frames_back(&mut |payload, parts| {
        if !go_on {
            return false;
        }
        frames += parts;
        block.payloads.extend(payload);
        block.ends.push(block.payloads.len());
        if block.payloads.len() >= BLOCK_BYTES {
            give(&mut block);
            progress.restored(frames, all);
            go_on = !cut_short();
        }
        true
    });
    give(&mut block);
    go_on
}

/// About how many items there are: half of the records, since a log may be as long as what it is a log of. From some frames of
/// all.
fn about_items(recovery: &Recovery) -> usize {
    let (mut frames, mut records) = (0, 0);
    recovery.frames_back(&mut |payload, parts| {
        frames += parts;
        records += records_of(payload).len() as u64;
        frames < PROBES
    });
    (recovery.frames() * records / frames.max(1) / 2) as usize
}

/// Restores the keys of one class.
struct Taker<'e> {
    engine: &'e Arc<Engine>,
    status: &'e Status,
    /// Memory is used up.
    full: &'e AtomicBool,
    class: usize,
    classes: usize,
}

impl Taker<'_> {
    fn run(self, blocks: &Receiver<Arc<Block>>) -> Loaded {
        let handle = self.engine.restorer();
        let mut gone = HashSet::default();
        let mut all = Loaded::default();
        while let Ok(block) = blocks.recv() {
            let mut loaded = Loaded::default();
            let mut start = 0;
            for &end in &block.ends {
                self.take(&handle, &block.payloads[start..end], &mut gone, &mut loaded);
                start = end;
            }
            let counters = &self.status.counters;
            counters.recovered_items.fetch_add(loaded.items, Ordering::Relaxed);
            counters.recovered_bytes.fetch_add(loaded.bytes, Ordering::Relaxed);
            all.items += loaded.items;
            all.bytes += loaded.bytes;
            all.dead += loaded.dead;
            all.cut_short |= self.full.load(Ordering::Relaxed);
        }
        handle.settle();
        all
    }

    /// Restores from one frame, newest record first.
    fn take(&self, handle: &Handle, payload: &[u8], gone: &mut Gone, loaded: &mut Loaded) {
        let session = handle.pin();
        let records = records_of(payload);
        let mine = records.iter().rev().filter_map(|record| {
            let key = session.key(record.key());
            // The table goes by the low bits.
            let class = (key.hash >> 32) as usize % self.classes;
            (class == self.class).then_some((key, record))
        });
        let (keys, records): (Vec<_>, Vec<_>) = mine.unzip();
        keys.iter().for_each(|key| session.prefetch(key));
        for (keys, records) in keys.chunks(GROUP).zip(records.chunks(GROUP)) {
            session.prefetch_items(keys);
            for (key, record) in keys.iter().zip(records) {
                if self.full.load(Ordering::Relaxed) {
                    // A key whose newest state found no room must not come back as it was before.
                    return;
                }
                self.restore(&session, *key, record, gone, loaded);
            }
        }
    }

    fn restore(
        &self,
        session: &Session<'_>,
        key: Key<'_>,
        record: &Record<'_>,
        gone: &mut Gone,
        loaded: &mut Loaded,
    ) {
        let Record::Item(item) = record else {
            if session.peek(key).hit().is_none() {
                gone.insert(key.hash);
            }
            return;
        };
        if !gone.is_empty() && gone.contains(&key.hash) {
            return;
        }
        match session.restore(key, item) {
            Restored::Stored => {
                loaded.items += 1;
                loaded.bytes += (item.key.len() + item.value.len()) as u64;
            }
            Restored::Present | Restored::Departed => {}
            Restored::Dead => {
                loaded.dead += 1;
                gone.insert(key.hash);
            }
            Restored::TooLarge => {
                gone.insert(key.hash);
            }
            Restored::NoRoom => self.full.store(true, Ordering::Relaxed),
        }
    }
}

/// Hashes of keys whose newest record is no item that counts. Two keys with one hash cost a miss.
type Gone = HashSet<u64, Hashed>;

/// Hashes that are hashes already.
#[derive(Default)]
pub struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Makes [`Identity`].
pub type Hashed = BuildHasherDefault<Identity>;
