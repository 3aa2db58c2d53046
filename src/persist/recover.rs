//! Recovery: what a directory holds, and bringing it back into the cache.
//!
//! Frames are read newest first. The first record of a key that is met is its newest; what is met later for the
//! same key is history. So nothing is ever overwritten by loading, and when memory or time runs out, what was
//! written last is there.

use super::directory::{self, Name};
use super::frame::{FRAME_MAX, Frame};
use super::manifest::Manifest;
use super::record::{Item, Record};
use super::scan::{Found, Place};
use crate::clock::{Clock, RelTime};
use crate::engine::{Engine, Handle, Restored, Saved, Session};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;
use std::time::Instant;

/// Items that end this soon are remembered while loading, in seconds: when they have expired, an older record of
/// their key must not come back. Loading takes no longer than this.
pub const SOON: RelTime = 3600;

/// Room left for versions that were given out after the last thing that was written, when the manifest is lost.
pub const RESERVE: u64 = 1 << 40;

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The numbers to go on with.
    pub manifest: Manifest,
    /// Generations, oldest first.
    pub found: Vec<Found>,
    /// There are frames and no manifest that says which count.
    pub manifest_lost: bool,
}

/// What came of loading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Items that are back.
    pub items: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Newest records that have expired or were flushed meanwhile.
    pub dead: u64,
    /// Memory or time ran out before the end.
    pub cut_short: bool,
}

impl Recovery {
    /// Looks at a directory; changes nothing.
    pub fn look(path: &Path) -> Self {
        let read = Manifest::read(path);
        let found: Vec<_> = directory::generations(path).into_iter().map(Found::look).collect();
        let manifest_lost = read.is_none() && (Manifest::exists(path) || !found.is_empty());
        let mut manifest = read.unwrap_or_default();
        for generation in &found {
            let stamp = &generation.stamp;
            manifest.base = manifest.base.max(stamp.base);
            manifest.flushed = manifest.flushed.max(stamp.flushed);
            manifest.versions = manifest.versions.max(stamp.versions);
            if manifest.next < generation.next() {
                manifest.next = generation.next();
                // Somebody has written since.
                manifest.clean = false;
            }
        }
        if manifest_lost {
            manifest.versions += RESERVE;
        }
        Self { manifest, found, manifest_lost }
    }

    /// Frames that must have been written, count, and are not there.
    pub fn missing(&self) -> u64 {
        let holes: u64 = self.counting().map(Found::missing).sum();
        let last = self.found.iter().map(Found::next).max().unwrap_or_default();
        // After a clean stop it is known which frame was the last.
        let tail = match self.manifest.clean {
            true => self.manifest.next.saturating_sub(last.max(self.manifest.base)),
            false => 0,
        };
        holes + tail
    }

    /// Generations that are damaged.
    pub fn damaged(&self) -> impl Iterator<Item = &Name> {
        let damaged = |found: &&Found| found.missing() > 0 || found.unreadable;
        self.counting().filter(damaged).map(|found| &found.name)
    }

    /// Generations that hold frames that count.
    fn counting(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(|found| found.next() > self.manifest.base)
    }

    /// Visits the newest state of every key and the history behind it, newest first, until `visit` returns `false`.
    pub fn walk_back(&self, visit: &mut dyn FnMut(&Record<'_>) -> bool) {
        let mut reader = Reader::default();
        for found in self.found.iter().rev() {
            let from = found.places.partition_point(|place| place.sequence < self.manifest.base);
            let mut left = &found.places[from..];
            while let Some((last, before)) = left.split_last() {
                left = before;
                let Some(frame) = found.read(last, &mut reader.frame) else { continue };
                let go_on = match frame.parts {
                    1 => in_reverse(frame.payload, visit),
                    parts if frame.part == parts - 1 => {
                        let first = left.len().saturating_sub(parts as usize - 1);
                        let (rest, parts) = left.split_at(first);
                        left = rest;
                        reader.join(found, parts, last).is_none_or(|large| in_reverse(large, visit))
                    }
                    // The record's end is missing.
                    _ => true,
                };
                if !go_on {
                    return;
                }
            }
        }
    }

    /// Puts back what there is. To be called before anything is stored, after [`Engine::resume`].
    pub fn load(&self, engine: &Engine, handle: &Handle, until: Instant) -> Loaded {
        let mut loader =
            Loader { clock: engine.clock(), gone: HashSet::default(), loaded: Loaded::default() };
        let mut records = 0_u32;
        let mut session = handle.pin();
        self.walk_back(&mut |record| {
            records = records.wrapping_add(1);
            if records.is_multiple_of(64) {
                session.relax();
                loader.loaded.cut_short = Instant::now() >= until;
            }
            loader.take(&session, record);
            !loader.loaded.cut_short
        });
        loader.loaded
    }
}

/// Visits the records of a payload, last first; `false` once `visit` said so.
fn in_reverse(mut payload: &[u8], visit: &mut dyn FnMut(&Record<'_>) -> bool) -> bool {
    let mut records = Vec::with_capacity(64);
    while let Some(record) = Record::decode(&mut payload) {
        records.push(record);
    }
    records.iter().rev().all(visit)
}

/// Buffers for reading.
struct Reader {
    frame: Box<[u8; FRAME_MAX]>,
    large: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { frame: Box::new([0; FRAME_MAX]), large: Vec::new() }
    }
}

impl Reader {
    /// A record that takes the frames at `before` and `last`; `None` if one of them is missing.
    fn join(&mut self, found: &Found, before: &[Place], last: &Place) -> Option<&[u8]> {
        self.large.clear();
        for (part, place) in (0..).zip(before.iter().chain([last])) {
            let frame: Frame<'_> = found.read(place, &mut self.frame)?;
            let expected = last.sequence + u64::from(part) - before.len() as u64;
            if frame.part != part || frame.sequence != expected {
                return None;
            }
            if part == 0 && frame.parts as usize != before.len() + 1 {
                return None;
            }
            self.large.extend(frame.payload);
        }
        Some(&self.large)
    }
}

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

/// Puts records back, newest first.
struct Loader<'e> {
    clock: &'e Clock,
    /// Hashes of keys whose newest record is no item, or not for long. Two keys with one hash cost a miss.
    gone: HashSet<u64, Hashed>,
    loaded: Loaded,
}

impl Loader<'_> {
    fn take(&mut self, session: &Session<'_>, record: &Record<'_>) {
        let hash = session.key(record.key()).hash;
        let Record::Item(item) = record else {
            if session.peek(session.key(record.key())).hit().is_none() {
                self.gone.insert(hash);
            }
            return;
        };
        if !self.gone.is_empty() && self.gone.contains(&hash) {
            return;
        }
        let saved = saved(item, self.clock);
        let soon = saved.exptime != 0 && saved.exptime < session.now().saturating_add(SOON);
        match session.restore(&saved) {
            Restored::Stored => {
                self.loaded.items += 1;
                self.loaded.bytes += (item.key.len() + item.value.len()) as u64;
                if soon {
                    self.gone.insert(hash);
                }
            }
            Restored::Present => {}
            Restored::Dead => {
                self.loaded.dead += 1;
                self.gone.insert(hash);
            }
            Restored::TooLarge => {
                self.gone.insert(hash);
            }
            Restored::NoRoom => self.loaded.cut_short = true,
        }
    }
}

/// An item as the engine takes it.
fn saved<'b>(item: &Item<'b>, clock: &Clock) -> Saved<'b> {
    let exptime = match item.exptime {
        0 => 0,
        unix => clock.from_unix(i64::try_from(unix).unwrap_or(i64::MAX)),
    };
    Saved {
        key: item.key,
        value: item.value,
        flags: item.flags,
        exptime,
        version: item.version,
        chosen_cas: item.chosen_cas,
        stale: item.stale,
        token_sent: item.token_sent,
        fetched: item.fetched,
        key_is_binary: item.key_is_binary,
    }
}
