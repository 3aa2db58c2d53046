//! Reading an item.
#![expect(unsafe_code, reason = "an item is a hand-laid block of memory of variable size")]

use super::{
    ACCESS_MASK, AtomicU16, AtomicU32, BINARY_KEY, EXPTIME_LEN, EXPTIME_MAX, FETCHED, FROZEN,
    FROZEN_EXPTIME, HAS_CAS, HAS_EXPTIME, HAS_FLAGS, Header, KEY_LEN_SHIFT, LARGE, NO_CAS, Node,
    Ordering, POLICY_MASK, PhantomData, RelTime, SHORT_MASK, STALE, TOKEN,
};

/// An item's parts, for as long as it is known to be alive.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Kept as an address of the whole block: a reference to the header would not reach the key.
    pub(super) node: Node,
    pub(super) alive: PhantomData<&'a Header>,
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

    /// The policy's bits and what is beside them.
    #[inline]
    pub(super) fn marks(self) -> u32 {
        // Relaxed: nothing is read through any of these words; their own modification order is all that matters.
        self.header().policy.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn access_word(self) -> u32 {
        self.header().access.load(Ordering::Relaxed)
    }

    /// The deadline's word, in an item that has room for one.
    #[inline]
    pub(super) fn exptime_word(self) -> Option<&'a AtomicU32> {
        if self.marks() & HAS_EXPTIME == 0 {
            return None;
        }
        // SAFETY: HAS_EXPTIME says that the deadline follows the header; written before publication, alive for 'a.
        Some(unsafe { self.node.tail().cast().as_ref() })
    }

    #[inline]
    pub(super) fn short_word(self) -> &'a AtomicU16 {
        let skip = if self.marks() & HAS_EXPTIME == 0 { 0 } else { EXPTIME_LEN };
        // SAFETY: the short word follows the header and the deadline.
        let at = unsafe { self.node.tail().add(skip) };
        // SAFETY: written before publication, alive for 'a.
        unsafe { at.cast().as_ref() }
    }

    #[inline]
    pub(super) fn short(self) -> u16 {
        self.short_word().load(Ordering::Relaxed)
    }

    /// Bytes of the key.
    #[inline]
    pub fn key_len(self) -> usize {
        (self.access_word() >> KEY_LEN_SHIFT & 0xff) as usize
    }

    /// Bytes of the value.
    #[inline]
    pub fn value_len(self) -> usize {
        if self.is_large() {
            // SAFETY: alive for 'a, and large.
            return unsafe { self.node.front() }.value_len as usize;
        }
        usize::from(self.short() & SHORT_MASK)
    }

    #[inline]
    pub(super) fn is_large(self) -> bool {
        self.marks() & LARGE != 0
    }

    /// Bytes between the header proper and the key.
    #[inline]
    pub(super) fn tail_len(self) -> usize {
        let marks = self.marks();
        let has = |mark: u32| (marks & mark) as usize / mark as usize;
        size_of::<AtomicU16>()
            + has(HAS_EXPTIME) * EXPTIME_LEN
            + has(HAS_FLAGS) * size_of::<u32>()
            + has(HAS_CAS) * size_of::<u64>()
    }

    #[inline]
    fn key_ptr(self) -> *const u8 {
        // SAFETY: the optional fields lie between header and key, inside the allocation.
        unsafe { self.node.tail().add(self.tail_len()) }.as_ptr()
    }

    #[inline]
    pub(super) fn value_ptr(self) -> *const u8 {
        // SAFETY: the value follows the key; one past the end at most when it is empty.
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
    #[inline]
    pub fn flags(self) -> u32 {
        if self.marks() & HAS_FLAGS == 0 {
            return 0;
        }
        let cas_len = if self.marks() & HAS_CAS == 0 { 0 } else { size_of::<u64>() };
        // SAFETY: HAS_FLAGS says that the flags stand before the key, or before the cas that does.
        let at = unsafe { self.key_ptr().sub(cas_len + size_of::<u32>()) };
        // SAFETY: as above.
        unsafe { at.cast::<u32>().read_unaligned() }
    }

    /// The cas unique that meta E asked for.
    #[inline]
    pub fn explicit_cas(self) -> Option<u64> {
        if self.marks() & HAS_CAS == 0 {
            return None;
        }
        // SAFETY: HAS_CAS says that eight bytes of cas stand before the key.
        let at = unsafe { self.key_ptr().sub(size_of::<u64>()) };
        // SAFETY: as above.
        Some(unsafe { at.cast::<u64>().read_unaligned() })
    }

    /// Whether clients see 0 as the cas unique (`-C`).
    #[inline]
    pub fn no_cas(self) -> bool {
        self.access_word() & NO_CAS != 0
    }

    /// Whether there is room for a deadline.
    pub fn timed(self) -> bool {
        self.marks() & HAS_EXPTIME != 0
    }

    /// Deadline, 0 for never.
    #[inline]
    pub fn exptime(self) -> RelTime {
        self.exptime_word().map_or(0, |word| word.load(Ordering::Relaxed) & EXPTIME_MAX)
    }

    /// Seconds since the last access, at most 2^21 - 1 (about 24 days).
    pub fn idle(self, now: RelTime) -> u32 {
        now.wrapping_sub(self.access_word()) & ACCESS_MASK
    }

    /// Whether this copy was about to be replaced; it may still be in the table.
    pub fn frozen(self) -> bool {
        // One bit is set after the other, so either means that it was begun.
        let exptime = self.exptime_word().map_or(0, |word| word.load(Ordering::Relaxed));
        exptime & FROZEN_EXPTIME != 0 || self.short() & FROZEN != 0
    }

    /// Whether it was fetched since it was stored.
    #[inline]
    pub fn fetched(self) -> bool {
        self.marks() & FETCHED != 0
    }

    /// Whether a client has won the right to recache it.
    #[inline]
    pub fn token_sent(self) -> bool {
        self.short() & TOKEN != 0
    }

    /// Whether `md I` marked it.
    #[inline]
    pub fn stale(self) -> bool {
        self.marks() & STALE != 0
    }

    /// Whether the key was given in base64.
    #[inline]
    pub fn key_is_binary(self) -> bool {
        self.access_word() & BINARY_KEY != 0
    }

    /// The policy's own bits.
    #[inline]
    pub fn policy_bits(self) -> u32 {
        self.marks() & POLICY_MASK
    }
}
