//! How long commands take: a histogram a command and worker, with buckets that are fixed beforehand.
//!
//! Time is taken a turn: from the moment that a connection's input is there until the replies to it have been
//! handed to the system (or as much of them as it took). Every command of the turn is entered with the turn's
//! time, which is what its client waited for: in a pipeline the first reply leaves with the last. Not in it are the network and the
//! wait for the worker's attention.
//!
//! Reading the clock twice costs a short turn several hundredths of its time, for it keeps the processor from running
//! ahead. So a worker times its first [`EXACT_TURNS`] turns of a second, and one in [`SAMPLE`] of the others, at
//! random, which then stands for as many. A server with little to do is measured exactly, a busy one from more
//! samples than quantiles need; with the histograms off a turn costs a branch.

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

/// Turns of a second that a worker times one by one.
pub const EXACT_TURNS: u32 = 1024;

/// One turn in so many of the others is timed; a power of two.
pub const SAMPLE: u32 = 16;

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
    /// Turns that are still timed one by one.
    exact: Cell<u32>,
    random: Cell<u32>,
    /// Commands of this turn, by kind; of no meaning in a turn that is not timed.
    pending: [Cell<u32>; KINDS],
}

/// A turn that is timed.
#[derive(Debug, Clone, Copy)]
pub struct Began {
    at: Instant,
    /// Turns that it stands for.
    weight: u32,
}

impl Recorder {
    /// Records into `block`, or nothing.
    #[must_use]
    pub fn new(block: Option<Arc<Latency>>) -> Self {
        // Any number will do: it only has to hit no rhythm of the clients.
        let random = Cell::new(0x9e37_79b9);
        Self { block, exact: Cell::new(EXACT_TURNS), random, pending: Default::default() }
    }

    /// A second has passed: turns are timed one by one again, for as long as there are few.
    pub fn refill(&self) {
        self.exact.set(EXACT_TURNS);
    }

    /// A turn begins; `None` if it is not timed.
    #[inline]
    pub fn begin(&self) -> Option<Began> {
        self.block.as_ref()?;
        let weight = match self.exact.get() {
            0 if !self.is_sampled() => return None,
            0 => SAMPLE,
            left => {
                self.exact.set(left - 1);
                1
            }
        };
        for pending in &self.pending {
            pending.set(0);
        }
        Some(Began { at: Instant::now(), weight })
    }

    /// A linear congruential generator; its high bits are the random ones.
    #[inline]
    fn is_sampled(&self) -> bool {
        let random = self.random.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.random.set(random);
        random >> (u32::BITS - SAMPLE.trailing_zeros()) == 0
    }

    /// The turn has so many (more) commands of this kind.
    #[inline]
    pub fn note(&self, kind: Kind, commands: u32) {
        let pending = &self.pending[kind as usize];
        pending.set(pending.get().wrapping_add(commands));
    }

    /// The turn that began then is over.
    #[inline]
    pub fn end(&self, began: Option<Began>) {
        if let (Some(Began { at, weight }), Some(block)) = (began, &self.block) {
            self.enter(block, at.elapsed(), weight);
        }
    }

    fn enter(&self, block: &Latency, took: Duration, weight: u32) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NS.partition_point(|bound| *bound < took_ns);
        for (pending, histogram) in self.pending.iter().zip(&block.0) {
            let commands = u64::from(pending.take()) * u64::from(weight);
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
        recorder.enter(&block, Duration::from_nanos(1500), 1);
        recorder.note(Kind::Get, 1);
        recorder.enter(&block, Duration::from_secs(2), 1);
        let blocks = [block];
        let gets = Sum::of(&blocks, Kind::Get);
        assert_eq!((gets.buckets[1], gets.buckets[BOUNDS], gets.count()), (2, 1, 3));
        assert_eq!(gets.sum_ns, 2_000_003_000);
        assert_eq!(Sum::of(&blocks, Kind::MetaSet).buckets[1], 1);
        assert_eq!(Sum::of(&blocks, Kind::Delete).count(), 0);
    }

    #[test]
    fn a_busy_worker_is_sampled_and_the_samples_stand_for_all() {
        let block = Arc::new(Latency::default());
        let recorder = Recorder::new(Some(Arc::clone(&block)));
        let turns = |number: u32| {
            for _ in 0..number {
                let began = recorder.begin();
                recorder.note(Kind::Get, 2);
                recorder.end(began);
            }
        };
        let count = || Sum::of(&[Arc::clone(&block)], Kind::Get).count();
        turns(EXACT_TURNS);
        assert_eq!(count(), 2 * u64::from(EXACT_TURNS), "few turns are timed one by one");
        turns(200_000);
        let sampled = count() - 2 * u64::from(EXACT_TURNS);
        assert!(sampled.abs_diff(400_000) < 12_000, "{sampled}, within five standard deviations");
        let before = count();
        recorder.refill();
        turns(10);
        assert_eq!(count(), before + 20);
    }

    #[test]
    fn every_kind_is_in_its_place_and_nothing_is_timed_without_a_block() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
        assert!(Recorder::new(None).begin().is_none());
    }
}
