//! The disk: what is asked of it, and the seam at which tests take its place, to refuse, to be slow, or to lose power.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What is asked of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Making a generation.
    Create,
    /// Writing the manifest.
    Save,
    /// Writing a frame.
    Append,
    /// An insertion into the database, on the thread that does it.
    Feed,
    /// Handing frames to the kernel.
    Flush,
    /// Waiting for the disk to have them.
    Sync,
    /// Reading frames back at start.
    Load,
}

/// What tests have a disk do: it may refuse any operation before it is tried, as one that is full or dying does, and it
/// hears what it is to keep when the power goes.
pub trait Faults: Send + Sync {
    /// `Ok` to go on.
    ///
    /// # Errors
    /// What the disk is to say.
    fn check(&self, operation: Operation) -> io::Result<()>;

    /// Has the disk keep what is at `path` now, by asking the system: a file's bytes or a directory's entries. Who asks may
    /// rely on it when this returns.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&self, path: &Path, ask: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
        let _ = path;
        ask()
    }
}

/// The faults there are; none, outside tests.
#[derive(Clone, Default)]
pub struct Disk(Option<Arc<dyn Faults>>);

impl Disk {
    /// A disk with these faults.
    pub fn failing(faults: Arc<dyn Faults>) -> Self {
        Self(Some(faults))
    }

    /// Asks whether an operation is to fail.
    ///
    /// # Errors
    /// What the faults say.
    pub fn check(&self, operation: Operation) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |faults| faults.check(operation))
    }

    /// Has the disk keep what is at `path`, by `ask`. Every wait for the disk is here.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn sync(&self, path: &Path, ask: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
        self.0.as_ref().map_or_else(ask, |faults| faults.sync(path, ask))
    }

    /// Has the disk keep what a directory lists.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn keep(&self, directory: &Path) -> io::Result<()> {
        self.sync(directory, &|| File::open(directory)?.sync_all())
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Disk(failing)" } else { "Disk" })
    }
}
