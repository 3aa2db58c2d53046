//! Ghosts: what was evicted lately, remembered by a few bits of the key's hash.
//!
//! A word of 64 bits holds the last four ghosts that fell on it, the youngest lowest: [`PRINT_BITS`] of the hash and a note of
//! the policy's. Adding one is a load, a shift and a store. Two threads that meet may lose a ghost, and one in a thousand keys
//! finds the ghost of another: both cost a little accuracy, nothing else. The words come in segments of doubling
//! size, as many as there are items, give or take a third: 1.3 to 2.7 bytes an item.
//!
//! (The ghost queue is that of S3-FIFO and, before it, of 2Q: Johnson and Shasha, VLDB 1994.)

use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use std::sync::OnceLock;

/// Ghosts in a word.
const LANES: u32 = 4;
const LANE_BITS: u32 = 16;
/// Bits of the hash that are kept.
const PRINT_BITS: u32 = 12;
/// Bits that the policy may add.
pub const NOTE_BITS: u32 = LANE_BITS - PRINT_BITS;
const NOTE_MASK: u64 = (1 << NOTE_BITS) - 1;
/// Words of the first segment: 512 bytes, for any cache.
const FIRST: usize = 64;
/// Segments: for 2^43 items.
const SEGMENTS: usize = 36;
/// Items to a word at most: four ghosts for six items and less.
const ITEMS_PER_WORD: usize = 6;

/// The ghosts of a cache.
#[derive(Debug)]
pub struct Ghosts {
    /// Segment 0 has [`FIRST`] words, each further one as many as all before it.
    segments: [OnceLock<Box<[AtomicU64]>>; SEGMENTS],
    /// Words in use, a power of two. Written by the keeper alone; Relaxed, since segments publish themselves.
    words: AtomicUsize,
}

impl Default for Ghosts {
    fn default() -> Self {
        let ghosts = Self {
            segments: [const { OnceLock::new() }; SEGMENTS],
            words: AtomicUsize::new(FIRST),
        };
        ghosts.segments[0].get_or_init(|| blank(FIRST));
        ghosts
    }
}

impl Ghosts {
    /// Remembers a key that has gone, with a note of [`NOTE_BITS`].
    pub fn add(&self, hash: u64, note: u32) {
        let Some(word) = self.word(hash) else { return };
        let lane = u64::from(print(hash)) << NOTE_BITS | u64::from(note) & NOTE_MASK;
        // Relaxed here and below: a hint, nothing is read through it.
        word.store(word.load(Ordering::Relaxed) << LANE_BITS | lane, Ordering::Relaxed);
    }

    /// The note of a key that went lately; it stays, until younger ghosts push it out.
    #[inline]
    pub fn find(&self, hash: u64) -> Option<u32> {
        let mut lanes = self.word(hash)?.load(Ordering::Relaxed);
        let print = u64::from(print(hash));
        for _ in 0..LANES {
            if lanes >> NOTE_BITS & ((1 << PRINT_BITS) - 1) == print {
                return Some((lanes & NOTE_MASK) as u32);
            }
            lanes >>= LANE_BITS;
        }
        None
    }

    /// Makes itself as large as so many items need, or uses less of what it has; its bytes.
    pub fn fit(&self, items: usize) -> usize {
        let needed = (items / ITEMS_PER_WORD).max(FIRST).next_power_of_two();
        let words = self.words.load(Ordering::Relaxed);
        // Less only if it is much less, so that a number of items near a power of two costs no ghosts.
        if needed > words || needed < words / 2 {
            let last = (needed / FIRST).ilog2() as usize;
            for (index, segment) in self.segments.iter().enumerate().take(last + 1).skip(1) {
                segment.get_or_init(|| blank(FIRST << (index - 1)));
            }
            self.words.store(needed, Ordering::Relaxed);
        }
        self.segments.iter().filter_map(OnceLock::get).map(|segment| size_of_val(&**segment)).sum()
    }

    #[inline]
    fn word(&self, hash: u64) -> Option<&AtomicU64> {
        let at = (hash >> 32) as usize & (self.words.load(Ordering::Relaxed) - 1);
        let segment = (at / FIRST).checked_ilog2().map_or(0, |power| power as usize + 1);
        let start = if segment == 0 { 0 } else { FIRST << (segment - 1) };
        self.segments[segment].get()?.get(at - start)
    }
}

/// Never 0, which is an empty lane.
#[inline]
fn print(hash: u64) -> u32 {
    ((hash >> 16) as u32 & ((1 << PRINT_BITS) - 1)).max(1)
}

fn blank(words: usize) -> Box<[AtomicU64]> {
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: u64) -> u64 {
        // splitmix64 (Steele et al. 2014).
        let mut z = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    #[test]
    fn the_last_ones_are_remembered_with_their_notes_and_older_ones_forgotten() {
        let ghosts = Ghosts::default();
        for items in [0, 100_000, 1_000_000] {
            let bytes = ghosts.fit(items);
            assert!(bytes <= (8 * items / 3).max(8 * FIRST), "{bytes} bytes for {items} items");
            let count = (bytes / 2) as u64;
            let keys = items as u64 * 1000;
            for key in keys..keys + 10 * count {
                ghosts.add(hash(key), (key % 16) as u32);
            }
            let young = keys + 10 * count - count / 4..keys + 10 * count;
            let asked = young.end - young.start;
            let right =
                young.filter(|key| ghosts.find(hash(*key)) == Some((key % 16) as u32)).count();
            assert!(right as u64 > asked * 9 / 10, "{right} of {asked} at {items} items");
            let old = (keys..keys + count).filter(|key| ghosts.find(hash(*key)).is_some()).count();
            assert!((old as u64) <= count / 50, "{old} of {count} forgotten ones at {items} items");
        }
    }

    #[test]
    fn it_shrinks_with_the_number_of_items_and_keeps_its_memory() {
        let ghosts = Ghosts::default();
        let bytes = ghosts.fit(1_000_000);
        assert_eq!(ghosts.fit(10), bytes);
        assert_eq!(ghosts.words.load(Ordering::Relaxed), FIRST);
        ghosts.add(hash(1), 3);
        assert_eq!(ghosts.find(hash(1)), Some(3));
    }
}
