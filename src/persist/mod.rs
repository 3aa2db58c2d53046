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
//! * A clean stop loses nothing. A kill loses at most the last 100 ms of what was acknowledged, a power cut at most the last second. A
//!   flush is on disk before it is answered.
//! * What comes back was stored, whole, with its flags, deadline and cas unique, and is the newest state of its key
//!   that reached the disk. What had expired, was deleted or flushed stays away. Cas uniques are never given out twice.
//! * The disk never holds up a command. When it is slow, full or broken, the cache serves on, and says so.
//! * A damaged directory costs what is damaged, not the start.
//!
//! Evictions are not written down: an item that was evicted may come back after a restart. A delete of a key that
//! is not there is, for that reason.
//!
//! | file | what |
//! |---|---|
//! | `record`, `frame` | the bytes on disk: a key's newest state, and packs of those with a checksum |
//! | `generation`, `tail` | a run of frames in a database of its own, the door to sled; and the newest ones once more |
//! | `directory`, `manifest` | what lies where, and which of it counts |
//! | `batch`, `writer` | from marks to frames |
//! | `checkpoint`, `janitor` | the table into the log, and what may take a disk long |
//! | `scan`, `recover` | finding frames, and bringing them back |
//! | `inspect` | what a directory holds, without serving it |
//! | `status` | numbers for everybody else |

mod batch;
mod checkpoint;
mod directory;
mod frame;
mod generation;
mod inspect;
mod janitor;
mod manifest;
mod record;
mod recover;
mod scan;
mod status;
mod tail;
mod writer;

#[cfg(test)]
mod tests;

pub use directory::OpenError;
pub use generation::{Disk, Faults, Operation, contains_panics_of};
pub use inspect::{Report, export, inspect};
pub use status::{Counters, State, Status};

use crate::engine::Engine;
use directory::Directory;
use recover::{Loaded, Recovery};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use writer::{Start, Writer};

/// How often a directory that could not be used is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How persistence is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the data is.
    pub directory: PathBuf,
    /// From one cycle of the writer to the next. What a kill may lose is this and the time that a cycle takes.
    pub commit_interval: Duration,
    /// From one wait for the disk to the next. What a power cut may lose is this, the wait, and what a kill loses.
    pub fsync_interval: Duration,
    /// Longest time that loading may take; what is not loaded then is given up.
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
    directory: PathBuf,
    writer: Option<JoinHandle<()>>,
}

impl Persist {
    /// Brings back what the directory holds and begins to write. To be called before anybody changes the engine; when it
    /// returns, the cache is warm.
    ///
    /// # Errors
    /// Another Volt has the directory; and, if persistence is [required](Options::required), it cannot be written.
    pub fn start(engine: &Arc<Engine>, options: Options) -> Result<Self, StartError> {
        let status = Arc::new(Status::default());
        let start = match Directory::open(&options.directory) {
            Ok(directory) => Some(recover(engine, &status, &options, directory)),
            Err(OpenError::Unusable { path, cause }) if !options.required => {
                tracing::error!("persistence: {} cannot be used: {cause}", path.display());
                status.set_state(State::Degraded);
                None
            }
            Err(error) => return Err(error.into()),
        };
        // After loading, which is no change, and before anybody else has a handle.
        let _ = engine.mark_changes();
        let directory = options.directory.clone();
        let (engine, theirs) = (Arc::clone(engine), Arc::clone(&status));
        let (ready, begun) = channel();
        let required = options.required;
        let writer = std::thread::Builder::new()
            .name(generation::thread_name("log"))
            .spawn(move || write(&engine, &theirs, options, start, &ready))
            .map_err(StartError::Thread)?;
        let persist = Self { status, directory: directory.clone(), writer: Some(writer) };
        // The versions that are about to be given out are reserved on disk when this returns.
        match begun.recv() {
            Ok(Err(cause)) if required => Err(StartError::Unwritable { path: directory, cause }),
            _ => Ok(persist),
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Tells the bytes that the directory takes on disk, whenever it is called.
    pub fn disk_meter(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let directory = self.directory.clone();
        move || directory::disk_bytes(&directory)
    }
}

impl Drop for Persist {
    fn drop(&mut self) {
        self.status.stop();
        if let Some(writer) = self.writer.take() {
            // A panic has been reported; there is nobody to tell here.
            let _ = writer.join();
        }
    }
}

/// Brings back what is in the directory.
fn recover(
    engine: &Arc<Engine>,
    status: &Status,
    options: &Options,
    directory: Directory,
) -> Start {
    let begun = Instant::now();
    let mut recovery = Recovery::look(directory.path());
    let missing = recovery.missing();
    let now = engine.clock().unix();
    let due = i64::try_from(recovery.manifest.flush_at).unwrap_or(i64::MAX);
    if due != 0 && due <= now {
        // Nobody was there when its time came.
        recovery.manifest.flushed = recovery.manifest.versions;
        recovery.manifest.flush_at = 0;
    }
    engine.resume(recovery.manifest.versions, recovery.manifest.flushed);
    if due > now {
        engine.flush_at(engine.clock().from_unix(due));
    }
    let loaded = recovery.load(engine, &engine.handle(), begun + options.load_limit);
    let took = begun.elapsed();
    let counters = &status.counters;
    counters.recovered_items.store(loaded.items, Ordering::Relaxed);
    counters.recovery_missing.store(missing, Ordering::Relaxed);
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    counters.recovery_us.store(us, Ordering::Relaxed);
    report(&recovery, loaded, missing, took);
    let damaged: Vec<_> = recovery.damaged().cloned().collect();
    let names = recovery.found.into_iter().map(|found| found.name);
    let older = names.map(|name| (name.clone(), damaged.contains(&name))).collect();
    Start { directory: Arc::new(directory), manifest: recovery.manifest, older }
}

fn report(recovery: &Recovery, loaded: Loaded, missing: u64, took: Duration) {
    if missing > 0 {
        tracing::warn!(
            "persistence: {missing} frames are damaged or missing; what they held is lost"
        );
    }
    if recovery.manifest_lost {
        tracing::warn!("persistence: the manifest is lost; all frames that are there count");
    }
    let Loaded { items, bytes, dead, cut_short } = loaded;
    let how = if cut_short { ", until memory or time ran out" } else { "" };
    tracing::info!(
        "persistence: {items} items of {bytes} bytes are back after {took:?}{how}; {dead} had expired or were flushed"
    );
}

/// The writer's thread. Says on `ready` how the first write went.
fn write(
    engine: &Arc<Engine>,
    status: &Arc<Status>,
    options: Options,
    start: Option<Start>,
    ready: &Sender<io::Result<()>>,
) {
    let at_start = start.is_some();
    if !at_start {
        // Nobody is to wait for a disk that may never come.
        let _ = ready.send(Ok(()));
    }
    let Some(start) = start.or_else(|| wait_for_directory(engine, status, &options)) else {
        return;
    };
    // What is found later than the start was not loaded: it does not count.
    let mut start = Some((start, !at_start));
    while let Some((from, void)) = start.take() {
        let directory = Arc::clone(&from.directory);
        let cycles = || cycle(engine, status, &options, from, void, ready);
        match catch_unwind(AssertUnwindSafe(cycles)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!("persistence: {error}; nothing is written");
                status.set_state(State::Degraded);
                let _ = ready.send(Err(error));
            }
            Err(_) => {
                tracing::error!("persistence: the writer has panicked; it begins anew");
                status.set_state(State::Degraded);
                std::thread::park_timeout(RETRY);
                start = Some((Start::found(directory).0, true));
            }
        }
    }
}

/// Writes until the end.
fn cycle(
    engine: &Arc<Engine>,
    status: &Arc<Status>,
    options: &Options,
    start: Start,
    void: bool,
    ready: &Sender<io::Result<()>>,
) -> io::Result<()> {
    let (engine, status) = (Arc::clone(engine), Arc::clone(status));
    let mut writer = Writer::new(engine, status, options.clone(), start)?;
    let begun = writer.begin(void).map_err(|error| writer.refused(error));
    // Nobody listens any more after the first time.
    let _ = ready.send(begun);
    writer.run();
    Ok(())
}

impl Start {
    /// What there is in a directory; with the manifest's last version.
    fn found(directory: Arc<Directory>) -> (Self, u64) {
        let Recovery { manifest, found, .. } = Recovery::look(directory.path());
        let older = found.into_iter().map(|found| (found.name, false)).collect();
        (Self { directory, manifest, older }, manifest.versions)
    }
}

/// Tries the directory until it can be used; `None` to stop.
fn wait_for_directory(engine: &Engine, status: &Status, options: &Options) -> Option<Start> {
    status.is_written_by(std::thread::current());
    while !status.is_stopping() {
        if let Ok(directory) = Directory::open(&options.directory) {
            let (start, versions) = Start::found(Arc::new(directory));
            engine.resume(versions, 0);
            return Some(start);
        }
        std::thread::park_timeout(RETRY);
    }
    None
}
