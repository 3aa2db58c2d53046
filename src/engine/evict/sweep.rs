//! The hand: sweeps over the buckets and samples the items it passes.

use super::super::item::{HEADER_LEN, View};
use super::super::session::Session;
use super::super::{Removal, Vitality};
use super::{Policy, Standing};
use std::cell::Cell;

/// Items that are compared for one eviction. More choose better and cost more: 16 come within a few per cent of
/// exact LRU.
const SAMPLE: usize = 16;
/// With at most this many items in the cache all of them are compared,
const EXACT: usize = 64;
/// unless they lie in more buckets than this.
const EXACT_REACH: usize = 8 * REACH;
/// Buckets looked at for one sample at most, so that a large and nearly empty table does not stop a worker.
const REACH: usize = 8 * 1024;
/// The most expendable of a sample: so many may be spared before the next sample is taken.
const CANDIDATES: usize = 4;
/// Buckets ahead of the hand whose items the processor is asked for.
const AHEAD: usize = 12;

/// One handle's position in the sweep. Handles sweep on their own, so no position is shared.
#[derive(Debug)]
pub struct Hand(Cell<usize>);

impl Hand {
    /// A hand that begins somewhere.
    pub fn new(start: usize) -> Self {
        Self(Cell::new(start))
    }
}

/// The most expendable items of a sample, that one first.
#[derive(Default)]
struct Candidates<'s>([Option<(u64, View<'s>)>; CANDIDATES]);

impl<'s> Candidates<'s> {
    fn offer(&mut self, rank: u64, view: View<'s>) {
        let mut new = Some((rank, view));
        for place in &mut self.0 {
            if place.is_none_or(|(other, _)| new.is_some_and(|(rank, _)| rank > other)) {
                std::mem::swap(place, &mut new);
            }
        }
    }

    fn in_order(self) -> impl Iterator<Item = View<'s>> {
        self.0.into_iter().flatten().map(|(_, view)| view)
    }
}

impl Session<'_> {
    /// Takes one sample: removes what is dead in it and, if that was nothing, evicts the most expendable item that the
    /// policy does not spare. `false` if there was nothing to take.
    pub(crate) fn evict_one(&self) -> bool {
        let table = &self.engine().table;
        let size = table.buckets().size();
        let exact = self.compares_all(size);
        let (mut seen, mut dead) = (0, 0);
        let mut candidates = Candidates::default();
        let start = self.handle().hand.0.get();
        let mut steps = 0;
        while steps < if exact { size } else { size.min(REACH) } && (exact || seen < SAMPLE) {
            let index = start.wrapping_add(steps) & (size - 1);
            table.prefetch_head_of(index.wrapping_add(AHEAD) & (size - 1));
            table.visit_bucket(index, self, |view| {
                seen += 1;
                match self.vitality(view) {
                    Vitality::Alive => candidates.offer(self.rank(view), view),
                    Vitality::Expired => dead += usize::from(self.take_out(view, Removal::Expired)),
                    Vitality::Flushed => dead += usize::from(self.take_out(view, Removal::Flushed)),
                }
            });
            steps += 1;
        }
        self.handle().hand.0.set(start.wrapping_add(steps));
        self.counters().eviction_candidates.add(seen as u64);
        dead > 0 || self.evict_first(candidates)
    }

    /// Evicts the first candidate that is not spared; `false` if there is no candidate at all.
    fn evict_first(&self, candidates: Candidates<'_>) -> bool {
        let policy = &self.engine().policy;
        let mut any = false;
        for view in candidates.in_order() {
            any = true;
            let bits = view.policy_bits();
            if let Some(other) = policy.spare(bits, self.tick()) {
                view.set_policy_bits(other);
                self.counters().eviction_spared.bump();
                let passed = policy.standing(bits) == Some(Standing::Probation)
                    && policy.standing(other) == Some(Standing::Admitted);
                self.counters().eviction_admitted.add(u64::from(passed));
                continue;
            }
            // If somebody has taken it meanwhile, its memory is on the way, too.
            if self.take_out(view, Removal::Evicted) {
                let rejected = policy.standing(bits) == Some(Standing::Probation);
                self.counters().eviction_rejected.add(u64::from(rejected));
                policy.evicted(self.engine().table.hash(view.key()), bits, size_of(view));
            }
            break;
        }
        any
    }

    /// Samples that a whole round over the table may take.
    pub(crate) fn rounds(&self) -> usize {
        let size = self.engine().table.buckets().size();
        if self.compares_all(size) { 1 } else { 1 + size / REACH }
    }

    fn compares_all(&self, buckets: usize) -> bool {
        buckets <= EXACT_REACH && self.engine().items_about() <= EXACT
    }

    fn rank(&self, view: View<'_>) -> u64 {
        self.engine().policy.rank(view.policy_bits(), self.tick(), size_of(view))
    }
}

/// What an item takes, the allocator's rounding apart.
fn size_of(view: View<'_>) -> usize {
    HEADER_LEN + view.key_len() + view.value_len()
}
