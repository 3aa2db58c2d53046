//! The bytes of an item: one allocation that holds header, optional fields, key and value.
//!
//! ```text
//!   [holds u64]  header 32 B  [flags u32]  [cas u64]  key (1..250 B)  value
//!   large items               if not 0     meta E
//!
//!   header:  next u64 │ version u64 │ state u64 │ policy u32 │ value_len u32
//!   state:   exptime 32 │ access 21 │ key_len 8 │ FETCHED │ TOKEN │ FROZEN
//!   policy:  the policy's own bits 26 │ FLAGS CAS NO_CAS BINARY STALE LARGE
//! ```
//!
//! Everything is written before the item is published and never changes afterwards, apart from `next` (the
//! table's), `version` (given out once, after publication), `state` and the low bits of `policy`.
//!
//! A change that must carry the exptime over to a new copy of the item (append, incr, ...) first sets
//! [`FROZEN`]: from then on the exptime, the fetched and the token bit of this copy are final, and a touch has
//! to make a copy itself. So no acknowledged touch is lost to a concurrent append.
//!
//! This file knows the layout and nothing else: who may read or free an item is the business of `table` and
//! `reclaim`.
#![expect(unsafe_code, reason = "an item is a hand-laid block of memory of variable size")]

use crate::clock::RelTime;
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Header bytes of an item, apart from optional fields, key and value.
pub const HEADER_LEN: usize = size_of::<Header>();

/// Longest value a header can describe, in bytes (30 bits).
pub const VALUE_LEN_MAX: usize = (1 << 30) - 1;

/// Items of at least this many value bytes carry a hold count, so that a reply can outlive the epoch.
pub const LARGE_VALUE_LEN: usize = 16 * 1024;

/// Bits of the policy word that belong to the eviction policy.
pub const POLICY_BITS: u32 = 26;
/// Mask of the policy's own bits.
pub const POLICY_MASK: u32 = (1 << POLICY_BITS) - 1;

const HAS_FLAGS: u32 = 1 << 26;
const HAS_CAS: u32 = 1 << 27;
const NO_CAS: u32 = 1 << 28;
const BINARY_KEY: u32 = 1 << 29;
const STALE: u32 = 1 << 30;
const LARGE: u32 = 1 << 31;

const FETCHED: u64 = 1 << 61;
const TOKEN: u64 = 1 << 62;
/// No exptime, fetched or token change may happen on this copy any more.
pub const FROZEN: u64 = 1 << 63;
const EXPTIME_MASK: u64 = u32::MAX as u64;
const KEY_LEN_SHIFT: u32 = 53;
const ACCESS_SHIFT: u32 = 32;
const ACCESS_BITS: u32 = 21;
const ACCESS_MASK: u64 = (1 << ACCESS_BITS) - 1;

/// The fixed part of an item.
#[repr(C)]
pub struct Header {
    /// The table's link to the next item or bucket head, with tags; see `table::link`.
    pub next: AtomicUsize,
    /// 0 until given out (`Session::version`); grows along a key's history.
    pub version: AtomicU64,
    state: AtomicU64,
    policy: AtomicU32,
    value_len: u32,
}

/// What an item is made with.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Bytes of the key, 1 to 250.
    pub key_len: u8,
    /// Bytes of the value, at most [`VALUE_LEN_MAX`].
    pub value_len: u32,
    /// Client flags; stored only when not 0.
    pub flags: u32,
    /// The cas unique to show in place of the version (meta E).
    pub cas: Option<u64>,
}

impl Shape {
    /// Bytes in front of the header (the hold count of large items).
    fn front(&self) -> usize {
        if self.value_len as usize >= LARGE_VALUE_LEN { size_of::<AtomicU64>() } else { 0 }
    }

    /// Bytes of the whole allocation.
    pub fn total(&self) -> usize {
        self.front()
            + HEADER_LEN
            + if self.flags == 0 { 0 } else { size_of::<u32>() }
            + if self.cas.is_none() { 0 } else { size_of::<u64>() }
            + usize::from(self.key_len)
            + self.value_len as usize
    }
}

/// What the header is born with beside its shape.
#[derive(Debug, Clone, Copy)]
pub struct Birth {
    /// Deadline, 0 for never.
    pub exptime: RelTime,
    /// Now.
    pub access: RelTime,
    /// The policy's bits.
    pub policy: u32,
    /// `-C`: shows 0 as its cas unique.
    pub no_cas: bool,
}

/// A pointer to an item. Copyable and unprotected: whoever dereferences it owes the argument why it is alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node(NonNull<Header>);

// SAFETY: a Node is an address; every dereference happens through functions whose callers argue liveness, and
// all shared fields of a header are atomics.
unsafe impl Send for Node {}

impl Node {
    /// Lays out a new item in `block`, copies the key in and leaves the value's bytes as they are.
    ///
    /// # Safety
    /// `block` is valid for writes of `shape.total()` bytes, aligned to 8, owned by the caller.
    /// `key.len() == shape.key_len`.
    pub unsafe fn write(block: NonNull<u8>, shape: &Shape, birth: Birth, key: &[u8]) -> Self {
        debug_assert_eq!(key.len(), usize::from(shape.key_len));
        let front = shape.front();
        if front > 0 {
            // SAFETY: the block begins with the hold count, aligned like the block.
            unsafe { block.cast::<AtomicU64>().write(AtomicU64::new(1)) };
        }
        // SAFETY: within the block, which is larger than front + header.
        let header = unsafe { block.add(front) }.cast::<Header>();
        let mut policy = birth.policy & POLICY_MASK;
        policy |= if shape.flags == 0 { 0 } else { HAS_FLAGS };
        policy |= if shape.cas.is_none() { 0 } else { HAS_CAS };
        policy |= if birth.no_cas { NO_CAS } else { 0 };
        policy |= if front == 0 { 0 } else { LARGE };
        let state = u64::from(birth.exptime)
            | (u64::from(birth.access) & ACCESS_MASK) << ACCESS_SHIFT
            | u64::from(shape.key_len) << KEY_LEN_SHIFT;
        // SAFETY: aligned to 8 (front is 0 or 8) and inside the caller's block.
        unsafe {
            header.write(Header {
                next: AtomicUsize::new(0),
                version: AtomicU64::new(0),
                state: AtomicU64::new(state),
                policy: AtomicU32::new(policy),
                value_len: shape.value_len,
            });
        };
        let node = Self(header);
        node.write_tail(shape, key);
        node
    }

    fn write_tail(self, shape: &Shape, key: &[u8]) {
        let mut at = self.tail();
        if shape.flags != 0 {
            // SAFETY: the shape reserves the optional flags right behind the header.
            unsafe { at.cast::<u32>().write_unaligned(shape.flags) };
            // SAFETY: still inside the block.
            at = unsafe { at.add(size_of::<u32>()) };
        }
        if let Some(cas) = shape.cas {
            // SAFETY: the shape reserves the optional cas behind the flags.
            unsafe { at.cast::<u64>().write_unaligned(cas) };
            // SAFETY: still inside the block.
            at = unsafe { at.add(size_of::<u64>()) };
        }
        // SAFETY: the shape reserves key_len bytes here; the block is new, so nothing overlaps.
        unsafe { at.copy_from_nonoverlapping(NonNull::from(key).cast(), key.len()) };
    }

    /// The node that a link's address bits name.
    ///
    /// # Safety
    /// `address` came from [`Node::address`].
    pub unsafe fn from_address(address: usize) -> Self {
        // SAFETY: by contract the address is that of a header, hence not null.
        Self(unsafe { NonNull::new_unchecked(address as *mut Header) })
    }

    /// The node's address; the low three bits are 0.
    pub fn address(self) -> usize {
        self.0.as_ptr() as usize
    }

    /// The header.
    ///
    /// # Safety
    /// The item is alive for `'a`: unpublished and owned, or reached under a pinned epoch that outlives `'a`.
    pub unsafe fn header<'a>(self) -> &'a Header {
        // SAFETY: by contract.
        unsafe { self.0.as_ref() }
    }

    fn tail(self) -> NonNull<u8> {
        // SAFETY: one past the header is within the same allocation (a key has at least one byte).
        unsafe { self.0.add(1) }.cast()
    }

    /// The item's parts.
    ///
    /// # Safety
    /// As for [`Node::header`].
    #[inline]
    pub unsafe fn view<'a>(self) -> View<'a> {
        View { node: self, alive: PhantomData }
    }

    /// The value's bytes, to be filled before publication.
    ///
    /// # Safety
    /// The item is unpublished and owned by the caller for `'a`.
    pub unsafe fn vacancy<'a>(self) -> &'a mut [MaybeUninit<u8>] {
        // SAFETY: unpublished and owned, so alive.
        let view = unsafe { self.view() };
        let at = view.value_ptr().cast_mut().cast::<MaybeUninit<u8>>();
        // SAFETY: the allocation covers value_len bytes from here and nobody else refers to them.
        unsafe { std::slice::from_raw_parts_mut(at, view.value_len()) }
    }

    /// Where the allocation begins and how many bytes were asked for.
    ///
    /// # Safety
    /// As for [`Node::header`].
    pub unsafe fn block(self) -> (NonNull<u8>, usize) {
        // SAFETY: by contract.
        let view = unsafe { self.view() };
        let front = if view.is_large() { size_of::<AtomicU64>() } else { 0 };
        let total = front + view.optional_len() + HEADER_LEN + view.key_len() + view.value_len();
        // SAFETY: a large item's block begins `front` bytes before its header.
        (unsafe { self.0.cast::<u8>().sub(front) }, total)
    }

    /// The hold count of a large item.
    ///
    /// # Safety
    /// As for [`Node::header`], and the item is large.
    unsafe fn holds<'a>(self) -> &'a AtomicU64 {
        // SAFETY: a large item's block begins with its hold count, 8 bytes before the header.
        let holds = unsafe { self.0.cast::<AtomicU64>().sub(1) };
        // SAFETY: initialised when the item was laid out, alive by contract.
        unsafe { holds.as_ref() }
    }

    /// Adds a hold if the item is large enough to have any.
    ///
    /// # Safety
    /// As for [`Node::header`].
    pub unsafe fn try_hold(self) -> bool {
        // SAFETY: by contract.
        if !unsafe { self.view() }.is_large() {
            return false;
        }
        // Relaxed: the table's own hold is still there while an epoch pins the item, so this is never the first.
        // SAFETY: by contract, and large.
        unsafe { self.holds() }.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Lets go of one hold (the table's own included); `true` if it was the last and the block is to be freed.
    ///
    /// # Safety
    /// As for [`Node::header`]; each hold is released once.
    pub unsafe fn release(self) -> bool {
        // SAFETY: by contract.
        if !unsafe { self.view() }.is_large() {
            return true;
        }
        // AcqRel: what others read through their holds happens before the block is freed.
        // SAFETY: by contract, and large.
        unsafe { self.holds() }.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// An item's parts, for as long as it is known to be alive.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Kept as an address of the whole block: a reference to the header would not reach the key.
    node: Node,
    alive: PhantomData<&'a Header>,
}

impl<'a> View<'a> {
    /// The node looked at.
    pub fn node(self) -> Node {
        self.node
    }

    /// The atomics.
    #[inline]
    pub fn header(self) -> &'a Header {
        // SAFETY: whoever made the view promised that the item is alive for 'a.
        unsafe { self.node.header() }
    }

    fn state(self) -> u64 {
        // Relaxed: nothing is read through the state; its own modification order is all that matters.
        self.header().state.load(Ordering::Relaxed)
    }

    fn marks(self) -> u32 {
        self.header().policy.load(Ordering::Relaxed)
    }

    /// Bytes of the key.
    #[inline]
    pub fn key_len(self) -> usize {
        (self.state() >> KEY_LEN_SHIFT & 0xff) as usize
    }

    /// Bytes of the value.
    #[inline]
    pub fn value_len(self) -> usize {
        self.header().value_len as usize
    }

    fn is_large(self) -> bool {
        self.marks() & LARGE != 0
    }

    #[inline]
    fn optional_len(self) -> usize {
        let marks = self.marks();
        (marks & HAS_FLAGS) as usize / HAS_FLAGS as usize * size_of::<u32>()
            + (marks & HAS_CAS) as usize / HAS_CAS as usize * size_of::<u64>()
    }

    #[inline]
    fn key_ptr(self) -> *const u8 {
        // SAFETY: optional fields lie between header and key, inside the allocation.
        unsafe { self.node.tail().add(self.optional_len()) }.as_ptr()
    }

    fn value_ptr(self) -> *const u8 {
        // SAFETY: the value follows the key; one past the end at most when both are empty.
        unsafe { self.key_ptr().add(self.key_len()) }
    }

    /// The key.
    #[inline]
    pub fn key(self) -> &'a [u8] {
        // SAFETY: written before publication, immutable since, alive for 'a.
        unsafe { std::slice::from_raw_parts(self.key_ptr(), self.key_len()) }
    }

    /// The value.
    #[inline]
    pub fn value(self) -> &'a [u8] {
        // SAFETY: written before publication, immutable since, alive for 'a.
        unsafe { std::slice::from_raw_parts(self.value_ptr(), self.value_len()) }
    }

    /// The first `len` bytes of the value of an unfinished item, all of which were written.
    pub fn value_prefix(self, len: usize) -> &'a [u8] {
        debug_assert!(len <= self.value_len());
        // SAFETY: by contract written, and within the value.
        unsafe { std::slice::from_raw_parts(self.value_ptr(), len) }
    }

    /// Client flags.
    pub fn flags(self) -> u32 {
        if self.marks() & HAS_FLAGS == 0 {
            return 0;
        }
        // SAFETY: HAS_FLAGS says that four bytes of flags follow the header.
        unsafe { self.node.tail().cast::<u32>().read_unaligned() }
    }

    /// The cas unique that meta E asked for.
    pub fn explicit_cas(self) -> Option<u64> {
        let marks = self.marks();
        if marks & HAS_CAS == 0 {
            return None;
        }
        let skip = if marks & HAS_FLAGS == 0 { 0 } else { size_of::<u32>() };
        // SAFETY: HAS_CAS says that eight bytes follow the header and the flags.
        let at = unsafe { self.node.tail().add(skip) };
        // SAFETY: as above.
        Some(unsafe { at.cast::<u64>().read_unaligned() })
    }

    /// Whether clients see 0 as the cas unique (`-C`).
    pub fn no_cas(self) -> bool {
        self.marks() & NO_CAS != 0
    }

    /// Deadline, 0 for never.
    #[inline]
    pub fn exptime(self) -> RelTime {
        (self.state() & EXPTIME_MASK) as RelTime
    }

    /// Seconds since the last access, at most 2^21 - 1 (about 24 days).
    pub fn idle(self, now: RelTime) -> u32 {
        let access = self.state() >> ACCESS_SHIFT & ACCESS_MASK;
        (u64::from(now).wrapping_sub(access) & ACCESS_MASK) as u32
    }

    /// Whether this copy was about to be replaced; it may still be in the table.
    pub fn frozen(self) -> bool {
        self.state() & FROZEN != 0
    }

    /// Whether it was fetched since it was stored.
    pub fn fetched(self) -> bool {
        self.state() & FETCHED != 0
    }

    /// Whether a client has won the right to recache it.
    pub fn token_sent(self) -> bool {
        self.state() & TOKEN != 0
    }

    /// Whether `md I` marked it.
    pub fn stale(self) -> bool {
        self.marks() & STALE != 0
    }

    /// Whether the key was given in base64.
    pub fn key_is_binary(self) -> bool {
        self.marks() & BINARY_KEY != 0
    }

    /// The policy's own bits.
    #[inline]
    pub fn policy_bits(self) -> u32 {
        self.marks() & POLICY_MASK
    }

    /// Replaces the policy's bits; concurrent replacements may lose one another, the marks stay.
    #[inline]
    pub fn set_policy_bits(self, bits: u32) {
        let marks = self.marks();
        let new = marks & !POLICY_MASK | bits & POLICY_MASK;
        if new != marks {
            // Relaxed: a hint for eviction; the marks are the same in every value ever stored.
            self.header().policy.store(new, Ordering::Relaxed);
        }
    }

    /// Notes an access: its time and, with `fetch`, the fetched bit. At most one write a second for a hot item. A frozen copy is
    /// about to be replaced and not worth the write.
    #[inline]
    pub fn note_access(self, now: RelTime, fetch: bool) {
        let state = self.state();
        let access = (u64::from(now) & ACCESS_MASK) << ACCESS_SHIFT;
        let fetched = if fetch { FETCHED } else { 0 };
        let new = state & !(ACCESS_MASK << ACCESS_SHIFT) | access | fetched;
        if new != state && state & FROZEN == 0 {
            // Losing the race means that somebody else has just noted an access or a new exptime.
            let _ = self.header().state.compare_exchange(
                state,
                new,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// Changes the deadline, unless it has passed at `now`: the dead do not come back.
    pub fn touch(self, exptime: RelTime, now: RelTime) -> Touched {
        let mut dead = false;
        let changed = self.change_state(|state| {
            let due = (state & EXPTIME_MASK) as RelTime;
            dead = due != 0 && due <= now;
            if dead { state } else { state & !EXPTIME_MASK | u64::from(exptime) }
        });
        match changed {
            None => Touched::Frozen,
            Some(_) if dead => Touched::Dead,
            Some(_) => Touched::Done,
        }
    }

    /// Sets the deadline of an item that is not published yet.
    pub fn set_exptime(self, exptime: RelTime) {
        let done = self.change_state(|state| state & !EXPTIME_MASK | u64::from(exptime));
        debug_assert!(done.is_some(), "a draft is never frozen");
    }

    /// Marks the token as sent: `Some(true)` for the one that did it, `None` if this copy is frozen.
    pub fn send_token(self) -> Option<bool> {
        self.change_state(|state| state | TOKEN).map(|before| before & TOKEN == 0)
    }

    fn change_state(self, mut change: impl FnMut(u64) -> u64) -> Option<u64> {
        let mut state = self.state();
        while state & FROZEN == 0 {
            // Relaxed: only this word is concerned; see `state`.
            match self.header().state.compare_exchange_weak(
                state,
                change(state),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(before) => return Some(before),
                Err(current) => state = current,
            }
        }
        None
    }

    /// Freezes this copy and tells its final deadline and token.
    pub fn freeze(self) -> Frozen {
        // Relaxed: see `state`; the modification order of the word decides which touches came before.
        let state = self.header().state.fetch_or(FROZEN, Ordering::Relaxed);
        Frozen {
            exptime: (state & EXPTIME_MASK) as RelTime,
            token_sent: state & TOKEN != 0,
            fetched: state & FETCHED != 0,
        }
    }

    /// Takes marks and deadline that [`Frozen`] and staleness brought back to these, on an item that is not published yet.
    pub fn restore(self, plain: Plain) {
        self.set_exptime(plain.exptime);
        if !plain.stale {
            self.header().policy.fetch_and(!STALE, Ordering::Relaxed);
        }
        if !plain.token_sent {
            self.header().state.fetch_and(!TOKEN, Ordering::Relaxed);
        }
    }

    /// Deadline and marks now, for [`restore`](Self::restore).
    pub fn plain(self) -> Plain {
        Plain { exptime: self.exptime(), stale: self.stale(), token_sent: self.token_sent() }
    }

    /// Sets a mark on an item that is not published yet.
    pub fn mark(self, mark: Mark) {
        match mark {
            Mark::Stale => self.header().policy.fetch_or(STALE, Ordering::Relaxed),
            Mark::BinaryKey => self.header().policy.fetch_or(BINARY_KEY, Ordering::Relaxed),
            Mark::Token => {
                self.header().state.fetch_or(TOKEN, Ordering::Relaxed);
                0
            }
            Mark::Fetched => {
                self.header().state.fetch_or(FETCHED, Ordering::Relaxed);
                0
            }
        };
    }
}

/// Marks that are set before publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Invalidated, to be recached.
    Stale,
    /// The key was given in base64.
    BinaryKey,
    /// Somebody is recaching it.
    Token,
    /// Was fetched (carried over to a copy).
    Fetched,
}

/// What came of a touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// The deadline is changed.
    Done,
    /// This copy is about to be replaced.
    Frozen,
    /// The deadline had passed.
    Dead,
}

/// What a draft has of its own before it takes over anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    exptime: RelTime,
    stale: bool,
    token_sent: bool,
}

/// What a frozen copy ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frozen {
    /// Final deadline.
    pub exptime: RelTime,
    /// Final token.
    pub token_sent: bool,
    /// Whether it was fetched.
    pub fetched: bool,
}
