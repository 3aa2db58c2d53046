//! Bringing back what was saved: items with the versions that they had, and the marks of time and flushes.
//!
//! An engine that [continues](Engine::resume) another gives out versions above all that the other one gave
//! out, so cas uniques are never used twice, and it knows what was flushed. Items come back newest first: one that is
//! there already is newer, so what is restored never takes the place of anything, and never evicts anything.

use super::draft::{Draft, Refusal};
use super::item::Mark;
use super::session::{Key, Session};
use super::store::shape_of;
use super::{Engine, RelTime, Vitality, memory};
use crate::sync::Ordering;

/// An item as it was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved<'b> {
    /// The key, 1 to 250 bytes.
    pub key: &'b [u8],
    /// The value.
    pub value: &'b [u8],
    /// Client flags.
    pub flags: u32,
    /// Deadline, 0 for never.
    pub exptime: RelTime,
    /// The version that it had.
    pub version: u64,
    /// The cas unique that a client had chosen.
    pub chosen_cas: Option<u64>,
    /// Marked as stale.
    pub stale: bool,
    /// Being recached by somebody.
    pub token_sent: bool,
    /// Fetched since it was stored.
    pub fetched: bool,
    /// The key was given in base64.
    pub key_is_binary: bool,
}

/// What came of bringing an item back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It is back.
    Stored,
    /// There is one for this key.
    Present,
    /// It has expired, or was flushed.
    Dead,
    /// It is larger than items may be now.
    TooLarge,
    /// It does not fit beside what is there.
    NoRoom,
}

impl Engine {
    /// Goes on where another engine ended: versions begin above `version`, and what has a version up to `flushed` is
    /// flushed. To be called before anything is stored.
    pub fn resume(&self, version: u64, flushed: u64) {
        self.versions.fetch_max(version, Ordering::SeqCst);
        self.flushed.fetch_max(flushed, Ordering::SeqCst);
    }

    /// The last version given out.
    pub fn last_version(&self) -> u64 {
        self.versions.load(Ordering::SeqCst)
    }

    /// Items of this version or an older one are flushed.
    pub fn flushed_version(&self) -> u64 {
        self.flushed.load(Ordering::SeqCst)
    }

    /// When everything is to be flushed, 0 for never.
    pub fn flush_due(&self) -> RelTime {
        self.flush_at.load(Ordering::Relaxed)
    }
}

impl Session<'_> {
    /// Brings a saved item back, unless there is one for its key.
    pub fn restore(&self, saved: &Saved<'_>) -> Restored {
        let due = saved.exptime;
        if due != 0 && due <= self.now() || saved.version <= self.engine().flushed_version() {
            return Restored::Dead;
        }
        let key = self.key(saved.key);
        let mut draft = match self.draft_of(key, saved) {
            Ok(draft) => draft,
            Err(Refusal::TooLarge) => return Restored::TooLarge,
            Err(Refusal::OutOfMemory) => return Restored::NoRoom,
        };
        loop {
            let spot = self.engine().table.search(key.hash, key.bytes, self);
            if spot.item().is_some_and(|there| self.vitality(there) == Vitality::Alive) {
                return Restored::Present;
            }
            if self.live(&spot).is_none() && spot.item().is_some() {
                // A dead one has just been taken out of the spot.
                continue;
            }
            match self.exchange(&spot, draft) {
                Ok(_) => return Restored::Stored,
                Err(back) => draft = back,
            }
        }
    }

    fn draft_of(&self, key: Key<'_>, saved: &Saved<'_>) -> Result<Draft, Refusal> {
        let timed = saved.exptime != 0;
        let shape = shape_of(key, saved.value.len(), saved.flags, saved.chosen_cas, timed)?;
        if shape.nominal() > self.engine().options.item_size_max {
            return Err(Refusal::TooLarge);
        }
        if !self.fits(memory::real_size(shape.total()), 0) {
            return Err(Refusal::OutOfMemory);
        }
        let mut draft = self.allocate(key, &shape, saved.exptime)?;
        draft.fill(saved.value);
        draft.set_version(saved.version);
        for (set, mark) in [
            (saved.stale, Mark::Stale),
            (saved.token_sent, Mark::Token),
            (saved.fetched, Mark::Fetched),
            (saved.key_is_binary, Mark::BinaryKey),
        ] {
            if set {
                draft.view().mark(mark);
            }
        }
        Ok(draft)
    }
}
