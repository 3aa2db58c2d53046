//! The bytes of an item: one allocation that holds header, optional fields, key and value.
//!
//! ```text
//!   [holds u32 │ value_len u32]   next u64 │ version u64 │ access u32 │ policy u32   [exptime u32]   short u16
//!    large items only                                                                 once it had one
//!
//!   [flags u32]  [cas u64]  key (1..250 B)  value
//!    if not 0     meta E
//!
//!   access:   time of the last access 21 │ key_len 8 │ NO_CAS │ BINARY
//!   policy:   the policy's own bits 26 │ HAS_EXPTIME HAS_FLAGS HAS_CAS LARGE STALE FETCHED
//!   exptime:  deadline 31 │ FROZEN
//!   short:    value_len 14, but of large items │ TOKEN │ FROZEN
//! ```
//!
//! That is [`HEADER_LEN`] bytes for an item without any optional field. Everything is written before the item is
//! published and never changes afterwards, apart from `next` (the table's), `version` (given out once, after publication), the
//! time of the last access, the policy's bits and FETCHED (hints, written by plain stores: one that is lost to another
//! thread's does no harm), the deadline, TOKEN and FROZEN.
//!
//! A change that must carry the deadline over to a new copy of the item (append, incr, ...) first freezes
//! this copy, see [`View::freeze`]: from then on its deadline and its token are final, and a touch has
//! to make a copy itself. So no acknowledged touch is lost to a concurrent append. An item that never had a deadline has no
//! room for one: its first touch makes a copy, too.
//!
//! This file knows the layout, `view` reads it, `state` changes what may change: who may read or free an item is the
//! business of `table` and `reclaim`.
#![expect(unsafe_code, reason = "an item is a hand-laid block of memory of variable size")]

mod state;
mod view;

pub use state::{Frozen, Mark, Touched};
pub use view::View;

use crate::clock::RelTime;
use crate::sync::{AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Bytes of an item apart from optional fields, key and value.
pub const HEADER_LEN: usize = size_of::<Header>() + size_of::<AtomicU16>();

/// Bytes of the deadline, in items that have one.
pub const EXPTIME_LEN: usize = size_of::<AtomicU32>();

/// Longest value a header can describe, in bytes (30 bits).
pub const VALUE_LEN_MAX: usize = (1 << 30) - 1;

/// Items of at least this many value bytes carry a hold count, so that a reply can outlive the epoch.
pub const LARGE_VALUE_LEN: usize = 1 << SHORT_BITS;

/// Bits of the policy word that belong to the eviction policy.
pub const POLICY_BITS: u32 = 26;
/// Mask of the policy's own bits.
pub const POLICY_MASK: u32 = (1 << POLICY_BITS) - 1;

// The policy word, above the policy's own bits.
const HAS_EXPTIME: u32 = 1 << 26;
const HAS_FLAGS: u32 = 1 << 27;
const HAS_CAS: u32 = 1 << 28;
const LARGE: u32 = 1 << 29;
const STALE: u32 = 1 << 30;
const FETCHED: u32 = 1 << 31;

// The access word.
const ACCESS_BITS: u32 = 21;
const ACCESS_MASK: u32 = (1 << ACCESS_BITS) - 1;
const KEY_LEN_SHIFT: u32 = ACCESS_BITS;
const NO_CAS: u32 = 1 << 29;
const BINARY_KEY: u32 = 1 << 30;

// The exptime word.
/// No change of the deadline may happen on this copy any more.
const FROZEN_EXPTIME: u32 = 1 << 31;
/// The latest deadline there is: 68 years after the start.
const EXPTIME_MAX: u32 = FROZEN_EXPTIME - 1;

// The short word.
const SHORT_BITS: u32 = 14;
const SHORT_MASK: u16 = (1 << SHORT_BITS) - 1;
const TOKEN: u16 = 1 << 14;
/// No change of the token may happen on this copy any more.
const FROZEN: u16 = 1 << 15;

/// The part of an item that lies at the same place in all of them.
#[repr(C)]
pub struct Header {
    /// The table's link to the next item or bucket head, with tags; see `table::link`.
    pub next: AtomicUsize,
    /// 0 until given out (`Session::version`); grows along a key's history.
    pub version: AtomicU64,
    access: AtomicU32,
    policy: AtomicU32,
}

/// What stands before the header of a large item.
#[repr(C)]
struct Front {
    /// The table's hold and those of replies.
    holds: AtomicU32,
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
    /// Whether there is room for a deadline; a large item always has it.
    pub timed: bool,
}

impl Shape {
    fn is_large(&self) -> bool {
        self.value_len as usize >= LARGE_VALUE_LEN
    }

    fn is_timed(&self) -> bool {
        self.timed || self.is_large()
    }

    /// Bytes in front of the header.
    fn front(&self) -> usize {
        if self.is_large() { size_of::<Front>() } else { 0 }
    }

    /// Bytes of the whole allocation.
    pub fn total(&self) -> usize {
        self.front()
            + HEADER_LEN
            + if self.is_timed() { EXPTIME_LEN } else { 0 }
            + if self.flags == 0 { 0 } else { size_of::<u32>() }
            + if self.cas.is_none() { 0 } else { size_of::<u64>() }
            + usize::from(self.key_len)
            + self.value_len as usize
    }

    /// The bytes that count for the largest size of an item: with room for a deadline, so that what may be stored does
    /// not depend on one.
    pub fn nominal(&self) -> usize {
        Self { timed: true, ..*self }.total()
    }
}

/// What the header is born with beside its shape.
#[derive(Debug, Clone, Copy)]
pub struct Birth {
    /// Deadline, 0 for never; other than 0 only in a shape with room for it.
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
        debug_assert!(birth.exptime == 0 || shape.is_timed());
        let front = shape.front();
        if front > 0 {
            let value_len = shape.value_len;
            // SAFETY: the block begins with the front, aligned like the block.
            unsafe { block.cast::<Front>().write(Front { holds: AtomicU32::new(1), value_len }) };
        }
        // SAFETY: within the block, which is larger than front + header.
        let header = unsafe { block.add(front) }.cast::<Header>();
        let marks = [
            (shape.is_timed(), HAS_EXPTIME),
            (shape.flags != 0, HAS_FLAGS),
            (shape.cas.is_some(), HAS_CAS),
            (shape.is_large(), LARGE),
        ];
        let policy = marks.into_iter().fold(birth.policy & POLICY_MASK, |bits, (set, mark)| {
            if set { bits | mark } else { bits }
        });
        let access = birth.access & ACCESS_MASK
            | u32::from(shape.key_len) << KEY_LEN_SHIFT
            | if birth.no_cas { NO_CAS } else { 0 };
        // SAFETY: aligned to 8 (the front is, too) and inside the caller's block.
        unsafe {
            header.write(Header {
                next: AtomicUsize::new(0),
                version: AtomicU64::new(0),
                access: AtomicU32::new(access),
                policy: AtomicU32::new(policy),
            });
        };
        let node = Self(header);
        node.write_tail(shape, birth.exptime, key);
        node
    }

    fn write_tail(self, shape: &Shape, exptime: RelTime, key: &[u8]) {
        let mut at = self.tail();
        if shape.is_timed() {
            // SAFETY: the shape reserves the deadline here; the header's length keeps it aligned.
            unsafe { at.cast().write(AtomicU32::new(exptime.min(EXPTIME_MAX))) };
            // SAFETY: still inside the block.
            at = unsafe { at.add(EXPTIME_LEN) };
        }
        let short = if shape.is_large() { 0 } else { shape.value_len as u16 };
        // SAFETY: the short word is always there; header and deadline keep it aligned.
        unsafe { at.cast().write(AtomicU16::new(short)) };
        // SAFETY: still inside the block.
        at = unsafe { at.add(size_of::<AtomicU16>()) };
        if shape.flags != 0 {
            // SAFETY: the shape reserves the flags here.
            unsafe { at.cast::<u32>().write_unaligned(shape.flags) };
            // SAFETY: still inside the block.
            at = unsafe { at.add(size_of::<u32>()) };
        }
        if let Some(cas) = shape.cas {
            // SAFETY: the shape reserves the cas behind the flags.
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
    #[inline]
    pub unsafe fn block(self) -> (NonNull<u8>, usize) {
        // SAFETY: by contract.
        let view = unsafe { self.view() };
        let front = if view.is_large() { size_of::<Front>() } else { 0 };
        let total =
            front + size_of::<Header>() + view.tail_len() + view.key_len() + view.value_len();
        // SAFETY: a large item's block begins `front` bytes before its header.
        (unsafe { self.0.cast::<u8>().sub(front) }, total)
    }

    /// What stands before the header of a large item.
    ///
    /// # Safety
    /// As for [`Node::header`], and the item is large.
    unsafe fn front<'a>(self) -> &'a Front {
        // SAFETY: a large item's block begins with its front, right before the header.
        let front = unsafe { self.0.cast::<Front>().sub(1) };
        // SAFETY: initialised when the item was laid out, alive by contract.
        unsafe { front.as_ref() }
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
        // Relaxed: the table's own hold is still there while an epoch pins the item, so this is never the first. A connection
        // has a few at most, so the count cannot overflow.
        // SAFETY: by contract, and large.
        unsafe { self.front() }.holds.fetch_add(1, Ordering::Relaxed);
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
        unsafe { self.front() }.holds.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

const _: () = assert!(size_of::<Front>().is_multiple_of(align_of::<Header>()));
const _: () = assert!(size_of::<Header>().is_multiple_of(align_of::<AtomicU32>()));
const _: () = assert!(VALUE_LEN_MAX <= u32::MAX as usize && LARGE_VALUE_LEN == 16 * 1024);
