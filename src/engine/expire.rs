//! What has passed its time: flush, expiry in the background, and the keeper's round.
//!
//! A dead item is treated as absent by whoever meets it, and removed then. The keeper's round meets the others, so that
//! memory comes back without an access. The engine keeps the earliest deadline it knows: without anything due, a round
//! costs nothing.

use super::session::{Cursor, Session};
use super::{Engine, Handle, memory};
use crate::clock::RelTime;
use crate::sync::Ordering;
use std::sync::Arc;

/// Buckets visited under one pin.
const STRIDE: usize = 1024;
/// A full round over the table is spread over at least this many calls of `maintain`, that is, takes a second;
const ROUND_CALLS: usize = 10;
/// a large table's takes longer, so many buckets a call: with ten million items and deadlines all the time a round takes six
/// seconds and a tenth of a core, and each item that has expired a third of a microsecond more (`cargo bench --bench evict`).
const CALL_BUCKETS: usize = 256 * 1024;
/// Samples that one call of `maintain` evicts at most when the memory limit was lowered.
const SHRINK_SAMPLES: usize = 20_000;
/// Steps of the epoch, and one to spare, until what was removed is freed.
const EPOCHS: usize = 4;
/// Samples evicted under one pin.
const SHRINK_STRIDE: usize = 100;

impl Engine {
    /// `flush_all`: whatever was stored before this call is gone.
    pub fn flush(&self) {
        self.flushing.fetch_add(1, Ordering::SeqCst);
        let last = self.versions.load(Ordering::SeqCst);
        self.flushed.fetch_max(last, Ordering::SeqCst);
        self.flushing.fetch_sub(1, Ordering::SeqCst);
        // The keeper is to give the memory back.
        self.next_due.store(0, Ordering::Relaxed);
    }

    /// `flush_all` with a delay: at relative time `when` whatever was stored before then is gone. A later call takes the place
    /// of an earlier one; 0 cancels.
    pub fn flush_at(&self, when: RelTime) {
        let due = self.flush_at.load(Ordering::Relaxed);
        if due != 0 && due <= self.clock.now() {
            // Its time has come and no session has noticed yet.
            self.run_due_flush(due);
        }
        self.flush_at.store(when, Ordering::Relaxed);
        self.note_due(when);
    }

    /// Flushes if nobody else has done it since `due` was read.
    pub(super) fn run_due_flush(&self, due: RelTime) {
        if self.flush_at.compare_exchange(due, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.flush();
        }
    }

    /// Takes note that something is due at `exptime` (0: never); after the item shows it, so that a round which has passed
    /// the item before finds the note.
    #[inline]
    pub(super) fn note_due(&self, exptime: RelTime) {
        if exptime != 0 && exptime < self.next_due.load(Ordering::Relaxed) {
            self.next_due.fetch_min(exptime, Ordering::Relaxed);
        }
    }

    /// The keeper's work, to be called some ten times a second from one thread: advances a round over the table that removes
    /// what is dead, evicts down to a lowered limit, and lets the epoch move on.
    pub fn maintain(&self, handle: &Handle) {
        self.advance_round(handle);
        self.compact(handle);
        self.fit_policy();
        self.shrink(handle);
        handle.settle();
        memory::trim();
    }

    /// Removes every item and lets the epoch move on, so that its memory comes back if no session is open.
    pub(super) fn empty(self: &Arc<Self>) {
        self.flush();
        let handle = self.handle();
        let size = self.table.buckets().size();
        for at in (0..size).step_by(STRIDE) {
            handle.pin().sweep(at, (at + STRIDE).min(size));
        }
        for _ in 0..EPOCHS {
            handle.settle();
        }
    }

    fn advance_round(&self, handle: &Handle) {
        let size = self.table.buckets().size();
        let mut at = self.round.load(Ordering::Relaxed);
        if at == 0 {
            if self.clock.now() < self.next_due.load(Ordering::Relaxed) {
                return;
            }
            // The round finds the next deadline anew; stores meanwhile lower it as they come.
            self.next_due.store(RelTime::MAX, Ordering::Relaxed);
        }
        let end = (at + (size / ROUND_CALLS).clamp(STRIDE, CALL_BUCKETS)).min(size);
        while at < end {
            let stop = (at + STRIDE).min(end);
            handle.pin().sweep(at, stop);
            at = stop;
        }
        self.round.store(if at >= self.table.buckets().size() { 0 } else { at }, Ordering::Relaxed);
    }

    fn shrink(&self, handle: &Handle) {
        if !self.options.evictions {
            return;
        }
        for _ in 0..SHRINK_SAMPLES / SHRINK_STRIDE {
            let session = handle.pin();
            for _ in 0..SHRINK_STRIDE {
                let shortage = session.shortage(0, 0);
                if shortage == 0 || !session.evict_some(shortage, 0) {
                    return;
                }
            }
            drop(session);
            handle.settle();
        }
    }
}

impl Session<'_> {
    /// Removes the dead items of the next buckets behind `cursor`; where to go on, or `None` at the end.
    pub fn crawl(&self, cursor: Cursor) -> Option<Cursor> {
        let buckets = self.engine().table.buckets().size();
        let from = usize::try_from(cursor.0).unwrap_or(usize::MAX).min(buckets);
        let to = from.saturating_add(STRIDE).min(buckets);
        self.sweep(from, to);
        (to < buckets).then_some(Cursor(to as u64))
    }

    /// Removes the dead items of buckets `from..to`.
    fn sweep(&self, from: usize, to: usize) {
        let engine = self.engine();
        let (mut checked, mut removed) = (0, 0);
        for index in from..to {
            engine.table.prefetch_ahead_of(index, self);
            engine.table.visit_bucket(index, self, |view, spot| {
                checked += 1;
                match self.vitality(view).end() {
                    None => engine.note_due(view.exptime()),
                    Some(why) => removed += u64::from(self.take_out_at(&spot, why)),
                }
            });
        }
        self.counters().crawler_items_checked.add(checked);
        self.counters().crawler_reclaimed.add(removed);
    }

    /// Removes every dead item; whether there was any (`-M` has nothing else to give up).
    pub(super) fn reclaim_dead(&self) -> bool {
        if self.now() < self.engine().next_due.load(Ordering::Relaxed) {
            return false;
        }
        // The sweep finds the next deadline anew.
        self.engine().next_due.store(RelTime::MAX, Ordering::Relaxed);
        let before = self.counters().crawler_reclaimed.get();
        self.sweep(0, self.engine().table.buckets().size());
        self.counters().crawler_reclaimed.get() != before
    }
}
