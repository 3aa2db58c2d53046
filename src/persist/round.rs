//! The round of checkpoints: which part of the table is to be written next, when, and what that supersedes.
//!
//! The table is written part after part, in a round that never ends; each part begins a generation. When every part has
//! been written since a generation began, the newest record of every key lies in that generation or behind it: either the key
//! has changed since, or a part had it. So all before it is superseded. On disk there are the parts of one round, the changes
//! that came meanwhile, and one part more; writing everything at once would need room for it twice.
//!
//! A small table is written in fewer parts, down to one: a generation has a size of its own.

use crate::engine::Cursor;
use std::collections::VecDeque;

/// Parts of a large table.
const PARTS: u32 = 16;
/// A part is not smaller than this, in bytes of frames, unless it is the whole table.
const PART_BYTES_MIN: u64 = if cfg!(test) { 256 << 10 } else { 4 << 20 };

/// The log may grow to this share of the table within a round, in percent. Space on disk and what is written twice are
/// bought from one another here: on disk is the table and this, and for every 85 bytes of changes 100 bytes of table are
/// written.
const LOG_PERCENT: u64 = 85;
/// A log below this is not worth a checkpoint, in bytes.
const LOG_BYTES_MIN: u64 = if cfg!(test) { 256 << 10 } else { 16 << 20 };

/// Some parts in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    first: u32,
    /// How many of [`PARTS`].
    parts: u32,
    /// Its share of the table's bytes in memory.
    table_bytes: u64,
}

impl Stretch {
    /// Where it begins in the table.
    pub fn from(self) -> Cursor {
        Cursor::at_share(self.first, PARTS).unwrap_or_default()
    }

    /// Where it ends; `None` at the end of the table.
    pub fn to(self) -> Option<Cursor> {
        Cursor::at_share(self.first + self.parts, PARTS)
    }
}

/// A stretch that is on disk.
#[derive(Debug)]
struct Written {
    parts: u32,
    /// Number of the first frame of its generation.
    first_frame: u64,
    /// Bytes of frames that it took.
    bytes: u64,
    /// Its share of the table's bytes in memory.
    table_bytes: u64,
}

/// Where the round is.
#[derive(Debug)]
pub(super) struct Round {
    /// The part that is next.
    next: u32,
    /// The last round of stretches, oldest first.
    written: VecDeque<Written>,
    /// Parts that have to be written however short the log is, those under way included.
    owed: u32,
    /// A stop has to write those: what came before lacks something.
    lacking: bool,
    /// Parts that have begun and are not on disk yet.
    under_way: u32,
    /// Bytes of the log since the last stretch began.
    log_bytes: u64,
    /// Parts since the last whole round.
    since_whole: u32,
}

impl Round {
    /// Nothing is written yet, and everything is to be.
    pub fn new() -> Self {
        Self {
            next: 0,
            written: VecDeque::new(),
            owed: PARTS,
            lacking: false,
            under_way: 0,
            log_bytes: 0,
            since_whole: 0,
        }
    }

    /// From now on everything has to be written once: what came before lacks something.
    pub fn owe(&mut self) {
        // What is under way has been past some of it.
        self.owed = PARTS + self.under_way;
        self.lacking = true;
    }

    /// What is written and under way is not part of a round any more.
    pub fn interrupt(&mut self) {
        self.written.clear();
        self.under_way = 0;
        self.since_whole = 0;
    }

    /// Whether there are parts that must not be left out at a stop.
    pub fn is_lacking(&self) -> bool {
        self.lacking
    }

    /// Whether some of what has to be written is not even under way.
    pub fn owes_more(&self) -> bool {
        self.owed > self.under_way
    }

    /// The log has grown.
    pub fn grow(&mut self, bytes: u64) {
        self.log_bytes += bytes;
    }

    /// Whether a stretch is to begin, of a table whose items take this many bytes in memory.
    pub fn is_due(&self, table_bytes: u64) -> bool {
        self.owes_more() || self.is_late(table_bytes)
    }

    /// Whether that will be so before long: when the log has a quarter of its share. Until there is a place for the next
    /// stretch the log goes on growing, and making one can take a busy disk long.
    pub fn is_almost_due(&self, table_bytes: u64) -> bool {
        self.owes_more() || self.log_bytes >= self.log_limit(table_bytes) / 4
    }

    /// Whether the log has had its share, so that the walk under way must not wait for anything any more.
    pub fn is_late(&self, table_bytes: u64) -> bool {
        self.log_bytes >= self.log_limit(table_bytes)
    }

    fn log_limit(&self, table_bytes: u64) -> u64 {
        let (base, width) = (self.base_bytes(table_bytes), self.width(table_bytes));
        let share = base / 100 * LOG_PERCENT * u64::from(width) / u64::from(PARTS);
        if width == PARTS { share.max(LOG_BYTES_MIN) } else { share }
    }

    /// Bytes of frames that a table of so many bytes in memory takes: in proportion to what the last round's stretches did.
    fn base_bytes(&self, table_bytes: u64) -> u64 {
        let sum = |bytes: fn(&Written) -> u64| self.written.iter().map(bytes).sum::<u64>();
        let (bytes, of) = (sum(|written| written.bytes), sum(|written| written.table_bytes));
        match of {
            0 => table_bytes,
            _ => (u128::from(table_bytes) * u128::from(bytes) / u128::from(of)) as u64,
        }
    }

    fn parts_written(&self) -> u32 {
        self.written.iter().map(|stretch| stretch.parts).sum()
    }

    /// How many parts a stretch has.
    fn width(&self, table_bytes: u64) -> u32 {
        let part = (self.base_bytes(table_bytes) / u64::from(PARTS)).max(1);
        let wanted = PART_BYTES_MIN.div_ceil(part).min(u64::from(PARTS)) as u32;
        wanted.next_power_of_two().min(PARTS)
    }

    /// Begins a stretch, in a generation of its own; the `whole` table, if that is asked for.
    pub fn begin(&mut self, table_bytes: u64, whole: bool) -> Stretch {
        let width = if whole { PARTS } else { self.width(table_bytes) };
        let first = if width == PARTS { 0 } else { self.next };
        let parts = width.min(PARTS - first);
        self.next = (first + parts) % PARTS;
        self.under_way += parts;
        self.log_bytes = 0;
        Stretch { first, parts, table_bytes: table_bytes / u64::from(PARTS) * u64::from(parts) }
    }

    /// The oldest stretch under way is on disk, in a generation with this first frame. The frame before which everything is
    /// superseded, once there is a whole round.
    pub fn end(&mut self, stretch: Stretch, first_frame: u64, bytes: u64) -> Option<u64> {
        let Stretch { parts, table_bytes, .. } = stretch;
        self.under_way = self.under_way.saturating_sub(parts);
        self.owed = self.owed.saturating_sub(parts);
        self.lacking &= self.owed > 0;
        self.since_whole += parts;
        self.written.push_back(Written { parts, first_frame, bytes, table_bytes });
        // As many as a whole round needs, counted from the newest.
        while let Some(oldest) = self.written.front()
            && self.parts_written() - oldest.parts >= PARTS
        {
            self.written.pop_front();
        }
        let whole = self.parts_written() >= PARTS;
        self.written.front().filter(|_| whole).map(|oldest| oldest.first_frame)
    }

    /// Whether a whole round is through since the last call.
    pub fn take_whole(&mut self) -> bool {
        let whole = self.since_whole >= PARTS;
        if whole {
            self.since_whole %= PARTS;
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a table that is walked in all parts.
    const LARGE: u64 = PART_BYTES_MIN * PARTS as u64;

    /// Walks the stretch that is next, of a table whose frames take as much as its items, in the generation that begins with
    /// this frame.
    fn walk(round: &mut Round, frame: u64, table: u64) -> (Stretch, Option<u64>) {
        let stretch = round.begin(table, false);
        (stretch, round.end(stretch, frame, stretch.table_bytes))
    }

    #[test]
    fn stretches_go_over_the_whole_table_and_begin_again() {
        for table in [LARGE, LARGE / 2, LARGE / 8, LARGE * 10] {
            let mut round = Round::new();
            for _ in 0..3 {
                let mut at = Some(Cursor::default());
                while let Some(from) = at {
                    let (stretch, _) = walk(&mut round, 0, table);
                    assert_eq!(stretch.from(), from);
                    assert!(stretch.to().is_none_or(|to| to > from));
                    at = stretch.to();
                }
            }
        }
    }

    #[test]
    fn what_lies_before_a_whole_round_is_superseded() {
        let mut round = Round::new();
        let parts = u64::from(PARTS);
        for frame in 0..parts * 3 {
            let superseded = (frame + 1).checked_sub(parts);
            assert_eq!(walk(&mut round, frame, LARGE).1, superseded, "{frame}");
        }
        round.interrupt();
        for frame in 100..100 + parts - 1 {
            assert_eq!(walk(&mut round, frame, LARGE).1, None, "nothing before it counts");
        }
        assert_eq!(walk(&mut round, 200, LARGE).1, Some(100));
    }

    #[test]
    fn every_part_lies_behind_what_is_superseded_whatever_the_table_s_size() {
        let (mut round, mut random) = (Round::new(), 1_u64);
        // The newest frame with each part.
        let mut newest = [0; PARTS as usize];
        for frame in 1..2000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let table = LARGE >> (random >> 61);
            let (stretch, base) = walk(&mut round, frame, table);
            newest[stretch.first as usize..][..stretch.parts as usize].fill(frame);
            let base = base.unwrap_or_default();
            assert!(newest.iter().all(|newest| *newest >= base), "{base} of {newest:?}");
        }
    }

    #[test]
    fn after_a_loss_a_whole_round_is_due_at_once_and_owed_at_a_stop() {
        let mut round = Round::new();
        assert!(round.is_due(LARGE) && !round.is_lacking());
        for frame in 0..PARTS.into() {
            walk(&mut round, frame, LARGE);
        }
        assert!(!round.is_due(LARGE) && round.take_whole() && !round.take_whole());
        let stretch = round.begin(LARGE, false);
        round.owe();
        round.end(stretch, 0, stretch.table_bytes);
        assert!(round.is_lacking(), "the stretch under way may have been past it");
        for frame in 0..PARTS.into() {
            assert!(round.is_due(LARGE) && round.is_lacking());
            walk(&mut round, frame, LARGE);
        }
        assert!(!round.is_due(LARGE) && !round.is_lacking());
    }

    #[test]
    fn a_stretch_is_due_when_the_log_has_its_share() {
        let mut round = Round::new();
        for table in [LARGE, LARGE / 4] {
            for frame in 0..PARTS.into() {
                walk(&mut round, frame, table);
            }
            let share = table / 100 * LOG_PERCENT / u64::from(PARTS / round.width(table));
            round.grow(share - 1);
            assert!(!round.is_due(table) && !round.is_late(table));
            round.grow(1);
            assert!(round.is_due(table) && round.is_late(table));
            let (stretch, _) = walk(&mut round, 0, table);
            assert!(stretch.parts < PARTS && !round.is_due(table));
        }
    }
}
