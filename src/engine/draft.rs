//! A draft: an item that nobody else can see yet.
#![expect(unsafe_code, reason = "owns an unpublished item and fills its value")]

use super::item::{Mark, Node, View};
use super::memory::Account;
use crate::clock::RelTime;
use crate::sync::Ordering;
use bytes::BufMut;
use bytes::buf::UninitSlice;
use std::mem::ManuallyDrop;

/// Why there is no draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The item would be larger than `-I` allows.
    TooLarge,
    /// There is no memory, and nothing (more) may be evicted.
    OutOfMemory,
}

/// An unpublished item: key, flags and exptime are set, the value is for the owner to fill. It is `Send` and may
/// wait for its bytes across awaits; dropping it gives its memory back.
///
/// Bytes go in at the front, by [`fill`](Self::fill) or, straight from a socket, through its [`BufMut`]. What is not
/// filled when the draft is stored is stored as zeroes.
pub struct Draft {
    node: Node,
    hash: u64,
    /// Leading bytes of the value that are initialised.
    filled: usize,
    account: &'static Account,
    explicit_cas: Option<u64>,
    /// Bytes that are accounted as waiting for the value, or 0.
    waiting: usize,
}

// SAFETY: a draft owns its item, and the account is shared and made of atomics.
unsafe impl Send for Draft {}

impl Draft {
    /// Takes ownership of a fresh item that has been charged to `account`'s items.
    ///
    /// # Safety
    /// `node` came from a purse of the account's and is owned by the caller.
    pub(super) unsafe fn new(node: Node, hash: u64, account: &'static Account) -> Self {
        Self { node, hash, filled: 0, account, explicit_cas: None, waiting: 0 }
    }

    pub(super) fn view(&self) -> View<'_> {
        // SAFETY: the draft owns the item.
        unsafe { self.node.view() }
    }

    pub(super) fn node(&self) -> Node {
        self.node
    }

    /// Hash of the key.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn explicit_cas(&self) -> Option<u64> {
        self.explicit_cas
    }

    /// Notes that the value is to come from a client that may take its time.
    pub(super) fn wait(&mut self) {
        // SAFETY: the draft owns the item.
        self.waiting = unsafe { self.account.charged(self.node) };
        self.account.wait(self.waiting.cast_signed());
    }

    fn stop_waiting(&mut self) {
        if self.waiting > 0 {
            self.account.wait(-self.waiting.cast_signed());
            self.waiting = 0;
        }
    }

    /// Gives the item away, to the table.
    pub(super) fn into_node(mut self) -> Node {
        self.stop_waiting();
        ManuallyDrop::new(self).node
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.view().key()
    }

    /// Client flags.
    pub fn flags(&self) -> u32 {
        self.view().flags()
    }

    /// Deadline, 0 for never.
    pub fn exptime(&self) -> RelTime {
        self.view().exptime()
    }

    /// Length of the value in bytes, filled or not.
    pub fn value_len(&self) -> usize {
        self.view().value_len()
    }

    /// Bytes of the value that are still to come.
    pub fn missing(&self) -> usize {
        self.value_len() - self.filled
    }

    /// Appends bytes to the value, as many as are missing at most; returns how many it took.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let take = bytes.len().min(self.missing());
        // SAFETY: the draft owns the item; take is within what is missing.
        let vacancy = unsafe { self.node.vacancy() };
        vacancy[self.filled..self.filled + take].write_copy_of_slice(&bytes[..take]);
        self.filled += take;
        take
    }

    /// The value so far.
    pub fn value(&self) -> &[u8] {
        self.view().value_prefix(self.filled)
    }

    /// Fills what is missing with zeroes.
    pub(super) fn complete(&mut self) {
        // SAFETY: the draft owns the item.
        let vacancy = unsafe { self.node.vacancy() };
        for byte in &mut vacancy[self.filled..] {
            byte.write(0);
        }
        self.filled = vacancy.len();
    }

    /// Takes over value and marks of an unpublished item that is complete.
    pub(super) fn resemble(&mut self, other: View<'_>) {
        self.fill(other.value());
        for (set, mark) in [
            (other.stale(), Mark::Stale),
            (other.key_is_binary(), Mark::BinaryKey),
            (other.token_sent(), Mark::Token),
            (other.fetched(), Mark::Fetched),
        ] {
            if set {
                self.view().mark(mark);
            }
        }
    }

    /// Gives the item a version before it is published, or with 0 takes that back.
    pub(super) fn set_version(&mut self, version: u64) {
        // Relaxed: published together with the item.
        self.view().header().version.store(version, Ordering::Relaxed);
    }

    /// The cas unique to show once stored (meta E).
    pub fn set_cas(&mut self, cas: u64) {
        self.explicit_cas = Some(cas);
    }

    /// Stores as stale.
    pub fn set_stale(&mut self) {
        self.view().mark(Mark::Stale);
    }

    /// Stores as being recached by somebody.
    pub fn set_token_sent(&mut self) {
        self.view().mark(Mark::Token);
    }

    /// Notes that the key was given in base64.
    pub fn set_key_is_binary(&mut self) {
        self.view().mark(Mark::BinaryKey);
    }

    pub(super) fn set_exptime(&mut self, exptime: RelTime) {
        self.view().set_exptime(exptime);
    }
}

// SAFETY: chunk_mut gives the unfilled rest of the value, remaining_mut its length, and advance_mut moves on by what the
// caller promises to have initialised.
unsafe impl BufMut for Draft {
    fn remaining_mut(&self) -> usize {
        self.missing()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        assert!(count <= self.missing(), "advanced beyond the value");
        self.filled += count;
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        let filled = self.filled;
        // SAFETY: the draft owns the item.
        UninitSlice::uninit(&mut unsafe { self.node.vacancy() }[filled..])
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.stop_waiting();
        // SAFETY: the draft owns the item.
        self.account.refund(unsafe { self.account.charged(self.node) });
        // SAFETY: it was never published, so this is its only owner.
        unsafe { self.account.free(self.node) };
    }
}
