//! Compaction: moving items out of [sealed](super::arena) spans, so that these come free.
//!
//! A move is no change: the copy has the version, deadline, marks and policy bits of the item and takes its place in the
//! table by one step, as a new value would. So a flush takes the copy if it would have taken the item, and who saves the
//! key saves the same. No count of clients' doings changes, nothing is marked, and the policies' clock stands still.
//!
//! The keeper goes over the table in the background. While sizes shift faster than it can follow, those that store do a part
//! in proportion to what they store.

#[cfg(all(test, feature = "jemalloc", not(volt_loom)))]
mod tests;

use super::arena::Arena;
use super::draft::Draft;
use super::item::{Birth, Shape, View};
use super::session::Session;
use super::table::Spot;
use super::{Engine, Handle, Vitality};

/// Free slots in used spans above this share of the limit begin a round,
const BEGIN_SHARE: usize = 64;
/// and what lies above this one takes room from items.
const WASTE_SHARE: usize = 24;
/// Each with so much more: of every size some slots are free in one span at least, however small the limit.
const BEGIN_MORE_BYTES: usize = 1 << 19;
const WASTE_MORE_BYTES: usize = 1 << 20;

/// Those that store are to be through a round when they have stored this share of the limit.
const ROUND_SHARE: usize = 25;
/// Buckets that they go over at a time,
const STEP_BUCKETS: usize = 64;
/// and at most for one item.
const STEPS_MAX: usize = 64;

/// Buckets that the keeper goes over under one pin,
const STRIDE: usize = 1024;
/// how many of these in one call,
const CALL_STRIDES: usize = 128;
/// and items that it moves in one call, about.
const CALL_MOVES: usize = 20_000;

impl Engine {
    /// The keeper's part.
    pub(super) fn compact(&self, handle: &Handle) {
        let Some(arena) = self.account.arena() else { return };
        if !arena.moving() && self.is_sparse(arena) {
            arena.seal_in_turn();
        }
        let mut moves = 0;
        for _ in 0..CALL_STRIDES {
            if moves > CALL_MOVES || !handle.pin().compact_part(STRIDE, &mut moves) {
                return;
            }
        }
    }

    /// Whether so much is free in spans that it is time for a round.
    fn is_sparse(&self, arena: &Arena) -> bool {
        let most = self.account.limit() / BEGIN_SHARE + BEGIN_MORE_BYTES + arena.edges();
        let sparse = self.account.waste() > most;
        arena.set_frugal(sparse);
        sparse
    }

    /// The limit on all memory, free slots in used spans included.
    #[inline]
    pub(super) fn limit_with_waste(&self) -> usize {
        self.account.limit() + self.account.limit() / WASTE_SHARE + WASTE_MORE_BYTES
    }
}

impl Session<'_> {
    /// The part of one that is about to store `size` bytes and had to make room for them.
    pub(super) fn compact_for(&self, size: usize) {
        let engine = self.engine();
        let Some(arena) = engine.account.arena() else { return };
        if !arena.moving() {
            if !engine.is_sparse(arena) {
                return;
            }
            arena.seal_soon();
        }
        let owed = self.handle().owed.get() + size;
        let buckets =
            engine.table.buckets().size().saturating_mul(ROUND_SHARE).saturating_mul(owed);
        let steps = buckets / engine.account.limit().max(1) / STEP_BUCKETS;
        if steps == 0 {
            self.handle().owed.set(owed);
            return;
        }
        self.handle().owed.set(0);
        let mut moves = 0;
        for _ in 0..steps.min(STEPS_MAX) {
            if !self.compact_part(STEP_BUCKETS, &mut moves) {
                return;
            }
        }
    }

    /// Moves what lies in sealed spans in the next buckets; `false` if the round is over.
    fn compact_part(&self, buckets: usize, moves: &mut usize) -> bool {
        let table = &self.engine().table;
        let Some(arena) = self.engine().account.arena() else { return false };
        let Some(part) = arena.next_part(buckets, table.buckets().size()) else { return false };
        for index in part {
            table.prefetch_ahead_of(index, self);
            table.visit_bucket(index, self, |view, spot| {
                if arena.is_sealed(view.node().address()) && self.vitality(view) == Vitality::Alive
                {
                    self.move_item(view, spot);
                    *moves += 1;
                }
            });
        }
        true
    }

    /// Puts a copy in the place of a live item.
    fn move_item<'s>(&'s self, old: View<'s>, mut spot: Spot<'s>) {
        let Some(mut copy) = self.draft_elsewhere(old) else { return };
        copy.fill(old.value());
        // From here on the deadline and the token of the old one are final, so it has to go.
        copy.take_over(old);
        // Its number stays. It has one: it was seen to be alive.
        copy.set_version(self.version(old));
        let table = &self.engine().table;
        while !table.replace(&spot, copy.node(), self) {
            // Something has changed beside it, or it is gone.
            spot = table.search(copy.hash(), old.key(), self);
            if spot.item().is_none_or(|item| item.node() != old.node()) {
                return;
            }
        }
        copy.into_node();
        let counters = self.counters();
        counters.items_linked.bump();
        counters.bytes_linked.add(self.item(old).size() as u64);
        self.handle().count_items(1);
    }

    /// A draft like an item, but for its value, in a span that is not sealed.
    fn draft_elsewhere(&self, old: View<'_>) -> Option<Draft> {
        let key = self.key(old.key());
        let shape = Shape {
            key_len: u8::try_from(key.bytes.len()).ok()?,
            value_len: u32::try_from(old.value_len()).ok()?,
            flags: old.flags(),
            cas: old.explicit_cas(),
            timed: old.timed(),
        };
        let birth = Birth {
            exptime: 0,
            access: self.now().wrapping_sub(old.idle(self.now())),
            policy: old.policy_bits(),
            no_cas: old.no_cas(),
        };
        let account = self.engine().account;
        let node = self.handle().purse.allocate_elsewhere(&shape, birth, key.bytes)?;
        // SAFETY: just allocated, and charged.
        #[expect(unsafe_code, reason = "takes ownership of a fresh item")]
        Some(unsafe { Draft::new(node, key.hash, account) })
    }
}
