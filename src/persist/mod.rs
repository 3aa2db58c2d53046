//! Persistence: the cache is warm again after a restart, a kill or a power cut.
//!
//! ## How it works
//!
//! ```text
//!   worker ──change──► table                                            engine
//!      └────mark────► ring ──► writer ──► frames ──► sled ──► disk       persist
//!                                └─ walks the table: a checkpoint
//! ```
//!
//! A worker that has changed a key leaves the key in a ring and goes on; it never waits, and takes no lock. Every
//! [`commit_interval`](Options::commit_interval) the writer empties the rings, looks up what each key is now, and
//! appends that to a log. The truth is in memory, so the log can be written anew from there at any time. That makes
//! everything else simple: nothing is compacted, repaired or updated in place, and what fails is begun again.
//!
//! ## What is promised
//!
//! * A clean stop loses nothing. A kill loses at most the last 100 ms of what was acknowledged (and for as long as these threads
//!   were ready and found no processor), a power cut at most the last second. A
//!   flush is on disk before it is answered.
//! * What comes back was stored, whole, with its flags, deadline and cas unique, and is the newest state of its key
//!   that reached the disk. What had expired, was deleted or flushed stays away. Cas uniques are never given out twice.
//! * The disk never holds up a command. When it is slow, full or broken, the cache serves on, and says so.
//! * A damaged directory costs what is damaged, not the start.
//!
//! Loading begins before the first client and may go on beside them ([`Startup::Serve`]). What is brought back is older than
//! whatever a client has done, and gives way to it: the engine sees to that, whether the client has stored the key,
//! deleted it, or found it missing after it had expired.
//!
//! Evictions are not written down: an item that was evicted may come back after a restart. A delete of a key that
//! is not there is, for that reason.
//!
//! | file | what |
//! |---|---|
//! | `record`, `frame` | the bytes on disk: a key's newest state, and packs of those with a checksum |
//! | `generation`, `tail` | a run of frames in a database of its own, the door to sled; and the newest ones once more |
//! | `directory`, `manifest` | what lies where, and which of it counts |
//! | `disk` | what is asked of the disk, and where tests take its place |
//! | `batch`, `writer` | from marks to frames |
//! | `succession` | which generation is written to, and which count |
//! | `round`, `checkpoint`, `janitor` | the table into the log, part after part, and what may take a disk long |
//! | `scan`, `recover`, `load`, `progress` | finding frames, reading them newest first, bringing them back, and how far that is |
//! | `inspect` | what a directory holds, without serving it |
//! | `status` | numbers for everybody else |

mod batch;
mod checkpoint;
mod directory;
mod disk;
mod frame;
mod generation;
mod inspect;
mod janitor;
mod load;
mod manifest;
mod progress;
mod record;
mod recover;
mod round;
mod scan;
mod status;
mod succession;
mod tail;
mod writer;

#[cfg(test)]
mod tests;

pub use directory::OpenError;
pub use disk::{Disk, Faults, Operation};
pub use generation::contains_panics_of;
pub use inspect::{Report, export, inspect};
pub use status::{Counters, State, Status};

use crate::engine::Engine;
use directory::Directory;
use load::Loaded;
use manifest::Manifest;
use progress::{Loading, Progress};
use recover::Recovery;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use writer::{Start, Writer};

/// How often a directory that could not be used is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// When clients are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Startup {
    /// When what is on disk is back, but after [`load_limit`](Options::load_limit) at the latest.
    #[default]
    Wait,
    /// At once: what is not back yet is a miss.
    Serve,
}

/// How persistence is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the data is.
    pub directory: PathBuf,
    /// From one cycle of the writer to the next. What a kill may lose is this and the time that a cycle takes.
    pub commit_interval: Duration,
    /// From one wait for the disk to the next. What a power cut may lose is this, the wait, and what a kill loses.
    pub fsync_interval: Duration,
    /// When clients are served.
    pub startup: Startup,
    /// Longest time that clients wait for loading; the rest is loaded beside them.
    pub load_limit: Duration,
    /// `true`: no start without a directory that can be written.
    pub required: bool,
    /// A seam for tests.
    pub disk: Disk,
}

impl Options {
    /// The defaults, in this directory.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            commit_interval: Duration::from_millis(25),
            fsync_interval: Duration::from_millis(250),
            startup: Startup::default(),
            load_limit: Duration::from_secs(300),
            required: false,
            disk: Disk::default(),
        }
    }
}

/// Why persistence does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory is in use, or cannot be used and has to be.
    #[error(transparent)]
    Directory(#[from] OpenError),
    /// Nothing can be written and it has to be.
    #[error("the data directory {} cannot be written: {cause}", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The system has no thread.
    #[error("cannot start the persistence thread: {0}")]
    Thread(io::Error),
}

/// Persistence at work. Dropping it writes everything and stops.
#[derive(Debug)]
pub struct Persist {
    status: Arc<Status>,
    /// How long clients are to wait for loading.
    patience: Duration,
    /// Says when loading is over.
    loaded: Receiver<()>,
    loader: Option<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
}

impl Persist {
    /// Begins to bring back what the directory holds, and to write. To be called before anybody else has a handle of the
    /// engine.
    ///
    /// # Errors
    /// Another Volt has the directory; and, if persistence is [required](Options::required), it cannot be written.
    pub fn start(engine: &Arc<Engine>, options: Options) -> Result<Self, StartError> {
        let begun = Instant::now();
        let (status, loading) = (Arc::new(Status::default()), Arc::new(Loading::default()));
        // What loading does is no change: it has handles of its own kind.
        let _ = engine.mark_changes();
        let (over, loaded) = channel();
        let patience = match options.startup {
            Startup::Wait => options.load_limit,
            Startup::Serve => Duration::ZERO,
        };
        let mut persist =
            Self { status: Arc::clone(&status), patience, loaded, loader: None, writer: None };
        let start = match Directory::open(&options.directory, &options.disk) {
            Ok(directory) => {
                let recovery = open(engine, directory.path());
                let start = Start::of(Arc::new(directory), &recovery);
                let load = Load { recovery, disk: options.disk.clone(), begun, over };
                persist.loader = Some(load.start(engine, &status, &loading)?);
                Some(start)
            }
            Err(OpenError::Unusable { path, cause }) if !options.required => {
                tracing::error!("persistence: {} cannot be used: {cause}", path.display());
                go_by_time(engine);
                status.set_state(State::Degraded);
                status.loaded();
                loading.end(Vec::new());
                None
            }
            Err(error) => return Err(error.into()),
        };
        let engine = Arc::clone(engine);
        let (ready, begun) = channel();
        let (required, path) = (options.required, options.directory.clone());
        let task = Task { engine, status, loading, options };
        let writer = thread::Builder::new()
            .name(generation::thread_name("log"))
            .spawn(move || task.write(start, &ready))
            .map_err(StartError::Thread)?;
        persist.writer = Some(writer);
        // The versions that are about to be given out are reserved on disk when this returns.
        match begun.recv() {
            Ok(Err(cause)) if required => Err(StartError::Unwritable { path, cause }),
            _ => Ok(persist),
        }
    }

    /// Waits until clients may be served.
    pub fn wait(&self) {
        if self.loaded.recv_timeout(self.patience) == Err(RecvTimeoutError::Timeout) {
            tracing::info!("persistence: clients are served while loading goes on");
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }
}

impl Drop for Persist {
    fn drop(&mut self) {
        self.status.stop();
        for thread in [self.loader.take(), self.writer.take()].into_iter().flatten() {
            // A panic has been reported; there is nobody to tell here.
            let _ = thread.join();
        }
    }
}

/// Has versions begin where no other run's do, when there is no manifest to go by, or none can be written: above what any run
/// that began earlier has given out, if that was less than 2^24 a second.
fn go_by_time(engine: &Engine) {
    engine.resume(engine.clock().unix().unsigned_abs() << 24, 0);
}

/// Opens what is there and has the engine go on from it.
fn open(engine: &Engine, path: &std::path::Path) -> Recovery {
    let mut recovery = Recovery::open(path);
    if recovery.manifest_lost {
        // The frames say what it said, but for flushes that none has followed.
        recovery.scan(&mut |_| true);
    }
    let manifest = &mut recovery.manifest;
    let now = engine.clock().unix();
    let due = i64::try_from(manifest.flush_at).unwrap_or(i64::MAX);
    if due != 0 && due <= now {
        // Nobody was there when its time came.
        manifest.flushed = manifest.versions;
        manifest.flush_at = 0;
    }
    engine.resume(manifest.versions, manifest.flushed);
    if due > now {
        engine.flush_at(engine.clock().from_unix(due));
    }
    engine.begin_restoring();
    recovery
}

/// Loading, to be done on a thread of its own.
struct Load {
    recovery: Recovery,
    disk: Disk,
    begun: Instant,
    /// Told when it is over.
    over: Sender<()>,
}

impl Load {
    fn start(
        self,
        engine: &Arc<Engine>,
        status: &Arc<Status>,
        loading: &Arc<Loading>,
    ) -> Result<JoinHandle<()>, StartError> {
        let (engine, status, loading) =
            (Arc::clone(engine), Arc::clone(status), Arc::clone(loading));
        let run = move || {
            let over = self.over.clone();
            let run = AssertUnwindSafe(|| self.run(&engine, &status));
            let damaged = catch_unwind(run).unwrap_or_else(|_| {
                tracing::error!("persistence: loading has panicked; what is not back is lost");
                Vec::new()
            });
            engine.end_restoring();
            status.loaded();
            loading.end(damaged);
            // Nobody waits when clients are served at once.
            let _ = over.send(());
        };
        let named = thread::Builder::new().name(generation::thread_name("load"));
        named.spawn(run).map_err(StartError::Thread)
    }

    /// Brings everything back; the generations that are damaged.
    fn run(mut self, engine: &Arc<Engine>, status: &Status) -> Vec<directory::Name> {
        let recovery = &mut self.recovery;
        let mut progress = Progress::new(status, recovery.bytes());
        if !recovery.manifest_lost {
            if !recovery.scan(&mut |bytes| progress.looked(bytes)) {
                return Vec::new();
            }
            // No less than the manifest says: frames carry what was reserved, a clean stop gives that back.
            engine.resume(recovery.manifest.versions, recovery.manifest.flushed);
        }
        let missing = recovery.missing();
        let loaded = load::load(recovery, engine, status, &self.disk, &mut progress);
        let took = self.begun.elapsed();
        let counters = &status.counters;
        counters.recovery_percent.store(100, Ordering::Relaxed);
        counters.recovery_missing.store(missing, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counters.recovery_us.store(us, Ordering::Relaxed);
        report(recovery, loaded, missing, took);
        // Where there is nothing, there is nothing to be looked at.
        let worth = recovery.damaged().filter(|found| !found.is_empty());
        worth.map(|found| found.name.clone()).collect()
    }
}

fn report(recovery: &Recovery, loaded: Loaded, missing: u64, took: Duration) {
    if missing > 0 {
        tracing::warn!(
            "persistence: {missing} frames are damaged or missing; what they held is lost"
        );
    }
    for found in recovery.broken() {
        tracing::warn!(
            "persistence: generation {} lacks a file, or cannot be read as a whole",
            found.name.number
        );
    }
    if recovery.manifest_lost {
        tracing::warn!("persistence: the manifest is lost; all frames that are there count");
    }
    let Loaded { items, bytes, dead, cut_short } = loaded;
    let how = match cut_short {
        true => ", the rest found no room, or could not be read",
        false => "",
    };
    tracing::info!(
        "persistence: {items} items of {bytes} bytes are back after {took:?}{how}; {dead} had expired or were flushed"
    );
}

/// What the writer's thread has.
struct Task {
    engine: Arc<Engine>,
    status: Arc<Status>,
    loading: Arc<Loading>,
    options: Options,
}

impl Task {
    /// The writer's thread. Says on `ready` how the first write went.
    fn write(&self, start: Option<Start>, ready: &Sender<io::Result<()>>) {
        let at_start = start.is_some();
        if !at_start {
            // Nobody is to wait for a disk that may never come.
            let _ = ready.send(Ok(()));
        }
        let Some(start) = start.or_else(|| self.wait_for_directory()) else { return };
        // What is found later than the start was not loaded: it does not count.
        let mut start = Some((start, !at_start));
        while let Some((from, void)) = start.take() {
            let directory = Arc::clone(&from.directory);
            match catch_unwind(AssertUnwindSafe(|| self.cycle(from, void, ready))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!("persistence: {error}; nothing is written");
                    self.status.set_state(State::Degraded);
                    let _ = ready.send(Err(error));
                }
                Err(_) => {
                    tracing::error!("persistence: the writer has panicked; it begins anew");
                    self.status.set_state(State::Degraded);
                    thread::park_timeout(RETRY);
                    start = Some((Start::found(directory), true));
                }
            }
        }
    }

    /// Writes until the end.
    fn cycle(&self, start: Start, void: bool, ready: &Sender<io::Result<()>>) -> io::Result<()> {
        let (engine, status) = (Arc::clone(&self.engine), Arc::clone(&self.status));
        let loading = Arc::clone(&self.loading);
        let mut writer = Writer::new(engine, status, loading, self.options.clone(), start)?;
        let begun = writer.begin(void).map_err(|error| writer.refused(error));
        if begun.is_err() {
            go_by_time(&self.engine);
        }
        // Nobody listens any more after the first time.
        let _ = ready.send(begun);
        writer.run();
        Ok(())
    }

    /// Tries the directory until it can be used; `None` to stop.
    fn wait_for_directory(&self) -> Option<Start> {
        self.status.is_written_by(thread::current());
        while !self.status.is_stopping() {
            if let Ok(directory) = Directory::open(&self.options.directory, &self.options.disk) {
                let start = Start::found(Arc::new(directory));
                self.engine.resume(start.manifest.versions, 0);
                return Some(start);
            }
            thread::park_timeout(RETRY);
        }
        None
    }
}

impl Start {
    /// Goes on from what was found.
    fn of(directory: Arc<Directory>, recovery: &Recovery) -> Self {
        let manifest = Manifest { next: recovery.above(), ..recovery.manifest };
        let older = recovery.found.iter().map(|found| found.name.clone()).collect();
        Self { directory, manifest, older }
    }

    /// What there is in a directory.
    fn found(directory: Arc<Directory>) -> Self {
        let recovery = Recovery::look(directory.path());
        Self::of(directory, &recovery)
    }
}
