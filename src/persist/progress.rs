//! How far loading is: for those who wait for it, for `stats` and for the log.

use super::directory::Name;
use super::status::Status;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Time between two lines in the log.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Whether loading is over, and what it has found; for those who wait.
#[derive(Debug, Default)]
pub struct Loading {
    /// The generations that turned out to be damaged.
    damaged: OnceLock<Vec<Name>>,
}

impl Loading {
    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.damaged.get().is_some()
    }

    /// Whether a generation has turned out to be damaged.
    pub fn has_damage(&self, name: &Name) -> bool {
        self.damaged.get().is_some_and(|damaged| damaged.contains(name))
    }

    /// Ends it.
    pub fn end(&self, damaged: Vec<Name>) {
        let _ = self.damaged.set(damaged);
    }
}

/// Takes note of how far loading is, for `stats` and the log.
pub struct Progress<'s> {
    status: &'s Status,
    /// What is to be done, and what is done, in one unit: looking at the bytes is half of it, restoring the other half.
    whole: u64,
    done: u64,
    told: Instant,
}

impl<'s> Progress<'s> {
    /// Of loading so many bytes.
    pub fn new(status: &'s Status, bytes: u64) -> Self {
        Self { status, whole: bytes.max(1) * 2, done: 0, told: Instant::now() }
    }

    /// So many more bytes were looked at; whether to go on.
    pub fn looked(&mut self, bytes: u64) -> bool {
        self.reach(self.done + bytes);
        !self.status.gives_up_loading()
    }

    /// So many frames of all are restored.
    pub fn restored(&mut self, frames: u64, of: u64) {
        let half = self.whole / 2;
        self.reach(half + half * frames / of.max(1));
    }

    fn reach(&mut self, done: u64) {
        self.done = done.min(self.whole);
        let percent = self.done * 100 / self.whole;
        let counters = &self.status.counters;
        counters.recovery_percent.store(percent, Ordering::Relaxed);
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let items = counters.recovered_items.load(Ordering::Relaxed);
            let bytes = counters.recovered_bytes.load(Ordering::Relaxed);
            tracing::info!(
                "persistence: loading, {percent} %: {items} items of {bytes} bytes so far"
            );
        }
    }
}
