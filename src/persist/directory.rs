//! The data directory: its lock, its generations, and what was set aside.
//!
//! ```text
//!   LOCK                                     held by the one Volt that uses the directory
//!   MANIFEST                                 which frames count
//!   gen-<number>-<first frame>-<secret>/     a database with frames from that number on
//!   quarantine-<number>-.../                 a generation that was damaged, for whoever wants to look
//! ```
//!
//! Anything else in the directory is left alone.

use super::disk::{Disk, Operation};
use super::manifest::Manifest;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const LOCK: &str = "LOCK";
const GENERATION: &str = "gen-";
const QUARANTINE: &str = "quarantine-";

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another Volt has it.
    #[error("the data directory {} is in use by another Volt", .0.display())]
    InUse(PathBuf),
    /// It cannot be made, read or written.
    #[error("the data directory {} cannot be used: {cause}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// The directory, locked.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    disk: Disk,
    /// Holds the lock.
    _lock: File,
    /// Serial number of the manifest that is in place, of those that this process has saved.
    saved: Mutex<u64>,
}

/// A generation by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Grows from one to the next.
    pub number: u64,
    /// Number of its first frame.
    pub first: u64,
    /// What its checksums begin with.
    pub secret: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl Name {
    fn parse(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_prefix(GENERATION)?;
        let mut parts = name.split('-').map(|part| u64::from_str_radix(part, 16).ok());
        let (number, first, secret) = (parts.next()??, parts.next()??, parts.next()??);
        let path = path.to_owned();
        parts.next().is_none().then_some(Self { number, first, secret, path })
    }
}

impl Directory {
    /// Saves a manifest, unless a later one is in place already: two threads save, and what the earlier says the later says
    /// too.
    ///
    /// # Errors
    /// As [`Manifest::save`].
    pub fn save(&self, manifest: Manifest, serial: u64) -> io::Result<()> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if serial > *saved {
            self.disk.check(Operation::Save)?;
            manifest.save(&self.path, &self.disk)?;
            *saved = serial;
        }
        Ok(())
    }

    /// Makes the directory if it is not there, and locks it.
    ///
    /// # Errors
    /// Somebody else has it, or the system refuses.
    pub fn open(path: &Path, disk: &Disk) -> Result<Self, OpenError> {
        let unusable = |cause| OpenError::Unusable { path: path.to_owned(), cause };
        create_all(path, disk).map_err(unusable)?;
        let lock = path.join(LOCK);
        // On a disk that is read-only the lock of before can still be taken.
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .or_else(|error| File::open(&lock).map_err(|_| error))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                disk: disk.clone(),
                _lock: lock,
                saved: Mutex::new(0),
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(cause)) => Err(unusable(cause)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a new generation.
    pub fn name(&self, number: u64, first: u64, secret: u64) -> Name {
        let name = format!("{GENERATION}{number:08x}-{first:x}-{secret:016x}");
        Name { number, first, secret, path: self.path.join(name) }
    }

    /// Deletes a generation. What cannot be deleted now is tried again with the next one.
    pub fn remove(&self, generation: &Name) {
        // Superseded frames do no harm; their space is reported by `disk_bytes`.
        let _ = fs::remove_dir_all(&generation.path);
    }

    /// Sets damaged generations aside, if there are any, in place of those that were set aside before.
    pub fn quarantine(&self, generations: &[Name]) {
        let before = entries(&self.path).filter(|entry| name_of(entry).starts_with(QUARANTINE));
        let before: Vec<_> = if generations.is_empty() { Vec::new() } else { before.collect() };
        for before in before {
            let _ = fs::remove_dir_all(before);
        }
        for generation in generations {
            let name = name_of(&generation.path).replacen(GENERATION, QUARANTINE, 1);
            // If it cannot be moved it is in the way of nothing but space.
            let _ = fs::rename(&generation.path, self.path.join(name));
        }
    }
}

/// Makes a directory and those it is in, if they are not there, so that a power cut keeps them.
fn create_all(path: &Path, disk: &Disk) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|path| !path.exists()).collect();
    fs::create_dir_all(path)?;
    for parent in missing.iter().filter_map(|made| made.parent()) {
        let here = parent.as_os_str().is_empty();
        // Whoever may not read the directory above cannot ask for this, and may use what is in it all the same.
        let _ = disk.keep(if here { Path::new(".") } else { parent });
    }
    Ok(())
}

/// The generations in a directory, oldest first.
pub fn generations(directory: &Path) -> Vec<Name> {
    let mut names: Vec<_> = entries(directory)
        .filter_map(|path| Name::parse(&path))
        .filter(|n| n.path.is_dir())
        .collect();
    names.sort_by_key(|name| name.number);
    names
}

/// What was set aside.
pub fn quarantined(directory: &Path) -> Vec<String> {
    entries(directory).map(|path| name_of(&path)).filter(|n| n.starts_with(QUARANTINE)).collect()
}

/// Bytes on disk of a directory and all below it, blocks that are not written not counted.
pub fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    let below = match found.is_dir() {
        true => entries(path).map(|entry| disk_bytes(&entry)).sum(),
        false => 0,
    };
    found.blocks() * 512 + below
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What is in a directory; nothing, if it cannot be read.
pub fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_user() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("new/data");
        let first = Directory::open(&path, &Disk::default()).expect("nobody has it");
        assert!(matches!(Directory::open(&path, &Disk::default()), Err(OpenError::InUse(_))));
        drop(first);
        Directory::open(&path, &Disk::default()).expect("nobody has it any more");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        assert!(matches!(
            Directory::open(&file, &Disk::default()),
            Err(OpenError::Unusable { .. })
        ));
    }

    #[test]
    fn generations_are_found_by_name_and_strangers_are_not() {
        let folder = tempfile::tempdir().expect("a directory");
        let directory = Directory::open(folder.path(), &Disk::default()).expect("a directory");
        let names = [directory.name(0x1f, 7, u64::MAX), directory.name(2, 0, 0)];
        for name in &names {
            fs::create_dir(&name.path).expect("made");
        }
        for stranger in ["gen-", "gen-1-2", "gen-1-2-3-4", "gen-x-2-3", "other"] {
            fs::create_dir(folder.path().join(stranger)).expect("made");
        }
        fs::write(folder.path().join("gen-5-6-7"), "a file").expect("written");
        let [newer, older] = names;
        assert_eq!(generations(folder.path()), [older.clone(), newer.clone()]);
        directory.quarantine(&[older, newer]);
        assert_eq!(generations(folder.path()), []);
        assert_eq!(quarantined(folder.path()).len(), 2);
        directory.quarantine(&[]);
        assert_eq!(quarantined(folder.path()).len(), 2, "nothing comes in their place");
    }
}
