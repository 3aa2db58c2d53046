//! Marks: which keys have changed, for whoever keeps a copy of the cache elsewhere.
//!
//! After a change has taken effect, the thread that made it writes the key into a ring of its own; one reader
//! empties all rings now and then and looks up what each key is *now*. A mark says that something happened to
//! a key, not what: the newest state is what counts, and a key that changes a thousand times between two readings is
//! looked up once.
//!
//! Writing a mark is wait-free: one check for room, a copy of the key, one store. A ring is bounded. When it is
//! full, the mark is lost and counted, and the reader knows that it has to go over the whole table. Removals may
//! use the last quarter of a ring, so that a burst of stores does not cost an invalidation.
//!
//! An engine without marks (none were [asked for](super::Engine::mark_changes)) has no rings, and a change costs one
//! branch more.

use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use std::cell::OnceCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Words of 8 bytes in a ring, a power of two: 2 MiB, some 60,000 keys of 20 bytes.
const RING_WORDS: usize = if cfg!(test) { 2048 } else { 256 * 1024 };

/// Words that stores leave to removals.
const REMOVALS_SHARE: usize = 4;

/// What was done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It has another value, flags or deadline.
    Stored,
    /// It was removed, or asked to be.
    Removed,
}

/// Marks that found no room since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Of keys with another value or deadline.
    pub stores: u64,
    /// Of keys that were removed.
    pub removals: u64,
}

/// Marks that nobody has read yet.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Waiting {
    /// How many.
    pub marks: u64,
    /// How full the fullest ring is, 0 to 1. From three quarters on stores are lost.
    pub fullest: f64,
}

/// The rings of all threads that change one engine.
#[derive(Default)]
pub struct Marks {
    /// Touched when a thread marks for the first time, and by the reader.
    rings: Mutex<Vec<Arc<Ring>>>,
    lost_stores: AtomicU64,
    lost_removals: AtomicU64,
}

impl Marks {
    /// A ring for one thread.
    fn join(&self) -> Arc<Ring> {
        let ring = Arc::new(Ring::new());
        self.lock().push(Arc::clone(&ring));
        ring
    }

    #[cold]
    fn lose(&self, change: Change) {
        let lost = match change {
            Change::Stored => &self.lost_stores,
            Change::Removed => &self.lost_removals,
        };
        // Release: after the change whose mark is lost, see `lost`.
        lost.fetch_add(1, Ordering::Release);
    }

    /// How many marks were lost since the start.
    pub fn lost(&self) -> Lost {
        Lost {
            // Acquire: whoever goes over the table now meets the changes that were not marked.
            stores: self.lost_stores.load(Ordering::Acquire),
            removals: self.lost_removals.load(Ordering::Acquire),
        }
    }

    /// What waits to be read, about.
    pub fn waiting(&self) -> Waiting {
        let mut waiting = Waiting::default();
        for ring in self.lock().iter() {
            let (marks, share) = ring.waiting();
            waiting.marks += marks;
            waiting.fullest = waiting.fullest.max(share);
        }
        waiting
    }

    /// Takes every key that was marked before this call, repetitions included. To be called by one thread at a time.
    pub fn drain(&self, take: &mut dyn FnMut(&[u8])) {
        // Not emptied under the lock: it may take milliseconds, and who marks for the first time has to join.
        let rings = self.lock().clone();
        for ring in &rings {
            // Asked before the ring is emptied: nobody can mark after the last writer has gone. The others are the
            // list and its copy.
            let in_use = Arc::strong_count(ring) > 2;
            ring.drain(take);
            if !in_use {
                self.lock().retain(|listed| !Arc::ptr_eq(listed, ring));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Ring>>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's way to leave marks, if there is anybody who reads them.
#[derive(Default)]
pub(super) struct Marker {
    marks: Option<Arc<Marks>>,
    /// Made for the first mark: most threads that have a handle change nothing.
    ring: OnceCell<Arc<Ring>>,
}

impl Marker {
    pub(super) fn new(marks: Option<Arc<Marks>>) -> Self {
        Self { marks, ring: OnceCell::new() }
    }

    /// Notes that a change to `key` has taken effect.
    #[inline]
    pub(super) fn note(&self, key: &[u8], change: Change) {
        let Some(marks) = &self.marks else { return };
        if !self.ring.get_or_init(|| marks.join()).push(key, change) {
            marks.lose(change);
        }
    }
}

/// One thread's marks: keys in words of 8 bytes, each behind a word with its length.
struct Ring {
    words: Box<[AtomicU64]>,
    /// What was written since the start; the writer's.
    tail: End,
    /// What was read since the start; the reader's.
    head: End,
}

/// How far one side has come, on cache lines of its own: writer and reader must not share one.
#[repr(align(128))]
struct End {
    words: AtomicUsize,
    /// The same in marks, for those who watch.
    marks: AtomicU64,
}

impl End {
    fn new() -> Self {
        Self { words: AtomicUsize::new(0), marks: AtomicU64::new(0) }
    }

    /// Counts so many more marks; its own side alone does.
    fn count(&self, marks: u64) {
        self.marks.store(self.marks.load(Ordering::Relaxed).wrapping_add(marks), Ordering::Relaxed);
    }
}

impl Ring {
    fn new() -> Self {
        Self {
            words: (0..RING_WORDS).map(|_| AtomicU64::new(0)).collect(),
            tail: End::new(),
            head: End::new(),
        }
    }

    /// `false` if there is no room.
    #[inline]
    fn push(&self, key: &[u8], change: Change) -> bool {
        let words = &*self.words;
        let mask = words.len() - 1;
        // Relaxed: only this thread writes it.
        let tail = self.tail.words.load(Ordering::Relaxed);
        let need = 1 + key.len().div_ceil(8);
        // Acquire: what the reader has read is free to be written over.
        let used = tail.wrapping_sub(self.head.words.load(Ordering::Acquire));
        let room = match change {
            Change::Stored => words.len() - words.len() / REMOVALS_SHARE,
            Change::Removed => words.len(),
        };
        if used + need > room {
            return false;
        }
        let mut at = tail;
        let mut put = |word: u64| {
            // Relaxed: published by the tail below.
            words[at & mask].store(word, Ordering::Relaxed);
            at = at.wrapping_add(1);
        };
        put(key.len() as u64);
        let (whole, rest) = key.as_chunks::<8>();
        for chunk in whole {
            put(u64::from_le_bytes(*chunk));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            put(u64::from_le_bytes(last));
        }
        self.tail.count(1);
        // Release: the change itself and the words above, before the reader looks the key up.
        self.tail.words.store(at, Ordering::Release);
        true
    }

    /// Marks that were not read yet, and the share of the ring that they take; from any thread, so about.
    fn waiting(&self) -> (u64, f64) {
        // The reader's side first: it is never ahead.
        let (read, head) =
            (self.head.marks.load(Ordering::Relaxed), self.head.words.load(Ordering::Acquire));
        let (written, tail) =
            (self.tail.marks.load(Ordering::Relaxed), self.tail.words.load(Ordering::Relaxed));
        let share = tail.wrapping_sub(head) as f64 / self.words.len() as f64;
        (written.saturating_sub(read), share.min(1.0))
    }

    fn drain(&self, take: &mut dyn FnMut(&[u8])) {
        let mask = self.words.len() - 1;
        let word = |at: usize| self.words[at & mask].load(Ordering::Relaxed);
        // Relaxed: only the reader writes it.
        let mut head = self.head.words.load(Ordering::Relaxed);
        // Acquire: the words before it, and the changes they stand for.
        let tail = self.tail.words.load(Ordering::Acquire);
        let mut key = [0; 256];
        let mut marks = 0;
        while head != tail {
            let len = (word(head) as usize).min(key.len());
            for (index, chunk) in key[..len.next_multiple_of(8)].chunks_mut(8).enumerate() {
                chunk.copy_from_slice(&word(head.wrapping_add(1 + index)).to_le_bytes());
            }
            take(&key[..len]);
            head = head.wrapping_add(1 + len.div_ceil(8));
            marks += 1;
        }
        self.head.count(marks);
        // Release: the words have been read.
        self.head.words.store(head, Ordering::Release);
    }
}

#[cfg(all(test, not(volt_loom)))]
mod tests {
    use super::*;

    fn drained(marks: &Marks) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        marks.drain(&mut |key| keys.push(key.to_vec()));
        keys
    }

    #[test]
    fn every_key_comes_out_as_it_went_in() {
        let marks = Arc::new(Marks::default());
        let marker = Marker::new(Some(Arc::clone(&marks)));
        for len in (1..=250).chain(1..=250) {
            let key: Vec<u8> = (0..len).map(|at| at as u8 ^ len as u8).collect();
            marker.note(&key, Change::Stored);
            assert_eq!(drained(&marks), [key]);
        }
        assert_eq!(marks.lost(), Lost::default());
    }

    #[test]
    fn a_full_ring_loses_stores_before_removals_and_counts_both() {
        let marks = Arc::new(Marks::default());
        let marker = Marker::new(Some(Arc::clone(&marks)));
        for number in 0..RING_WORDS as u64 {
            marker.note(&number.to_le_bytes(), Change::Stored);
        }
        let kept = RING_WORDS / 2 - RING_WORDS / 8;
        assert_eq!(marks.lost(), Lost { stores: (RING_WORDS - kept) as u64, removals: 0 });
        assert_eq!(marks.waiting(), Waiting { marks: kept as u64, fullest: 0.75 });
        for number in 0..RING_WORDS as u64 {
            marker.note(&number.to_le_bytes(), Change::Removed);
        }
        assert_eq!(marks.lost().removals, (RING_WORDS - RING_WORDS / 8) as u64);
        assert_eq!(marks.waiting(), Waiting { marks: RING_WORDS as u64 / 2, fullest: 1.0 });
        assert_eq!(drained(&marks).len(), RING_WORDS / 2);
        assert_eq!(marks.waiting(), Waiting::default());
    }

    #[test]
    fn the_ring_of_a_thread_that_ended_is_emptied_before_it_goes() {
        let marks = Arc::new(Marks::default());
        let marker = Marker::new(Some(Arc::clone(&marks)));
        marker.note(b"last", Change::Stored);
        drop(marker);
        assert_eq!(drained(&marks), [b"last"]);
        assert!(marks.rings.lock().expect("no panic").is_empty());
    }

    #[test]
    fn nothing_is_torn_while_one_thread_writes_and_another_reads() {
        let marks = Marks::default();
        let ring = marks.join();
        let mut seen = 0;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in 0..100_000_u64 {
                    let key = number.to_le_bytes().repeat(1 + number as usize % 5);
                    while !ring.push(&key, Change::Stored) {
                        std::thread::yield_now();
                    }
                }
            });
            while seen < 100_000 {
                marks.drain(&mut |key| {
                    assert_eq!(key, u64::to_le_bytes(seen).repeat(1 + seen as usize % 5));
                    seen += 1;
                });
            }
            writer.join().expect("the writer");
        });
    }
}
