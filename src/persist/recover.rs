//! Recovery: what a directory holds, from its newest frame back to its oldest.
//!
//! The first record of a key that is met is its newest; what is met later for the same key is history.

use super::directory;
use super::frame::{FRAME_MAX, Frame};
use super::manifest::Manifest;
use super::record::Record;
use super::scan::{Found, Place, scan_all};
use std::path::Path;

/// Room left for versions that were given out after the last thing that was written, when the manifest is lost.
pub const RESERVE: u64 = 1 << 40;

/// More frames than a generation has.
const FRAMES_MAX: u64 = 1 << 32;

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

impl Recovery {
    /// Looks at a directory, whole; changes nothing.
    pub fn look(path: &Path) -> Self {
        let mut recovery = Self::open(path);
        recovery.scan(&mut |_| true);
        recovery
    }

    /// Opens what is there, which takes no time. Which frames there are is known after a [`scan`](Self::scan).
    pub fn open(path: &Path) -> Self {
        let read = Manifest::read(path);
        let found: Vec<_> = directory::generations(path).into_iter().map(Found::open).collect();
        let manifest_lost = read.is_none() && (Manifest::exists(path) || !found.is_empty());
        Self { manifest: read.unwrap_or_default(), found, manifest_lost }
    }

    /// Finds the frames. Says on `go_on` how many more bytes were looked at, now and then, and gives up when that says
    /// `false`; then nothing may be concluded from what was found, and this says so with `false`.
    pub fn scan(&mut self, go_on: &mut (dyn FnMut(u64) -> bool + Send)) -> bool {
        if !scan_all(&mut self.found, go_on) {
            return false;
        }
        let manifest = &mut self.manifest;
        for generation in &self.found {
            let stamp = &generation.stamp;
            manifest.base = manifest.base.max(stamp.base);
            manifest.flushed = manifest.flushed.max(stamp.flushed);
            manifest.versions = manifest.versions.max(stamp.versions);
            // One that was made ahead of time has no frames, and its number says nothing.
            let written = !generation.places.is_empty();
            if written && manifest.next < generation.next() {
                manifest.next = generation.next();
                // Somebody has written since.
                manifest.clean = false;
            }
        }
        if self.manifest_lost {
            manifest.versions += RESERVE;
        }
        true
    }

    /// Bytes that a scan looks at.
    pub fn bytes(&self) -> u64 {
        self.found.iter().map(Found::bytes).sum()
    }

    /// A frame number above all that are there, scanned or not.
    pub fn above(&self) -> u64 {
        let first = self.found.iter().map(|found| found.name.first).max().unwrap_or_default();
        self.manifest.next.max(first).saturating_add(FRAMES_MAX)
    }

    /// Frames that must have been written, count, and are not there.
    pub fn missing(&self) -> u64 {
        let holes: u64 = self.counting().map(Found::missing).sum();
        // A generation that nothing was written to begins beyond that.
        let begun = self.found.iter().filter(|found| found.name.first <= self.manifest.next);
        let last = begun.map(Found::next).max().unwrap_or_default();
        // After a clean stop it is known which frame was the last.
        let tail = match self.manifest.clean {
            true => self.manifest.next.saturating_sub(last.max(self.manifest.base)),
            false => 0,
        };
        holes + tail
    }

    /// Generations that are damaged.
    pub fn damaged(&self) -> impl Iterator<Item = &Found> {
        let next = self.manifest.next;
        self.counting().filter(move |found| found.missing() > 0 || is_broken(found, next))
    }

    /// Generations of which a file is not there or could not be read as a whole. What they held is not known.
    pub fn broken(&self) -> impl Iterator<Item = &Found> {
        let next = self.manifest.next;
        self.counting().filter(move |found| is_broken(found, next))
    }

    /// Generations that hold frames that count, or should.
    fn counting(&self) -> impl Iterator<Item = &Found> {
        let base = self.manifest.base;
        let may = move |found: &&Found| found.places.is_empty() && found.name.first >= base;
        self.found.iter().filter(move |found| found.next() > base || may(found))
    }

    /// The frames of a generation that count, oldest first.
    fn places<'f>(&self, found: &'f Found) -> &'f [Place] {
        let from = found.places.partition_point(|place| place.sequence < self.manifest.base);
        &found.places[from..]
    }

    /// How many frames count.
    pub fn frames(&self) -> u64 {
        self.found.iter().map(|found| self.places(found).len() as u64).sum()
    }

    /// Visits the newest state of every key and the history behind it, newest first, until `visit` returns `false`.
    pub fn walk_back(&self, visit: &mut dyn FnMut(&Record<'_>) -> bool) {
        self.frames_back(&mut |payload, _| records_of(payload).iter().rev().all(&mut *visit));
    }

    /// Visits frames newest first, until `visit` returns `false`: the records of each, oldest first, and how many frames
    /// they took. A record that takes several is visited when it is whole.
    pub fn frames_back(&self, visit: &mut dyn FnMut(&[u8], u64) -> bool) {
        let mut reader = Reader::default();
        for found in self.found.iter().rev() {
            let mut left = self.places(found);
            while let Some((last, before)) = left.split_last() {
                left = before;
                let Some(frame) = found.read(last, &mut reader.frame) else { continue };
                let go_on = match frame.parts {
                    1 => visit(frame.payload, 1),
                    parts if frame.part == parts - 1 => {
                        // By their numbers: when one is missing, those before it are others' frames.
                        let first = last.sequence.saturating_sub(u64::from(parts) - 1);
                        let (rest, before) =
                            left.split_at(left.partition_point(|p| p.sequence < first));
                        left = rest;
                        let large = reader.join(found, before, last);
                        large.is_none_or(|large| visit(large, u64::from(parts)))
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
}

fn is_broken(found: &Found, next: u64) -> bool {
    // One that nothing was written to may have been in the making when the server was killed.
    found.unreadable || (found.incomplete && found.name.first <= next)
}

/// The records of a payload, oldest first.
pub fn records_of(mut payload: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::with_capacity(64);
    while let Some(record) = Record::decode(&mut payload) {
        records.push(record);
    }
    records
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
