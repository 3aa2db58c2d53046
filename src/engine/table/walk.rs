//! Walking: all items in the list's order from a place on, and the items of a range of buckets.

use super::super::item::{EXPTIME_LEN, HEADER_LEN, Node, View};
use super::link::{self, MARK, Target};
use super::{Graveyard, Spot, Table, order, prefetch};
use crate::sync::Ordering;

/// Links followed in one call of [`Table::walk`] at most, so that a large and empty table does not hold a pin long.
const HOPS_MAX: usize = 16 * 1024;
/// How many buckets ahead of a sweep the processor is asked for the first item of a bucket, for the second and for the third.
/// Between two of them lies the time in which an item comes from memory.
const AHEAD: [usize; 3] = [16, 10, 5];

impl Table {
    /// Visits the unmarked items behind `place` in the list's order until `visit` returns `false` or [`HOPS_MAX`]
    /// links are behind it; the place to go on from, or `None` at the end of the list.
    ///
    /// An item that stays in the table for the whole of a scan in steps is visited exactly once, however the table
    /// grows. (Two keys with the same 64-bit hash share a place and are visited in the same step.)
    pub fn walk<'g, G: Graveyard>(
        &'g self,
        place: u64,
        graves: &'g G,
        mut visit: impl FnMut(View<'g>) -> bool,
    ) -> Option<u64> {
        let mut link = self.bucket(order::hash_at(place), graves).load(Ordering::Acquire);
        let mut last = place;
        let mut done = false;
        for hop in 0_usize.. {
            let address = match link::target(link) {
                Target::Item(address) => address,
                Target::Head(index) => {
                    if hop > HOPS_MAX {
                        return Some(order::of_head(index).max(last));
                    }
                    link = self.buckets.get(index).load(Ordering::Acquire);
                    continue;
                }
                Target::End => return None,
            };
            // SAFETY: the address was read from a link in the table.
            let node = unsafe { Node::from_address(address) };
            // SAFETY: reachable since the borrow of `graves` began, which keeps it alive for 'g.
            let view = unsafe { node.view() };
            link = view.header().next.load(Ordering::Acquire);
            if link & MARK != 0 {
                continue;
            }
            let here = order::of_item(self.hash(view.key()));
            if here <= place {
                continue;
            }
            if done && here != last {
                return Some(last);
            }
            last = here;
            done |= !visit(view);
        }
        None
    }

    /// Visits the unmarked items of one bucket, up to the next head, each with its spot. A bucket that is not linked in yet
    /// is passed over: its items are still its parent's.
    pub fn visit_bucket<'g, G: Graveyard>(
        &'g self,
        index: usize,
        _graves: &'g G,
        mut visit: impl FnMut(View<'g>, Spot<'g>),
    ) {
        let mut prev = self.buckets.get(index);
        let mut at = prev.load(Ordering::Acquire);
        while let Some(address) = link::item(at) {
            // SAFETY: the address was read from a link in the table.
            let node = unsafe { Node::from_address(address) };
            // SAFETY: reachable since the borrow of `_graves` began, which keeps it alive for 'g.
            let view = unsafe { node.view() };
            let next = view.header().next.load(Ordering::Acquire);
            if next & MARK == 0 {
                visit(view, Spot { prev, at, found: Some((view, next)) });
            }
            prev = &view.header().next;
            // Without the mark: a spot behind a removed item must not hold, since that one's link is not the list's.
            at = next & !MARK;
        }
    }

    /// Gives every item still linked to `take`, for a table that is about to go. The table must not be used afterwards.
    pub fn drain(&mut self, mut take: impl FnMut(Node)) {
        let mut link = self.buckets.get(0).load(Ordering::Relaxed);
        loop {
            match link::target(link) {
                Target::Item(address) => {
                    // SAFETY: linked, and nobody else has access.
                    let node = unsafe { Node::from_address(address) };
                    // SAFETY: linked items are alive; taken below, after its link was read.
                    link = unsafe { node.header() }.next.load(Ordering::Relaxed);
                    take(node);
                }
                Target::Head(index) => link = self.buckets.get(index).load(Ordering::Relaxed),
                Target::End => return,
            }
        }
    }

    /// Asks the processor for items of the buckets ahead of one that a sweep is about to visit: by the time the sweep is there
    /// they have come, each after the one whose link leads to it.
    #[inline]
    pub fn prefetch_ahead_of<G: Graveyard>(&self, index: usize, _graves: &G) {
        let mask = self.buckets.size() - 1;
        for (place, ahead) in AHEAD.into_iter().enumerate() {
            // Acquire, here and below: what an item holds, before it is read.
            let mut link = self.buckets.get((index + ahead) & mask).load(Ordering::Acquire);
            for _ in 0..place {
                let Some(address) = link::item(link) else { break };
                // SAFETY: the address was read from a link in the table.
                let node = unsafe { Node::from_address(address) };
                // SAFETY: reachable since the borrow of `_graves` began.
                link = unsafe { node.header() }.next.load(Ordering::Acquire);
            }
            link::item(link).inspect(|address| prefetch_head(*address));
        }
    }
}

/// Asks for what a sweep reads of an item: the header, and the lengths behind it.
#[inline]
fn prefetch_head(address: usize) {
    let address = address as *const u8;
    prefetch(address);
    prefetch(address.wrapping_add(HEADER_LEN + EXPTIME_LEN));
}
