//! The keys that are asked for most (`stats hotkeys on`): a bounded sketch a worker, merged when somebody looks.
//!
//! The sketch is Space-Saving (Metwally, Agrawal and El Abbadi, 2005): so many keys with a count each; a key that is
//! not among them takes the place of the one with the smallest count, and inherits that count as its error. A key
//! with more than its share of all accesses is never missed, and no count is too small by more than the error shows.
//! One access in [`SAMPLE`] is looked at, at random, and counts are halved now and then, so that yesterday's hot keys
//! make room for today's.
//!
//! Off, it costs a command one relaxed load and no memory. On, each worker counts in a sketch of its own, whose mutex is
//! contended only while somebody looks at it, and whose memory is charged to the engine's limit.

use crate::command::Output;
use crate::engine::Engine;
use crate::protocol::Request;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keys that one worker follows. A key of more than a 128th of a worker's accesses is found for certain.
const PLACES: usize = 128;

/// One access in so many is counted; a power of two.
const SAMPLE: u32 = 8;

/// Counted accesses of a worker after which all counts are halved: at 100,000 requests a second every five seconds
/// or so.
const HALVE_AFTER: u64 = 1 << 16;

/// Bytes of a place beside its key: the place, its hash, and what the allocator rounds a key up by.
const PLACE_BYTES: usize = size_of::<Place>() + size_of::<u64>() + 16;

/// Keys that `stats hotkeys` shows.
const SHOWN: usize = 20;

/// A key with its share of the accesses.
#[derive(Debug, Clone, PartialEq)]
pub struct HotKey {
    /// The key.
    pub key: Box<[u8]>,
    /// Accesses, estimated from the sample.
    pub accesses: u64,
    /// By how much the estimate may be too large.
    pub error: u64,
    /// Its share of all accesses, 0 to 1.
    pub share: f64,
}

/// What all workers share.
struct Shared {
    enabled: AtomicBool,
    hasher: RandomState,
    /// Charged for the sketches.
    engine: Arc<Engine>,
}

/// The sketches of all workers.
pub struct HotKeys {
    shared: Arc<Shared>,
    sketches: Mutex<Vec<Arc<Mutex<Sketch>>>>,
}

impl HotKeys {
    /// Nothing counted yet; `engine` is charged for the memory.
    #[must_use]
    pub fn new(enabled: bool, engine: Arc<Engine>) -> Self {
        let shared =
            Shared { enabled: AtomicBool::new(enabled), hasher: RandomState::new(), engine };
        Self { shared: Arc::new(shared), sketches: Mutex::default() }
    }

    /// Whether accesses are counted.
    pub fn enabled(&self) -> bool {
        self.shared.enabled.load(Ordering::Relaxed)
    }

    /// `stats hotkeys on` and `off`. Turning it on starts from nothing, turning it off gives the memory back.
    pub fn enable(&self, on: bool) {
        self.shared.enabled.store(on, Ordering::Relaxed);
        for sketch in lock(&self.sketches).iter() {
            // Under the lock that counting needs, too: whoever counts after this finds that it is off.
            let mut sketch = lock(sketch);
            self.shared.engine.charge_buffers(-sketch.charged.cast_signed());
            *sketch = Sketch::default();
        }
    }

    /// A worker's side of it.
    pub fn recorder(&self) -> Recorder {
        let sketch = Arc::<Mutex<Sketch>>::default();
        lock(&self.sketches).push(Arc::clone(&sketch));
        Recorder {
            shared: Arc::clone(&self.shared),
            sketch,
            // Any odd number will do: it only has to hit no rhythm of the clients.
            random: Cell::new(0x9e37_79b9),
        }
    }

    /// The keys that are asked for most, the hottest first, at most so many.
    pub fn top(&self, most: usize) -> Vec<HotKey> {
        let mut sums = HashMap::<Box<[u8]>, (u64, u64)>::new();
        let mut total = 0;
        for sketch in lock(&self.sketches).iter() {
            let sketch = lock(sketch);
            total += sketch.total;
            for place in &sketch.places {
                let sum = sums.entry(place.key.clone()).or_default();
                sum.0 += place.count;
                sum.1 += place.error;
            }
        }
        let mut keys: Vec<_> = sums
            .into_iter()
            // What is nothing but error may as well be cold.
            .filter(|(_, (count, error))| count > error)
            .map(|(key, (count, error))| HotKey {
                key,
                accesses: count * u64::from(SAMPLE),
                error: error * u64::from(SAMPLE),
                share: (count - error) as f64 / total.max(1) as f64,
            })
            .collect();
        keys.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.key.cmp(&b.key)));
        keys.truncate(most);
        keys
    }

    /// `stats hotkeys`: a line a key, the hottest first.
    pub fn dump(&self, output: &mut Output) {
        for HotKey { key, accesses, error, share } in self.top(SHOWN) {
            let key = percent_encoded(&key);
            // Writing to the output cannot fail.
            let _ =
                write!(output, "KEY {key} accesses {accesses} error {error} share {share:.4}\r\n");
        }
        output.line("END");
    }
}

impl fmt::Debug for HotKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotKeys").field("enabled", &self.enabled()).finish_non_exhaustive()
    }
}

/// A key in printable characters without a space.
#[must_use]
pub fn percent_encoded(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for &byte in key {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// One worker's side.
pub struct Recorder {
    shared: Arc<Shared>,
    sketch: Arc<Mutex<Sketch>>,
    random: Cell<u32>,
}

impl Recorder {
    /// Whether there is anything to be done with keys.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.shared.enabled.load(Ordering::Relaxed)
    }

    /// Looks at the keys of a request.
    #[inline]
    pub fn see(&self, request: &Request<'_>) {
        if self.is_on() {
            self.count_all(request);
        }
    }

    #[cold]
    fn count_all(&self, request: &Request<'_>) {
        match request {
            Request::Get(get) => get.keys.for_each(|key| self.count(key)),
            Request::Store(store) => self.count(store.key),
            Request::Delete(delete) => self.count(delete.key),
            Request::Arith(arith) => self.count(arith.key),
            Request::Touch(touch) => self.count(touch.key),
            Request::Meta(request) => request.with_key(|key| self.count(key)),
            _ => {}
        }
    }

    fn count(&self, key: &[u8]) {
        let random = self.random.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.random.set(random);
        // The high bits are the random ones.
        if random >> (u32::BITS - SAMPLE.trailing_zeros()) == 0 && !key.is_empty() {
            let hash = self.shared.hasher.hash_one(key);
            let mut sketch = lock(&self.sketch);
            // It may have been turned off since, and the sketch emptied.
            if self.is_on() {
                let grown = sketch.count(key, hash);
                if grown != 0 {
                    self.shared.engine.charge_buffers(grown);
                }
            }
        }
    }
}

/// A key that is followed.
#[derive(Debug)]
struct Place {
    key: Box<[u8]>,
    count: u64,
    error: u64,
}

/// Counted keys, at most [`PLACES`] of them.
#[derive(Debug, Default)]
struct Sketch {
    /// Hashes of the keys, in the order of the places: what is searched.
    hashes: Vec<u64>,
    places: Vec<Place>,
    /// Accesses counted.
    total: u64,
    /// Bytes of the places.
    charged: usize,
}

impl Sketch {
    /// Counts an access; by how many bytes the sketch has grown, or shrunk.
    fn count(&mut self, key: &[u8], hash: u64) -> isize {
        let before = self.charged;
        self.total += 1;
        let found = self.hashes.iter().position(|known| *known == hash);
        match found.filter(|at| *self.places[*at].key == *key) {
            Some(at) => self.places[at].count += 1,
            None if self.places.len() < PLACES => {
                self.charged += PLACE_BYTES + key.len();
                self.hashes.push(hash);
                self.places.push(Place { key: key.into(), count: 1, error: 0 });
            }
            None => self.replace_the_coldest(key, hash),
        }
        if self.total >= HALVE_AFTER {
            self.halve();
        }
        self.charged.cast_signed() - before.cast_signed()
    }

    fn replace_the_coldest(&mut self, key: &[u8], hash: u64) {
        let coldest = self.places.iter().enumerate().min_by_key(|(_, place)| place.count);
        if let Some((at, &Place { count, key: ref cold, .. })) = coldest {
            self.charged = self.charged + key.len() - cold.len();
            self.hashes[at] = hash;
            self.places[at] = Place { key: key.into(), count: count + 1, error: count };
        }
    }

    fn halve(&mut self) {
        self.total /= 2;
        for place in &mut self.places {
            place.count /= 2;
            place.error /= 2;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::engine;

    fn engine() -> Arc<Engine> {
        Engine::new(engine::Options::default(), Arc::new(Clock::manual()), Arc::default())
    }

    /// So many accesses through a recorder, of which one in `hot` is to the same key.
    fn keys_after(recorders: &[Recorder], accesses: u32, hot: u32) {
        for access in 0..accesses {
            let recorder = &recorders[access as usize % recorders.len()];
            match access / recorders.len() as u32 % hot {
                0 => recorder.count(b"hot"),
                _ => recorder.count(format!("cold{access}").as_bytes()),
            }
        }
    }

    #[test]
    fn a_hot_key_is_found_among_many_cold_ones_with_its_share() {
        let hot_keys = HotKeys::new(true, engine());
        let recorders = [hot_keys.recorder(), hot_keys.recorder()];
        keys_after(&recorders, 400_000, 20);
        let top = hot_keys.top(1);
        assert_eq!(*top[0].key, *b"hot");
        assert!((top[0].share - 0.05).abs() < 0.01, "{top:?}");
        assert!(hot_keys.top(1000).len() <= 2 * PLACES);
    }

    #[test]
    fn what_was_hot_long_ago_makes_room() {
        let hot_keys = HotKeys::new(true, engine());
        let recorder = [hot_keys.recorder()];
        keys_after(&recorder, 500_000, 2);
        for access in 0..4_000_000 {
            recorder[0].count(if access % 4 == 0 { b"new" } else { b"other" });
        }
        let top = hot_keys.top(10);
        assert_eq!((&*top[0].key, &*top[1].key), (&b"other"[..], &b"new"[..]));
        assert!(top.iter().all(|key| *key.key != *b"hot" || key.share < 0.02), "{top:?}");
    }

    #[test]
    fn nothing_is_counted_while_off_and_turning_on_starts_anew() {
        let hot_keys = HotKeys::new(false, engine());
        let recorder = hot_keys.recorder();
        let see = || {
            for _ in 0..100 {
                let crate::protocol::Parse::Request { request, .. } =
                    crate::protocol::parse(b"get a b\r\n")
                else {
                    panic!("it is a request")
                };
                recorder.see(&request);
            }
        };
        see();
        assert_eq!(hot_keys.top(10), []);
        hot_keys.enable(true);
        see();
        let keys: Vec<_> = hot_keys.top(10).into_iter().map(|key| key.key).collect();
        assert!(keys.len() == 2 && keys.contains(&b"b"[..].into()), "{keys:?}");
        hot_keys.enable(true);
        assert_eq!(hot_keys.top(10), []);
    }

    #[test]
    fn memory_is_charged_as_long_as_it_is_held() {
        let engine = engine();
        let before = engine.stats().buffer_bytes;
        let hot_keys = HotKeys::new(true, Arc::clone(&engine));
        let recorders = [hot_keys.recorder(), hot_keys.recorder()];
        keys_after(&recorders, 100_000, 20);
        let held = || {
            let sketches = lock(&hot_keys.sketches);
            let bytes = |place: &Place| PLACE_BYTES + place.key.len();
            sketches.iter().map(|s| lock(s).places.iter().map(bytes).sum::<usize>()).sum::<usize>()
        };
        assert!(held() > 2 * PLACES * PLACE_BYTES, "{}", held());
        assert_eq!(engine.stats().buffer_bytes - before, held() as u64);
        hot_keys.enable(false);
        keys_after(&recorders, 1000, 2);
        assert_eq!((held(), engine.stats().buffer_bytes), (0, before));
    }

    #[test]
    fn keys_are_shown_in_printable_characters() {
        assert_eq!(percent_encoded(b"a:b%\x00 \xff"), "a:b%25%00%20%FF");
    }
}
