//! The face for Rust programs: a cache to clone, share between threads and call.
//!
//! Each thread gets its handle behind the scenes, and keeps it until it ends or uses another cache for the first
//! time; a cache that is dropped meanwhile gives its items back at once. Each call pins for itself and copies what it
//! returns. A program that wants to read in place, or in batches under one pin, takes [`Cache::engine`] and works with
//! handles and sessions.

use super::draft::Refusal;
use super::evict::Policy;
use super::session::{Key, Lookup};
use super::store::{Removed, StoreHow, StoreMode, Stored};
use super::{Arith, ArithResult, Engine, EngineStats, Handle, ItemRef, KEY_MAX, Options, Session};
use crate::clock::{Clock, RelTime};
use crate::stats::Registry;
use crate::sync::{AtomicUsize, Ordering};
use std::cell::RefCell;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How often the keeper thread ticks the clock and makes its round.
const KEEPER_PERIOD: Duration = Duration::from_millis(100);

/// Why an operation was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// Keys have 1 to 250 bytes.
    #[error("a key has 1 to {KEY_MAX} bytes")]
    BadKey,
    /// The item would exceed [`Options::item_size_max`].
    #[error("the item is larger than the cache admits")]
    TooLarge,
    /// There is no memory and evictions are off, or nothing is left to evict.
    #[error("out of memory")]
    OutOfMemory,
    /// incr and decr work on decimal numbers below 2^64 alone.
    #[error("the value is not a number")]
    NotANumber,
    /// The system gives no thread to keep time.
    #[error("the thread that keeps the cache's time could not be started")]
    NoKeeper,
}

impl From<Refusal> for CacheError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLarge => Self::TooLarge,
            Refusal::OutOfMemory => Self::OutOfMemory,
        }
    }
}

/// A value with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The bytes.
    pub data: Vec<u8>,
    /// The flags it was stored with; Volt does not interpret them.
    pub flags: u32,
    /// Changes with every change of the value; for [`Cache::compare_and_swap`].
    pub cas: u64,
    /// Time left to live; `None`: no end.
    pub ttl: Option<Duration>,
}

/// A cache. Cloning is cheap and gives another handle on the same cache.
///
/// ```
/// use std::time::Duration;
/// use volt::engine::Cache;
///
/// let cache = Cache::with_memory_limit(16 << 20)?;
/// cache.set(b"greeting", b"hello", Some(Duration::from_secs(60)))?;
/// assert_eq!(cache.get(b"greeting").as_deref(), Some(&b"hello"[..]));
/// assert!(cache.delete(b"greeting"));
/// # Ok::<(), volt::engine::CacheError>(())
/// ```
#[derive(Clone)]
pub struct Cache(Arc<Core>);

struct Core {
    engine: Arc<Engine>,
    registry: Arc<Registry>,
    /// Threads that have a handle.
    guests: Arc<AtomicUsize>,
    keeper: Option<(Sender<()>, JoinHandle<()>)>,
}

thread_local! {
    /// This thread's handles, one for each cache it has used. An entry whose cache is gone goes with the next new one.
    static HANDLES: RefCell<Vec<Guest>> = const { RefCell::new(Vec::new()) };
}

/// One thread's handle of one cache.
struct Guest {
    core: Weak<Core>,
    guests: Arc<AtomicUsize>,
    handle: Handle,
}

impl Guest {
    fn new(core: &Arc<Core>) -> Self {
        // Relaxed here and below: who drops the cache has synchronized with all who used it.
        core.guests.fetch_add(1, Ordering::Relaxed);
        let (guests, handle) = (Arc::clone(&core.guests), core.engine.handle());
        Self { core: Arc::downgrade(core), guests, handle }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Before the handle lets go of the engine: in between there seems to be somebody else who has it.
        self.guests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Cache {
    /// A cache with these options and a thread of its own that keeps time and removes what has expired.
    ///
    /// # Errors
    /// [`CacheError::NoKeeper`] when the thread cannot be started.
    pub fn new(options: Options) -> Result<Self, CacheError> {
        Self::kept_by(Builder::new(), Core::new(options, Arc::new(Clock::system())))
    }

    /// The same with an eviction policy of the program's own; `options.policy` does not matter.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_policy(options: Options, policy: Arc<dyn Policy>) -> Result<Self, CacheError> {
        let registry = Arc::new(Registry::default());
        let clock = Arc::new(Clock::system());
        let engine = Engine::with_policy(options, policy, clock, Arc::clone(&registry));
        Self::kept_by(Builder::new(), Core::of(engine, registry))
    }

    fn kept_by(keeper: Builder, mut core: Core) -> Result<Self, CacheError> {
        let (stop, stopped) = channel();
        let engine = Arc::clone(&core.engine);
        let thread = keeper.name("volt-keeper".into()).spawn(move || {
            let handle = engine.handle();
            while stopped.recv_timeout(KEEPER_PERIOD) == Err(RecvTimeoutError::Timeout) {
                engine.clock().tick();
                engine.maintain(&handle);
            }
        });
        core.keeper = Some((stop, thread.map_err(|_| CacheError::NoKeeper)?));
        Ok(Self(Arc::new(core)))
    }

    /// A cache of this many bytes, with defaults for the rest.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_memory_limit(bytes: usize) -> Result<Self, CacheError> {
        Self::new(Options { memory_limit: bytes, ..Options::default() })
    }

    /// A cache that tells time by `clock` and keeps no thread: time passes when the clock is moved. For tests.
    #[must_use]
    pub fn with_clock(options: Options, clock: Arc<Clock>) -> Self {
        Self(Arc::new(Core::new(options, clock)))
    }

    /// The engine, for work in place and in batches. Whoever keeps it beyond the cache keeps the items.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.0.engine
    }

    /// Facts about the cache now.
    pub fn stats(&self) -> EngineStats {
        self.0.engine.stats()
    }

    /// The counters of all threads.
    pub fn counters(&self) -> &Registry {
        &self.0.registry
    }

    fn with<R>(&self, work: impl FnOnce(&Session<'_>) -> R) -> R {
        HANDLES.with(|handles| {
            let mine = |guest: &&Guest| guest.core.as_ptr() == Arc::as_ptr(&self.0);
            let mut guests = handles.borrow();
            if !guests.iter().any(|guest| mine(&guest)) {
                drop(guests);
                self.enter(handles);
                guests = handles.borrow();
            }
            let guest = guests.iter().find(mine).expect("there, or just added");
            work(&guest.handle.pin())
        })
    }

    /// Gives this thread a handle.
    #[cold]
    fn enter(&self, handles: &RefCell<Vec<Guest>>) {
        let mut handles = handles.borrow_mut();
        handles.retain(|guest| guest.core.strong_count() > 0);
        handles.push(Guest::new(&self.0));
    }

    fn keyed<R>(
        &self,
        key: &[u8],
        work: impl FnOnce(&Session<'_>, Key<'_>) -> R,
    ) -> Result<R, CacheError> {
        if key.is_empty() || key.len() > KEY_MAX {
            return Err(CacheError::BadKey);
        }
        let table = &self.0.engine.table;
        let key = Key { bytes: key, hash: table.hash(key) };
        // Before the pin, whose fence no later read passes: so the bucket comes meanwhile.
        table.prefetch_bucket(key.hash);
        Ok(self.with(|session| work(session, key)))
    }

    /// A copy of the key's value.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.read(key, |item| item.value().to_vec())
    }

    /// A copy of the key's value with its flags, cas unique and time left.
    pub fn get_value(&self, key: &[u8]) -> Option<Value> {
        let now = self.0.engine.clock().now();
        self.read(key, |item| Value {
            data: item.value().to_vec(),
            flags: item.flags(),
            cas: item.cas(),
            ttl: (item.exptime() != 0)
                .then(|| Duration::from_secs(u64::from(item.exptime().saturating_sub(now)))),
        })
    }

    /// Reads the key's item in place. `read` runs with an epoch pinned: be brief, and use no other
    /// cache for the first time in it.
    pub fn read<R>(&self, key: &[u8], read: impl FnOnce(ItemRef<'_>) -> R) -> Option<R> {
        self.keyed(key, |session, key| match session.get(key) {
            Lookup::Hit(item) => {
                session.counters().get_hits.bump();
                Some(read(item))
            }
            Lookup::Miss | Lookup::Expired | Lookup::Flushed => {
                session.counters().get_misses.bump();
                None
            }
        })
        .ok()
        .flatten()
    }

    /// Whether there is a value, without counting as a use of it.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.keyed(key, |session, key| session.peek(key).hit().is_some()).unwrap_or(false)
    }

    /// Stores a value; `ttl`: `None` for no end, whole seconds, rounded up.
    ///
    /// # Errors
    /// A bad key, a value too large, no memory.
    pub fn set(&self, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<(), CacheError> {
        self.store(key, value, ttl, StoreHow::plain(StoreMode::Set)).map(|_| ())
    }

    /// Stores a value if the key has none; whether it did.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    pub fn add(&self, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<bool, CacheError> {
        self.store(key, value, ttl, StoreHow::plain(StoreMode::Add))
    }

    /// Stores a value if the key has one; whether it did.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    pub fn replace(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool, CacheError> {
        self.store(key, value, ttl, StoreHow::plain(StoreMode::Replace))
    }

    /// Appends to a value if there is one; whether it did.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    pub fn append(&self, key: &[u8], value: &[u8]) -> Result<bool, CacheError> {
        self.store(key, value, None, StoreHow::plain(StoreMode::Append { vivify: false }))
    }

    /// Stores a value if the present one has this cas unique; whether it did.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    pub fn compare_and_swap(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
        cas: u64,
    ) -> Result<bool, CacheError> {
        let how = StoreHow { compare: Some(cas), ..StoreHow::plain(StoreMode::Set) };
        self.store(key, value, ttl, how)
    }

    fn store(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
        how: StoreHow,
    ) -> Result<bool, CacheError> {
        let exptime = self.deadline(ttl);
        self.keyed(key, |session, key| {
            let mut draft = session.draft(key, value.len(), 0, exptime)?;
            draft.fill(value);
            session.counters().cmd_set.bump();
            match session.store(draft, how) {
                Stored::Stored(_) => Ok(true),
                Stored::NotStored | Stored::Exists | Stored::NotFound => Ok(false),
                Stored::TooLarge => Err(CacheError::TooLarge),
                Stored::OutOfMemory => Err(CacheError::OutOfMemory),
            }
        })?
    }

    /// Adds to a decimal number (wraps at 2^64); the number now, or `None` if there is no value.
    ///
    /// # Errors
    /// A bad key, a value that is no number, no memory.
    pub fn incr(&self, key: &[u8], delta: u64) -> Result<Option<u64>, CacheError> {
        self.arith(key, true, delta)
    }

    /// Subtracts from a decimal number (stops at 0); the number now, or `None` if there is no value.
    ///
    /// # Errors
    /// As for [`incr`](Self::incr).
    pub fn decr(&self, key: &[u8], delta: u64) -> Result<Option<u64>, CacheError> {
        self.arith(key, false, delta)
    }

    fn arith(&self, key: &[u8], incr: bool, delta: u64) -> Result<Option<u64>, CacheError> {
        let arith = Arith { incr, delta, compare: None, set_cas: None, exptime: None };
        self.keyed(key, |session, key| match session.arith(key, arith) {
            ArithResult::Done { value, .. } => Ok(Some(value)),
            ArithResult::NotFound | ArithResult::Exists => Ok(None),
            ArithResult::NonNumeric => Err(CacheError::NotANumber),
            ArithResult::OutOfMemory => Err(CacheError::OutOfMemory),
        })?
    }

    /// Gives a value another time to live; whether there was one.
    pub fn touch(&self, key: &[u8], ttl: Option<Duration>) -> bool {
        let exptime = self.deadline(ttl);
        self.keyed(key, |session, key| session.touch(key, exptime).hit().is_some()).unwrap_or(false)
    }

    /// Deletes a value; whether there was one.
    pub fn delete(&self, key: &[u8]) -> bool {
        self.keyed(key, |session, key| matches!(session.delete(key, None), Removed::Removed(_)))
            .unwrap_or(false)
    }

    /// Deletes everything stored before this call.
    pub fn flush(&self) {
        self.0.engine.flush();
    }

    fn deadline(&self, ttl: Option<Duration>) -> RelTime {
        let Some(ttl) = ttl else { return 0 };
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let now = self.0.engine.clock().now();
        now.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

impl Core {
    fn new(options: Options, clock: Arc<Clock>) -> Self {
        let registry = Arc::new(Registry::default());
        let engine = Engine::new(options, clock, Arc::clone(&registry));
        Self::of(engine, registry)
    }

    fn of(engine: Arc<Engine>, registry: Arc<Registry>) -> Self {
        Self { engine, registry, guests: Arc::default(), keeper: None }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.keeper.take() {
            drop(stop);
            // A panic of the keeper has been reported by the panic hook; there is nobody to tell here.
            let _ = thread.join();
        }
        // This thread's own handle; not while one is in use further up, nor when the thread is ending.
        let _ = HANDLES.try_with(|handles| {
            if let Ok(mut handles) = handles.try_borrow_mut() {
                handles.retain(|guest| guest.core.strong_count() > 0);
            }
        });
        // The handles of other threads keep the engine; nobody can reach its items, unless somebody else has it.
        let guests = self.guests.load(Ordering::Relaxed);
        if guests > 0 && Arc::strong_count(&self.engine) <= 1 + guests {
            self.engine.empty();
        }
    }
}

#[cfg(test)]
mod tests;
