//! A frame: records, packed and checksummed. The unit that is written, and that is proven good or is not read.
//!
//! ```text
//!   magic 8 B │ crc u32 │ payload_len u32 │ sequence u64 │ base u64 │ flushed u64 │ versions u64 │ part u32 │ parts u32 │ payload
//! ```
//!
//! Sequence numbers grow by one from frame to frame. One thread reads the cache and numbers the frames, so the later of
//! two records of a key is the newer one, wherever it lies. A record that is larger than a frame takes `parts`
//! frames in a row, and counts when all of them are there.
//!
//! The checksum begins with a secret of the generation that no client knows: a value that looks like a frame is none.
//! Base, flushed and versions repeat what the [manifest](super::manifest) said when the frame was written, so that
//! losing the manifest costs little: a flush that no frame has followed yet, or that is due later.

use super::record::Record;
use std::io;

/// What a frame begins with.
pub const MAGIC: &[u8; 8] = b"VOLTLOG1";

/// Bytes before the payload.
pub const HEADER_LEN: usize = 56;

/// Longest frame, in bytes. Sixteen of them and their keys stay well below the size from which the database puts a
/// page into a file of its own; longer frames cost memory, shorter ones throughput.
pub const FRAME_MAX: usize = 8000;

const PAYLOAD_MAX: usize = FRAME_MAX - HEADER_LEN;

/// The checksum covers what follows it.
const CRC_END: usize = 12;

/// What every frame repeats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Frames before this one are superseded.
    pub base: u64,
    /// Items up to this version are flushed.
    pub flushed: u64,
    /// No version above this has been given out.
    pub versions: u64,
}

/// A frame that checked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'b> {
    /// Its number.
    pub sequence: u64,
    /// What was known when it was written.
    pub stamp: Stamp,
    /// Which of the record's frames this is, from 0.
    pub part: u32,
    /// How many there are: 1 for a frame of whole records.
    pub parts: u32,
    /// The records, or a part of one.
    pub payload: &'b [u8],
}

impl<'b> Frame<'b> {
    /// Bytes of the frame that a header describes, or `None` if it is none.
    pub fn len_by(header: &[u8]) -> Option<usize> {
        let payload = u32::from_le_bytes(header.get(12..16)?.try_into().ok()?) as usize;
        (header.starts_with(MAGIC) && payload <= PAYLOAD_MAX).then_some(HEADER_LEN + payload)
    }

    /// The frame that `bytes` begin with, if it is whole and right.
    pub fn decode(bytes: &'b [u8], secret: u64) -> Option<Self> {
        let len = Self::len_by(bytes)?;
        let bytes = bytes.get(..len)?;
        let crc = u32::from_le_bytes(bytes[8..CRC_END].try_into().ok()?);
        if crc != checksum(secret, &bytes[CRC_END..]) {
            return None;
        }
        let word = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
        let half = |at: usize| Some(u32::from_le_bytes(bytes[at..at + 4].try_into().ok()?));
        let frame = Self {
            sequence: word(16)?,
            stamp: Stamp { base: word(24)?, flushed: word(32)?, versions: word(40)? },
            part: half(48)?,
            parts: half(52)?,
            payload: &bytes[HEADER_LEN..],
        };
        (frame.part < frame.parts).then_some(frame)
    }
}

fn checksum(secret: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&secret.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Packs records into frames.
#[derive(Debug)]
pub struct Packer {
    secret: u64,
    /// What the next frames say.
    pub stamp: Stamp,
    /// The next frame's number.
    next: u64,
    /// One more than the last frame's, wherever the next ones begin; if there is one.
    end: Option<u64>,
    open: Vec<u8>,
    /// A record too large for one frame.
    large: Vec<u8>,
    /// Frames that are ready, one behind the other, and where each ends.
    ready: Vec<u8>,
    ends: Vec<usize>,
}

impl Packer {
    /// A packer whose first frame has the number `next`.
    pub fn new(secret: u64, stamp: Stamp, next: u64) -> Self {
        let (open, large, ready, ends) = Default::default();
        Self { secret, stamp, next, end: None, open, large, ready, ends }
    }

    /// The number of the next frame that will be ready.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// One more than the number of the last frame, or where the first one would be.
    pub fn end(&self) -> u64 {
        self.end.unwrap_or(self.next)
    }

    /// Goes on in a generation with another secret, from the number `first` on. What is ready must have been written.
    pub fn restart(&mut self, secret: u64, first: u64) {
        debug_assert!(self.ends.is_empty() && self.open.is_empty());
        self.secret = secret;
        self.next = self.next.max(first);
    }

    /// Forgets what is not written.
    pub fn forget(&mut self) {
        self.open.clear();
        self.ready.clear();
        self.ends.clear();
    }

    /// Bytes that are ready.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Adds a record. Frames that are full become ready.
    pub fn add(&mut self, record: &Record<'_>) {
        let len = record.len();
        if self.open.len() + len > PAYLOAD_MAX {
            self.seal();
        }
        if len <= PAYLOAD_MAX {
            record.encode(&mut self.open);
            return;
        }
        let mut large = std::mem::take(&mut self.large);
        record.encode(&mut large);
        let parts = large.len().div_ceil(PAYLOAD_MAX) as u32;
        for (part, payload) in (0..).zip(large.chunks(PAYLOAD_MAX)) {
            self.frame(payload, part, parts);
        }
        large.clear();
        // One value of a gigabyte must not cost a gigabyte for ever.
        large.shrink_to(1 << 20);
        self.large = large;
    }

    /// Makes what was added ready.
    pub fn seal(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let mut open = std::mem::take(&mut self.open);
        self.frame(&open, 0, 1);
        open.clear();
        self.open = open;
    }

    fn frame(&mut self, payload: &[u8], part: u32, parts: u32) {
        let start = self.ready.len();
        let out = &mut self.ready;
        out.extend(MAGIC);
        out.extend([0; 4]);
        out.extend((payload.len() as u32).to_le_bytes());
        for word in [self.next, self.stamp.base, self.stamp.flushed, self.stamp.versions] {
            out.extend(word.to_le_bytes());
        }
        out.extend(part.to_le_bytes());
        out.extend(parts.to_le_bytes());
        out.extend(payload);
        let crc = checksum(self.secret, &out[start + CRC_END..]);
        out[start + 8..start + CRC_END].copy_from_slice(&crc.to_le_bytes());
        self.ends.push(out.len());
        self.next += 1;
        self.end = Some(self.next);
    }

    /// Gives the frames that are ready to `write`, in order, and forgets them.
    ///
    /// # Errors
    /// The first that `write` has; the frames behind it are forgotten as well.
    pub fn write_out(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut start = 0;
        let written = self.ends.iter().try_for_each(|&end| {
            let frame = &self.ready[start..end];
            start = end;
            write(frame)
        });
        self.ready.clear();
        self.ready.shrink_to(1 << 20);
        self.ends.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Saved;

    fn packed(value: &[u8]) -> Vec<Vec<u8>> {
        let mut packer = Packer::new(7, Stamp { base: 1, flushed: 2, versions: 3 }, 40);
        let item = Saved { key: b"key", value, version: 9, ..Saved::default() };
        packer.add(&Record::Removal { key: b"gone" });
        packer.add(&Record::Item(item));
        packer.seal();
        let mut frames = Vec::new();
        let written = packer.write_out(|frame| {
            frames.push(frame.to_vec());
            Ok(())
        });
        written.expect("cannot fail");
        frames
    }

    #[test]
    fn frames_carry_records_and_stamp() {
        let frames = packed(b"value");
        let [frame] = &frames[..] else { panic!("one frame, not {}", frames.len()) };
        let frame = Frame::decode(frame, 7).expect("a frame");
        assert_eq!((frame.sequence, frame.part, frame.parts), (40, 0, 1));
        assert_eq!(frame.stamp, Stamp { base: 1, flushed: 2, versions: 3 });
        let mut payload = frame.payload;
        assert_eq!(Record::decode(&mut payload), Some(Record::Removal { key: b"gone" }));
        assert_eq!(Record::decode(&mut payload).map(|record| record.key()), Some(&b"key"[..]));
        assert!(payload.is_empty());
    }

    #[test]
    fn a_large_record_takes_frames_in_a_row() {
        let frames = packed(&[5; 3 * FRAME_MAX]);
        let parts: Vec<_> = frames.iter().filter_map(|frame| Frame::decode(frame, 7)).collect();
        let numbers: Vec<_> = parts.iter().map(|f| (f.sequence, f.part, f.parts)).collect();
        assert_eq!(numbers, [(40, 0, 1), (41, 0, 4), (42, 1, 4), (43, 2, 4), (44, 3, 4)]);
        assert!(frames.iter().all(|frame| frame.len() <= FRAME_MAX));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let frames = packed(b"value");
        let frame = &frames[0];
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&damaged, 7), None, "bit {bit}");
        }
        for len in 0..frame.len() {
            assert_eq!(Frame::decode(&frame[..len], 7), None, "cut at {len}");
        }
        assert_eq!(Frame::decode(frame, 8), None, "another generation's secret");
    }
}
