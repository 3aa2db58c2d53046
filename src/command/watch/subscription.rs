//! A watcher: a bounded buffer of lines between the distributor and the watcher's connection.
//!
//! The connection polls its [`Subscription`] as a future is polled, so that it can sleep in any runtime.

use super::{Hub, Line, Mask};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Room that a line must leave, so that the notice of skipped lines fits too; memcached keeps as much.
const NOTICE_BYTES: usize = 128;

/// Both sides of one watcher.
#[derive(Debug)]
pub(super) struct Watcher {
    kinds: Mask,
    first_gid: u64,
    limit_bytes: usize,
    buffer: Mutex<Buffer>,
}

#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    /// Lines lost since the last one that fitted.
    skipped: u64,
    waker: Option<Waker>,
}

impl Watcher {
    pub(super) fn new(kinds: Mask, first_gid: u64, limit_bytes: usize) -> Self {
        let buffer = Buffer { bytes: b"OK\r\n".to_vec(), skipped: 0, waker: None };
        Self { kinds, first_gid, limit_bytes, buffer: Mutex::new(buffer) }
    }

    pub(super) fn kinds(&self) -> Mask {
        self.kinds
    }

    pub(super) fn wants(&self, line: &Line) -> bool {
        self.kinds.intersects(line.kind) && line.gid >= self.first_gid
    }

    /// Appends a line, after a notice of those that were skipped before it; `false` if there is no room.
    pub(super) fn push(&self, line: &str) -> bool {
        let mut buffer = self.buffer();
        if buffer.bytes.len() + line.len() + NOTICE_BYTES > self.limit_bytes {
            buffer.skipped += 1;
            return false;
        }
        if buffer.skipped > 0 {
            let notice = format!("skipped={}\n", buffer.skipped);
            buffer.bytes.extend_from_slice(notice.as_bytes());
            buffer.skipped = 0;
        }
        buffer.bytes.extend_from_slice(line.as_bytes());
        true
    }

    /// Wakes the connection if there is something for it.
    pub(super) fn wake(&self) {
        let mut buffer = self.buffer();
        if !buffer.bytes.is_empty()
            && let Some(waker) = buffer.waker.take()
        {
            drop(buffer);
            waker.wake();
        }
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection's side of a watcher; dropping it ends the watch.
#[derive(Debug)]
pub struct Subscription {
    watcher: Arc<Watcher>,
    hub: Arc<Hub>,
}

impl Subscription {
    pub(super) fn new(watcher: Arc<Watcher>, hub: Arc<Hub>) -> Self {
        Self { watcher, hub }
    }

    /// Exchanges the buffered bytes for `lines`, which must be empty and keeps its memory; waits while there
    /// are none. Not to be called before the last bytes are written: what has been taken no longer counts
    /// against the watcher's buffer.
    pub fn poll_lines(&self, context: &mut Context<'_>, lines: &mut Vec<u8>) -> Poll<()> {
        debug_assert!(lines.is_empty(), "bytes that are not written yet");
        let mut buffer = self.watcher.buffer();
        if buffer.bytes.is_empty() {
            buffer.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(&mut buffer.bytes, lines);
        Poll::Ready(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.unsubscribe(&self.watcher);
    }
}
