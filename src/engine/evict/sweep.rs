//! The hand: sweeps over the buckets and samples the items it passes.

use super::super::Removal;
use super::super::item::{HEADER_LEN, View};
use super::super::session::Session;
use super::super::table::Spot;
use super::{Policy, Standing};
use std::cell::Cell;

/// Items that are compared at a time. More choose better and cost more,
const SAMPLE: usize = 40;
/// and so do fewer victims: these four of 40 lie as far from the best on average as one of 16, which comes within a few per
/// cent of exact LRU, for ten looks each.
const VICTIMS: usize = 4;
/// With at most this many items in the cache all of them are compared,
const EXACT: usize = 64;
/// unless they lie in more buckets than this.
const EXACT_REACH: usize = 8 * REACH;
/// Buckets looked at for one sample at most, so that a large and nearly empty table does not stop a worker.
const REACH: usize = 8 * 1024;
/// The most expendable of a sample, of which the policy may spare some.
const CANDIDATES: usize = 8;

/// One handle's position in the sweep. Handles sweep on their own, so no position is shared.
#[derive(Debug)]
pub struct Hand(Cell<usize>);

impl Hand {
    /// A hand that begins somewhere.
    pub fn new(start: usize) -> Self {
        Self(Cell::new(start))
    }
}

/// The most expendable items of a sample, the first of them first.
#[derive(Default)]
struct Candidates<'s>([Option<(u64, Spot<'s>)>; CANDIDATES]);

impl<'s> Candidates<'s> {
    #[inline]
    fn offer(&mut self, rank: u64, spot: Spot<'s>) {
        let precedes =
            |place: &Option<(u64, Spot<'_>)>| place.as_ref().is_none_or(|(other, _)| rank > *other);
        let mut at = CANDIDATES;
        while at > 0 && precedes(&self.0[at - 1]) {
            at -= 1;
        }
        if at < CANDIDATES {
            self.0[at..].rotate_right(1);
            self.0[at] = Some((rank, spot));
        }
    }

    fn in_order(self) -> impl Iterator<Item = Spot<'s>> {
        self.0.into_iter().flatten().map(|(_, spot)| spot)
    }
}

impl Session<'_> {
    /// Takes one sample: removes what is dead in it and, if that was nothing, evicts the most expendable items that the
    /// policy does not spare, one at least and at most [`VICTIMS`], until they make `bytes`; and more as long as all of it is
    /// within `surplus`. `false` if there was nothing to take.
    pub(crate) fn evict_some(&self, bytes: usize, surplus: usize) -> bool {
        let table = &self.engine().table;
        let size = table.buckets().size();
        let exact = self.compares_all(size);
        let (mut seen, mut dead) = (0, 0);
        let mut candidates = Candidates::default();
        let start = self.handle().hand.0.get();
        let mut steps = 0;
        while steps < if exact { size } else { size.min(REACH) } && (exact || seen < SAMPLE) {
            let index = start.wrapping_add(steps) & (size - 1);
            table.prefetch_ahead_of(index, self);
            table.visit_bucket(index, self, |view, spot| {
                seen += 1;
                match self.vitality(view).end() {
                    None => candidates.offer(self.rank(view), spot),
                    Some(why) => dead += usize::from(self.take_out_at(&spot, why)),
                }
            });
            steps += 1;
        }
        self.handle().hand.0.set(start.wrapping_add(steps));
        self.counters().eviction_candidates.add(seen as u64);
        dead > 0 || self.evict_first(candidates, bytes, surplus)
    }

    /// Evicts the first candidates that are not spared; `false` if there is no candidate at all.
    fn evict_first(&self, candidates: Candidates<'_>, bytes: usize, surplus: usize) -> bool {
        let policy = &self.engine().policy;
        let (mut any, mut victims, mut freed) = (false, 0, 0);
        for spot in candidates.in_order() {
            let Some(view) = spot.item() else { continue };
            let size = self.item(view).size();
            let enough = victims > 0 && freed >= bytes && freed + size > bytes + surplus;
            if victims == VICTIMS || enough {
                break;
            }
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
            if self.take_out_at(&spot, Removal::Evicted) {
                let rejected = policy.standing(bits) == Some(Standing::Probation);
                self.counters().eviction_rejected.add(u64::from(rejected));
                policy.evicted(self.engine().table.hash(view.key()), bits, size_of(view));
            }
            victims += 1;
            freed += size;
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
