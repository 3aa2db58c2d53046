//! The writer: one thread that turns marks into frames, cycle by cycle.
//!
//! A cycle takes the keys that were marked, looks up what each of them is now, packs that into frames and hands the
//! frames to the kernel. Then, if a checkpoint is under way, it writes some of that: the table is walked into the same
//! log, part after part, and what lies before a whole round of parts is superseded (see [`round`](super::round)).
//! Because one thread looks things up and numbers the frames, later frames are newer, whichever of the two
//! wrote them.
//!
//! Each part begins a new generation. It is due when the log has outgrown what it is a log of; a whole round is, after the
//! disk has failed, and when marks were lost. After a failure, or when removals were lost, what is on disk may contradict
//! what clients were told; then the new generation voids all before it at once, and what a crash costs
//! until the round is through are misses.

use super::Options;
use super::batch::Batch;
use super::checkpoint::{Landing, Walk};
use super::directory;
use super::directory::{Directory, Name};
use super::frame::{Packer, Stamp};
use super::generation::{Generation, Syncer};
use super::janitor::Janitor;
use super::manifest::Manifest;
use super::progress::Loading;
use super::record::Record;
use super::round::Round;
use super::status::{State, Status};
use crate::engine::{Engine, Handle, Lookup, Lost, Marks};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Keys or items looked at under one pin.
pub(super) const STRIDE: usize = 64;
/// Bytes packed under one pin, but for the last record.
pub(super) const READY_MAX: usize = 256 << 10;

/// From one cycle to the next at least.
const CYCLE_MIN: Duration = Duration::from_millis(1);

/// Time until a failed disk is tried again: from, and up to.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// Generations are voided for lost removals no more often than this.
const VOID_EVERY: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 1 });

/// The writer's state.
pub(super) struct Writer {
    pub(super) engine: Arc<Engine>,
    pub(super) handle: Handle,
    marks: Arc<Marks>,
    pub(super) directory: Arc<Directory>,
    pub(super) janitor: Janitor,
    pub(super) status: Arc<Status>,
    pub(super) loading: Arc<Loading>,
    pub(super) options: Options,
    pub(super) manifest: Manifest,
    /// Of the manifest, to be saved in this order.
    pub(super) serial: u64,
    pub(super) packer: Packer,
    batch: Batch,
    /// Clients have changed something: if the log is lost, what is on disk may contradict what they were told.
    pub(super) changed: bool,
    /// `None` while the disk refuses.
    pub(super) log: Option<Generation>,
    /// A generation is being made for the next walk.
    pub(super) preparing: bool,
    /// It is there.
    pub(super) prepared: Option<Generation>,
    /// Generations that are being made and were asked for before this one began.
    pub(super) stale: u32,
    /// Generations before this one whose database has not handed everything to the kernel yet.
    pub(super) closing: Vec<Generation>,
    /// Which part of the table is written when.
    pub(super) round: Round,
    pub(super) walk: Option<Walk>,
    pub(super) landings: VecDeque<Landing>,
    /// Generations before that one which still count.
    pub(super) older: Vec<Name>,
    /// What was written and the disk was not asked about yet.
    pub(super) unsynced: Vec<Syncer>,
    synced_at: Instant,
    /// Frames were written since.
    dirty: bool,
    lost: Lost,
    pub(super) voided_at: Option<Instant>,
    retry_at: Instant,
    retry_in: Duration,
}

/// What a writer begins with.
pub(super) struct Start {
    pub(super) directory: Arc<Directory>,
    pub(super) manifest: Manifest,
    /// Generations that count.
    pub(super) older: Vec<Name>,
}

impl Writer {
    /// A writer on the calling thread. It writes nothing until [`run`](Self::run) or [`begin`](Self::begin).
    pub(super) fn new(
        engine: Arc<Engine>,
        status: Arc<Status>,
        loading: Arc<Loading>,
        options: Options,
        start: Start,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let marks = engine.mark_changes();
        Ok(Self {
            handle: engine.handle(),
            lost: marks.lost(),
            marks,
            janitor: Janitor::start(
                Arc::clone(&start.directory),
                options.disk.clone(),
                Arc::clone(&status),
            )?,
            directory: start.directory,
            status,
            loading,
            options,
            manifest: start.manifest,
            serial: 0,
            packer: Packer::new(0, Stamp::default(), start.manifest.next),
            batch: Batch::default(),
            changed: false,
            log: None,
            preparing: false,
            prepared: None,
            stale: 0,
            closing: Vec::new(),
            round: Round::new(),
            walk: None,
            landings: VecDeque::new(),
            older: start.older,
            unsynced: Vec::new(),
            synced_at: now,
            dirty: false,
            voided_at: None,
            retry_at: now,
            retry_in: RETRY.0,
            engine,
        })
    }

    /// Cycles until it is to stop.
    pub(super) fn run(mut self) {
        self.status.is_written_by(std::thread::current());
        loop {
            let begun = Instant::now();
            let stopping = self.status.is_stopping();
            self.cycle();
            self.handle.settle();
            let took = begun.elapsed();
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.status.counters.longest_cycle_us.fetch_max(us, Ordering::Relaxed);
            if stopping {
                return self.finish();
            }
            // Those who hurry share a cycle.
            let rest = CYCLE_MIN.saturating_sub(took);
            std::thread::sleep(rest);
            std::thread::park_timeout(self.options.commit_interval.saturating_sub(took + rest));
        }
    }

    fn cycle(&mut self) {
        let cycle = self.status.begin();
        match self.work() {
            Ok(true) => {
                self.status.commit(cycle);
                if self.status.set_state(State::Ok) == State::Degraded {
                    tracing::info!("persistence: the disk is back, writing everything anew");
                }
            }
            Ok(false) => {}
            Err(error) => self.fail(&error),
        }
    }

    /// One cycle's work; `false` if the disk is left alone for now.
    fn work(&mut self) -> io::Result<bool> {
        if self.log.is_none() {
            if Instant::now() < self.retry_at {
                self.forget_marks();
                return Ok(false);
            }
            self.begin(self.changed)?;
        }
        self.keep_manifest()?;
        self.look_for_losses()?;
        let bytes = self.write_changes()?;
        self.write_table(bytes)?;
        self.log()?.tend()?;
        self.close_older()?;
        self.sync_now_and_then()?;
        self.checkpoint_when_due()?;
        self.retry_in = RETRY.0;
        Ok(true)
    }

    /// The disk has failed: what is written from now on begins anew.
    fn fail(&mut self, error: &io::Error) {
        self.status.counters.errors.fetch_add(1, Ordering::Relaxed);
        if self.status.set_state(State::Degraded) != State::Degraded {
            tracing::error!("persistence: {error}; the cache serves on, changes are not written");
        }
        self.log = None;
        self.forget_prepared();
        self.closing.clear();
        // What is there besides may have been left by what has failed.
        self.older = directory::generations(self.directory.path());
        self.interrupt();
        self.unsynced.clear();
        self.packer.forget();
        self.batch.clear();
        self.forget_marks();
        self.retry_at = Instant::now() + self.retry_in;
        self.retry_in = (self.retry_in * 2).min(RETRY.1);
    }

    /// Takes note that the first write has failed.
    pub(super) fn refused(&mut self, error: io::Error) -> io::Error {
        self.fail(&error);
        error
    }

    /// Keeps the rings from filling up; the next checkpoint meets what they stand for.
    fn forget_marks(&mut self) {
        let changed = &mut self.changed;
        self.marks.drain(&mut |_| *changed = true);
    }

    fn look_for_losses(&mut self) -> io::Result<()> {
        let lost = self.marks.lost();
        if lost == self.lost {
            return Ok(());
        }
        let removals = lost.removals != self.lost.removals;
        let counters = &self.status.counters;
        counters.lost_stores.store(lost.stores, Ordering::Relaxed);
        counters.lost_removals.store(lost.removals, Ordering::Relaxed);
        if !removals {
            self.round.owe();
        } else if self.voided_at.is_none_or(|at| at.elapsed() >= VOID_EVERY) {
            tracing::error!(
                "persistence: {} removals came faster than the disk takes them; what was on disk is void, a checkpoint begins",
                lost.removals - self.lost.removals
            );
            self.begin(true)?;
        } else {
            // Looked at again in the next cycle.
            self.lost.stores = lost.stores;
            return Ok(());
        }
        self.lost = lost;
        Ok(())
    }

    /// Writes what was marked; the bytes that took.
    fn write_changes(&mut self) -> io::Result<u64> {
        let marked = self.batch.fill(&self.marks, &self.handle.pin());
        let keys = self.batch.len();
        self.changed |= keys > 0;
        let mut bytes = 0;
        let mut next = 0;
        while next < keys {
            let session = self.handle.pin();
            let until = keys.min(next + STRIDE);
            while next < until && self.packer.ready() < READY_MAX {
                let key = self.batch.key(next);
                next += 1;
                match session.peek(session.key(key)) {
                    Lookup::Hit(item) => self.packer.add(&Record::Item(session.save(&item))),
                    Lookup::Miss | Lookup::Expired | Lookup::Flushed => {
                        self.packer.add(&Record::Removal { key });
                    }
                }
            }
            drop(session);
            bytes += self.write_out()?;
        }
        self.batch.clear();
        self.packer.seal();
        bytes += self.write_out()?;
        self.round.grow(bytes);
        let counters = &self.status.counters;
        add_to(&counters.marked, marked);
        add_to(&counters.records, keys as u64);
        add_to(&counters.log_bytes, bytes);
        Ok(bytes)
    }

    pub(super) fn log(&mut self) -> io::Result<&mut Generation> {
        self.log.as_mut().ok_or_else(|| io::Error::other("no generation"))
    }

    /// Appends the frames that are ready; their bytes.
    pub(super) fn write_out(&mut self) -> io::Result<u64> {
        let bytes = self.packer.ready() as u64;
        if bytes > 0 {
            let Some(log) = &mut self.log else { return Err(io::Error::other("no generation")) };
            self.dirty = true;
            self.packer.write_out(|frame| log.append(frame))?;
        }
        Ok(bytes)
    }

    /// Has the janitor wait for the disk; the number to wait for.
    pub(super) fn sync(&mut self) -> io::Result<u64> {
        let mut syncers = std::mem::take(&mut self.unsynced);
        syncers.push(self.log()?.syncer());
        self.synced_at = Instant::now();
        // What the database has not handed on yet is for the next time.
        let log = self.log()?;
        self.dirty = !log.has_flushed(log.position());
        Ok(self.janitor.sync(syncers))
    }

    fn sync_now_and_then(&mut self) -> io::Result<()> {
        if self.janitor.has_failed() {
            return Err(io::Error::other("the disk did not take what was written"));
        }
        let us = self.janitor.sync_us();
        self.status.counters.sync_us.store(us, Ordering::Relaxed);
        let dirty = self.dirty || !self.closing.is_empty() || !self.unsynced.is_empty();
        let due = self.synced_at.elapsed() >= self.options.fsync_interval;
        if dirty && due && self.janitor.is_idle() {
            self.sync()?;
        }
        Ok(())
    }

    /// Everything is to be on disk, to stop.
    fn finish(mut self) {
        let done = self.finish_writing();
        match done {
            Ok(()) => tracing::info!("persistence: everything is on disk"),
            Err(error) => tracing::error!("persistence: stopped with changes not on disk: {error}"),
        }
    }

    fn finish_writing(&mut self) -> io::Result<()> {
        if let Some(prepared) = self.prepared.take() {
            self.directory.remove(prepared.name());
        }
        let lost = self.marks.lost() != self.lost;
        if self.log.is_none() || lost {
            self.begin(lost || self.changed)?;
        }
        while self.status.needs_loading() && !self.loading.is_over() {
            std::thread::sleep(CYCLE_MIN);
        }
        self.finish_round()?;
        self.write_changes()?;
        let open = self.closing.drain(..).chain(self.log.take());
        let closed = open.map(|mut generation| generation.flush().map(|()| generation.close()));
        let closed = closed.collect::<io::Result<Vec<_>>>()?;
        for syncer in self.unsynced.drain(..).chain(closed) {
            syncer.sync()?;
        }
        while !self.janitor.is_idle() {
            std::thread::sleep(CYCLE_MIN);
        }
        if self.janitor.has_failed() {
            return Err(io::Error::other("the disk did not take what was written"));
        }
        let (next, versions) = (self.packer.end(), self.engine.last_version());
        self.save(|manifest| manifest.next = next)?;
        // The reserve is given back: a clean stop knows the last version.
        let manifest = Manifest { clean: true, versions, ..self.manifest };
        self.directory.save(manifest, self.serial + 1)
    }
}

pub(super) fn add_to(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
