//! Are the engine's verbs linearizable, key by key? Threads perform random operations on few keys in many short rounds;
//! each round's history must be one that some order of its operations explains, going on from what the last round may
//! have left. cas uniques must grow along that order.
//!
//! The clock stands still during a round and is moved between rounds. Each engine begins with a table of two buckets
//! that grows under the operations, by other keys that nobody checks.
//!
//! `VOLT_STRESS_SECS` sets how long each variant runs; `VOLT_TEST_SEED` repeats the operations of a failure (not their
//! interleaving).

mod support;

use std::cell::Cell;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};
use support::engine::register::{Register, Rules};
use support::engine::search::{Event, explain};
use support::engine::{Op, Store, perform};
use support::random::Random;
use volt::clock::{Clock, RelTime};
use volt::engine::{Arith, Engine, Handle, Invalidate, Options, PolicyKind, StoreHow, StoreMode};
use volt::stats::Registry;

const THREADS: usize = 3;
/// Operations of one thread in one round: with three threads the search stays short.
const OPS: usize = 6;
const KEYS: [&[u8]; 2] = [b"a", b"b"];
/// Keys that only make the table grow and memory short.
const FILLERS: u64 = 400;
/// Rounds on one engine; then a new one begins with a small table.
const ROUNDS: usize = 150;
const ITEM_SIZE_MAX: usize = 4096;

/// What is special about a run.
#[derive(Debug, Clone, Copy)]
struct Variant {
    /// Memory is so short that most stores evict.
    evicting: bool,
    /// Deadlines pass, now and between rounds.
    expiring: bool,
    /// Flushes among the operations.
    flushing: bool,
    policy: PolicyKind,
}

const PLAIN: Variant =
    Variant { evicting: false, expiring: false, flushing: false, policy: PolicyKind::Lru };

#[test]
fn verbs_are_linearizable() {
    run(PLAIN);
}

#[test]
fn deadlines_are_linearizable() {
    run(Variant { expiring: true, ..PLAIN });
}

#[test]
fn flushes_are_linearizable() {
    run(Variant { flushing: true, ..PLAIN });
}

#[test]
fn verbs_are_linearizable_under_eviction() {
    run(Variant { evicting: true, ..PLAIN });
}

#[test]
fn verbs_are_linearizable_under_eviction_with_second_chances() {
    run(Variant { evicting: true, policy: PolicyKind::S3Fifo, ..PLAIN });
}

#[test]
fn everything_at_once_is_linearizable() {
    run(Variant { evicting: true, expiring: true, flushing: true, policy: PolicyKind::Lfu });
}

/// Runs engine after engine for as long as the environment says.
fn run(variant: Variant) {
    let seconds = std::env::var("VOLT_STRESS_SECS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(1));
    let seed = Random::seed_from_env("VOLT_TEST_SEED");
    let mut random = Random::new(seed);
    loop {
        if let Err(report) = run_engine(variant, random.next()) {
            panic!("VOLT_TEST_SEED={seed}, {variant:?}\n{report}");
        }
        if Instant::now() >= end {
            return;
        }
    }
}

/// What the threads of one engine share.
struct Arena {
    variant: Variant,
    engine: Arc<Engine>,
    clock: Arc<Clock>,
    /// All threads meet here before and after each round.
    gate: Barrier,
    over: AtomicBool,
    /// The clock of the histories. SeqCst: a call that returned before another began has the lower number.
    instant: AtomicU64,
    /// Each round's events: the index of the key, or `None` for all keys.
    events: Mutex<Vec<(Option<usize>, Event)>>,
}

fn run_engine(variant: Variant, seed: u64) -> Result<(), String> {
    let clock = Arc::new(Clock::manual());
    let options = Options {
        memory_limit: if variant.evicting { 48 << 10 } else { 64 << 20 },
        item_size_max: ITEM_SIZE_MAX,
        policy: variant.policy,
        hash_power: 1,
        ..Options::default()
    };
    let arena = Arena {
        variant,
        engine: Engine::new(options, Arc::clone(&clock), Arc::new(Registry::default())),
        clock,
        gate: Barrier::new(THREADS + 1),
        over: AtomicBool::new(false),
        instant: AtomicU64::new(0),
        events: Mutex::new(Vec::new()),
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let arena = &arena;
            let random = Random::new(seed.wrapping_add(thread as u64 + 1));
            scope.spawn(move || Worker::new(arena, thread, random).run());
        }
        let outcome = arena.judge(Random::new(seed));
        arena.over.store(true, Ordering::SeqCst);
        arena.gate.wait();
        outcome
    })
}

impl Arena {
    /// Lets rounds happen and explains each.
    fn judge(&self, mut random: Random) -> Result<(), String> {
        let mut states = [vec![Register::empty()], vec![Register::empty()]];
        for _ in 0..ROUNDS {
            self.gate.wait();
            self.gate.wait();
            let events = std::mem::take(&mut *self.events.lock().expect("no panic elsewhere"));
            let rules = self.rules();
            for (key, states) in states.iter_mut().enumerate() {
                let concerns = |of: &Option<usize>| of.is_none_or(|of| of == key);
                let history: Vec<Event> = events
                    .iter()
                    .filter(|(of, _)| concerns(of))
                    .map(|(_, event)| event.clone())
                    .collect();
                let ends = explain(&history, states, &rules, self.variant.evicting);
                if ends.is_empty() {
                    return Err(report(KEYS[key], states, history));
                }
                *states = ends.into_iter().collect();
            }
            if self.variant.expiring && random.chance(30) {
                self.clock.advance(5);
            }
            let rules = self.rules();
            for states in &mut states {
                *states = states.drain(..).map(|state| state.at(&rules)).collect();
            }
        }
        Ok(())
    }

    fn rules(&self) -> Rules {
        Rules { now: self.clock.now(), key_len: 1, item_size_max: ITEM_SIZE_MAX, use_cas: true }
    }
}

/// A failure to print: what could not be explained, from where on.
fn report(key: &[u8], states: &[Register], mut history: Vec<Event>) -> String {
    history.sort_by_key(|event| event.began);
    let key = String::from_utf8_lossy(key);
    let mut text = format!("no order explains the history of key '{key}', which began as one of\n");
    for state in states {
        let _ = writeln!(text, "    {state:?}");
    }
    for event in history {
        let Event { thread, began, ended, op, outcome } = event;
        let _ = writeln!(
            text,
            "  {began:>6} to {ended:>6}  thread {thread}  {op:?}\n{:>18}=> {outcome:?}",
            ""
        );
    }
    text
}

struct Worker<'a> {
    arena: &'a Arena,
    thread: usize,
    random: Random,
    handle: Handle,
    /// The cas unique of each key that this thread saw last.
    seen: [Cell<u64>; KEYS.len()],
    stored: Cell<u64>,
}

impl<'a> Worker<'a> {
    fn new(arena: &'a Arena, thread: usize, random: Random) -> Self {
        let handle = arena.engine.handle();
        Self { arena, thread, random, handle, seen: Default::default(), stored: Cell::new(0) }
    }

    fn run(mut self) {
        loop {
            self.arena.gate.wait();
            if self.arena.over.load(Ordering::SeqCst) {
                return;
            }
            let events = self.round();
            self.arena.events.lock().expect("no panic elsewhere").extend(events);
            if self.random.chance(20) {
                self.handle.settle();
            }
            self.arena.gate.wait();
        }
    }

    /// Some operations, each under a pin of its own or all under one.
    fn round(&mut self) -> Vec<(Option<usize>, Event)> {
        let arena = self.arena;
        let mut events = Vec::with_capacity(OPS);
        let batch = self.random.chance(30);
        let mut random = self.random.clone();
        // Threads come and go: sometimes a handle lives for one round only.
        let visitor = random.chance(3).then(|| arena.engine.handle());
        let handle = visitor.as_ref().unwrap_or(&self.handle);
        let mut session = handle.pin();
        for _ in 0..OPS {
            if random.chance(30) {
                self.fill_up(&mut random, &session);
            }
            let key = random.index(KEYS.len());
            let op = self.op(&mut random, key);
            let began = arena.instant.fetch_add(1, Ordering::SeqCst);
            let outcome = perform(&arena.engine, &session, KEYS[key], &op);
            let ended = arena.instant.fetch_add(1, Ordering::SeqCst);
            let of = if matches!(op, Op::Flush) { None } else { Some(key) };
            events.push((of, Event { thread: self.thread, began, ended, op, outcome }));
            if let Some(cas) = events.last().and_then(|(_, event)| event.outcome.cas()) {
                self.seen[key].set(cas);
            }
            if batch {
                session.relax();
            } else {
                drop(session);
                session = handle.pin();
            }
        }
        drop(session);
        self.random = random;
        events
    }

    /// Stores or deletes a key that nobody checks.
    fn fill_up(&self, random: &mut Random, session: &volt::engine::Session<'_>) {
        let key = random.below(FILLERS).to_be_bytes();
        let op = match random.chance(80) {
            true => Op::Store(Store::plain(StoreMode::Set, vec![7; random.index(300)])),
            false => Op::Delete(None),
        };
        perform(&self.arena.engine, session, &key, &op);
    }

    /// A deadline: none, soon, later, or one that has passed.
    fn exptime(&self, random: &mut Random) -> RelTime {
        let now = self.arena.clock.now();
        match random.below(6) {
            _ if !self.arena.variant.expiring => 0,
            0 | 1 => 0,
            2 => now + 5,
            3 => now + 10,
            4 => now + 60,
            _ => 1,
        }
    }

    fn op(&self, random: &mut Random, key: usize) -> Op {
        let seen = self.seen[key].get();
        let compare = |random: &mut Random| random.chance(25).then_some(seen);
        match random.below(100) {
            0..15 => Op::Get,
            15..20 => Op::Peek,
            20..28 => Op::Touch(self.exptime(random)),
            28..70 => self.store(random, seen),
            70..80 => Op::Arith(Arith {
                incr: random.chance(60),
                delta: random.below(120),
                compare: compare(random),
                set_cas: None,
                exptime: random.chance(20).then(|| self.exptime(random)),
            }),
            80..90 => Op::Delete(compare(random)),
            90..95 if self.arena.variant.flushing => Op::Flush,
            _ => Op::Invalidate(Invalidate {
                compare: compare(random),
                set_cas: None,
                stale: random.chance(70),
                exptime: random.chance(30).then(|| self.exptime(random)),
                clear_value: random.chance(30),
                flags: random.below(2) as u32,
            }),
        }
    }

    fn store(&self, random: &mut Random, seen: u64) -> Op {
        // Numbers, so that incr and decr have something to work on; each stored once.
        self.stored.set(self.stored.get() + 1);
        let value = format!("{}{}", self.thread + 1, self.stored.get() % 1000).into_bytes();
        let how = match random.below(12) {
            0..3 => StoreHow::plain(StoreMode::Set),
            3..5 => StoreHow::plain(StoreMode::Add),
            5..7 => StoreHow::plain(StoreMode::Replace),
            7 => StoreHow::plain(StoreMode::Append { vivify: random.chance(30) }),
            8 => StoreHow::plain(StoreMode::Prepend { vivify: random.chance(30) }),
            _ => StoreHow {
                mode: StoreMode::Set,
                compare: Some(seen),
                invalidate: random.chance(30),
            },
        };
        let (flags, exptime) = (random.below(3) as u32, self.exptime(random));
        Op::Store(Store { how, value, flags, exptime, set_cas: None })
    }
}
