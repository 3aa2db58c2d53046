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

use super::disk::{Disk, Operation};
use super::generation::thread_name;
use super::progress::Progress;
use super::record::Record;
use super::recover::{Recovery, records_of};
use super::status::Status;
use crate::engine::{Engine, Handle, Key, Restored, Session};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

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

/// Frames on their way to the takers, newest first.
#[derive(Default)]
struct Block {
    payloads: Vec<u8>,
    ends: Vec<usize>,
}

/// Blocks that all takers are done with. New memory would be cleared first, which takes as long as filling it.
type Used = Mutex<Vec<Block>>;

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
    let used = Used::default();
    thread::scope(|scope| {
        let (mut senders, mut running) = (Vec::new(), Vec::new());
        for class in 0..takers {
            let (sender, blocks) = sync_channel(BLOCKS_AHEAD);
            senders.push(sender);
            let taker = Taker { engine, status, full: &full, used: &used, class, classes: takers };
            let named = thread::Builder::new().name(thread_name("load"));
            running.push(named.spawn_scoped(scope, move || taker.run(&blocks)));
        }
        let cut_short = || {
            let failed = disk.check(Operation::Load).is_err();
            failed || status.gives_up_loading() || full.load(Ordering::Relaxed)
        };
        let read_all = read(recovery, &senders, &used, &cut_short, progress);
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
    used: &Used,
    cut_short: &dyn Fn() -> bool,
    progress: &mut Progress<'_>,
) -> bool {
    let all = recovery.frames();
    let mut frames = 0;
    let mut block = Block::default();
    let give = |block: &mut Block| {
        let empty = used.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let block = Arc::new(std::mem::replace(block, empty));
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
    used: &'e Used,
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
            if let Some(mut block) = Arc::into_inner(block) {
                block.payloads.clear();
                // One that held a large record does not stay large.
                block.payloads.shrink_to(2 * BLOCK_BYTES);
                block.ends.clear();
                self.used.lock().unwrap_or_else(PoisonError::into_inner).push(block);
            }
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
