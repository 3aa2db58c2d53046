//! Stress: threads store, read, hold, touch, flush and delete in too little memory, for seconds or for hours.
//!
//! * Every value carries its key, writer, sequence number and a checksum of all its bytes, so a torn, freed or foreign
//!   value is noticed; values of 16 KiB to 1 MiB are also held beyond their session and read again later.
//! * What a thread reads of one writer never goes back in time.
//! * The account stays within the limit, and when all is deleted it is back at zero.
//!
//! `VOLT_STRESS_SECS` sets how long each test runs (2 s).

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::random::Random;
use volt::clock::Clock;
use volt::engine::{
    Cursor, Engine, EngineStats, Handle, Held, Lookup, Options, PolicyKind, Session, StoreHow,
    StoreMode, Stored,
};
use volt::stats::Registry;

const THREADS: usize = 4;
const KEYS: u64 = 20_000;
const LIMIT: usize = 48 << 20;
const VALUE_MAX: usize = 1 << 20;
/// Holds of one thread at a time.
const HOLDS: usize = 3;
/// key, writer, sequence, seed of the filling, checksum: eight bytes each.
const STAMP: usize = 40;
/// A retired item waits in its handle's bag, uncounted, for at most so many bytes of company.
const BAG_BYTES: usize = 64 << 10;

#[test]
fn s3fifo_keeps_values_whole_and_memory_bounded() {
    stress(PolicyKind::S3Fifo);
}

#[test]
fn lru_keeps_values_whole_and_memory_bounded() {
    stress(PolicyKind::Lru);
}

#[test]
fn lfu_keeps_values_whole_and_memory_bounded() {
    stress(PolicyKind::Lfu);
}

struct Arena {
    engine: Arc<Engine>,
    clock: Arc<Clock>,
    over: AtomicBool,
}

fn stress(policy: PolicyKind) {
    let seconds = std::env::var("VOLT_STRESS_SECS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(2));
    let seed = Random::seed_from_env("VOLT_TEST_SEED");
    println!("VOLT_TEST_SEED={seed}");
    let clock = Arc::new(Clock::manual());
    let options = Options {
        memory_limit: LIMIT,
        item_size_max: VALUE_MAX + 1024,
        policy,
        hash_power: 1,
        ..Options::default()
    };
    let engine = Engine::new(options, Arc::clone(&clock), Arc::new(Registry::default()));
    let arena = Arena { engine, clock, over: AtomicBool::new(false) };
    std::thread::scope(|scope| {
        for thread in 0..THREADS as u64 {
            let arena = &arena;
            scope.spawn(move || Worker::new(arena, thread, seed).run());
        }
        keep(&arena, end);
    });
    everything_comes_back(&arena.engine);
}

/// The keeper: time, rounds, and an eye on the account.
fn keep(arena: &Arena, end: Instant) {
    // Ends the workers even when an assertion fails here.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let end_of_all = End(&arena.over);
    let handle = arena.engine.handle();
    let mut most = 0;
    while Instant::now() < end && !arena.over.load(Ordering::Relaxed) {
        let stats = arena.engine.stats();
        most = most.max(sum(&stats));
        assert!(sum(&stats) <= LIMIT + slack(), "{} MiB: {stats:?}", sum(&stats) >> 20);
        arena.engine.maintain(&handle);
        arena.clock.advance(1);
        std::thread::sleep(Duration::from_millis(2));
    }
    println!("at most {} of {} KiB; {:?}", most >> 10, LIMIT >> 10, arena.engine.stats());
    drop(end_of_all);
}

fn sum(stats: &EngineStats) -> usize {
    (stats.item_bytes
        + stats.table_bytes
        + stats.policy_bytes
        + stats.garbage_bytes
        + stats.buffer_bytes) as usize
}

/// What the account may exceed the limit by. Garbage counts for an eighth of the limit at most when it is decided whether to
/// evict, and is more while epochs are pinned: each thread may have evicted for one value, and holds a few. Stores
/// race for the room that is left, each for a value; each handle keeps a thousandth of the limit unposted.
fn slack() -> usize {
    THREADS * (2 * VALUE_MAX + HOLDS * VALUE_MAX + LIMIT / 1024 + BAG_BYTES)
}

struct Worker<'a> {
    arena: &'a Arena,
    writer: u64,
    random: Random,
    handle: Option<Handle>,
    sequence: u64,
    held: Vec<Held>,
    /// The newest sequence that this thread has seen of each writer under each key.
    newest: Vec<[u64; THREADS]>,
    value: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(arena: &'a Arena, writer: u64, seed: u64) -> Self {
        Self {
            arena,
            writer,
            random: Random::new(seed.wrapping_mul(31).wrapping_add(writer)),
            handle: Some(arena.engine.handle()),
            sequence: 0,
            held: Vec::new(),
            newest: vec![[0; THREADS]; KEYS as usize],
            value: Vec::new(),
        }
    }

    fn run(mut self) {
        struct Alarm<'a>(&'a AtomicBool);
        impl Drop for Alarm<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        // Whoever ends first, by a failure, ends all.
        let _alarm = Alarm(&self.arena.over);
        while !self.arena.over.load(Ordering::Relaxed) {
            let handle = self.handle.take().expect("put back below");
            let mut session = handle.pin();
            for _ in 0..64 {
                self.operate(&session);
                session.relax();
            }
            drop(session);
            if self.random.chance(5) {
                handle.settle();
            }
            self.handle = Some(handle);
        }
    }

    /// Low keys are used more.
    fn key(&mut self) -> u64 {
        let bound = 1 + self.random.below(KEYS);
        self.random.below(bound)
    }

    fn operate(&mut self, session: &Session<'_>) {
        let key = self.key();
        let name = name(key);
        match self.random.below(1000) {
            0..400 => self.read(session, key),
            400..850 => self.store(session, key),
            850..900 => {
                let exptime = session.now() + self.random.below(600) as u32;
                session.touch(session.key(&name), exptime);
            }
            900..999 => drop(session.delete(session.key(&name), None)),
            _ if self.random.chance(2) => self.arena.engine.flush(),
            _ => {}
        }
        while self.held.len() > self.random.index(HOLDS + 1) {
            let held = self.held.swap_remove(self.random.index(self.held.len()));
            check(held.value());
        }
    }

    fn read(&mut self, session: &Session<'_>, key: u64) {
        let Lookup::Hit(item) = session.get(session.key(&name(key))) else { return };
        let (of, writer, sequence) = check(item.value());
        assert_eq!((of, item.key()), (key, &name(key)[..]), "another key's value");
        let newest = &mut self.newest[key as usize][writer as usize];
        assert!(sequence >= *newest, "writer {writer}'s value {sequence} after {newest}");
        *newest = sequence;
        if self.random.chance(50)
            && let Some(held) = item.hold()
        {
            self.held.push(held);
        }
    }

    fn store(&mut self, session: &Session<'_>, key: u64) {
        self.sequence += 1;
        let len = match self.random.below(1000) {
            0..700 => self.random.index(300),
            700..950 => self.random.index(8 << 10),
            950..995 => (8 << 10) + self.random.index(120 << 10),
            _ => self.random.index(VALUE_MAX - STAMP),
        };
        stamp(&mut self.value, [key, self.writer, self.sequence, self.random.next()], len);
        let exptime = if self.random.chance(30) { session.now() + 500 } else { 0 };
        let name = name(key);
        let draft = session.draft(session.key(&name), self.value.len(), key as u32 % 3, exptime);
        let Ok(mut draft) = draft else { panic!("refused {} bytes", self.value.len()) };
        draft.fill(&self.value);
        if self.random.chance(3) {
            // A client that went away.
            return;
        }
        let mode = match self.random.below(10) {
            0 => StoreMode::Add,
            1 => StoreMode::Replace,
            _ => StoreMode::Set,
        };
        let stored = session.store(draft, StoreHow::plain(mode));
        assert!(!matches!(stored, Stored::OutOfMemory | Stored::TooLarge));
    }
}

/// A key: its number in 8 to 40 bytes.
fn name(key: u64) -> Vec<u8> {
    let mut name = key.to_be_bytes().to_vec();
    name.resize(8 + (key % 32) as usize, b'.');
    name
}

/// Writes a value: the stamp, and `len` bytes that its last word seeds.
fn stamp(value: &mut Vec<u8>, words: [u64; 4], len: usize) {
    value.clear();
    words.iter().for_each(|word| value.extend(word.to_le_bytes()));
    value.extend([0; 8]);
    let mut filling = Random::new(words[3]);
    while value.len() < STAMP + len {
        value.extend(filling.next().to_le_bytes());
    }
    value.truncate(STAMP + len);
    let sum = checksum(value);
    value[STAMP - 8..STAMP].copy_from_slice(&sum.to_le_bytes());
}

/// Checks a value; its key, writer and sequence.
fn check(value: &[u8]) -> (u64, u64, u64) {
    let word = |i: usize| {
        let bytes = value[i * 8..i * 8 + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    };
    assert_eq!(word(4), checksum(value), "a damaged value of {} bytes", value.len());
    (word(0), word(1), word(2))
}

/// Fowler, Noll and Vo's hash, by words, of everything but the place of the checksum.
fn checksum(value: &[u8]) -> u64 {
    let (head, rest) = (&value[..STAMP - 8], &value[STAMP..]);
    let step =
        |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5);
    let mut sum = 0xcbf2_9ce4_8422_2325 ^ value.len() as u64;
    for part in [head, rest] {
        let (words, tail) = part.as_chunks::<8>();
        sum = words.iter().fold(sum, |sum, word| step(sum, u64::from_le_bytes(*word)));
        sum = tail.iter().fold(sum, |sum, byte| step(sum, u64::from(*byte)));
    }
    sum
}

/// Deletes everything and finds the account at zero: nothing is lost and nothing given back twice. Then the limit is
/// there to be used again, so what the account does not show (drafts) is at zero, too.
fn everything_comes_back(engine: &Arc<Engine>) {
    let handle = engine.handle();
    let mut cursor = Some(Cursor::default());
    while let Some(at) = cursor {
        let session = handle.pin();
        let mut keys = Vec::new();
        cursor = session.scan(at, 500, &mut |item| {
            check(item.value());
            keys.push(item.key().to_vec());
        });
        for key in keys {
            session.delete(session.key(&key), None);
        }
    }
    engine.flush();
    // What had expired was passed over by the scan.
    let mut cursor = Some(Cursor::default());
    while let Some(at) = cursor {
        cursor = handle.pin().crawl(at);
    }
    for _ in 0..16 {
        handle.settle();
    }
    let stats = engine.stats();
    let left = (stats.items, stats.item_bytes, stats.garbage_bytes, stats.buffer_bytes);
    assert_eq!(left, (0, 0, 0, 0), "{stats:?}");

    let mut before = 0;
    for key in 0_u64.. {
        let session = handle.pin();
        let mut draft = session.draft(session.key(&name(key)), 4000, 0, 0).expect("room");
        draft.fill(&[0; 4000]);
        session.store(draft, StoreHow::plain(StoreMode::Set));
        let stats = engine.stats();
        // A sample may give more than one store needs, so the number may go down as well.
        if stats.items <= before {
            assert!(sum(&stats) > LIMIT / 10 * 9, "evicts too soon: {stats:?}");
            return;
        }
        before = stats.items;
    }
}
