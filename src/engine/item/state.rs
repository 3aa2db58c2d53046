//! What changes of an item that is published: hints of its use, its deadline and its token.

use super::view::View;
use super::{
    ACCESS_MASK, BINARY_KEY, EXPTIME_MAX, FETCHED, FROZEN, FROZEN_EXPTIME, Ordering, POLICY_MASK,
    RelTime, STALE, TOKEN,
};

impl View<'_> {
    /// Notes a use: its time, what the policy makes of it and, with `fetch`, the fetched bit. Plain stores, and only of what
    /// changes; concurrent ones may lose one another, the marks beside them stay.
    #[inline]
    pub fn note_use(self, now: RelTime, policy: u32, fetch: bool) {
        let access = self.access_word();
        let new = access & !ACCESS_MASK | now & ACCESS_MASK;
        if new != access {
            // Relaxed: a hint; what stands beside it is the same in every value ever stored.
            self.header().access.store(new, Ordering::Relaxed);
        }
        let marks = self.marks();
        let fetched = if fetch { FETCHED } else { 0 };
        let new = marks & !POLICY_MASK | policy & POLICY_MASK | fetched;
        if new != marks {
            // Relaxed: as above, but for FETCHED, which is never taken back.
            self.header().policy.store(new, Ordering::Relaxed);
        }
    }

    /// Replaces the policy's bits alone.
    pub fn set_policy_bits(self, policy: u32) {
        let marks = self.marks();
        // Relaxed: as in `note_use`.
        self.header().policy.store(marks & !POLICY_MASK | policy & POLICY_MASK, Ordering::Relaxed);
    }

    /// Changes the deadline, unless it has passed at `now`: the dead do not come back.
    pub fn touch(self, exptime: RelTime, now: RelTime) -> Touched {
        let Some(word) = self.exptime_word() else {
            return if exptime == 0 { Touched::Done } else { Touched::Untimed };
        };
        let mut due = word.load(Ordering::Relaxed);
        while due & FROZEN_EXPTIME == 0 {
            if due != 0 && due <= now {
                return Touched::Dead;
            }
            let new = exptime.min(EXPTIME_MAX);
            // Relaxed: only this word is concerned; its modification order decides which touches come before a freeze.
            match word.compare_exchange_weak(due, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Touched::Done,
                Err(current) => due = current,
            }
        }
        Touched::Frozen
    }

    /// Sets the deadline of an item that is not published yet. Other than 0 it needs room, see [`timed`](Self::timed).
    pub fn set_exptime(self, exptime: RelTime) {
        match self.exptime_word() {
            Some(word) => word.store(exptime.min(EXPTIME_MAX), Ordering::Relaxed),
            None => debug_assert_eq!(exptime, 0, "no room for a deadline"),
        }
    }

    /// Marks the token as sent: `Some(true)` for the one that did it, `None` if this copy is frozen.
    pub fn send_token(self) -> Option<bool> {
        let word = self.short_word();
        let mut short = word.load(Ordering::Relaxed);
        while short & FROZEN == 0 {
            let new = short | TOKEN;
            // Relaxed: as in `touch`.
            match word.compare_exchange_weak(short, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(short & TOKEN == 0),
                Err(current) => short = current,
            }
        }
        None
    }

    /// Freezes this copy and tells its final deadline and token.
    pub fn freeze(self) -> Frozen {
        // Relaxed: as in `touch`. Deadline and token are frozen one after the other; no operation changes both.
        let due =
            self.exptime_word().map_or(0, |word| word.fetch_or(FROZEN_EXPTIME, Ordering::Relaxed));
        let short = self.short_word().fetch_or(FROZEN, Ordering::Relaxed);
        Frozen {
            exptime: due & EXPTIME_MAX,
            token_sent: short & TOKEN != 0,
            fetched: self.fetched(),
        }
    }

    /// Takes marks and deadline that [`Frozen`] and staleness brought back to these, on an item that is not published yet.
    pub fn restore(self, plain: Plain) {
        self.set_exptime(plain.exptime);
        if !plain.stale {
            self.header().policy.fetch_and(!STALE, Ordering::Relaxed);
        }
        if !plain.token_sent {
            self.short_word().fetch_and(!TOKEN, Ordering::Relaxed);
        }
    }

    /// Deadline and marks now, for [`restore`](Self::restore).
    pub fn plain(self) -> Plain {
        Plain { exptime: self.exptime(), stale: self.stale(), token_sent: self.token_sent() }
    }

    /// Sets a mark on an item that is not published yet.
    pub fn mark(self, mark: Mark) {
        let header = self.header();
        match mark {
            Mark::Stale => header.policy.fetch_or(STALE, Ordering::Relaxed),
            Mark::Fetched => header.policy.fetch_or(FETCHED, Ordering::Relaxed),
            Mark::BinaryKey => header.access.fetch_or(BINARY_KEY, Ordering::Relaxed),
            Mark::Token => self.short_word().fetch_or(TOKEN, Ordering::Relaxed).into(),
        };
    }
}

/// Marks that are set before publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Invalidated, to be recached.
    Stale,
    /// The key was given in base64.
    BinaryKey,
    /// Somebody is recaching it.
    Token,
    /// Was fetched (carried over to a copy).
    Fetched,
}

/// What came of a touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// The deadline is changed.
    Done,
    /// This copy has no room for a deadline.
    Untimed,
    /// This copy is about to be replaced.
    Frozen,
    /// The deadline had passed.
    Dead,
}

/// What a draft has of its own before it takes over anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    exptime: RelTime,
    stale: bool,
    token_sent: bool,
}

/// What a frozen copy ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frozen {
    /// Final deadline.
    pub exptime: RelTime,
    /// Final token.
    pub token_sent: bool,
    /// Whether it was fetched.
    pub fetched: bool,
}
