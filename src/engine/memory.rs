//! Memory: where items come from, and the account of every byte that the limit covers.
//!
//! Items that are not large come from an [`Arena`] of the engine's; large ones, and where the limit is small also small ones, from
//! jemalloc directly. So the sizes accounted are real ones whatever global allocator an embedding program has.
//! Without the feature `jemalloc` all items come from the system's malloc, where sanitizers can watch them.
//!
//! The account is one set of shared sums. Workers post to them in grains ([`Purse`]), so an allocation seldom
//! touches a shared line; the sums are off by at most one grain a worker, and a grain is at most a thousandth of
//! the limit. Drafts and garbage outlive the handle (and the thread) that made them, so they refer to an account that
//! lives as long as the process: see [`Account::leak`].
#![expect(unsafe_code, reason = "calls the allocator, which hands out raw memory")]

use super::arena::{Arena, Local};
use super::item::{Birth, Node, Shape};
use crate::sync::{AtomicUsize, Ordering};
use std::cell::Cell;
use std::ptr::NonNull;

/// Alignment of every item.
const ALIGN: usize = 8;

/// log2 of the ticks of the policies' clock that pass while the whole memory is allocated once.
const TICKS_POWER: u32 = 13;

/// The resident set is looked at each time this share of the limit has been freed.
const TRIM_SHARE: usize = 32;

/// The bytes of one engine, by kind. All in bytes, all Relaxed: they are sums, nothing is published through them.
pub struct Account {
    limit: AtomicUsize,
    /// Where items come from that are not large.
    arena: Option<&'static Arena>,
    /// Beside an arena: items and garbage that did not come from it, by the allocator's real size, less all items that are
    /// held for replies and no longer count as either. May be below zero.
    large: AtomicUsize,
    /// Items in the table and drafts, by the allocator's real size, but for the purses' contents. May wrap below
    /// zero for a moment while purses hold the difference.
    items: AtomicUsize,
    /// Retired items that wait for their epoch or for a hold on them to be released.
    garbage: AtomicUsize,
    /// Buffers of connections.
    buffers: AtomicUsize,
    /// Those of the items that are drafts whose values are still on their way.
    waiting: AtomicUsize,
    /// The table's segments.
    table: AtomicUsize,
    /// What the eviction policy keeps beside its bits in the items.
    policy: AtomicUsize,
    /// Bytes ever allocated for items, but for the purses' contents; only grows (and wraps).
    inflow: AtomicUsize,
    /// Right shift from inflow to ticks.
    tick_shift: u32,
    /// Bytes of garbage ever freed (and wraps); paces `trim`.
    freed: AtomicUsize,
}

/// The sums at one time, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// Items and drafts.
    pub items: usize,
    /// Unlinked, and waiting for their epoch.
    pub garbage: usize,
    /// Connection buffers, and unlinked values that a reply still holds.
    pub buffers: usize,
    /// The table.
    pub table: usize,
    /// The eviction policy's own state.
    pub policy: usize,
}

impl Account {
    /// An account with the given limit that is never freed: garbage in an epoch's bags and drafts in
    /// connections refer to it and may outlive the engine. It is some hundred bytes, once an engine.
    ///
    /// Never inlined: leak checkers know this function by its name.
    #[inline(never)]
    pub fn leak(limit: usize) -> &'static Self {
        Box::leak(Box::new(Self {
            limit: AtomicUsize::new(limit),
            arena: arena_for(limit),
            large: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            garbage: AtomicUsize::new(0),
            buffers: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            table: AtomicUsize::new(0),
            policy: AtomicUsize::new(0),
            inflow: AtomicUsize::new(0),
            freed: AtomicUsize::new(0),
            tick_shift: tick_shift(limit),
        }))
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit; the next stores evict down to it.
    pub fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// The sums now.
    pub fn sums(&self) -> Sums {
        Sums {
            items: floor(self.items.load(Ordering::Relaxed)),
            garbage: floor(self.garbage.load(Ordering::Relaxed)),
            buffers: floor(self.buffers.load(Ordering::Relaxed)),
            table: self.table.load(Ordering::Relaxed),
            policy: self.policy.load(Ordering::Relaxed),
        }
    }

    /// Bytes of garbage now.
    pub fn garbage(&self) -> usize {
        floor(self.garbage.load(Ordering::Relaxed))
    }

    /// Adds (or with a negative `delta` takes away) bytes of connection buffers.
    pub fn charge_buffers(&self, delta: isize) {
        self.buffers.fetch_add(delta.cast_unsigned(), Ordering::Relaxed);
    }

    /// Adds (or with a negative `delta` takes away) bytes of drafts whose values are still on their way.
    pub fn wait(&self, delta: isize) {
        self.waiting.fetch_add(delta.cast_unsigned(), Ordering::Relaxed);
    }

    /// Bytes that nothing can be evicted for: of values on their way, in and out, and of buffers.
    pub fn in_transit(&self) -> usize {
        floor(self.waiting.load(Ordering::Relaxed)) + floor(self.buffers.load(Ordering::Relaxed))
    }

    /// Sets the bytes of the eviction policy's own state.
    pub fn charge_policy(&self, bytes: usize) {
        self.policy.store(bytes, Ordering::Relaxed);
    }

    /// Adds bytes of table.
    pub fn charge_table(&self, bytes: usize) {
        self.table.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of spans in which no item and no garbage lies.
    pub fn waste(&self) -> usize {
        if self.arena.is_none() {
            return 0;
        }
        // Of the arena's items that are held for replies `large` is the negative.
        let taken = self.spans().wrapping_add(self.large.load(Ordering::Relaxed));
        let held = floor(self.items.load(Ordering::Relaxed)) + self.garbage();
        floor(taken).saturating_sub(held)
    }

    /// Where items come from that are not large.
    #[inline]
    pub fn arena(&self) -> Option<&'static Arena> {
        self.arena
    }

    fn spans(&self) -> usize {
        self.arena.map_or(0, Arena::used)
    }

    /// Nobody is to allocate from now on; free memory goes back to the system.
    pub fn close(&self) {
        self.arena.inspect(|arena| arena.close());
    }

    /// The real size of a request for `len` bytes.
    #[inline]
    pub fn real_size(&self, len: usize) -> usize {
        let size = self.arena.and_then(|arena| arena.size(len));
        size.unwrap_or_else(|| backend::real_size(len))
    }

    /// Bytes an item is charged for.
    ///
    /// # Safety
    /// The item is this account's, and alive, or retired and not yet freed.
    #[inline]
    pub unsafe fn charged(&self, node: Node) -> usize {
        // SAFETY: by contract.
        self.real_size(unsafe { node.block() }.1)
    }

    fn allocate_large(&self, len: usize) -> Option<NonNull<u8>> {
        let block = backend::allocate(len)?;
        if self.arena.is_some() {
            self.large.fetch_add(self.real_size(len), Ordering::Relaxed);
        }
        Some(block)
    }

    /// Frees an item's block.
    ///
    /// # Safety
    /// The item came from a purse of this account, nobody refers to it any more, and it is freed once.
    pub unsafe fn free(&self, node: Node) {
        // SAFETY: by contract.
        let (block, len) = unsafe { node.block() };
        if let Some(arena) = self.arena {
            // SAFETY: by contract, and block() is what was allocated.
            if unsafe { arena.free(block, len) } {
                return;
            }
            self.large.fetch_sub(self.real_size(len), Ordering::Relaxed);
        }
        // SAFETY: as above, and it is not the arena's.
        unsafe { backend::free(block, len) };
    }

    /// Unlinked items of so many bytes are held for replies: buffers of connections from now on. Negative: they are so no more.
    pub fn hold(&self, bytes: isize) {
        self.charge_buffers(bytes);
        if self.arena.is_some() {
            self.large.fetch_sub(bytes.cast_unsigned(), Ordering::Relaxed);
        }
    }

    fn post(&self, delta: isize, inflow: usize) -> usize {
        self.items.fetch_add(delta.cast_unsigned(), Ordering::Relaxed);
        self.inflow.fetch_add(inflow, Ordering::Relaxed).wrapping_add(inflow)
    }

    /// Turns bytes of items into bytes of garbage.
    pub fn discard(&self, bytes: usize) {
        self.garbage.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Garbage has been freed.
    ///
    /// Every 1/32 of the limit it is looked whether the allocator keeps more than the limit resident, and if so it has to let go
    /// of its free pages: while large values of changing sizes pour in, they come up faster than they decay.
    pub fn reclaim(&self, bytes: usize) {
        self.garbage.fetch_sub(bytes, Ordering::Relaxed);
        let share = (self.limit() / TRIM_SHARE).max(1);
        let before = self.freed.fetch_add(bytes, Ordering::Relaxed);
        if before / share != before.wrapping_add(bytes) / share
            && backend::resident().is_some_and(|resident| resident + self.spans() > self.limit())
        {
            backend::purge();
        }
    }

    /// A draft that was never published gives its bytes back, from whatever thread.
    pub fn refund(&self, bytes: usize) {
        self.items.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(all(feature = "jemalloc", not(volt_loom)))]
fn arena_for(limit: usize) -> Option<&'static Arena> {
    /// With a smaller limit all items come from malloc.
    const ARENA_LIMIT_MIN: usize = 2 << 20;
    if limit < ARENA_LIMIT_MIN { None } else { Arena::leak(limit) }
}

/// The system's malloc is for those that watch it.
#[cfg(not(all(feature = "jemalloc", not(volt_loom))))]
fn arena_for(_limit: usize) -> Option<&'static Arena> {
    None
}

fn tick_shift(limit: usize) -> u32 {
    limit.max(1).ilog2().saturating_sub(TICKS_POWER)
}

/// Ticks of the policies' clock that pass while a memory of `limit` bytes is allocated once: 2^[`TICKS_POWER`] to twice as
/// many.
pub fn ticks_per_turn(limit: usize) -> u32 {
    u32::try_from(limit >> tick_shift(limit)).unwrap_or(u32::MAX)
}

/// A sum that is negative for a moment counts as nothing.
fn floor(sum: usize) -> usize {
    if sum > isize::MAX as usize { 0 } else { sum }
}

/// A worker's unposted differences, and what it has for the next items.
pub struct Purse {
    account: &'static Account,
    slots: Option<Local>,
    delta: Cell<isize>,
    inflow: Cell<usize>,
    /// All inflow as far as this worker knows.
    clock: Cell<usize>,
}

impl Purse {
    /// An empty purse.
    pub fn new(account: &'static Account) -> Self {
        Self {
            account,
            slots: account.arena.map(Local::new),
            delta: Cell::new(0),
            inflow: Cell::new(0),
            clock: Cell::new(0),
        }
    }

    /// Allocates and lays out an item; its value's bytes are not initialised yet.
    ///
    /// Returns `None` when the system has no memory.
    #[inline]
    pub fn allocate(&self, shape: &Shape, birth: Birth, key: &[u8]) -> Option<Node> {
        let len = shape.total();
        let slot = self.slots.as_ref().and_then(|slots| slots.allocate(len));
        let block = slot.or_else(|| self.account.allocate_large(len))?;
        // SAFETY: the block has total bytes, is aligned to 8 and ours.
        Some(unsafe { Node::write(block, shape, birth, key) })
    }

    /// The same for a copy of an item that lies in a span which is being emptied. The policies' clock does not go on.
    pub fn allocate_elsewhere(&self, shape: &Shape, birth: Birth, key: &[u8]) -> Option<Node> {
        let block = self.slots.as_ref()?.allocate_elsewhere(shape.total())?;
        self.add(self.account.real_size(shape.total()).cast_signed());
        // SAFETY: the block has total bytes, is aligned to 8 and ours.
        Some(unsafe { Node::write(block, shape, birth, key) })
    }

    /// Gives back what it has for the next items; for a thread that goes idle.
    pub fn rest(&self) {
        self.post();
        self.slots.as_ref().inspect(|slots| slots.give_back());
    }

    /// Counts `bytes` that are allocated for an item.
    #[inline]
    pub fn spend(&self, bytes: usize) {
        self.inflow.set(self.inflow.get() + bytes);
        self.clock.set(self.clock.get().wrapping_add(bytes));
        self.add(bytes.cast_signed());
    }

    /// Counts `bytes` that an item has given back.
    #[inline]
    pub fn earn(&self, bytes: usize) {
        self.add(-bytes.cast_signed());
    }

    #[inline]
    fn add(&self, delta: isize) {
        let delta = self.delta.get() + delta;
        self.delta.set(delta);
        let grain = self.grain();
        if delta.unsigned_abs() >= grain || self.inflow.get() >= grain {
            self.post();
        }
    }

    /// Posts whatever there is.
    pub fn post(&self) {
        self.clock.set(self.account.post(self.delta.take(), self.inflow.take()));
    }

    /// Takes notice of what the others have posted.
    #[inline]
    pub fn look(&self) {
        let posted = self.account.inflow.load(Ordering::Relaxed);
        self.clock.set(posted.wrapping_add(self.inflow.get()));
    }

    /// The policies' clock: it goes on with every byte that is allocated, by 2^[`TICKS_POWER`] ticks (at least) for
    /// as many bytes as the limit. Time is what is stored, so the choice of victims does not depend on the
    /// machine's speed.
    #[inline]
    pub fn tick(&self) -> u32 {
        (self.clock.get() >> self.account.tick_shift) as u32
    }

    /// A thousandth of the limit, 64 KiB at most: 64 workers are off by 4 MiB of 4 GiB.
    fn grain(&self) -> usize {
        (self.account.limit() >> 10).min(64 * 1024)
    }

    /// Bytes of items as this worker knows them.
    pub fn items(&self) -> usize {
        floor(self.account.items.load(Ordering::Relaxed).wrapping_add_signed(self.delta.get()))
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        self.post();
    }
}

/// Prepares the allocator; once, before the first item.
pub fn set_up() {
    backend::set_up();
}

/// Gives free memory back to the system; for the keeper, some ten times a second.
pub fn trim() {
    backend::trim();
}

/// Allocates and lays out an item that is nobody's account's.
#[cfg(test)]
pub fn allocate(shape: &Shape, birth: Birth, key: &[u8]) -> Option<Node> {
    let block = backend::allocate(shape.total())?;
    // SAFETY: the block has total bytes, is aligned to 8 and ours.
    Some(unsafe { Node::write(block, shape, birth, key) })
}

/// Frees the block of one that came from [`allocate`].
///
/// # Safety
/// It did, nobody refers to it any more, and it is freed once.
#[cfg(test)]
pub unsafe fn free(node: Node) {
    // SAFETY: by contract.
    let (block, len) = unsafe { node.block() };
    // SAFETY: by contract, and block() is what `allocate` got.
    unsafe { backend::free(block, len) };
}

#[cfg(feature = "jemalloc")]
mod backend {
    use super::ALIGN;
    use std::ffi::CStr;
    use std::ptr::NonNull;
    use tikv_jemalloc_sys as je;

    const _: () = assert!(ALIGN <= 8, "jemalloc aligns everything we ask for to at least 8");

    /// Free pages go back to the system within about this time, in milliseconds. A stream of values reuses its pages
    /// sooner than that; jemalloc's own 10 s would let memory that was flushed or deleted look occupied for long.
    const DECAY_MS: isize = 1000;

    /// Has new arenas, and the first one, give free pages back soon.
    pub fn set_up() {
        for name in [
            c"arenas.dirty_decay_ms",
            c"arenas.muzzy_decay_ms",
            c"arena.0.dirty_decay_ms",
            c"arena.0.muzzy_decay_ms",
        ] {
            set(name, DECAY_MS);
        }
    }

    /// Lets what has been free long enough go back to the system; jemalloc itself looks only while it allocates. (4096 names
    /// all arenas.)
    pub fn trim() {
        act(c"arena.4096.decay");
    }

    /// Lets all free pages go back to the system now.
    pub fn purge() {
        act(c"arena.4096.purge");
    }

    /// Bytes of jemalloc's that are resident, free pages included.
    pub fn resident() -> Option<usize> {
        // The statistics are as of the last change of the epoch.
        set(c"epoch", 1_u64);
        let (mut resident, mut len) = (0_usize, size_of::<usize>());
        let old = std::ptr::from_mut(&mut resident).cast();
        let name = c"stats.resident".as_ptr();
        // SAFETY: the value has the type of this control, size_t, and `len` its length.
        let error = unsafe { je::mallctl(name, old, &raw mut len, std::ptr::null_mut(), 0) };
        (error == 0).then_some(resident)
    }

    /// Sets a control to a value of its type. One that this jemalloc does not have leaves things as they are: memory comes back
    /// later, that is all.
    fn set<T>(name: &CStr, mut value: T) {
        let new = std::ptr::from_mut(&mut value).cast();
        let none = std::ptr::null_mut();
        // SAFETY: name and value are valid for the call; jemalloc checks the length against the control's type.
        unsafe { je::mallctl(name.as_ptr(), none, std::ptr::null_mut(), new, size_of::<T>()) };
    }

    /// Calls a control that takes and gives no value.
    fn act(name: &CStr) {
        let none = std::ptr::null_mut();
        // SAFETY: the name is valid for the call, and there is no value.
        unsafe { je::mallctl(name.as_ptr(), none, std::ptr::null_mut(), none, 0) };
    }

    /// Up to here sizes are worked out without a call, in bytes.
    const SMALL_MAX: usize = 8192;

    /// Small sizes are rounded up to jemalloc's next size class: multiples of 16 up to 128, then four classes to each
    /// doubling (jemalloc(3), "Implementation notes").
    #[inline]
    pub fn real_size(len: usize) -> usize {
        match len {
            0..=8 => 8,
            9..=128 => len.next_multiple_of(16),
            129..=SMALL_MAX => {
                let step = 1 << ((len - 1).ilog2() - 2);
                (len + step - 1) & !(step - 1)
            }
            // SAFETY: pure arithmetic on the size classes; the length is not 0.
            _ => unsafe { je::nallocx(len, 0) },
        }
    }

    #[inline]
    pub fn allocate(len: usize) -> Option<NonNull<u8>> {
        // SAFETY: an item is never empty.
        NonNull::new(unsafe { je::mallocx(len, 0) }.cast())
    }

    /// # Safety
    /// `block` came from `allocate(len)` and is freed once.
    #[inline]
    pub unsafe fn free(block: NonNull<u8>, len: usize) {
        // SAFETY: by contract; the size lets jemalloc skip a lookup.
        unsafe { je::sdallocx(block.as_ptr().cast(), len, 0) };
    }
}

#[cfg(not(feature = "jemalloc"))]
mod backend {
    use super::ALIGN;
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::ptr::NonNull;

    /// There is nothing to set.
    pub fn set_up() {}

    /// glibc gives memory back as it likes.
    pub fn trim() {}

    /// As above.
    pub fn purge() {}

    /// glibc does not tell.
    pub fn resident() -> Option<usize> {
        None
    }

    /// glibc's malloc: 8 bytes of overhead, rounded up to 16, 32 at least (malloc.c, `request2size`).
    #[inline]
    pub fn real_size(len: usize) -> usize {
        ((len + 8 + 15) & !15).max(32)
    }

    #[inline]
    pub fn allocate(len: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(len, ALIGN).ok()?;
        // SAFETY: an item is never empty.
        NonNull::new(unsafe { System.alloc(layout) })
    }

    /// # Safety
    /// `block` came from `allocate(len)` and is freed once.
    #[inline]
    pub unsafe fn free(block: NonNull<u8>, len: usize) {
        // SAFETY: the same layout was valid when the block was allocated.
        let layout = unsafe { Layout::from_size_align_unchecked(len, ALIGN) };
        // SAFETY: by contract.
        unsafe { System.dealloc(block.as_ptr(), layout) };
    }
}

#[cfg(all(test, not(volt_loom)))]
mod tests {
    use super::super::item::HEADER_LEN;
    use super::*;

    const BIRTH: Birth = Birth { exptime: 77, access: 62, policy: 5, no_cas: false };

    #[test]
    fn the_header_is_26_bytes() {
        assert_eq!(HEADER_LEN, 26);
    }

    #[test]
    fn an_item_gives_back_what_it_was_made_with() {
        for (flags, cas) in [(0, None), (9, None), (0, Some(4)), (7, Some(u64::MAX))] {
            for value_len in [0_u32, 1, 100, 20_000] {
                let shape = Shape { key_len: 3, value_len, flags, cas, timed: true };
                let node = allocate(&shape, BIRTH, b"key").expect("memory");
                // SAFETY: just allocated, ours.
                let value = unsafe { node.vacancy() };
                value.fill(std::mem::MaybeUninit::new(b'v'));
                // SAFETY: still ours.
                let view = unsafe { node.view() };
                assert_eq!(view.key(), b"key");
                assert_eq!(view.value(), vec![b'v'; value_len as usize]);
                assert_eq!((view.flags(), view.explicit_cas()), (flags, cas));
                assert_eq!((view.exptime(), view.idle(72), view.policy_bits()), (77, 10, 5));
                // SAFETY: still ours.
                assert_eq!(unsafe { node.block() }.1, shape.total());
                // SAFETY: nobody else knows it.
                unsafe { free(node) };
            }
        }
    }

    #[cfg(feature = "jemalloc")]
    #[test]
    fn the_charged_size_is_the_allocators_real_size() {
        for len in (33..5000).chain([16_384, 70_000, 131_072, 1 << 20, (1 << 20) + 1]) {
            let block = backend::allocate(len).expect("memory");
            // SAFETY: block is a live block of jemalloc's.
            let usable = unsafe { tikv_jemalloc_sys::malloc_usable_size(block.as_ptr().cast()) };
            assert_eq!(usable, backend::real_size(len), "{len}");
            // SAFETY: freed once.
            unsafe { backend::free(block, len) };
        }
        for len in 1..20_000 {
            // SAFETY: pure arithmetic on the size classes.
            let size = unsafe { tikv_jemalloc_sys::nallocx(len, 0) };
            assert_eq!(backend::real_size(len), size, "{len}");
        }
    }

    #[test]
    fn a_purse_posts_by_the_grain_and_when_dropped() {
        let account = Account::leak(1 << 20);
        let purse = Purse::new(account);
        purse.spend(1000);
        assert_eq!((account.sums().items, purse.items()), (0, 1000));
        purse.spend(100);
        assert_eq!((account.sums().items, purse.items()), (1100, 1100));
        purse.earn(100);
        drop(purse);
        assert_eq!(account.sums().items, 1000);
    }
}
