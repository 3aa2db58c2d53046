//! What writer, commands and statistics know of each other: numbers, all atomic.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How persistence is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Bringing back what there is; what is acknowledged meanwhile is on disk within the bounds.
    Loading,
    /// What is acknowledged is on disk within the bounds.
    Ok,
    /// The disk refuses; the cache serves, and the disk is tried again and again.
    Degraded,
}

impl State {
    /// As statistics spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ok => "ok",
            Self::Degraded => "degraded",
        }
    }
}

/// Numbers for `stats` and metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes that the directory takes on disk, as of a second ago.
    pub disk_bytes: AtomicU64,
    /// Changes that were marked, since the start, like all below.
    pub marked: AtomicU64,
    /// Records written because a key had changed.
    pub records: AtomicU64,
    /// Bytes of frames with those.
    pub log_bytes: AtomicU64,
    /// Bytes of frames that a checkpoint wrote.
    pub checkpoint_bytes: AtomicU64,
    /// Checkpoints that were completed.
    pub checkpoints: AtomicU64,
    /// Operations on the disk that failed.
    pub errors: AtomicU64,
    /// Stores that could not be marked; the next checkpoint makes up for them.
    pub lost_stores: AtomicU64,
    /// Removals that could not be marked.
    pub lost_removals: AtomicU64,
    /// Number of the generation that is written to.
    pub generation: AtomicU64,
    /// How long the last wait for the disk took, or takes so far, in microseconds.
    pub sync_us: AtomicU64,
    /// How long the longest cycle took, in microseconds.
    pub longest_cycle_us: AtomicU64,
    /// Items that were brought back at the start.
    pub recovered_items: AtomicU64,
    /// Bytes of their keys and values.
    pub recovered_bytes: AtomicU64,
    /// How much of loading is done, in percent.
    pub recovery_percent: AtomicU64,
    /// How long that took, in microseconds; 0 before it is over.
    pub recovery_us: AtomicU64,
    /// Frames that were damaged or missing at the start.
    pub recovery_missing: AtomicU64,
}

impl Counters {
    /// All of them, as `stats` names them.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64); 17] {
        [
            ("persist_disk_bytes", &self.disk_bytes),
            ("persist_generation", &self.generation),
            ("persist_marked", &self.marked),
            ("persist_records", &self.records),
            ("persist_log_bytes", &self.log_bytes),
            ("persist_checkpoint_bytes", &self.checkpoint_bytes),
            ("persist_checkpoints", &self.checkpoints),
            ("persist_lost_stores", &self.lost_stores),
            ("persist_lost_removals", &self.lost_removals),
            ("persist_errors", &self.errors),
            ("persist_sync_us", &self.sync_us),
            ("persist_longest_cycle_us", &self.longest_cycle_us),
            ("persist_recovered_items", &self.recovered_items),
            ("persist_recovered_bytes", &self.recovered_bytes),
            ("persist_recovery_percent", &self.recovery_percent),
            ("persist_recovery_us", &self.recovery_us),
            ("persist_recovery_missing", &self.recovery_missing),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}

/// Shared by the writer and everybody else.
#[derive(Debug)]
pub struct Status {
    state: AtomicU8,
    /// What there is on disk is being brought back.
    loading: AtomicBool,
    /// Cycles that have begun.
    begun: AtomicU64,
    /// The last cycle whose changes a kill does not lose any more.
    committed: AtomicU64,
    opened: Instant,
    /// When the cycle under way began, and when that last one did, in microseconds since it was opened.
    begun_us: AtomicU64,
    safe_us: AtomicU64,
    stop: AtomicBool,
    needs_loading: AtomicBool,
    writer: OnceLock<Thread>,
    /// What is counted.
    pub counters: Counters,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            state: AtomicU8::new(State::Ok as u8),
            loading: AtomicBool::new(true),
            begun: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            opened: Instant::now(),
            begun_us: AtomicU64::new(0),
            safe_us: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            needs_loading: AtomicBool::new(false),
            writer: OnceLock::new(),
            counters: Counters::default(),
        }
    }
}

impl Status {
    /// How it is doing.
    pub fn state(&self) -> State {
        if self.state.load(Ordering::Relaxed) == State::Degraded as u8 {
            State::Degraded
        } else if self.is_loading() {
            State::Loading
        } else {
            State::Ok
        }
    }

    /// Whether what there is on disk is being brought back.
    pub fn is_loading(&self) -> bool {
        self.loading.load(Ordering::Acquire)
    }

    pub(super) fn loaded(&self) {
        self.loading.store(false, Ordering::Release);
    }

    /// Changes the state; what it was.
    pub(super) fn set_state(&self, state: State) -> State {
        let before = self.state();
        self.state.store(state as u8, Ordering::Relaxed);
        before
    }

    /// The cycle that writes what has been done before this call, flushes included.
    pub fn ticket(&self) -> u64 {
        // SeqCst: a cycle begins before it looks at what there is to do, so one that has not begun will see it.
        self.begun.load(Ordering::SeqCst) + 1
    }

    /// Whether that cycle's changes are safe from a kill, and its flushes from a power cut.
    pub fn is_committed(&self, ticket: u64) -> bool {
        self.committed.load(Ordering::SeqCst) >= ticket
    }

    /// Makes the next cycle begin now.
    pub fn hurry(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// How far back a change may lie that a kill would lose: whatever is older, it would not.
    pub fn lag(&self) -> Duration {
        let safe = Duration::from_micros(self.safe_us.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(safe)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn begin(&self) -> u64 {
        // Before the cycle looks at what there is to do.
        self.begun_us.store(self.now_us(), Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn commit(&self, cycle: u64) {
        // Relaxed: only the writer begins and commits, and whoever watches reads one number.
        self.safe_us.store(self.begun_us.load(Ordering::Relaxed), Ordering::Relaxed);
        self.committed.store(cycle, Ordering::SeqCst);
    }

    pub(super) fn is_written_by(&self, writer: Thread) {
        let _ = self.writer.set(writer);
    }

    /// Has it stop, as soon as everything is on disk.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.hurry();
    }

    /// What is being loaded is nowhere else from now on: a stop waits for it.
    pub(super) fn need_loading(&self) {
        self.needs_loading.store(true, Ordering::SeqCst);
    }

    pub(super) fn needs_loading(&self) -> bool {
        self.needs_loading.load(Ordering::SeqCst)
    }

    /// Whether loading is to be given up, since everything that is not loaded stays on disk.
    pub(super) fn gives_up_loading(&self) -> bool {
        self.is_stopping() && !self.needs_loading()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    #[test]
    fn the_lag_is_the_time_since_the_last_committed_cycle_began() {
        let (status, step) = (Status::default(), Duration::from_millis(20));
        sleep(step);
        assert!(status.lag() >= step, "nothing was ever committed");
        let begun = Instant::now();
        let cycle = status.begin();
        sleep(step);
        status.commit(cycle);
        assert!(status.lag() >= step && status.lag() <= begun.elapsed() + Duration::from_micros(1));
        status.begin();
        sleep(step);
        assert!(status.lag() >= 2 * step, "a cycle that is not committed changes nothing");
    }
}
