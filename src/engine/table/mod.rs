//! The hash table: one lock-free list of all items, and an array of entry points into it.
//!
//! ```text
//!   buckets   [0]──┐        [1]──┐              [2]──┐
//!                  ▼             │                   │
//!   list      head 0 ─► a ─► b ─►│head 2 ─► c ─► ... ▼ head 1 ─► d ─► end
//! ```
//!
//! A split-ordered list (Shalev and Shavit 2006, see [`order`]) whose bucket heads are the array itself: a
//! bucket is one link, so a lookup reads head, item, and is done: two cache misses. Doubling the table moves nothing;
//! a new bucket links its head into the list when it is first used. Removal is Michael's version of Harris's
//! list ("High Performance Dynamic Lock-Free Hash Tables and List-Based Sets", SPAA 2002): mark the item's own
//! link, then unlink it; searches that change the list unlink the marked items on their way, lookups just pass over them.
//!
//! Replacing a value is one step: the old item's link is swung from its successor to the *new* item with the
//! mark set, which removes the one and inserts the other at the same instant (the new item's link is that
//! successor). A reader on the old item finds the new one right behind it.
//!
//! No operation waits for another thread: whoever finds a half-done step finishes it or goes around it.
//!
//! The table neither frees items nor knows about epochs. It hands unlinked items to a [`Graveyard`], whose implementor
//! promises that nothing is freed while it is borrowed.
#![expect(unsafe_code, reason = "follows links between items that an epoch keeps alive")]

pub mod buckets;
pub mod link;
pub mod order;
mod split;
mod walk;

#[cfg(all(test, volt_loom))]
mod models;
#[cfg(all(test, not(volt_loom)))]
mod tests;

use super::item::{Node, View};
use crate::sync::{AtomicUsize, Ordering};
use buckets::Buckets;
use foldhash::quality::SeedableRandomState;
use link::{FRESH, HEAD, MARK, Target};
use std::hash::{BuildHasher, Hasher};

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;
/// Lines of an item that are worth asking for before it is known how long it is.
const PREFETCH_LINES: usize = 3;

/// Where unlinked items go.
///
/// # Safety
/// While a `&Self` lives, no item that was reachable in the table at some time since the borrow began is freed.
pub unsafe trait Graveyard {
    /// Takes a node that is no longer reachable from the table.
    ///
    /// # Safety
    /// Called once per node, after it was unlinked.
    unsafe fn retire(&self, node: Node);
}

/// The table.
pub struct Table {
    buckets: Buckets,
    hasher: SeedableRandomState,
}

/// Where a key is or would be: the link to change, what it holds, and the item if there is one.
pub struct Spot<'g> {
    prev: &'g AtomicUsize,
    at: usize,
    found: Option<(View<'g>, usize)>,
}

impl<'g> Spot<'g> {
    /// The unmarked item with the key.
    pub fn item(&self) -> Option<View<'g>> {
        self.found.map(|(view, _)| view)
    }
}

impl Table {
    /// An empty table of `2^power` buckets that hashes with the given seed.
    pub fn new(power: u32, seed: u64) -> Self {
        let shared = foldhash::SharedSeed::global_random();
        let table = Self {
            buckets: Buckets::new(power),
            hasher: SeedableRandomState::with_seed(seed, shared),
        };
        // Bucket 0 begins the list; every other bucket is split from it.
        table.buckets.get(0).store(link::END, Ordering::Release);
        table
    }

    /// The hash of a key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// The array.
    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// Asks the processor for the bucket's cache line.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        prefetch(
            std::ptr::from_ref(self.buckets.get(hash as usize & (self.buckets.size() - 1))).cast(),
        );
    }

    /// Asks the processor for the first item of the bucket: its header, its key, and what a small value takes.
    #[inline]
    pub fn prefetch_item(&self, hash: u64) {
        self.first_item(hash, Ordering::Relaxed).inspect(|address| prefetch_item(*address));
    }

    /// Asks the processor for the second item of the bucket, whose first is on its way into the cache.
    #[inline]
    pub fn prefetch_next<G: Graveyard>(&self, hash: u64, _graves: &G) {
        // Acquire: what the first item holds, before it is read.
        let Some(address) = self.first_item(hash, Ordering::Acquire) else { return };
        // SAFETY: the address was read from a link in the table.
        let node = unsafe { Node::from_address(address) };
        // SAFETY: reachable since the borrow of `graves` began.
        let view = unsafe { node.view() };
        // Relaxed: only a hint, nothing is read through the link.
        if let Some(next) = link::item(view.header().next.load(Ordering::Relaxed)) {
            prefetch_item(next);
        }
    }

    /// The address of the item that the hash's bucket begins with, if it begins with one.
    #[inline]
    fn first_item(&self, hash: u64, ordering: Ordering) -> Option<usize> {
        let bucket = self.buckets.get(hash as usize & (self.buckets.size() - 1));
        link::item(bucket.load(ordering))
    }

    /// The unmarked item with this key. Changes nothing, waits for nobody, unless its bucket is used for the
    /// first time.
    #[inline]
    pub fn find<'g, G: Graveyard>(&self, hash: u64, key: &[u8], graves: &'g G) -> Option<View<'g>> {
        let mut link = self.bucket(hash, graves).load(Ordering::Acquire);
        loop {
            match link::target(link) {
                Target::Item(address) => {
                    // SAFETY: the address was read from a link in the table.
                    let node = unsafe { Node::from_address(address) };
                    // SAFETY: reachable since the borrow of `graves` began, which keeps it alive for 'g.
                    let view = unsafe { node.view() };
                    // Acquire: what a replacement holds is visible before we follow the link to it.
                    link = view.header().next.load(Ordering::Acquire);
                    if link & MARK == 0 && view.key() == key {
                        return Some(view);
                    }
                }
                Target::Head(index) if order::of_head(index) < order::of_item(hash) => {
                    link = self.buckets.get(index).load(Ordering::Acquire);
                }
                Target::Head(_) | Target::End => return None,
            }
        }
    }

    /// The spot of a key: its item, or the link behind which it belongs. Unlinks marked items on the way.
    ///
    /// Where an item belongs follows from its hash, which is not kept: those that are passed have to be hashed to find the
    /// spot of a key that is not there. So it is looked for without that first.
    pub fn search<'g, G: Graveyard>(&'g self, hash: u64, key: &[u8], graves: &'g G) -> Spot<'g> {
        self.seek::<_, false>(hash, key, graves)
            .or_else(|| self.seek::<_, true>(hash, key, graves))
            .unwrap_or_else(|| unreachable!("in order, every key has a spot"))
    }

    /// The spot of a key. If no order is kept, that of one that is not there is known only where nothing is passed.
    #[inline]
    fn seek<'g, G: Graveyard, const IN_ORDER: bool>(
        &'g self,
        hash: u64,
        key: &[u8],
        graves: &'g G,
    ) -> Option<Spot<'g>> {
        let place = order::of_item(hash);
        'again: loop {
            let mut prev = self.bucket(hash, graves);
            let mut at = self.settle(prev);
            let mut passed = false;
            loop {
                let address = match link::target(at) {
                    Target::Item(address) => address,
                    Target::Head(index) if order::of_head(index) < place => {
                        prev = self.buckets.get(index);
                        at = self.settle(prev);
                        passed = false;
                        continue;
                    }
                    Target::Head(_) | Target::End => {
                        return (IN_ORDER || !passed).then_some(Spot { prev, at, found: None });
                    }
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
                if view.key() == key {
                    return Some(Spot { prev, at, found: Some((view, next)) });
                }
                if IN_ORDER && order::of_item(self.hash(view.key())) > place {
                    return Some(Spot { prev, at, found: None });
                }
                passed = true;
                prev = &view.header().next;
                at = next;
            }
        }
    }

    /// Publishes `node` at a spot without an item; `false` if the list has changed there.
    pub fn insert(&self, spot: &Spot<'_>, node: Node) -> bool {
        debug_assert!(spot.found.is_none());
        // SAFETY: unpublished and the caller's.
        let header = unsafe { node.header() };
        // Relaxed: published by the exchange below.
        header.next.store(spot.at, Ordering::Relaxed);
        // Release: the whole item before the link to it.
        spot.prev
            .compare_exchange(spot.at, node.address(), Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Publishes `node` in place of the spot's item; `false` if that item was changed or removed meanwhile.
    pub fn replace<G: Graveyard>(&self, spot: &Spot<'_>, node: Node, graves: &G) -> bool {
        let Some((old, next)) = spot.found else { return false };
        // SAFETY: unpublished and the caller's.
        let header = unsafe { node.header() };
        // Relaxed: published by the exchange below.
        header.next.store(next, Ordering::Relaxed);
        // Release: the whole item before the link to it. This removes the old item and inserts the new one.
        let won = old
            .header()
            .next
            .compare_exchange(next, node.address() | MARK, Ordering::Release, Ordering::Relaxed)
            .is_ok();
        if won {
            self.bury(spot, old, node.address() | MARK, graves);
        }
        won
    }

    /// Removes the spot's item; `false` if it was changed or removed meanwhile.
    pub fn remove<G: Graveyard>(&self, spot: &Spot<'_>, graves: &G) -> bool {
        let Some((old, next)) = spot.found else { return false };
        // Relaxed is enough for the mark itself: nothing new is published by it.
        let won = old
            .header()
            .next
            .compare_exchange(next, next | MARK, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if won {
            self.bury(spot, old, next | MARK, graves);
        }
        won
    }

    /// Unlinks an item that has just been marked, by the spot if that still holds, else by a search.
    fn bury<G: Graveyard>(&self, spot: &Spot<'_>, old: View<'_>, next: usize, graves: &G) {
        if unlink(spot.prev, spot.at, old.node(), next, graves).is_none() {
            // Unlinks every marked item up to the key's place, this one among them.
            self.search(self.hash(old.key()), old.key(), graves);
        }
    }

    /// Reads a bucket that is known to be linked, and says so if its claimer has not yet.
    fn settle(&self, bucket: &AtomicUsize) -> usize {
        let at = bucket.load(Ordering::Acquire);
        if at & FRESH == 0 {
            return at;
        }
        // Relaxed: the links behind it were published before the bucket was linked.
        match bucket.compare_exchange(at, at & !FRESH, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => at & !FRESH,
            // Only an insert or an unlink behind the bucket can have come first, and both settle it before.
            Err(current) => current & !FRESH,
        }
    }
}

/// Takes a marked node out of the list; gives what now stands at `prev`, or `None` if the list has changed there.
fn unlink<G: Graveyard>(
    prev: &AtomicUsize,
    at: usize,
    node: Node,
    next: usize,
    graves: &G,
) -> Option<usize> {
    let behind = next & !MARK;
    // Release: `behind` may be an item that only its predecessor's marked link has published so far.
    prev.compare_exchange(at, behind, Ordering::AcqRel, Ordering::Relaxed).ok()?;
    // SAFETY: the one link to the node is gone, by this thread; a node is unlinked once.
    unsafe { graves.retire(node) };
    Some(behind)
}

/// Asks for the lines in which a small item lies.
#[inline]
fn prefetch_item(address: usize) {
    for line in 0..PREFETCH_LINES {
        prefetch((address as *const u8).wrapping_add(line * LINE_BYTES));
    }
}

#[inline]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address has no effect that a program can see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

const _: () = assert!(HEAD & MARK == 0 && FRESH & MARK == 0);
