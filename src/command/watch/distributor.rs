//! The watch hub's thread: takes lines from the queue and puts them into the watchers' buffers.
//!
//! It sleeps in the queue while there are no lines, and so for good while nobody watches. A watcher's
//! connection is woken once a batch.

use super::{Hub, Line};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

/// Lines after which watchers are woken though more are queued.
const BATCH: usize = 64;

/// The receiving end of the queue.
#[derive(Debug)]
pub struct Distributor {
    hub: Arc<Hub>,
    lines: Receiver<Line>,
}

impl Distributor {
    pub(super) fn new(hub: Arc<Hub>, lines: Receiver<Line>) -> Self {
        Self { hub, lines }
    }

    /// Distributes lines until [`Hub::stop`]; to be run by a thread of its own.
    pub fn run(self) {
        while let Ok(line) = self.lines.recv() {
            self.distribute(&line);
            for line in self.lines.try_iter().take(BATCH - 1) {
                self.distribute(&line);
            }
            self.wake();
            if self.hub.stopping() {
                return;
            }
        }
    }

    /// Distributes what is queued now and returns; for tests and for a hub without a thread.
    pub fn run_once(&self) {
        for line in self.lines.try_iter() {
            self.distribute(&line);
        }
        self.wake();
    }

    fn distribute(&self, line: &Line) {
        self.hub.dequeued(line.text.len());
        for watcher in self.hub.watchers().iter().filter(|watcher| watcher.wants(line)) {
            let counter = if watcher.push(&line.text) {
                &self.hub.watcher_sent
            } else {
                &self.hub.watcher_skipped
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn wake(&self) {
        for watcher in self.hub.watchers().iter() {
            watcher.wake();
        }
    }
}
