//! SKELETON: signatures that the other modules build against; bodies arrive with the engine.
#![allow(missing_docs, clippy::all, unused, unsafe_code, reason = "skeleton")]

use crate::clock::{Clock, RelTime};
use crate::stats::{Counters, Registry};
use std::marker::PhantomData;
use std::sync::Arc;

/// Longest key, in bytes (protocol.txt).
pub const KEY_MAX: usize = 250;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    Lru,
    Lfu,
}

#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes for items, table, buffers and garbage together (`-m`).
    pub memory_limit: usize,
    /// Largest item (header, key and value), in bytes (`-I`).
    pub item_size_max: usize,
    /// `false`: a store that finds no memory fails (`-M`).
    pub evictions: bool,
    pub policy: PolicyKind,
    /// log2 of the table's first size in buckets.
    pub hash_power: u32,
    /// `false` with `-C`: every cas unique is 0.
    pub use_cas: bool,
}
impl Default for Options {
    fn default() -> Self {
        unimplemented!()
    }
}

/// Why something left the cache without being asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    Evicted,
    Expired,
    Flushed,
}

/// Told of what the engine removes by itself; must be quick, is called on the data path. (watch evictions)
pub trait Observer: Send + Sync {
    fn removed(&self, item: ItemRef<'_>, why: Removal);
}

/// Facts about the whole engine, gathered on demand.
#[derive(Debug, Clone, Default)]
pub struct EngineStats {
    pub items: u64,
    /// Bytes of linked items: the allocator's real sizes.
    pub item_bytes: u64,
    /// Bytes of keys and values alone of linked items.
    pub payload_bytes: u64,
    pub table_bytes: u64,
    /// Retired, waiting for their epoch.
    pub garbage_bytes: u64,
    /// Drafts not yet published, and values held for slow readers, and connection buffers.
    pub buffer_bytes: u64,
    pub memory_limit: u64,
    pub hash_power: u32,
    pub table_growing: bool,
    /// Seconds since the least recently used item was accessed, as far as known.
    pub oldest_age: u32,
}

/// The shared cache. Operations go through a per-thread [`Handle`].
pub struct Engine {
    _p: (),
}
impl Engine {
    pub fn new(options: Options, clock: Arc<Clock>, counters: Arc<Registry>) -> Arc<Self> {
        unimplemented!()
    }
    /// Install the observer (at most once, before serving).
    pub fn set_observer(&self, observer: Arc<dyn Observer>) {
        unimplemented!()
    }
    pub fn handle(self: &Arc<Self>) -> Handle {
        unimplemented!()
    }
    pub fn clock(&self) -> &Clock {
        unimplemented!()
    }
    pub fn options(&self) -> &Options {
        unimplemented!()
    }
    pub fn stats(&self) -> EngineStats {
        unimplemented!()
    }
    /// `cache_memlimit`.
    pub fn set_memory_limit(&self, bytes: usize) {
        unimplemented!()
    }
    pub fn item_size_max(&self) -> usize {
        unimplemented!()
    }
    /// Buffers outside the engine (connections) report growth and shrinkage here so that they count against the limit.
    pub fn charge_buffers(&self, delta: isize) {
        unimplemented!()
    }
    /// `flush_all`: everything stored before this call is gone.
    pub fn flush(&self) {
        unimplemented!()
    }
    /// `flush_all delay`: at relative time `when`, everything stored before then is gone.
    pub fn flush_at(&self, when: RelTime) {
        unimplemented!()
    }
}

/// One thread's way into the engine: its epoch participant and its counters. Neither Send nor Sync.
pub struct Handle {
    _p: PhantomData<*mut ()>,
}
impl Handle {
    pub fn engine(&self) -> &Arc<Engine> {
        unimplemented!()
    }
    pub fn counters(&self) -> &Counters {
        unimplemented!()
    }
    /// Pins the epoch. Keep it for one bounded batch, never across an await.
    pub fn pin(&self) -> Session<'_> {
        unimplemented!()
    }
}

/// A key with its hash. `Session::key` makes it.
#[derive(Debug, Clone, Copy)]
pub struct Key<'k> {
    pub bytes: &'k [u8],
    pub hash: u64,
}

/// The outcome of a lookup.
#[derive(Clone, Copy)]
pub enum Lookup<'s> {
    Hit(ItemRef<'s>),
    Miss,
    /// Was there, but past its exptime (now removed). Counts as a miss plus get_expired.
    Expired,
    /// Was there, but flushed. Counts as a miss plus get_flushed.
    Flushed,
}

/// A live item, readable while the session is pinned. Immutable apart from exptime, access time, fetched, token.
#[derive(Clone, Copy)]
pub struct ItemRef<'s> {
    _p: PhantomData<&'s ()>,
}
impl<'s> ItemRef<'s> {
    pub fn key(&self) -> &'s [u8] {
        unimplemented!()
    }
    pub fn value(&self) -> &'s [u8] {
        unimplemented!()
    }
    /// Client flags.
    pub fn flags(&self) -> u32 {
        unimplemented!()
    }
    /// The cas unique a client sees (0 with `-C`).
    pub fn cas(&self) -> u64 {
        unimplemented!()
    }
    /// Relative deadline, 0 for never.
    pub fn exptime(&self) -> RelTime {
        unimplemented!()
    }
    /// Relative time of the last access.
    pub fn last_access(&self) -> RelTime {
        unimplemented!()
    }
    /// Whether it was fetched since it was stored.
    pub fn fetched(&self) -> bool {
        unimplemented!()
    }
    /// Marked stale by `md I` (or `ms I` with a lower cas).
    pub fn stale(&self) -> bool {
        unimplemented!()
    }
    /// Whether some client has won the right to recache it.
    pub fn token_sent(&self) -> bool {
        unimplemented!()
    }
    /// Stored with a base64 key (meta flag b): listings encode it again.
    pub fn key_is_binary(&self) -> bool {
        unimplemented!()
    }
    /// Bytes this item is charged for: the allocator's real size.
    pub fn size(&self) -> usize {
        unimplemented!()
    }
    /// Marks the token as sent; `true` for the one caller that did it.
    pub fn win_token(&self) -> bool {
        unimplemented!()
    }
    /// Changes the deadline and nothing else (meta T). `false` if the item was about to be replaced: look it up again.
    pub fn set_exptime(&self, exptime: RelTime) -> bool { unimplemented!() }
    /// For large values: a counted hold on the item that outlives the session (Send); `None` for small ones,
    /// which are to be copied.
    pub fn hold(&self) -> Option<Held> {
        unimplemented!()
    }
}

/// A counted hold on a large item's value, for a reply that is written piece by piece.
pub struct Held {
    _p: (),
}
impl Held {
    pub fn value(&self) -> &[u8] {
        unimplemented!()
    }
}
unsafe impl Send for Held {}

/// An unpublished item: key, flags, exptime set; the value is for the owner to fill. Send; may live across awaits.
pub struct Draft {
    _p: (),
}
impl Draft {
    pub fn key(&self) -> &[u8] {
        unimplemented!()
    }
    pub fn value(&self) -> &[u8] {
        unimplemented!()
    }
    /// The value's bytes, zeroed or not: they are initialised memory.
    pub fn value_mut(&mut self) -> &mut [u8] {
        unimplemented!()
    }
    pub fn exptime(&self) -> RelTime {
        unimplemented!()
    }
    /// Meta E: the cas unique that the stored item will show.
    pub fn set_cas(&mut self, cas: u64) {
        unimplemented!()
    }
    pub fn set_stale(&mut self) {
        unimplemented!()
    }
    pub fn set_token_sent(&mut self) {
        unimplemented!()
    }
    pub fn set_key_is_binary(&mut self) {
        unimplemented!()
    }
}
unsafe impl Send for Draft {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    TooLarge,
    OutOfMemory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreMode {
    Set,
    Add,
    Replace,
    /// `vivify`: store the data as a new item when there is none.
    Append {
        vivify: bool,
    },
    Prepend {
        vivify: bool,
    },
}

/// What a store asks for beyond its data.
#[derive(Debug, Clone, Copy)]
pub struct StoreHow {
    pub mode: StoreMode,
    /// Store only if the item's cas unique is this (classic cas, meta C).
    pub compare: Option<u64>,
    /// Meta I: with `compare` below the item's cas, store all the same, as stale, keeping the TTL and token.
    pub invalidate: bool,
}

pub enum Stored<'s> {
    Stored(ItemRef<'s>),
    NotStored,
    /// cas mismatch.
    Exists,
    /// cas on a missing key.
    NotFound,
    TooLarge,
    OutOfMemory,
}

#[derive(Debug, Clone, Copy)]
pub struct Arith {
    pub incr: bool,
    pub delta: u64,
    pub compare: Option<u64>,
    /// Meta E.
    pub set_cas: Option<u64>,
    /// Meta T: the new deadline (already relative).
    pub exptime: Option<RelTime>,
}
pub enum ArithResult<'s> {
    Done { value: u64, item: ItemRef<'s> },
    NotFound,
    NonNumeric,
    Exists,
    OutOfMemory,
}

pub enum Removed<'s> {
    Removed(ItemRef<'s>),
    NotFound,
    Exists,
}

/// Meta md with I and/or x: what to do to the item in place of removing it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Invalidate {
    pub compare: Option<u64>,
    pub set_cas: Option<u64>,
    /// I: mark stale and forget the token.
    pub stale: bool,
    /// T: new deadline.
    pub exptime: Option<RelTime>,
    /// x: drop the value (and client flags).
    pub clear_value: bool,
}

/// Where a scan stands; start with `Cursor::default()`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor(pub u64);

/// A pinned epoch: the window in which items can be read and changed.
pub struct Session<'h> {
    _p: PhantomData<&'h ()>,
}
impl<'h> Session<'h> {
    pub fn counters(&self) -> &Counters {
        unimplemented!()
    }
    pub fn now(&self) -> RelTime {
        unimplemented!()
    }
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        unimplemented!()
    }
    /// Starts loading the key's bucket into the cache.
    pub fn prefetch(&self, key: &Key<'_>) {}
    /// Starts loading the first item of the key's bucket; call some time after `prefetch`.
    pub fn prefetch_item(&self, key: &Key<'_>) {}
    /// Looks up without counting as an access: nothing is written.
    pub fn peek(&self, key: Key<'_>) -> Lookup<'_> {
        unimplemented!()
    }
    /// Looks up and counts as an access (recency, frequency, fetched). Bumps no `stats` counters: the command layer does.
    pub fn get(&self, key: Key<'_>) -> Lookup<'_> {
        unimplemented!()
    }
    /// Counts an access on an item that was peeked.
    pub fn access(&self, item: ItemRef<'_>) {
        unimplemented!()
    }
    /// Changes the deadline and counts as an access (touch, gat).
    pub fn touch(&self, key: Key<'_>, exptime: RelTime) -> Lookup<'_> {
        unimplemented!()
    }
    /// Memory for a new item; evicts as needed. On TooLarge/OutOfMemory the caller removes the old value as memcached does (`unlink`).
    pub fn draft(
        &self,
        key: Key<'_>,
        value_len: usize,
        flags: u32,
        exptime: RelTime,
    ) -> Result<Draft, Refusal> {
        unimplemented!()
    }
    pub fn store(&self, draft: Draft, how: StoreHow) -> Stored<'_> {
        unimplemented!()
    }
    pub fn arith(&self, key: Key<'_>, arith: Arith) -> ArithResult<'_> {
        unimplemented!()
    }
    pub fn delete(&self, key: Key<'_>, compare: Option<u64>) -> Removed<'_> {
        unimplemented!()
    }
    pub fn invalidate(&self, key: Key<'_>, how: Invalidate) -> Stored<'_> {
        unimplemented!()
    }
    /// Visits live items in table order from `cursor`, at most about `max` of them; the next cursor, or None at the end.
    /// Each item that stays for the whole scan is visited exactly once. Also visits expired/flushed? No: live only.
    pub fn scan(
        &self,
        cursor: Cursor,
        max: usize,
        visit: &mut dyn FnMut(ItemRef<'_>),
    ) -> Option<Cursor> {
        unimplemented!()
    }
}
