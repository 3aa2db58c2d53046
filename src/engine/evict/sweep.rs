//! The hand: sweeps over the buckets and samples the items it passes.

use super::super::item::View;
use super::super::session::Session;
use super::super::{Removal, Vitality};
use super::Policy;
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

/// One handle's position in the sweep. Handles sweep on their own, so no position is shared.
#[derive(Debug)]
pub struct Hand(Cell<usize>);

impl Hand {
    /// A hand that begins somewhere.
    pub fn new(start: usize) -> Self {
        Self(Cell::new(start))
    }
}

struct Victim<'s> {
    view: View<'s>,
    rank: u64,
}

impl Session<'_> {
    /// Takes one sample: removes what is dead in it and, if that was nothing, evicts the most expendable item.
    /// `false` if there was nothing to take.
    pub(crate) fn evict_one(&self) -> bool {
        let table = &self.engine().table;
        let size = table.buckets().size();
        let exact = self.compares_all(size);
        let (mut seen, mut dead) = (0, 0);
        let mut victim: Option<Victim<'_>> = None;
        let start = self.handle().hand.0.get();
        let mut steps = 0;
        while steps < if exact { size } else { size.min(REACH) } && (exact || seen < SAMPLE) {
            let index = start.wrapping_add(steps) & (size - 1);
            table.prefetch_head_of(index.wrapping_add(8) & (size - 1));
            table.visit_bucket(index, self, |view| {
                seen += 1;
                match self.vitality(view) {
                    Vitality::Alive => self.weigh(view, &mut victim),
                    Vitality::Expired => dead += usize::from(self.take_out(view, Removal::Expired)),
                    Vitality::Flushed => dead += usize::from(self.take_out(view, Removal::Flushed)),
                }
            });
            steps += 1;
        }
        self.handle().hand.0.set(start.wrapping_add(steps));
        self.counters().eviction_candidates.add(seen as u64);
        if dead > 0 {
            return true;
        }
        victim.is_some_and(|victim| {
            // Somebody may have taken it meanwhile: its memory is on the way, too.
            self.take_out(victim.view, Removal::Evicted);
            true
        })
    }

    /// Samples that a whole round over the table may take.
    pub(crate) fn rounds(&self) -> usize {
        let size = self.engine().table.buckets().size();
        if self.compares_all(size) { 1 } else { 1 + size / REACH }
    }

    fn compares_all(&self, buckets: usize) -> bool {
        buckets <= EXACT_REACH && self.engine().items_about() <= EXACT
    }

    fn weigh<'s>(&'s self, view: View<'s>, victim: &mut Option<Victim<'s>>) {
        let rank = self.engine().policy.rank(view.policy_bits(), self.tick(), view.value_len());
        if victim.as_ref().is_none_or(|best| rank > best.rank) {
            *victim = Some(Victim { view, rank });
        }
    }
}
