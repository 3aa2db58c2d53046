//! The shared side of `watch`: who watches what, and the queue that workers put lines into.

use super::{Distributor, Line, Mask, Subscription, subscription::Watcher};
use crate::command::options::Options;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most watchers at one time; memcached's bound.
const WATCHERS_MAX: usize = 20;

/// Bytes of queue a line is taken to need: sizes the queue's slots.
const LINE_BYTES: usize = 128;

/// What `stats` tells of the lines (its `log_*`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Lines that did not fit the queue.
    pub worker_dropped: u64,
    /// Lines put in the queue.
    pub worker_written: u64,
    /// Lines that did not fit a watcher's buffer.
    pub watcher_skipped: u64,
    /// Lines put in a watcher's buffer.
    pub watcher_sent: u64,
    /// Watchers at this time.
    pub watchers: usize,
}

/// The kinds that somebody watches: read with every command, so it shares its cache line with nothing that
/// is written while serving.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Watched(AtomicU32);

/// Where lines are put and watchers sign up.
#[derive(Debug)]
pub struct Hub {
    watched: Watched,
    queue: SyncSender<Line>,
    /// Bytes of lines in the queue; Relaxed: a bound, not a lock.
    queued_bytes: AtomicUsize,
    queue_limit_bytes: usize,
    buffer_limit_bytes: usize,
    gid: AtomicU64,
    watchers: Mutex<Vec<Arc<Watcher>>>,
    stopping: AtomicBool,
    worker_dropped: AtomicU64,
    worker_written: AtomicU64,
    pub(super) watcher_skipped: AtomicU64,
    pub(super) watcher_sent: AtomicU64,
}

impl Hub {
    /// A hub, and the distributor that a thread has to run for watchers to see anything.
    #[must_use]
    pub fn new(options: &Options) -> (Arc<Self>, Distributor) {
        let workers = usize::try_from(options.num_threads).unwrap_or(1).max(1);
        let queue_limit_bytes = options.worker_logbuf_size_bytes.saturating_mul(workers);
        let (queue, lines) = sync_channel((queue_limit_bytes / LINE_BYTES).clamp(16, 1 << 16));
        let hub = Arc::new(Self {
            watched: Watched::default(),
            queue,
            queued_bytes: AtomicUsize::new(0),
            queue_limit_bytes,
            buffer_limit_bytes: options.watcher_logbuf_size_bytes,
            gid: AtomicU64::new(1),
            watchers: Mutex::default(),
            stopping: AtomicBool::new(false),
            worker_dropped: AtomicU64::new(0),
            worker_written: AtomicU64::new(0),
            watcher_skipped: AtomicU64::new(0),
            watcher_sent: AtomicU64::new(0),
        });
        let distributor = Distributor::new(Arc::clone(&hub), lines);
        (hub, distributor)
    }

    /// Whether somebody watches lines of `kind`.
    #[inline]
    pub fn watching(&self, kind: Mask) -> bool {
        // Relaxed: a watcher may miss what happens while it signs up.
        Mask(self.watched.0.load(Ordering::Relaxed)).intersects(kind)
    }

    /// Queues a line for whoever watches `kind`: the time and the line's number, then what `write` writes.
    /// Loses it if the queue is full.
    #[cold]
    pub fn log(&self, kind: Mask, write: impl FnOnce(&mut String) -> fmt::Result) {
        // The coarse clock is too coarse for a log; this path runs only while somebody watches.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let gid = self.gid.fetch_add(1, Ordering::Relaxed);
        let mut text = String::with_capacity(LINE_BYTES);
        let header = write!(text, "ts={}.{} gid={gid} ", now.as_secs(), now.subsec_micros());
        // Writing to a string cannot fail.
        let _ = header.and_then(|()| write(&mut text));
        text.push('\n');
        self.enqueue(Line { kind, gid, text });
    }

    fn enqueue(&self, line: Line) {
        let bytes = line.text.len();
        let queued = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued + bytes <= self.queue_limit_bytes && self.queue.try_send(line).is_ok() {
            self.worker_written.fetch_add(1, Ordering::Relaxed);
        } else {
            self.dequeued(bytes);
            self.worker_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that a line of `bytes` bytes has left the queue.
    pub(super) fn dequeued(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Signs up a watcher for `kinds`; `None` when there are too many. The subscription begins with the `OK`
    /// line and ends when it is dropped.
    pub fn subscribe(self: &Arc<Self>, kinds: Mask) -> Option<Subscription> {
        let mut watchers = self.watchers();
        if watchers.len() >= WATCHERS_MAX {
            return None;
        }
        let first_gid = self.gid.load(Ordering::Relaxed);
        let watcher = Arc::new(Watcher::new(kinds, first_gid, self.buffer_limit_bytes));
        watchers.push(Arc::clone(&watcher));
        self.set_watched(&watchers);
        Some(Subscription::new(watcher, Arc::clone(self)))
    }

    pub(super) fn unsubscribe(&self, watcher: &Arc<Watcher>) {
        let mut watchers = self.watchers();
        watchers.retain(|other| !Arc::ptr_eq(other, watcher));
        self.set_watched(&watchers);
    }

    fn set_watched(&self, watchers: &[Arc<Watcher>]) {
        let all = watchers.iter().fold(Mask::NONE, |all, watcher| all.with(watcher.kinds()));
        self.watched.0.store(all.0, Ordering::Relaxed);
    }

    pub(super) fn watchers(&self) -> MutexGuard<'_, Vec<Arc<Watcher>>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the distributor's [`run`](Distributor::run) return, after what is queued.
    pub fn stop(&self) {
        // Release: pairs with the Acquire of `stopping`. A full queue needs no waking line.
        self.stopping.store(true, Ordering::Release);
        let _ = self.queue.try_send(Line { kind: Mask::NONE, gid: 0, text: String::new() });
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Starts counting from zero (`stats reset`).
    pub fn reset_stats(&self) {
        let counters =
            [&self.worker_dropped, &self.worker_written, &self.watcher_skipped, &self.watcher_sent];
        for counter in counters {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// The counts that `stats` shows.
    pub fn stats(&self) -> LogStats {
        LogStats {
            worker_dropped: self.worker_dropped.load(Ordering::Relaxed),
            worker_written: self.worker_written.load(Ordering::Relaxed),
            watcher_skipped: self.watcher_skipped.load(Ordering::Relaxed),
            watcher_sent: self.watcher_sent.load(Ordering::Relaxed),
            watchers: self.watchers().len(),
        }
    }
}
