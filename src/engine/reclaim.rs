//! Reclamation: when the memory of a removed item may be freed.
//!
//! crossbeam-epoch behind a small door. The collector is our own: sled pins the default one for whole batches
//! of disk writes, which would stall the reclamation of cache memory.
//!
//! Retired items gather in a bag of the handle's; a full bag ([`BAG_ITEMS`], [`BAG_BYTES`]) becomes one deferred
//! call and the epoch is nudged, so garbage is bounded: per thread one open bag, and what two epochs of bounded
//! batches can produce.
#![expect(unsafe_code, reason = "frees items once no reader can see them")]

use super::item::Node;
use super::memory::{Account, Purse};
use super::table::Table;
use crossbeam_epoch::{Collector, Guard, LocalHandle};
use std::cell::{Cell, RefCell};

/// Items in a bag at most: the cost of deferring is shared by so many.
const BAG_ITEMS: usize = 64;
/// Bytes in a bag at most: a stream of 1 MiB overwrites defers each at once.
const BAG_BYTES: usize = 64 * 1024;

/// An engine's epochs. Each engine has its own, so a long batch on one holds up no other.
pub struct Epochs(Collector);

impl Epochs {
    /// Epochs nobody takes part in yet.
    pub fn new() -> Self {
        Self(Collector::new())
    }

    /// A participant for the calling thread.
    pub fn join(&self) -> Member {
        Member(self.0.register())
    }
}

/// One thread's participation. Neither `Send` nor `Sync`.
pub struct Member(LocalHandle);

impl Member {
    /// Pins the epoch for this thread.
    #[inline]
    pub fn pin(&self) -> Pin {
        Pin(self.0.pin())
    }

    /// Runs the epoch forward a few times: frees what nobody can see, if no other thread is pinned.
    pub fn collect(&self) {
        for _ in 0..4 {
            self.pin().nudge();
        }
    }
}

/// A pinned epoch: what was reachable when it began stays readable while it lasts.
pub struct Pin(Guard);

impl Pin {
    /// Lets go of everything read so far and pins anew, so that the epoch can move on.
    #[inline]
    pub fn repin(&mut self) {
        self.0.repin();
    }

    /// Hands this thread's deferred calls over and tries to advance the epoch and to free.
    pub fn nudge(&self) {
        self.0.flush();
    }
}

/// A handle's retired items that are not yet deferred. The owner seals it before it goes.
pub struct Bag {
    account: &'static Account,
    nodes: RefCell<Vec<Node>>,
    bytes: Cell<usize>,
    /// Bags deferred since the owner last let the epoch move on.
    sealed: Cell<u32>,
}

impl Bag {
    /// An empty bag.
    pub fn new(account: &'static Account) -> Self {
        Self {
            account,
            nodes: RefCell::new(Vec::with_capacity(BAG_ITEMS)),
            bytes: Cell::new(0),
            sealed: Cell::new(0),
        }
    }

    /// Takes an item that has just been unlinked and frees it once every pin that could see it is gone.
    ///
    /// # Safety
    /// `node` is unreachable for whoever pins from now on, and is retired once.
    pub unsafe fn retire(&self, node: Node, pin: &Pin, purse: &Purse) {
        // SAFETY: the item stays allocated until this bag is freed.
        let bytes = unsafe { self.account.charged(node) };
        purse.earn(bytes);
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(node);
        self.bytes.set(self.bytes.get() + bytes);
        if nodes.len() >= BAG_ITEMS || self.bytes.get() >= BAG_BYTES {
            drop(nodes);
            self.seal(pin);
        }
    }

    /// Defers what the bag holds and nudges the epoch.
    pub fn seal(&self, pin: &Pin) {
        let bytes = self.bytes.take();
        if bytes == 0 {
            return;
        }
        let nodes = self.nodes.replace(Vec::with_capacity(BAG_ITEMS));
        let account = self.account;
        account.discard(bytes);
        let call = move || {
            let mut held = 0;
            for node in nodes {
                // SAFETY: two epochs have passed since the node was unlinked: no pin can see it any more.
                let (bytes, last) = unsafe { release(node, account) };
                held += if last { 0 } else { bytes };
            }
            // What is still held for a reply is that connection's buffer now.
            account.hold(held.cast_signed());
            account.reclaim(bytes);
        };
        // SAFETY: the call owns all it touches; the account is 'static; items may be freed from any thread.
        unsafe { pin.0.defer_unchecked(call) };
        self.sealed.set(self.sealed.get() + 1);
        pin.nudge();
    }

    /// Whether something was deferred since the last call: a reason to repin.
    pub fn take_sealed(&self) -> bool {
        self.sealed.take() > 0
    }
}

/// Releases one hold on an item and frees it if it was the last; returns the item's bytes, and whether it was.
///
/// # Safety
/// The caller owns the hold that it releases (the table's own, once the item is unlinked and its epoch has
/// passed, or one taken by `Node::try_hold`).
pub unsafe fn release(node: Node, account: &Account) -> (usize, bool) {
    // SAFETY: the hold keeps the item alive up to here.
    let bytes = unsafe { account.charged(node) };
    // SAFETY: by contract.
    let last = unsafe { node.release() };
    if last {
        // SAFETY: that was the last hold.
        unsafe { account.free(node) };
    }
    (bytes, last)
}

/// Frees a table with all that is in it.
pub fn free_all(mut table: Table, account: &Account) {
    table.drain(|node| {
        // SAFETY: the table is ours alone, so nobody can reach its items any more, and each is in it once.
        unsafe { release(node, account) };
    });
}
