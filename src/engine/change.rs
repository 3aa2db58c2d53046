//! Changing what is there: touch, append, incr and decr, invalidation. Each but touch publishes a copy, for
//! which memory is found before the old one is frozen: see `item`.

use super::draft::{Draft, Refusal};
use super::item::{Frozen, Mark, View};
use super::marks::Change;
use super::session::{ItemRef, Key, Lookup, Session};
use super::store::{StoreMode, Stored};
use crate::clock::RelTime;

/// An incr or decr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arith {
    /// `false` for decr.
    pub incr: bool,
    /// By how much.
    pub delta: u64,
    /// Only if the item's cas unique is this.
    pub compare: Option<u64>,
    /// Meta E: the cas unique to show afterwards.
    pub set_cas: Option<u64>,
    /// Meta T: the new deadline.
    pub exptime: Option<RelTime>,
}

/// The outcome of an incr or decr.
pub enum ArithResult<'s> {
    /// The number now, and the item that holds it.
    Done {
        /// The number.
        value: u64,
        /// Its item.
        item: ItemRef<'s>,
    },
    /// There is no item.
    NotFound,
    /// Its value is not a number.
    NonNumeric,
    /// The cas unique is another.
    Exists,
    /// No memory for the new value.
    OutOfMemory,
}

/// Meta md with I, T or x: what to do to the item in place of removing it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Invalidate {
    /// Only if the item's cas unique is this.
    pub compare: Option<u64>,
    /// E: the cas unique to show afterwards.
    pub set_cas: Option<u64>,
    /// I: mark as stale and forget the token.
    pub stale: bool,
    /// T: the new deadline.
    pub exptime: Option<RelTime>,
    /// x: an empty item in place of the item.
    pub clear_value: bool,
    /// Client flags of the empty item.
    pub flags: u32,
}

impl<'h> Session<'h> {
    /// Changes the deadline and counts an access (touch, gat).
    pub fn touch(&self, key: Key<'_>, exptime: RelTime) -> Lookup<'_> {
        loop {
            let found = self.peek(key);
            let Lookup::Hit(item) = found else { return found };
            if item.set_exptime(exptime) {
                self.access(item);
                return found;
            }
        }
    }

    /// Replaces a copy that is frozen or has no room for a deadline by one that can be touched, unless somebody else has
    /// replaced it. Whoever froze it may have given up since (for want of memory), so it is not waited for.
    ///
    /// Clients cannot tell the new copy from the old one: it shows the same cas unique. It may exceed the memory
    /// limit for as long as the old one is garbage, because a touch is not to fail for want of memory.
    ///
    /// # Errors
    /// The system has no memory.
    pub(super) fn thaw(&self, key: Key<'_>) -> Result<(), Refusal> {
        let spot = self.engine().table.search(key.hash, key.bytes, self);
        let untouchable = |old: &View<'_>| old.frozen() || !old.timed();
        let Some(old) = self.live(&spot).filter(untouchable) else { return Ok(()) };
        let cas = if old.no_cas() { old.explicit_cas() } else { Some(self.item(old).cas()) };
        let mut copy = self.draft_anyway(key, old.value_len(), old.flags(), cas, true)?;
        copy.fill(old.value());
        copy.take_over(old);
        // If it fails, somebody else has come first, and the caller looks again.
        let _ = self.supersede(&spot, old, copy);
        Ok(())
    }

    /// Wins the token of an item whose present copy is frozen.
    pub(super) fn win_token_of_frozen(&self, frozen: View<'_>) -> bool {
        let key = self.key(frozen.key());
        loop {
            let spot = self.engine().table.search(key.hash, key.bytes, self);
            let Some(old) = self.live(&spot) else { return false };
            if let Some(won) = old.send_token() {
                return won;
            }
            if self.thaw(key).is_err() {
                return false;
            }
        }
    }

    /// A draft for `key` with the flags of `old`, for a value of another length, and nothing in it yet. There is room for a
    /// deadline if `old` has it, or `timed`.
    fn blank_copy(
        &self,
        key: Key<'_>,
        old: View<'_>,
        value_len: usize,
        cas: Option<u64>,
        timed: bool,
    ) -> Result<Draft, Refusal> {
        self.draft_shaped(key, value_len, old.flags(), cas, timed || old.timed())
    }

    /// The present value and the draft's, one behind the other.
    pub(super) fn join(
        &self,
        old: View<'_>,
        draft: &Draft,
        mode: StoreMode,
    ) -> Result<Draft, Refusal> {
        let len = old.value_len() + draft.value_len();
        let key = Key { bytes: old.key(), hash: draft.hash() };
        let mut joined = self.blank_copy(key, old, len, draft.view().explicit_cas(), false)?;
        let (first, second) = match mode {
            StoreMode::Prepend { .. } => (draft.value(), old.value()),
            _ => (old.value(), draft.value()),
        };
        joined.fill(first);
        joined.fill(second);
        joined.succeed(old);
        Ok(joined)
    }

    /// Adds to or subtracts from a number in decimal digits. incr wraps at 2^64, decr stops at 0; a shorter result is
    /// padded with spaces to the length there was, as memcached does.
    pub fn arith(&self, key: Key<'_>, arith: Arith) -> ArithResult<'_> {
        loop {
            let spot = self.engine().table.search(key.hash, key.bytes, self);
            let Some(old) = self.live(&spot) else { return ArithResult::NotFound };
            if old.value_len() == 0 {
                return ArithResult::NonNumeric;
            }
            if arith.compare.is_some_and(|compare| compare != self.item(old).cas()) {
                return ArithResult::Exists;
            }
            let Some(number) = parse_number(old.value()) else { return ArithResult::NonNumeric };
            let value = match arith.incr {
                true => number.wrapping_add(arith.delta),
                false => number.saturating_sub(arith.delta),
            };
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(value).as_bytes();
            let len = digits.len().max(old.value_len());
            let timed = arith.exptime.is_some();
            let Ok(mut draft) = self.blank_copy(key, old, len, arith.set_cas, timed) else {
                return ArithResult::OutOfMemory;
            };
            draft.fill(digits);
            draft.fill_spaces();
            // memcached changes a number in place as long as it fits; a longer one is a new item.
            let in_place = len == old.value_len();
            if in_place {
                draft.take_over(old);
            } else {
                draft.succeed(old);
            }
            if let Some(exptime) = arith.exptime {
                draft.set_exptime(exptime);
            }
            if let Ok(item) = self.supersede(&spot, old, draft) {
                self.counters().total_items.add(u64::from(!in_place));
                return ArithResult::Done { value, item };
            }
        }
    }

    /// Changes an item in place of removing it (meta md with I, T or x).
    pub fn invalidate(&self, key: Key<'_>, how: Invalidate) -> Stored<'_> {
        self.departs(key.hash);
        loop {
            let spot = self.engine().table.search(key.hash, key.bytes, self);
            let Some(old) = self.live(&spot) else {
                self.handle().marker.note(key.bytes, Change::Removed);
                return Stored::NotFound;
            };
            if how.compare.is_some_and(|compare| compare != self.item(old).cas()) {
                return Stored::Exists;
            }
            let draft = match self.invalidated(key, old, how) {
                Ok(draft) => draft,
                Err(Refusal::TooLarge) => return Stored::TooLarge,
                Err(Refusal::OutOfMemory) => return Stored::OutOfMemory,
            };
            if let Ok(item) = self.supersede(&spot, old, draft) {
                self.counters().total_items.add(u64::from(how.clear_value));
                return Stored::Stored(item);
            }
        }
    }

    fn invalidated(&self, key: Key<'_>, old: View<'_>, how: Invalidate) -> Result<Draft, Refusal> {
        if how.clear_value {
            return self.emptied(key, old, how);
        }
        let timed = how.exptime.is_some();
        let mut draft = self.blank_copy(key, old, old.value_len(), how.set_cas, timed)?;
        draft.fill(old.value());
        // The token of a stale item is for the next client to win.
        let last = old.freeze();
        draft.set_exptime(how.exptime.unwrap_or(last.exptime));
        for (set, mark) in [
            (old.key_is_binary(), Mark::BinaryKey),
            (last.fetched, Mark::Fetched),
            (how.stale || old.stale(), Mark::Stale),
            (last.token_sent && !how.stale, Mark::Token),
        ] {
            if set {
                draft.view().mark(mark);
            }
        }
        Ok(draft)
    }

    /// An empty item in place of `old`. It is a new one, but shows the same cas unique if it is not stale.
    fn emptied(&self, key: Key<'_>, old: View<'_>, how: Invalidate) -> Result<Draft, Refusal> {
        let same = (!how.stale && !old.no_cas()).then(|| self.item(old).cas());
        let timed = old.timed() || how.exptime.is_some();
        let mut draft = self.draft_shaped(key, 0, how.flags, how.set_cas.or(same), timed)?;
        draft.succeed(old);
        if let Some(exptime) = how.exptime {
            draft.set_exptime(exptime);
        }
        if how.stale {
            draft.set_stale();
        }
        Ok(draft)
    }
}

impl Draft {
    /// Freezes the item that this draft is to take the place of, and carries its deadline and marks over. Nothing may fail between
    /// this and publishing: a frozen copy is one that is about to go.
    pub(super) fn take_over(&mut self, old: View<'_>) -> Frozen {
        let last = self.succeed(old);
        for (set, mark) in [
            (old.stale(), Mark::Stale),
            (last.token_sent, Mark::Token),
            (last.fetched, Mark::Fetched),
        ] {
            if set {
                self.view().mark(mark);
            }
        }
        last
    }

    /// Like [`take_over`](Self::take_over), but as a new item, neither fetched nor stale nor being recached: it keeps the deadline
    /// and what kind of key it has.
    fn succeed(&mut self, old: View<'_>) -> Frozen {
        let last = old.freeze();
        self.set_exptime(last.exptime);
        if old.key_is_binary() {
            self.set_key_is_binary();
        }
        last
    }

    fn fill_spaces(&mut self) {
        while self.missing() > 0 {
            self.fill(b" ");
        }
    }
}

/// The number that a value begins with, as C's `strtoull` reads it: white space and a sign may stand before it, and
/// anything after it that white space or a zero byte sets apart. What a minus would turn into a huge number is
/// none.
fn parse_number(value: &[u8]) -> Option<u64> {
    if let Some(number) = plain_number(value) {
        return Some(number);
    }
    let space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = value.iter().position(|byte| !space(byte))?;
    let text = &value[start..];
    let (negative, text) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let len = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(len);
    let ends = rest.first().is_none_or(|byte| *byte == 0 || space(byte));
    if digits.is_empty() || !ends {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    match negative {
        false => Some(number),
        true => Some(number.wrapping_neg()).filter(|number| *number <= i64::MAX as u64),
    }
}

/// A number that is digits and nothing else, and not so many that it could be too large.
#[inline]
fn plain_number(value: &[u8]) -> Option<u64> {
    if !(1..=19).contains(&value.len()) {
        return None;
    }
    value.iter().try_fold(0, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(number * 10 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::parse_number;

    #[test]
    fn values_are_numbers_as_c_reads_them() {
        let numbers: [(&[u8], u64); 9] = [
            (b"10", 10),
            (b" \t\x0b10", 10),
            (b"10  ", 10),
            (b"10 x", 10),
            (b"10\0x", 10),
            (b"+7", 7),
            (b"-0", 0),
            (b"0000000000000000000000000005", 5),
            (b"18446744073709551615", u64::MAX),
        ];
        for (value, number) in numbers {
            assert_eq!(parse_number(value), Some(number), "{value:?}");
        }
        for value in [&b""[..], b" ", b"-", b"-5", b"10x", b"x10", b"18446744073709551616"] {
            assert_eq!(parse_number(value), None, "{value:?}");
        }
    }
}
