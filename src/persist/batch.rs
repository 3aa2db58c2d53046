//! The keys that have changed since the last cycle, each once.

use super::load::Hashed;
use crate::engine::{Marks, Session};
use std::collections::HashMap;

/// What is kept from one cycle to the next at most, in bytes.
const KEPT: usize = 1 << 20;

/// Keys, each once but for collisions of hashes.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<usize>,
    /// Keys by their hash.
    known: HashMap<u64, usize, Hashed>,
}

impl Batch {
    /// Takes what is marked; how many marks that were.
    pub fn fill(&mut self, marks: &Marks, session: &Session<'_>) -> u64 {
        let mut taken = 0;
        marks.drain(&mut |key| {
            taken += 1;
            let hash = session.key(key).hash;
            let index = self.ends.len();
            let known = *self.known.entry(hash).or_insert(index);
            if known != index && self.key(known) == key {
                return;
            }
            self.bytes.extend(key);
            self.ends.push(self.bytes.len());
        });
        taken
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// A key.
    pub fn key(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.known.clear();
        self.bytes.shrink_to(KEPT);
        self.ends.shrink_to(KEPT / 8);
        self.known.shrink_to(KEPT / 16);
    }
}
