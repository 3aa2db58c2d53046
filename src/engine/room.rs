//! Making room: holding the sum of all memory to the limit.

use super::session::Session;

/// Samples taken for one allocation at most: enough for a 1 GiB item among small ones, and an end to the search if
/// every item is held by somebody else's draft.
const SAMPLES_MAX: usize = 1 << 24;

/// The share of the limit that garbage may count for when it is decided whether to evict: 1/8. More garbage than that means
/// that somebody holds an epoch, and evicting more would only make more of it.
pub(super) const GARBAGE_SHARE: usize = 8;

/// What is set aside for buffers and garbage, whether there are any or not: 1/32 of the limit, but no more than 4 MiB. Both go up
/// and down all the time; without it, each time they go down there is room for stores that evict nothing, and each time
/// they go up items go in a burst.
const RESERVE_SHARE: usize = 32;
const RESERVE_MAX_BYTES: usize = 4 << 20;

/// What one sample may give beyond what is asked for: 1/8192 of the limit. Where items are small, the next few allocations then
/// find room without a sample; where they are large or the memory is small, no more goes than has to.
const SURPLUS_SHARE: usize = 8192;

impl Session<'_> {
    /// Evicts until `size` more bytes fit the limit. `false` if they do not and nothing (more) may be evicted.
    pub(super) fn make_room(&self, size: usize) -> bool {
        let excess = self.excess(size);
        if self.fits(size, 0) && excess == 0 {
            return true;
        }
        let limit = self.engine().account.limit();
        if size > limit {
            return false;
        }
        self.compact_for(size);
        if excess > 0 && self.engine().options.evictions {
            // What goes for that makes spans sparse and leaves room for what is moved; it is no more than what comes, however much
            // the excess: evicting alone takes no memory from a span before its last item has gone.
            self.evict_some(size.min(excess), 0);
        }
        if self.fits(size, 0) {
            return true;
        }
        self.pin().nudge();
        self.counters().direct_reclaims.bump();
        let garbage = self.engine().account.garbage();
        let mut empty_handed = 0;
        for _ in 0..SAMPLES_MAX {
            let shortage = self.shortage(size, garbage.min(limit / GARBAGE_SHARE));
            if shortage == 0 {
                return true;
            }
            if !self.engine().options.evictions {
                return self.reclaim_dead() && self.fits(size, 0);
            }
            if self.evict_some(shortage, limit / SURPLUS_SHARE) {
                empty_handed = 0;
            } else {
                empty_handed += 1;
            }
            // One sample looks at REACH buckets at most, so a whole round over the table may take several.
            if empty_handed > self.rounds() {
                return false;
            }
        }
        false
    }

    /// Whether `size` more bytes fit beside items, table, buffers and this much garbage.
    pub(super) fn fits(&self, size: usize, garbage: usize) -> bool {
        self.shortage(size, garbage) == 0
    }

    /// Bytes beyond the limit on all memory, free slots included, once `size` more are stored.
    fn excess(&self, size: usize) -> usize {
        let sum = self.sum(size, 0) + self.engine().account.waste();
        sum.saturating_sub(self.engine().limit_with_waste())
    }

    /// Bytes that have to go so that `size` more fit.
    pub(super) fn shortage(&self, size: usize, garbage: usize) -> usize {
        self.sum(size, garbage).saturating_sub(self.engine().account.limit())
    }

    /// What counts for the limit, with `size` more bytes and this much garbage.
    fn sum(&self, size: usize, garbage: usize) -> usize {
        let account = self.engine().account;
        let sums = account.sums();
        let items = self.handle().purse.items();
        let reserve = (account.limit() / RESERVE_SHARE).min(RESERVE_MAX_BYTES);
        items + sums.table + sums.policy + (sums.buffers + garbage).max(reserve) + size
    }
}
