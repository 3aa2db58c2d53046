//! The engine's verbs as values: an [`Op`] to perform on a session, and the [`Outcome`] that it had.
//!
//! [`register`] says what each is to do to one key; [`search`] asks whether a concurrent history is one that
//! some order of its operations explains.

pub mod register;
pub mod search;

use volt::clock::RelTime;
use volt::engine::{
    Arith, ArithResult, Engine, Invalidate, ItemRef, Lookup, Refusal, Removed, Session, StoreHow,
    StoreMode, Stored,
};

/// One call of the engine on one key.
#[derive(Debug, Clone)]
pub enum Op {
    /// A lookup that leaves no trace.
    Peek,
    /// A lookup.
    Get,
    /// touch, and gat: the item with a new deadline.
    Touch(RelTime),
    /// A store in any mode, with or without cas.
    Store(Store),
    /// incr or decr.
    Arith(Arith),
    /// delete, with or without cas.
    Delete(Option<u64>),
    /// md with I, T or x.
    Invalidate(Invalidate),
    /// Flush, which concerns every key.
    Flush,
}

/// What is stored, and how.
#[derive(Debug, Clone)]
pub struct Store {
    /// Mode, compare and invalidate.
    pub how: StoreHow,
    /// The value.
    pub value: Vec<u8>,
    /// Client flags.
    pub flags: u32,
    /// Deadline, 0 for never.
    pub exptime: RelTime,
    /// The cas unique to show afterwards.
    pub set_cas: Option<u64>,
}

impl Store {
    /// A plain store.
    pub fn plain(mode: StoreMode, value: Vec<u8>) -> Self {
        Self { how: StoreHow::plain(mode), value, flags: 0, exptime: 0, set_cas: None }
    }
}

/// What a lookup showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
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
}

impl From<ItemRef<'_>> for Seen {
    fn from(item: ItemRef<'_>) -> Self {
        Self {
            value: item.value().to_vec(),
            flags: item.flags(),
            exptime: item.exptime(),
            cas: item.cas(),
            stale: item.stale(),
        }
    }
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A lookup found this.
    Hit(Seen),
    /// A lookup or an arith found nothing, or a cas unique was compared with nothing.
    NotFound,
    /// Stored; the item's cas unique.
    Stored(u64),
    /// The mode's condition did not hold.
    NotStored,
    /// Another cas unique.
    Exists,
    /// The number, and its item's cas unique.
    Number(u64, u64),
    /// There is no number.
    NonNumeric,
    /// Deleted or flushed.
    Done,
    /// Larger than an item may be.
    TooLarge,
    /// There was no memory.
    OutOfMemory,
}

impl Outcome {
    /// The cas unique that the operation gave out or showed.
    pub fn cas(&self) -> Option<u64> {
        match self {
            Self::Hit(seen) => Some(seen.cas),
            Self::Stored(cas) | Self::Number(_, cas) => Some(*cas),
            _ => None,
        }
    }
}

/// Performs `op` on `key`.
pub fn perform(engine: &Engine, session: &Session<'_>, key: &[u8], op: &Op) -> Outcome {
    let key = session.key(key);
    match op {
        Op::Peek => lookup(session.peek(key)),
        Op::Get => lookup(session.get(key)),
        Op::Touch(exptime) => lookup(session.touch(key, *exptime)),
        Op::Store(store) => {
            let draft = session.draft(key, store.value.len(), store.flags, store.exptime);
            let mut draft = match draft {
                Ok(draft) => draft,
                Err(Refusal::TooLarge) => return Outcome::TooLarge,
                Err(Refusal::OutOfMemory) => return Outcome::OutOfMemory,
            };
            draft.fill(&store.value);
            if let Some(cas) = store.set_cas {
                draft.set_cas(cas);
            }
            stored(session.store(draft, store.how))
        }
        Op::Arith(arith) => match session.arith(key, *arith) {
            ArithResult::Done { value, item } => Outcome::Number(value, item.cas()),
            ArithResult::NotFound => Outcome::NotFound,
            ArithResult::NonNumeric => Outcome::NonNumeric,
            ArithResult::Exists => Outcome::Exists,
            ArithResult::OutOfMemory => Outcome::OutOfMemory,
        },
        Op::Delete(compare) => match session.delete(key, *compare) {
            Removed::Removed(_) => Outcome::Done,
            Removed::NotFound => Outcome::NotFound,
            Removed::Exists => Outcome::Exists,
        },
        Op::Invalidate(how) => stored(session.invalidate(key, *how)),
        Op::Flush => {
            engine.flush();
            Outcome::Done
        }
    }
}

fn lookup(found: Lookup<'_>) -> Outcome {
    found.hit().map_or(Outcome::NotFound, |item| Outcome::Hit(item.into()))
}

fn stored(outcome: Stored<'_>) -> Outcome {
    match outcome {
        Stored::Stored(item) => Outcome::Stored(item.cas()),
        Stored::NotStored => Outcome::NotStored,
        Stored::Exists => Outcome::Exists,
        Stored::NotFound => Outcome::NotFound,
        Stored::TooLarge => Outcome::TooLarge,
        Stored::OutOfMemory => Outcome::OutOfMemory,
    }
}
