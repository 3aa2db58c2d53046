//! How long commands take: a histogram a command and worker, with buckets that are fixed beforehand.
//!
//! Time is taken a turn: from the moment that a connection's input is there until the replies to it have been
//! handed to the system (or as much of them as it took). Every command of the turn is entered with the turn's
//! time, which is what its client waited for: in a pipeline the first reply leaves with the last. So a turn
//! costs two readings of the clock and one bucket a kind of command, however many commands it had; with the
//! histograms off it costs a branch. Not in it are the network and the wait for the worker's attention.

use super::Counter;
use std::array;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Upper bounds of the buckets, in nanoseconds: six a decade from 1 us to 1 s, so that a quantile read off between
/// two bounds is at most a third off. What takes longer is in a last bucket without a bound.
pub const BOUNDS_NS: [u64; BOUNDS] = bounds();

/// How many bounds there are.
pub const BOUNDS: usize = 37;

const fn bounds() -> [u64; BOUNDS] {
    let mantissas = [10, 15, 20, 30, 50, 70];
    let (mut bounds, mut at, mut decade) = ([0; BOUNDS], 0, 100);
    while at < BOUNDS {
        bounds[at] = mantissas[at % mantissas.len()] * decade;
        at += 1;
        if at % mantissas.len() == 0 {
            decade *= 10;
        }
    }
    bounds
}

/// Kinds of commands that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// get, gets, gat, gats.
    Get,
    /// set, add, replace, append, prepend, cas.
    Set,
    /// delete.
    Delete,
    /// incr, decr.
    Incr,
    /// touch.
    Touch,
    /// mg.
    MetaGet,
    /// ms.
    MetaSet,
    /// md.
    MetaDelete,
    /// ma.
    MetaArith,
    /// Everything else, answers to what was refused included.
    Other,
}

/// How many kinds there are.
const KINDS: usize = 10;

impl Kind {
    /// All kinds.
    pub const ALL: [Self; KINDS] = [
        Self::Get,
        Self::Set,
        Self::Delete,
        Self::Incr,
        Self::Touch,
        Self::MetaGet,
        Self::MetaSet,
        Self::MetaDelete,
        Self::MetaArith,
        Self::Other,
    ];

    /// The command that stands for the kind.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Incr => "incr",
            Self::Touch => "touch",
            Self::MetaGet => "mg",
            Self::MetaSet => "ms",
            Self::MetaDelete => "md",
            Self::MetaArith => "ma",
            Self::Other => "other",
        }
    }
}

/// One worker's histograms; it alone writes them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Latency([Histogram; KINDS]);

#[derive(Debug)]
struct Histogram {
    /// By bound; the last has none.
    buckets: [Counter; BOUNDS + 1],
    sum_ns: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: array::from_fn(|_| Counter::default()), sum_ns: Counter::default() }
    }
}

/// The histogram of one kind, summed over the workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Commands by bucket; not cumulative.
    pub buckets: [u64; BOUNDS + 1],
    /// The time of all commands together, in nanoseconds.
    pub sum_ns: u64,
}

impl Sum {
    /// The sum of one kind over all blocks.
    pub(super) fn of(blocks: &[Arc<Latency>], kind: Kind) -> Self {
        let mut sum = Self { buckets: [0; BOUNDS + 1], sum_ns: 0 };
        for block in blocks {
            let histogram = &block.0[kind as usize];
            for (sum, bucket) in sum.buckets.iter_mut().zip(&histogram.buckets) {
                *sum += bucket.get();
            }
            sum.sum_ns = sum.sum_ns.wrapping_add(histogram.sum_ns.get());
        }
        sum
    }

    /// Commands in all buckets.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// A worker's side of it: what the turn under way has done.
#[derive(Debug)]
pub struct Recorder {
    /// `None`: nothing is timed.
    block: Option<Arc<Latency>>,
    /// Commands of this turn, by kind.
    pending: [Cell<u32>; KINDS],
}

impl Recorder {
    /// Records into `block`, or nothing.
    #[must_use]
    pub fn new(block: Option<Arc<Latency>>) -> Self {
        Self { block, pending: Default::default() }
    }

    /// A turn begins.
    #[inline]
    pub fn begin(&self) -> Option<Instant> {
        self.block.as_ref().map(|_| Instant::now())
    }

    /// The turn has so many (more) commands of this kind.
    #[inline]
    pub fn note(&self, kind: Kind, commands: u32) {
        let pending = &self.pending[kind as usize];
        pending.set(pending.get().wrapping_add(commands));
    }

    /// The turn that began then is over.
    #[inline]
    pub fn end(&self, began: Option<Instant>) {
        if let (Some(began), Some(block)) = (began, &self.block) {
            self.enter(block, began.elapsed());
        }
    }

    fn enter(&self, block: &Latency, took: Duration) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NS.partition_point(|bound| *bound < took_ns);
        for (pending, histogram) in self.pending.iter().zip(&block.0) {
            let commands = u64::from(pending.take());
            if commands > 0 {
                histogram.buckets[bucket].add(commands);
                histogram.sum_ns.add(took_ns.wrapping_mul(commands));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_grow_from_a_microsecond_to_a_second_by_a_half_at_least_and_a_third_at_most() {
        assert_eq!((BOUNDS_NS[0], BOUNDS_NS[1], BOUNDS_NS[5]), (1000, 1500, 7000));
        assert_eq!((BOUNDS_NS[6], BOUNDS_NS[36]), (10_000, 1_000_000_000));
        assert!(BOUNDS_NS.windows(2).all(|pair| pair[0] * 5 >= pair[1] * 2 && pair[0] < pair[1]));
    }

    #[test]
    fn the_commands_of_a_turn_share_its_time() {
        let block = Arc::new(Latency::default());
        let recorder = Recorder::new(Some(Arc::clone(&block)));
        recorder.note(Kind::Get, 1);
        recorder.note(Kind::Get, 1);
        recorder.note(Kind::MetaSet, 1);
        recorder.enter(&block, Duration::from_nanos(1500));
        recorder.note(Kind::Get, 1);
        recorder.enter(&block, Duration::from_secs(2));
        let blocks = [block];
        let gets = Sum::of(&blocks, Kind::Get);
        assert_eq!((gets.buckets[1], gets.buckets[BOUNDS], gets.count()), (2, 1, 3));
        assert_eq!(gets.sum_ns, 2_000_003_000);
        assert_eq!(Sum::of(&blocks, Kind::MetaSet).buckets[1], 1);
        assert_eq!(Sum::of(&blocks, Kind::Delete).count(), 0);
    }

    #[test]
    fn every_kind_is_in_its_place_and_nothing_is_timed_without_a_block() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
        assert!(Recorder::new(None).begin().is_none());
    }
}
