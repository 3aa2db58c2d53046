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
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// Where the disk does not give what a file holds, the next so many bytes are left out,
const SKIP_BYTES: u64 = 64 << 10;
/// and after so many failures the rest of the file: a disk may take seconds for each.
const FAILURES_MAX: u32 = 64;
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

    /// Whether there is nothing in it, not even something that was damaged.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && self.rejected == 0 && !self.unreadable
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        let len = |file: &File| file.metadata().map_or(0, |found| found.len());
        self.files.iter().map(len).sum()
    }

    /// Looks at all its bytes. Says on `go_on` how many more those are, now and then; `false` when that says so.
    pub fn scan(&mut self, go_on: &mut dyn FnMut(u64) -> bool) -> bool {
        let mut all = true;
        let files = std::mem::take(&mut self.files);
        for (index, file) in (0..).zip(&files) {
            let mut go_on = |bytes| {
                all &= go_on(bytes);
                all
            };
            self.scan_file(&|bytes, from| file.read_at(bytes, from), index, &mut go_on);
        }
        self.files = files;
        // A frame that sled has moved is there twice.
        self.places.sort_unstable();
        self.places.dedup_by_key(|place| place.sequence);
        all
    }

    /// Looks at a file, by reading it at offsets.
    fn scan_file(&mut self, read_at: &ReadAt<'_>, index: u32, go_on: &mut dyn FnMut(u64) -> bool) {
        let magic = memmem::Finder::new(MAGIC);
        let mut buffer = Vec::with_capacity(CHUNK + FRAME_MAX);
        // Where the buffer begins in the file, and where it is read on.
        let (mut start, mut next) = (0, 0);
        let mut failures = 0;
        loop {
            let (read, failed) = append(read_at, next, &mut buffer);
            next += read as u64;
            if !go_on(read as u64) {
                return;
            }
            let last = read == 0 || failed;
            let mut at = 0;
            while let Some(skip) = magic.find(&buffer[at..]) {
                let candidate = &buffer[at + skip..];
                if candidate.len() < FRAME_MAX && !last {
                    at += skip;
                    break;
                }
                at += skip + self.judge(candidate, index, start + (at + skip) as u64);
            }
            if failed {
                self.unreadable = true;
                failures += 1;
                if failures > FAILURES_MAX {
                    return;
                }
                next = (next / SKIP_BYTES + 1) * SKIP_BYTES;
                start = next;
                buffer.clear();
                continue;
            }
            if last {
                return;
            }
            // What may be the beginning of a frame stays.
            let keep = (buffer.len() - at).min(FRAME_MAX);
            start += (buffer.len() - keep) as u64;
            buffer.drain(..buffer.len() - keep);
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
        // Whether the frame is whole is for its checksum to say, also before a bad sector.
        let (read, _) = fill(&|bytes, from| file.read_at(bytes, from), place.offset, buffer);
        Frame::decode(&buffer[..read], self.name.secret)
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

/// Reads into the bytes what lies at an offset; how many, 0 at the end.
type ReadAt<'r> = dyn Fn(&mut [u8], u64) -> io::Result<usize> + 'r;

/// Appends a chunk, or what there is up to the end or to what cannot be read: how much, and whether it was that.
fn append(read_at: &ReadAt<'_>, from: u64, buffer: &mut Vec<u8>) -> (usize, bool) {
    let before = buffer.len();
    buffer.resize(before + CHUNK, 0);
    let (read, failed) = fill(read_at, from, &mut buffer[before..]);
    buffer.truncate(before + read);
    (read, failed)
}

/// Reads what lies at an offset into the bytes, up to the end or to what cannot be read: how much, and whether it was that.
fn fill(read_at: &ReadAt<'_>, from: u64, bytes: &mut [u8]) -> (usize, bool) {
    let mut read = 0;
    while read < bytes.len() {
        match read_at(&mut bytes[read..], from + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return (read, true),
        }
    }
    (read, false)
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

#[cfg(test)]
mod tests {
    use super::super::frame::Packer;
    use super::super::record::Record;
    use super::*;
    use crate::engine::Saved;

    #[test]
    fn a_place_that_cannot_be_read_costs_what_is_near_it() {
        let mut packer = Packer::new(7, Stamp::default(), 0);
        let mut bytes = Vec::new();
        for _ in 0..500 {
            packer.add(&Record::Item(Saved { key: b"key", value: &[0; 3000], ..Saved::default() }));
            packer.seal();
        }
        packer
            .write_out(|frame| {
                bytes.extend(frame);
                Ok(())
            })
            .expect("no disk is asked");
        let bad = [100_000..104_096, 900_000..904_096];
        let read_at = |into: &mut [u8], from: u64| {
            let from = from as usize;
            if bad.iter().any(|bad| bad.contains(&from)) {
                return Err(io::Error::other("a bad sector"));
            }
            let next = bad.iter().map(|bad| bad.start).find(|start| *start > from);
            let until = next.unwrap_or(bytes.len()).min(from.saturating_add(into.len()));
            let there = bytes.get(from..until).unwrap_or_default();
            into[..there.len()].copy_from_slice(there);
            Ok(there.len())
        };
        let path = std::path::PathBuf::new();
        let name = Name { number: 0, first: 0, secret: 7, path };
        let mut found = Found::open(name);
        found.scan_file(&read_at, 0, &mut |_| true);
        assert!(found.unreadable);
        // 64 KiB at each place hold 22 of them.
        assert!(found.places.len() > 500 - 2 * 25, "{} of 500", found.places.len());
        assert!(found.missing() > 0);
    }
}
