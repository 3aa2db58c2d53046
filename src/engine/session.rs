//! A session: the window in which a thread may read and change items. Lookups are here; what changes the table is
//! in `store` and `change`.
#![expect(unsafe_code, reason = "hands out items under the pin that keeps them alive")]

use super::evict::{Policy, Tick};
use super::item::{Node, Touched, View};
use super::marks::Change;
use super::memory;
use super::reclaim::{self, Pin};
use super::table::{Graveyard, Spot};
use super::{Engine, Handle, Removal, Vitality};
use crate::clock::RelTime;
use crate::stats::Counters;
use crate::sync::Ordering;
use std::cell::Cell;

/// A key with its hash; [`Session::key`] makes it.
#[derive(Debug, Clone, Copy)]
pub struct Key<'k> {
    /// The key, 1 to 250 bytes.
    pub bytes: &'k [u8],
    /// Its hash in this engine.
    pub hash: u64,
}

/// The outcome of a lookup.
#[derive(Clone, Copy)]
pub enum Lookup<'s> {
    /// Here it is.
    Hit(ItemRef<'s>),
    /// There is none.
    Miss,
    /// It was there, past its exptime; it has been removed.
    Expired,
    /// It was there, flushed; it has been removed.
    Flushed,
}

impl<'s> Lookup<'s> {
    /// The item, if there is one.
    pub fn hit(self) -> Option<ItemRef<'s>> {
        match self {
            Self::Hit(item) => Some(item),
            Self::Miss | Self::Expired | Self::Flushed => None,
        }
    }
}

/// A live item, readable while its session is pinned.
#[derive(Clone, Copy)]
pub struct ItemRef<'s> {
    view: View<'s>,
    session: &'s Session<'s>,
}

impl<'s> ItemRef<'s> {
    /// The key.
    pub fn key(&self) -> &'s [u8] {
        self.view.key()
    }

    /// The value.
    pub fn value(&self) -> &'s [u8] {
        self.view.value()
    }

    /// Client flags.
    pub fn flags(&self) -> u32 {
        self.view.flags()
    }

    /// The cas unique that clients see (0 with `-C`).
    pub fn cas(&self) -> u64 {
        if self.view.no_cas() {
            return 0;
        }
        self.view.explicit_cas().unwrap_or_else(|| self.session.version(self.view))
    }

    /// The version: grows along the key's history, and is the cas unique unless a client has chosen one.
    pub fn version(&self) -> u64 {
        self.session.version(self.view)
    }

    /// The cas unique that a client has chosen (meta E).
    pub fn chosen_cas(&self) -> Option<u64> {
        self.view.explicit_cas()
    }

    /// Deadline, 0 for never.
    pub fn exptime(&self) -> RelTime {
        self.view.exptime()
    }

    /// Seconds since the last access (since it was stored, if there was none).
    pub fn idle(&self) -> u32 {
        self.view.idle(self.session.now())
    }

    /// Time of the last access.
    pub fn last_access(&self) -> RelTime {
        self.session.now().saturating_sub(self.idle())
    }

    /// Whether it was fetched since it was stored.
    pub fn fetched(&self) -> bool {
        self.view.fetched()
    }

    /// Whether it is marked stale.
    pub fn stale(&self) -> bool {
        self.view.stale()
    }

    /// Whether a client has won the right to recache it.
    pub fn token_sent(&self) -> bool {
        self.view.token_sent()
    }

    /// Whether the key was given in base64.
    pub fn key_is_binary(&self) -> bool {
        self.view.key_is_binary()
    }

    /// Bytes that the item is charged for: the allocator's real size.
    pub fn size(&self) -> usize {
        // SAFETY: the session keeps the item alive.
        unsafe { self.session.engine().account.charged(self.view.node()) }
    }

    /// Changes the deadline and nothing else (meta T): no access is counted. `false` if this copy of the item was about to be
    /// replaced, or had no room for a deadline, or has expired meanwhile: look it up again.
    pub fn set_exptime(&self, exptime: RelTime) -> bool {
        match self.view.touch(exptime, self.session.now()) {
            Touched::Done => {
                self.session.engine().note_due(exptime);
                self.session.handle.marker.note(self.key(), Change::Stored);
                true
            }
            Touched::Dead => false,
            // Without any memory left in the system the deadline stays what it was.
            Touched::Frozen | Touched::Untimed => {
                self.session.thaw(self.session.key(self.key())).is_err()
            }
        }
    }

    /// Marks the token as sent; `true` for the one caller that did it.
    pub fn win_token(&self) -> bool {
        self.view.send_token().unwrap_or_else(|| self.session.win_token_of_frozen(self.view))
    }

    /// For a large value ([`LARGE_VALUE_LEN`](super::LARGE_VALUE_LEN)): a hold that outlives the session. `None` for small
    /// ones, which are cheaper to copy.
    pub fn hold(&self) -> Option<Held> {
        // SAFETY: the session keeps the item alive.
        unsafe { self.view.node().try_hold() }
            .then(|| Held { node: self.view.node(), engine: self.session.handle.engine.account })
    }

    pub(super) fn view(&self) -> View<'s> {
        self.view
    }
}

/// A counted hold on a large value, for a reply that is written piece by piece. `Send`.
pub struct Held {
    node: Node,
    engine: &'static memory::Account,
}

// SAFETY: a hold owns a share of an immutable item; the count is atomic.
unsafe impl Send for Held {}

impl Held {
    /// The value.
    pub fn value(&self) -> &[u8] {
        // SAFETY: the hold keeps the item alive.
        unsafe { self.node.view() }.value()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: this hold is ours and released once.
        let (bytes, last) = unsafe { reclaim::release(self.node, self.engine) };
        if last {
            // The item was unlinked long ago and has counted as a buffer since.
            self.engine.hold(-bytes.cast_signed());
        }
    }
}

/// Where a scan stands; begin with the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub(super) u64);

impl Cursor {
    /// Where the `part`th of `parts` equal shares of the table begins; `None` at the end, where `part` is `parts`.
    #[must_use]
    pub fn at_share(part: u32, parts: u32) -> Option<Self> {
        // Keys are spread evenly over the list's order, which is that of reversed hashes.
        let place = (u128::from(part) << u64::BITS) / u128::from(parts);
        u64::try_from(place).ok().map(Self)
    }
}

/// A pinned epoch: the window in which items can be read and changed.
pub struct Session<'h> {
    handle: &'h Handle,
    pin: Pin,
    now: Cell<RelTime>,
}

// SAFETY: the pin lasts as long as the session, and `relax`, which pins anew, needs it borrowed exclusively.
unsafe impl Graveyard for Session<'_> {
    unsafe fn retire(&self, node: Node) {
        // SAFETY: retired items are freed later than this.
        let bytes = unsafe { self.engine().account.charged(node) };
        self.handle.counters.items_unlinked.bump();
        self.handle.counters.bytes_unlinked.add(bytes as u64);
        self.handle.count_items(-1);
        // SAFETY: by the table's contract.
        unsafe { self.handle.bag.retire(node, &self.pin, &self.handle.purse) };
    }
}

impl<'h> Session<'h> {
    #[inline]
    pub(super) fn new(handle: &'h Handle) -> Self {
        let session = Self { handle, pin: handle.member.pin(), now: Cell::new(0) };
        session.refresh();
        session
    }

    /// Reads the clocks, and flushes if it is time.
    #[inline]
    fn refresh(&self) {
        let engine = &*self.handle.engine;
        self.now.set(engine.clock.now());
        self.handle.purse.look();
        let due = engine.flush_at.load(Ordering::Relaxed);
        if due != 0 && due <= self.now.get() {
            engine.run_due_flush(due);
        }
    }

    /// Between two requests of a batch: takes the clocks anew and, if much has been removed, lets the epoch move on.
    #[inline]
    pub fn relax(&mut self) {
        if self.handle.bag.take_sealed() {
            self.pin.repin();
            self.pin.nudge();
        }
        self.refresh();
    }

    pub(super) fn engine(&self) -> &'h Engine {
        &self.handle.engine
    }

    pub(super) fn handle(&self) -> &'h Handle {
        self.handle
    }

    pub(super) fn pin(&self) -> &Pin {
        &self.pin
    }

    /// This thread's counters.
    pub fn counters(&self) -> &'h Counters {
        &self.handle.counters
    }

    /// Now, as this batch sees it.
    #[inline]
    pub fn now(&self) -> RelTime {
        self.now.get()
    }

    #[inline]
    pub(super) fn tick(&self) -> Tick {
        self.handle.purse.tick()
    }

    /// A key, hashed. `bytes` has 1 to 250 bytes.
    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key { bytes, hash: self.handle.engine.table.hash(bytes) }
    }

    /// Starts loading the key's bucket into the processor's cache.
    #[inline]
    pub fn prefetch(&self, key: &Key<'_>) {
        self.handle.engine.table.prefetch_bucket(key.hash);
    }

    /// Starts loading the first two items of the keys' buckets, which [`prefetch`](Self::prefetch) has asked for.
    #[inline]
    pub fn prefetch_items(&self, keys: &[Key<'_>]) {
        let table = &self.handle.engine.table;
        for key in keys {
            table.prefetch_item(key.hash);
        }
        for key in keys {
            table.prefetch_next(key.hash, self);
        }
    }

    /// Looks up without leaving a trace.
    #[inline]
    pub fn peek(&self, key: Key<'_>) -> Lookup<'_> {
        let Some(view) = self.engine().table.find(key.hash, key.bytes, self) else {
            return Lookup::Miss;
        };
        match self.vitality(view) {
            Vitality::Alive => Lookup::Hit(self.item(view)),
            Vitality::Expired => {
                self.take_out(view, Removal::Expired);
                Lookup::Expired
            }
            Vitality::Flushed => {
                self.take_out(view, Removal::Flushed);
                Lookup::Flushed
            }
        }
    }

    /// Looks up and counts as an access: recency, frequency, the fetched bit.
    #[inline]
    pub fn get(&self, key: Key<'_>) -> Lookup<'_> {
        let found = self.peek(key);
        if let Lookup::Hit(item) = found {
            self.access(item);
        }
        found
    }

    /// Counts an access to an item that was peeked at.
    #[inline]
    pub fn access(&self, item: ItemRef<'_>) {
        self.note_use(item.view, true);
    }

    /// Keeps an item in use that nobody has fetched.
    pub(super) fn keep_in_use(&self, view: View<'_>) {
        self.note_use(view, false);
    }

    #[inline]
    fn note_use(&self, view: View<'_>, fetch: bool) {
        let bits = self.engine().policy.hit(view.policy_bits(), self.tick());
        view.note_use(self.now(), bits, fetch);
    }

    /// Visits live items in table order from `cursor`, about `max` of them at most; the cursor to go on from, or `None` at
    /// the end. An item that stays for the whole scan is visited exactly once.
    pub fn scan(
        &self,
        cursor: Cursor,
        max: usize,
        visit: &mut dyn FnMut(ItemRef<'_>),
    ) -> Option<Cursor> {
        let mut left = max;
        let end = self.engine().table.walk(cursor.0, self, |view| {
            if self.vitality(view) == Vitality::Alive {
                visit(self.item(view));
            }
            left = left.saturating_sub(1);
            left > 0
        });
        end.map(Cursor)
    }

    pub(super) fn item<'s>(&'s self, view: View<'s>) -> ItemRef<'s> {
        ItemRef { view, session: self }
    }

    /// The item's version, given out now if it has none yet.
    ///
    /// Versions are given out after publication (or, to what takes the place of another item, after that one had its
    /// own) and before removal, so along a key's history they grow strictly.
    #[inline]
    pub(super) fn version(&self, view: View<'_>) -> u64 {
        let version = &view.header().version;
        // Relaxed: the number is all that is read.
        match version.load(Ordering::Relaxed) {
            0 => {
                let fresh = self.engine().next_version();
                match version.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => fresh,
                    Err(given) => given,
                }
            }
            given => given,
        }
    }

    /// Whether an item in the table still counts.
    #[inline]
    pub(super) fn vitality(&self, view: View<'_>) -> Vitality {
        let exptime = view.exptime();
        if exptime != 0 && exptime <= self.now() {
            return Vitality::Expired;
        }
        // Relaxed: a lookup that overlaps a flush may be before or after it.
        if self.version(view) <= self.engine().flushed.load(Ordering::Relaxed) {
            return Vitality::Flushed;
        }
        Vitality::Alive
    }

    /// The live item at a spot. A dead one is taken out, so the spot is none any more, and counts as asked for in vain:
    /// in memcached every command that looks for an item counts so, not only get.
    pub(super) fn live<'s>(&self, spot: &Spot<'s>) -> Option<View<'s>> {
        let view = spot.item()?;
        let (why, counter) = match self.vitality(view) {
            Vitality::Alive => return Some(view),
            Vitality::Expired => (Removal::Expired, &self.counters().get_expired),
            Vitality::Flushed => (Removal::Flushed, &self.counters().get_flushed),
        };
        if self.take_out(view, why) {
            counter.bump();
        }
        None
    }

    /// Removes this very item if it is still in the table.
    pub(super) fn take_out(&self, view: View<'_>, why: Removal) -> bool {
        let removed = self.unlink(view);
        if removed {
            self.count_removal(self.item(view), why);
        }
        removed
    }

    /// The same for an item whose spot is known: without looking for it, unless the spot has changed.
    pub(super) fn take_out_at(&self, spot: &Spot<'_>, why: Removal) -> bool {
        let Some(view) = spot.item() else { return false };
        // A departure is noted by the hash, which is not known here.
        let at_once = self.handle.departures.borrow().is_none() && {
            self.version(view);
            self.engine().table.remove(spot, self)
        };
        if at_once {
            self.count_removal(self.item(view), why);
        }
        at_once || self.take_out(view, why)
    }

    /// Removes this very item without a trace in the counters.
    pub(super) fn unlink(&self, view: View<'_>) -> bool {
        let table = &self.engine().table;
        let hash = table.hash(view.key());
        self.departs(hash);
        loop {
            let spot = table.search(hash, view.key(), self);
            let Some(found) = spot.item().filter(|found| found.node() == view.node()) else {
                return false;
            };
            self.version(found);
            if table.remove(&spot, self) {
                return true;
            }
        }
    }

    /// To be said before the item of a key is looked for to be removed: an older one must not come
    /// [back](super::departures) then.
    #[inline]
    pub(super) fn departs(&self, hash: u64) {
        if let Some(departures) = &*self.handle.departures.borrow() {
            departures.note(hash);
        }
    }

    /// Counts what left by itself and tells the observer.
    pub(super) fn count_removal(&self, item: ItemRef<'_>, why: Removal) {
        let counters = self.counters();
        match why {
            Removal::Evicted => {
                counters.evictions.bump();
                counters.evicted_nonzero.add(u64::from(item.exptime() != 0));
                counters.evicted_unfetched.add(u64::from(!item.fetched()));
                counters.count_evicted_age(item.idle());
                self.engine().eviction_age.store(item.idle(), Ordering::Relaxed);
            }
            Removal::Expired => {
                counters.reclaimed.bump();
                counters.expired_unfetched.add(u64::from(!item.fetched()));
            }
            Removal::Flushed => {
                counters.reclaimed.bump();
                counters.reclaimed_flushed.bump();
            }
        }
        if let Some(observer) = self.engine().observer.get() {
            observer.removed(item, why);
        }
    }
}

/// Items that a handle counts for itself before it posts them.
const ITEMS_GRAIN: usize = 64;

impl Handle {
    /// Counts items that came or went, and posts now and then.
    #[inline]
    pub(super) fn count_items(&self, delta: isize) {
        let unposted = self.unposted.get() + delta;
        self.unposted.set(unposted);
        if unposted.unsigned_abs() >= ITEMS_GRAIN {
            self.post_items();
        }
    }
}
