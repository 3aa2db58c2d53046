//! Eviction: which item to give up when memory is short.
//!
//! The seam: a policy is a pure function of a few bits kept in each item ([`POLICY_BITS`] of them) and of a
//! logical clock that counts what is stored ([`Tick`]). It says what a new item starts with, what a hit changes, and how
//! expendable an item is. It never sees the table.
//!
//! The mechanism, the same for all: a hand sweeps over the buckets, takes a sample of the items it passes, removes
//! what is dead, and evicts the most expendable of the rest. A hit thus writes at most the item's own bits,
//! there are no lists to keep, and evicting costs a bounded number of looks. With as few items as a sample holds the
//! choice is exact. (Sampling as in Psounis and Prabhakar, "Efficient Randomized Web-Cache Replacement
//! Schemes Using Samples from Past Eviction Times", 2002.)

pub mod lfu;
pub mod lru;
mod sweep;

pub use sweep::Hand;

use super::item::POLICY_BITS;
use std::fmt;
use std::str::FromStr;

/// The logical clock: bytes stored since the start, scaled so that 8192 ticks or a little more pass while the whole memory is
/// written once. Only its low [`POLICY_BITS`] matter to what is kept in items.
pub type Tick = u32;

/// Decides which items are worth keeping.
pub trait Policy {
    /// The bits of a new item.
    fn born(&self, now: Tick) -> u32;

    /// The bits of an item after a hit; called on every hit, so quick.
    fn hit(&self, bits: u32, now: Tick) -> u32;

    /// How expendable an item is: of a sample the one with the highest rank goes. `size` in bytes.
    fn rank(&self, bits: u32, now: Tick, size: usize) -> u64;
}

/// The policies there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PolicyKind {
    /// The least recently used goes first.
    #[default]
    Lru,
    /// The least frequently used goes first, with ageing.
    Lfu,
}

impl PolicyKind {
    /// All names, as settings spell them.
    pub const NAMES: [&'static str; 2] = ["lru", "lfu"];
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lru => "lru",
            Self::Lfu => "lfu",
        })
    }
}

impl FromStr for PolicyKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "lru" => Ok(Self::Lru),
            "lfu" => Ok(Self::Lfu),
            _ => {
                Err(format!("'{name}' is no eviction policy; there are {}", Self::NAMES.join(", ")))
            }
        }
    }
}

impl Policy for PolicyKind {
    #[inline]
    fn born(&self, now: Tick) -> u32 {
        match self {
            Self::Lru => lru::Lru.born(now),
            Self::Lfu => lfu::Lfu.born(now),
        }
    }

    #[inline]
    fn hit(&self, bits: u32, now: Tick) -> u32 {
        match self {
            Self::Lru => lru::Lru.hit(bits, now),
            Self::Lfu => lfu::Lfu.hit(bits, now),
        }
    }

    #[inline]
    fn rank(&self, bits: u32, now: Tick, size: usize) -> u64 {
        match self {
            Self::Lru => lru::Lru.rank(bits, now, size),
            Self::Lfu => lfu::Lfu.rank(bits, now, size),
        }
    }
}

/// Ticks from `then` to `now`, where `then` was kept in `bits` bits.
#[inline]
fn age(then: u32, now: Tick, bits: u32) -> u32 {
    now.wrapping_sub(then) & ((1 << bits) - 1)
}

const _: () = assert!(POLICY_BITS <= 32);
