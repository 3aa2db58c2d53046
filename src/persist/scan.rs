//! Finding frames: a generation's file is read from end to end, and every place that looks like a frame is checked.
//!
//! sled is not asked. Frames lie whole in its file, each with a number and a checksum of its own, so what is proven
//! good does not depend on a tree that a crash or a bad disk may have broken, on how long sled takes to open,
//! or on whether it may write. Nothing is changed by looking, so a directory can be looked at while it is
//! in use, and a read-only one as well.

use super::directory::Name;
use super::frame::{FRAME_MAX, Frame, HEADER_LEN, MAGIC, Stamp};
use super::generation::{data_files, thread_name};
use memchr::memmem;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// Generations that are looked at together, at most: beyond, the disk is what takes the time.
const SCANNERS_MAX: usize = 8;

/// Where a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The frame's number.
    pub sequence: u64,
    /// Which of the generation's files.
    file: u32,
    offset: u64,
}

/// What was found in one generation.
#[derive(Debug)]
pub struct Found {
    /// Which.
    pub name: Name,
    files: Vec<File>,
    /// Frames that checked out, by number, each once.
    pub places: Vec<Place>,
    /// The largest stamp.
    pub stamp: Stamp,
    /// Places that begin like a frame and are none: torn, or damaged.
    pub rejected: u64,
    /// A file could not be read.
    pub unreadable: bool,
    /// A file is not there. When the server was killed while it made the generation, none was ever written to.
    pub incomplete: bool,
}

impl Found {
    /// Opens a generation; there are no places before a [`scan`](Self::scan).
    pub fn open(name: Name) -> Self {
        let (mut files, mut unreadable, mut incomplete) = (Vec::new(), false, false);
        for path in data_files(&name.path) {
            match File::open(&path) {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => incomplete = true,
                Err(_) => unreadable = true,
            }
        }
        let (places, stamp) = Default::default();
        Self { name, files, places, stamp, rejected: 0, unreadable, incomplete }
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        let len = |file: &File| file.metadata().map_or(0, |found| found.len());
        self.files.iter().map(len).sum()
    }

    /// Looks at all its bytes. Says on `go_on` how many more those are, now and then; `false` when that says so.
    pub fn scan(&mut self, go_on: &mut dyn FnMut(u64) -> bool) -> bool {
        let mut all = true;
        for index in 0..self.files.len() {
            let mut go_on = |bytes| {
                all &= go_on(bytes);
                all
            };
            let file = self.files[index].try_clone();
            let scanned = file.and_then(|file| self.scan_file(&file, index as u32, &mut go_on));
            self.unreadable |= scanned.is_err();
        }
        // A frame that sled has moved is there twice.
        self.places.sort_unstable();
        self.places.dedup_by_key(|place| place.sequence);
        all
    }

    fn scan_file(
        &mut self,
        mut file: &File,
        index: u32,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<()> {
        let magic = memmem::Finder::new(MAGIC);
        let mut buffer = Vec::with_capacity(CHUNK + FRAME_MAX);
        // Where the buffer begins in the file.
        let mut start = 0;
        loop {
            let before = buffer.len();
            let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut buffer);
            let at_end = buffer.len() == before;
            if !go_on((buffer.len() - before) as u64) {
                return Ok(());
            }
            let mut at = 0;
            while let Some(skip) = magic.find(&buffer[at..]) {
                let candidate = &buffer[at + skip..];
                if candidate.len() < FRAME_MAX && !at_end {
                    at += skip;
                    break;
                }
                at += skip + self.judge(candidate, index, start + (at + skip) as u64);
            }
            if at_end {
                return read.map(|_| ());
            }
            // What may be the beginning of a frame stays.
            let keep = (buffer.len() - at).min(FRAME_MAX);
            start += (buffer.len() - keep) as u64;
            buffer.drain(..buffer.len() - keep);
            read?;
        }
    }

    /// Takes note of a frame, or of one that is none; the bytes that are done with.
    fn judge(&mut self, candidate: &[u8], file: u32, offset: u64) -> usize {
        let Some(frame) = Frame::decode(candidate, self.name.secret) else {
            self.rejected += 1;
            return MAGIC.len();
        };
        let stamp = &mut self.stamp;
        stamp.base = stamp.base.max(frame.stamp.base);
        stamp.flushed = stamp.flushed.max(frame.stamp.flushed);
        stamp.versions = stamp.versions.max(frame.stamp.versions);
        self.places.push(Place { sequence: frame.sequence, file, offset });
        HEADER_LEN + frame.payload.len()
    }

    /// Reads a frame again, into `buffer`. `None` if it is not there any more as it was.
    pub fn read<'b>(&self, place: &Place, buffer: &'b mut [u8; FRAME_MAX]) -> Option<Frame<'b>> {
        let file = self.files.get(place.file as usize)?;
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], place.offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Frame::decode(&buffer[..filled], self.name.secret)
            .filter(|frame| frame.sequence == place.sequence)
    }

    /// Frames that must have been there, by the numbers of those that are.
    pub fn missing(&self) -> u64 {
        let Some(last) = self.places.last() else { return 0 };
        let first = self.name.first.min(last.sequence);
        (last.sequence - first + 1).saturating_sub(self.places.len() as u64)
    }

    /// The number after its last frame.
    pub fn next(&self) -> u64 {
        self.places.last().map_or(self.name.first, |place| place.sequence + 1)
    }
}

/// [Scans](Found::scan) them all, several at a time; `false` if `go_on` did not want it done.
pub fn scan_all(found: &mut [Found], go_on: &mut (dyn FnMut(u64) -> bool + Send)) -> bool {
    let scanners = thread::available_parallelism().map_or(1, usize::from).min(SCANNERS_MAX);
    let scanners = scanners.min(found.len());
    let all = AtomicBool::new(true);
    let (left, go_on) = (Mutex::new(found.iter_mut()), Mutex::new(go_on));
    let scan = || {
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        let mut go_on = |bytes| go_on.lock().unwrap_or_else(PoisonError::into_inner)(bytes);
        while let Some(found) = next() {
            if !found.scan(&mut go_on) {
                all.store(false, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..scanners {
            // What one that cannot be started would have done is done by the others.
            let _ = thread::Builder::new().name(thread_name("scan")).spawn_scoped(scope, scan);
        }
        scan();
    });
    all.into_inner()
}
