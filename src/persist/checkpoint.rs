//! Checkpoints: the table into the log, a stretch of it at a time, while changes go on being written.

use super::generation::Generation;
use super::record::Record;
use super::round::Stretch;
use super::writer::{READY_MAX, STRIDE, Writer, add_to};
use crate::engine::Cursor;
use std::io;

/// What is written of the table in one cycle, in bytes: so much at least, and so many times what the changes took.
const STEP_BYTES: u64 = 512 << 10;
const STEP_FACTOR: u64 = 3;
/// And so much at most: it adds to what a kill may lose.
const STEP_BYTES_MAX: u64 = 2 << 20;

/// And so many times what the changes took, without a limit, when the log is longer than it should be.
const LATE_FACTOR: u64 = 2;

/// The walk over a stretch of the table.
pub(super) struct Walk {
    stretch: Stretch,
    /// Where it is.
    cursor: Cursor,
    /// Items to look at in one step: fewer when they are large.
    stride: usize,
    /// Bytes of frames so far.
    bytes: u64,
}

/// A walk that has come to its end, and waits for the disk.
pub(super) struct Landing {
    stretch: Stretch,
    bytes: u64,
    /// Number of the first frame of its generation.
    first_frame: u64,
    /// Where in that generation it ends.
    position: u64,
    /// The sync that covers it, once the kernel has it.
    sync: Option<u64>,
}

impl Writer {
    /// Begins a walk over the part of the table that is next, or over the `whole` table.
    pub(super) fn begin_walk(&mut self, whole: bool) {
        let stretch = self.round.begin(self.bytes_of_items(), whole);
        self.walk = Some(Walk { stretch, cursor: stretch.from(), stride: 1, bytes: 0 });
    }

    /// Goes on with the walk for a while. It waits when the disk is behind, so that changes find room; but changes must not
    /// take all the disk can do, or what they supersede would never go. Beyond its share of space the log has to wait.
    pub(super) fn write_table(&mut self, changes: u64) -> io::Result<()> {
        let late = self.round.is_late(self.bytes_of_items());
        let limit = match late {
            false => (changes * STEP_FACTOR).clamp(STEP_BYTES, STEP_BYTES_MAX),
            true => (changes * LATE_FACTOR).max(STEP_BYTES_MAX),
        };
        let mut written = 0;
        while written < limit && (late || !self.log()?.is_behind()) {
            let Some(step) = self.step()? else { break };
            // Looking costs as well.
            written += step.max(limit / 1024);
        }
        Ok(())
    }

    /// Writes what must not be left out at a stop, all at once.
    pub(super) fn finish_round(&mut self) -> io::Result<()> {
        if !self.round.is_lacking() {
            return Ok(());
        }
        if self.round.owes_more() {
            self.begin(false)?;
            // What is not loaded yet still counts where it is.
            self.begin_walk(true);
        }
        while self.step()?.is_some() {
            if self.log()?.is_behind() {
                self.log()?.flush()?;
            }
        }
        Ok(())
    }

    /// Writes some items of the walk; the bytes that took, or `None` if there is no walk.
    fn step(&mut self) -> io::Result<Option<u64>> {
        let Some(mut walk) = self.walk.take() else { return Ok(None) };
        let end = walk.stretch.to();
        let next = self.pack(walk.cursor, walk.stride);
        let next = next.filter(|next| end.is_none_or(|end| *next < end));
        if next.is_none() {
            self.packer.seal();
        }
        let bytes = self.write_out()?;
        walk.bytes += bytes;
        add_to(&self.status.counters.checkpoint_bytes, bytes);
        if let Some(cursor) = next {
            let each = (bytes as usize / walk.stride).max(1);
            let stride = (READY_MAX / each).clamp(1, STRIDE);
            self.walk = Some(Walk { cursor, stride, ..walk });
        } else {
            let (first_frame, position) = (self.log()?.name().first, self.log()?.position());
            let Walk { stretch, bytes, .. } = walk;
            self.landings.push_back(Landing { stretch, bytes, first_frame, position, sync: None });
        }
        Ok(Some(bytes))
    }

    /// Packs some items; where to go on. What has changed since the walk began is packed like the rest, marked
    /// or not: what it was before may go as soon as the disk has the walk, and its mark is on disk later.
    fn pack(&mut self, cursor: Cursor, stride: usize) -> Option<Cursor> {
        let session = self.handle.pin();
        let packer = &mut self.packer;
        session.scan(cursor, stride, &mut |item| packer.add(&Record::Item(session.save(&item))))
    }

    /// Takes note of what the disk has, and begins a walk when that is due.
    pub(super) fn checkpoint_when_due(&mut self) -> io::Result<()> {
        self.land()?;
        self.prepare_when_due()?;
        if self.walk.is_none()
            && self.round.is_due(self.bytes_of_items())
            && let Some(next) = self.prepared.take()
        {
            self.enter(next)?;
            self.begin_walk(false);
        }
        Ok(())
    }

    /// Takes note of walks that the disk has, and has what they supersede go.
    fn land(&mut self) -> io::Result<()> {
        while let Some(landing) = self.landings.front() {
            let Some(number) = landing.sync else {
                if self.is_flushed(landing) {
                    let number = self.sync()?;
                    self.landings
                        .iter_mut()
                        .take(1)
                        .for_each(|landing| landing.sync = Some(number));
                }
                return Ok(());
            };
            if !self.janitor.has_synced(number) {
                return Ok(());
            }
            let Some(Landing { stretch, first_frame, bytes, .. }) = self.landings.pop_front()
            else {
                return Ok(());
            };
            if let Some(base) = self.round.end(stretch, first_frame, bytes) {
                self.supersede(base);
            }
            let whole = self.round.take_whole();
            add_to(&self.status.counters.checkpoints, u64::from(whole));
        }
        Ok(())
    }

    /// Whether the kernel has a walk, so that the next sync covers it.
    fn is_flushed(&self, landing: &Landing) -> bool {
        let is_its = |generation: &&Generation| generation.name().first == landing.first_frame;
        match self.log.as_ref().filter(is_its) {
            Some(log) => log.has_flushed(landing.position),
            // A generation that is closed is flushed.
            None => !self.closing.iter().any(|closing| is_its(&closing)),
        }
    }

    /// Has a generation made for the next walk shortly before that is due.
    fn prepare_when_due(&mut self) -> io::Result<()> {
        match self.janitor.created() {
            None => {}
            // Another one has begun since it was asked for, and whether it is there does not matter any more.
            Some(created) if self.stale > 0 => {
                self.stale -= 1;
                self.older.extend(created.ok().map(|created| created.name().clone()));
            }
            Some(created) => {
                self.preparing = false;
                self.prepared = Some(created?);
            }
        }
        let busy = self.preparing || self.prepared.is_some();
        // What is not loaded yet would be left out.
        let may = self.loading.is_over() && !busy;
        if may && self.round.is_almost_due(self.bytes_of_items()) {
            self.janitor.create(self.next_name()?);
            self.preparing = true;
        }
        Ok(())
    }

    /// Bytes of all items, in memory.
    fn bytes_of_items(&self) -> u64 {
        self.engine.stats().item_bytes
    }
}
