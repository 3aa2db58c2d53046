//! Checkpoints: the whole table, written into the log stretch by stretch while changes go on being written.

use super::record::Record;
use super::writer::{READY_MAX, STRIDE, Writer, add_to};
use crate::engine::Cursor;
use std::io;

/// A checkpoint's stretch in one cycle, in bytes: so much at least, and so many times what the changes took.
const STRETCH_BYTES: u64 = 512 << 10;
const STRETCH_FACTOR: u64 = 3;
/// And so much at most: a stretch adds to what a kill may lose.
pub(super) const STRETCH_MAX_BYTES: u64 = 2 << 20;

/// The log may grow to this share of what the last checkpoint wrote, in percent. Space on disk and what is written
/// twice are bought from one another here.
const LOG_PERCENT: u64 = 60;
/// A log below this is never worth a checkpoint.
const LOG_BYTES_MIN: u64 = if cfg!(test) { 256 << 10 } else { 16 << 20 };

/// The walk of a checkpoint.
pub(super) enum Walk {
    /// To be begun when everything is loaded: what is not there would be left out.
    Due,
    /// Under way.
    At {
        cursor: Cursor,
        bytes: u64,
        /// Items to look at in one step: fewer when they are large.
        stride: usize,
    },
    /// All is written; waiting for the database to hand it to the kernel.
    Flushing { position: u64, bytes: u64 },
    /// The kernel has it; waiting for the disk.
    Syncing { number: u64, bytes: u64 },
}

impl Writer {
    /// Begins the walk that is due, if there is one.
    pub(super) fn begin_walk(&mut self) {
        if let Some(Walk::Due) = self.walk {
            self.walk = Some(Walk::At { cursor: Cursor::default(), bytes: 0, stride: 1 });
        }
    }

    /// Goes on with the checkpoint for a while.
    pub(super) fn write_stretch(&mut self, changes: u64) -> io::Result<()> {
        if self.loading.is_over() {
            self.begin_walk();
        }
        let limit = (changes * STRETCH_FACTOR).clamp(STRETCH_BYTES, STRETCH_MAX_BYTES);
        let mut written = 0;
        while let Some(&Walk::At { cursor, bytes, stride }) = self.walk.as_ref() {
            if written >= limit || self.log()?.is_behind() {
                break;
            }
            let next = self.step(cursor, stride);
            if next.is_none() {
                self.packer.seal();
            }
            let step = self.write_out()?;
            // Looking costs as well.
            written += step.max(limit / 1024);
            let bytes = bytes + step;
            add_to(&self.status.counters.checkpoint_bytes, step);
            self.walk = Some(match next {
                Some(cursor) => {
                    let each = step as usize / stride;
                    let stride = (READY_MAX / each.max(1)).clamp(1, STRIDE);
                    Walk::At { cursor, bytes, stride }
                }
                None => Walk::Flushing { position: self.log()?.position(), bytes },
            });
        }
        Ok(())
    }

    /// Packs some items of the walk; where to go on. What has changed since the walk began is packed like the rest, marked
    /// or not: what it was before may go as soon as the disk has the walk, and its mark is on disk later.
    fn step(&mut self, cursor: Cursor, stride: usize) -> Option<Cursor> {
        let session = self.handle.pin();
        let packer = &mut self.packer;
        session.scan(cursor, stride, &mut |item| packer.add(&Record::Item(session.save(&item))))
    }

    /// Ends a checkpoint whose bytes the disk has, and begins one when the log has grown.
    pub(super) fn checkpoint_when_due(&mut self) -> io::Result<()> {
        match &mut self.walk {
            Some(Walk::Due | Walk::At { .. }) => return Ok(()),
            Some(Walk::Flushing { position, bytes }) => {
                let (position, bytes) = (*position, *bytes);
                if !self.log()?.has_flushed(position) {
                    return Ok(());
                }
                self.walk = Some(Walk::Syncing { number: self.sync()?, bytes });
                return Ok(());
            }
            Some(Walk::Syncing { number, bytes }) => {
                if !self.janitor.has_synced(*number) {
                    return Ok(());
                }
                self.base_bytes = *bytes;
                self.walk = None;
                self.owing = false;
                let base = self.log()?.name().first;
                self.supersede(base);
                add_to(&self.status.counters.checkpoints, 1);
            }
            None => {}
        }
        let due = self.log_bytes >= LOG_BYTES_MIN.max(self.base_bytes / 100 * LOG_PERCENT);
        if (due || self.walk_again) && !self.preparing {
            self.janitor.create(self.next_name()?);
            self.preparing = true;
        }
        match self.janitor.created() {
            None => {}
            // Another one has begun since it was asked for, and whether it is there does not matter any more.
            Some(created) if self.stale > 0 => {
                self.stale -= 1;
                self.older.extend(created.ok().map(|created| created.name().clone()));
            }
            Some(created) => {
                self.preparing = false;
                self.enter(created?)?;
            }
        }
        Ok(())
    }
}
