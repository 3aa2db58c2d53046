//! Settings that a client may change at run time (`verbosity`, `lru`, `lru_crawler`, `slabs automove`).
//!
//! Each is an atomic of its own, read and written Relaxed: no two of them have to agree.

use crate::command::options::Options;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// A setting that is a flag.
#[derive(Debug)]
pub struct Flag(AtomicBool);

impl Flag {
    /// The current value.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Changes the value.
    pub fn set(&self, value: bool) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// A setting that is a number.
#[derive(Debug)]
pub struct Number(AtomicU32);

impl Number {
    /// The current value.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Changes the value.
    pub fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// A setting that is a ratio.
#[derive(Debug)]
pub struct Ratio(AtomicU64);

impl Ratio {
    /// The current value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Changes the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

/// The current values; meanings as in [`Options`].
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the option of the same name")]
pub struct Tunables {
    pub verbosity: Number,
    pub lru_crawler: Flag,
    pub lru_crawler_sleep_us: Number,
    pub lru_crawler_tocrawl: Number,
    pub slab_automove: Number,
    pub slab_automove_ratio: Ratio,
    pub slab_automove_freeratio: Ratio,
    pub slab_automove_window: Number,
    pub lru_segmented: Flag,
    pub hot_lru_pct: Number,
    pub warm_lru_pct: Number,
    pub hot_max_factor: Ratio,
    pub warm_max_factor: Ratio,
    pub temp_lru: Flag,
    pub temporary_ttl_s: Number,
}

impl Tunables {
    /// Starts from the options.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let flag = |value| Flag(AtomicBool::new(value));
        let number = |value| Number(AtomicU32::new(value));
        let ratio = |value: f64| Ratio(AtomicU64::new(value.to_bits()));
        Self {
            verbosity: number(options.verbosity),
            lru_crawler: flag(options.lru_crawler),
            lru_crawler_sleep_us: number(options.lru_crawler_sleep_us),
            lru_crawler_tocrawl: number(options.lru_crawler_tocrawl),
            slab_automove: number(options.slab_automove),
            slab_automove_ratio: ratio(options.slab_automove_ratio),
            slab_automove_freeratio: ratio(0.010),
            slab_automove_window: number(options.slab_automove_window),
            lru_segmented: flag(options.lru_segmented),
            hot_lru_pct: number(options.hot_lru_pct),
            warm_lru_pct: number(options.warm_lru_pct),
            hot_max_factor: ratio(options.hot_max_factor),
            warm_max_factor: ratio(options.warm_max_factor),
            temp_lru: flag(options.temp_lru),
            temporary_ttl_s: number(options.temporary_ttl_s),
        }
    }
}
