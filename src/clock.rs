//! The one coarse clock: memcached's relative seconds, advanced by a ticker, settable in tests.
//!
//! A relative time is a count of seconds since [`EPOCH_OFFSET`] seconds before the start of the process, so a
//! young process already has a past that items may have expired in (memcached does the same with its
//! `process_started`). Reading it is one relaxed load. Nothing here asks the system for the time except
//! [`Clock::tick`], and it asks how much has passed, not what time it is: when somebody sets the system's clock, nothing
//! expires for it and nothing lives longer (memcached: `CLOCK_MONOTONIC`).

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since the clock's epoch; 0 is never a current time and stands for "no time" or "never".
pub type RelTime = u32;

/// How far before the process's start the clock's epoch lies, in seconds.
pub const EPOCH_OFFSET: u32 = 62;

/// An exptime up to this many seconds counts from now; a larger one is an absolute Unix time
/// (protocol.txt, "Expiration times").
pub const RELATIVE_EXPTIME_MAX: i64 = 60 * 60 * 24 * 30;

/// A coarse clock that is shared by everything in a process (or one test).
#[derive(Debug)]
pub struct Clock {
    /// Unix time of relative time 0, in seconds.
    epoch_unix: i64,
    /// When the process started, and how far into a second of the system's clock that was.
    started: Instant,
    started_within: Duration,
    /// The current relative time; written by `tick`, read by everyone, Relaxed.
    now: AtomicU32,
    /// Seconds by which `debugtime` has moved the clock, or `None`-like `MANUAL` when set by hand.
    shift: AtomicI64,
    manual: bool,
}

impl Clock {
    /// A clock that follows the system's time whenever [`tick`](Self::tick) is called.
    #[must_use]
    pub fn system() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(unix.as_secs()).unwrap_or_default();
        Self {
            epoch_unix: seconds - i64::from(EPOCH_OFFSET),
            started: Instant::now(),
            started_within: Duration::from_nanos(unix.subsec_nanos().into()),
            now: AtomicU32::new(EPOCH_OFFSET),
            shift: AtomicI64::new(0),
            manual: false,
        }
    }

    /// A clock that stands still until [`advance`](Self::advance) moves it; for tests.
    #[must_use]
    pub fn manual() -> Self {
        Self { manual: true, ..Self::system() }
    }

    /// The current relative time in seconds; never 0.
    #[inline]
    pub fn now(&self) -> RelTime {
        self.now.load(Ordering::Relaxed)
    }

    /// The current time as Unix seconds.
    pub fn unix(&self) -> i64 {
        self.to_unix(self.now())
    }

    /// A relative time as Unix seconds.
    pub fn to_unix(&self, time: RelTime) -> i64 {
        self.epoch_unix + i64::from(time)
    }

    /// A Unix time in seconds as a relative time; 1 for one before the clock's epoch.
    pub fn from_unix(&self, unix: i64) -> RelTime {
        let seconds = unix.saturating_sub(self.epoch_unix).max(1);
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    /// Seconds since the process started.
    pub fn uptime(&self) -> u32 {
        self.now().saturating_sub(EPOCH_OFFSET)
    }

    /// Brings the clock up to the time that has passed; does nothing on a manual clock. It never runs backwards.
    pub fn tick(&self) {
        if self.manual {
            return;
        }
        let passed = (self.started_within + self.started.elapsed()).as_secs();
        let seconds =
            i64::try_from(passed).unwrap_or(i64::MAX).saturating_add(i64::from(EPOCH_OFFSET));
        let seconds = seconds.saturating_add(self.shift.load(Ordering::Relaxed));
        let seconds = u32::try_from(seconds).unwrap_or(EPOCH_OFFSET);
        self.now.fetch_max(seconds, Ordering::Relaxed);
    }

    /// Moves the clock by `seconds` (memcached's `debugtime`, and tests). Shifts add up; a system clock keeps
    /// the shift as it goes on ticking.
    pub fn advance(&self, seconds: i64) {
        self.shift.fetch_add(seconds, Ordering::Relaxed);
        let now = i64::from(self.now()) + seconds;
        self.now.store(u32::try_from(now.max(1)).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Turns a protocol exptime into a relative time (0: never), by memcached's rules: negative is gone at
    /// once, up to 30 days counts from now, more is absolute.
    pub fn deadline(&self, exptime: i64) -> RelTime {
        match exptime {
            0 => 0,
            // Any time that has passed will do; 1 is before every current time.
            i64::MIN..=-1 => 1,
            1..=RELATIVE_EXPTIME_MAX => {
                u32::try_from(i64::from(self.now()) + exptime).unwrap_or(u32::MAX)
            }
            _ => match exptime - self.epoch_unix {
                i64::MIN..=0 => 1,
                seconds => u32::try_from(seconds).unwrap_or(u32::MAX),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exptimes_follow_memcached() {
        let clock = Clock::manual();
        assert_eq!(clock.deadline(0), 0);
        assert_eq!(clock.deadline(-1), 1);
        assert_eq!(clock.deadline(10), clock.now() + 10);
        assert_eq!(clock.deadline(RELATIVE_EXPTIME_MAX), clock.now() + 2_592_000);
        assert_eq!(clock.deadline(RELATIVE_EXPTIME_MAX + 1), 1, "an absolute time long past");
        assert_eq!(clock.deadline(clock.unix() + 5), clock.now() + 5);
        assert_eq!(clock.deadline(clock.to_unix(0)), 1);
    }

    #[test]
    fn a_manual_clock_moves_by_hand_only() {
        let clock = Clock::manual();
        let before = clock.now();
        clock.tick();
        assert_eq!(clock.now(), before);
        clock.advance(7);
        assert_eq!(clock.now(), before + 7);
        assert_eq!(clock.uptime(), 7);
    }
}
