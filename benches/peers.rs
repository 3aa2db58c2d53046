//! The engine beside the structures that a Rust program would otherwise take, in one process and one run.
//!
//! `cargo bench --bench peers` prints a Markdown table: nanoseconds an operation, and how many times faster than the fastest of
//! DashMap, papaya and quick_cache Volt is. Keys of 16 bytes in random order, values of 100 bytes, nothing is evicted.
//! All of them have the same allocator with the same settings, and the same hash function. Each is used as its documentation
//! shows: keys and values are `Box<[u8]>` and `Arc<[u8]>`; a get reads one byte of the value, in place where that can
//! be done; a set makes a new value from a slice. What can be pinned for a batch (papaya, a session of Volt's) is
//! pinned for 64 operations.
//!
//! The runs alternate and the median counts, so that a machine with other work to do favours nobody. `-- quick` makes fewer
//! of them, `-- cpu` measures the threads' CPU time in place of the time that passes.

#![expect(unsafe_code, reason = "names the allocator's settings by their symbol")]

use dashmap::DashMap;
use foldhash::quality::RandomState;
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use volt::engine::{Cache, Handle, Options, Session, StoreHow, StoreMode};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static HEAP: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Huge pages, as the server asks for them; for everybody here.
#[cfg(feature = "jemalloc")]
// SAFETY: the symbol is the one that jemalloc documents, and points to a string that ends with a zero.
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: Option<&std::ffi::c_char> = {
    // SAFETY: the first byte of a string literal, which lives for ever.
    Some(unsafe { &*c"thp:always".as_ptr() })
};

type Key = [u8; 16];

/// Operations under one pin.
const PINNED: usize = 64;
/// Keys that are looked up ahead of a read, as the server does with a batch.
const AHEAD: usize = 32;
const VALUE: [u8; 100] = [b'v'; 100];
/// Operations of a thread in one run.
const RUN: usize = 400_000;

/// Something with gets and sets, as one thread uses it for a while.
trait Peer: Sync {
    fn name(&self) -> &'static str;
    /// How many of the keys were there.
    fn get(&self, keys: &[Key]) -> usize;
    fn set(&self, keys: &[Key]);
}

struct Dash(DashMap<Box<[u8]>, Arc<[u8]>, RandomState>);

impl Peer for Dash {
    fn name(&self) -> &'static str {
        "DashMap"
    }

    fn get(&self, keys: &[Key]) -> usize {
        let found = |key: &&Key| self.0.get(&key[..]).map(|value| black_box(value[0])).is_some();
        keys.iter().filter(found).count()
    }

    fn set(&self, keys: &[Key]) {
        for key in keys {
            self.0.insert(key[..].into(), VALUE[..].into());
        }
    }
}

struct Papaya(papaya::HashMap<Box<[u8]>, Arc<[u8]>, RandomState>);

impl Peer for Papaya {
    fn name(&self) -> &'static str {
        "papaya"
    }

    fn get(&self, keys: &[Key]) -> usize {
        let mut found = 0;
        for keys in keys.chunks(PINNED) {
            let map = self.0.pin();
            let there = |key: &&Key| map.get(&key[..]).map(|value| black_box(value[0])).is_some();
            found += keys.iter().filter(there).count();
        }
        found
    }

    fn set(&self, keys: &[Key]) {
        for keys in keys.chunks(PINNED) {
            let map = self.0.pin();
            for key in keys {
                map.insert(key[..].into(), VALUE[..].into());
            }
        }
    }
}

type QuickCache = quick_cache::sync::Cache<
    Box<[u8]>,
    Arc<[u8]>,
    quick_cache::UnitWeighter,
    RandomState,
    quick_cache::sync::DefaultLifecycle<Box<[u8]>, Arc<[u8]>>,
>;

struct Quick(QuickCache);

impl Peer for Quick {
    fn name(&self) -> &'static str {
        "quick_cache"
    }

    fn get(&self, keys: &[Key]) -> usize {
        let found = |key: &&Key| self.0.get(&key[..]).map(|value| black_box(value[0])).is_some();
        keys.iter().filter(found).count()
    }

    fn set(&self, keys: &[Key]) {
        for key in keys {
            self.0.insert(key[..].into(), VALUE[..].into());
        }
    }
}

struct Moka(moka::sync::Cache<Box<[u8]>, Arc<[u8]>, RandomState>);

impl Peer for Moka {
    fn name(&self) -> &'static str {
        "moka"
    }

    fn get(&self, keys: &[Key]) -> usize {
        let found = |key: &&Key| self.0.get(&key[..]).map(|value| black_box(value[0])).is_some();
        keys.iter().filter(found).count()
    }

    fn set(&self, keys: &[Key]) {
        for key in keys {
            self.0.insert(key[..].into(), VALUE[..].into());
        }
    }
}

/// Volt's simple face: each call pins for itself.
struct Simple(Cache);

impl Peer for Simple {
    fn name(&self) -> &'static str {
        "Volt, `Cache`"
    }

    fn get(&self, keys: &[Key]) -> usize {
        let found = |key: &&Key| self.0.read(&key[..], |item| black_box(item.value()[0])).is_some();
        keys.iter().filter(found).count()
    }

    fn set(&self, keys: &[Key]) {
        for key in keys {
            self.0.set(key, &VALUE, None).expect("room");
        }
    }
}

/// Volt's sessions, and whether they look ahead.
struct Sessions(Cache, bool);

impl Sessions {
    fn in_batches(&self, keys: &[Key], mut run: impl FnMut(&Session<'_>, &[Key])) {
        let handle: Handle = self.0.engine().handle();
        for keys in keys.chunks(PINNED) {
            let session = handle.pin();
            for keys in keys.chunks(AHEAD) {
                if self.1 {
                    let mut ahead = [session.key(&keys[0]); AHEAD];
                    for (ahead, key) in ahead.iter_mut().zip(keys) {
                        *ahead = session.key(key);
                        session.prefetch(ahead);
                    }
                    session.prefetch_items(&ahead[..keys.len()]);
                }
                run(&session, keys);
            }
        }
    }
}

impl Peer for Sessions {
    fn name(&self) -> &'static str {
        if self.1 { "Volt, `Session`, keys ahead" } else { "Volt, `Session`" }
    }

    fn get(&self, keys: &[Key]) -> usize {
        let mut found = 0;
        self.in_batches(keys, |session, keys| {
            let there = |key: &&Key| {
                let item = session.get(session.key(&key[..])).hit();
                item.map(|item| black_box(item.value()[0])).is_some()
            };
            found += keys.iter().filter(there).count();
        });
        found
    }

    fn set(&self, keys: &[Key]) {
        self.in_batches(keys, |session, keys| {
            for key in keys {
                let key = session.key(key);
                let mut draft = session.draft(key, VALUE.len(), 0, 0).expect("room");
                draft.fill(&VALUE);
                black_box(session.store(draft, StoreHow::plain(StoreMode::Set)));
            }
        });
    }
}

/// Keys by number.
fn keys(count: usize) -> Vec<Key> {
    let key = |i| format!("key-{i:012}").into_bytes().try_into().expect("16 bytes");
    (0..count).map(key).collect()
}

/// Brings the keys into an order that no prefetcher guesses, and that is not the one in which memory was given out for their
/// items: xorshift64 (Marsaglia 2003) and Fisher-Yates.
fn shuffle(keys: &mut [Key], mut state: u64) {
    for i in (1..keys.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        keys.swap(i, state as usize % (i + 1));
    }
}

/// Everybody, filled; the peers that count come first, Volt last.
fn peers(keys: &[Key]) -> Vec<Box<dyn Peer>> {
    let (room, hash) = (2 * keys.len(), RandomState::default);
    let quick = QuickCache::with(
        room,
        room as u64,
        quick_cache::UnitWeighter,
        hash(),
        quick_cache::sync::DefaultLifecycle::default(),
    );
    let moka = moka::sync::Cache::builder().max_capacity(room as u64).build_with_hasher(hash());
    let options = Options { memory_limit: 4 << 30, ..Options::default() };
    let volt = Cache::new(options).expect("a thread to keep time");
    let peers: Vec<Box<dyn Peer>> = vec![
        Box::new(Dash(DashMap::with_hasher(hash()))),
        Box::new(Papaya(papaya::HashMap::with_hasher(hash()))),
        Box::new(Quick(quick)),
        Box::new(Moka(moka)),
        Box::new(Simple(volt.clone())),
        Box::new(Sessions(volt.clone(), false)),
        Box::new(Sessions(volt, true)),
    ];
    for peer in &peers[..5] {
        peer.set(keys);
    }
    peers
}

/// How many peers count for the comparison: moka does not, it does more.
const RIVALS: usize = 3;
/// Where Volt begins among the peers.
const VOLT: usize = 4;

/// One run of all threads: nanoseconds an operation of one of them.
fn time(
    peer: &dyn Peer,
    get: bool,
    keys: &[Key],
    threads: usize,
    round: usize,
    clock: Clock,
) -> f64 {
    let start = Barrier::new(threads);
    let run = RUN.min(keys.len());
    let one = |thread: usize| {
        let from = (round * 7 + thread * 3) * run / 5 % (keys.len() - run + 1);
        let keys = &keys[from..from + run];
        start.wait();
        let began = clock.now();
        for keys in keys.chunks(keys.len()).cycle().take(RUN / run) {
            match get {
                true => assert_eq!(peer.get(keys), keys.len(), "{} has lost keys", peer.name()),
                false => peer.set(keys),
            }
        }
        (clock.now() - began).as_nanos() as f64 / (RUN / run * run) as f64
    };
    thread::scope(|scope| {
        let one = &one;
        let all: Vec<_> = (0..threads).map(|n| scope.spawn(move || one(n))).collect();
        let sum: f64 = all.into_iter().map(|one| one.join().expect("a run")).sum();
        sum / threads as f64
    })
}

/// By which time a run is measured.
#[derive(Clone, Copy)]
enum Clock {
    Wall,
    /// What the thread was running: for machines that have other work to do. What waits for a lock asleep costs nothing
    /// here.
    Cpu,
}

impl Clock {
    fn now(self) -> Duration {
        let id = match self {
            Self::Wall => libc::CLOCK_MONOTONIC,
            Self::Cpu => libc::CLOCK_THREAD_CPUTIME_ID,
        };
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the clock is one that every Linux has, and the time is ours.
        unsafe { libc::clock_gettime(id, &raw mut now) };
        Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned() as u32)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A row of the table.
fn row(
    peers: &[Box<dyn Peer>],
    get: bool,
    keys: &[Key],
    threads: usize,
    rounds: usize,
    clock: Clock,
) {
    let mut times = vec![Vec::new(); peers.len()];
    for round in 0..rounds {
        for (peer, times) in peers.iter().zip(&mut times) {
            times.push(time(&**peer, get, keys, threads, round, clock));
        }
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    let best = medians[..RIVALS].iter().copied().fold(f64::INFINITY, f64::min);
    let name = if get { "get" } else { "set" };
    print!("| {name}, {} k keys, {threads} thread(s) |", keys.len() / 1000);
    for (index, &ns) in medians.iter().enumerate() {
        match index < VOLT {
            true => print!(" {ns:.0} |"),
            false => print!(" {ns:.0} ({:.1} x) |", best / ns),
        }
    }
    println!();
}

fn main() {
    let asked = |word: &str| std::env::args().any(|argument| argument == word);
    let rounds = if asked("quick") { 3 } else { 7 };
    let clock = if asked("cpu") { Clock::Cpu } else { Clock::Wall };
    for (block, count) in [100_000, 2_000_000].into_iter().enumerate() {
        let mut keys = keys(count);
        let peers = peers(&keys);
        if block == 0 {
            let names: Vec<_> = peers.iter().map(|peer| peer.name()).collect();
            println!("| ns | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        }
        for (number, (get, threads)) in
            [(true, 1), (true, 2), (false, 1), (false, 2)].into_iter().enumerate()
        {
            shuffle(&mut keys, 88_172_645_463_325_252 + number as u64);
            row(&peers, get, &keys, threads, rounds, clock);
        }
    }
}
