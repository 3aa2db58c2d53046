//! The janitor: a thread for what may take a disk long, so that writing does not wait for it.

use super::directory::{self, Directory, Name};
use super::disk::Disk;
use super::generation::{Generation, Syncer, thread_name};
use super::manifest::Manifest;
use super::status::Status;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// From one look at what the directory takes to the next.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// A job.
enum Job {
    /// Wait for the disk.
    Sync(Vec<Syncer>),
    /// Save a manifest, and then delete the generations that it makes void, or set them aside.
    Supersede { manifest: Manifest, serial: u64, older: Vec<(bool, Name)> },
    /// Make a generation.
    Create(Name),
}

/// What the janitor has done.
#[derive(Debug, Default)]
pub struct Done {
    /// Syncs that have ended.
    syncs: AtomicU64,
    /// Syncs and manifests that have failed.
    failures: AtomicU64,
    /// How long the last one took, in microseconds.
    sync_us: AtomicU64,
}

/// The thread's other end.
pub struct Janitor {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    created: Receiver<io::Result<Generation>>,
    done: Arc<Done>,
    /// Syncs that were asked for.
    asked: u64,
    /// When the oldest of those that have not ended was.
    waiting_since: Instant,
    /// Failures that were reported.
    reported: u64,
}

impl Janitor {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn start(directory: Arc<Directory>, disk: Disk, status: Arc<Status>) -> io::Result<Self> {
        let (jobs, received) = channel();
        let (send, created) = channel();
        let done = Arc::new(Done::default());
        let work = Work { directory, disk, created: send, done: Arc::clone(&done), status };
        let thread = std::thread::Builder::new()
            .name(thread_name("disk"))
            .spawn(move || work.run(&received))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            created,
            done,
            asked: 0,
            waiting_since: Instant::now(),
            reported: 0,
        })
    }

    /// Asks for a sync; the number to wait for.
    pub fn sync(&mut self, syncers: Vec<Syncer>) -> u64 {
        if self.is_idle() {
            self.waiting_since = Instant::now();
        }
        self.give(Job::Sync(syncers));
        self.asked += 1;
        self.asked
    }

    /// Whether this sync and all before it have ended.
    pub fn has_synced(&self, number: u64) -> bool {
        self.done.syncs.load(Ordering::Acquire) >= number
    }

    /// Whether no sync is under way.
    pub fn is_idle(&self) -> bool {
        self.has_synced(self.asked)
    }

    /// Whether a sync or a manifest has failed since the last call.
    pub fn has_failed(&mut self) -> bool {
        let failures = self.done.failures.load(Ordering::Acquire);
        std::mem::replace(&mut self.reported, failures) != failures
    }

    /// How long the last sync took, or takes so far, in microseconds.
    pub fn sync_us(&self) -> u64 {
        let last = self.done.sync_us.load(Ordering::Relaxed);
        match self.is_idle() {
            true => last,
            false => last.max(micros(self.waiting_since.elapsed())),
        }
    }

    /// Asks for a manifest to be saved, and then for generations to go; those that are damaged are set aside.
    pub fn supersede(&mut self, manifest: Manifest, serial: u64, older: Vec<(bool, Name)>) {
        self.give(Job::Supersede { manifest, serial, older });
    }

    /// Asks for a generation to be made.
    pub fn create(&self, name: Name) {
        self.give(Job::Create(name));
    }

    /// The generation that was asked for, once it is there.
    pub fn created(&self) -> Option<io::Result<Generation>> {
        self.created.try_recv().ok()
    }

    fn give(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only when the sender has gone.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say beyond `done`.
            let _ = thread.join();
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The thread's side.
struct Work {
    directory: Arc<Directory>,
    disk: Disk,
    created: Sender<io::Result<Generation>>,
    done: Arc<Done>,
    status: Arc<Status>,
}

impl Work {
    fn run(self, jobs: &Receiver<Job>) {
        self.measure();
        let mut measured = Instant::now();
        loop {
            match jobs.recv_timeout(MEASURE_EVERY) {
                Ok(job) => self.perform(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if measured.elapsed() >= MEASURE_EVERY {
                self.measure();
                measured = Instant::now();
            }
        }
    }

    fn perform(&self, job: Job) {
        match job {
            Job::Sync(syncers) => {
                let begun = Instant::now();
                let failed = syncers.iter().any(|syncer| syncer.sync().is_err());
                self.done.sync_us.store(micros(begun.elapsed()), Ordering::Relaxed);
                self.done.failures.fetch_add(u64::from(failed), Ordering::Release);
                // Release: after the failure.
                self.done.syncs.fetch_add(1, Ordering::Release);
            }
            Job::Supersede { manifest, serial, older } => {
                if self.directory.save(manifest, serial).is_err() {
                    self.done.failures.fetch_add(1, Ordering::Release);
                    return;
                }
                let (damaged, whole): (Vec<_>, Vec<_>) =
                    older.into_iter().partition(|(damaged, _)| *damaged);
                let damaged: Vec<_> = damaged.into_iter().map(|(_, name)| name).collect();
                self.directory.quarantine(&damaged);
                whole.iter().for_each(|(_, name)| self.directory.remove(name));
            }
            Job::Create(name) => {
                // Nobody waits any more when the server stops.
                let _ = self.created.send(Generation::create(name, self.disk.clone()));
            }
        }
    }

    fn measure(&self) {
        let bytes = directory::disk_bytes(self.directory.path());
        self.status.counters.disk_bytes.store(bytes, Ordering::Relaxed);
    }
}
