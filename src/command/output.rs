//! The replies that wait to be written to one client.
//!
//! Replies are appended to one buffer. A large value is not copied there: it is held in place ([`Held`]) and
//! written from where it lies, between the bytes before and after it. Few are held at a time ([`HELD_MAX`], and no
//! second one beyond [`HELD_HIGH_WATER`]), so a client that does not read costs one buffer and little more than one
//! value. An output that holds as much, or many bytes, is full: it takes what is appended, but whoever produces more should
//! stop and let it be written.

use crate::engine::{Held, ItemRef};
use std::fmt;
use std::mem;

/// Bytes of output after which no further request is run before some of it was written; workers of a small memory have less.
pub const HIGH_WATER: usize = 64 * 1024;
/// Bytes of a buffer that is wanted at all.
const CAPACITY_MIN: usize = 1024;
/// Values from this length on are not worth a copy. Bytes.
const HOLD_MIN: usize = 32 * 1024;
/// Values that are held at most: so many, and what was asked for beside them, are written in one call.
const HELD_MAX: usize = 2;
/// Bytes of held values after which none is added.
const HELD_HIGH_WATER: usize = 128 * 1024;

/// Output of one conversation, in order: bytes, between them a few held values.
pub struct Output {
    /// Room for replies, all of it initialised, of which the first `filled` bytes are in use: appending is a copy and an
    /// addition.
    bytes: Vec<u8>,
    filled: usize,
    /// Held values in their order, and where in `bytes` they belong.
    held: [Option<(usize, Held)>; HELD_MAX],
    /// How much of the whole was written.
    written: usize,
    /// Bytes after which it is full.
    high_water: usize,
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

impl Output {
    /// Parts that wait to be written: bytes, and each held value with the bytes behind it.
    pub const PARTS: usize = 1 + 2 * HELD_MAX;

    /// An empty output that owns no memory yet.
    pub const fn new() -> Self {
        Self::bounded(HIGH_WATER)
    }

    /// One that is full with `high_water` bytes.
    pub const fn bounded(high_water: usize) -> Self {
        let held = [const { None }; HELD_MAX];
        Self { bytes: Vec::new(), filled: 0, held, written: 0, high_water }
    }

    /// Appends bytes.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        if end > self.bytes.len() {
            self.grow(end);
        }
        self.bytes[self.filled..end].copy_from_slice(bytes);
        self.filled = end;
    }

    /// Appends a line of at most `most` bytes in parts, which find their room made.
    #[inline]
    pub fn compose(&mut self, most: usize, write: impl FnOnce(&mut Line<'_>)) {
        let end = self.filled + most;
        if end > self.bytes.len() {
            self.grow(end);
        }
        let mut line = Line { rest: &mut self.bytes[self.filled..end] };
        write(&mut line);
        self.filled = end - line.rest.len();
    }

    #[cold]
    fn grow(&mut self, end: usize) {
        let len = end.max(self.bytes.len() * 2).max(CAPACITY_MIN);
        self.bytes.resize(len, 0);
    }

    /// Appends a text and an end of line.
    #[inline]
    pub fn line(&mut self, text: &str) {
        self.push(text.as_bytes());
        self.push(b"\r\n");
    }

    /// Appends a number in decimal.
    #[inline]
    pub fn number(&mut self, number: u64) {
        self.push(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Appends an item's value. A large one is held where it lies, unless as many are held already.
    #[inline]
    pub fn value(&mut self, item: ItemRef<'_>) {
        let value = item.value();
        if value.len() >= HOLD_MIN && self.hold(item) {
            return;
        }
        self.push(value);
    }

    #[cold]
    fn hold(&mut self, item: ItemRef<'_>) -> bool {
        if self.held_len() >= HELD_HIGH_WATER {
            return false;
        }
        let Some(place) = self.held.iter_mut().find(|place| place.is_none()) else { return false };
        *place = item.hold().map(|held| (self.filled, held));
        place.is_some()
    }

    /// Where what is appended next begins, for [`since`](Self::since) and [`cut`](Self::cut).
    #[inline]
    pub fn end(&self) -> usize {
        self.filled
    }

    /// The bytes that were appended from `start` on.
    pub fn since(&self, start: usize) -> &[u8] {
        &self.bytes[start..self.filled]
    }

    /// Takes them back; no value is among them.
    pub fn cut(&mut self, start: usize) {
        debug_assert!(self.held.iter().flatten().all(|(at, _)| *at <= start));
        self.filled = start;
    }

    /// Whether so much waits that it should be written before more is produced.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.filled >= self.high_water || self.held[0].is_some() && self.holds_enough()
    }

    fn holds_enough(&self) -> bool {
        self.held.iter().all(Option::is_some) || self.held_len() >= HELD_HIGH_WATER
    }

    fn held_len(&self) -> usize {
        self.held.iter().flatten().map(|(_, held)| held.value().len()).sum()
    }

    /// Bytes that wait to be written.
    pub fn len(&self) -> usize {
        self.filled + self.held_len() - self.written
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What waits, in the order in which it is to be written; some parts may be empty.
    pub fn parts(&self) -> [&[u8]; Self::PARTS] {
        let mut parts: [&[u8]; Self::PARTS] = [&[]; Self::PARTS];
        let (mut last, mut from) = (0, 0);
        for (at, held) in self.held.iter().flatten() {
            parts[last] = &self.bytes[from..*at];
            parts[last + 1] = held.value();
            (last, from) = (last + 2, *at);
        }
        parts[last] = &self.bytes[from..self.filled];
        let mut skip = self.written;
        for part in &mut parts {
            let skipped = skip.min(part.len());
            *part = &part[skipped..];
            skip -= skipped;
        }
        parts
    }

    /// Notes that `written` more bytes have been written; when all are, the held values are let go.
    pub fn wrote(&mut self, written: usize) {
        self.written += written;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets everything, keeping the buffer's memory.
    pub fn clear(&mut self) {
        self.filled = 0;
        self.held = [const { None }; HELD_MAX];
        self.written = 0;
    }

    /// Memory of the buffer, in bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives back memory beyond `capacity` bytes when nothing waits.
    pub fn shrink(&mut self, capacity: usize) {
        if self.is_empty() {
            self.clear();
            self.bytes.truncate(capacity);
            self.bytes.shrink_to(capacity);
        }
    }
}

/// The room of a line that is being composed.
pub struct Line<'o> {
    rest: &'o mut [u8],
}

impl Line<'_> {
    /// Appends bytes.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        let (room, rest) = mem::take(&mut self.rest).split_at_mut(bytes.len());
        room.copy_from_slice(bytes);
        self.rest = rest;
    }

    /// Appends a number in decimal.
    #[inline]
    pub fn number(&mut self, number: u64) {
        self.push(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// Appends formatted text; never fails. For answers that are not worth formatting by hand.
impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_written_in_order_whatever_the_pieces() {
        for piece in 1..20 {
            let mut output = Output::new();
            output.push(b"a");
            output.line("bc");
            output.number(u64::MAX);
            output.push(b"!");
            let mut written = Vec::new();
            while !output.is_empty() {
                let part = output.parts()[0];
                let some = &part[..piece.min(part.len())];
                written.extend_from_slice(some);
                let some = some.len();
                output.wrote(some);
            }
            assert_eq!(written, b"abc\r\n18446744073709551615!");
            assert!(output.capacity() > 0, "the buffer's memory is kept");
            output.shrink(0);
            assert_eq!(output.capacity(), 0);
        }
    }

    #[test]
    fn appending_after_a_partial_write_keeps_the_order() {
        let mut output = Output::new();
        output.push(b"hello");
        output.wrote(3);
        output.push(b" world");
        assert_eq!((output.parts()[0], output.len()), (&b"lo world"[..], 8));
    }

    #[test]
    fn an_output_is_full_at_its_high_water_mark() {
        let mut output = Output::new();
        output.push(&vec![b'x'; HIGH_WATER - 1]);
        assert!(!output.is_full());
        output.push(b"x");
        assert!(output.is_full());
        output.wrote(HIGH_WATER);
        assert!(!output.is_full() && output.is_empty());
        let mut small = Output::bounded(8);
        small.push(b"12345678");
        assert!(small.is_full());
    }
}
