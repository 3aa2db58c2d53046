//! What the verbs do to one key when nothing else happens: the specification that the engine is held to.
//!
//! A [`Register`] takes an operation together with the outcome it had, and says what the key holds afterwards,
//! or that this outcome is none the operation can have there. Outcomes name cas uniques, and those must grow
//! along the key's history, so a wrong guess at the order is found out quickly.

use super::{Op, Outcome, Seen, Store};
use volt::clock::RelTime;
use volt::engine::{Arith, EXPTIME_LEN, HEADER_LEN, Invalidate, LARGE_VALUE_LEN, StoreMode};

/// A key's item, if it has one, and what does not depend on the item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Register {
    /// The item.
    pub item: Option<Item>,
    /// The highest cas unique that the engine gave out for the key.
    pub last_cas: u64,
}

/// An item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Item {
    /// The value.
    pub value: Vec<u8>,
    /// Client flags.
    pub flags: u32,
    /// Deadline, 0 for never.
    pub exptime: RelTime,
    /// The cas unique.
    pub cas: u64,
    /// Whether it is stale.
    pub stale: bool,
    /// Whether the cas unique is one that a client chose.
    pub chosen: bool,
}

/// What the register must know of the engine.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The clock.
    pub now: RelTime,
    /// Bytes of the key.
    pub key_len: usize,
    /// Largest item.
    pub item_size_max: usize,
    /// `false`: all cas uniques are 0.
    pub use_cas: bool,
}

impl Rules {
    fn alive(&self, exptime: RelTime) -> bool {
        exptime == 0 || exptime > self.now
    }

    fn too_large(&self, value_len: usize, flags: u32, chosen: bool) -> bool {
        let holds = if value_len >= LARGE_VALUE_LEN { 8 } else { 0 };
        let optional = if flags == 0 { 0 } else { 4 } + if chosen { 8 } else { 0 };
        holds + HEADER_LEN + EXPTIME_LEN + optional + self.key_len + value_len > self.item_size_max
    }
}

impl Register {
    /// A key that has never had an item.
    pub fn empty() -> Self {
        Self { item: None, last_cas: 0 }
    }

    /// The same without an item: what an eviction leaves.
    pub fn evicted(&self) -> Self {
        Self { item: None, last_cas: self.last_cas }
    }

    /// What it is at the time of these rules.
    pub fn at(mut self, rules: &Rules) -> Self {
        self.item = self.item.filter(|item| rules.alive(item.exptime));
        self
    }

    /// What the key holds once `op` has had `outcome`; `None` if it cannot have that.
    pub fn after(&self, op: &Op, outcome: &Outcome, rules: &Rules) -> Option<Self> {
        // Whatever fails for want of memory changes nothing.
        if *outcome == Outcome::OutOfMemory {
            return Some(self.clone());
        }
        let next = match op {
            Op::Peek | Op::Get => self.looked_up(outcome, None, rules),
            Op::Touch(exptime) => self.looked_up(outcome, Some(*exptime), rules),
            Op::Store(store) => self.stored(store, outcome, rules),
            Op::Arith(arith) => self.counted(*arith, outcome, rules),
            Op::Delete(compare) => self.deleted(*compare, outcome),
            Op::Invalidate(how) => self.invalidated(*how, outcome, rules),
            Op::Flush => Some(self.evicted()),
        };
        next.map(|register| register.at(rules))
    }

    fn unless(&self, outcome: &Outcome, expected: &Outcome) -> Option<Self> {
        (outcome == expected).then(|| self.clone())
    }

    fn looked_up(&self, outcome: &Outcome, touch: Option<RelTime>, rules: &Rules) -> Option<Self> {
        let Some(item) = &self.item else { return self.unless(outcome, &Outcome::NotFound) };
        let Outcome::Hit(seen) = outcome else { return None };
        let Seen { value, flags, exptime, cas, stale } = seen;
        // The deadline is read after the lookup, when somebody else may have changed it; one that has
        // passed shows that.
        let deadline = touch.unwrap_or(item.exptime);
        let same = (value, *flags, *cas, *stale) == (&item.value, item.flags, item.cas, item.stale);
        let on_time = touch.is_some() || *exptime == deadline || !rules.alive(*exptime);
        (same && on_time).then(|| {
            let mut next = self.clone();
            next.item = Some(Item { exptime: deadline, ..item.clone() });
            next
        })
    }

    /// Puts an item with the cas unique `cas` in place, if a store can have shown that one.
    fn put(&self, mut item: Item, chosen: Option<u64>, cas: u64, rules: &Rules) -> Option<Self> {
        let expected = if rules.use_cas { chosen } else { Some(0) };
        let fits = expected.map_or(cas > self.last_cas, |expected| cas == expected);
        item.cas = cas;
        item.chosen = chosen.is_some();
        let last_cas = if expected.is_none() { cas } else { self.last_cas };
        fits.then_some(Self { item: Some(item), last_cas })
    }

    fn stored(&self, store: &Store, outcome: &Outcome, rules: &Rules) -> Option<Self> {
        let fresh = Item {
            value: store.value.clone(),
            flags: store.flags,
            exptime: store.exptime,
            cas: 0,
            stale: false,
            chosen: false,
        };
        let (too_large, chosen) = (&Outcome::TooLarge, store.set_cas.is_some());
        if rules.too_large(store.value.len(), store.flags, chosen) {
            return self.unless(outcome, too_large);
        }
        let put = |item: Item| match outcome {
            Outcome::Stored(cas) => self.put(item, store.set_cas, *cas, rules),
            _ => None,
        };
        let Some(old) = &self.item else {
            return match store.how.mode {
                StoreMode::Set if store.how.compare.is_some() => {
                    self.unless(outcome, &Outcome::NotFound)
                }
                StoreMode::Replace
                | StoreMode::Append { vivify: false }
                | StoreMode::Prepend { vivify: false } => self.unless(outcome, &Outcome::NotStored),
                _ => put(fresh),
            };
        };
        if store.how.mode == StoreMode::Add {
            return self.unless(outcome, &Outcome::NotStored);
        }
        if let Some(compare) = store.how.compare.filter(|compare| *compare != old.cas) {
            if store.how.invalidate && compare < old.cas && store.how.mode == StoreMode::Set {
                return put(Item { stale: true, exptime: old.exptime, ..fresh });
            }
            return self.unless(outcome, &Outcome::Exists);
        }
        let joined = match store.how.mode {
            StoreMode::Append { .. } => [&old.value[..], &store.value].concat(),
            StoreMode::Prepend { .. } => [&store.value[..], &old.value].concat(),
            _ => return put(fresh),
        };
        if rules.too_large(joined.len(), old.flags, chosen) {
            return self.unless(outcome, too_large);
        }
        put(Item { value: joined, flags: old.flags, exptime: old.exptime, ..fresh })
    }

    fn counted(&self, arith: Arith, outcome: &Outcome, rules: &Rules) -> Option<Self> {
        let Some(old) = &self.item else { return self.unless(outcome, &Outcome::NotFound) };
        if old.value.is_empty() {
            return self.unless(outcome, &Outcome::NonNumeric);
        }
        if arith.compare.is_some_and(|compare| compare != old.cas) {
            return self.unless(outcome, &Outcome::Exists);
        }
        let Some(number) = number(&old.value) else {
            return self.unless(outcome, &Outcome::NonNumeric);
        };
        let number = match arith.incr {
            true => number.wrapping_add(arith.delta),
            false => number.saturating_sub(arith.delta),
        };
        let Outcome::Number(seen, cas) = outcome else { return None };
        let width = old.value.len();
        let mut value = number.to_string().into_bytes();
        value.resize(value.len().max(width), b' ');
        let stale = old.stale && value.len() == width;
        let exptime = arith.exptime.unwrap_or(old.exptime);
        let item = Item { value, stale, exptime, ..old.clone() };
        (*seen == number).then(|| self.put(item, arith.set_cas, *cas, rules)).flatten()
    }

    fn deleted(&self, compare: Option<u64>, outcome: &Outcome) -> Option<Self> {
        let Some(old) = &self.item else { return self.unless(outcome, &Outcome::NotFound) };
        if compare.is_some_and(|compare| compare != old.cas) {
            return self.unless(outcome, &Outcome::Exists);
        }
        self.evicted().unless(outcome, &Outcome::Done)
    }

    fn invalidated(&self, how: Invalidate, outcome: &Outcome, rules: &Rules) -> Option<Self> {
        let Some(old) = &self.item else { return self.unless(outcome, &Outcome::NotFound) };
        if how.compare.is_some_and(|compare| compare != old.cas) {
            return self.unless(outcome, &Outcome::Exists);
        }
        let mut chosen = how.set_cas;
        let mut item = old.clone();
        item.exptime = how.exptime.unwrap_or(old.exptime);
        item.stale = how.stale || old.stale && !how.clear_value;
        if how.clear_value {
            item.value.clear();
            item.flags = how.flags;
            // The emptied item shows the cas unique of the full one, unless it is to be recached.
            chosen = chosen.or((!how.stale && rules.use_cas).then_some(old.cas));
        }
        if rules.too_large(item.value.len(), item.flags, chosen.is_some()) {
            return self.unless(outcome, &Outcome::TooLarge);
        }
        let Outcome::Stored(cas) = outcome else { return None };
        self.put(item, chosen, *cas, rules)
    }
}

/// The number in a value, as C's strtoull reads it and as memcached takes it: what stands behind white space or a zero
/// byte does not matter, and what a minus makes huge is none.
fn number(value: &[u8]) -> Option<u64> {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let from = value.iter().position(|byte| !space(byte))?;
    let word = value[from..].split(|byte| space(byte) || *byte == 0).next()?;
    let number: i128 = std::str::from_utf8(word).ok()?.parse().ok()?;
    match number {
        0.. => u64::try_from(number).ok(),
        // -(2^64 - 1) is 1 again.
        _ => {
            u64::try_from(-number).ok().map(u64::wrapping_neg).filter(|n| i64::try_from(*n).is_ok())
        }
    }
}
