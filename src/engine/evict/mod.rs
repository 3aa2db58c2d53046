//! Eviction: which item to give up when memory is short.
//!
//! The seam is [`Policy`]: a function of a few bits kept in each item ([`POLICY_BITS`] of them), of its size, and of a
//! logical clock that counts what is stored ([`Tick`]). It says what a new item starts with, what a hit changes, how
//! expendable an item is, and whether the chosen one gets a second chance. It never sees the table.
//!
//! The mechanism, the same for all: a hand sweeps over the buckets, takes a sample of the items it passes, removes
//! what is dead, and evicts the most expendable of the rest. A hit thus writes at most the item's own bits,
//! there are no lists to keep, and evicting costs a bounded number of looks. With as few items as a sample holds the
//! choice is exact. (Sampling as in Psounis and Prabhakar, "Efficient Randomized Web-Cache Replacement
//! Schemes Using Samples from Past Eviction Times", 2002.)
//!
//! | policy | what goes first |
//! |---|---|
//! | [`s3fifo`] | what was not asked for again within a tenth of a turn; size counts |
//! | [`lru`] | what was not used for the longest time; what was never used, sooner |
//! | [`lfu`] | what is used least often for its size, with ageing |
//!
//! What was evicted lately is remembered by a few bits of its hash ([`ghost`]).

pub mod ghost;
pub mod lfu;
pub mod lru;
pub mod s3fifo;
mod sweep;

pub use super::item::POLICY_BITS;
pub use sweep::Hand;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The logical clock: bytes stored since the start, scaled so that 8192 to 16,384 ticks pass while the whole memory is
/// written once ([`Turn`] has the number). It wraps.
pub type Tick = u32;

/// Ticks that pass while the memory is written once.
pub type Turn = u32;

/// The share of a turn, 1/50, for which hits on an item do not count: after it came and, as the policy has it, after it went
/// round (`s3fifo`) or was last used (`lru`).
///
/// Who asks for something mostly asks for it again at once, be it ever needed later or not (the correlated reference period:
/// O'Neil, O'Neil, Weikum, "The LRU-K page replacement algorithm for database disk buffering", SIGMOD 1993). A hit in that time
/// writes nothing.
const CORRELATED_PART: u32 = 50;

/// Where an item stands with its policy, as far as the statistics tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has yet to show that it is worth its memory.
    Probation,
    /// It has.
    Admitted,
}

/// Decides which items are worth keeping.
///
/// Called by all workers at once, so whatever state there is of its own must be atomic, and best written by evictions only.
pub trait Policy: Send + Sync {
    /// The bits of a new item; `hash` is its key's, the same for as long as the engine lives.
    fn born(&self, hash: u64, now: Tick) -> u32;

    /// The bits of an item after a hit or an overwrite; called on every hit, so quick. Bits that stay the same are not
    /// written.
    fn hit(&self, bits: u32, now: Tick) -> u32;

    /// How expendable an item is: of a sample the one with the highest rank goes. `size` is that of header, key and value, in
    /// bytes, at most 2^30 and a little.
    fn rank(&self, bits: u32, now: Tick, size: usize) -> u64;

    /// The most expendable of a sample is about to go: `None` lets it, bits give it another chance with those. Must not spare the
    /// same item for ever.
    fn spare(&self, _bits: u32, _now: Tick) -> Option<u32> {
        None
    }

    /// An item was evicted.
    fn evicted(&self, _hash: u64, _bits: u32, _size: usize) {}

    /// How often an item was used, as far as its standing goes; written beside it, so that it stands as it did after a
    /// restart. Beyond [`USES_MAX`](crate::engine::USES_MAX) it makes no difference.
    fn uses(&self, _bits: u32) -> u32 {
        0
    }

    /// The bits of an item that comes back after a restart: of a new one's, and of its uses before. By default it is hit so
    /// often; a policy that does not count hits on what has just come has to do otherwise.
    fn restored(&self, bits: u32, uses: u32, now: Tick) -> u32 {
        (0..uses).fold(bits, |bits, _| self.hit(bits, now))
    }

    /// Told now and then, by the keeper, how many items there are; the bytes of memory that the policy takes for its own state,
    /// which count towards the limit.
    fn fit(&self, _items: usize) -> usize {
        0
    }

    /// Where an item stands, for the statistics; `None` if the policy makes no such difference.
    fn standing(&self, _bits: u32) -> Option<Standing> {
        None
    }
}

/// The policies that come with Volt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PolicyKind {
    /// What was not asked for again during its probation goes first.
    #[default]
    S3Fifo,
    /// The least recently used goes first.
    Lru,
    /// The least frequently used for its size goes first, with ageing.
    Lfu,
}

impl PolicyKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::S3Fifo, Self::Lru, Self::Lfu];

    /// Its name, as settings spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::S3Fifo => "s3fifo",
            Self::Lru => "lru",
            Self::Lfu => "lfu",
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PolicyKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("'{name}' is no eviction policy; there are {names}")
        })
    }
}

/// The policy of an engine. Those of Volt are called directly, one that a program brings along through a pointer.
pub(super) enum Chosen {
    S3Fifo(s3fifo::S3Fifo),
    Lru(lru::Lru),
    Lfu(lfu::Lfu),
    Own(Arc<dyn Policy>),
}

impl Chosen {
    pub(super) fn new(kind: PolicyKind, turn: Turn) -> Self {
        match kind {
            PolicyKind::S3Fifo => Self::S3Fifo(s3fifo::S3Fifo::new(turn)),
            PolicyKind::Lru => Self::Lru(lru::Lru::new(turn)),
            PolicyKind::Lfu => Self::Lfu(lfu::Lfu::default()),
        }
    }
}

/// Calls the chosen policy's method.
macro_rules! each {
    ($chosen:expr, $policy:ident => $call:expr) => {
        match $chosen {
            Chosen::S3Fifo($policy) => $call,
            Chosen::Lru($policy) => $call,
            Chosen::Lfu($policy) => $call,
            Chosen::Own($policy) => $call,
        }
    };
}

impl Policy for Chosen {
    #[inline]
    fn born(&self, hash: u64, now: Tick) -> u32 {
        each!(self, policy => policy.born(hash, now))
    }

    #[inline]
    fn hit(&self, bits: u32, now: Tick) -> u32 {
        each!(self, policy => policy.hit(bits, now))
    }

    #[inline]
    fn rank(&self, bits: u32, now: Tick, size: usize) -> u64 {
        each!(self, policy => policy.rank(bits, now, size))
    }

    fn spare(&self, bits: u32, now: Tick) -> Option<u32> {
        each!(self, policy => policy.spare(bits, now))
    }

    fn evicted(&self, hash: u64, bits: u32, size: usize) {
        each!(self, policy => policy.evicted(hash, bits, size));
    }

    fn uses(&self, bits: u32) -> u32 {
        each!(self, policy => policy.uses(bits))
    }

    fn restored(&self, bits: u32, uses: u32, now: Tick) -> u32 {
        each!(self, policy => policy.restored(bits, uses, now))
    }

    fn fit(&self, items: usize) -> usize {
        each!(self, policy => policy.fit(items))
    }

    fn standing(&self, bits: u32) -> Option<Standing> {
        each!(self, policy => policy.standing(bits))
    }
}

/// Ticks from `then` to `now`, where `then` was kept in `bits` bits.
#[inline]
const fn age(then: u32, now: Tick, bits: u32) -> u32 {
    let mask = (1 << bits) - 1;
    let age = now.wrapping_sub(then) & mask;
    // Workers' clocks differ by some ticks: what comes a moment from now has just come.
    if age > mask - mask / 16 { 0 } else { age }
}

const _: () = assert!(POLICY_BITS == 26);
