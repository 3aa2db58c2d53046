//! The tail: the newest frames once more, in a plain file that is written around and around.
//!
//! The database decides when its bytes reach the kernel, and waits for the disk when it does; on a busy disk that takes
//! far longer than what a kill may cost. A write to this file ends in the kernel's memory at once, and that is all
//! a kill asks for. Nobody ever waits for this file to reach the disk: before a frame is written over, the
//! database has it. Because the same pages are written again and again, little of it ever does.

use super::frame::FRAME_MAX;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Its name in a generation.
pub const TAIL_FILE: &str = "tail";

/// Bytes of the file: what the database may be behind.
const BYTES: u64 = if cfg!(test) { 256 << 10 } else { 16 << 20 };

/// A generation's tail.
pub struct Tail {
    file: File,
    /// Bytes written since the start, skipped ones included.
    end: u64,
    /// What was written before this may be written over.
    kept: u64,
}

impl Tail {
    /// Makes the file.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(generation: &Path) -> io::Result<Self> {
        let file = File::create_new(generation.join(TAIL_FILE))?;
        Ok(Self { file, end: 0, kept: 0 })
    }

    /// Where the next frame will be.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether there is room for a frame.
    pub fn has_room(&self) -> bool {
        self.end + 2 * FRAME_MAX as u64 - self.kept <= BYTES
    }

    /// Whether more than this share is waiting for the database.
    pub fn is_fuller_than(&self, used: u64, of: u64) -> bool {
        self.end - self.kept > BYTES / of * used
    }

    /// Gives its space back: nothing is written to it any more, and the database has everything.
    pub fn give_up(&self) {
        // If that fails, it costs space until the generation goes.
        let _ = self.file.set_len(0);
    }

    /// The database has what was written before `position`.
    pub fn release(&mut self, position: u64) {
        self.kept = self.kept.max(position);
    }

    /// Writes a frame; there has to be [room](Self::has_room).
    ///
    /// # Errors
    /// What the system says.
    pub fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        let left = BYTES - self.end % BYTES;
        if self.kept == self.end {
            // All of it may be written over: beginning anew keeps the file as short as the database is fast.
            self.end = self.end.next_multiple_of(BYTES);
            self.kept = self.end;
        } else if left < frame.len() as u64 {
            // A frame is not cut in two.
            self.end += left;
        }
        self.file.write_all_at(frame, self.end % BYTES)?;
        self.end += frame.len() as u64;
        Ok(())
    }
}
