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
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(generation.join(TAIL_FILE))?;
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

    /// Whether the database is far behind.
    pub fn is_half_full(&self) -> bool {
        self.end - self.kept > BYTES / 2
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The position behind a frame, and the frame.
    type Appended = (u64, Vec<u8>);

    #[test]
    fn what_the_database_does_not_have_yet_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a directory");
        let mut tail = Tail::create(folder.path()).expect("a file");
        let (mut random, mut waiting) = (1_u64, Vec::<Appended>::new());
        let (mut full, mut anew) = (0, 0);
        for number in 0_u64..3000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Now and then the database has everything, often a part of it, and sometimes it does not get on.
            full += u32::from(!tail.has_room());
            let has = match (random >> 40) % 512 {
                0 => waiting.len(),
                1..128 => waiting.len().min(2),
                _ if tail.has_room() => 0,
                _ => waiting.len().min(9),
            };
            if let Some((position, _)) = waiting.drain(..has).next_back() {
                tail.release(position);
            }
            if !tail.has_room() {
                continue;
            }
            let before = tail.end() % BYTES;
            let frame = number.to_le_bytes().repeat(1 + (random >> 50) as usize % (FRAME_MAX / 8));
            tail.append(&frame).expect("written");
            anew += u32::from(tail.end() % BYTES < before);
            waiting.push((tail.end(), frame));
            for (end, frame) in &waiting {
                let mut found = vec![0; frame.len()];
                let at = (end - frame.len() as u64) % BYTES;
                tail.file.read_exact_at(&mut found, at).expect("read");
                assert!(found == *frame, "frame at {at}, after {number}");
            }
        }
        assert!(full > 10 && anew > 10, "{full} times full, begun anew {anew} times");
        assert!(folder.path().join(TAIL_FILE).metadata().expect("there").len() <= BYTES);
        tail.give_up();
        assert_eq!(folder.path().join(TAIL_FILE).metadata().expect("there").len(), 0);
    }
}
