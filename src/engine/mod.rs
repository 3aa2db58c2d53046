//! The engine: the cache itself, without protocol, sockets or disk.
//!
//! An [`Engine`] is shared; each thread works through a [`Handle`] of its own and, for a bounded batch, through
//! a [`Session`] that pins the epoch. Items are read in place ([`ItemRef`]) and written as a [`Draft`] that one
//! compare-and-swap publishes. Programs that embed Volt use [`Cache`], which hides all that.
//!
//! | file | what |
//! |---|---|
//! | `item` | the bytes of an item |
//! | `memory` | where they come from, and the account of them |
//! | `arena` | spans of slots for those that are not large |
//! | `reclaim` | when they may be freed |
//! | `table` | the lock-free hash table |
//! | `compact` | moves items out of sparse spans |
//! | `evict` | which item to give up |
//! | `expire` | what has passed its time, flush, and the keeper's round |
//! | `marks`, `restore`, `departures` | what has changed, for a copy on disk, and the way back from there |
//! | `session`, `draft`, `store`, `change`, `room` | the verbs |
//! | `cache` | the face for Rust programs |

mod arena;
mod cache;
mod change;
mod compact;
mod departures;
mod draft;
pub mod evict;
mod expire;
mod item;
mod marks;
mod memory;
mod reclaim;
mod restore;
mod room;
mod session;
mod store;
mod table;

#[cfg(all(test, not(volt_loom)))]
mod tests;

pub use cache::{Cache, CacheError, Value};
pub use change::{Arith, ArithResult, Invalidate};
pub use draft::{Draft, Refusal};
pub use evict::PolicyKind;
pub use item::{EXPTIME_LEN, HEADER_LEN, LARGE_VALUE_LEN, VALUE_LEN_MAX};
pub use marks::{Lost, Marks};
pub use restore::{Restored, Saved, USES_MAX};
pub use session::{Cursor, Held, ItemRef, Key, Lookup, Session};
pub use store::{Removed, StoreHow, StoreMode, Stored};

use crate::clock::{Clock, RelTime};
use crate::stats::{Counters, Registry};
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use departures::Departures;
use evict::{Chosen, Hand, Policy};
use marks::Marker;
use memory::{Account, Purse};
use reclaim::{Bag, Epochs, Member};
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;
use table::Table;

/// Longest key, in bytes (protocol.txt, "Keys").
pub const KEY_MAX: usize = 250;

/// Items per bucket beyond which the table doubles, as long as it takes little of the memory. A lookup then reads 1.4 items
/// on average, and the table costs 8 to 16 bytes an item.
const LOAD_MAX: usize = 1;

/// The same for a table that takes more than its share. A lookup then reads 1.75 items on average, and the table costs 4 to
/// 8 bytes an item.
const FRUGAL_LOAD_MAX: usize = 2;

/// The table's share of the limit: 1/32.
const TABLE_SHARE: usize = 32;

/// How long a thread stands back from making garbage that others keep from being freed, at twice garbage's share; four times as
/// long for each further share, up to 16 times.
const STAND_BACK: Duration = Duration::from_millis(4);

/// How an engine is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes for items, table, buffers and garbage together (`-m`).
    pub memory_limit: usize,
    /// Largest item (header, key and value together), in bytes (`-I`).
    pub item_size_max: usize,
    /// `false` (`-M`): a store that finds no memory fails instead of evicting.
    pub evictions: bool,
    /// Which items to evict.
    pub policy: PolicyKind,
    /// log2 of the table's first size in buckets, 1 to 32; the table grows by itself.
    pub hash_power: u32,
    /// `false` (`-C`): clients see 0 as every cas unique.
    pub use_cas: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_limit: 64 << 20,
            item_size_max: 1 << 20,
            evictions: true,
            policy: PolicyKind::default(),
            hash_power: 12,
            use_cas: true,
        }
    }
}

/// Why an item left the cache without being asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// To make room.
    Evicted,
    /// It had passed its exptime.
    Expired,
    /// It was stored before a flush.
    Flushed,
}

/// Is told of what the engine removes by itself. Called on the data path, with an epoch pinned: be quick.
pub trait Observer: Send + Sync {
    /// `item` is about to leave.
    fn removed(&self, item: ItemRef<'_>, why: Removal);
}

/// Whether an item in the table still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vitality {
    Alive,
    Expired,
    Flushed,
}

impl Vitality {
    /// Why it is to leave, if it does not count any more.
    fn end(self) -> Option<Removal> {
        match self {
            Self::Alive => None,
            Self::Expired => Some(Removal::Expired),
            Self::Flushed => Some(Removal::Flushed),
        }
    }
}

/// Facts about an engine at one time, gathered when asked for. Sizes in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Items in the table, dead ones that nobody has met yet included.
    pub items: u64,
    /// Their bytes, by the allocator's real size.
    pub item_bytes: u64,
    /// The bucket array.
    pub table_bytes: u64,
    /// What the eviction policy keeps beside its bits in the items.
    pub policy_bytes: u64,
    /// Removed items that wait for their epoch, or for a hold on them.
    pub garbage_bytes: u64,
    /// Connection buffers, and unlinked values that a reply still holds.
    pub buffer_bytes: u64,
    /// The limit on the sum of all of these.
    pub memory_limit: u64,
    /// log2 of the table's size in buckets.
    pub hash_power: u32,
    /// Idle time of the item that was evicted last, in seconds.
    pub eviction_age: u32,
}

/// The shared cache.
pub struct Engine {
    table: Table,
    epochs: Epochs,
    account: &'static Account,
    policy: Chosen,
    options: Options,
    clock: Arc<Clock>,
    registry: Arc<Registry>,
    observer: OnceLock<Arc<dyn Observer>>,
    marks: OnceLock<Arc<Marks>>,
    /// While items are being restored beside clients. Touched when that begins or ends, and by who makes a handle.
    departures: Mutex<Option<Arc<Departures>>>,
    /// The last version given out; written by every store, Relaxed: the number itself is the message.
    versions: AtomicU64,
    /// Items of this version or an older one are flushed; read by every lookup, written by a flush.
    flushed: AtomicU64,
    /// Flushes under way. SeqCst together with `versions`, see `Session::supersede`.
    flushing: AtomicUsize,
    /// When to flush next, 0 for never.
    flush_at: AtomicU32,
    /// No item is due before this time: the keeper need not look earlier.
    next_due: AtomicU32,
    /// Items in the table but for the handles' unposted differences.
    items: AtomicUsize,
    eviction_age: AtomicU32,
    /// Where the keeper's round over the buckets stands.
    round: AtomicUsize,
}

impl Engine {
    /// An empty engine that tells time by `clock` and counts in `registry`.
    pub fn new(options: Options, clock: Arc<Clock>, registry: Arc<Registry>) -> Arc<Self> {
        let turn = memory::ticks_per_turn(options.memory_limit);
        let policy = Chosen::new(options.policy, turn);
        Self::with(options, policy, clock, registry)
    }

    /// The same with a policy of the program's own, whatever `options.policy` says.
    pub fn with_policy(
        options: Options,
        policy: Arc<dyn Policy>,
        clock: Arc<Clock>,
        registry: Arc<Registry>,
    ) -> Arc<Self> {
        Self::with(options, Chosen::Own(policy), clock, registry)
    }

    fn with(
        options: Options,
        policy: Chosen,
        clock: Arc<Clock>,
        registry: Arc<Registry>,
    ) -> Arc<Self> {
        let table = Table::new(options.hash_power.clamp(1, 32), entropy());
        memory::set_up();
        let account = Account::leak(options.memory_limit);
        account.charge_table(table.buckets().bytes());
        let engine = Self {
            table,
            epochs: Epochs::new(),
            account,
            policy,
            options,
            clock,
            registry,
            observer: OnceLock::new(),
            marks: OnceLock::new(),
            departures: Mutex::default(),
            versions: AtomicU64::new(1),
            flushed: AtomicU64::new(0),
            flushing: AtomicUsize::new(0),
            flush_at: AtomicU32::new(0),
            next_due: AtomicU32::new(RelTime::MAX),
            items: AtomicUsize::new(0),
            eviction_age: AtomicU32::new(0),
            round: AtomicUsize::new(0),
        };
        engine.fit_policy();
        Arc::new(engine)
    }

    /// Installs the observer. Only the first one counts; install it before serving.
    pub fn set_observer(&self, observer: Arc<dyn Observer>) {
        let _ = self.observer.set(observer);
    }

    /// Has every handle that is made from now on mark the keys that it changes.
    pub fn mark_changes(&self) -> Arc<Marks> {
        Arc::clone(self.marks.get_or_init(Arc::default))
    }

    /// A way into the engine for the calling thread.
    pub fn handle(self: &Arc<Self>) -> Handle {
        self.handle_marking(self.marks.get().cloned())
    }

    fn handle_marking(self: &Arc<Self>, marks: Option<Arc<Marks>>) -> Handle {
        let departures = self.departures.lock().unwrap_or_else(PoisonError::into_inner);
        Handle {
            marker: Marker::new(marks),
            departures: RefCell::new(departures.clone()),
            counters: self.registry.register(),
            purse: Purse::new(self.account),
            bag: Bag::new(self.account),
            hand: Hand::new(entropy() as usize),
            unposted: Cell::new(0),
            owed: Cell::new(0),
            member: self.epochs.join(),
            engine: Arc::clone(self),
        }
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// How it was set up; the limit may have changed since, see [`stats`](Self::stats).
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The name of its eviction policy; `own` for one that the program has brought along.
    pub fn policy_name(&self) -> &'static str {
        match self.policy {
            Chosen::Own(_) => "own",
            _ => self.options.policy.name(),
        }
    }

    /// Largest item (header, key and value together), in bytes.
    pub fn item_size_max(&self) -> usize {
        self.options.item_size_max
    }

    /// Facts about the engine now.
    pub fn stats(&self) -> EngineStats {
        // The counters are read one after the other while they move, so differences may be negative for a moment.
        let sums = self.account.sums();
        let totals = self.registry.lifetime();
        EngineStats {
            items: totals.items_linked.saturating_sub(totals.items_unlinked),
            item_bytes: totals.bytes_linked.saturating_sub(totals.bytes_unlinked),
            table_bytes: sums.table as u64,
            policy_bytes: sums.policy as u64,
            garbage_bytes: sums.garbage as u64,
            buffer_bytes: sums.buffers as u64,
            memory_limit: self.account.limit() as u64,
            hash_power: self.table.buckets().size().ilog2(),
            eviction_age: self.eviction_age.load(Ordering::Relaxed),
        }
    }

    /// Changes the memory limit, in bytes; what is too much is evicted by the next stores and by the keeper.
    pub fn set_memory_limit(&self, bytes: usize) {
        self.account.set_limit(bytes);
    }

    /// Counts bytes of buffers outside the engine (connections) against the limit.
    pub fn charge_buffers(&self, delta: isize) {
        self.account.charge_buffers(delta);
    }

    /// Lets the policy's own state fit the number of items, and charges what it takes; for the keeper.
    fn fit_policy(&self) {
        self.account.charge_policy(self.policy.fit(self.items_about()));
    }

    /// The item count, off by what the handles have not posted.
    fn items_about(&self) -> usize {
        let items = self.items.load(Ordering::Relaxed);
        if items > isize::MAX as usize { 0 } else { items }
    }

    /// Doubles the table if it is too small for so many items; whether it was.
    fn grow_for(&self, items: usize) -> bool {
        let buckets = self.table.buckets();
        let size = buckets.size();
        let small = buckets.bytes() * 2 <= self.account.limit() / TABLE_SHARE;
        let crowded = items > size * if small { LOAD_MAX } else { FRUGAL_LOAD_MAX };
        if crowded {
            self.account.charge_table(buckets.double(size));
        }
        crowded
    }

    /// The next version.
    #[inline]
    fn next_version(&self) -> u64 {
        // SeqCst: `Session::supersede` looks for flushes under way afterwards; else that the number is new is all
        // that matters.
        self.versions.fetch_add(1, Ordering::SeqCst) + 1
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.account.close();
        // Nobody has a handle any more, so nobody can reach an item of this engine.
        reclaim::free_all(std::mem::replace(&mut self.table, Table::new(1, 0)), self.account);
    }
}

/// One thread's way into the engine: its counters and what it has not posted yet. Neither `Send` nor `Sync`.
pub struct Handle {
    counters: Arc<Counters>,
    purse: Purse,
    bag: Bag,
    hand: Hand,
    /// Items linked minus items unlinked since the last post.
    unposted: Cell<isize>,
    /// Bytes that were stored since it last took part in compaction, while there was any to do.
    owed: Cell<usize>,
    marker: Marker,
    departures: RefCell<Option<Arc<Departures>>>,
    member: Member,
    engine: Arc<Engine>,
}

impl Handle {
    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// This thread's counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Pins the epoch. Keep it for one bounded batch, never across an await.
    ///
    /// While garbage is over its share, some thread has lost the processor amid a batch: this one offers its own before it
    /// makes more. Over twice its share it stands back for some milliseconds, since memory must stay bounded even on a
    /// machine that gives a thread no time; so much garbage comes of large values only.
    #[inline]
    pub fn pin(&self) -> Session<'_> {
        let account = self.engine.account;
        let share = account.limit() / room::GARBAGE_SHARE;
        if account.garbage() > share {
            self.give_way(share);
        }
        Session::new(self)
    }

    #[cold]
    fn give_way(&self, share: usize) {
        self.bag.seal(&self.member.pin());
        self.member.collect();
        match self.engine.account.garbage() / share.max(1) {
            0 | 1 => thread::yield_now(),
            shares => thread::sleep(STAND_BACK * 4_u32.pow(shares.min(4) as u32 - 2)),
        }
    }

    /// Posts what this handle keeps to itself and lets the epoch move on; for a thread that goes idle.
    pub fn settle(&self) {
        // Nobody borrows it between two sessions.
        self.departures.borrow_mut().take_if(|departures| departures.is_over());
        self.post_items();
        self.bag.seal(&self.member.pin());
        self.member.collect();
        self.purse.rest();
    }

    /// Posts the items that came or went, and lets the table grow: whoever posts, and however few, for a handle that
    /// settles every second may never have a grain of them.
    #[cold]
    fn post_items(&self) {
        let engine = &*self.engine;
        engine.items.fetch_add(self.unposted.take().cast_unsigned(), Ordering::Relaxed);
        engine.grow_for(engine.items_about());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.settle();
        self.engine.registry.retire(&self.counters);
    }
}

/// A random number from the system, for seeds.
fn entropy() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        // Without the system's entropy the address of a fresh box must do.
        std::ptr::from_ref(&*Box::new(0_u8)) as u64
    })
}
