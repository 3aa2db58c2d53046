//! Bringing back what was saved: items with the versions that they had, and the marks of time and flushes.
//!
//! An engine that [continues](Engine::resume) another gives out versions above all that the other one gave
//! out, so cas uniques are never used twice, and it knows what was flushed. Items come back newest first: one that is
//! there already is newer, so what is restored never takes the place of anything, and never evicts anything.
//!
//! Clients may be served meanwhile, if the engine was [told so](Engine::begin_restoring) before they came: then what
//! has [departed](super::departures) since stays away, too.

use super::departures::Departures;
use super::draft::{Draft, Refusal};
use super::evict::Policy;
use super::item::Mark;
use super::session::{ItemRef, Key, Session};
use super::store::shape_of;
use super::{Engine, Handle, Vitality};
use crate::clock::RelTime;
use crate::sync::Ordering;
use std::sync::{Arc, PoisonError};

/// The version of an item that is published but not to be seen yet: no item is given it, and it counts as flushed from
/// [`Engine::begin_restoring`] on.
const UNSEEN: u64 = 1;

/// Bytes that an item takes at least: with more buckets than items of this size fit, a table is too large.
const ITEM_BYTES_MIN: usize = 64;

/// Buckets linked under one pin.
const STRIDE: usize = 4096;

/// An item as it was saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saved<'b> {
    /// The key, 1 to 250 bytes.
    pub key: &'b [u8],
    /// The value.
    pub value: &'b [u8],
    /// Client flags.
    pub flags: u32,
    /// Deadline in Unix seconds, so that it means the same in another process; 0 for never.
    pub exptime: u64,
    /// The version, which is the cas unique unless a client has chosen one.
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
    /// How often it was used, as far as its policy needs to know, at most [`USES_MAX`].
    pub uses: u8,
}

/// More uses than these say no more about an item.
pub const USES_MAX: u8 = 3;

/// What came of bringing an item back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It is back.
    Stored,
    /// There is one for this key.
    Present,
    /// Its key has left since loading began.
    Departed,
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

    /// Announces that items will be [restored](Session::restore) while handles that are made from now on are used for
    /// other things.
    pub fn begin_restoring(&self) {
        // Versions that are given out begin above it.
        self.resume(UNSEEN, UNSEEN);
        let departures = Departures::new(self.account.limit());
        *self.departures.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Arc::new(departures));
    }

    /// Ends that. The memory it took comes back when every handle has settled.
    pub fn end_restoring(&self) {
        let mut departures = self.departures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(departures) = departures.take() {
            departures.end();
        }
    }

    /// A handle to restore with: what it changes is not marked.
    pub fn restorer(self: &Arc<Self>) -> Handle {
        self.handle_marking(None)
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

impl Handle {
    /// Makes the table large enough for so many items, as far as so many can fit: items that come one by one would
    /// split its buckets again and again.
    pub fn expect_items(&self, items: usize) {
        let engine = self.engine();
        let buckets = engine.table.buckets();
        let most = items.min(engine.account.limit() / ITEM_BYTES_MIN);
        while engine.grow_for(most) {}
        // From the first one on, so that every bucket finds its parent linked and has a step to go from there.
        let size = buckets.size();
        for from in (0..size).step_by(STRIDE) {
            let session = self.pin();
            let until = size.min(from + STRIDE);
            (from..until).for_each(|index| engine.table.link_in(index, &session));
        }
    }
}

impl<'h> Session<'h> {
    /// An item as it is to be saved.
    pub fn save<'s>(&self, item: &ItemRef<'s>) -> Saved<'s> {
        let exptime = match item.exptime() {
            0 => 0,
            at => self.engine().clock().to_unix(at).unsigned_abs(),
        };
        let policy = &self.engine().policy;
        Saved {
            key: item.key(),
            value: item.value(),
            flags: item.flags(),
            exptime,
            version: item.version(),
            chosen_cas: item.chosen_cas(),
            stale: item.stale(),
            token_sent: item.token_sent(),
            fetched: item.fetched(),
            key_is_binary: item.key_is_binary(),
            uses: policy.uses(item.view().policy_bits()).min(u32::from(USES_MAX)) as u8,
        }
    }

    /// Brings a saved item back under its key, unless there is one, or the key has left since.
    pub fn restore(&self, key: Key<'_>, saved: &Saved<'_>) -> Restored {
        let due = self.deadline(saved);
        if due != 0 && due <= self.now() || saved.version <= self.engine().flushed_version() {
            return Restored::Dead;
        }
        let departures = self.handle().departures.borrow();
        let mut draft = match self.draft_of(key, saved, due) {
            Ok(draft) => draft,
            Err(Refusal::TooLarge) => return Restored::TooLarge,
            Err(Refusal::OutOfMemory) => return Restored::NoRoom,
        };
        draft.set_version(if departures.is_some() { UNSEEN } else { saved.version });
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
                Ok(item) => {
                    return self.admit(item, key.hash, saved.version, departures.as_deref());
                }
                Err(back) => draft = back,
            }
        }
    }

    /// Lets an item be seen that was published unseen, unless its key has left.
    fn admit(
        &self,
        item: ItemRef<'_>,
        hash: u64,
        version: u64,
        departures: Option<&Departures>,
    ) -> Restored {
        let Some(departures) = departures else { return Restored::Stored };
        if departures.holds(hash) {
            self.unlink(item.view());
            return Restored::Departed;
        }
        // Relaxed: the number is all that is read. Whoever has taken the item for a dead one meanwhile takes it out.
        item.view().header().version.store(version, Ordering::Relaxed);
        Restored::Stored
    }

    fn deadline(&self, saved: &Saved<'_>) -> RelTime {
        match saved.exptime {
            0 => 0,
            unix => self.engine().clock().from_unix(i64::try_from(unix).unwrap_or(i64::MAX)),
        }
    }

    fn draft_of(&self, key: Key<'_>, saved: &Saved<'_>, due: RelTime) -> Result<Draft, Refusal> {
        let shape = shape_of(key, saved.value.len(), saved.flags, saved.chosen_cas, due != 0)?;
        if shape.nominal() > self.engine().options.item_size_max {
            return Err(Refusal::TooLarge);
        }
        if !self.fits(self.engine().account.real_size(shape.total()), 0) {
            return Err(Refusal::OutOfMemory);
        }
        let mut draft = self.allocate(key, &shape, due)?;
        draft.fill(saved.value);
        let policy = &self.engine().policy;
        let bits = draft.view().policy_bits();
        let bits = policy.restored(bits, u32::from(saved.uses), self.tick());
        draft.view().set_policy_bits(bits);
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

#[cfg(all(test, not(volt_loom)))]
mod tests {
    use super::super::{Invalidate, Options, PolicyKind, Removed, StoreHow, StoreMode, Stored};
    use super::*;
    use crate::clock::Clock;
    use std::sync::atomic::AtomicU64;

    fn engine(memory_limit: usize) -> Arc<Engine> {
        let options = Options { memory_limit, ..Options::default() };
        let engine = Engine::new(options, Arc::new(Clock::manual()), Arc::default());
        engine.resume(1000, 0);
        engine.begin_restoring();
        engine
    }

    fn restore(session: &Session<'_>, key: &[u8], version: u64) -> Restored {
        let saved = Saved { key, value: b"old", version, ..Saved::default() };
        session.restore(session.key(key), &saved)
    }

    fn set(session: &Session<'_>, key: &[u8], value: &[u8], exptime: RelTime) {
        let mut draft = session.draft(session.key(key), value.len(), 0, exptime).expect("memory");
        draft.fill(value);
        let stored = session.store(draft, StoreHow::plain(StoreMode::Set));
        assert!(matches!(stored, Stored::Stored(_)));
    }

    fn value(session: &Session<'_>, key: &[u8]) -> Option<Vec<u8>> {
        Some(session.peek(session.key(key)).hit()?.value().to_vec())
    }

    #[test]
    fn what_has_left_stays_away_and_what_is_there_stays() {
        let engine = engine(64 << 20);
        let (handle, restorer) = (engine.handle(), engine.restorer());
        let soon = engine.clock().now() + 5;
        {
            let session = handle.pin();
            assert!(matches!(session.delete(session.key(b"deleted"), None), Removed::NotFound));
            set(&session, b"stored and deleted", b"new", 0);
            session.delete(session.key(b"stored and deleted"), None);
            session.invalidate(session.key(b"invalidated"), Invalidate::default());
            set(&session, b"stored", b"new", 0);
            set(&session, b"expired", b"new", soon);
        }
        engine.clock().advance(6);
        let session = restorer.pin();
        let gone: [&[u8]; 4] = [b"deleted", b"stored and deleted", b"invalidated", b"expired"];
        for key in gone {
            assert_eq!(restore(&session, key, 7), Restored::Departed, "{key:?}");
            assert_eq!(value(&session, key), None, "{key:?}");
        }
        assert_eq!(restore(&session, b"stored", 7), Restored::Present);
        assert_eq!(value(&session, b"stored").expect("there"), b"new");
        assert_eq!(restore(&session, b"other", 7), Restored::Stored);
        let other = session.peek(session.key(b"other")).hit().expect("there");
        assert_eq!((other.value(), other.cas()), (&b"old"[..], 7));
        engine.flush();
        assert_eq!(restore(&session, b"flushed", 7), Restored::Dead);
        assert_eq!(value(&session, b"other"), None);
    }

    #[test]
    fn what_was_evicted_stays_away() {
        let engine = engine(1 << 20);
        let (handle, restorer) = (engine.handle(), engine.restorer());
        // As large as the others: size counts when it is chosen who goes.
        set(&handle.pin(), b"key", &[1; 100_000], 0);
        for number in 0..20_u32 {
            set(&handle.pin(), &number.to_le_bytes(), &[0; 100_000], 0);
        }
        let session = restorer.pin();
        assert_eq!(value(&session, b"key"), None, "evicted");
        set(&handle.pin(), b"makes room", b"", 0);
        session.delete(session.key(&19_u32.to_le_bytes()), None);
        assert_eq!(restore(&session, b"key", 7), Restored::Departed);
    }

    #[test]
    fn after_a_delete_nobody_sees_what_was_before_it() {
        const KEYS: u64 = 30_000;
        let engine = engine(64 << 20);
        // The restorer is this many keys ahead of the deleter, or behind it: they meet all the time.
        let at = [AtomicU64::new(0), AtomicU64::new(0)];
        let meet = |mine: usize, key: u64| {
            at[mine].store(key, Ordering::Release);
            while at[1 - mine].load(Ordering::Acquire) < key {
                std::hint::spin_loop();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let restorer = engine.restorer();
                for key in 1..=KEYS {
                    meet(0, key);
                    restore(&restorer.pin(), &key.to_le_bytes(), 7);
                }
            });
            let handle = engine.handle();
            let (mut before, mut after, mut back) = (0, 0, 0);
            for number in 1..=KEYS {
                meet(1, number);
                let session = handle.pin();
                let key = number.to_le_bytes();
                (0..number % 64).for_each(|_| std::hint::spin_loop());
                match session.delete(session.key(&key), None) {
                    Removed::Removed(_) => before += 1,
                    _ => after += 1,
                }
                for _ in 0..8 {
                    back += u64::from(value(&session, &key).is_some());
                }
            }
            println!("{before} deletes came after the item, {after} before");
            // Not before: the other thread would wait for ever.
            assert_eq!(back, 0, "so often an item was seen after its delete");
        });
    }

    #[test]
    fn what_is_restored_stands_with_its_policy_as_it_did() {
        for policy in PolicyKind::ALL {
            let options = Options { policy, ..Options::default() };
            let engine = Engine::new(options, Arc::new(Clock::manual()), Arc::default());
            let (handle, restorer) = (engine.handle(), engine.restorer());
            let session = handle.pin();
            set(&session, b"key", b"", 0);
            let save = |key: &[u8]| {
                let item = session.peek(session.key(key)).hit().expect("there");
                session.save(&item).uses
            };
            assert_eq!(save(b"key"), 0, "{policy}");
            // Another 1/40 of the memory: so long after the first a use is another one.
            for number in 0..10_u8 {
                set(&session, &[number], &vec![0; engine.options.memory_limit / 400], 0);
            }
            assert!(session.get(session.key(b"key")).hit().is_some());
            let uses = save(b"key");
            assert!(uses > 0, "{policy}");
            let saved = Saved { key: b"back", version: 7, uses, ..Saved::default() };
            let restoring = restorer.pin();
            assert_eq!(restoring.restore(restoring.key(b"back"), &saved), Restored::Stored);
            assert_eq!(save(b"back"), uses, "{policy}");
        }
    }

    #[test]
    fn an_empty_table_is_made_large_in_a_step_a_bucket() {
        let engine = engine(1 << 30);
        let begun = std::time::Instant::now();
        engine.restorer().expect_items(2_000_000);
        assert!(engine.table.buckets().size() >= 1_000_000);
        // A tenth of a second; searched for from the first bucket on, each of a million takes thousands of steps.
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_table_that_is_told_how_many_items_come_does_not_grow_under_them() {
        let engine = engine(64 << 20);
        let restorer = engine.restorer();
        restorer.expect_items(30_000);
        let size = engine.table.buckets().size();
        assert_eq!(size, 1 << 15);
        assert_eq!(engine.stats().table_bytes, engine.table.buckets().bytes() as u64);
        for key in 0..30_000_u32 {
            assert_eq!(restore(&restorer.pin(), &key.to_le_bytes(), 7), Restored::Stored);
        }
        assert!((0..30_000_u32).all(|key| value(&restorer.pin(), &key.to_le_bytes()).is_some()));
        assert_eq!(engine.table.buckets().size(), size);
        // As many as fit, and no more.
        restorer.expect_items(usize::MAX);
        assert_eq!(engine.table.buckets().size(), 1 << 19);
    }
}
