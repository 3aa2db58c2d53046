//! Entering the list: from a key's hash to its bucket, and the first use of a bucket.
//!
//! A bucket that nobody has used holds 0. Its first user claims it (a link tagged `FRESH`), links its head into the list
//! at the place where its parent's items split, and takes the tag off. Until then everybody else starts from the
//! parent bucket, which is as right and a little longer: nobody waits for the claimer.

use super::super::item::Node;
use super::link::{self, FRESH, MARK, Target, UNUSED};
use super::{Graveyard, Table, order, unlink};
use crate::sync::{AtomicUsize, Ordering};

impl Table {
    /// Links bucket `index` in, so that nobody has to on the way to an item.
    pub fn link_in<G: Graveyard>(&self, index: usize, graves: &G) {
        self.bucket(index as u64, graves);
    }

    /// The entry point for a hash: its bucket, or the nearest ancestor that is linked.
    #[inline]
    pub(super) fn bucket<G: Graveyard>(&self, hash: u64, graves: &G) -> &AtomicUsize {
        let index = hash as usize & (self.buckets.size() - 1);
        let bucket = self.buckets.get(index);
        // Acquire: the claimer's link before its untagged bucket.
        let at = bucket.load(Ordering::Acquire);
        if at != UNUSED && at & FRESH == 0 { bucket } else { self.first_use(index, graves) }
    }

    /// Links bucket `index` in if nobody else does; returns where to start meanwhile.
    #[cold]
    fn first_use<G: Graveyard>(&self, index: usize, graves: &G) -> &AtomicUsize {
        let bucket = self.buckets.get(index);
        let start = self.linked_ancestor(index);
        let (mut prev, mut at) = self.split_point(start, index, graves);
        // AcqRel: whoever sees the claim sees what it links to.
        if bucket.compare_exchange(UNUSED, at | FRESH, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return start;
        }
        // Release: the bucket's own link before the link to the bucket.
        while prev
            .compare_exchange(at, link::head(index), Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            (prev, at) = self.split_point(start, index, graves);
            // Relaxed: not linked yet, so the claimer alone writes it; published by the exchange above.
            bucket.store(at | FRESH, Ordering::Relaxed);
        }
        // Those who came over the list may have settled it already.
        self.settle(bucket);
        bucket
    }

    /// The nearest ancestor of a bucket that is linked; bucket 0 always is.
    fn linked_ancestor(&self, index: usize) -> &AtomicUsize {
        let mut index = index;
        loop {
            index = order::parent(index);
            let bucket = self.buckets.get(index);
            let at = bucket.load(Ordering::Acquire);
            if index == 0 || (at != UNUSED && at & FRESH == 0) {
                return bucket;
            }
        }
    }

    /// The link at which bucket `index` belongs, from a linked bucket before it.
    fn split_point<'g, G: Graveyard>(
        &'g self,
        start: &'g AtomicUsize,
        index: usize,
        graves: &'g G,
    ) -> (&'g AtomicUsize, usize) {
        let place = order::of_head(index);
        'again: loop {
            let mut prev = start;
            let mut at = self.settle(prev);
            loop {
                let address = match link::target(at) {
                    Target::Item(address) => address,
                    Target::Head(other) if order::of_head(other) < place => {
                        prev = self.buckets.get(other);
                        at = self.settle(prev);
                        continue;
                    }
                    Target::Head(_) | Target::End => return (prev, at),
                };
                // SAFETY: the address was read from a link in the table.
                let node = unsafe { Node::from_address(address) };
                // SAFETY: reachable since the borrow of `graves` began, which keeps it alive for 'g.
                let view = unsafe { node.view() };
                let next = view.header().next.load(Ordering::Acquire);
                if next & MARK != 0 {
                    let Some(behind) = unlink(prev, at, node, next, graves) else {
                        continue 'again;
                    };
                    at = behind;
                    continue;
                }
                if order::of_item(self.hash(view.key())) > place {
                    return (prev, at);
                }
                prev = &view.header().next;
                at = next;
            }
        }
    }
}
