//! The engine against a plain model: generated sequences of all verbs, by a clock moved by hand, are to have the outcomes that a
//! map of [`Register`]s has. One thread, so every outcome is certain; nothing is evicted.
//!
//! Values have 0 bytes to more than an item may have; flushes come at once and with a delay; items expire; the
//! keeper and settling handles run in between. With `-C` every cas unique is 0. With `-M` in little memory a store may
//! be refused at any time, and then nothing has changed, and nothing is lost.

mod support;

use proptest::prelude::*;
use proptest::sample::select;
use std::collections::HashMap;
use std::sync::Arc;
use support::engine::register::{Register, Rules};
use support::engine::{Op, Outcome, Store, perform};
use volt::clock::{Clock, RelTime};
use volt::engine::{Arith, Cursor, Engine, Handle, Invalidate, Options, StoreHow, StoreMode};
use volt::stats::Registry;

const ITEM_SIZE_MAX: usize = 1 << 20;

/// A step of a generated sequence. Deadlines and cas uniques are relative, for they depend on what came before.
#[derive(Debug, Clone)]
enum Step {
    Op {
        key: u8,
        op: Op,
        exptime: Exptime,
        compare: Compare,
    },
    FlushLater(u32),
    Advance(u32),
    /// The keeper's round.
    Maintain,
    Settle,
}

#[derive(Debug, Clone, Copy)]
enum Exptime {
    Never,
    Passed,
    In(u32),
}

#[derive(Debug, Clone, Copy)]
enum Compare {
    No,
    /// The key's cas unique as it is, or this much beside it.
    Present(i64),
}

/// How the engine is set up.
#[derive(Debug, Clone, Copy)]
struct Setup {
    use_cas: bool,
    /// `-M` in little memory.
    refusing: bool,
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "[0-9]{1,20}".prop_map(String::into_bytes),
        4 => prop::collection::vec(any::<u8>(), 0..80),
        2 => (any::<u8>(), 15_000_usize..40_000).prop_map(|(byte, len)| vec![byte; len]),
        1 => (any::<u8>(), (ITEM_SIZE_MAX - 120)..(ITEM_SIZE_MAX + 20))
            .prop_map(|(byte, len)| vec![byte; len]),
        1 => (any::<u8>(), 400_000_usize..700_000).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn flags() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0), 1 => any::<u32>()]
}

fn exptimes() -> impl Strategy<Value = Exptime> {
    prop_oneof![
        4 => Just(Exptime::Never),
        1 => Just(Exptime::Passed),
        3 => (1_u32..20).prop_map(Exptime::In),
    ]
}

fn compares() -> impl Strategy<Value = Compare> {
    prop_oneof![
        3 => Just(Compare::No),
        2 => Just(Compare::Present(0)),
        1 => (-2_i64..3).prop_map(Compare::Present),
    ]
}

fn modes() -> impl Strategy<Value = StoreMode> {
    select(vec![
        StoreMode::Set,
        StoreMode::Set,
        StoreMode::Add,
        StoreMode::Replace,
        StoreMode::Append { vivify: false },
        StoreMode::Append { vivify: true },
        StoreMode::Prepend { vivify: false },
        StoreMode::Prepend { vivify: true },
    ])
}

/// A cas unique that a client chooses, seldom.
fn chosen() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![9 => Just(None), 1 => any::<u64>().prop_map(Some)]
}

/// Operations without deadlines and compares, which [`prepare`] puts in.
fn ops() -> impl Strategy<Value = Op> {
    let store = (modes(), any::<bool>(), values(), flags(), chosen());
    let store = store.prop_map(|(mode, invalidate, value, flags, set_cas)| {
        let how = StoreHow { mode, compare: None, invalidate };
        Op::Store(Store { how, value, flags, exptime: 0, set_cas })
    });
    let delta = prop_oneof![3 => 0_u64..200, 1 => any::<u64>()];
    let arith = (any::<bool>(), delta, chosen(), any::<bool>());
    let arith = arith.prop_map(|(incr, delta, set_cas, timed)| {
        Op::Arith(Arith { incr, delta, compare: None, set_cas, exptime: timed.then_some(0) })
    });
    let invalidate = (any::<bool>(), any::<bool>(), flags(), chosen(), any::<bool>());
    let invalidate = invalidate.prop_map(|(stale, clear_value, flags, set_cas, timed)| {
        let exptime = timed.then_some(0);
        Op::Invalidate(Invalidate { compare: None, set_cas, stale, exptime, clear_value, flags })
    });
    prop_oneof![
        8 => store,
        2 => arith,
        2 => invalidate,
        2 => Just(Op::Get),
        1 => Just(Op::Peek),
        1 => Just(Op::Touch(0)),
        1 => Just(Op::Delete(None)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let op = (0_u8..6, ops(), exptimes(), compares());
    let op = op.prop_map(|(key, op, exptime, compare)| Step::Op { key, op, exptime, compare });
    let flush =
        Just(Step::Op { key: 0, op: Op::Flush, exptime: Exptime::Never, compare: Compare::No });
    let step = prop_oneof![
        40 => op,
        1 => flush,
        1 => (0_u32..6).prop_map(Step::FlushLater),
        3 => (0_u32..8).prop_map(Step::Advance),
        1 => Just(Step::Maintain),
        1 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..120)
}

/// Engine and model side by side.
struct Pair {
    setup: Setup,
    engine: Arc<Engine>,
    clock: Arc<Clock>,
    handle: Handle,
    model: HashMap<Vec<u8>, Register>,
    /// When the model flushes next, 0 for never.
    flush_at: RelTime,
}

/// Keys of several lengths, the longest among them.
fn key_of(index: u8) -> Vec<u8> {
    let len = [1, 2, 16, 100, 249, 250][usize::from(index)];
    vec![b'a' + index; len]
}

impl Pair {
    fn new(setup: Setup) -> Self {
        let clock = Arc::new(Clock::manual());
        let options = Options {
            memory_limit: if setup.refusing { 2 << 20 } else { 256 << 20 },
            item_size_max: ITEM_SIZE_MAX,
            evictions: !setup.refusing,
            hash_power: 1,
            use_cas: setup.use_cas,
            ..Options::default()
        };
        let engine = Engine::new(options, Arc::clone(&clock), Arc::new(Registry::default()));
        let handle = engine.handle();
        Self { setup, engine, clock, handle, model: HashMap::new(), flush_at: 0 }
    }

    fn rules(&self, key: &[u8]) -> Rules {
        Rules {
            now: self.clock.now(),
            key_len: key.len(),
            item_size_max: ITEM_SIZE_MAX,
            use_cas: self.setup.use_cas,
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Op { key, op, exptime, compare } => {
                let key = key_of(key);
                let op = self.prepare(&key, op, exptime, compare);
                self.perform(&key, &op)?;
            }
            Step::FlushLater(delay) => {
                self.flush_at = self.clock.now() + delay;
                self.engine.flush_at(self.flush_at);
                self.flush_if_due();
            }
            Step::Advance(seconds) => {
                self.clock.advance(i64::from(seconds));
                self.flush_if_due();
            }
            Step::Maintain => self.engine.maintain(&self.handle),
            Step::Settle => self.handle.settle(),
        }
        Ok(())
    }

    fn flush_if_due(&mut self) {
        if self.flush_at != 0 && self.flush_at <= self.clock.now() {
            self.flush_at = 0;
            self.model.values_mut().for_each(|register| *register = register.evicted());
        }
    }

    /// Puts deadline and cas unique into a generated operation.
    fn prepare(&self, key: &[u8], mut op: Op, exptime: Exptime, compare: Compare) -> Op {
        let due = match exptime {
            Exptime::Never => 0,
            Exptime::Passed => 1,
            Exptime::In(seconds) => self.clock.now() + seconds,
        };
        let present = self.model.get(key).and_then(|register| register.item.as_ref());
        let cas = present.map_or(1, |item| item.cas);
        let wanted = match compare {
            Compare::No => None,
            Compare::Present(beside) => Some(cas.wrapping_add_signed(beside)),
        };
        match &mut op {
            Op::Touch(exptime) => *exptime = due,
            Op::Store(store) => {
                store.exptime = due;
                // Only set compares, in either protocol.
                store.how.compare = wanted.filter(|_| store.how.mode == StoreMode::Set);
            }
            Op::Arith(arith) => {
                arith.exptime = arith.exptime.map(|_| due);
                arith.compare = wanted;
            }
            Op::Invalidate(how) => {
                how.exptime = how.exptime.map(|_| due);
                how.compare = wanted;
            }
            Op::Delete(compare) => *compare = wanted,
            Op::Peek | Op::Get | Op::Flush => {}
        }
        op
    }

    fn perform(&mut self, key: &[u8], op: &Op) -> Result<(), TestCaseError> {
        let rules = self.rules(key);
        let outcome = perform(&self.engine, &self.handle.pin(), key, op);
        if matches!(op, Op::Flush) {
            self.model.values_mut().for_each(|register| *register = register.evicted());
            return Ok(());
        }
        prop_assert!(self.setup.refusing || outcome != Outcome::OutOfMemory, "out of memory");
        let before = self.model.remove(key).unwrap_or_else(Register::empty).at(&rules);
        let Some(after) = before.after(op, &outcome, &rules) else {
            return Err(TestCaseError::fail(format!(
                "{} had {}\n  from {}",
                brief(&op),
                brief(&outcome),
                brief(&before)
            )));
        };
        self.model.insert(key.to_vec(), after);
        Ok(())
    }

    /// Every key holds what the model says, a scan meets exactly the live ones, and deleting them gives every byte back.
    fn finish(mut self) -> Result<(), TestCaseError> {
        for index in 0..6 {
            self.perform(&key_of(index), &Op::Get)?;
        }
        let mut alive: Vec<&[u8]> = self
            .model
            .iter()
            .filter(|(_, register)| register.item.is_some())
            .map(|(key, _)| &key[..])
            .collect();
        let mut met = Vec::new();
        let mut cursor = Some(Cursor::default());
        while let Some(at) = cursor {
            cursor = self.handle.pin().scan(at, 2, &mut |item| met.push(item.key().to_vec()));
        }
        alive.sort();
        met.sort();
        prop_assert_eq!(alive, met);
        for index in 0..6 {
            self.perform(&key_of(index), &Op::Delete(None))?;
        }
        for _ in 0..8 {
            self.handle.settle();
        }
        let stats = self.engine.stats();
        prop_assert_eq!((stats.items, stats.item_bytes, stats.garbage_bytes), (0, 0, 0));
        Ok(())
    }
}

/// Debug text without the middle of long values.
fn brief(what: &impl std::fmt::Debug) -> String {
    let text = format!("{what:?}");
    let head: String = text.chars().take(400).collect();
    if head.len() < text.len() { format!("{head}... ({} characters)", text.len()) } else { head }
}

fn check(setup: Setup, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut pair = Pair::new(setup);
    for step in steps {
        pair.step(step)?;
    }
    pair.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_is_a_map(steps in steps()) {
        check(Setup { use_cas: true, refusing: false }, steps)?;
    }

    #[test]
    fn without_cas_the_engine_is_a_map(steps in steps()) {
        check(Setup { use_cas: false, refusing: false }, steps)?;
    }

    #[test]
    fn without_evictions_a_refused_store_changes_nothing(steps in steps()) {
        check(Setup { use_cas: true, refusing: true }, steps)?;
    }
}
